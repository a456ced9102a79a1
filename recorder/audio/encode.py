"""The encoders: samples in, a file out, in bounded memory and the same bytes every time.

Each loads its library when it is first used: a worker that only writes Opus carries no LAME.

The settings, chosen by measurement on speech at 8 kHz (`bench/codec.py` repeats the CPU side):

- Opus codes the two sides as two streams that share nothing. Coupled stereo at 32 kbit/s lets each
  side be heard in the other at -40 to -60 dBFS when both talk, and speech then scores PESQ 2.9;
  apart it is below -80 dBFS and 4.42. A side that is digitally silent costs next to nothing, so a
  clean conversation takes 26 kbit/s in all, as before; faint noise on both lines takes the full 64.
  The header says channel mapping family 1 (left, right), which Chromium and Firefox play.
- 32 kbit/s a side at complexity 1 scores within 0.06 of complexity 10 and costs a third of its CPU;
  above 8 kHz complexity 1 is poor: there it is 40 kbit/s and 4. Frames of 60 ms cost less than
  those of 20 ms and sound the same.
- MP3 at 8 kHz needs 32 kbit/s a side, and scores best at LAME's quality 7.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from recorder.audio.drift import Samples
from recorder.audio.mp3_info import FRAME_SAMPLES, build_info_frame
from storage.records import Format

Write = Callable[[Samples], None]  # samples as [channels, n]

NARROW_RATE = 8_000
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_FRAME_MS = 60
OPUS_SIDE_BITS_S = {"narrow": 32_000, "wide": 40_000}
OPUS_COMPLEXITY = {"narrow": 1, "wide": 4}
MP3_RATES = (8_000, 12_000, 16_000, 24_000)
MP3_SIDE_KBITS_S = 32
MP3_QUALITY = 7

_SEPARATE_STREAMS, _LEFT_AND_RIGHT = 255, 1  # channel mapping families of RFC 7845
_FAMILY_BYTE = 18  # of the Opus header


@dataclass(frozen=True, slots=True)
class Codec:
    """How a format is told and written; `rates` are those it takes, in Hz, empty for all."""

    content_type: str
    rates: tuple[int, ...]
    open: Callable[[Path, int, int], AbstractContextManager[Write]]

    def rate_for(self, rate: int) -> int:
        """The lowest rate that loses nothing of sound at `rate`, or the highest there is."""
        return min(
            (one for one in self.rates if one >= rate), default=max(self.rates, default=rate)
        )


@contextmanager
def _opus(target: Path, rate: int, channels: int) -> Iterator[Write]:
    import av  # noqa: PLC0415

    band = "narrow" if rate <= NARROW_RATE else "wide"
    options = {
        "application": "voip",
        "compression_level": str(OPUS_COMPLEXITY[band]),
        "frame_duration": str(OPUS_FRAME_MS),
    }
    if channels == 2:
        options["mapping_family"] = str(_SEPARATE_STREAMS)
    layout = "stereo" if channels == 2 else "mono"
    # Bit-exact: no random serial number, no version of the muxer in the tags.
    with av.open(str(target), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=rate, options=options)
        context = stream.codec_context
        context.layout, context.format = layout, "s16"
        context.bit_rate = OPUS_SIDE_BITS_S[band] * channels
        context.open()
        if channels == 2:
            context.extradata = _say_left_and_right(context.extradata)
        samples = 0

        def write(block: Samples) -> None:
            nonlocal samples
            packed = _interleave(block).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            frame.sample_rate = rate
            frame.pts = samples  # left out, the file says that it is longer by the pre-skip
            samples += block.shape[1]
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


def _say_left_and_right(header: bytes | None) -> bytes:
    """The two streams are the left and the right one, and no unnamed channels."""
    told = bytearray(header or b"")
    told[_FAMILY_BYTE] = _LEFT_AND_RIGHT
    return bytes(told)


@contextmanager
def _mp3(target: Path, rate: int, channels: int) -> Iterator[Write]:
    import lameenc  # noqa: PLC0415

    lame = lameenc.Encoder()
    lame.silence()
    lame.set_in_sample_rate(rate)
    lame.set_out_sample_rate(rate)
    lame.set_channels(channels)
    lame.set_bit_rate(MP3_SIDE_KBITS_S * channels)
    lame.set_quality(MP3_QUALITY)
    frame_bytes = FRAME_SAMPLES // 8 * MP3_SIDE_KBITS_S * channels * 1_000 // rate
    samples = 0
    with target.open("w+b") as file:
        file.write(bytes(frame_bytes))

        def write(block: Samples) -> None:
            nonlocal samples
            samples += block.shape[1]
            file.write(lame.encode(_interleave(block).tobytes()))

        yield write
        file.write(lame.flush())
        frames = file.tell() // frame_bytes - 1
        file.seek(frame_bytes)
        first = file.read(frame_bytes)
        file.seek(0)
        file.write(build_info_frame(first, channels, frames, samples))


@contextmanager
def _by_soundfile(container: str, target: Path, rate: int, channels: int) -> Iterator[Write]:
    import soundfile  # noqa: PLC0415

    with soundfile.SoundFile(
        str(target), "w", rate, channels, subtype="PCM_16", format=container
    ) as file:
        yield lambda block: file.write(_interleave(block))


def _interleave(block: Samples) -> Samples:
    """From [channels, n] to [n, channels]."""
    return np.ascontiguousarray(block.T)


CODECS: Mapping[Format, Codec] = {
    "opus": Codec("audio/ogg", OPUS_RATES, _opus),
    "mp3": Codec("audio/mpeg", MP3_RATES, _mp3),
    "flac": Codec("audio/flac", (), partial(_by_soundfile, "FLAC")),
    "wav": Codec("audio/wav", (), partial(_by_soundfile, "WAV")),
}
