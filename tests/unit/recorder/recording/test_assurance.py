"""Ended calls, compared with their recordings."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from recorder.recording.assurance import assure, is_ended_by_rule
from storage.records import (
    Assurance,
    CallRecord,
    DecisionRecord,
    Gap,
    Pause,
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
    moment = {"at": at(second).isoformat(), "action": action}
    rule = {"id": "r", "version": 1, "name": "r"}
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
        (decided(now="never"), [], [], Assurance(0, 0, None)),
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
            [recording()],
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
        "then-never",
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
    assert assure(call(), decision, made, parts) == found


def test_nobody_talked() -> None:
    """A call that only one person joined needs no recording."""
    assert assure(call(talk=False), decided(), [], []) == Assurance(0, 0, None)


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
    assert assure(one, decided(), [], []).expected_s == expected_s


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
    assert assure(call(), decision, made, kept) == found


@pytest.mark.parametrize(
    ("ended_s", "by_rule"),
    [(None, False), (29.9, False), (30, True), (35, True), (40, True), (40.1, False), (50, True)],
)
def test_a_recording_that_a_rule_ended(ended_s: float | None, by_rule: bool) -> None:
    """A rule ended the recording if it forbade recording at that moment, its edges included."""
    moments = (
        moment(10, "record"),
        moment(30, "never"),
        moment(40, "record"),
        moment(50, "never"),
    )
    ended_at = at(ended_s) if ended_s is not None else None
    decision = replace(decided(), moments=moments)
    assert is_ended_by_rule(recording(ended_at=ended_at), decision) is by_rule


def test_only_a_rule_ends_a_recording() -> None:
    """Neither the default nor a call without any evaluation ends a recording."""
    default = {"at": at(10).isoformat(), "action": "never", "rule": None}
    for moments in ((), (default,)):
        assert not is_ended_by_rule(recording(), replace(decided(), moments=moments))
