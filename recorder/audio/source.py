"""Read one piece of a recording as samples, fitted to its length by the clock and its rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recorder.audio.drift import Samples, blend, fade_frames, fit_for, plan_jumps
from recorder.audio.probe import Wav
from recorder.audio.timespan import Span, to_runs
from storage.records import Side

_CHUNK_FRAMES = 32_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A WAV file, or its part between two seconds, that begins `offset_s` after the recording.

    `span_s` is its length by the PBX's clock, or None. `to_s` is None for the end of the file.
    `silent` are spans of the recording in which nothing of the piece is heard.
    `track` is its channel in the layout `tracks`, where `side` does not count.
    """

    path: Path
    side: Side
    offset_s: float
    span_s: float | None
    from_s: float = 0.0
    to_s: float | None = None
    silent: tuple[Span, ...] = ()
    track: int = 0

    def __post_init__(self) -> None:
        if self.offset_s < 0:
            raise ValueError(f"a piece begins {-self.offset_s} s before the recording")


class Source:
    """A piece at `rate`, from frame `start` to `end` of the time line, to be read once in order."""

    def __init__(self, piece: Piece, wav: Wav, rate: int) -> None:
        self.side = piece.side
        self.track = piece.track
        self._wav = wav
        self._first = min(round(piece.from_s * wav.sample_rate), wav.frames)
        last = wav.frames if piece.to_s is None else round(piece.to_s * wav.sample_rate)
        self._frames = max(0, min(last, wav.frames) - self._first)
        self._jumps = plan_jumps(self._read, self._frames, wav.sample_rate, piece.span_s)
        frames = self._frames - sum(jump.by for jump in self._jumps)
        true_rate = wav.sample_rate
        if piece.span_s and fit_for(self._frames, wav.sample_rate, piece.span_s) == "slow":
            true_rate = round(self._frames / piece.span_s)
        self.start = round(piece.offset_s * rate)
        self.end = self.start + round(frames * rate / true_rate)
        self._chunks = _resample(self._iter_chunks(), true_rate, rate)
        self._rest = np.zeros(0, np.int16)
        self._silent = to_runs(piece.silent, rate, self.end)
        self._at = self.start

    def read_samples(self, count: int) -> Samples:
        """Return the next `count` samples, with silence after the end of the file."""
        taken: list[Samples] = []
        missing = count
        while missing:
            if not len(self._rest):
                self._rest = next(self._chunks, np.zeros(missing, np.int16))
            taken.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(taken[-1])
        sound = taken[0] if len(taken) == 1 else np.concatenate(taken)
        first, self._at = self._at, self._at + count
        runs = [one for one in self._silent if one[0] < self._at and one[1] > first]
        if runs:
            sound = sound.copy()
        for start, end in runs:
            sound[max(0, start - first) : end - first] = 0
        return sound

    def _iter_chunks(self) -> Iterator[Samples]:
        """Yield the samples of the piece at its own rate, with all jumps done."""
        first, fade = 0, fade_frames(self._wav.sample_rate)
        for jump in self._jumps:
            yield from self._iter_run(first, jump.at)
            yield blend(self._read(jump.at, fade), self._read(jump.at + jump.by, fade))
            first = jump.at + jump.by + fade
        yield from self._iter_run(first, self._frames)

    def _iter_run(self, first: int, end: int) -> Iterator[Samples]:
        for start in range(first, end, _CHUNK_FRAMES):
            yield self._read(start, min(_CHUNK_FRAMES, end - start))

    def _read(self, first: int, count: int) -> Samples:
        """Return frames of the piece as one channel. Open the file each time: a call may have many
        pieces.
        """
        wav = self._wav
        offset = wav.data_offset + 2 * wav.channels * (self._first + first)
        samples: Samples = np.fromfile(wav.path, "<i2", count * wav.channels, offset=offset)
        if wav.channels == 1:
            return samples
        mean: Samples = samples.reshape(-1, 2).mean(axis=1).astype(np.int16)
        return mean


def _resample(chunks: Iterator[Samples], rate: int, wanted: int) -> Iterator[Samples]:
    """Yield the sound at another rate, by FFmpeg's resampler; time 0 stays at 0."""
    if rate == wanted:
        yield from chunks
        return
    from av import AudioFrame, AudioResampler  # noqa: PLC0415  rarely needed, 15 MB

    resampler = AudioResampler(format="s16", layout="mono", rate=wanted)
    for chunk in chunks:
        frame = AudioFrame.from_ndarray(chunk.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        yield from (part.to_ndarray()[0] for part in resampler.resample(frame))
    yield from (part.to_ndarray()[0] for part in resampler.resample(None))
