"""The shape of the code: imports between packages, homes of libraries, lengths of functions.

The tests read the syntax trees of the product's packages; imports inside functions count too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests/unit"

# A package may import those before it.
LAYERS = ("storage", "recorder", "api", "earwitness")

# Inside the recorder, a room may import itself and the rooms on lower floors.
FLOORS = (
    ("background", "errors"),
    ("ari", "audio", "names"),
    ("calls",),
    ("rules",),
    ("recording",),
    ("dialling",),
    ("conferences", "spy"),
    ("withdrawal",),
    ("programs", "work"),
    ("media", "watch"),
)

# Each outside library is imported only below these paths.
HOMES = {
    "argon2": ("storage/passwords.py",),
    "alembic": ("storage/catalogue/engine.py", "storage/migrations/"),
    "authlib": ("api/oidc.py",),
    "av": ("recorder/audio/",),
    "boto3": ("storage/objects/s3.py",),
    "botocore": ("storage/objects/s3.py", "storage/objects/models.py"),
    "cel_expr_python": ("recorder/rules/",),
    "certifi": ("recorder/work/exchange.py",),
    "cryptography": ("storage/manifest.py", "earwitness/embedded/"),
    "flask": ("api/",),
    "flask_babel": ("api/",),
    "flask_compress": ("api/compression.py",),
    "flask_limiter": ("api/limits.py",),
    "gunicorn": ("api/server.py", "api/worker.py"),
    "joserfc": ("api/oidc.py",),
    "lameenc": ("recorder/audio/",),
    "limits": ("api/limits.py",),
    "markupsafe": ("api/pages/",),
    "mypy_boto3_s3": ("storage/objects/s3.py",),
    "numpy": ("recorder/audio/",),
    "phonenumbers": ("recorder/dialling/",),
    "procrastinate": ("storage/jobs.py", "storage/migrations/"),
    "prometheus_client": ("api/metrics.py",),
    "psycopg": ("storage/",),
    "pydantic_settings": ("earwitness/config.py",),
    "requests": ("recorder/ari/",),
    "rich": ("earwitness/cli.py",),
    "soundfile": ("recorder/audio/",),
    "sqlalchemy": ("storage/",),
    "standardwebhooks": ("recorder/work/webhooks.py",),
    "typer": ("earwitness/cli.py",),
    "urllib3": ("recorder/ari/",),
    "websocket": ("recorder/ari/",),
    "websockets": ("recorder/media/",),
    "werkzeug": ("api/",),
}
EVERYWHERE = {"pydantic", "pydantic_core", "structlog", "tenacity", "uuid_utils"}
# A caller passes its transaction on to the catalogue, so it may import the type.
HANDED_THROUGH = {("sqlalchemy", "Connection")}

LONGEST_FUNCTION = 60
# A migration is one list of tables, read from top to bottom.
LISTS = "storage/migrations/versions/"


@dataclass(frozen=True)
class Import:
    """One name that a file imports from a top-level package."""

    path: str
    line: int
    module: str
    name: str

    @property
    def package(self) -> str:
        """The top-level package of the module."""
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.name or self.package}"


@cache
def tree(path: str) -> ast.Module:
    """The syntax tree of a file of the project."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def product_files() -> list[str]:
    """Return the path of every shipped source file."""
    found = (path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def imports_of(path: str) -> Iterator[Import]:
    """Yield every import of a file, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield Import(path, node.lineno, node.module, alias.name)


def all_imports() -> list[Import]:
    """Return every import of the product."""
    return [found for path in product_files() for found in imports_of(path)]


def room_of(path: str) -> str | None:
    """Return the folder or file of `recorder/` that a path belongs to; None outside it."""
    parts = path.removesuffix(".py").split("/")
    return parts[1] if parts[0] == "recorder" else None


def room_imported(one: Import) -> set[str]:
    """Return the room of `recorder/` that an import names; empty for other packages."""
    if one.package != "recorder":
        return set()
    return {one.module.split(".")[1] if "." in one.module else one.name}


def functions_of(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file, with methods and inner functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_downwards(layer: str) -> None:
    """A package imports itself and the packages below it: earwitness, api, recorder, storage."""
    above = LAYERS[LAYERS.index(layer) + 1 :]
    found = [one for one in all_imports() if one.path.startswith(f"{layer}/")]
    assert found
    assert [str(one) for one in found if one.package in above] == []


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_rooms_of_the_recorder_import_lower_floors(floor: int) -> None:
    """A room of the recorder imports itself and lower floors: no two rooms import each other."""
    below = {room for rooms in FLOORS[:floor] for room in rooms}
    for room in FLOORS[floor]:
        found = [one for one in all_imports() if room_of(one.path) == room]
        assert found
        assert [str(one) for one in found if not room_imported(one) <= {room, *below}] == []


def test_every_room_of_the_recorder_has_a_floor() -> None:
    """Each folder and file of the recorder stands on exactly one floor."""
    rooms = {room_of(path) for path in product_files() if path.startswith("recorder/")}
    assert sorted(rooms - {"__init__"}) == sorted(room for floor in FLOORS for room in floor)


def test_the_product_imports_only_shipped_packages() -> None:
    """No shipped file imports the lab, the tests, the benchmarks or the examples."""
    unshipped = {"bench", "examples", "lab", "tests", "tools"}
    assert [str(one) for one in all_imports() if one.package in unshipped] == []


def test_imports_are_absolute() -> None:
    """Every import names its package."""
    relative = [
        f"{path}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert relative == []


@pytest.mark.parametrize("library", HOMES)
def test_each_outside_library_has_one_home(library: str) -> None:
    """A library is imported only where it lives."""
    strays = [
        str(one)
        for one in all_imports()
        if one.package == library
        and not one.path.startswith(HOMES[library])
        and (one.package, one.name) not in HANDED_THROUGH
    ]
    assert strays == []


def test_every_outside_library_is_known_here() -> None:
    """Every imported library has a home."""
    known = {*HOMES, *EVERYWHERE, *LAYERS, *sys.stdlib_module_names}
    assert [str(one) for one in all_imports() if one.package not in known] == []


def test_the_design_lists_every_home() -> None:
    """The table in docs/design.md names each library with a home, except typing stubs."""
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", design.partition("## Homes")[2]))
    assert {*HOMES, *EVERYWHERE} - {"mypy_boto3_s3", "pydantic_core"} <= listed


def test_functions_are_short() -> None:
    """No function is longer than a screen."""
    long = [
        f"{path}:{function.lineno} {function.name}"
        for path in product_files()
        if not path.startswith(LISTS)
        for function in functions_of(path)
        if (function.end_lineno or 0) - function.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_only_the_command_line_prints() -> None:
    """Only the command line prints: standard output is for results, all else is logged."""
    printing = [
        f"{path}:{node.lineno}"
        for path in product_files()
        if path != "earwitness/cli.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printing == []


def test_unit_tests_mirror_the_tree() -> None:
    """Each folder of tests/unit has the name of a folder of the tree."""
    folders = {path.parent.relative_to(UNIT) for path in UNIT.rglob("test_*.py")}
    assert len(folders) > 10
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []


def test_no_two_test_files_have_one_name() -> None:
    """One run collects all tests, and a module of a test is known by the name of its file alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert names
    assert sorted(names) == sorted(set(names))


def test_tests_use_no_private_names() -> None:
    """No test reads or patches a private name of an object or module: only its own `self._x`."""
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, name in private_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def private_names(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the private names of others that a test module uses, with their lines."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            names = [] if own else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            names = [text.rpartition(".")[2] for text in texts if isinstance(text, str)]
        else:
            names = []
        yield from ((node.lineno, one) for one in names if re.match(r"_[^_]", one))
