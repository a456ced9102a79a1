"""User events: the data of an event as the variables of a ChannelUserevent."""

from datetime import UTC, datetime

from recorder.watch.user_events import build_variables
from storage.records import EventRecord


def test_variables_are_texts() -> None:
    """Texts stay as they are, other values become JSON, and empty fields are left out."""
    data = {"call_id": "main-1.0", "spies": ["a"], "ended": False, "n": 3, "agent": None}
    event = EventRecord("7-1", "call.up", datetime(2026, 11, 24, 12, tzinfo=UTC), None, data)
    assert build_variables(event) == {
        "call_id": "main-1.0",
        "spies": '["a"]',
        "ended": "false",
        "n": "3",
        "event_id": "7-1",
        "at": "2026-11-24T12:00:00+00:00",
    }
