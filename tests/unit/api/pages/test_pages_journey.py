"""The steps of a call on its page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from api.pages.journey import journey_of
from storage.records import CallRecord
from tests.legs import leg

ZERO = datetime(2026, 11, 25, 12, tzinfo=UTC)


def at(second: int) -> str:
    return (ZERO + timedelta(seconds=second)).isoformat()


def test_in_order() -> None:
    """The steps are in order: ringing, answer, hold, resume, transfer, hang-up."""
    first = {"joined_at": at(2), "holds": [[at(3), at(5)], [at(6), None]], "left_at": at(8)}
    first |= {"transferred_at": at(7), "transferred_to": "2002"}
    call = CallRecord("main-1.0", "main", "ended", "inbound", ZERO)
    call = replace(
        call,
        answered_at=ZERO + timedelta(seconds=1),
        ended_at=ZERO + timedelta(seconds=11),
        channels=(
            leg("1.1", number="2001", **first),
            leg("1.2", number="2002", joined_at=at(9), left_at=at(10)),
            leg("1.3", joined=False, number="2003"),  # rang, and was never in it
        ),
    )
    assert [(step.what, step.who, step.to) for step in journey_of(call)] == [
        ("rings", "", ""),
        ("answered", "", ""),
        ("joins", "2001", ""),
        ("holds", "2001", ""),
        ("unholds", "2001", ""),
        ("holds", "2001", ""),
        ("transfers", "2001", "2002"),
        ("leaves", "2001", ""),
        ("joins", "2002", ""),
        ("leaves", "2002", ""),
        ("ended", "", ""),
    ]
