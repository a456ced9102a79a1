"""Measure how much silence Asterisk put into a file for packets that came late.

Asterisk reads the captured voice by a timer. Where a packet comes after the timer, it writes a
frame of digital silence, and everything after that frame lies later, by 500 ms at most. The file
keeps its length, so only the silence itself shows the delay.
"""

from collections.abc import Iterator

import numpy as np

from recorder.audio.probe import Wav

FRAME_S = 0.02
# A run of more frames is a pause of the speaker, or a phone that sends nothing.
MOST_FRAMES = 5
MOST_LATE_S = 0.5
_SLACK_S = 0.002  # a frame of sound may begin or end with a few zeros
_CHUNK_FRAMES = 1_000_000


def measure_late_s(wav: Wav) -> float:
    """Return how far, at most, late packets delay the sounds of a file.

    Count the runs of one to five frames of digital silence amid sound.
    """
    late = 0
    for run in _iter_silences(wav):
        frames, rest = divmod(run / wav.sample_rate + _SLACK_S / 2, FRAME_S)
        if 1 <= frames <= MOST_FRAMES and rest <= 2 * _SLACK_S:
            late += int(frames)
    return min(late * FRAME_S, MOST_LATE_S)


def _iter_silences(wav: Wav) -> Iterator[int]:
    """Yield the length of each run of zeros that has sound on both sides."""
    zeros, is_begun = 0, False
    for first in range(0, wav.frames, _CHUNK_FRAMES):
        count = min(_CHUNK_FRAMES, wav.frames - first) * wav.channels
        offset = wav.data_offset + 2 * wav.channels * first
        samples = np.fromfile(wav.path, "<i2", count, offset=offset).reshape(-1, wav.channels)
        loud = np.flatnonzero(samples.any(axis=1))
        if not len(loud):
            zeros += len(samples)
            continue
        if is_begun:
            yield zeros + int(loud[0])
        steps = np.diff(loud)
        yield from (int(step) - 1 for step in steps[steps > 1])
        zeros, is_begun = len(samples) - 1 - int(loud[-1]), True
