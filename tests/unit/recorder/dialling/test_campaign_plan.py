"""The planner of campaigns: who calls whom, and never more, never at night, never a listed one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.dialling.campaign_plan import (
    Plan,
    WaitingEntry,
    count_attempt,
    most_attempts,
    plan_campaign,
)
from storage.records import CampaignRecord, DialRecord, Hours

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BERLIN, TOKYO = ("Europe/Berlin",), ("Asia/Tokyo",)
ZONES = (BERLIN, TOKYO, ("America/New_York",), ("Europe/Moscow", "Asia/Vladivostok"))
CAMPAIGN = CampaignRecord(
    id=UUID(int=1),
    name="spring",
    pbx="main",
    mode="progressive",
    state="running",
    hours=Hours(8, 20, (1, 2, 3, 4, 5, 6)),
    retry_after_s=(900, 3600),
    created_at=NOW,
    created_by="root",
)
DIAL = DialRecord(
    id=UUID(int=2),
    call_id="main-1",
    pbx="main",
    phone="PJSIP/2001",
    number="+4930",
    state="ended",
    created_by="root",
    requested_at=NOW,
    ended_at=NOW + timedelta(seconds=30),
)


def waiting(place: int, zones: tuple[str, ...] = BERLIN, **fields: Any) -> WaitingEntry:
    """Return a waiting entry that is due."""
    usual: dict[str, Any] = {
        "id": UUID(int=place + 100),
        "place": place,
        "number": f"+49{place}",
        "zones": zones,
        "next_at": NOW - timedelta(hours=1),
    }
    return WaitingEntry(**usual | fields)


def plan(*entries: WaitingEntry, ready: tuple[str, ...] = ("2001",), **more: Any) -> Plan:
    """Plan with these entries, in their groups."""
    in_order = sorted(entries, key=lambda one: (one.zones, one.next_at, one.place))
    groups = [(zones, list(found)) for zones, found in groupby(in_order, lambda one: one.zones)]
    now, campaign = more.pop("now", NOW), more.pop("campaign", CAMPAIGN)
    return plan_campaign(now, campaign, ready, groups, **more)


def pairs(planned: Plan) -> list[tuple[str, int]]:
    """Return the agents and the places of the reservations."""
    return [(one.agent, one.entry.place) for one in planned.reservations]


def test_each_agent_gets_the_entry_that_waits_longest() -> None:
    """The first agent gets the entry that is due first, whatever its zone."""
    older = waiting(3, ("Europe/Paris",), next_at=NOW - timedelta(hours=2))
    planned = plan(waiting(1), waiting(2), older, ready=("2001", "2002"))
    assert pairs(planned) == [("2001", 3), ("2002", 1)]


def test_a_number_at_night_waits_for_its_morning() -> None:
    """A number outside its hours is not dialled; the plan says when to look again."""
    planned = plan(waiting(1, TOKYO))
    assert not planned.reservations
    assert planned.next_at == datetime(2026, 11, 30, 23, 0, tzinfo=UTC)  # 08:00 in Tokyo


def test_zones_that_are_never_open_together_are_refused() -> None:
    """A number of which no moment suits all zones is refused, as nobody would ever dial it."""
    narrow = replace(CAMPAIGN, hours=Hours(9, 12))
    planned = plan(waiting(1, ZONES[3]), campaign=narrow)
    assert [cause for _, cause in planned.refusals] == ["no-hours"]


def test_a_listed_number_is_refused_and_the_next_one_dialled() -> None:
    """A number of the do-not-call list is refused and costs no agent."""
    planned = plan(waiting(1), waiting(2), listed={"+491"})
    assert [(one.place, why) for one, why in planned.refusals] == [(1, "do-not-call")]
    assert pairs(planned) == [("2001", 2)]


def test_a_number_that_is_live_is_left_alone() -> None:
    """A number that is in a call of ours is not dialled again, and neither is one number twice."""
    twin = waiting(3, number="+492")
    planned = plan(waiting(1), waiting(2), twin, ready=("2001", "2002"), live={"+491"})
    assert pairs(planned) == [("2001", 2)]
    assert planned.next_at is not None


def test_an_entry_that_is_not_due_waits() -> None:
    """Before its time an entry is not dialled, and the plan looks again at that time."""
    later = NOW + timedelta(minutes=5)
    assert plan(waiting(1, next_at=later)).next_at == later


def test_a_reservation_says_why_it_is_allowed() -> None:
    """A reservation carries the hours, the zones, the check of the list, consent and attempt."""
    (one,) = plan(waiting(1, consent="signed 2026-01-02", attempts=1)).reservations
    assert one.allowed_by == {
        "hours": {"from_hour": 8, "to_hour": 20, "weekdays": [1, 2, 3, 4, 5, 6]},
        "local_times": {"Europe/Berlin": "Mon 13:00"},
        "do_not_call_checked_at": "2026-11-30T12:00:00+00:00",
        "consent": "signed 2026-01-02",
        "attempt": 2,
        "most_attempts": 3,
    }


@pytest.mark.parametrize(
    ("fields", "attempts", "expected"),
    [
        ({"cause": "ended", "answered_at": NOW, "talked_at": NOW}, 0, ("done", 1, None)),
        ({"cause": "ended", "answered_at": NOW}, 0, ("done", 1, None)),
        ({"cause": "busy", "answered_at": NOW}, 0, ("waiting", 1, 930)),
        ({"cause": "no-answer", "answered_at": NOW}, 1, ("waiting", 2, 3630)),
        ({"cause": "no-answer", "answered_at": NOW}, 2, ("exhausted", 3, None)),
        ({"cause": "wrong-number", "answered_at": NOW}, 0, ("exhausted", 1, None)),
        ({"cause": "declined", "answered_at": NOW}, 0, ("exhausted", 1, None)),
        ({"cause": "cancelled", "answered_at": NOW}, 0, ("waiting", 1, 930)),
        ({"cause": "pbx-lost", "answered_at": NOW}, 0, ("waiting", 1, 930)),
        ({"cause": "busy"}, 0, ("waiting", 1, 930)),
        ({"cause": "cancelled"}, 0, ("waiting", 0, 90)),
        ({"cause": "pbx-lost"}, 0, ("waiting", 0, 90)),
        ({"cause": "pbx-unreachable"}, 0, ("waiting", 0, 90)),
        ({"cause": "not-permitted"}, 0, ("waiting", 0, 90)),
        ({"cause": "agent-no-answer"}, 2, ("waiting", 2, 30)),
        ({"cause": "agent-busy"}, 0, ("waiting", 0, 30)),
    ],
)
def test_an_attempt_counts_once_the_number_was_dialled(
    fields: dict[str, Any], attempts: int, expected: tuple[str, int, int | None]
) -> None:
    """Each end of a call gives the entry its state, its count and its next time."""
    counted = count_attempt(CAMPAIGN, attempts, replace(DIAL, **fields))
    state, count, wait_s = expected
    next_at = NOW + timedelta(seconds=wait_s) if wait_s is not None else None
    assert (counted.state, counted.attempts, counted.next_at) == (state, count, next_at)


@pytest.mark.parametrize("cause", ["agent-no-answer", "agent-declined", "agent-unreachable"])
def test_an_agent_who_does_not_answer_is_away(cause: Any) -> None:
    """An agent whose phone is not answered gets no further call."""
    assert count_attempt(CAMPAIGN, 0, replace(DIAL, cause=cause)).is_away


def test_an_agent_wraps_up_after_a_talk_alone() -> None:
    """After a talk the agent has the time of the campaign; after a busy number none is needed."""
    talked = replace(DIAL, cause="ended", answered_at=NOW, talked_at=NOW)
    busy = replace(DIAL, cause="busy", answered_at=NOW)
    assert [count_attempt(CAMPAIGN, 0, one).rests_s for one in (talked, busy)] == [10, 0]


entries_of_lists = st.lists(
    st.builds(
        waiting,
        st.integers(0, 30),
        st.sampled_from(ZONES),
        next_at=st.integers(-3000, 3000).map(lambda minutes: NOW + timedelta(minutes=minutes)),
        attempts=st.integers(0, 4),
    ),
    max_size=40,
)
numbers = st.integers(0, 30).map(lambda place: f"+49{place}")


@given(
    entries_of_lists,
    st.lists(st.sampled_from(["2001", "2002", "2003", "2004"]), max_size=6),
    st.frozensets(numbers),
    st.frozensets(numbers),
    st.integers(0, 7 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
def test_no_plan_breaks_a_rule(
    entries: list[WaitingEntry],
    ready: list[str],
    listed: frozenset[str],
    live: frozenset[str],
    now: datetime,
) -> None:
    """Whatever the list, a plan keeps the hours, the list, the attempts and one agent a call."""
    planned = plan(*entries, ready=tuple(ready), listed=listed, live=live, now=now)
    agents = [one.agent for one in planned.reservations]
    dialled = [one.entry for one in planned.reservations]
    assert len(set(agents)) == len(agents)
    assert set(agents) <= set(ready)
    assert len({one.number for one in dialled}) == len(dialled)
    assert not {one.number for one in dialled} & (listed | live)
    assert all(one.next_at <= now and one.attempts < most_attempts(CAMPAIGN) for one in dialled)
    for one in dialled:
        assert all(is_in_hours(zone, now) for zone in one.zones)
    assert not {one for one, _ in planned.refusals} & set(dialled)
    due = [one for one in entries if one.next_at <= now and one not in dialled]
    left = [one for one in due if one not in {refused for refused, _ in planned.refusals}]
    if left and len(agents) < len(set(ready)):
        assert planned.next_at is not None
        assert planned.next_at > now


def is_in_hours(zone: str, at: datetime) -> bool:
    """Whether it is 8 to 20 there, from Monday to Saturday."""
    local = at.astimezone(ZoneInfo(zone))
    return 8 <= local.hour < 20 and local.weekday() < 6
