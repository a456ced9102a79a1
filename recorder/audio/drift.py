"""Fit a file to its length by the clock: one a little longer or shorter, or one far too slow.

Asterisk's recordings miss a frame here and there, and two clocks never agree, so over a long call
one side slides against the other. Stretches of at most 10 ms are dropped or repeated, evenly over
the file. Each is put at the quietest place within a second, and each joint is blended over 5 ms.
The end then is right to the sample. In between, a steady drift is off by at most one stretch and
the search.

After a change of codec some builds of Asterisk write three samples for one: the file is much longer
than its time, and low in pitch. Playing it faster, by the ratio of the lengths, makes it right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Read = Callable[[int, int], Samples]  # first frame, how many

WORTH_S = 0.02  # nobody hears less
# More than this share of the length, and the time to start and stop, is missing audio, not drift.
MOST = 0.02
MOST_S = 0.1
# From here on a surplus is no inaccuracy of the clock; and no fault makes a file so much longer.
SLOW_S = 1.0
SLOWEST = 12
STRETCH_S = 0.01
FADE_S = 0.005
SEARCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Jump:
    """At frame `at` reading goes on `by` frames later, or earlier if `by` is negative."""

    at: int
    by: int


Fit = Literal["as-is", "drifted", "slow"]


def fit_for(frames: int, rate: int, span_s: float | None) -> Fit:
    """Return how a file of so many frames is fitted to its length by the clock, None if unknown.

    Example: 30 s of audio from 10 s by the clock are `slow`; 10.05 s have `drifted`.
    """
    if span_s is None:
        return "as-is"
    surplus = frames - round(span_s * rate)
    # Each stretch with its fade needs its own place.
    if WORTH_S < abs(surplus) / rate < MOST * span_s + MOST_S and frames >= 8 * abs(surplus):
        return "drifted"
    is_slow = is_too_long(frames / rate, span_s) and frames <= SLOWEST * span_s * rate
    return "slow" if is_slow else "as-is"


def is_too_long(length_s: float, span_s: float) -> bool:
    """Whether a file is so much longer than its time that it was written too slowly."""
    return length_s - span_s >= max(SLOW_S, MOST * span_s + MOST_S)


def fitted_s(length_s: float, span_s: float | None) -> float:
    """Return the length that a file has in the recording once it is fitted to the clock."""
    rate = 48_000
    fitted = span_s is not None and fit_for(round(length_s * rate), rate, span_s) != "as-is"
    return span_s if fitted and span_s is not None else length_s


def plan_jumps(read: Read, frames: int, rate: int, span_s: float | None) -> list[Jump]:
    """Return the jumps that fit `frames` to `span_s` seconds, or none if it is no drift."""
    if span_s is None or fit_for(frames, rate, span_s) != "drifted":
        return []
    surplus = frames - round(span_s * rate)
    count = math.ceil(abs(surplus) / (STRETCH_S * rate))
    shares = np.diff(np.rint(np.linspace(0, surplus, count + 1)).astype(int)).tolist()
    return [
        _find_jump(read, frames * i // count, frames * (i + 1) // count, rate, by)
        for i, by in enumerate(shares)
    ]


def blend(before: Samples, after: Samples) -> Samples:
    """Return a linear cross-fade from one sound to the other, over their whole length."""
    ramp = (np.arange(len(before)) + 1) / (len(before) + 1)
    return np.rint(before * (1 - ramp) + after * ramp).astype(np.int16)


def fade_frames(rate: int) -> int:
    """Return the length of a fade in frames."""
    return round(FADE_S * rate)


def _find_jump(read: Read, start: int, end: int, rate: int, by: int) -> Jump:
    """Return the jump at the quietest place near the middle between start and end."""
    length = abs(by) + fade_frames(rate)
    middle, reach = (start + end) // 2, round(SEARCH_S * rate)
    first = max(start, middle - reach)
    sound = read(first, min(end, middle + reach) - first)
    energy = np.concatenate(([0], np.cumsum(sound.astype(np.int64) ** 2)))
    windows = energy[length:] - energy[:-length]
    least = np.flatnonzero(windows == windows.min())
    quietest = first + int(least[np.argmin(np.abs(least - len(windows) // 2))])
    return Jump(quietest, by) if by > 0 else Jump(quietest - by, by)
