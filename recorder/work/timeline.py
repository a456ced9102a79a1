"""Where on a recording's time line each segment lies, what is silent, and what is missing. Pure.

Time 0 is the first sample of the earliest segment. A *gap* is a time in which somebody was in the
conversation and nothing of him was captured, though nobody had paused.

A capture that went on into a pause, because the PBX did not hear of it, is *hushed* there. If the
PBX stood still meanwhile, its file is shorter than the clock says and nobody knows where: what was
said in the pause may lie that much too early in it. That is hushed as well, and told as a gap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from recorder.calls.legs import legs_of
from storage.records import CallRecord, Gap, LegRecord, RecordingRecord, SegmentRecord, Side

# To begin or to take up again takes some tens of milliseconds; that is not worth a word.
SHORTEST_GAP_S = 0.15

# The causes of an end whose time is known; one that nobody observed was noticed later.
TIMED = frozenset({"finished", "stopped"})

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """One segment on the time line, in seconds; `span_s` is its length by the PBX's clock."""

    segment_id: UUID
    side: Side
    offset_s: float
    span_s: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A recording, ready to be rendered; `hushed` are the pauses, each with what leads up to it."""

    started_at: datetime
    placements: tuple[Placement, ...]
    pauses: tuple[Interval, ...]
    hushed: tuple[Interval, ...]
    gaps: tuple[Gap, ...]


def build_timeline(
    recording: RecordingRecord, call: CallRecord, segments: Sequence[SegmentRecord]
) -> Timeline:
    """Lay the measured segments (`duration_s` is that of the file) of a recording out."""
    zero = min(segment.started_at for segment in segments)
    end_s = max(_end_s(segment, zero) for segment in segments)
    pauses = tuple(
        (max(0.0, _seconds(pause.from_at, zero)), max(0.0, _seconds(pause.to_at, zero, end_s)))
        for pause in recording.pauses
    )
    hushed = tuple(_hushed(pause, segments, zero) for pause in pauses)
    gaps = [*_gaps(recording, call, segments, zero, hushed), *_stalls(hushed, pauses)]
    return Timeline(
        started_at=zero,
        placements=tuple(_place(segment, zero) for segment in segments),
        pauses=pauses,
        hushed=hushed,
        gaps=tuple(sorted(gaps, key=lambda gap: gap.from_s)),
    )


def subtract(span: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """What of `span` no interval covers, in order."""
    left, rest = span[0], []
    for from_s, to_s in sorted(covered):
        if from_s > left:
            rest.append((left, min(from_s, span[1])))
        left = max(left, to_s)
        if left >= span[1]:
            return rest
    return [*rest, (left, span[1])]


def _place(segment: SegmentRecord, zero: datetime) -> Placement:
    told = segment.ended_at if segment.end_cause == "finished" else None
    span_s = _seconds(told, segment.started_at) if told else None
    return Placement(segment.id, segment.side, _seconds(segment.started_at, zero), span_s)


def _hushed(pause: Interval, segments: Sequence[SegmentRecord], zero: datetime) -> Interval:
    """The pause, from as early on as a file may hold something of it."""
    missing = [_missing_s(one) for one in segments if _reaches_into(one, pause, zero)]
    return max(0.0, pause[0] - max([0.0, *missing])), pause[1]


def _reaches_into(segment: SegmentRecord, pause: Interval, zero: datetime) -> bool:
    began_s, ended_s = _seconds(segment.started_at, zero), _seconds(segment.ended_at, zero)
    return began_s < pause[1] and ended_s > pause[0]


def _missing_s(segment: SegmentRecord) -> float:
    """How much shorter its file is than the clock says, as far as the clock is known."""
    if segment.end_cause not in TIMED:
        return 0.0
    return _seconds(segment.ended_at, segment.started_at) - (segment.duration_s or 0.0)


def _stalls(hushed: Sequence[Interval], pauses: Sequence[Interval]) -> Iterable[Gap]:
    """What is hushed before a pause, where it is worth a word."""
    for (from_s, _), (to_s, _) in zip(hushed, pauses, strict=True):
        if to_s - from_s >= SHORTEST_GAP_S:
            yield Gap(round(from_s, 3), round(to_s, 3), "pbx-stalled")


def _gaps(
    recording: RecordingRecord,
    call: CallRecord,
    segments: Sequence[SegmentRecord],
    zero: datetime,
    hushed: Sequence[Interval],
) -> Iterable[Gap]:
    """The gaps of every leg; one in which several are missing is told once."""
    found: dict[Interval, str] = {}
    for leg in legs_of(call):
        mine = [segment for segment in segments if segment.channel_id == leg.id]
        present = _presence(leg, recording, mine, zero)
        if present is None:
            continue
        covered = [(_seconds(one.started_at, zero), _end_s(one, zero)) for one in mine]
        for from_s, to_s in subtract(present, [*covered, *hushed]):
            if to_s - from_s >= SHORTEST_GAP_S:
                found[(round(from_s, 3), round(to_s, 3))] = _cause(mine, zero, from_s)
    return [Gap(from_s, to_s, cause) for (from_s, to_s), cause in sorted(found.items())]


def _presence(
    leg: LegRecord, recording: RecordingRecord, mine: Sequence[SegmentRecord], zero: datetime
) -> Interval | None:
    """When the leg took part while the recording ran; None if it did not.

    Where nobody saw it leave, no more is claimed than what its files hold.
    """
    if leg.joined_at is None:
        return None
    ends = [moment for moment in (leg.left_at, recording.ended_at) if moment is not None]
    end_s = _seconds(min(ends), zero) if ends else 0.0
    if leg.vanished:
        end_s = max((_end_s(segment, zero) for segment in mine), default=0.0)
    span = (max(0.0, _seconds(leg.joined_at, zero)), end_s)
    return span if span[1] > span[0] else None


def _cause(mine: Sequence[SegmentRecord], zero: datetime, from_s: float) -> str:
    """Why the last segment before the gap ended; `not-captured` where there is none."""
    before = [segment for segment in mine if _seconds(segment.started_at, zero) <= from_s]
    return (before[-1].end_cause if before else None) or "not-captured"


def _end_s(segment: SegmentRecord, zero: datetime) -> float:
    return _seconds(segment.started_at, zero) + (segment.duration_s or 0.0)


def _seconds(moment: datetime | None, zero: datetime, default: float = 0.0) -> float:
    return (moment - zero).total_seconds() if moment is not None else default
