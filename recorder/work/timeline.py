"""Lay the segments of a recording on one time line, and find its pauses and gaps. Pure.

A *gap* is a time in which a person was in the conversation, nobody had paused the recording, and no
segment holds that person's voice. Time 0 is the first sample. Where the first sample comes late,
time 0 is the moment from which it is missing, so that the lost start is a gap like any other.

A pause must leave no audio, nor may a time in which a rule forbade recording; but the PBX goes on
capturing until our request reaches it. So all of that time is *blank* in the rendition. If the PBX
stalled before a pause, its file is shorter than its clock says, and words from the pause may lie
too early in the file: earlier by at most the missing time. That time is blank too, and is listed as
a gap with the cause `pbx-stalled`.

A file that was written too slowly is fitted to its time. The part that is played faster is listed
as a gap with the cause `wrong-speed`: nobody knows how right it is in between.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from recorder.audio import Span
from recorder.calls.spans import TimeSpan, intersect, merge, subtract
from recorder.recording.presence import (
    Past,
    Presence,
    Protected,
    find_presence,
    find_protected,
    map_quiet,
)
from recorder.work.fitting import Placement, is_slow, length_by_clock, place, placed_s
from storage.records import Gap, SegmentRecord

# Asterisk needs some tens of milliseconds to resume a capture; that is no gap.
SHORTEST_GAP = timedelta(seconds=0.15)
# A person's first capture takes longer: we make a snoop, then start its recording.
START_TAKES = timedelta(seconds=0.3)
# The causes of gaps that all people have in common.
COMMON_CAUSES = frozenset({"forbidden", "pause"})


@dataclass(frozen=True, slots=True)
class Timeline:
    """A recording, ready to be rendered; `started_at` is time 0.

    `blank` has each pause, each forbidden time, and the doubtful time before them. `presence` has
    the spans in which each leg was in the conversation, by the leg's id.
    """

    started_at: datetime
    placements: tuple[Placement, ...]
    pauses: tuple[Span, ...]
    blank: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    presence: Mapping[str, tuple[Span, ...]]


def build_timeline(past: Past, segments: Sequence[SegmentRecord]) -> Timeline:
    """Lay out segments, oldest first, whose `duration_s` was measured in their files."""
    recording = past.recording
    first = min(segment.started_at for segment in segments)
    last = max(_file_of(segment)[1] for segment in segments)
    ended_at = recording.ended_at or last
    presence = [
        _without_unseen_end(one, segments)
        for one in find_presence(past, segments, (_promised_at(past, first), ended_at))
    ]
    due = min([first, *(one.spans[0][0] for one in presence if one.spans)])
    zero = due if first - due >= START_TAKES else first
    pauses = [(one.from_at, max(one.from_at, one.to_at or last)) for one in recording.pauses]
    protected = find_protected(past, segments, (zero, max(ended_at, last)))
    kept_out = [*pauses, *protected.paused, *protected.forbidden]
    blank = [_blank_for(span, segments) for span in kept_out]
    changes = {stay.from_at for leg in past.legs.values() for stay in leg.stays}
    causes = dict.fromkeys((to_at for _, to_at in protected.forbidden), "forbidden")
    causes |= dict.fromkeys((to_at for _, to_at in [*pauses, *protected.paused]), "pause")
    gaps = [
        *_merge_alike(_iter_missing(presence, segments, blank, causes, zero)),
        *_iter_stalled(kept_out, blank),
        *_iter_late_pauses(pauses, protected),
        *((_slow_part(one, changes), "wrong-speed") for one in segments if is_slow(one)),
        *((span, "forbidden") for span in protected.forbidden),
    ]
    silent = {
        leg_id: tuple(_seconds(span, zero) for span in spans)
        for leg_id, spans in map_quiet(past, until=max(ended_at, last)).items()
    }
    return Timeline(
        started_at=zero,
        placements=tuple(
            replace(one, silent=silent.get(segment.channel_id, ()))
            for segment in segments
            for one in place(segment, zero, changes)
        ),
        pauses=tuple(_seconds(span, zero) for span in pauses),
        blank=tuple(_seconds(span, zero) for span in blank),
        gaps=_list_gaps(gaps, zero),
        presence={
            one.leg.id: tuple(_seconds(span, zero) for span in one.spans if span[1] > zero)
            for one in presence
        },
    )


def _promised_at(past: Past, first: datetime) -> datetime:
    """Return the moment from which the recording had to hear everything.

    An announcement comes first, so a recording that is announced begins with its first sample.
    """
    recording = past.recording
    if recording.promised_at is None or recording.announcement is not None:
        return first
    return min(first, recording.promised_at)


def _without_unseen_end(one: Presence, segments: Sequence[SegmentRecord]) -> Presence:
    """Claim no more than the files hold, if no event announced this person's departure."""
    if not one.leg.vanished:
        return one
    files = [_file_of(segment) for segment in segments if segment.channel_id == one.leg.id]
    seen_until = max((to_at for _, to_at in files), default=one.spans[0][0])
    spans = [intersect(span, (one.spans[0][0], seen_until)) for span in one.spans]
    return Presence(one.leg, tuple(span for span in spans if span is not None))


def _blank_for(silent: TimeSpan, segments: Sequence[SegmentRecord]) -> TimeSpan:
    """Return the time to silence, and before it the time that may hold words from it."""
    missing_s = [0.0]
    for segment in segments:
        clock_s = length_by_clock(segment)
        if clock_s is None:
            continue
        written = segment.started_at, segment.started_at + timedelta(seconds=clock_s)
        if intersect(written, silent) is not None:
            # Nobody knows where the words lie in a file that was written too slowly.
            is_lost = is_slow(segment)
            missing_s.append(clock_s if is_lost else clock_s - (segment.duration_s or 0.0))
    return silent[0] - timedelta(seconds=max(missing_s)), silent[1]


def _iter_missing(
    presence: Iterable[Presence],
    segments: Sequence[SegmentRecord],
    blank: Sequence[TimeSpan],
    causes: Mapping[datetime, str],
    zero: datetime,
) -> Iterator[tuple[TimeSpan, str]]:
    """Yield each time in which a leg was in the conversation and was not captured, and the cause.

    `causes` are those of the times that begin where a pause ended: its resume lost them. Else the
    cause is the end of the leg's segment before, or `not-captured`.
    """
    for one in presence:
        mine = [segment for segment in segments if segment.channel_id == one.leg.id]
        covered = [*map(_file_of, mine), *blank]
        for span in one.spans:
            there = max(span[0], zero), span[1]
            for gap in _join_close(subtract(there, covered)):
                before = [part for part in mine if part.started_at <= gap[0]]
                ended_by = before[-1].end_cause if before else None
                is_start = gap[0] == span[0]
                if gap[1] - gap[0] >= (START_TAKES if is_start else SHORTEST_GAP):
                    yield gap, causes.get(gap[0]) or ended_by or "not-captured"


def _iter_stalled(
    silent: Sequence[TimeSpan], blank: Sequence[TimeSpan]
) -> Iterator[tuple[TimeSpan, str]]:
    for span, wide in zip(silent, blank, strict=True):
        for gap in subtract((wide[0], span[0]), silent):
            if gap[1] - gap[0] >= SHORTEST_GAP:
                yield gap, "pbx-stalled"


def _iter_late_pauses(
    pauses: Sequence[TimeSpan], protected: Protected
) -> Iterator[tuple[TimeSpan, str]]:
    """Yield the times that a pause of a person covers, and no pause of the recording."""
    for span in protected.paused:
        for gap in subtract(span, pauses):
            if gap[1] - gap[0] >= SHORTEST_GAP:
                yield gap, "pause"


def _join_close(gaps: Iterable[TimeSpan]) -> Iterator[TimeSpan]:
    """Join the gaps of one leg between which hardly anything was captured."""
    joined: list[TimeSpan] = []
    for gap in gaps:
        if joined and gap[0] - joined[-1][1] < SHORTEST_GAP:
            joined[-1] = joined[-1][0], gap[1]
        else:
            joined.append(gap)
    yield from joined


def _merge_alike(gaps: Iterable[tuple[TimeSpan, str]]) -> Iterator[tuple[TimeSpan, str]]:
    """Yield one gap for two legs that miss about the same time: a call that ends, ends once."""
    merged: list[tuple[TimeSpan, str]] = []
    for gap, cause in sorted(gaps):
        for place_, (other, kept) in enumerate(merged):
            begins, ends = abs(gap[0] - other[0]), abs(gap[1] - other[1])
            if begins < SHORTEST_GAP and ends < SHORTEST_GAP:
                merged[place_] = (other[0], max(gap[1], other[1])), kept
                break
        else:
            merged.append((gap, cause))
    yield from merged


def _list_gaps(gaps: Iterable[tuple[TimeSpan, str]], zero: datetime) -> tuple[Gap, ...]:
    """Return the gaps in order of time, in whole milliseconds from time 0.

    A pause, or a rule, takes one time from all people: its gaps that touch are one.
    """
    by_cause: dict[str, list[TimeSpan]] = {}
    for span, cause in gaps:
        by_cause.setdefault(cause, []).append(span)
    found = set()
    for cause, spans in by_cause.items():
        for span in merge(spans) if cause in COMMON_CAUSES else spans:
            seconds = _seconds(span, zero)
            from_s, to_s = round(seconds.from_s, 3), round(seconds.to_s, 3)
            if from_s < to_s:
                found.add((from_s, to_s, cause))
    return tuple(Gap(*one) for one in sorted(found))


def _file_of(segment: SegmentRecord) -> TimeSpan:
    return segment.started_at, segment.started_at + timedelta(seconds=placed_s(segment))


def _slow_part(segment: SegmentRecord, changes: Collection[datetime]) -> TimeSpan:
    """Return the time of a slow file in which it is played faster: at its end, or all of it."""
    from_at, to_at = _file_of(segment)
    placed = place(segment, from_at, changes)
    return from_at + timedelta(seconds=placed[-1].offset_s), to_at


def _seconds(span: TimeSpan, zero: datetime) -> Span:
    """Return a span in seconds from time 0, and not before."""
    from_s, to_s = ((moment - zero).total_seconds() for moment in span)
    return Span(max(0.0, from_s), max(0.0, to_s))
