"""The documentation agrees with the code: keys, errors, commands, files."""

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
from api.problems import status_of
from earwitness import cli
from earwitness.config import Config, Rule, read_rules
from earwitness.doctor import MODULES, PAGE_MODULES, SPY_MODULES
from recorder.rules import FIELDS, compile_rule
from storage.errors import EarwitnessError
from storage.permissions import PERMISSIONS, ROLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PRODUCT = ("earwitness", "api", "recorder", "storage")
# The files, names and tests of the project in these pages are checked.
GUIDES = [str(page.relative_to(ROOT)) for page in PAGES if page.name != "CHANGELOG.md"]
TOP = {
    "api",
    "bench",
    "deploy",
    "docs",
    "earwitness",
    "examples",
    "lab",
    "recorder",
    "storage",
    "tests",
}


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def part(name: str, begin: str, end: str = "\n## ") -> str:
    """Return the text of a page from `begin` to the next `end`."""
    return read(name).partition(begin)[2].partition(end)[0]


# config.toml


def listed_keys() -> Mapping[str, Any]:
    """Read config.toml, with the tables and keys that are commented out."""
    uncommented = re.sub(r"^# (?=\[\[\w+\]\]$|\w+ = )", "", read("config.toml"), flags=re.MULTILINE)
    return tomllib.loads(uncommented)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return each key of a table of the configuration with its default, as TOML writes it."""
    return {name: plain(field) for name, field in model.model_fields.items()}


def plain(field: Any) -> Any:
    """Return the default of a field; a list of tables becomes one table with its defaults."""
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
    """config.toml has every key, and no other, with its default; rules and agents are examples."""
    listed, wanted = listed_keys(), defaults(Config)
    for example in ("rule", "agents"):
        assert listed.pop(example)[0].keys() == wanted.pop(example)[0].keys()
    assert listed == wanted


def test_config_toml_explains_its_keys() -> None:
    """Each section of config.toml explains its keys."""
    sections = re.split(r"^(?:# )?\[", read("config.toml"), flags=re.MULTILINE)[1:]
    assert len(sections) > 5
    assert [section for section in sections if "# " not in section] == []


# Errors


def error_classes(base: type[EarwitnessError] = EarwitnessError) -> Iterator[type[EarwitnessError]]:
    """Yield every error class of the product, without those of tests."""
    for error in base.__subclasses__():
        if error.__module__.split(".")[0] in PRODUCT:
            yield error
        yield from error_classes(error)


def test_every_error_is_described_with_its_status() -> None:
    """docs/errors.md has one row for each error_id, with the status that the API answers."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| \S", read("docs/errors.md"), re.MULTILINE)
    listed = {error_id: int(status) for error_id, status in rows}
    assert api.errors.Forbidden in set(error_classes())
    assert listed == {error.error_id: status_of(error) for error in error_classes()}
    assert len(rows) == len(listed)


# Commands, roles, metrics, log lines


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command, with its words: "token create"."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, f"{path} {name}".strip())


def test_every_command_and_option_is_listed() -> None:
    """docs/operate.md lists each command with its options, and no other command."""
    table = part("docs/operate.md", "## Commands")
    listed = set(re.findall(r"`([a-z ]+?)(?: --[^`]*)?`(?= ·| \|)", table))
    known = dict(commands(typer.main.get_command(cli.app)))
    assert listed == set(known)
    options = {
        option for command in known.values() for one in command.params for option in one.opts
    }
    assert {option for option in options if option not in table} == set()


def test_every_role_and_permission_is_listed() -> None:
    """docs/operate.md lists each role and each permission."""
    table = part("docs/operate.md", "## Tokens and roles")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {*ROLES, "service"}
    assert set(get_args(cli.Role)) == {*ROLES, "service"}
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", table)) == set(PERMISSIONS)


def test_every_metric_is_listed() -> None:
    """docs/metrics.md lists each metric, and no other."""
    names = {text for text in texts("api/metrics.py") if re.fullmatch(r"earwitness_[a-z_]+", text)}
    listed = set(re.findall(r"^\| `(\w+)` \|", read("docs/metrics.md"), re.MULTILINE))
    assert names
    assert {name.removesuffix("_total") for name in listed} == names


def test_listed_log_events_exist() -> None:
    """The product logs each event that docs/operate.md lists."""
    table = part("docs/operate.md", "<!-- log lines")
    listed = set(re.findall(r"^\| `([a-z.-]+)` \|", table, re.MULTILINE))
    logged = {text for path in product_files() for text in texts(path)}
    assert listed
    assert listed - logged == set()


def test_listed_causes_of_gaps_exist() -> None:
    """The recorder has each cause of a gap that docs/recordings.md explains."""
    listed = set(re.findall(r"`([a-z-]+)`", part("docs/recordings.md", "| cause |", "\n\n")))
    given = {text for path in product_files() if "recorder" in path for text in texts(path)}
    assert listed
    assert listed - given == set()


def test_every_module_of_asterisk_is_listed() -> None:
    """docs/asterisk.md lists the modules that `doctor` checks."""
    listed = re.findall(r"^load = (\w+)\.so\b", read("docs/asterisk.md"), re.MULTILINE)
    assert sorted(listed) == sorted(MODULES + SPY_MODULES + PAGE_MODULES)


def product_files() -> list[str]:
    """Return the path of every shipped source file."""
    found = (path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def texts(path: str) -> Iterator[str]:
    """Yield every string constant of a source file."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# Links, files and decisions


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as links write them: `set-up`."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every link to a file of the project finds the file and the heading."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", GUIDES)
def test_files_that_a_guide_names_exist(page: str) -> None:
    """Every file and folder of the project that a guide for developers names is there."""
    words = {word for span in re.findall(r"`([^`\n]+)`", read(page)) for word in span.split()}
    named = {word.partition("::")[0] for word in words if word.partition("/")[0] in TOP}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", GUIDES)
def test_code_that_a_guide_names_exists(page: str) -> None:
    """In "`Capture.pause` in `recorder/recording/capture.py`" the file defines that name."""
    missing = [
        f"{name} in {path}"
        for name, path in re.findall(r"`([A-Za-z_.]+)` in\s+`(\w[\w/]*\.py)`", read(page))
        if name not in definitions(path)
    ]
    assert missing == []


@pytest.mark.parametrize("page", GUIDES)
def test_tests_that_a_guide_names_exist(page: str) -> None:
    """In `tests/pbx/test_recordings.py::test_hold` the file defines that test; `-k` finds one."""
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", read(page))
    assert [f"{path}::{name}" for path, name in named if name not in definitions(path)] == []
    chosen = re.findall(r"(tests/[\w/]+\.py) -k (\w+)", read(page))
    assert [row for row in chosen if not any(row[1] in name for name in definitions(row[0]))] == []


def definitions(path: str) -> set[str]:
    """Return the names that a source file defines: `Capture`, `Capture.pause`, `NEXT`."""
    found = set()
    for node in ast.parse(read(path)).body:
        if isinstance(node, ast.ClassDef):
            inner = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
            found |= {node.name, *(f"{node.name}.{name}" for name in inner)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def test_decisions_are_short_and_dated() -> None:
    """A decision has its date in its name and text, its three parts, and less than 30 lines."""
    decisions = list((ROOT / "docs/decisions").glob("*.md"))
    assert decisions
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert text.splitlines()[2] == path.name[:10], path.name
        positions = [text.find(f"**{word}.**") for word in ("Context", "Decision", "Consequences")]
        assert -1 not in positions, path.name
        assert positions == sorted(positions), path.name
        assert len(text.splitlines()) < 30, path.name


def test_the_changelog_has_this_version() -> None:
    """CHANGELOG.md has a heading for the version of pyproject.toml."""
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert f"## [{version}]" in read("CHANGELOG.md")


def test_requests_of_the_readme_are_answered() -> None:
    """The API serves every path that the README requests with curl."""
    served = {
        f"{operation.method} {re.sub(r'<[^>]+>', '*', operation.rule)}"
        for operation in operations()
    }
    requests = set()
    for line in re.findall(r"^curl .*$", read("README.md"), re.MULTILINE):
        path = re.search(r"\$api(/[^\s?\"]*)", line)
        assert path, line
        rule = re.sub(r"/(ID|CALL)(?=/|$)", "/*", path[1])
        requests.add(f"{'POST' if '-X POST' in line else 'GET'} /api/v1{rule}")
    assert requests
    assert requests - served == set()


def operations() -> Iterator[Any]:
    """Yield every operation of the API."""
    from api.operation import iter_operations  # noqa: PLC0415

    yield from iter_operations(application())


def application() -> Any:
    """Build the API on services that no test calls."""
    from api.app import ApiSettings, build_app  # noqa: PLC0415
    from storage.catalogue.engine import Catalogue  # noqa: PLC0415

    nothing: Any = None
    catalogue = Catalogue("postgresql://nobody@127.0.0.1:1/nothing")
    return build_app(catalogue, nothing, nothing, nothing, ApiSettings())


# Rules


def test_the_rules_page_is_right() -> None:
    """docs/rules.md lists each key and each field of a rule, and its conditions compile."""
    page = read("docs/rules.md")
    keys = re.findall(r"^\| (`[a-z_` ]+`) \|", part("docs/rules.md", "# Rules\n"), re.MULTILINE)
    assert {name for row in keys for name in re.findall(r"\w+", row)} >= set(Rule.model_fields)
    fields = part("docs/rules.md", "## Conditions")
    rows = re.findall(r"^\| (.+?) \| (?:string|int|map)", fields, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(FIELDS)
    conditions = re.findall(r"```cel\n(.+?)\n```", page, re.DOTALL)
    assert len(conditions) == 3
    for number, when in enumerate(conditions):
        rule = Rule(name="example", when=when, action="record").as_record(number)
        assert compile_rule(rule).fault == ""
    (example,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    assert [one.name for one in read_rules(tomllib.loads(example))] == ["support inbound"]
