"""Cursors of lists: the position where a list continues, opaque to clients. Pure."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from storage.errors import BadCursor
from storage.records import Slice

T = TypeVar("T")


def encode_cursor(*position: str) -> str:
    """Build a cursor from the sort key of the last item."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *parsers: Callable[[str], Any]) -> tuple[Any, ...]:
    """Read the sort key from a cursor, each part by its parser. Raises BadCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if any(
            b"\0" in part.encode() for part in position
        ):  # encode() refuses half a surrogate pair
            raise ValueError("PostgreSQL keeps no NUL")
        return tuple(parse(part) for parse, part in zip(parsers, position, strict=True))
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise BadCursor("the cursor is not one that this list gave out") from error


def parse_int4(text: str) -> int:
    """Parse a number that fits into a column of the type `integer`. Raises ValueError."""
    number = int(text)
    if not -(2**31) <= number < 2**31:
        raise ValueError("too large for an integer of PostgreSQL")
    return number


def slice_of(
    found: Sequence[T], limit: int | None, position: Callable[[T], tuple[str, ...]]
) -> Slice[T]:
    """Build a slice of `limit` items (None: all) from `found`, which holds one more if the list
    goes on."""
    if limit is None or len(found) <= limit:
        return Slice(tuple(found), None)
    return Slice(tuple(found[:limit]), encode_cursor(*position(found[limit - 1])))


def one_more(limit: int | None) -> int | None:
    """Return the number of rows to read for `slice_of`."""
    return None if limit is None else limit + 1
