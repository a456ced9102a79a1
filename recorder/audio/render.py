"""Render the captured files of a recording into one encoded file, and measure it.

Everything streams in blocks of up to 4 s: a call of 2 hours takes no more memory than one of 10 s.
The same input gives the same bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.audio.encode import CODECS
from recorder.audio.mix import Mix, iter_blocks
from recorder.audio.probe import NotAudio, probe_wav
from recorder.audio.source import Piece, Source
from recorder.audio.timespan import Span, to_runs
from recorder.audio.tracks import count_channels, fit_format
from recorder.audio.waveform import FRAME_S, Waveform, WaveformBuilder
from storage.records import Format, Layout

__all__ = ["Piece", "Rendition", "Span", "Waveform", "render"]


@dataclass(frozen=True, slots=True)
class Rendition:
    """An encoded file; `sha256` is hexadecimal, `sample_rate` is the rate before encoding.

    `format` is Opus where the wanted format cannot hold the sound.
    """

    path: Path
    format: Format
    content_type: str
    extension: str
    channels: int
    sample_rate: int
    duration_s: float
    size_bytes: int
    sha256: str
    waveform: Waveform


def render(
    pieces: Sequence[Piece],
    *,
    layout: Layout,
    format: Format,
    target: Path,
    blank: Sequence[Span] = (),
    cut: Sequence[Span] = (),
) -> Rendition:
    """Join the pieces, silence `blank` on every channel, cut out `cut`, encode into `target`.

    The recording ends with its last piece, and is silent between pieces. Its sample rate is the
    highest of the pieces that the format supports. A format that cannot hold all channels gives way
    to Opus. If the cuts leave nothing, it is 20 ms of silence, because some formats and players
    reject an empty file. Raises NotAudio if there is no piece, or one of them is no WAV, and
    OSError if a file cannot be read or written.
    """
    if not pieces:
        raise NotAudio("there is nothing to render")
    wavs = [probe_wav(piece.path) for piece in pieces]
    rate = max(wav.sample_rate for wav in wavs)
    length_s = max(
        piece.offset_s + (piece.span_s or wav.duration_s)
        for piece, wav in zip(pieces, wavs, strict=True)
    )
    channels = _count_channels(layout, pieces)
    format = fit_format(format, channels, round(2 * channels * rate * length_s))
    codec = CODECS[format]
    rate = codec.rate_for(rate)
    sources = [Source(piece, wav, rate) for piece, wav in zip(pieces, wavs, strict=True)]
    frames = max(source.end for source in sources)
    silent, gone = to_runs(blank, rate, frames), to_runs(cut, rate, frames)
    mix = Mix(layout, channels, rate, frames, silent, gone)
    if not mix.frames_left:
        frames = round(FRAME_S * rate)
        mix = Mix(layout, channels, rate, frames, blank=[(0, frames)], cut=[])
    builder = WaveformBuilder(mix.channels, mix.rate, mix.frames_left)
    with codec.open(target, mix.rate, mix.channels) as write:
        for block in iter_blocks(sources, mix):
            builder.add_block(block)
            write(block)
    # Hash the finished file: MP3, FLAC and WAV complete their first bytes last.
    with target.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Rendition(
        path=target,
        format=format,
        content_type=codec.content_type,
        extension=format,
        channels=mix.channels,
        sample_rate=rate,
        duration_s=mix.frames_left / rate,
        size_bytes=target.stat().st_size,
        sha256=sha256,
        waveform=builder.waveform(),
    )


def _count_channels(layout: Layout, pieces: Sequence[Piece]) -> int:
    if layout == "tracks":
        return count_channels(1 + max(piece.track for piece in pieces))
    return 2 if layout == "dual" else 1
