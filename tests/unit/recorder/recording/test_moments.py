"""The decisions of the past, joined for people in one conversation."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.recording.moments import Courses, Period
from storage.records import DecisionRecord
from tests.legs import ZERO


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def decided(*moments: tuple[float, str], priority: int = 100, ruled: bool = True) -> DecisionRecord:
    """Return the decision of a call with an action from each of these seconds on."""
    rule = {"id": "r", "version": 1, "name": "r", "priority": priority} if ruled else None
    made = tuple(
        {"at": at(second).isoformat(), "action": it, "rule": rule} for second, it in moments
    )
    return DecisionRecord("main-1.0", moments[-1][1], rule, "", made)  # type: ignore[arg-type]


def build(decisions: Iterable[DecisionRecord], to_s: float = 10) -> list[Period]:
    """Return the periods of people about each of whom one of these decisions was made."""
    named = [replace(one, call_id=f"main-{place}") for place, one in enumerate(decisions)]
    courses = Courses(named)
    return list(courses.iter_periods([one.call_id for one in named], at(0), at(to_s)))


def periods(*decisions: DecisionRecord) -> list[tuple[float, float, str]]:
    """Return the periods of ten seconds, as seconds and a word."""
    found = build(decisions)
    return [
        (
            (one.from_at - ZERO).total_seconds(),
            (one.to_at - ZERO).total_seconds(),
            "forbidden" if one.is_forbidden else "wanted" if one.is_wanted else "free",
        )
        for one in found
    ]


@pytest.mark.parametrize(
    ("decisions", "found"),
    [
        ([], [(0, 10, "free")]),
        ([decided((0, "record"))], [(0, 10, "wanted")]),
        ([decided((0, "record"), ruled=False)], [(0, 10, "wanted")]),
        ([decided((4, "force"))], [(0, 4, "free"), (4, 10, "wanted")]),
        ([decided((0, "on_demand"))], [(0, 10, "free")]),
        ([decided((0, "never"))], [(0, 10, "forbidden")]),
        ([decided((0, "never"), ruled=False)], [(0, 10, "free")]),
        ([decided((0, "record"), (5, "never"))], [(0, 5, "wanted"), (5, 10, "forbidden")]),
        ([decided((0, "record"), (5, "on_demand"))], [(0, 5, "wanted"), (5, 10, "free")]),
        (
            [decided((0, "record"), (5, "never"), (7, "on_demand"))],
            [(0, 5, "wanted"), (5, 7, "forbidden"), (7, 10, "free")],
        ),
        (
            [decided((0, "record")), decided((5, "never"))],
            [(0, 5, "wanted"), (5, 10, "forbidden")],
        ),
        ([decided((0, "record")), decided((0, "never"), ruled=False)], [(0, 10, "wanted")]),
        ([decided((0, "on_demand")), decided((0, "record"))], [(0, 10, "wanted")]),
        (
            [decided((0, "force"), priority=1), decided((0, "never"), priority=2)],
            [(0, 10, "wanted")],
        ),
        (
            [decided((0, "force"), priority=2), decided((0, "never"), priority=1)],
            [(0, 10, "forbidden")],
        ),
        ([decided((0, "force")), decided((0, "never"))], [(0, 10, "forbidden")]),
    ],
    ids=[
        "none",
        "record",
        "default-record",
        "later",
        "on-demand",
        "never",
        "default-never",
        "then-never",
        "no-more",
        "begins-anew",
        "another-forbids",
        "a-default-forbids-nothing",
        "another-wants",
        "force-first",
        "never-first",
        "never-before-force",
    ],
)
def test_joined_periods(
    decisions: list[DecisionRecord], found: list[tuple[float, float, str]]
) -> None:
    """`force` and `never` win by priority; then anybody's wish to record."""
    assert periods(*decisions) == found


def test_the_time_of_the_facts_counts() -> None:
    """A moment applies from the time of the event on the PBX, not from its evaluation."""
    late: dict[str, Any] = {
        "at": at(5.2).isoformat(),
        "since": at(5).isoformat(),
        "action": "never",
        "rule": {"id": "r", "version": 1, "name": "r"},
    }
    first = decided((0, "record"))
    one = DecisionRecord("main-1.0", "never", None, "", (*first.moments, late))
    assert periods(one) == [(0, 5, "wanted"), (5, 10, "forbidden")]


def test_no_time_has_no_period() -> None:
    """A span without any length has no period."""
    assert build([decided((0, "record"))], 0) == []


def test_a_call_without_a_decision_wants_nothing() -> None:
    """Rules that were never evaluated for a call neither want nor forbid."""
    found = Courses([]).iter_periods(["main-1"], at(0), at(10))
    assert list(found) == [Period(at(0), at(10), False, False)]


actions = st.sampled_from(["force", "record", "on_demand", "never"])
courses = st.lists(st.tuples(st.integers(0, 10), actions), min_size=1, max_size=6).map(sorted)


@given(st.lists(courses, max_size=3))
def test_periods_fill_the_time_and_differ(made: list[list[tuple[int, str]]]) -> None:
    """The periods follow each other without a break, and neighbours differ."""
    found = build(decided(*course) for course in made)
    assert (found[0].from_at, found[-1].to_at) == (at(0), at(10))
    for one, other in pairwise(found):
        assert one.to_at == other.from_at
        assert _kind(one) != _kind(other)
    assert not any(one.is_wanted and one.is_forbidden for one in found)


def _kind(period: Period) -> tuple[bool, bool]:
    return period.is_wanted, period.is_forbidden
