"""Every catalogue has every text of the pages."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from api.pages.page import LANGUAGES

ROOT = Path(__file__).resolve().parents[3]


def words() -> set[str]:
    """Return the texts of the pages."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = extract_from_dir(ROOT / "api", _below(methods), _below_options(options))
    return {str(message) for _, _, message, _, _ in found}


def _below(methods: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(pattern.removeprefix("api/"), method) for pattern, method in methods]


def _below_options(options: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {pattern.removeprefix("api/"): one for pattern, one in options.items()}


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_a_catalogue_is_whole(language: str) -> None:
    """Each text is translated with the same placeholders, and no translation is unused."""
    path = ROOT / "api/translations" / language / "LC_MESSAGES/messages.po"
    with path.open("rb") as file:
        kept = {str(one.id): str(one.string) for one in read_po(file) if one.id}
    said = words()
    assert len(said) > 150
    assert kept.keys() == said
    assert [id_ for id_, text in kept.items() if not text] == []
    places = re.compile(r"{\w+}")
    wrong = [id_ for id_, text in kept.items() if {*places.findall(id_)} != {*places.findall(text)}]
    assert wrong == []
