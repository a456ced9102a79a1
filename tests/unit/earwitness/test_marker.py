"""The marker of `doctor --pci`: it is found where it sounds or stands, and nowhere else."""

import wave
from pathlib import Path

import pytest

from earwitness import marker

DIGITS = "4071935528"
TALK = marker.build_tone(440) + marker.build_tone(880)


def write_wav(path: Path, pcm: bytes) -> Path:
    """Write a WAV of one channel at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)
    return path


def test_talk_is_no_marker() -> None:
    """Voices that start and stop at once, and lose frames, are not taken for the marker."""
    broken = TALK[:8000] + TALK[9280:] + bytes(3200) + TALK
    assert marker.find_in_frames(broken, DIGITS) is None
    assert marker.find_in_frames(b"", DIGITS) is None


@pytest.mark.parametrize("seconds", [1.0, 0.02])
def test_a_moment_of_the_tone_is_found(seconds: float) -> None:
    """Even 20 ms of the marker between talk are found."""
    sound = TALK + marker.build_tone(marker.MARKER_HZ, seconds=seconds) + TALK
    assert "marker tone" in str(marker.find_in_frames(sound, DIGITS))


def test_a_faint_tone_is_found() -> None:
    """A marker that leaks at a fiftieth of its amplitude is found."""
    faint = bytearray()
    tone = marker.build_tone(marker.MARKER_HZ)
    for at in range(0, len(tone), 2):
        value = int.from_bytes(tone[at : at + 2], "little", signed=True) // 50
        faint += value.to_bytes(2, "little", signed=True)
    assert marker.find_in_frames(bytes(faint), DIGITS) is not None


def test_a_key_is_found() -> None:
    """The sound of one key is found, and named."""
    sound = TALK + marker.build_digits("4") + TALK
    assert "the key 4 sounds" in str(marker.find_in_frames(sound, DIGITS))


def test_the_marker_is_found_in_a_file(tmp_path: Path) -> None:
    """An audio file is searched; a file that holds no audio is refused."""
    talk = write_wav(tmp_path / "talk.wav", TALK)
    assert marker.find_in_file(talk, DIGITS) is None
    assert marker.has_tone(talk, 440, -25.0)
    assert not marker.has_tone(talk, 600, -25.0)
    spoken = write_wav(tmp_path / "spoken.wav", TALK + marker.build_tone(marker.MARKER_HZ))
    assert marker.find_in_file(spoken, DIGITS) is not None
    for name, content in (("none.wav", b""), ("manifest.json", b"{}")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="the file"):
            marker.find_in_file(tmp_path / name, DIGITS)
    with pytest.raises(ValueError, match="no audio"):
        marker.find_in_file(write_wav(tmp_path / "empty.wav", b""), DIGITS)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (f"pressed {DIGITS} on 2001", True),
        ("\n".join(f'{{"digit": "{one}", "channel": "12.3"}}' for one in DIGITS), True),
        ("\n".join(f"digit={one}" for one in DIGITS), True),
        (DIGITS[:-1], False),
        (f"12:0{DIGITS[0]} 2026-11-{DIGITS}x"[:12], False),
    ],
)
def test_digits_are_found_one_by_one(text: str, holds: bool) -> None:
    """Digits are found in one word, and each in a line of its own."""
    assert marker.holds_digits(text, DIGITS) is holds


def test_levels_are_read_from_the_texts_of_a_page() -> None:
    """Only messages of levels count."""
    texts = ['{"type": "levels", "agent": -21.5, "customer": -90.0}', '{"type": "alive"}', "[1.5]"]
    assert list(marker.iter_levels(texts)) == [-21.5, -90.0]


def test_digits_are_chosen_anew() -> None:
    """Each proof has digits of its own, which are nowhere yet."""
    assert len({marker.choose_digits() for _ in range(20)}) == 20
