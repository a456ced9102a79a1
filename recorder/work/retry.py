"""Whether a step that failed is tried again, and when. Pure, but for the jitter.

What the other side causes is retried for ever: a store that is away for a day must cost nothing
but time. What we cause ourselves is retried a few times and then said. What the audio itself
causes would fail again, so it is not retried at all.
"""

import errno
import random
from collections.abc import Callable

from recorder.errors import AudioUnusable, PbxUnavailable
from storage.errors import CatalogueUnavailable, EarwitnessError, StoreRefused, StoreUnavailable

# A disk that is full is waited for, too.
FULL = (errno.ENOSPC, errno.EDQUOT)
OTHER_SIDE = (PbxUnavailable, StoreUnavailable, StoreRefused, CatalogueUnavailable)
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
# About ten minutes of trying.
ATTEMPTS_OF_OURS = 10


def next_wait_s(
    error: BaseException,
    attempts: int,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float | None:
    """Seconds until the next attempt; None where another attempt is of no use.

    `attempts` counts those that were made before the one that failed now.
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
    """Seconds to wait after so many attempts: more each time, with jitter, to some minutes."""
    ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * growth ** min(attempts, 20))
    return uniform(ceiling / 2, ceiling)


def reason_for(error: BaseException) -> str:
    """Return the code of an error, such as `no-audio-on-pbx`; the log has its text."""
    return error.error_id if isinstance(error, EarwitnessError) else EarwitnessError.error_id
