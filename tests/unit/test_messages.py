"""Every message that names a command, a file, a package or a key of the configuration is true."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from earwitness import cli
from earwitness.config import Config

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("earwitness", "api", "recorder", "storage")
COMMAND = re.compile(
    r"(?:python -m earwitness|`(?=(?:token|user|agents|rules|doctor) ))\s*([^`<'\"]+)"
)
FILE = re.compile(
    r"(?<![\w/])(?:(?:docs|deploy|tools|examples)/[\w./-]*\w|[\w-]+\.(?:md|txt|toml))"
)
KEY = re.compile(r"(?<![\w.`/])([a-z_]+)\.([a-z_]+)(?![\w.(])")
# Files that a user or SeaweedFS has, not we.
THEIRS = {"security.toml", "requirements.txt"}


def iter_texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the program that people may see, with its file: no docstring, no name."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree, name = ast.parse(path.read_text()), str(path.relative_to(ROOT))
            joined = [one for one in ast.walk(tree) if isinstance(one, ast.JoinedStr)]
            bare = [one for one in ast.walk(tree) if isinstance(one, ast.Expr)]
            inner = {id(part) for one in joined for part in one.values}
            inner |= {id(one.value) for one in bare}  # docstrings
            for one in joined:  # each value in it counts as X
                parts = [getattr(part, "value", "") for part in one.values]
                yield name, "".join(part if isinstance(part, str) else "X" for part in parts)
            for node in ast.walk(tree):
                is_text = isinstance(node, ast.Constant) and " " in str(node.value)
                if is_text and id(node) not in inner:
                    yield name, str(node.value)
    for path in (ROOT / "api/templates").glob("*.html"):
        yield str(path.relative_to(ROOT)), path.read_text()


TEXTS = [*iter_texts()]


def found_by(pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    """Return what the pattern finds in the texts, with the files."""
    return [(path, found) for path, text in TEXTS for found in pattern.finditer(text)]


def test_every_named_command_exists() -> None:
    """A command in a message is one of ours, with options that it has."""
    named = found_by(COMMAND)
    assert len(named) > 3
    faults = [(path, found[0]) for path, found in named if not is_command(found[1])]
    assert faults == []


def is_command(text: str) -> bool:
    """Return whether the words begin with a command of ours, and its options exist."""
    command: Any = typer.main.get_command(cli.app)
    words = shlex.split(text)
    while words and hasattr(command, "commands"):
        command = command.commands.get(words.pop(0))
    if command is None or hasattr(command, "commands"):
        return False
    options = {name for parameter in command.params for name in parameter.opts}
    return {word for word in words if word.startswith("--")} <= options


def test_every_named_file_exists() -> None:
    """A file of ours in a message is in the repository."""
    named = [(path, found[0]) for path, found in found_by(FILE) if found[0] not in THEIRS]
    assert len(named) > 5
    assert [one for one in named if not (ROOT / one[1]).exists()] == []


def test_packages_come_from_our_pins() -> None:
    """A message that says how to install names a file of pins, because we are no package."""
    named = found_by(re.compile(r"pip install (.*?)(?:[,;]|$)"))
    assert len(named) > 1
    for path, found in named:
        option, file = shlex.split(found[1])
        assert option == "-r", path
        assert (ROOT / file).exists(), path


def test_every_named_key_exists() -> None:
    """A key of the configuration in a message of the program is in the configuration."""
    tables = {name: field.annotation for name, field in Config.model_fields.items()}
    named = [
        (path, found)
        for path, found in found_by(KEY)
        if path.startswith("earwitness/") and found[1] in tables
    ]
    assert len(named) > 10
    faults = [
        (path, found[0]) for path, found in named if found[2] not in keys_of(tables[found[1]])
    ]
    assert faults == []


def keys_of(table: Any) -> set[str]:
    """Return the keys of a table, or of a list of tables."""
    for one in (table, *getattr(table, "__args__", ())):
        if hasattr(one, "model_fields"):
            return set(one.model_fields)
    return set()


@pytest.mark.parametrize(
    "text", ["token burn", "doctor --magic", "tokens", "user create X --rank Y"]
)
def test_a_wrong_command_is_noticed(text: str) -> None:
    """The check knows commands and options that do not exist."""
    assert not is_command(text)
