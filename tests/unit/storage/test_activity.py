"""The present activity of a call."""

from dataclasses import replace
from typing import Any

import pytest

from storage.records import CallRecord
from tests.legs import ZERO, leg

CALL = CallRecord("main-1", "main", "up", "inbound", ZERO)
CUSTOMER = leg("c", party="customer")
AGENT = leg("a")
RINGING = leg("a", joined=False, state="Ringing")
HOLDING = leg("a", holds=[[ZERO.isoformat(), None]])
HALF = leg("l", party=None, name="Local/2001@agents-1;2", state="Ring")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "ringing", "channels": (CUSTOMER,)}, "ringing"),
        ({"channels": (CUSTOMER,)}, "menu"),
        ({"channels": (CUSTOMER,), "people": 1}, "menu"),
        ({"channels": (CUSTOMER, HALF)}, "menu"),
        ({"channels": (CUSTOMER, RINGING)}, "ringing"),
        ({"channels": (CUSTOMER, leg("a", left=True, state="Gone"))}, "menu"),
        ({"queue": "sales", "channels": (CUSTOMER,)}, "menu"),
        ({"queue": "sales", "waiting_since": ZERO, "channels": (CUSTOMER, RINGING)}, "waiting"),
        ({"channels": (CUSTOMER, AGENT), "people": 2}, "talking"),
        ({"channels": (CUSTOMER,), "joined": ("main-2",), "people": 2}, "talking"),
        ({"channels": (CUSTOMER, HOLDING), "people": 2}, "on_hold"),
        ({"channels": (CUSTOMER, HOLDING), "people": 3}, "conference"),
        ({"state": "ended", "people": 2, "queue": "sales", "waiting_since": ZERO}, None),
    ],
)
def test_the_activity_is_true(fields: dict[str, Any], expected: str | None) -> None:
    """A caller in a queue or a menu does not talk, and a conference has three people."""
    call = replace(CALL, **fields)
    assert call.activity == expected
    assert call.talking is (expected in ("talking", "on_hold", "conference"))
    assert call.is_waiting is (expected == "waiting")
