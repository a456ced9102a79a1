"""Measure a WAV file by its bytes, not by the lengths in its header.

A crash of the PBX leaves a header with the length 0, or with less than the file holds.
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
    """The file is no WAV with PCM audio; the message gives the reason, without a path."""


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
    """Measure a file. An odd last byte is no frame; a header alone has 0 frames.

    Raises NotAudio for anything else than 16-bit PCM of one or two channels, and OSError if the
    file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise NotAudio("the file is empty")
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise NotAudio("the file is no WAV")
        sample_rate = channels = 0
        for chunk in _iter_chunks(file, 12, size):
            if chunk.name == b"fmt ":
                sample_rate, channels = _parse_format(file.read(_FORMAT.size))
            if chunk.name == b"data" and channels:
                complete = _is_complete(file, chunk, size)
                length = chunk.claimed if complete else size - chunk.offset
                frames = length // (_SAMPLE_BYTES * channels)
                duration_s = frames / sample_rate
                return Wav(path, sample_rate, frames, duration_s, chunk.offset, complete, channels)
    raise NotAudio("there is no audio behind the WAV header")


def _is_complete(file: BinaryIO, data: _Chunk, size: int) -> bool:
    """Return whether the claimed audio and whole chunks, or a padding byte, fill the file."""
    end = data.offset + data.claimed
    if end == size:
        return True
    for chunk in _iter_chunks(file, end + end % 2, size):
        if not chunk.name.isascii() or not chunk.name.strip().isalnum():
            return False
        end = chunk.offset + chunk.claimed
    return data.claimed > 0 and end + end % 2 == size


def _iter_chunks(file: BinaryIO, offset: int, size: int) -> Iterator[_Chunk]:
    """Yield the chunks from `offset` on, with the file at the first byte of each."""
    while offset + _CHUNK_HEADER.size <= size:
        file.seek(offset)
        name, claimed = _CHUNK_HEADER.unpack(file.read(_CHUNK_HEADER.size))
        chunk = _Chunk(name, offset + _CHUNK_HEADER.size, claimed)
        yield chunk
        offset = chunk.offset + claimed + claimed % 2


def _parse_format(body: bytes) -> tuple[int, int]:
    """Return the sample rate in Hz and the number of channels."""
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
