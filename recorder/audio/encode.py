"""The encoders: they turn samples into a file, in bounded memory, with the same bytes every time.

Each encoder loads its library at its first use: a worker that only writes Opus loads no LAME.

The settings were measured on speech at 8 kHz (`bench/codec.py` repeats the CPU part):

- Opus codes the two sides as two separate streams. Coupled stereo at 32 kbit/s leaks each side
  into the other at -40 to -60 dBFS when both talk, and speech then scores PESQ 2.9. Separate
  streams leak less than -80 dBFS and score 4.42. A digitally silent side costs almost nothing, so
  a clean conversation takes 26 kbit/s in all; faint noise on both lines takes the full 64.
  The header has channel mapping family 1 (left, right), which Chromium and Firefox play.
- A track for each person is a separate stream too, so no track leaks into another. Up to eight
  tracks have channel mapping family 1, because VLC plays no other family; more have family 255.
- 32 kbit/s a side at complexity 1 scores within 0.06 of complexity 10, for a third of its CPU.
  Above 8 kHz complexity 1 is poor, so it is 40 kbit/s and 4 there. Frames of 60 ms cost less than
  frames of 20 ms and sound the same.
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
from recorder.audio.tracks import order_of_vorbis
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

_SEPARATE_STREAMS, _IN_ORDER = 255, 1  # channel mapping families of RFC 7845
_FAMILY_BYTE, _MAPPING_BYTE = 18, 21  # of the Opus header


@dataclass(frozen=True, slots=True)
class Codec:
    """The content type and writer of a format; `rates` are in Hz, or empty for any rate."""

    content_type: str
    rates: tuple[int, ...]
    open: Callable[[Path, int, int], AbstractContextManager[Write]]

    def rate_for(self, rate: int) -> int:
        """Return the lowest rate that keeps all of the sound at `rate`, or the highest one."""
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
    if channels > 1:
        options["mapping_family"] = str(_SEPARATE_STREAMS)
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    # Bit-exact: without a random serial number and the version of the muxer.
    with av.open(str(target), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=rate, options=options)
        context = stream.codec_context
        context.layout, context.format = layout, "s16"
        context.bit_rate = OPUS_SIDE_BITS_S[band] * channels
        context.open()
        if (order := order_of_vorbis(channels)) is not None:
            # Mark the separate streams as left, right and so on, not as unnamed channels.
            header = bytearray(context.extradata or b"")
            header[_FAMILY_BYTE] = _IN_ORDER
            header[_MAPPING_BYTE : _MAPPING_BYTE + channels] = bytes(order)
            context.extradata = bytes(header)
        samples = 0

        def write(block: Samples) -> None:
            nonlocal samples
            packed = _interleave(block).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            frame.sample_rate = rate
            frame.pts = samples  # without it the file claims to be longer by the pre-skip
            samples += block.shape[1]
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


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
    """Turn [channels, n] into [n, channels]."""
    return np.ascontiguousarray(block.T)


CODECS: Mapping[Format, Codec] = {
    "opus": Codec("audio/ogg", OPUS_RATES, _opus),
    "mp3": Codec("audio/mpeg", MP3_RATES, _mp3),
    "flac": Codec("audio/flac", (), partial(_by_soundfile, "FLAC")),
    "wav": Codec("audio/wav", (), partial(_by_soundfile, "WAV")),
}
