"""Properties of every timeline, whoever comes, goes, pauses or is forbidden."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.recording.presence import Past
from recorder.work.timeline import Timeline, build_timeline
from storage.records import (
    CallRecord,
    DecisionRecord,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)
from tests.legs import ZERO, leg

SECONDS = 12
ROOMS = ("", "x", "y")
RULE = {"id": "r", "version": 1, "name": "r"}


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Course:
    """For each second: the room of each leg, the forbidden calls, the paused and captured legs.

    Leg 0 belongs to call 0, all others to a call of their own.
    """

    rooms: list[list[str]]
    forbidden: list[set[int]]
    paused: list[set[int]]
    captured: list[set[int]]

    def company(self, number: int, second: int) -> set[int]:
        """Return a leg and all legs that it hears in a second."""
        room = self.rooms[number][second]
        others = {one for one, rooms in enumerate(self.rooms) if room and rooms[second] == room}
        return others | {number}

    def is_protected(self, second: int, legs: set[int]) -> bool:
        """Whether the company of one of these legs holds a forbidden or paused person."""
        protected = self.forbidden[second] | self.paused[second]
        return any(self.company(one, second) & protected for one in legs)

    def timeline(self) -> Timeline:
        """Return the timeline of the recording of call 0, which a person started."""
        calls = {}
        decisions = []
        for number, rooms in enumerate(self.rooms):
            stays = [
                [rooms[from_s], at(from_s).isoformat(), at(to_s).isoformat()]
                for from_s, to_s in runs(rooms)
                if rooms[from_s]
            ]
            joined_at = stays[0][1] if stays else None
            times = {"joined_at": joined_at, "left_at": at(SECONDS).isoformat()}
            channel = leg(str(number), stays=stays, **times)
            call = CallRecord(
                f"main-{number}", "main", "ended", "internal", ZERO, ended_at=at(SECONDS)
            )
            calls[call.id] = replace(call, channels=(channel,))
            moments = tuple(
                {
                    "at": at(from_s).isoformat(),
                    "action": "never" if number in self.forbidden[from_s] else "record",
                    "rule": RULE,
                }
                for from_s, _ in runs([number in one for one in self.forbidden])
            )
            decisions.append(DecisionRecord(call.id, "record", RULE, "", moments))
        recording = RecordingRecord(
            UUID(int=1),
            "main-0",
            "main",
            "captured",
            "manual",
            "dual",
            "opus",
            "silence",
            "internal",
        )
        recording = replace(recording, ended_at=at(SECONDS), promised_at=ZERO)
        pauses = [
            PeoplePause(UUID(int=9), "main", (str(number),), at(from_s), "2001", at(to_s))
            for number in range(len(self.rooms))
            for from_s, to_s in runs([number in one for one in self.paused])
            if number in self.paused[from_s]
        ]
        parts = [
            SegmentRecord(
                UUID(int=100 * number + from_s + 10),
                recording.id,
                str(number),
                "left",
                "finished",
                "",
                at(from_s),
                at(to_s),
                "finished",
                float(to_s - from_s),
            )
            for number in range(len(self.rooms))
            for from_s, to_s in runs([number in one for one in self.captured])
            if number in self.captured[from_s]
        ]
        parts.sort(key=lambda one: one.started_at)
        return build_timeline(Past(recording, calls, decisions, pauses=pauses), parts)


def runs(values: Sequence[object]) -> list[tuple[int, int]]:
    """Return the spans in which a value stays the same."""
    changes = (place for place, (one, other) in enumerate(pairwise(values), 1) if one != other)
    return list(pairwise([0, *changes, len(values)]))


@st.composite
def courses(draw: st.DrawFn) -> Course:
    """Draw a course in which leg 0 is captured at least once."""
    legs = draw(st.integers(1, 4))
    sets = st.lists(
        st.sets(st.integers(0, legs - 1), max_size=1), min_size=SECONDS, max_size=SECONDS
    )
    rooms = st.lists(st.sampled_from(ROOMS), min_size=SECONDS, max_size=SECONDS)
    captured = draw(st.lists(st.sets(st.integers(0, legs - 1)), min_size=SECONDS, max_size=SECONDS))
    captured[draw(st.integers(0, SECONDS - 1))] |= {0}
    return Course([draw(rooms) for _ in range(legs)], draw(sets), draw(sets), captured)


def holds(spans: list[tuple[float, float]], second: float) -> bool:
    return any(from_s < second < to_s for from_s, to_s in spans)


@settings(max_examples=100, deadline=None)
@given(courses())
def test_nothing_protected_is_kept_and_nothing_else_is_cut(course: Course) -> None:
    """A second is blank if and only if a captured person was with a forbidden or paused one.

    The person of the recording's call is with somebody although not captured for a moment.
    """
    line = course.timeline()
    zero_s = (line.started_at - ZERO).total_seconds()
    blank = [(span.from_s, span.to_s) for span in line.blank]
    for second in range(SECONDS):
        captured = course.captured[second]
        if course.is_protected(second, captured):
            assert holds(blank, second + 0.5 - zero_s)
        elif captured and not course.is_protected(second, captured | {0}):
            assert not holds(blank, second + 0.5 - zero_s)


@settings(max_examples=100, deadline=None)
@given(courses())
def test_everybody_who_was_there_is_heard_or_missed(course: Course) -> None:
    """A gap tells of everybody who was with the call's person and was not captured."""
    line = course.timeline()
    zero_s = (line.started_at - ZERO).total_seconds()
    gaps = [(gap.from_s, gap.to_s) for gap in line.gaps]
    for second in range(SECONDS):
        if course.rooms[0][second] and course.company(0, second) - course.captured[second]:
            assert holds(gaps, second + 0.5 - zero_s)
    assert line.gaps == tuple(sorted(line.gaps, key=lambda gap: (gap.from_s, gap.to_s, gap.cause)))
    assert all(0 <= gap.from_s < gap.to_s for gap in line.gaps)
