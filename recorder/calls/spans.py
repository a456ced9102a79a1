"""Spans between two moments, as pairs. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

# A moment: a time, or seconds from any zero.
Moment = TypeVar("Moment", datetime, float)

# From, and up to.
TimeSpan = tuple[datetime, datetime]


def subtract(whole: TimeSpan, parts: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Return the spans of `whole` that no part covers, in order; parts may overlap."""
    left, at = [], whole[0]
    for from_at, to_at in sorted(part for part in parts if part[0] < part[1]):
        left.append((at, min(from_at, whole[1])))
        at = max(at, to_at)
    left.append((at, whole[1]))
    return [span for span in left if span[0] < span[1]]


def intersect(one: TimeSpan, other: TimeSpan) -> TimeSpan | None:
    """Return the time that two spans share, or None."""
    from_at, to_at = max(one[0], other[0]), min(one[1], other[1])
    return (from_at, to_at) if from_at < to_at else None


def merge(spans: Iterable[tuple[Moment, Moment]]) -> list[tuple[Moment, Moment]]:
    """Return the same time as sorted spans that do not touch."""
    merged: list[tuple[Moment, Moment]] = []
    for from_at, to_at in sorted(spans):
        if merged and from_at <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(to_at, merged[-1][1]))
        elif from_at < to_at:
            merged.append((from_at, to_at))
    return merged


def length_s(spans: Iterable[TimeSpan]) -> float:
    """Return the sum of the lengths, in seconds."""
    return sum((to_at - from_at).total_seconds() for from_at, to_at in spans)
