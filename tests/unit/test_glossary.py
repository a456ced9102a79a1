"""docs/glossary.md gives each word one meaning, and public classes use the words so."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "earwitness", "recorder", "storage")
# Asterisk's words, and errors, may be about anything.
EXEMPT = re.compile(r"recorder/ari/|.*/errors\.py$")


class Found(NamedTuple):
    """A public class of the product, and the words of its name: ("page", "session")."""

    path: str
    name: str

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words in lower case and in the singular."""
        parts = re.findall(r"[A-Z][a-z0-9]+|[A-Z]+(?![a-z])", self.name)
        return tuple(singular(part.lower()) for part in parts)

    def has(self, term: str) -> bool:
        """Return whether the words of a term stand side by side in the name."""
        wanted = tuple(singular(word) for word in term.lower().split())
        size = len(wanted)
        return any(self.words[at : at + size] == wanted for at in range(len(self.words)))


def singular(word: str) -> str:
    """Return the singular: "spies" is "spy", "rules" is "rule"."""
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    return word if word.endswith(("ss", "us")) else word.removesuffix("s")


@cache
def classes() -> tuple[Found, ...]:
    """Return every public class at the top level of a module."""
    return tuple(
        Found(str(path.relative_to(ROOT)), node.name)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )


def rows(heading: str) -> list[list[str]]:
    """Return the cells of each row of the first table whose head begins with `heading`."""
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n?)*)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|\n").split("|")] for row in _lines(tables)]


def _lines(tables: list[str]) -> Iterator[str]:
    for table in tables:
        yield from table.splitlines()


def terms() -> dict[str, tuple[str, list[str]]]:
    """Return each word with its meaning and the paths where classes may carry it."""
    return {
        word: (meaning, re.findall(r"`([^`]+)`", where)) for word, meaning, where in rows("word")
    }


def test_each_word_stands_once() -> None:
    """Each word has one row, with a meaning of one sentence or two."""
    words = [row[0] for row in rows("word")]
    assert len(words) > 50
    assert len(words) == len(set(words))
    assert [word for word, (meaning, _) in terms().items() if len(meaning) < 15] == []


@pytest.mark.parametrize("word", terms())
def test_a_word_stays_in_its_rooms(word: str) -> None:
    """Public classes carry a word only where the glossary says so, and everywhere it says so."""
    _, rooms = terms()[word]
    found = [one for one in classes() if one.has(word) and not EXEMPT.match(one.path)]
    strays = [f"{one.name} in {one.path}" for one in found if not one.path.startswith(tuple(rooms))]
    assert strays == []
    used = {
        room for room in rooms for one in classes() if one.path.startswith(room) and one.has(word)
    }
    assert used == set(rooms)


def test_words_that_we_do_not_use() -> None:
    """No public class carries a word that the glossary replaces by another."""
    unwanted = {word for row in rows("not") for word in re.findall(r"`([^`]+)`", row[0])}
    assert unwanted
    found = [f"{one.name} in {one.path}" for one in classes() for word in unwanted if one.has(word)]
    assert found == []


def test_a_name_is_one_class() -> None:
    """Two public classes have the same name only where the glossary lists both."""
    homes = defaultdict(set)
    for one in classes():
        homes[one.name].add(one.path)
    twice = {name: paths for name, paths in homes.items() if len(paths) > 1}
    listed = {row[0].strip("`"): set(re.findall(r"`([^`]+)`", row[1])) for row in rows("name")}
    assert twice == listed
