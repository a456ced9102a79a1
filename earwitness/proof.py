"""The proof by ear: each party speaks a tone, and each mode says which tones it must hear. Pure.

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
# Ten periods of the distance between two tones: a window of this length separates them.
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
    """Return a second of a party's tone in frames of 20 ms, which repeat without a click."""
    turn = 2 * math.pi * TONES_HZ[who] / _RATE
    samples = array("h", (round(32767 * _AMPLITUDE * math.sin(turn * n)) for n in range(_RATE)))
    sound = samples.tobytes()
    return tuple(sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES))


def find_faults(mode: Mode, heard: Mapping[Who, bytes]) -> tuple[str, ...]:
    """Return the faults in the audio that each party heard in a mode, as sentences; () for none.

    A tone between the two limits, present and absent, is a fault either way.

    Example: `find_faults("listen", heard) == ("the customer hears the supervisor (-12 dBFS)",)`.
    """
    faults = []
    for who in PARTIES:
        for speaker in PARTIES:
            level = level_dbfs(heard[who], TONES_HZ[speaker])
            tone = f"the {speaker}" if who != speaker else "an echo"
            if speaker in HEARS[mode][who]:
                if level <= PRESENT_DBFS:
                    faults.append(f"the {who} does not hear {tone} ({level:.0f} dBFS)")
            elif level >= ABSENT_DBFS:
                faults.append(f"the {who} hears {tone} ({level:.0f} dBFS)")
    return tuple(faults)


def level_dbfs(sound: bytes, hz: float) -> float:
    """Return the level of a tone in dBFS: 0 for a full-scale sine, -120 for silence.

    It is the median over blocks of a tenth of a second. A lost frame makes a click with some of
    every tone, and the click spoils one block alone.
    """
    samples = array("h", sound[: len(sound) & ~1])
    ends = range(_BLOCK, len(samples) + 1, _BLOCK)
    powers = [_power(samples[end - _BLOCK : end], hz) for end in ends]
    power = statistics.median(powers) if powers else 0.0
    return max(SILENCE_DBFS, 10 * math.log10(power + 1e-18))


def _power(block: Sequence[int], hz: float) -> float:
    """Return the squared amplitude of one tone in a block, by Goertzel's algorithm."""
    coefficient = 2 * math.cos(2 * math.pi * hz / _RATE)
    before, last = 0.0, 0.0
    for sample, weight in zip(block, _window(), strict=True):
        before, last = last, sample * weight + coefficient * last - before
    return (before**2 + last**2 - coefficient * before * last) * 4


@cache
def _window() -> tuple[float, ...]:
    """Return a Hann window, scaled so that a full-scale sine sums to half its amplitude."""
    weights = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 0.5) / _BLOCK) for n in range(_BLOCK)]
    return tuple(weight / sum(weights) / 32768 for weight in weights)
