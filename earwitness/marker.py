"""The marker that `doctor --pci` speaks in a pause: a tone, and the sound of pressed keys.

Sound to send is 16-bit little-endian PCM, mono, 16 kHz.
"""

import json
import math
import re
import secrets
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recorder.audio.tones import as_samples, levels_dbfs, loudest_dbfs, read_sides
from recorder.media.pacing import FRAME_BYTES

MARKER_HZ = 2500
DIGITS = 10
# A voice that starts or stops at once clicks, more at the low tones of keys than at the marker's.
# 10 ms of the marker are heard at -28 dBFS, 10 ms of a key at -34.
ABSENT_DBFS, ABSENT_KEY_DBFS = -50.0, -40.0

_RATE = 16_000
_AMPLITUDE = 0.25
_KEY_S, _BREAK_S = 0.1, 0.05
_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)
_KEYS = {key: (_ROWS[at // 3], _COLUMNS[at % 3]) for at, key in enumerate("123456789*0#")}
_ALONE = re.compile(r"(?<![0-9A-Za-z.:+-])([0-9])(?![0-9A-Za-z.:])")


def choose_digits() -> str:
    """Return random digits: no number that is there already."""
    return "".join(secrets.choice("0123456789") for _ in range(DIGITS))


def build_tone(*hz: float, seconds: float = 1.0) -> bytes:
    """Return the sound of these tones together."""
    turns = [2 * math.pi * one / _RATE for one in hz]
    scale = 32767 * _AMPLITUDE / len(hz)
    count = round(seconds * _RATE)
    samples = (round(scale * sum(math.sin(turn * n) for turn in turns)) for n in range(count))
    return array("h", samples).tobytes()


def build_digits(digits: str) -> bytes:
    """Return the sound of pressed keys."""
    rest = bytes(2 * round(_BREAK_S * _RATE))
    return b"".join(build_tone(*_KEYS[digit], seconds=_KEY_S) + rest for digit in digits)


def cut_frames(sound: bytes) -> tuple[bytes, ...]:
    """Return the sound in frames of 20 ms, the last one filled up with silence."""
    padded = sound + bytes(-len(sound) % FRAME_BYTES)
    return tuple(padded[at : at + FRAME_BYTES] for at in range(0, len(padded), FRAME_BYTES))


def find_in_file(path: Path, digits: str) -> str | None:
    """Return what of the marker an audio file holds, as a sentence; None for nothing.

    Raises ValueError for a file that holds no audio.
    """
    rate, sides = read_sides(path)
    return next(filter(None, (find_in_sound(side, rate, digits) for side in sides)), None)


def has_tone(path: Path, hz: float, least_dbfs: float) -> bool:
    """Whether a side of an audio file holds this tone at this level or above.

    Raises ValueError for a file that holds no audio.
    """
    rate, sides = read_sides(path)
    return any(loudest_dbfs(side, rate, hz) > least_dbfs for side in sides)


def find_in_sound(samples: Any, rate: int, digits: str) -> str | None:
    """Return what of the marker these samples hold, as a sentence; None for nothing."""
    tones = (MARKER_HZ, *_ROWS, *_COLUMNS)
    levels = dict(zip(tones, levels_dbfs(samples, rate, *tones), strict=True))
    level = levels[MARKER_HZ].max()
    if level > ABSENT_DBFS:
        return f"the marker tone sounds at {level:.0f} dBFS"
    for digit in sorted(set(digits)):
        row, column = _KEYS[digit]
        level = max(map(min, levels[row], levels[column]))
        if level > ABSENT_KEY_DBFS:
            return f"the key {digit} sounds at {level:.0f} dBFS"
    return None


def find_in_frames(frames: bytes, digits: str) -> str | None:
    """Return what of the marker these frames hold, as a sentence; None for nothing."""
    return find_in_sound(as_samples(frames), _RATE, digits)


def level_of(frames: bytes, hz: float) -> float:
    """Return the level of a tone in these frames, in its loudest tenth of a second, in dBFS."""
    return loudest_dbfs(as_samples(frames), _RATE, hz)


def holds_digits(text: str, digits: str) -> bool:
    """Whether a text has the digits, one after the other or each in a place of its own.

    Example: `holds_digits('digit=4 digit=2', "42")`.
    """
    return digits in text or digits in "".join(_ALONE.findall(text))


def iter_levels(texts: Sequence[str]) -> Iterator[float]:
    """Yield the levels of the parties, in dBFS, that a page was sent."""
    for text in texts:
        message = json.loads(text)
        if isinstance(message, dict) and message.get("type") == "levels":
            yield from (one for one in message.values() if isinstance(one, float))
