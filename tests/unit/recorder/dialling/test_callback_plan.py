"""The plan of a call-back: the next attempt, or the end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.dialling.callback_plan import End, Wait, plan_after, plan_again, plan_at
from recorder.dialling.hours import is_open
from storage.records import CallbackRecord, DialCause, DialRecord, Hours

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
ZONES = ("Europe/Berlin",)
DAYS = (1, 2, 3, 4, 5, 6, 7)
MINUTE = timedelta(minutes=1)
CALLBACK = CallbackRecord(
    id=uuid4(),
    pbx="main",
    phone="PJSIP/2001",
    agent="2001",
    number="+4930901820",
    state="dialling",
    at=NOON,
    due_at=NOON,
    next_at=NOON,
    hours=Hours(8, 20, DAYS),
    retry_after_s=(900, 3600),
    created_at=NOON - timedelta(hours=1),
    created_by="ann",
)


def dial(cause: DialCause | None, *, answered: bool = True, talked: bool = False) -> DialRecord:
    """Return an ended dial of the call-back."""
    return DialRecord(
        id=uuid4(),
        call_id="main-1",
        pbx="main",
        phone="PJSIP/2001",
        number="+4930901820",
        state="ended",
        created_by="ann",
        requested_at=NOON,
        cause=cause,
        answered_at=NOON if answered else None,
        talked_at=NOON if talked else None,
        ended_at=NOON,
        callback_id=CALLBACK.id,
    )


def test_a_talk_ends_the_call_back() -> None:
    """After a talk, however short, the call-back is done, whatever ended the call."""
    for cause in ("ended", "pbx-lost"):
        step = plan_after(CALLBACK, dial(cause, talked=True), ZONES, NOON)
        assert step == End("done", attempts=1)
    at_once = plan_after(CALLBACK, dial("ended"), ZONES, NOON)
    assert at_once == End("done", attempts=1)


@pytest.mark.parametrize("cause", ["busy", "no-answer", "declined", "congestion", "cancelled"])
def test_an_attempt_waits_for_the_next_one(cause: DialCause) -> None:
    """Each attempt is followed by the next wait of the plan, and the last one by the end."""
    first = plan_after(CALLBACK, dial(cause), ZONES, NOON)
    assert first == Wait(NOON + 15 * MINUTE, NOON + 15 * MINUTE, 1, cause)
    second = plan_after(replace(CALLBACK, attempts=1), dial(cause), ZONES, NOON)
    assert second == Wait(NOON + 60 * MINUTE, NOON + 60 * MINUTE, 2, cause)
    third = plan_after(replace(CALLBACK, attempts=2), dial(cause), ZONES, NOON)
    assert third == End("failed", cause, attempts=3)


def test_a_dial_that_a_person_hung_up_is_used_up() -> None:
    """A call that was cancelled counts, also before the agent's answer: nobody rings for ever."""
    step = plan_after(CALLBACK, dial("cancelled", answered=False), ZONES, NOON)
    assert step == Wait(NOON + 15 * MINUTE, NOON + 15 * MINUTE, 1, "cancelled")


@pytest.mark.parametrize("cause", ["agent-busy", "agent-no-answer", "agent-declined"])
def test_an_agent_who_is_not_free_uses_up_no_attempt(cause: DialCause) -> None:
    """The agent's phone rings again after a minute, and the number of attempts stays."""
    step = plan_after(CALLBACK, dial(cause, answered=False), ZONES, NOON)
    assert step == Wait(NOON + MINUTE, NOON, 0, cause)


@pytest.mark.parametrize("cause", ["pbx-lost", "pbx-unreachable"])
def test_a_lost_pbx_uses_up_no_attempt_before_the_number_rang(cause: DialCause) -> None:
    """A PBX that went away counts as an attempt only after the agent's answer."""
    early = plan_after(CALLBACK, dial(cause, answered=False), ZONES, NOON)
    assert early == Wait(NOON + MINUTE, NOON, 0, cause)
    late = plan_after(CALLBACK, dial(cause), ZONES, NOON)
    assert late == Wait(NOON + 15 * MINUTE, NOON + 15 * MINUTE, 1, cause)


def test_an_agent_who_is_never_free_ends_it_after_a_day() -> None:
    """After a day of attempts to reach the agent, the call-back has failed."""
    last = plan_again(CALLBACK, ZONES, NOON + timedelta(hours=23), "agent-busy")
    assert isinstance(last, Wait)
    over = plan_again(CALLBACK, ZONES, NOON + timedelta(hours=24), "agent-busy")
    assert over == End("failed", "agent-busy")


def test_the_tries_count_from_the_time_of_the_promise() -> None:
    """A call-back that was never due counts its day from the time that was asked for."""
    record = replace(CALLBACK, due_at=None)
    assert plan_again(record, ZONES, NOON, "in-call") == Wait(NOON + MINUTE, NOON, 0, "in-call")
    over = plan_again(record, ZONES, NOON + timedelta(days=1), "in-call")
    assert over == End("failed", "in-call")


def test_hours_that_never_come_end_it() -> None:
    """The call-back fails, instead of waiting, if no moment suits the number any more."""
    never = replace(CALLBACK, hours=Hours(8, 9, DAYS))
    zones = ("Asia/Tokyo", "Europe/Berlin")
    assert plan_again(never, zones, NOON, "agent-busy") == End("failed", "no-open-hours")
    after = plan_after(never, dial("busy"), zones, NOON)
    assert after == End("failed", "no-open-hours", attempts=1)


def test_a_refused_dial_ends_it() -> None:
    """A dial that was not permitted is not repeated, and dialled nobody."""
    step = plan_after(CALLBACK, dial("not-permitted", answered=False), ZONES, NOON)
    assert step == End("failed", "not-permitted", attempts=0)


def test_a_wrong_number_is_not_dialled_again() -> None:
    """A number that does not exist ends the call-back at its first attempt."""
    assert plan_after(CALLBACK, dial("wrong-number"), ZONES, NOON) == End(
        "failed", "wrong-number", attempts=1
    )


def test_a_time_outside_the_hours_moves_and_says_so() -> None:
    """The next open time is planned, with the cause `outside-hours` unless there is another."""
    night = NOON + timedelta(hours=8)
    morning = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)
    assert plan_at(CALLBACK, ZONES, night) == Wait(morning, morning, 0, "outside-hours")
    assert plan_at(CALLBACK, ZONES, night, cause="busy") == Wait(morning, morning, 0, "busy")
    assert plan_at(CALLBACK, ZONES, NOON) == Wait(NOON, NOON, 0, None)
    never = replace(CALLBACK, hours=Hours(8, 9, DAYS))
    assert plan_at(never, ("Asia/Tokyo", "Europe/Berlin"), NOON) == End("failed", "no-open-hours")


@given(
    ended=st.builds(
        dial,
        st.sampled_from(get_args(DialCause)),
        answered=st.booleans(),
        talked=st.booleans(),
    ),
    attempts=st.integers(0, 3),
    retries=st.lists(st.integers(60, 604_800), max_size=3),
    minutes=st.integers(0, 60 * 24 * 30),
)
def test_every_plan_keeps_the_hours_and_comes_to_an_end(
    ended: DialRecord, attempts: int, retries: list[int], minutes: int
) -> None:
    """A next attempt is in the future and within the hours, and never one too many."""
    now = NOON + timedelta(minutes=minutes)
    record = replace(
        CALLBACK, attempts=min(attempts, len(retries)), retry_after_s=tuple(retries), due_at=now
    )
    step = plan_after(record, ended, ZONES, now)
    if isinstance(step, End):
        assert step.state in ("done", "failed")
        return
    assert step.next_at > now
    assert is_open(record.hours, ZONES, step.next_at)
    assert step.attempts <= len(retries)
