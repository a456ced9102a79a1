"""Ended calls, compared with their recordings."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from recorder.recording.assurance import Meeting, assure
from storage.records import (
    Assurance,
    CallRecord,
    DecisionRecord,
    EndedBy,
    Gap,
    Pause,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)
from tests.legs import ZERO, leg

ID = UUID(int=1)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def call(*, talk: bool = True) -> CallRecord:
    """Return a call of a minute, whose agent joined after ten seconds."""
    ends = {"left_at": at(60).isoformat()}
    legs = [leg("c", party="customer", **ends)]
    if talk:
        legs.append(leg("a", joined_at=at(10).isoformat(), **ends))
    return CallRecord(
        "main-1.0", "main", "ended", "inbound", ZERO, ended_at=at(60), channels=tuple(legs)
    )


def decided(action: str = "record", second: float = 10, now: str | None = None) -> DecisionRecord:
    """Return a decision with one evaluation at this second; `now` is the action at the end."""
    rule = {"id": "r", "version": 1, "name": "r"}
    moment = {"at": at(second).isoformat(), "action": action, "rule": rule}
    return DecisionRecord("main-1.0", now or action, rule, "", (moment,))  # type: ignore[arg-type]


def recording(**more: Any) -> RecordingRecord:
    fields: dict[str, Any] = {
        "id": ID,
        "call_id": "main-1.0",
        "pbx": "main",
        "state": "captured",
        "trigger": "rule",
        "layout": "dual",
        "format": "opus",
        "pause_leaves": "silence",
        "direction": "inbound",
        "started_at": at(10),
        "ended_at": at(60),
    }
    return RecordingRecord(**{**fields, **more})


def segment(from_s: float, to_s: float, state: str = "finished") -> SegmentRecord:
    return SegmentRecord(ID, ID, "a", "right", state, "x", at(from_s), at(to_s))


def assured(
    call: CallRecord,
    decision: DecisionRecord,
    made: list[RecordingRecord],
    parts: list[SegmentRecord],
) -> Assurance:
    """Assure a call that met no other."""
    return assure(Meeting(call, {call.id: call}, [decision], made, parts))


@pytest.mark.parametrize(
    ("decision", "made", "parts", "found"),
    [
        (decided(), [recording()], [segment(10.2, 60)], Assurance(50, 49.8, None)),
        (decided("force"), [recording()], [segment(10, 60)], Assurance(50, 50, None)),
        (decided(), [recording()], [segment(10, 30), segment(29, 60)], Assurance(50, 50, None)),
        (
            decided(),
            [recording()],
            [segment(10, 30), segment(40, 60)],
            Assurance(50, 40, "has-gaps"),
        ),
        (decided(), [recording()], [segment(10, 60, "lost")], Assurance(50, 0, "has-gaps")),
        (decided(), [], [], Assurance(50, 0, "never-began")),
        (decided(second=50), [], [], Assurance(10, 0, "never-began")),
        (decided("never"), [], [], Assurance(0, 0, None)),
        (decided("on_demand"), [], [], Assurance(0, 0, None)),
        (
            decided(),
            [recording(state="failed", reason="the disk was full")],
            [segment(10, 60)],
            Assurance(50, 0, "the disk was full"),
        ),
        (
            decided(),
            [recording(trigger="manual")],
            [segment(10, 60)],
            Assurance(50, 0, "never-began"),
        ),
        (
            decided(),
            [recording(pauses=(Pause(at(20), at(30), "ann"),))],
            [segment(10, 20), segment(30, 60)],
            Assurance(40, 40, None),
        ),
        (decided(), [recording(ended_at=at(20))], [segment(10, 20)], Assurance(10, 10, None)),
        (
            decided(),
            [recording(state="stored", gaps=(Gap(5, 8, "unobserved"),))],
            [segment(10, 60)],
            Assurance(50, 47, "has-gaps"),
        ),
        (
            decided(),
            [recording(announcement="sound:x", started_at=at(15))],
            [segment(15, 60)],
            Assurance(45, 45, None),
        ),
        (
            decided(),
            [recording(started_at=at(15))],
            [segment(15, 60)],
            Assurance(50, 45, "has-gaps"),
        ),
        (decided(), [recording()], [segment(11, 60)], Assurance(50, 49, None)),
        (decided(), [recording(state="aborted")], [segment(10, 60)], Assurance(50, 0, "aborted")),
        (
            decided(),
            [
                recording(state="failed", reason="a"),
                recording(state="failed", reason="b"),
                recording(state="aborted"),
            ],
            [],
            Assurance(50, 0, "aborted"),
        ),
        (decided(), [recording(state="stored", ended_at=None)], [], Assurance(50, 50, None)),
        (
            decided(second=10.1234567),
            [recording(started_at=at(10.2))],
            [segment(10.5678912, 60)],
            Assurance(49.877, 49.432, None),
        ),
        (decided(second=70), [], [], Assurance(0, 0, None)),
    ],
    ids=[
        "whole",
        "forced",
        "overlap",
        "gap",
        "lost",
        "never-began",
        "late",
        "never",
        "on-demand",
        "failed",
        "by-hand",
        "paused",
        "stopped",
        "measured",
        "announced",
        "late-start",
        "tolerated",
        "aborted",
        "many-failed",
        "open-end",
        "rounded",
        "after-the-call",
    ],
)
def test_the_missing_time(
    decision: DecisionRecord,
    made: list[RecordingRecord],
    parts: list[SegmentRecord],
    found: Assurance,
) -> None:
    """The expected time is the conversation, from the decision on, less pauses and stops."""
    assert assured(call(), decision, made, parts) == found


def test_nobody_talked() -> None:
    """A call that only one person joined needs no recording."""
    assert assured(call(talk=False), decided(), [], []) == Assurance(0, 0, None)


@pytest.mark.parametrize(
    ("left", "ended_s", "expected_s"),
    [
        ((None, None), 60, 50),
        ((30, None), 60, 20),
        ((None, 30), 60, 20),
        ((None, None, None), None, 10),
    ],
    ids=["nobody", "first", "second", "never-ended"],
)
def test_the_end_of_the_conversation(
    left: tuple[float | None, ...], ended_s: float | None, expected_s: float
) -> None:
    """A leg without an end of its own ends with the call; without that, at the last joining."""
    legs = [
        leg(
            str(place),
            joined_at=at(10 * place).isoformat(),
            left_at=at(end).isoformat() if end is not None else None,
        )
        for place, end in enumerate(left)
    ]
    ended_at = at(ended_s) if ended_s is not None else None
    one = replace(call(), ended_at=ended_at, channels=tuple(legs))
    assert assured(one, decided(), [], []).expected_s == expected_s


def moment(second: float, action: str) -> dict[str, Any]:
    return {"at": at(second).isoformat(), "action": action, "rule": {"name": action}}


@pytest.mark.parametrize(
    ("made", "parts", "found"),
    [
        (
            [recording(ended_at=at(30.1)), recording(id=UUID(int=2), started_at=at(40))],
            [(1, 10, 30.1), (2, 40, 60)],
            Assurance(40, 40, None),
        ),
        ([recording(ended_at=at(30.1))], [(1, 10, 30.1)], Assurance(40, 20, "has-gaps")),
        ([recording(ended_at=at(25))], [(1, 10, 25)], Assurance(15, 15, None)),
        (
            [recording(state="stored", ended_at=at(30.1))],
            [],
            Assurance(40, 20, "has-gaps"),
        ),
        (
            [
                recording(ended_at=at(30.1)),
                recording(id=UUID(int=2), started_at=at(40), announcement="sound:x"),
            ],
            [(1, 20, 30.1), (2, 40, 60)],
            Assurance(40, 30, "has-gaps"),
        ),
        (
            [
                recording(ended_at=at(30.1), announcement="sound:x"),
                recording(id=UUID(int=2), started_at=at(45), announcement="sound:x"),
            ],
            [(1, 20, 30.1), (2, 45, 60)],
            Assurance(35, 25, "has-gaps"),
        ),
    ],
    ids=[
        "begun-again",
        "not-begun-again",
        "stopped-before",
        "measured",
        "announced-at-once",
        "announced-again",
    ],
)
def test_while_it_was_forbidden(
    made: list[RecordingRecord], parts: list[tuple[int, float, float]], found: Assurance
) -> None:
    """Ten forbidden seconds are not expected; the conversation after them is."""
    moments = (moment(10, "record"), moment(30, "never"), moment(40, "record"))
    decision = replace(decided(), moments=moments)
    kept = [
        replace(segment(from_s, to_s), recording_id=UUID(int=id_)) for id_, from_s, to_s in parts
    ]
    assert assured(call(), decision, made, kept) == found


@pytest.mark.parametrize(
    ("ended_by", "expected_s"),
    [(None, 10), ("person", 10), ("rule", 50), ("merge", 50), ("call", 50)],
)
def test_only_a_person_ends_the_wish(ended_by: EndedBy | None, expected_s: float) -> None:
    """After any other end of a recording, the rest of the conversation is missing."""
    made = [recording(ended_at=at(20), ended_by=ended_by)]
    assert assured(call(), decided(), made, [segment(10, 20)]).expected_s == expected_s


@pytest.mark.parametrize(
    ("course", "found"),
    [
        ([(0, "record"), (30, "never")], Assurance(20, 20, None)),
        ([(0, "record"), (25, "on_demand")], Assurance(20, 20, None)),
        ([(0, "record"), (5, "on_demand")], Assurance(20, 20, None)),
        ([(0, "record"), (30, "never"), (40, "on_demand")], Assurance(20, 20, None)),
    ],
    ids=["forbidden", "goes-on", "before-anybody", "begins-not-anew"],
)
def test_a_recording_goes_on_until_it_is_forbidden(
    course: list[tuple[float, str]], found: Assurance
) -> None:
    """A rule that stops to want a recording ends none that has begun, and begins none."""
    decision = replace(decided(), moments=tuple(moment(*one) for one in course))
    made = [recording(ended_at=at(30), ended_by="rule")]
    assert assured(call(), decision, made, [segment(10, 30)]) == found


# Conversations of several calls


def member(number: int, *stays: tuple[str, float, float], **more: Any) -> CallRecord:
    """Return a call whose only leg was in these bridges at these times."""
    rows = [[name, at(from_s).isoformat(), at(to_s).isoformat()] for name, from_s, to_s in stays]
    times = {"joined_at": rows[0][1], "left_at": rows[-1][2], "bridge_id": None}
    one = leg(f"leg{number}", stays=rows, **times, **more)
    ended_at = at(stays[-1][2])
    return CallRecord(
        f"main-{number}", "main", "ended", "inbound", ZERO, ended_at=ended_at, channels=(one,)
    )


def about(number: int, action: str = "record") -> DecisionRecord:
    return replace(decided(action, 0), call_id=f"main-{number}")


def made_for(number: int, from_s: float, to_s: float, **more: Any) -> RecordingRecord:
    times = {"started_at": at(from_s), "ended_at": at(to_s)}
    return recording(id=UUID(int=number), call_id=f"main-{number}", state="stored", **times, **more)


def each(
    calls: list[CallRecord],
    decisions: list[DecisionRecord],
    made: list[RecordingRecord],
    **more: Any,
) -> list[Assurance]:
    """Assure each of the calls that met."""
    met = {one.id: one for one in calls}
    return [assure(Meeting(one, met, decisions, made, **more)) for one in calls]


def test_one_recording_of_a_conference_makes_every_member_whole() -> None:
    """Three calls of one leg each, recorded once: nothing is missing from any."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 5, 30)), member(3, ("room", 10, 60))]
    decisions = [about(1), about(2), about(3)]
    assert each(calls, decisions, [made_for(1, 5, 60)]) == [
        Assurance(55, 55, None),
        Assurance(25, 25, None),
        Assurance(50, 50, None),
    ]


def test_the_loser_of_a_merge_is_whole() -> None:
    """A call whose recording went on in another's lacks nothing."""
    calls = [member(1, ("a", 0, 20), ("c", 20, 60)), member(2, ("b", 0, 20), ("c", 20, 60))]
    calls += [member(3, ("a", 0, 20)), member(4, ("b", 0, 20))]
    decisions = [about(1), about(2)]
    made = [made_for(1, 0, 60), made_for(2, 0, 20.1, ended_by="merge")]
    assert [one.cause for one in each(calls, decisions, made)] == [None] * 4


def test_a_hole_in_a_conference_is_missing_from_everybody_in_it() -> None:
    """Ten seconds that no recording has are missing from the members of that time."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 0, 60)), member(3, ("room", 30, 60))]
    made = [made_for(1, 0, 60, gaps=(Gap(10, 20, "pbx-lost"),))]
    found = each(calls, [about(1)], made)
    assert found == [
        Assurance(60, 50, "has-gaps"),
        Assurance(60, 50, "has-gaps"),
        Assurance(30, 30, None),
    ]


def test_a_conference_without_any_recording_never_began() -> None:
    """The recording of a conversation elsewhere covers nothing here."""
    calls = [member(1, ("x", 0, 20), ("room", 20, 60)), member(2, ("room", 20, 60))]
    calls.append(member(3, ("x", 0, 20)))
    found = each(calls, [about(1), about(2)], [made_for(3, 0, 60)])
    assert found == [
        Assurance(60, 20, "has-gaps"),
        Assurance(40, 0, "never-began"),
        Assurance(20, 20, None),
    ]


def test_a_default_never_of_one_member_asks_for_nothing_less() -> None:
    """A rule that wants a recording of one person gets everybody in the room."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 0, 60))]
    nothing = replace(about(2, "never"), moments=({**about(2, "never").moments[0], "rule": None},))
    assert each(calls, [about(1), nothing], []) == [Assurance(60, 0, "never-began")] * 2


def test_a_never_of_one_member_forbids_all() -> None:
    """While a forbidden person is in the room, nothing of it is expected."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 0, 60)), member(3, ("room", 20, 40))]
    decisions = [about(1), replace(about(3), moments=(moment(0, "never"),), action="never")]
    made = [made_for(1, 0, 20, ended_by="rule"), replace(made_for(1, 40, 60), id=UUID(int=8))]
    assert each(calls, decisions, made) == [
        Assurance(40, 40, None),
        Assurance(40, 40, None),
        Assurance(0, 0, None),
    ]


def test_a_pause_of_anybody_is_left_out() -> None:
    """The time in which a person of the conversation had paused is not expected."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 0, 60)), member(3, ("room", 0, 60))]
    pauses = [PeoplePause(UUID(int=5), "main", ("leg3",), at(10), "2001", at(30))]
    gaps = (Gap(10, 30, "pause"),)
    found = each(calls, [about(1)], [made_for(1, 0, 60, gaps=gaps)], pauses=pauses)
    assert found == [Assurance(40, 40, None)] * 3


def test_a_stop_holds_for_the_people_of_the_stopped_recording() -> None:
    """Somebody who comes later from another recorded call is missed; until then nobody is."""
    calls = [member(1, ("room", 0, 60)), member(2, ("room", 0, 60)), member(3, ("room", 30, 60))]
    made = [made_for(1, 0, 10, ended_by="person")]
    parts = [
        replace(segment(0, 10), channel_id=one, recording_id=UUID(int=1))
        for one in ("leg1", "leg2")
    ]
    alone = each(calls[:2], [about(1), about(2)], made, segments=parts)
    assert alone == [Assurance(10, 10, None)] * 2
    joined = each(calls, [about(1), about(2), about(3)], made, segments=parts)
    assert joined == [
        Assurance(40, 10, "has-gaps"),
        Assurance(40, 10, "has-gaps"),
        Assurance(30, 0, "has-gaps"),
    ]


def test_a_recording_that_went_on_with_other_people_covers_them() -> None:
    """A recording whose own call is over covers those whom it captured."""
    calls = [member(1, ("room", 0, 20)), member(2, ("room", 0, 60)), member(3, ("room", 0, 60))]
    parts = [
        replace(segment(0, 60), channel_id=one, recording_id=UUID(int=1))
        for one in ("leg2", "leg3")
    ]
    found = each(calls, [about(1), about(2)], [made_for(1, 0, 60)], segments=parts)
    assert [one.cause for one in found] == [None] * 3
