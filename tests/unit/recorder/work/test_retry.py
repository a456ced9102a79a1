"""Retries of failed jobs, and the waits before them."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import AudioUnusable, NoAudioOnPbx, PbxUnavailable
from recorder.work import bulk
from recorder.work.retry import next_wait_s, reason_for
from storage.errors import CatalogueUnavailable
from storage.objects.errors import ObjectMismatch, StoreRefused, StoreUnavailable

# The tenth attempt at our own fault is the last.
LAST = 9


@given(
    st.sampled_from([PbxUnavailable, StoreUnavailable, StoreRefused, CatalogueUnavailable]),
    st.integers(min_value=0, max_value=100_000),
)
def test_the_other_side_is_retried_for_ever(kind: type[Exception], attempts: int) -> None:
    """A store, database or PBX that is away is retried within five minutes, however often."""
    wait_s = next_wait_s(kind("away"), attempts)
    assert wait_s is not None
    assert 0 < wait_s <= 300


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_retried_for_ever(number: int) -> None:
    """Recordings that wait for a store may fill the disk; none of them fails because of that."""
    assert next_wait_s(OSError(number, os.strerror(number)), 1000) is not None


@pytest.mark.parametrize(
    "error",
    [ValueError("bug"), ObjectMismatch("other bytes"), PermissionError(errno.EACCES, "no")],
)
def test_our_own_fault_is_given_up_in_the_end(error: Exception) -> None:
    """Our own fault is retried nine times and then given up."""
    assert all(next_wait_s(error, attempts) is not None for attempts in range(LAST))
    assert next_wait_s(error, LAST) is None
    assert next_wait_s(error, LAST + 1) is None


def test_a_refused_export_is_given_up_in_the_end() -> None:
    """A person waits for an export and can ask again, so a refusal by the store ends it."""
    assert bulk.next_wait_s(StoreRefused("no"), LAST - 1) is not None
    assert bulk.next_wait_s(StoreRefused("no"), LAST) is None
    assert bulk.next_wait_s(StoreUnavailable("away"), LAST) is not None


def test_unusable_audio_is_not_retried() -> None:
    """The same audio would fail again in the same way."""
    assert next_wait_s(AudioUnusable("nothing there"), 0) is None


def test_waits_grow_and_differ() -> None:
    """The wait doubles up to five minutes, and jitter takes off at most half of it."""
    attempts = [0, 1, 2, 3, 8, 9, 50]
    longest = [next_wait_s(StoreRefused(), n, lambda low, high: high) for n in attempts]
    shortest = [next_wait_s(StoreRefused(), n, lambda low, high: low) for n in attempts]
    assert longest == [1, 2, 4, 8, 256, 300, 300]
    assert shortest == [0.5, 1, 2, 4, 128, 150, 150]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("/var/lib/secret"), "internal-error"),
        (AudioUnusable("the header is cut off"), "audio-unusable"),
        (NoAudioOnPbx("nothing"), "no-audio-on-pbx"),
        (ObjectMismatch("main/2026/11/23/1.opus has other bytes"), "object-mismatch"),
    ],
)
def test_a_reason_is_a_code(error: Exception, reason: str) -> None:
    """A recording that failed stores a code, which holds no path and no secret."""
    assert reason_for(error) == reason
