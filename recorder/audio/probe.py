"""What a WAV file really holds: its bytes are believed, not the lengths its header claims.

A crash of the PBX leaves a header that says 0, or less than there is (RIFF, PCM of 16 bits).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PCM, _EXTENSIBLE = 0x0001, 0xFFFE
_SAMPLE_BYTES = 2
_CHUNK_HEADER = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")


class NotAudio(ValueError):
    """The file holds no PCM audio in WAV; the message says why, and names no path."""


@dataclass(frozen=True, slots=True)
class Wav:
    """A WAV file of 16-bit PCM; a *frame* is one sample of each channel."""

    path: Path
    sample_rate: int
    frames: int
    duration_s: float
    data_offset: int
    header_complete: bool
    channels: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    offset: int
    claimed: int


def probe_wav(path: Path) -> Wav:
    """Measure the file. An odd trailing byte is no frame; a header alone is 0 frames.

    Raises NotAudio for all but 16-bit PCM of one or two channels; OSError if it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        _check_riff(file.read(12))
        sample_rate = channels = 0
        for chunk in _iter_chunks(file, 12, size):
            if chunk.name == b"fmt ":
                sample_rate, channels = _parse_format(file.read(_FORMAT.size))
            if chunk.name == b"data" and channels:
                length, complete = _measure(file, chunk, size)
                frames = length // (_SAMPLE_BYTES * channels)
                duration_s = frames / sample_rate
                return Wav(path, sample_rate, frames, duration_s, chunk.offset, complete, channels)
    raise NotAudio("there is no audio behind the WAV header")


def _measure(file: BinaryIO, data: _Chunk, size: int) -> tuple[int, bool]:
    """How many bytes of audio there are, and whether the header told so."""
    there = size - data.offset
    if data.claimed == there or _leads_to_the_end(file, data, size):
        return data.claimed, True
    return there, False


def _leads_to_the_end(file: BinaryIO, data: _Chunk, size: int) -> bool:
    """Whether the claimed length is followed by whole chunks, or a padding byte, up to the end."""
    end = data.offset + data.claimed
    for chunk in _iter_chunks(file, end + end % 2, size):
        if not chunk.name.isascii() or not chunk.name.strip().isalnum():
            return False
        end = chunk.offset + chunk.claimed
    return data.claimed > 0 and end + end % 2 == size


def _check_riff(head: bytes) -> None:
    if not head:
        raise NotAudio("the file is empty")
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise NotAudio("the file is no WAV")


def _iter_chunks(file: BinaryIO, offset: int, size: int) -> Iterator[_Chunk]:
    """The chunks from `offset` on; the file stands at each one's first byte."""
    while offset + _CHUNK_HEADER.size <= size:
        file.seek(offset)
        name, claimed = _CHUNK_HEADER.unpack(file.read(_CHUNK_HEADER.size))
        chunk = _Chunk(name, offset + _CHUNK_HEADER.size, claimed)
        yield chunk
        offset = chunk.offset + claimed + claimed % 2


def _parse_format(body: bytes) -> tuple[int, int]:
    """Sample rate in Hz and number of channels."""
    if len(body) < _FORMAT.size:
        raise NotAudio("the WAV header is cut off")
    kind, channels, sample_rate, _, _, bits = _FORMAT.unpack(body)
    if kind not in (_PCM, _EXTENSIBLE) or bits != 8 * _SAMPLE_BYTES:
        raise NotAudio("the WAV file is not PCM of 16 bits")
    if channels not in (1, 2):
        raise NotAudio(f"the WAV file has {channels} channels")
    if not 8_000 <= sample_rate <= 48_000:
        raise NotAudio(f"the WAV file has {sample_rate} samples a second")
    return sample_rate, channels
