"""Measure peaks, talk and silence, and level of a recording, in one pass.

The sound is measured in frames of 20 ms. The peak and the level of each frame take one byte each,
so a side takes 0.7 MB for 2 hours.

Talk is found for each channel alone. The noise floor is the level of the quietest tenth of the
frames, without digital silence. Talk begins 12 dB above the floor, but between -50 and -35 dBFS,
and ends 5 dB below its beginning. Breaks of up to 0.5 s belong to the talk (hangover); talk of
less than 0.1 s is a click. While more than 2,000 spans are left, longer breaks are bridged.
Everything else is silence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from recorder.audio.drift import Samples
from recorder.audio.timespan import Run, invert_runs, merge_runs

FRAME_S = 0.02
MOST_PEAKS = 2_000
MOST_SPANS = 2_000
PEAK_SCALE = 255  # a peak of full scale
SILENCE_DBFS = -120

_FLOOR_SHARE, _OVER_FLOOR_DB, _BEGIN_DBFS, _HYSTERESIS_DB = 10, 12, (-50, -35), 5
_HANGOVER_FRAMES, _SHORTEST_FRAMES = 25, 5

Levels = npt.NDArray[np.int8]
Seconds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Waveform:
    """The measured sound, with one entry for each channel: left and right, or mono.

    `peaks` are 0 to 255 (full scale), one for every `seconds_per_peak`, at most 2,000 a channel.
    `talk` and `silence` are spans (from_s, to_s). `level_dbfs` is the RMS level over the whole
    time, -120 for silence.
    """

    seconds_per_peak: float
    peaks: tuple[tuple[int, ...], ...]
    talk: tuple[tuple[Seconds, ...], ...]
    silence: tuple[tuple[Seconds, ...], ...]
    level_dbfs: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields for the manifest. Not by `asdict`, which copies every single peak."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class WaveformBuilder:
    """A builder that measures samples block by block, and then returns the waveform.

    It allocates its memory at the start: small pieces between large blocks would fragment the heap.
    """

    def __init__(self, channels: int, rate: int, samples: int) -> None:
        self._channels = channels
        self._rate = rate
        self._samples = samples
        self._frame = round(FRAME_S * rate)
        self._rest = np.zeros((channels, 0), np.int16)
        self._energy = np.zeros(channels)
        frames = math.ceil(samples / self._frame)
        self._peaks = np.zeros((frames, channels), np.uint8)
        self._levels = np.zeros((frames, channels), np.int8)
        self._measured = 0

    def add_block(self, block: Samples) -> None:
        """Measure the next samples, given as [channels, n]."""
        block = np.concatenate((self._rest, block), axis=1) if self._rest.size else block
        whole = block.shape[1] - block.shape[1] % self._frame
        self._measure_frames(block[:, :whole])
        self._rest = block[:, whole:].copy()

    def waveform(self) -> Waveform:
        """Return the waveform, after the last block."""
        self._measure_frames(np.pad(self._rest, ((0, 0), (0, -self._rest.shape[1] % self._frame))))
        talk = [find_talk(levels) for levels in self._levels.T]
        silence = [invert_runs(runs, 0, len(self._levels)) for runs in talk]
        each = max(1, math.ceil(len(self._peaks) / MOST_PEAKS))
        padded = np.pad(self._peaks, ((0, -len(self._peaks) % each), (0, 0)))
        highest = padded.reshape(-1, each, self._channels).max(axis=1)
        level_dbfs = _dbfs(self._energy / max(1, self._samples))
        return Waveform(
            seconds_per_peak=round(each * FRAME_S, 3),
            peaks=tuple(tuple(channel) for channel in highest.T.tolist()),
            talk=tuple(self._seconds(runs) for runs in talk),
            silence=tuple(self._seconds(runs) for runs in silence),
            level_dbfs=tuple(round(float(level), 1) for level in level_dbfs),
        )

    def _measure_frames(self, block: Samples) -> None:
        frames = block.reshape(self._channels, -1, self._frame)
        sound = frames.astype(np.float32)
        power = np.einsum("cfs,cfs->fc", sound, sound)
        peak = np.maximum(frames.max(axis=2), -(frames.min(axis=2).astype(np.int32))).T
        now = slice(self._measured, self._measured + len(power))
        self._peaks[now] = np.ceil(peak * (PEAK_SCALE / 32_768))
        self._levels[now] = np.floor(_dbfs(power / self._frame))
        self._energy += power.sum(axis=0, dtype=np.float64)
        self._measured = now.stop

    def _seconds(self, runs: Sequence[Run]) -> tuple[Seconds, ...]:
        end_s = round(self._samples / self._rate, 3)
        return tuple(
            (round(first * FRAME_S, 2), min(round(last * FRAME_S, 2), end_s))
            for first, last in runs
        )


def find_talk(levels: Levels) -> list[Run]:
    """Return the runs of frames with talk; `levels` are in dBFS, one for each 20 ms."""
    audible = levels[levels > SILENCE_DBFS]
    floor = float(np.percentile(audible, _FLOOR_SHARE)) if len(audible) else SILENCE_DBFS
    begin = float(np.clip(floor + _OVER_FLOOR_DB, *_BEGIN_DBFS))
    is_loud = np.concatenate(([False], levels >= begin - _HYSTERESIS_DB, [False]))
    edges = np.flatnonzero(np.diff(is_loud.astype(np.int8))).tolist()
    begun = np.zeros(len(levels) + 1, np.int32)
    np.cumsum(levels >= begin, out=begun[1:])
    loud = zip(edges[::2], edges[1::2], strict=True)
    talk = [(first, last) for first, last in loud if begun[last] > begun[first]]
    talk = merge_runs(talk, gap=_HANGOVER_FRAMES)
    talk = [(first, last) for first, last in talk if last - first >= _SHORTEST_FRAMES]
    gap = _HANGOVER_FRAMES
    while len(talk) > MOST_SPANS:
        gap *= 2
        talk = merge_runs(talk, gap=gap)
    return talk


def _dbfs(power: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn the mean square of 16-bit samples into dBFS; a full-scale square wave is 0."""
    least = 10.0 ** (SILENCE_DBFS / 10)
    return np.asarray(10 * np.log10(np.maximum(power / 32_768.0**2, least)), np.float64)
