"""Cursors of lists: where the next page begins, opaque to a client. Pure."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from storage.errors import BadCursor
from storage.records import Slice

T = TypeVar("T")


def encode_cursor(*position: str) -> str:
    """Make a cursor of the last item's sort key."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *parsers: Callable[[str], Any]) -> tuple[Any, ...]:
    """The sort key in a cursor, each part read by its parser; BadCursor if it is not ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if any(b"\0" in part.encode() for part in position):  # nor half a surrogate pair
            raise ValueError("PostgreSQL keeps no NUL")
        return tuple(parse(part) for parse, part in zip(parsers, position, strict=True))
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise BadCursor("the cursor is not one that this list gave out") from error


def slice_of(
    found: Sequence[T], limit: int | None, position: Callable[[T], tuple[str, ...]]
) -> Slice[T]:
    """The page of so many (None: of all), where one more was looked for, to know if it goes on."""
    if limit is None or len(found) <= limit:
        return Slice(tuple(found), None)
    return Slice(tuple(found[:limit]), encode_cursor(*position(found[limit - 1])))


def one_more(limit: int | None) -> int | None:
    """How many rows to look for, for `slice_of`."""
    return None if limit is None else limit + 1
