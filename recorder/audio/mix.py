"""The sides of a recording, block by block: joined, mixed, blanked, cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recorder.audio.drift import Samples, fade_frames
from recorder.audio.source import Source
from recorder.audio.timespan import Run, invert_runs, merge_runs
from storage.records import Layout

BLOCK_S = 4

_LOWEST, _HIGHEST = -32_768, 32_767
_CHANNELS = {"left": [0], "right": [1], "both": [0, 1]}


@dataclass(frozen=True, slots=True)
class Mix:
    """How the sides become one recording of `frames` frames; `blank` and `cut` are sorted runs."""

    layout: Layout
    rate: int
    frames: int
    blank: Sequence[Run]
    cut: Sequence[Run]

    @property
    def channels(self) -> int:
        """2 for dual: left, right."""
        return 2 if self.layout == "dual" else 1

    @property
    def frames_left(self) -> int:
        """How many frames the cuts leave."""
        return self.frames - sum(end - start for start, end in self.cut)


def iter_blocks(sources: Sequence[Source], mix: Mix) -> Iterator[Samples]:
    """The recording as blocks [channels, n], none empty, of at most 4 s each.

    All that is blank or cut is zero, and the sound around it fades over 5 ms, so that neither an
    edge nor the joint of a cut clicks.
    """
    quiet = merge_runs([*mix.blank, *mix.cut])
    fade = fade_frames(mix.rate)
    for start in range(0, mix.frames, BLOCK_S * mix.rate):
        block = _sides(sources, start, min(start + BLOCK_S * mix.rate, mix.frames))
        for run in quiet:
            _hush(block, start, run, fade)
        mixed = _to_mono(block) if mix.layout == "mono" else block
        left = _without(mixed, start, mix.cut)
        if left.size:
            yield left


def _sides(sources: Sequence[Source], start: int, end: int) -> Samples:
    """Both sides from start to end as [2, n]; what overlaps on one side is added, saturating."""
    total = np.zeros((2, end - start), np.int32)
    for source in sources:
        first, last = max(start, source.start), min(end, source.end)
        if first < last:
            channels = _CHANNELS[source.side]
            total[channels, first - start : last - start] += source.take(last - first)
    return total.clip(_LOWEST, _HIGHEST).astype(np.int16)


def _to_mono(block: Samples) -> Samples:
    """Half of each side: the only mix that neither clips nor bends the sound."""
    total = block.sum(axis=0, keepdims=True, dtype=np.int32)
    half: Samples = ((total + (total < 0)) >> 1).astype(np.int16)
    return half


def _hush(block: Samples, start: int, run: Run, fade: int) -> None:
    """Zero what of the run lies in the block, which begins at `start`; fade before and after."""
    first, last = run[0] - start, run[1] - start
    if last + fade <= 0 or first - fade >= block.shape[1]:
        return
    ramp = (np.arange(fade) + 1) / (fade + 1)
    _scale(block, first - fade, ramp[::-1])
    _scale(block, last, ramp)
    block[:, max(0, first) : max(0, last)] = 0


def _scale(block: Samples, at: int, ramp: npt.NDArray[np.float64]) -> None:
    """Multiply the block by the ramp, which begins at sample `at` and may stick out."""
    first, last = max(0, at), min(block.shape[1], at + len(ramp))
    if first < last:
        faded = block[:, first:last] * ramp[first - at : last - at]
        block[:, first:last] = np.rint(faded).astype(np.int16)


def _without(block: Samples, start: int, cut: Sequence[Run]) -> Samples:
    """The block less the cuts; `cut` is on the time line, on which the block begins at `start`."""
    end = start + block.shape[1]
    inside = [run for run in cut if run[0] < end and run[1] > start]
    if not inside:
        return block
    kept = [block[:, a - start : b - start] for a, b in invert_runs(inside, start, end)]
    return np.concatenate(kept, axis=1) if kept else block[:, :0]
