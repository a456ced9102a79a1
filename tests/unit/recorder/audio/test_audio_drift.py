"""Files that are longer or shorter than their time by the clock."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import (
    LEFT_HZ,
    RIGHT_HZ,
    SILENT_DBFS,
    TONE_DBFS,
    Heard,
    Pcm,
    piece,
    silence,
    tone,
)

from recorder.audio import Piece, fitted_s, render
from recorder.audio.drift import plan_jumps
from storage.records import Format

BEEP_S = 0.2


def _beeps(length_s: float, every_s: float, drift: float) -> Pcm:
    """Return regular beeps, by a clock that runs too fast by `drift`."""
    sound = silence(length_s * (1 + drift))
    for moment in np.arange(0.5, length_s - 1, every_s):
        at = round(moment * (1 + drift) * 8_000)
        beep = tone(LEFT_HZ, BEEP_S)
        sound[at : at + len(beep)] = beep
    return sound


@pytest.mark.parametrize("drift", [0.003, -0.003, 0.015, -0.015])
def test_beeps_are_in_time(tmp_path: Path, drift: float) -> None:
    """Every sound of a minute is within 20 ms of its true time, in spite of a drifting clock."""
    sound = _beeps(60.0, 5.0, drift)
    made = render(
        [piece(tmp_path, "left", sound, span_s=60.0)],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    starts = [from_s for from_s, _ in Heard(made.path).spans(0, LEFT_HZ)]
    assert made.duration_s == 60.0
    assert starts == pytest.approx(np.arange(0.5, 59, 5.0).tolist(), abs=0.02)


@pytest.mark.parametrize("frames", [79_200, 80_800])
def test_a_tone_stays_a_tone(tmp_path: Path, frames: int) -> None:
    """Dropped and repeated stretches of a steady tone neither click nor change its pitch."""
    sound = tone(LEFT_HZ, frames / 8_000)
    made = render(
        [piece(tmp_path, "left", sound, span_s=10.0)],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    heard = Heard(made.path)
    steps = np.abs(np.diff(heard.channels[0]))
    assert made.duration_s == 10.0
    assert steps.max() <= 1.3 * np.abs(np.diff(sound / 32_768)).max()
    assert heard.dbfs(0, RIGHT_HZ) < SILENT_DBFS


def test_jumps_are_at_quiet_places(tmp_path: Path) -> None:
    """Speech stays unchanged if a pause is near."""
    words = np.concatenate([np.concatenate((tone(LEFT_HZ, 0.4), silence(0.1)))] * 20)
    made = render(
        [piece(tmp_path, "left", words, span_s=10.1)],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    lengths = [to_s - from_s for from_s, to_s in Heard(made.path).spans(0, LEFT_HZ)]
    assert made.duration_s == 10.1
    assert lengths == pytest.approx([0.4] * 20, abs=0.006)


@pytest.mark.parametrize("span_s", [None, 10.015, 9.985, 10.4, 9.6, 20.0, 0.0])
def test_only_drift_is_corrected(tmp_path: Path, span_s: float | None) -> None:
    """A right length is not changed, nor one so wrong that sound is missing."""
    made = render(
        [piece(tmp_path, "left", tone(LEFT_HZ, 10.0), span_s=span_s)],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    assert made.duration_s == 10.0


@settings(max_examples=60)
@given(frames=st.integers(0, 40_000), off=st.integers(-2_000, 2_000), seed=st.integers(0, 9))
def test_jumps_never_cross(frames: int, off: int, seed: int) -> None:
    """Jumps are in order, inside the file, and add up to the whole error, or there are none."""
    sound = np.random.default_rng(seed).integers(-9, 9, frames).astype(np.int16)
    jumps = plan_jumps(
        lambda first, count: sound[first:][:count], frames, 8_000, (frames + off) / 8_000
    )
    at = 0
    for jump in jumps:
        assert jump.at >= at
        at = max(jump.at, jump.at + jump.by) + 40
        assert at <= frames
    assert sum(jump.by for jump in jumps) in (0, -off)


@pytest.mark.parametrize("format", ["wav", "opus"])
def test_a_file_that_is_far_too_slow_is_played_faster(tmp_path: Path, format: Format) -> None:
    """Three samples for one give a file of three times its time and a third of its pitch."""
    slow = tone(LEFT_HZ / 3, 30.0)
    made = render(
        [piece(tmp_path, "left", slow, 1.0, span_s=10.0)],
        layout="dual",
        format=format,
        target=tmp_path / f"o.{format}",
    )
    heard = Heard(made.path)
    assert made.duration_s == 11.0
    assert heard.dbfs(0, LEFT_HZ, 1.0) == pytest.approx(TONE_DBFS, abs=1)
    assert heard.dbfs(0, LEFT_HZ / 3, 1.0) < SILENT_DBFS


def test_a_part_of_a_file_is_a_piece(tmp_path: Path) -> None:
    """A file that became slow in its middle is rendered as two pieces."""
    whole = piece(tmp_path, "left", np.concatenate((tone(LEFT_HZ, 4.0), tone(LEFT_HZ / 3, 12.0))))
    made = render(
        [
            Piece(whole.path, "left", 0.0, 4.0, to_s=4.0),
            Piece(whole.path, "left", 4.0, 4.0, from_s=4.0),
        ],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    heard = Heard(made.path)
    assert made.duration_s == 8.0
    assert heard.dbfs(0, LEFT_HZ, 0.1, 3.9) == pytest.approx(TONE_DBFS, abs=1)
    assert heard.dbfs(0, LEFT_HZ, 4.1, 7.9) == pytest.approx(TONE_DBFS, abs=1)


@pytest.mark.parametrize(
    ("length_s", "span_s", "fitted"),
    [
        (10.0, None, 10.0),
        (10.0, 10.01, 10.0),
        (10.0, 10.1, 10.1),
        (10.0, 9.9, 9.9),
        (10.0, 9.1, 10.0),
        (10.0, 9.0, 9.0),
        (10.0, 20.0, 10.0),
        (30.0, 10.0, 10.0),
        (10.0, 0.5, 10.0),
    ],
    ids=["unknown", "exact", "short", "long", "odd", "slow", "cut", "three-times", "no-clock"],
)
def test_the_fitted_length(
    tmp_path: Path, length_s: float, span_s: float | None, fitted: float
) -> None:
    """The length that the time line expects is the length of the rendered piece."""
    assert fitted_s(length_s, span_s) == fitted
    made = render(
        [piece(tmp_path, "left", tone(LEFT_HZ, length_s), span_s=span_s)],
        layout="dual",
        format="wav",
        target=tmp_path / "o.wav",
    )
    assert made.duration_s == pytest.approx(fitted, abs=0.001)
