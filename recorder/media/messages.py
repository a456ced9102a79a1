"""The messages of a page, read without trust. Pure."""

import json
from typing import Any

from recorder.media.pacing import FRAME_BYTES


def cut_frames(message: bytes) -> list[bytes] | None:
    """Return the frames of a binary message; None unless it holds whole frames, one at least.

    A rest would shift every later sample by a byte, which sounds as loud noise.
    """
    if not message or len(message) % FRAME_BYTES:
        return None
    return [message[at : at + FRAME_BYTES] for at in range(0, len(message), FRAME_BYTES)]


def parse_object(message: str) -> dict[str, Any] | None:
    """Return the fields of a text message; None unless it is a JSON object.

    Example: `{"type": "levels"}` has one field; `[1]`, `"levels"` and `{"type"` have none.
    """
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):  # RecursionError: thousands of brackets
        return None
    return value if isinstance(value, dict) else None
