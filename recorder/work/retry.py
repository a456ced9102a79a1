"""Decide whether a failed job is retried, and when. Pure, except for the jitter.

A fault of the other side is retried for ever: a store that is away for a day must cost nothing but
time. Our own fault is retried for about ten minutes and then reported. Unusable audio would fail
again in the same way, so it is not retried at all.
"""

import errno
import random
from collections.abc import Callable

from recorder.errors import AudioUnusable, PbxUnavailable
from storage.errors import CatalogueUnavailable, EarwitnessError
from storage.objects.errors import StoreRefused, StoreUnavailable

# Somebody will make room on a full disk, so it counts as the other side's fault.
FULL = (errno.ENOSPC, errno.EDQUOT)
OTHER_SIDE = (PbxUnavailable, StoreUnavailable, StoreRefused, CatalogueUnavailable)
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
# These take about ten minutes.
ATTEMPTS_OF_OURS = 10


def next_wait_s(
    error: BaseException,
    attempts: int,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float | None:
    """Return the seconds until the next attempt, or None if the job is given up.

    `attempts` counts the attempts before the failed one.
    Example: `next_wait_s(StoreUnavailable(), 3)` is between 4 and 8.
    """
    if isinstance(error, AudioUnusable):
        return None
    is_full = isinstance(error, OSError) and error.errno in FULL
    if not (is_full or isinstance(error, OTHER_SIDE)) and attempts + 1 >= ATTEMPTS_OF_OURS:
        return None
    return backoff_s(attempts, uniform)


def backoff_s(
    attempts: int,
    uniform: Callable[[float, float], float] = random.uniform,
    *,
    growth: float = 2.0,
) -> float:
    """Return the seconds to wait after so many attempts: twice as long each time, with jitter."""
    ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * growth ** min(attempts, 20))
    return uniform(ceiling / 2, ceiling)


def reason_for(error: BaseException) -> str:
    """Return the code of an error, such as `no-audio-on-pbx`; the log has its text."""
    return error.error_id if isinstance(error, EarwitnessError) else EarwitnessError.error_id
