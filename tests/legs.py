"""Channels of a call as the catalogue keeps them, for tests that need no telephone."""

from datetime import UTC, datetime
from typing import Any

ZERO = datetime(2026, 11, 23, 12, tzinfo=UTC)


def leg(id_: str, *, joined: bool = True, left: bool = False, **more: Any) -> dict[str, Any]:
    """A channel that is up, of an agent; it joined, and left, at `ZERO`, where it did."""
    return {
        "id": id_,
        "name": f"PJSIP/{id_}-00000001",
        "state": "Up",
        "party": "agent",
        "number": None,
        "caller_name": None,
        "exten": "",
        "created_at": ZERO.isoformat(),
        "joined_at": ZERO.isoformat() if joined else None,
        "side": "right" if joined else None,
        "bridge_id": None,
        "left_at": ZERO.isoformat() if left else None,
        "vanished": False,
    } | more
