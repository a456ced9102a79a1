"""A file that came out a little longer or shorter than the clock says is brought to its length.

Asterisk's recordings miss a frame here and there, and two clocks never agree: over a long call one
side slides against the other. What is too much is dropped, what is missing is said twice, in
stretches of at most 10 ms, spread evenly over the file, each at the quietest place within a second
of where it is due, each joint blended over 5 ms. The end then lies right to the sample, and in
between a steady drift is never off by more than a stretch and the search.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Read = Callable[[int, int], Samples]  # first frame, how many

WORTH_S = 0.02  # what nobody hears is left alone
MOST = 0.02  # of the length; and beside it
MOST_S = 0.1  # what starting and stopping costs. More than both is missing sound, no drift
STRETCH_S = 0.01
FADE_S = 0.005
SEARCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Jump:
    """At frame `at` the reading goes on `by` frames further on, or back where `by` is negative."""

    at: int
    by: int


def plan_jumps(read: Read, frames: int, rate: int, span_s: float | None) -> list[Jump]:
    """The jumps that bring `frames` to `span_s` seconds; none where it is no drift."""
    if span_s is None:
        return []
    surplus = frames - round(span_s * rate)
    if not _is_drift(surplus, frames, rate, span_s):
        return []
    count = math.ceil(abs(surplus) / (STRETCH_S * rate))
    shares = np.diff(np.rint(np.linspace(0, surplus, count + 1)).astype(int)).tolist()
    return [
        _jump(read, frames * i // count, frames * (i + 1) // count, rate, by)
        for i, by in enumerate(shares)
    ]


def blend(before: Samples, after: Samples) -> Samples:
    """From one sound to the other, by a straight cross-fade over all their length."""
    ramp = (np.arange(len(before)) + 1) / (len(before) + 1)
    return np.rint(before * (1 - ramp) + after * ramp).astype(np.int16)


def fade_frames(rate: int) -> int:
    """The length of a fade in frames."""
    return round(FADE_S * rate)


def _is_drift(surplus: int, frames: int, rate: int, span_s: float) -> bool:
    off_s = abs(surplus) / rate
    room = frames >= 8 * abs(surplus)  # a stretch and its fade need a place of their own
    return WORTH_S < off_s < MOST * span_s + MOST_S and room


def _jump(read: Read, start: int, end: int, rate: int, by: int) -> Jump:
    """The jump within start to end, as near to the middle as quiet allows."""
    length = abs(by) + fade_frames(rate)
    middle, reach = (start + end) // 2, round(SEARCH_S * rate)
    first = max(start, middle - reach)
    sound = read(first, min(end, middle + reach) - first)
    quietest = first + _quietest(sound, length)
    return Jump(quietest, by) if by > 0 else Jump(quietest - by, by)


def _quietest(sound: Samples, length: int) -> int:
    """Where the `length` frames of least energy begin; of equals the one nearest the middle."""
    energy = np.concatenate(([0], np.cumsum(sound.astype(np.int64) ** 2)))
    windows = energy[length:] - energy[:-length]
    least = np.flatnonzero(windows == windows.min())
    return int(least[np.argmin(np.abs(least - len(windows) // 2))])
