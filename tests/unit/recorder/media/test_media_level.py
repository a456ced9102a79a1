"""The level of a stream of frames."""

import numpy as np
import pytest

from recorder.media.level import LATE, SILENCE_DBFS, Level
from recorder.media.pacing import FRAME_BYTES


@pytest.mark.parametrize(("amplitude", "dbfs"), [(1.0, -3.0), (0.1, -23.0), (0.001, -63.0)])
def test_a_tone(amplitude: float, dbfs: float) -> None:
    """The level is the power of the sine, over many frames as over one; a reading resets it."""
    level = Level()
    for _ in range(2):
        tone = 32767 * amplitude * np.sin(2 * np.pi * 425 * np.arange(3200) / 16000)
        pcm = tone.astype("<i2").tobytes()
        for at in range(0, len(pcm), FRAME_BYTES):
            level.add(pcm[at : at + FRAME_BYTES])
        assert level.read() == pytest.approx(dbfs, abs=0.2)


def test_the_first_reading_is_exact() -> None:
    """The level of one quiet frame is its own: no energy and no sample is there before it."""
    level = Level()
    level.add(b"\x02\x00" * (FRAME_BYTES // 2))
    assert level.read() == pytest.approx(-84.2884, abs=1e-4)


def test_frames_that_come_late() -> None:
    """Two readings without a frame repeat the last level; the third is silence."""
    level = Level()
    for _ in range(2):
        level.add(b"\x00\x40" * (FRAME_BYTES // 2))
        readings = [level.read() for _ in range(LATE + 3)]
        assert readings[: LATE + 1] == [pytest.approx(-6.0, abs=0.1)] * (LATE + 1)
        assert readings[LATE + 1 :] == [SILENCE_DBFS] * 2


def test_silence() -> None:
    """Digital silence reads as silence, as does a level without any frame."""
    level = Level()
    assert level.read() == SILENCE_DBFS
    level.add(bytes(FRAME_BYTES))
    assert level.read() == SILENCE_DBFS
