"""Measure captured files, whole and broken."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import LEFT_HZ, tone, write_wav

from recorder.audio import NotAudio, probe_wav

SECOND = tone(LEFT_HZ, 1.0)
HEADER_BYTES = 44


def test_whole_file(tmp_path: Path) -> None:
    """The header of a whole file is right, and is used."""
    wav = probe_wav(write_wav(tmp_path / "a.wav", SECOND))
    assert (wav.sample_rate, wav.frames, wav.duration_s) == (8_000, 8_000, 1.0)
    assert (wav.data_offset, wav.header_complete, wav.channels) == (HEADER_BYTES, True, 1)


@pytest.mark.parametrize("claimed", [0, 3_200, 0xFFFFFF00])
def test_header_of_a_crash(tmp_path: Path, claimed: int) -> None:
    """If the header has 0, too little or too much, the bytes count."""
    wav = probe_wav(write_wav(tmp_path / "a.wav", SECOND, claimed=claimed))
    assert wav.frames == 8_000
    assert not wav.header_complete


def test_odd_byte(tmp_path: Path) -> None:
    """Half a sample at the end of a file is dropped."""
    path = write_wav(tmp_path / "a.wav", SECOND, claimed=0)
    path.write_bytes(path.read_bytes()[:-1])
    assert probe_wav(path).frames == 7_999


def test_header_alone(tmp_path: Path) -> None:
    """A file with a header alone has no frames."""
    assert probe_wav(write_wav(tmp_path / "a.wav", SECOND[:0])).frames == 0


def test_chunks_behind_the_sound(tmp_path: Path) -> None:
    """Whole chunks after the audio are not part of it."""
    path = write_wav(tmp_path / "a.wav", SECOND)
    path.write_bytes(path.read_bytes() + b"LIST\x04\0\0\0INFO")
    wav = probe_wav(path)
    assert (wav.frames, wav.header_complete) == (8_000, True)


def test_stereo_and_wideband(tmp_path: Path) -> None:
    """A frame is one sample of each channel, at the rate of the header."""
    both = np.repeat(tone(LEFT_HZ, 1.0, 16_000), 2)
    wav = probe_wav(write_wav(tmp_path / "a.wav", both, 16_000, channels=2))
    assert (wav.sample_rate, wav.frames, wav.channels) == (16_000, 16_000, 2)


def _changed(path: Path, at: int, to: bytes) -> Path:
    body = bytearray(path.read_bytes())
    body[at : at + len(to)] = to
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    ("at", "to"),
    [
        (0, b"RIFX"),
        (8, b"AVI "),
        (20, b"\x07\0"),  # mu-law
        (22, b"\x03\0"),  # three channels
        (24, b"\0\0\0\0"),  # no samples a second
        (34, b"\x08\0"),  # 8 bits
        (36, b"junk"),  # no data
    ],
)
def test_something_else(tmp_path: Path, at: int, to: bytes) -> None:
    """Anything but 16-bit PCM in WAV raises NotAudio, with a message without a path."""
    path = _changed(write_wav(tmp_path / "a.wav", SECOND), at, to)
    with pytest.raises(NotAudio) as caught:
        probe_wav(path)
    assert str(tmp_path) not in str(caught.value)


def test_empty_file(tmp_path: Path) -> None:
    """An empty file raises NotAudio with this reason."""
    (tmp_path / "a.wav").touch()
    with pytest.raises(NotAudio, match="empty"):
        probe_wav(tmp_path / "a.wav")


@settings(max_examples=300)
@given(body=st.binary(max_size=80), prefix=st.integers(0, HEADER_BYTES))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, body: bytes, prefix: int) -> None:
    """A file with any bytes is measured, or raises NotAudio."""
    path = write_wav(tmp_path_factory.mktemp("any") / "a.wav", SECOND[:0], claimed=0)
    path.write_bytes(path.read_bytes()[:prefix] + body)
    try:
        frames = probe_wav(path).frames
    except NotAudio:
        return
    assert 0 <= frames * 2 <= len(body) + HEADER_BYTES
