"""The company of a recording's people through time, and the times that nobody may keep. Pure.

A recording of a call hears every talk in which a leg of that call is. A rule's recording leaves out
the talks that another rule's recording owns: that of a customer's call before that of an internal
one, else the older one. When its call is over, it goes on with the people whom it captures.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from recorder.calls.conversations import Talk, talks_of
from recorder.calls.legs import has_customer, legs_of, people_behind
from recorder.calls.spans import TimeSpan, intersect, merge, subtract
from recorder.names import parse_spy_part
from recorder.recording.moments import Courses
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
    """The catalogue's rows about a recording: the calls that its call met, and their decisions.

    `calls` holds the recording's own call too, `recordings` all recordings of these calls,
    `pauses` the pauses of their people. `quiet` has the spans in which nobody heard a member of a
    conference, by the member's channel.
    """

    recording: RecordingRecord
    calls: Mapping[str, CallRecord]
    decisions: Sequence[DecisionRecord] = ()
    recordings: Sequence[RecordingRecord] = ()
    pauses: Sequence[PeoplePause] = ()
    quiet: Mapping[str, Sequence[tuple[datetime, datetime | None]]] = field(default_factory=dict)

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


def find_presence(
    past: Past, segments: Sequence[SegmentRecord], window: TimeSpan
) -> tuple[Presence, ...]:
    """Return the legs that the recording had to hear within the window, and when.

    A leg of the call itself also counts while nobody is with it, from its joining on. No leg counts
    while nobody heard it in a conference.
    """
    quiet = map_quiet(past, until=window[1])
    scenes = _list_scenes(past, talks_of(past.calls.values()), segments, window)
    found: list[Presence] = []
    for leg in past.legs.values():
        there = merge(span for leg_ids, span in scenes if leg.id in leg_ids)
        heard = [part for span in there for part in subtract(span, quiet.get(leg.id, ()))]
        if heard:
            found.append(Presence(leg, tuple(heard)))
    return tuple(found)


def map_quiet(past: Past, *, until: datetime) -> Mapping[str, Sequence[TimeSpan]]:
    """Return the spans in which nobody heard a leg in a conference, by leg.

    A span that has no end yet lasts until this time.
    """
    found: dict[str, list[TimeSpan]] = {}
    for channel_id, spans in past.quiet.items():
        ended = [(from_at, max(from_at, to_at or until)) for from_at, to_at in spans]
        for call in past.calls.values():
            for leg_id in people_behind(call, {channel_id}):
                found.setdefault(leg_id, []).extend(ended)
    return {leg_id: merge(spans) for leg_id, spans in found.items()}


def last_left_at(call: CallRecord, segments: Sequence[SegmentRecord], *, now: datetime) -> datetime:
    """Return when the last of a recording's people left, once its call is over.

    That is the end of the call, or later, if the recording went on with people of other calls.
    """
    own = {leg.id for leg in call.channels}
    others = [one for one in segments if one.channel_id not in own]
    people = [one for one in others if parse_spy_part(one.channel_id) is None]
    return max([call.ended_at or now, *(one.ended_at or now for one in people)])


def find_protected(past: Past, segments: Sequence[SegmentRecord], window: TimeSpan) -> Protected:
    """Return the times within the window in which a captured person was protected.

    Whoever was captured then was with a person whom a rule, or a pause, protects.
    """
    talks = talks_of(past.calls.values())
    call_of = {leg.id: call.id for call in past.calls.values() for leg in legs_of(call)}
    courses = Courses(past.decisions)
    scenes = _list_scenes(past, talks, segments, window)
    scenes += _list_captured(call_of.keys(), talks, segments, window)
    forbidden: list[TimeSpan] = []
    paused: list[TimeSpan] = []
    for leg_ids, (from_at, to_at) in scenes:
        call_ids = {call_of[leg_id] for leg_id in leg_ids if leg_id in call_of}
        periods = courses.iter_periods(call_ids, from_at, to_at)
        forbidden += [(one.from_at, one.to_at) for one in periods if one.is_forbidden]
        for pause in past.pauses:
            if leg_ids.isdisjoint(pause.legs):
                continue
            span = intersect((pause.from_at, pause.to_at or to_at), (from_at, to_at))
            paused += [span] if span is not None else []
    return Protected(tuple(merge(forbidden)), tuple(merge(paused)))


def _list_captured(
    legs: Collection[str],
    talks: Sequence[Talk],
    segments: Sequence[SegmentRecord],
    window: TimeSpan,
) -> list[_Scene]:
    """Return the times in which the PBX captured these legs, with the people who were there."""
    captured: dict[str, list[TimeSpan]] = {}
    for one in segments:
        span = intersect((one.started_at, one.ended_at or window[1]), window)
        if span is not None and one.channel_id in legs:
            captured.setdefault(one.channel_id, []).append(span)
    scenes: list[_Scene] = []
    for talk in talks:
        spans = [span for leg_id in talk.leg_ids for span in captured.get(leg_id, [])]
        during = _cut(talk, window)
        if during is not None:
            parts = (intersect(span, during) for span in merge(spans))
            scenes += [(talk.leg_ids, part) for part in parts if part is not None]
    for leg_id, spans in captured.items():
        with_others = [_cut(talk, window) for talk in talks if leg_id in talk.leg_ids]
        taken = [span for span in with_others if span is not None]
        scenes += [(frozenset({leg_id}), part) for span in spans for part in subtract(span, taken)]
    return scenes


def _list_scenes(
    past: Past, talks: Sequence[Talk], segments: Sequence[SegmentRecord], window: TimeSpan
) -> list[_Scene]:
    """Return the people that the recording had to hear within the window, together or alone."""
    scenes = [
        (talk.leg_ids, part)
        for talk in talks
        for heard in _list_heard(past, talk, segments, window)
        for part in subtract(heard, _list_owned(past, talk, window))
    ]
    for leg in legs_of(past.call):
        if leg.joined_at is None:
            continue
        there = intersect((leg.joined_at, leg.left_at or window[1]), window)
        with_others = [_cut(one, window) for one in talks if leg.id in one.leg_ids]
        taken = [span for span in with_others if span is not None]
        alone = subtract(there, taken) if there is not None else []
        scenes += [(frozenset({leg.id}), span) for span in alone]
    return scenes


def _list_heard(
    past: Past, talk: Talk, segments: Sequence[SegmentRecord], window: TimeSpan
) -> list[TimeSpan]:
    """Return the times of a talk that the recording hears, if no other recording owns them."""
    span, over_at = _cut(talk, window), past.call.ended_at
    if span is None or any(leg.id in talk.leg_ids for leg in legs_of(past.call)):
        return [span] if span is not None else []
    if not past.recording.is_by_decision or over_at is None:
        return []
    captured = [
        (max(one.started_at, over_at), one.ended_at or window[1])
        for one in segments
        if one.channel_id in talk.leg_ids
    ]
    return merge(part for one in captured if (part := intersect(one, span)) is not None)


def _list_owned(past: Past, talk: Talk, window: TimeSpan) -> list[TimeSpan]:
    """Return the times in which a rule's recording of another call in a talk comes before ours.

    One whose own call is over comes last.
    """
    ours, owned = past.recording, []
    if not ours.is_by_decision:
        return []
    for one in past.recordings:
        call = past.calls[one.call_id]
        from_at = one.promised_at or one.started_at
        is_in = any(leg.id in talk.leg_ids for leg in legs_of(call))
        is_rival = one.call_id != ours.call_id and one.is_by_decision
        if not (is_in and is_rival) or one.state == "aborted" or from_at is None:
            continue
        to_at = min(one.ended_at or window[1], call.ended_at or window[1])
        if _precedence(past, one) > _precedence(past, ours):
            from_at = max(from_at, past.call.ended_at or window[1])
        owned.append((from_at, to_at))
    return owned


def _precedence(past: Past, recording: RecordingRecord) -> tuple[bool, UUID]:
    return not has_customer(past.calls[recording.call_id]), recording.id


def _cut(talk: Talk, window: TimeSpan) -> TimeSpan | None:
    return intersect((talk.from_at, talk.to_at or window[1]), window)
