"""Spies, for tests that need no telephone."""

from typing import Any
from uuid import UUID

from storage.records import SpyRecord
from tests.legs import ZERO

SPY_ID = UUID(int=7)


def spy(**changes: Any) -> SpyRecord:
    """Return a live spy of a phone that listens and may use every mode, with these changes."""
    usual: dict[str, Any] = {
        "id": SPY_ID,
        "call_id": "main-1.0",
        "pbx": "main",
        "mode": "listen",
        "destination": "PJSIP/9001",
        "state": "live",
        "supervisor": "sue",
        "follow": "call",
        "started_at": ZERO,
        "may": ("listen", "whisper", "barge"),
    }
    return SpyRecord(**usual | changes)
