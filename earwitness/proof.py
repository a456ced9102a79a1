"""A proof by ear of who hears whom: the tones that parties speak, and what must be heard. Pure.

Sound is 16-bit little-endian PCM, mono, 16 kHz.
"""

import math
import statistics
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, get_args

from recorder.media.pacing import FRAME_BYTES
from storage.records import Mode

Who = Literal["customer", "agent", "supervisor"]

PARTIES: tuple[Who, ...] = get_args(Who)
TONES_HZ: Mapping[Who, int] = {"customer": 440, "agent": 880, "supervisor": 1320}
PRESENT_DBFS, ABSENT_DBFS = -25.0, -60.0
SILENCE_DBFS = -120.0

_RATE = 16_000
_AMPLITUDE = 0.25
# Ten periods of a tone's distance from the next: a window of this length keeps them apart.
_BLOCK = 1600
_AMONG_THEMSELVES: Mapping[Who, frozenset[Who]] = {
    "customer": frozenset({"agent"}),
    "agent": frozenset({"customer"}),
    "supervisor": frozenset({"customer", "agent"}),
}
HEARS: Mapping[Mode, Mapping[Who, frozenset[Who]]] = {
    "listen": _AMONG_THEMSELVES,
    "whisper": {**_AMONG_THEMSELVES, "agent": frozenset({"customer", "supervisor"})},
    "barge": {
        "customer": frozenset({"agent", "supervisor"}),
        "agent": frozenset({"customer", "supervisor"}),
        "supervisor": frozenset({"customer", "agent"}),
    },
}


def build_frames(who: Who) -> tuple[bytes, ...]:
    """A second of a party's tone in frames of 20 ms, which can be repeated without a click."""
    turn = 2 * math.pi * TONES_HZ[who] / _RATE
    samples = array("h", (round(32767 * _AMPLITUDE * math.sin(turn * n)) for n in range(_RATE)))
    sound = samples.tobytes()
    return tuple(sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES))


def find_faults(mode: Mode, heard: Mapping[Who, bytes]) -> tuple[str, ...]:
    """What is wrong with what each party heard in a mode, each fault in words; () when all is well.

    A tone between present and absent is wrong either way.
    """
    return tuple(
        fault
        for who in PARTIES
        for speaker in PARTIES
        if (fault := _fault(who, speaker, speaker in HEARS[mode][who], heard[who]))
    )


def level_dbfs(sound: bytes, hz: float) -> float:
    """How loud a tone is; a full-scale sine is 0 dBFS, nothing is -120.

    The median of blocks of a tenth of a second: a frame that was lost makes a click, which has some
    of every tone, and spoils no more than its own block.
    """
    samples = array("h", sound[: len(sound) & ~1])
    ends = range(_BLOCK, len(samples) + 1, _BLOCK)
    powers = [_power(samples[end - _BLOCK : end], hz) for end in ends]
    power = statistics.median(powers) if powers else 0.0
    return max(SILENCE_DBFS, 10 * math.log10(power + 1e-18))


def _fault(who: Who, speaker: Who, is_due: bool, sound: bytes) -> str:
    level = level_dbfs(sound, TONES_HZ[speaker])
    told = f"the {who} hears the {speaker}" if who != speaker else f"the {who} hears an echo"
    if is_due and level <= PRESENT_DBFS:
        return f"{told.replace('hears', 'does not hear')} ({level:.0f} dBFS)"
    if not is_due and level >= ABSENT_DBFS:
        return f"{told} ({level:.0f} dBFS)"
    return ""


def _power(block: Sequence[int], hz: float) -> float:
    """The squared amplitude of one tone in a block, by Goertzel's algorithm."""
    coefficient = 2 * math.cos(2 * math.pi * hz / _RATE)
    before, last = 0.0, 0.0
    for sample, weight in zip(block, _window(), strict=True):
        before, last = last, sample * weight + coefficient * last - before
    return (before**2 + last**2 - coefficient * before * last) * 4


@cache
def _window() -> tuple[float, ...]:
    """Hann's, scaled so that a full-scale sine has half its amplitude in the sum."""
    weights = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 0.5) / _BLOCK) for n in range(_BLOCK)]
    return tuple(weight / sum(weights) / 32768 for weight in weights)
