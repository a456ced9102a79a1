"""Who was with the people of a recording, when, and what of it no recording may hold. Pure.

A recording of a call hears every talk in which a leg of that call is. A rule's recording leaves out
the talks that a recording of another call in it owns: the customer's call before an internal one,
else the older one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from recorder.calls.conversations import Talk, talks_of
from recorder.calls.legs import legs_of
from recorder.calls.spans import TimeSpan, intersect, merge, subtract
from recorder.recording.moments import iter_periods
from storage.records import (
    CallRecord,
    DecisionRecord,
    LegRecord,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)

# The ids of people's legs, and a time that they spent together.
_Scene = tuple[frozenset[str], TimeSpan]


@dataclass(frozen=True, slots=True)
class Past:
    """The catalogue's rows about a recording: the calls that its call met, and what befell them.

    `calls` holds the recording's own call too, `recordings` all recordings of these calls,
    `pauses` the pauses of their people.
    """

    recording: RecordingRecord
    calls: Mapping[str, CallRecord]
    decisions: Sequence[DecisionRecord] = ()
    recordings: Sequence[RecordingRecord] = ()
    pauses: Sequence[PeoplePause] = ()

    @property
    def call(self) -> CallRecord:
        """The recording's own call."""
        return self.calls[self.recording.call_id]

    @property
    def legs(self) -> Mapping[str, LegRecord]:
        """Every leg of the calls, by its id."""
        return {leg.id: leg for call in self.calls.values() for leg in legs_of(call)}


@dataclass(frozen=True, slots=True)
class Presence:
    """The times in which a leg was with the people of a recording; they do not touch."""

    leg: LegRecord
    spans: tuple[TimeSpan, ...]


@dataclass(frozen=True, slots=True)
class Protected:
    """The times of which nothing may be kept: a rule forbade them, or a person had paused."""

    forbidden: tuple[TimeSpan, ...]
    paused: tuple[TimeSpan, ...]


def find_presence(past: Past, window: TimeSpan) -> tuple[Presence, ...]:
    """Return the legs that the recording had to hear within the window, and when.

    A leg of the call itself also counts while nobody is with it, from its joining on.
    """
    scenes = _list_scenes(past, talks_of(past.calls.values()), window)
    found: list[Presence] = []
    for leg in past.legs.values():
        if spans := [span for leg_ids, span in scenes if leg.id in leg_ids]:
            found.append(Presence(leg, tuple(merge(spans))))
    return tuple(found)


def find_protected(past: Past, segments: Iterable[SegmentRecord], window: TimeSpan) -> Protected:
    """Return the times within the window in which a captured person was protected.

    Whoever was captured then was with a person whom a rule, or a pause, protects.
    """
    talks = talks_of(past.calls.values())
    call_of = {leg.id: call.id for call in past.calls.values() for leg in legs_of(call)}
    decisions = {one.call_id: one for one in past.decisions}
    forbidden: list[TimeSpan] = []
    paused: list[TimeSpan] = []
    scenes = _list_scenes(past, talks, window)
    for one in segments:
        captured = intersect((one.started_at, one.ended_at or window[1]), window)
        if captured is None or one.channel_id not in call_of:
            continue
        present = [
            (talk.leg_ids, span)
            for talk in talks
            if one.channel_id in talk.leg_ids and (span := _cut(talk, captured)) is not None
        ]
        alone = subtract(captured, [span for _, span in present])
        scenes += [*present, *((frozenset({one.channel_id}), span) for span in alone)]
    for leg_ids, (from_at, to_at) in scenes:
        calls = {call_of[leg_id] for leg_id in leg_ids if leg_id in call_of}
        theirs = [decisions[call_id] for call_id in sorted(calls) if call_id in decisions]
        periods = iter_periods(theirs, from_at, to_at)
        forbidden += [(one.from_at, one.to_at) for one in periods if one.is_forbidden]
        for pause in past.pauses:
            if leg_ids.isdisjoint(pause.legs):
                continue
            span = intersect((pause.from_at, pause.to_at or to_at), (from_at, to_at))
            paused += [span] if span is not None else []
    return Protected(tuple(merge(forbidden)), tuple(merge(paused)))


def _list_scenes(past: Past, talks: Sequence[Talk], window: TimeSpan) -> list[_Scene]:
    """Return the people that the recording had to hear within the window, together or alone."""
    scenes = _list_heard(past, talks, window)
    for leg in legs_of(past.call):
        if leg.joined_at is None:
            continue
        there = intersect((leg.joined_at, leg.left_at or window[1]), window)
        with_others = [_cut(one, window) for one in talks if leg.id in one.leg_ids]
        taken = [span for span in with_others if span is not None]
        alone = subtract(there, taken) if there is not None else []
        scenes += [(frozenset({leg.id}), span) for span in alone]
    return scenes


def _list_heard(past: Past, talks: Sequence[Talk], window: TimeSpan) -> list[_Scene]:
    """Return the talks that the recording had to hear, cut to the window."""
    recording = past.recording
    own = {leg.id for leg in legs_of(past.call)}
    call_of = {leg.id: call.id for call in past.calls.values() for leg in legs_of(call)}
    found: list[_Scene] = []
    for talk in talks:
        span = _cut(talk, window)
        if span is None or own.isdisjoint(talk.leg_ids):
            continue
        others = {call_of[leg_id] for leg_id in talk.leg_ids} - {past.call.id}
        owned = [
            (one.promised_at or one.started_at, one.ended_at or window[1])
            for one in past.recordings
            if recording.trigger == one.trigger == "rule"
            and one.call_id in others
            and one.state != "aborted"
            and _rank(past.calls[one.call_id]) < _rank(past.call)
        ]
        times = [(from_at, to_at) for from_at, to_at in owned if from_at is not None]
        found += [(talk.leg_ids, part) for part in subtract(span, times)]
    return found


def _rank(call: CallRecord) -> tuple[bool, datetime, str]:
    """Return the rank of a call among those in one conversation; the lowest one's recording goes
    on.
    """
    has_customer = any(leg.party == "customer" for leg in legs_of(call))
    return not has_customer, call.started_at, call.id


def _cut(talk: Talk, window: TimeSpan) -> TimeSpan | None:
    return intersect((talk.from_at, talk.to_at or window[1]), window)
