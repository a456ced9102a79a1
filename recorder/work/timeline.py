"""Lay the segments of a recording on one time line, and find its pauses and gaps. Pure.

Time 0 is the first sample of the earliest segment. A *gap* is a time in which a person was in the
conversation, nobody had paused the recording, and no segment holds that person's voice.

A pause must leave no audio, but the PBX goes on capturing when our request does not reach it. So
the whole pause is *blank* in the rendition. If the PBX stalled before that, its file is shorter
than its clock says, and words from the pause may lie too early in the file: earlier by at most
the missing time. That time is blank too, and is listed as a gap with the cause `pbx-stalled`.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from recorder.audio import Span
from recorder.calls.legs import legs_of
from storage.records import CallRecord, Gap, RecordingRecord, SegmentRecord, Side

# Asterisk needs some tens of milliseconds to start or resume a capture; that is no gap.
SHORTEST_GAP_S = 0.15

# Asterisk gave the time of these ends. For any other end we know only when we noticed it.
TIMED = frozenset({"finished", "stopped"})


@dataclass(frozen=True, slots=True)
class Placement:
    """One segment on the time line, in seconds; `span_s` is its length by the PBX's clock."""

    segment_id: UUID
    side: Side
    offset_s: float
    span_s: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A recording, ready to be rendered; `blank` has each pause and the doubtful time before it."""

    started_at: datetime
    placements: tuple[Placement, ...]
    pauses: tuple[Span, ...]
    blank: tuple[Span, ...]
    gaps: tuple[Gap, ...]


def build_timeline(
    recording: RecordingRecord, call: CallRecord, segments: Sequence[SegmentRecord]
) -> Timeline:
    """Lay out segments, oldest first, whose `duration_s` was measured in their files."""
    zero = min(segment.started_at for segment in segments)
    end_s = max(_span_of_file(segment, zero).to_s for segment in segments)
    pauses = tuple(
        Span(
            max(0.0, _seconds(pause.from_at, zero)),
            max(0.0, _seconds(pause.to_at, zero)) if pause.to_at else end_s,
        )
        for pause in recording.pauses
    )
    blank = tuple(_blank_for(pause, segments, zero) for pause in pauses)
    gaps = {Span(b.from_s, p.from_s): "pbx-stalled" for b, p in zip(blank, pauses, strict=True)}
    gaps.update(_missing(recording, call, segments, zero, blank))
    # Two legs that miss the same time, to a millisecond, make one gap.
    rounded = {
        (round(gap.from_s, 3), round(gap.to_s, 3)): cause
        for gap, cause in gaps.items()
        if gap.to_s - gap.from_s >= SHORTEST_GAP_S
    }
    return Timeline(
        started_at=zero,
        placements=tuple(
            Placement(
                segment.id,
                segment.side,
                _seconds(segment.started_at, zero),
                _length_by_clock(segment, {"finished"}),
            )
            for segment in segments
        ),
        pauses=pauses,
        blank=blank,
        gaps=tuple(Gap(*times, cause) for times, cause in sorted(rounded.items())),
    )


def subtract(span: Span, covered: Iterable[Span]) -> list[Span]:
    """Return the parts of a span that no covered span reaches, in order.

    Example: `subtract(Span(0, 9), [Span(2, 4)])` is `[Span(0, 2), Span(4, 9)]`.
    """
    rest, from_s = [], span.from_s
    for one in sorted(covered):
        if one.from_s > from_s:
            rest.append(Span(from_s, min(one.from_s, span.to_s)))
        from_s = max(from_s, one.to_s)
        if from_s >= span.to_s:
            return rest
    return [*rest, Span(from_s, span.to_s)]


def _blank_for(pause: Span, segments: Sequence[SegmentRecord], zero: datetime) -> Span:
    """Return the pause, and before it the time that may hold words from the pause."""
    missing_s = [0.0]
    for segment in segments:
        file, length_s = _span_of_file(segment, zero), _length_by_clock(segment, TIMED)
        if length_s is None:
            continue
        if file.from_s < pause.to_s and file.from_s + length_s > pause.from_s:
            missing_s.append(length_s - (file.to_s - file.from_s))
    return Span(max(0.0, pause.from_s - max(missing_s)), pause.to_s)


def _missing(
    recording: RecordingRecord,
    call: CallRecord,
    segments: Sequence[SegmentRecord],
    zero: datetime,
    blank: Sequence[Span],
) -> Iterator[tuple[Span, str]]:
    """Yield each time in which a leg was in the conversation and was not captured, and the cause.

    The cause is the end of the leg's segment before the gap, or `not-captured`.
    """
    for leg in legs_of(call):
        if leg.joined_at is None:
            continue
        mine = [segment for segment in segments if segment.channel_id == leg.id]
        files = [_span_of_file(segment, zero) for segment in mine]
        if leg.vanished:  # nobody saw it leave: claim no more than its files hold
            to_s = max((file.to_s for file in files), default=0.0)
        else:
            ends = [moment for moment in (leg.left_at, recording.ended_at) if moment is not None]
            to_s = _seconds(min(ends, default=zero), zero)
        present = Span(max(0.0, _seconds(leg.joined_at, zero)), to_s)
        for gap in subtract(present, [*files, *blank]):
            causes = [
                segment.end_cause
                for segment in mine
                if _seconds(segment.started_at, zero) <= gap.from_s
            ]
            yield gap, (causes[-1] if causes else None) or "not-captured"


def _span_of_file(segment: SegmentRecord, zero: datetime) -> Span:
    from_s = _seconds(segment.started_at, zero)
    return Span(from_s, from_s + (segment.duration_s or 0.0))


def _length_by_clock(segment: SegmentRecord, causes: Container[str]) -> float | None:
    """Return the seconds from a segment's start to its end, if it ended by one of these causes."""
    if segment.ended_at is None or segment.end_cause not in causes:
        return None
    return _seconds(segment.ended_at, segment.started_at)


def _seconds(moment: datetime, zero: datetime) -> float:
    return (moment - zero).total_seconds()
