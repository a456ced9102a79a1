"""Join, mix, blank and cut the voices of a recording, block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recorder.audio.drift import Samples, fade_frames
from recorder.audio.source import Source
from recorder.audio.timespan import Run, invert_runs, merge_runs
from storage.records import Layout

BLOCK_S = 4
# A block of more channels is shorter, so that it takes no more memory.
_MOST_BLOCK_CHANNELS = 8

_LOWEST, _HIGHEST = -32_768, 32_767
_CHANNELS = {"left": [0], "right": [1], "both": [0, 1]}


@dataclass(frozen=True, slots=True)
class Mix:
    """The layout and length of a recording; `blank` and `cut` are sorted runs of frames."""

    layout: Layout
    channels: int
    rate: int
    frames: int
    blank: Sequence[Run]
    cut: Sequence[Run]

    @property
    def frames_left(self) -> int:
        """The number of frames without the cuts."""
        return self.frames - sum(end - start for start, end in self.cut)

    @property
    def block_frames(self) -> int:
        """The number of frames of a block."""
        return (
            BLOCK_S * self.rate * _MOST_BLOCK_CHANNELS // max(_MOST_BLOCK_CHANNELS, self.channels)
        )

    def channels_of(self, source: Source) -> Sequence[int]:
        """Return the channels of a block on which a source is heard, before mono is mixed."""
        return [source.track] if self.layout == "tracks" else _CHANNELS[source.side]


def iter_blocks(sources: Sequence[Source], mix: Mix) -> Iterator[Samples]:
    """Yield the recording as blocks [channels, n], none empty, of at most 4 s each.

    Blank and cut frames are zero, and the sound around them fades over 5 ms, so that no edge and no
    joint clicks.
    """
    quiet = merge_runs([*mix.blank, *mix.cut])
    fade = fade_frames(mix.rate)
    for start in range(0, mix.frames, mix.block_frames):
        end = min(start + mix.block_frames, mix.frames)
        block = _join(sources, mix, start, end)
        for run in quiet:
            _silence(block, start, run, fade)
        if mix.layout == "mono":
            # Half of each side is the only mix that neither clips nor distorts.
            total = block.sum(axis=0, keepdims=True, dtype=np.int32)
            block = ((total + (total < 0)) >> 1).astype(np.int16)
        cuts = [run for run in mix.cut if run[0] < end and run[1] > start]
        if cuts:
            kept = [block[:, a - start : b - start] for a, b in invert_runs(cuts, start, end)]
            block = np.concatenate(kept, axis=1) if kept else block[:, :0]
        if block.size:
            yield block


def _join(sources: Sequence[Source], mix: Mix, start: int, end: int) -> Samples:
    """Return all channels from start to end, both sides for mono, as [channels, n].

    Overlapping pieces of one channel are added, up to full scale.
    """
    total = np.zeros((2 if mix.layout == "mono" else mix.channels, end - start), np.int32)
    for source in sources:
        first, last = max(start, source.start), min(end, source.end)
        if first < last:
            total[mix.channels_of(source), first - start : last - start] += source.read_samples(
                last - first
            )
    return total.clip(_LOWEST, _HIGHEST).astype(np.int16)


def _silence(block: Samples, start: int, run: Run, fade: int) -> None:
    """Zero the frames of a run in the block that begins at `start`; fade before and after."""
    first, last = run[0] - start, run[1] - start
    if last + fade <= 0 or first - fade >= block.shape[1]:
        return
    ramp = (np.arange(fade) + 1) / (fade + 1)
    _scale(block, first - fade, ramp[::-1])
    _scale(block, last, ramp)
    block[:, max(0, first) : max(0, last)] = 0


def _scale(block: Samples, at: int, ramp: npt.NDArray[np.float64]) -> None:
    """Multiply the block by a ramp that begins at sample `at`, and may reach out of the block."""
    first, last = max(0, at), min(block.shape[1], at + len(ramp))
    if first < last:
        faded = block[:, first:last] * ramp[first - at : last - at]
        block[:, first:last] = np.rint(faded).astype(np.int16)
