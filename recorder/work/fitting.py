"""Fit the file of a segment to the PBX's clock. Pure.

A file has a length of its own, and the clock says how long it was written. Small differences are
drift. A file much longer was written too slowly: after a change of codec, three samples for one.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from recorder.audio import Span, fitted_s, is_too_long
from storage.records import SegmentRecord, Side

# Asterisk gave the time of these ends. For any other end we know only when we noticed it.
TIMED = frozenset({"finished", "stopped"})
# We may note the end of a stopped capture so much later than it was.
STOP_TAKES_S = 0.1
# A stopped file so many times longer than its time was written too slowly, whatever we noted.
SURELY_SLOW = 1.25
SLOW_S = 1.0
# Sample rates of codecs differ by these factors, the usual one first.
SPEEDS = (3.0, 2.0, 6.0)
# A change of company and the change of codec that it brings are so close.
CHANGE_WITHIN_S = 0.5
# Nobody can say better: a packet holds so much.
BEST_ALIGNMENT_MS = 20


@dataclass(frozen=True, slots=True)
class Placement:
    """The file of a segment, or a part of it, on the time line, in seconds.

    `span_s` is its length by the PBX's clock; None keeps the length of the file. `silent` are spans
    of the time line in which nothing of it may be heard.
    """

    segment_id: UUID
    side: Side
    offset_s: float
    span_s: float | None
    from_s: float = 0.0
    to_s: float | None = None
    silent: tuple[Span, ...] = ()


def length_by_clock(segment: SegmentRecord, causes: Container[str | None] = TIMED) -> float | None:
    """Return the seconds from a segment's start to its end, if it ended by one of these causes."""
    if segment.ended_at is None or segment.end_cause not in causes:
        return None
    return (segment.ended_at - segment.started_at).total_seconds()


def span_to_fit(segment: SegmentRecord) -> float | None:
    """Return the length to which a file is fitted, None to keep its own.

    The end of a `stopped` capture is noted up to 100 ms late: less is no drift. Our clock may also
    differ from the PBX's, so a stopped file is too slow only if it is far too long.
    """
    length_s, clock_s = segment.duration_s or 0.0, length_by_clock(segment)
    if clock_s is None or segment.end_cause == "finished":
        return clock_s
    surplus_s = length_s - clock_s
    if abs(surplus_s) < STOP_TAKES_S:
        return None
    return None if surplus_s >= SLOW_S and length_s < SURELY_SLOW * clock_s else clock_s


def is_slow(segment: SegmentRecord) -> bool:
    """Whether a file is so much longer than its time that it was written too slowly."""
    span_s = span_to_fit(segment)
    return span_s is not None and is_too_long(segment.duration_s or 0.0, span_s)


def placed_s(segment: SegmentRecord) -> float:
    """Return the length of a segment in the recording, once its file is fitted."""
    return fitted_s(segment.duration_s or 0.0, span_to_fit(segment))


def place(
    segment: SegmentRecord, zero: datetime, changes: Iterable[datetime]
) -> tuple[Placement, ...]:
    """Return the placements of a segment; `changes` are moments when its company changed.

    A file may have become slow near such a moment, by one of the factors between codecs. The length
    of the file says when: only the rest is played faster, by exactly this factor.

    Example: a call of 8 s is transferred after 3 s, and its file has 18 s: from second 3 on it is
    three times too slow.
    """
    offset_s = (segment.started_at - zero).total_seconds()
    span_s = span_to_fit(segment)
    whole = Placement(segment.id, segment.side, offset_s, span_s)
    if span_s is None or not is_slow(segment):
        return (whole,)
    length_s = segment.duration_s or 0.0
    moments = [(moment - segment.started_at).total_seconds() for moment in changes]
    for speed in SPEEDS:
        slow_s = (speed * span_s - length_s) / (speed - 1)
        is_near = any(abs(slow_s - one) < CHANGE_WITHIN_S for one in moments)
        if is_near and CHANGE_WITHIN_S < slow_s < span_s:
            return (
                replace(whole, span_s=slow_s, to_s=slow_s),
                replace(whole, offset_s=offset_s + slow_s, span_s=span_s - slow_s, from_s=slow_s),
            )
    return (whole,)


def alignment_ms(segment: SegmentRecord, late_s: float) -> int:
    """Return how far a sound of a segment may lie from its true time.

    It is the difference between file and clock, whose place in the file nobody knows, and the
    silence that was written for late packets. No file is surer than 20 ms.
    """
    clock_s = length_by_clock(segment)
    surplus_s = abs((segment.duration_s or 0.0) - clock_s) if clock_s is not None else 0.0
    return max(BEST_ALIGNMENT_MS, round(1000 * (surplus_s + late_s)))
