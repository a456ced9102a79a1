"""What the documentation lists is what there is."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from pydantic import BaseModel, SecretStr

import api.errors  # its classes are found as subclasses
from api.permissions import PERMISSIONS, ROLES
from api.problems import status_of
from earwitness import cli
from earwitness.config import Config, Rule, read_rules
from earwitness.doctor import MODULES, PAGE_MODULES, SPY_MODULES
from recorder.rules import FIELDS, compile_rule
from storage.errors import EarwitnessError

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
PRODUCT = ("earwitness", "api", "recorder", "storage")


def read(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / name).read_text(encoding="utf-8")


def part(name: str, begin: str, end: str = "\n## ") -> str:
    """What stands on a page between `begin` and the next `end`."""
    return read(name).partition(begin)[2].partition(end)[0]


# config.toml


def listed_keys() -> Mapping[str, Any]:
    """config.toml, with the [[pbx]] that is commented out."""
    uncommented = re.sub(r"^# (?=\[\[\w+\]\]$|\w+ = )", "", read("config.toml"), flags=re.MULTILINE)
    return tomllib.loads(uncommented)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Every key of a table of the configuration, with its default as TOML would have it."""
    return {name: plain(field) for name, field in model.model_fields.items()}


def plain(field: Any) -> Any:
    """The default of a field; a list of tables shows one table with its defaults."""
    inner = get_args(field.annotation)[:1]
    if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
        return [defaults(inner[0])]
    if isinstance(field.default, BaseModel):
        return defaults(type(field.default))
    if isinstance(field.default, SecretStr):
        return field.default.get_secret_value()
    if isinstance(field.default, tuple):
        return list(field.default)
    return str(field.default) if isinstance(field.default, Path) else field.default


def test_config_toml_lists_every_key_with_its_default() -> None:
    """config.toml holds all keys, no other, each with its default; for a rule it has an example."""
    listed, wanted = listed_keys(), defaults(Config)
    assert listed.pop("rule")[0].keys() == wanted.pop("rule")[0].keys()
    assert listed == wanted


def test_config_toml_explains_its_keys() -> None:
    """Each section of config.toml says what its keys mean."""
    sections = re.split(r"^(?:# )?\[", read("config.toml"), flags=re.MULTILINE)[1:]
    assert len(sections) > 5
    assert [section for section in sections if "# " not in section] == []


# Errors


def error_classes(base: type[EarwitnessError] = EarwitnessError) -> Iterator[type[EarwitnessError]]:
    """Every error of the product; those of tests do not count."""
    for error in base.__subclasses__():
        if error.__module__.split(".")[0] in PRODUCT:
            yield error
        yield from error_classes(error)


def test_every_error_is_described_with_its_status() -> None:
    """docs/errors.md has a row for each error_id, with the status that the API answers, no more."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| \S", read("docs/errors.md"), re.MULTILINE)
    told = {error_id: int(status) for error_id, status in rows}
    assert api.errors.Forbidden in set(error_classes())
    assert told == {error.error_id: status_of(error) for error in error_classes()}
    assert len(rows) == len(told)


# Commands, roles, metrics, log lines


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the command line, with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, f"{path} {name}".strip())


def test_every_command_and_option_is_told() -> None:
    """docs/operate.md names each command with its options, and no command that there is not."""
    table = part("docs/operate.md", "## Commands")
    told = set(re.findall(r"`([a-z ]+?)(?: --[^`]*)?`(?= ·| \|)", table))
    known = dict(commands(typer.main.get_command(cli.app)))
    assert told == set(known)
    options = {
        option for command in known.values() for one in command.params for option in one.opts
    }
    assert {option for option in options if option not in table} == set()


def test_every_role_and_permission_is_told() -> None:
    """docs/operate.md lists each role, and each permission that a scope may name."""
    table = part("docs/operate.md", "## Tokens and roles")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {*ROLES, "service"}
    assert set(get_args(cli.Role)) == {*ROLES, "service"}
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", table)) == set(PERMISSIONS)


def test_every_metric_is_told() -> None:
    """docs/metrics.md lists each metric by its name, and no other."""
    names = {text for text in texts("api/metrics.py") if re.fullmatch(r"earwitness_[a-z_]+", text)}
    told = set(re.findall(r"^\| `(\w+)` \|", read("docs/metrics.md"), re.MULTILINE))
    assert names
    assert {name.removesuffix("_total") for name in told} == names


def test_log_lines_that_are_told_are_logged() -> None:
    """Each line that docs/operate.md wants a person to look for is logged somewhere."""
    table = part("docs/operate.md", "<!-- log lines")
    told = set(re.findall(r"^\| `([a-z.-]+)` \|", table, re.MULTILINE))
    logged = {text for path in product_files() for text in texts(path)}
    assert told
    assert told - logged == set()


def test_causes_of_gaps_that_are_told_exist() -> None:
    """Each cause of a gap that docs/recordings.md explains is one that the recorder gives."""
    told = set(re.findall(r"`([a-z-]+)`", part("docs/recordings.md", "| cause |", "\n\n")))
    given = {text for path in product_files() if "recorder" in path for text in texts(path)}
    assert told
    assert told - given == set()


def test_modules_that_are_told_are_those_that_doctor_looks_for() -> None:
    """docs/asterisk.md lists the modules that `doctor` checks."""
    told = re.findall(r"^load = (\w+)\.so\b", read("docs/asterisk.md"), re.MULTILINE)
    assert sorted(told) == sorted(MODULES + SPY_MODULES + PAGE_MODULES)


def product_files() -> list[str]:
    """Every source file that is shipped."""
    found = (path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def texts(path: str) -> Iterator[str]:
    """Every string constant of a source file."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# Links, files and decisions


def anchors(page: Path) -> set[str]:
    """The headings of a page as a link names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every link to a file of the project leads to it, and to a heading that is there."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_the_design_names_files_that_exist() -> None:
    """Every file that docs/design.md traces the data through is there."""
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", read("docs/design.md")))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_decisions_are_short_and_dated() -> None:
    """A decision has its date in name and text, its three parts, and less than 30 lines."""
    decisions = list((ROOT / "docs/decisions").glob("*.md"))
    assert decisions
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert text.splitlines()[2] == path.name[:10], path.name
        positions = [text.find(f"**{word}.**") for word in ("Context", "Decision", "Consequences")]
        assert -1 not in positions, path.name
        assert positions == sorted(positions), path.name
        assert len(text.splitlines()) < 30, path.name


def test_the_changelog_tells_this_version() -> None:
    """CHANGELOG.md has a heading for the version of pyproject.toml."""
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert f"## [{version}]" in read("CHANGELOG.md")


def test_requests_of_the_readme_are_answered() -> None:
    """Every path that the README has curl ask for is one that the API serves."""
    served = {
        f"{operation.method} {re.sub(r'<[^>]+>', '*', operation.rule)}"
        for operation in operations()
    }
    asked = set()
    for line in re.findall(r"^curl .*$", read("README.md"), re.MULTILINE):
        path = re.search(r"\$api(/[^\s?\"]*)", line)
        assert path, line
        rule = re.sub(r"/(ID|CALL)(?=/|$)", "/*", path[1])
        asked.add(f"{'POST' if '-X POST' in line else 'GET'} /api/v1{rule}")
    assert asked
    assert asked - served == set()


def operations() -> Iterator[Any]:
    """Every operation of the API."""
    from api.operation import iter_operations  # noqa: PLC0415

    yield from iter_operations(application())


def application() -> Any:
    """The API on parts that are never asked."""
    from api.app import ApiSettings, build_app  # noqa: PLC0415
    from storage.catalogue.engine import Catalogue  # noqa: PLC0415

    nothing: Any = None
    catalogue = Catalogue("postgresql://nobody@127.0.0.1:1/nothing")
    return build_app(catalogue, nothing, nothing, nothing, ApiSettings())


# Rules


def test_the_rules_that_are_told_can_be_asked() -> None:
    """docs/rules.md lists each key and each field; its conditions compile."""
    page = read("docs/rules.md")
    keys = re.findall(r"^\| (`[a-z_` ]+`) \|", part("docs/rules.md", "# Rules\n"), re.MULTILINE)
    assert {name for row in keys for name in re.findall(r"\w+", row)} >= set(Rule.model_fields)
    fields = part("docs/rules.md", "## Conditions")
    rows = re.findall(r"^\| (.+?) \| (?:string|int|map)", fields, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == set(FIELDS)
    conditions = re.findall(r"```cel\n(.+?)\n```", page, re.DOTALL)
    assert len(conditions) == 3
    for number, when in enumerate(conditions):
        rule = Rule(name="told", when=when, action="record").as_record(number)
        assert compile_rule(rule).fault == ""
    (example,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    assert [one.name for one in read_rules(tomllib.loads(example))] == ["support inbound"]
