"""Search sound for tones: for example for a marker that must be nowhere in it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recorder.audio.drift import Samples

if TYPE_CHECKING:
    from av import AudioFrame

BLOCK_S = 0.1
SILENCE_DBFS = -120.0


def read_sides(path: Path) -> tuple[int, Samples]:
    """Return the sample rate of an audio file in any format, and its samples as [channels, n].

    Raises ValueError for a file that holds no audio, also for a WAV of a header alone.
    """
    import av  # noqa: PLC0415  rarely needed, 15 MB

    blocks: list[Samples] = []
    try:
        with av.open(str(path)) as media:
            if not media.streams.audio:
                raise ValueError("the file holds no audio")
            rate = media.streams.audio[0].rate
            resampler = av.AudioResampler(format="s16p")
            for frame in media.decode(audio=0):
                blocks += (_samples(one) for one in resampler.resample(frame))
            blocks += (_samples(one) for one in resampler.resample(None))
    except av.FFmpegError as error:
        raise ValueError(f"the file cannot be decoded: {error}") from error
    if not blocks:
        raise ValueError("the file holds no audio")
    return rate, np.concatenate(blocks, axis=1)


def _samples(frame: "AudioFrame") -> Samples:
    return frame.to_ndarray().astype(np.int16, copy=False)


def as_samples(pcm: bytes) -> Samples:
    """Return 16-bit little-endian PCM of one channel as samples; an odd last byte is dropped."""
    return np.frombuffer(pcm[: len(pcm) & ~1], "<i2")


def levels_dbfs(samples: Samples, rate: int, *hz: float) -> npt.NDArray[np.float64]:
    """Return the levels of tones as [tone, block]; a block is a tenth of a second, half a block on.

    0 is a full-scale sine, -120 silence. A tone of 20 ms still gives a fifth of its amplitude.
    """
    size = round(BLOCK_S * rate)
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    blocks = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    window = np.hanning(size)
    turns = np.exp(-2j * math.pi / rate * np.outer(np.arange(size), hz))
    kernels = turns * (window * (2 / window.sum() / 32768))[:, np.newaxis]
    powers = np.abs(blocks.astype(np.float64) @ kernels) ** 2
    levels: npt.NDArray[np.float64] = 10 * np.log10(powers.T + 10 ** (SILENCE_DBFS / 10))
    return levels


def loudest_dbfs(samples: Samples, rate: int, *hz: float) -> float:
    """Return the level at which all these tones sound together in the loudest block."""
    return float(levels_dbfs(samples, rate, *hz).min(axis=0).max())
