"""Spans of time on a recording's time line, in seconds and as whole samples. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

Run = tuple[int, int]  # samples: first, one past the last


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A time from one moment of a recording to another, in seconds from its start."""

    from_s: float
    to_s: float


def to_runs(spans: Iterable[Span], rate: int, frames: int) -> list[Run]:
    """Return the spans as sorted runs that do not touch, between 0 and `frames`.

    A run has every sample that its span touches, so that not half a sample of a pause is heard.
    """
    # Round off the error of binary fractions: 0.3 s at 8 kHz is 2,400 samples exactly.

    rounded = (
        (
            max(0, math.floor(round(span.from_s * rate, 6))),
            math.ceil(round(span.to_s * rate, 6)),
        )
        for span in spans
    )
    return merge_runs((start, min(end, frames)) for start, end in rounded)


def merge_runs(runs: Iterable[Run], gap: int = 0) -> list[Run]:
    """Return sorted runs without empty runs; join runs that are at most `gap` apart."""
    merged: list[Run] = []
    for start, end in sorted(run for run in runs if run[0] < run[1]):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def invert_runs(runs: Iterable[Run], start: int, end: int) -> list[Run]:
    """Return the runs between start and end that sorted runs leave free."""
    rest: list[Run] = []
    for first, last in runs:
        rest.append((start, min(first, end)))
        start = max(start, last)
    return [run for run in [*rest, (start, end)] if run[0] < run[1]]
