"""The tone that tells a page that its sound stops."""

import numpy as np

from lab.ears import level_dbfs
from recorder.media.tone import build_tone


def test_the_tone_is_short_and_begins_without_a_click() -> None:
    """It is the tone that an agent hears at a pause, for 200 ms, in whole frames."""
    frames = build_tone()
    assert {len(frame) for frame in frames} == {640}
    samples = np.frombuffer(b"".join(frames), "<i2") / 32768
    assert len(samples) == 3200
    assert -26 < level_dbfs(samples, 16_000, 1850) < -16
    assert level_dbfs(samples, 16_000, 440) < -60
    assert max(abs(samples[0]), abs(samples[-1])) < 0.001
    assert np.abs(np.diff(samples[:16])).max() < 0.01
