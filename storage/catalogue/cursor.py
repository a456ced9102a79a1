"""Cursors of lists: where the next page begins, opaque to a client. Pure."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from storage.errors import BadCursor


def encode_cursor(*position: str) -> str:
    """Make a cursor of the last item's sort key."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *parsers: Callable[[str], Any]) -> tuple[Any, ...]:
    """The sort key in a cursor, each part read by its parser; BadCursor if it is not ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        return tuple(parse(part) for parse, part in zip(parsers, position, strict=True))
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise BadCursor("the cursor is not one that this list gave out") from error
