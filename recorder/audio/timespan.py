"""Spans of time on a recording's time line, in seconds and as whole samples. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

Run = tuple[int, int]  # samples: first, one past the last


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From one moment of a recording to another, in seconds from its start."""

    from_s: float
    to_s: float


def to_runs(spans: Iterable[Span], rate: int, frames: int) -> list[Run]:
    """The spans as sorted runs that do not touch, within 0 and `frames`.

    Every sample that a span touches belongs to it: protected speech loses no half sample.
    """
    rounded = (
        (max(0, math.floor(_exact(span.from_s * rate))), math.ceil(_exact(span.to_s * rate)))
        for span in spans
    )
    return merge_runs((start, min(end, frames)) for start, end in rounded)


def merge_runs(runs: Iterable[Run], gap: int = 0) -> list[Run]:
    """Sorted runs; those at most `gap` apart are one, empty ones are none."""
    merged: list[Run] = []
    for start, end in sorted(run for run in runs if run[0] < run[1]):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def invert_runs(runs: Iterable[Run], start: int, end: int) -> list[Run]:
    """What sorted runs leave of start to end."""
    rest: list[Run] = []
    for first, last in runs:
        rest.append((start, min(first, end)))
        start = max(start, last)
    return [run for run in [*rest, (start, end)] if run[0] < run[1]]


def _exact(samples: float) -> float:
    """Without what binary fractions add: 0.3 s at 8 kHz is 2,400 samples and no bit more."""
    return round(samples, 6)
