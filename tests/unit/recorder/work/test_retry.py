"""What is tried again, how long after, and what is not."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import AudioUnusable, NeverBegan, NoAudioOnPbx
from recorder.work import bulk
from recorder.work.retry import (
    ATTEMPTS_OF_OURS,
    LONGEST_WAIT_S,
    OTHER_SIDE,
    next_wait_s,
    reason_for,
)
from storage.errors import ObjectMismatch, StoreRefused, StoreUnavailable


@given(st.sampled_from(OTHER_SIDE), st.integers(min_value=0, max_value=100_000))
def test_the_other_side_is_waited_for_for_ever(kind: type[Exception], attempts: int) -> None:
    """A store or PBX that is away is tried again, however often, within five minutes."""
    wait_s = next_wait_s(kind("away"), attempts)
    assert wait_s is not None
    assert 0 < wait_s <= LONGEST_WAIT_S


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_waited_for(number: int) -> None:
    """What waits for the store of a day may fill it: no recording fails for that."""
    assert next_wait_s(OSError(number, os.strerror(number)), ATTEMPTS_OF_OURS) is not None


@pytest.mark.parametrize(
    "error",
    [ValueError("bug"), ObjectMismatch("other bytes"), PermissionError(errno.EACCES, "no")],
)
def test_our_own_fault_is_said_in_the_end(error: Exception) -> None:
    """An error of ours is retried some times, then given up."""
    waits = [next_wait_s(error, attempts) for attempts in range(ATTEMPTS_OF_OURS)]
    assert all(wait_s is not None for wait_s in waits[:-1])
    assert waits[-1] is None


def test_a_store_that_refuses_an_export_is_not_asked_for_ever() -> None:
    """Somebody waits for it, and can ask again; one that is away only costs time."""
    last = ATTEMPTS_OF_OURS - 1
    assert bulk.next_wait_s(StoreRefused("no"), last - 1) is not None
    assert bulk.next_wait_s(StoreRefused("no"), last) is None
    assert bulk.next_wait_s(StoreUnavailable("away"), last) is not None


def test_unusable_audio_is_not_tried_again() -> None:
    """What would fail again is not repeated."""
    assert next_wait_s(AudioUnusable("nothing there"), 0) is None


def test_waits_grow_and_differ() -> None:
    """The wait doubles, with jitter that never halves it further."""
    longest = [next_wait_s(ValueError(), n, lambda low, high: high) for n in range(4)]
    shortest = [next_wait_s(ValueError(), n, lambda low, high: low) for n in range(4)]
    assert longest == [1, 2, 4, 8]
    assert shortest == [0.5, 1, 2, 4]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("/var/lib/secret"), "internal-error"),
        (AudioUnusable("the header is cut off"), "audio-unusable"),
        (NoAudioOnPbx("nothing"), "no-audio-on-pbx"),
        (NeverBegan("nothing"), "never-began"),
        (ObjectMismatch("main/2026/11/23/1.opus has other bytes"), "object-mismatch"),
    ],
)
def test_a_reason_is_a_code(error: Exception, reason: str) -> None:
    """A recording that failed stores a code, which holds no path and no secret."""
    assert reason_for(error) == reason
