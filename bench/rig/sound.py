"""Make calls of any length from repeated spoken dialogues, with a little noise of the line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from lab.demo import CUSTOMERS, VOICES
from lab.dialogues import INBOUND
from lab.root import ensure_program
from lab.speech import RATE, speak_dialogue

# Add noise: no telephone line is digitally silent, and digital silence costs an encoder nothing.
NOISE_DBFS = -60


@dataclass(frozen=True, slots=True)
class Sides:
    """The captured files of both legs of a call: WAV, 16-bit PCM, 8 kHz, mono."""

    left: Path
    right: Path
    duration_s: float


def speak(directory: Path, duration_s: float) -> Sides:
    """Write a call of this length; install espeak-ng if it is missing."""
    ensure_program("espeak-ng", "espeak-ng")
    _, _, customer = CUSTOMERS[0]
    said = [
        speak_dialogue(dialogue, VOICES["2001"], customer, directory, "bench")
        for dialogue in INBOUND
    ]
    left = directory / f"left-{duration_s:g}.wav"
    right = directory / f"right-{duration_s:g}.wav"
    _repeat([one.customer for one in said], left, duration_s)
    _repeat([one.agent for one in said], right, duration_s)
    return Sides(left, right, duration_s)


def _repeat(parts: list[Path], target: Path, duration_s: float) -> None:
    once = np.concatenate([soundfile.read(part, dtype="int16")[0] for part in parts])
    sound = np.resize(once, round(duration_s * RATE))
    noise = np.random.default_rng(1).normal(0, 32768 * 10 ** (NOISE_DBFS / 20), len(sound))
    noisy = (sound + noise).clip(-32768, 32767).astype(np.int16)
    soundfile.write(target, noisy, RATE, subtype="PCM_16")
