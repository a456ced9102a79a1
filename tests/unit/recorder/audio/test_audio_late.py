"""The silence that Asterisk writes for late packets."""

from pathlib import Path

import numpy as np
import pytest
from sounds import LEFT_HZ, Pcm, silence, tone, write_wav

from recorder.audio import measure_late_s, probe_wav


def sound(duration_s: float, rate: int = 8_000) -> Pcm:
    """Return a tone in which no sample is zero."""
    made = tone(LEFT_HZ, duration_s, rate)
    return np.where(made == 0, 1, made).astype(np.int16)


def late_s(folder: Path, *parts: Pcm, rate: int = 8_000, channels: int = 1) -> float:
    """Return the measurement of a file of these parts."""
    samples = np.repeat(np.concatenate(parts), channels)
    return measure_late_s(probe_wav(write_wav(folder / "a.wav", samples, rate, channels=channels)))


def test_sound_without_a_break_is_not_late(tmp_path: Path) -> None:
    """A file without digital silence amid its sound has no late packet."""
    assert late_s(tmp_path, silence(0.02), sound(1), silence(0.02)) == 0
    assert late_s(tmp_path, silence(1)) == 0


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("frames", "found_s"), [(1, 0.02), (3, 0.06), (5, 0.1), (6, 0), (40, 0)])
def test_short_silences_count(
    tmp_path: Path, rate: int, channels: int, frames: int, found_s: float
) -> None:
    """One to five frames of silence amid sound are late packets, more are a pause in speech."""
    parts = (sound(0.5, rate), silence(0.02 * frames, rate), sound(0.5, rate))
    assert late_s(tmp_path, *parts, rate=rate, channels=channels) == pytest.approx(found_s)


@pytest.mark.parametrize(("length_s", "found_s"), [(0.01, 0), (0.021, 0.02), (0.03, 0)])
def test_only_whole_frames_count(tmp_path: Path, length_s: float, found_s: float) -> None:
    """Silence of another length than whole frames was not written for a packet."""
    assert late_s(tmp_path, sound(0.5), silence(length_s), sound(0.5)) == found_s


def test_the_delay_has_a_bound(tmp_path: Path) -> None:
    """Asterisk delays by half a second at most, so more silences claim no more."""
    parts = [part for _ in range(40) for part in (sound(0.1), silence(0.02))]
    assert late_s(tmp_path, *parts, sound(0.1)) == 0.5


def test_a_silence_across_two_reads_counts_once(tmp_path: Path) -> None:
    """A file is read in parts of a million samples, and a silence may lie across their edge."""
    parts = (sound(124.99), silence(0.04), sound(0.1), silence(0.02), sound(0.1))
    assert late_s(tmp_path, *parts) == pytest.approx(0.06)


def test_a_long_silence_is_no_late_packet(tmp_path: Path) -> None:
    """A pause over more than one whole part of a file is a pause."""
    assert late_s(tmp_path, sound(1), silence(400), sound(1)) == 0
