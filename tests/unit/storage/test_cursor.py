"""Cursors are opaque, and the lists accept only their own."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.catalogue.cursor import decode_cursor, encode_cursor
from storage.errors import BadCursor


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1, max_size=4)
)
def test_round_trip(position: list[str]) -> None:
    """A cursor gives back the position in it."""
    assert decode_cursor(encode_cursor(*position), *[str] * len(position)) == tuple(position)


def test_parts_are_parsed() -> None:
    """Each part comes back with its type."""
    now = datetime.now(UTC)
    cursor = encode_cursor(now.isoformat(), "main-1.0")
    assert decode_cursor(cursor, datetime.fromisoformat, str) == (now, "main-1.0")


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    """A text that is no cursor raises BadCursor and no other error."""
    with pytest.raises(BadCursor):
        decode_cursor(text, UUID)


@pytest.mark.parametrize("part", ["a\0", "\ud800"])
def test_text_that_postgresql_refuses_is_refused(part: str) -> None:
    """A cursor with a text that PostgreSQL refuses raises BadCursor."""
    with pytest.raises(BadCursor):
        decode_cursor(encode_cursor(part), str)


def test_too_few_parts_are_refused() -> None:
    """A list refuses the cursor of another list."""
    with pytest.raises(BadCursor):
        decode_cursor(encode_cursor("a"), str, str)
