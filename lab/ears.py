"""Ears: who is heard in a sound, how loud and when, told by the tone each party speaks."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import MUSIC_HZ, RING_HZ

Samples = npt.NDArray[np.float64]

ALL_HZ = (CUSTOMER_HZ, *AGENT_HZ.values(), SUPERVISOR_HZ, MUSIC_HZ, RING_HZ)
SILENCE_DBFS = -120.0
_OPUS_SUFFIXES = {".opus", ".ogg"}


def read_audio(path: Path) -> tuple[int, Samples]:
    """Sample rate in Hz, and samples as [channels, n] within -1 to 1, of WAV, FLAC, MP3 or Ogg."""
    if path.suffix in _OPUS_SUFFIXES:
        return _read_by_av(path)
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return int(rate), samples.T


def level_dbfs(samples: Samples, rate: int, hz: float) -> float:
    """How loud the tone `hz` is on average; a full-scale sine is 0 dBFS, nothing is -120."""
    if not len(samples):
        return SILENCE_DBFS
    window = np.hanning(len(samples) + 2)[1:-1]
    carrier = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    return _to_dbfs(float(2 * abs(np.sum(samples * window * carrier)) / np.sum(window)))


def tone_spans(
    samples: Samples, rate: int, hz: float, threshold_db: float = -40.0, window_s: float = 0.02
) -> list[tuple[float, float]]:
    """When the tone `hz` sounds: spans (from_s, to_s), exact to about 2 ms.

    Above the threshold an edge lies where the tone has half its usual strength in that stretch:
    there the window stands half over the edge. What is shorter than the window is no tone: it is
    the click of another one that begins or ends.
    """
    strength, hop = _strength(samples, rate, hz, window_s)
    spans = []
    for start, end in _runs(strength > 10 ** (threshold_db / 20)):
        half = np.median(strength[start:end]) / 2
        for first, last in _runs(strength[start:end] >= half):
            spans.append(((start + first) * hop / rate, (start + last) * hop / rate))
    return [(from_s, to_s) for from_s, to_s in spans if to_s - from_s >= window_s]


def worst_other_tone(
    samples: Samples, rate: int, allowed_hz: Sequence[float], of_hz: Sequence[float] = ALL_HZ
) -> tuple[float, float]:
    """The loudest of the lab's tones that should not be there: (hz, dBFS)."""
    others = [hz for hz in of_hz if hz not in allowed_hz]
    return max(((hz, level_dbfs(samples, rate, hz)) for hz in others), key=lambda tone: tone[1])


def cut_out(samples: Samples, rate: int, from_s: float, to_s: float) -> Samples:
    """The samples between two moments."""
    return samples[..., round(from_s * rate) : round(to_s * rate)]


def _strength(
    samples: Samples, rate: int, hz: float, window_s: float
) -> tuple[npt.NDArray[np.float64], int]:
    """The tone's amplitude in windows centred at 0, hop, 2·hop, … samples; and the hop."""
    size = round(window_s * rate)
    hop = max(1, size // 20)
    window = np.hanning(size + 2)[1:-1]
    kernel = window / window.sum() * np.exp(-2j * np.pi * hz * np.arange(size) / rate)
    padded = np.pad(samples, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(samples) + hop : hop]
    return 2 * np.abs(frames @ kernel), hop


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _to_dbfs(amplitude: float) -> float:
    return max(SILENCE_DBFS, 20 * float(np.log10(max(amplitude, 1e-9))))


def _read_by_av(path: Path) -> tuple[int, Samples]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        convert = av.AudioResampler(format="fltp")
        frames = [part for frame in container.decode(stream) for part in convert.resample(frame)]
        samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        return stream.rate, samples.astype(np.float64)
