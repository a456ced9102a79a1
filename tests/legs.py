"""Legs of a call, for tests that need no telephone."""

from datetime import UTC, datetime
from typing import Any

from storage.catalogue.calls import parse_leg
from storage.records import LegRecord

ZERO = datetime(2026, 11, 23, 12, tzinfo=UTC)


def leg(id_: str, *, joined: bool = True, left: bool = False, **more: Any) -> LegRecord:
    """Return an agent's leg that is up; it joined, and left, at `ZERO`, if it did.

    `more` are fields as the catalogue keeps them: instants are ISO texts.
    """
    usual: dict[str, Any] = {
        "id": id_,
        "name": f"PJSIP/{id_}-00000001",
        "state": "Up",
        "party": "agent",
        "created_at": ZERO.isoformat(),
        "joined_at": ZERO.isoformat() if joined else None,
        "bridge_id": "b" if joined and not left else None,
        "left_at": ZERO.isoformat() if left else None,
    }
    return parse_leg(usual | more)
