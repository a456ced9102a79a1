"""Spoken dialogues for the demonstration: espeak-ng speaks each party's part into one WAV."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

RATE = 8000
PAUSE_S = 0.4
SPEAK_TIMEOUT_S = 30.0

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Dialogue:
    """The lines of two parties in turn; the party of `first` ("agent" or "customer") starts."""

    name: str
    first: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """A speaker of espeak-ng: its voice, words a minute, and pitch from 0 to 99."""

    name: str
    speed: int
    pitch: int


@dataclass(frozen=True)
class Parts:
    """The two sides of a dialogue, as WAV files of the same length."""

    customer: Path
    agent: Path
    duration_s: float


def speak_dialogue(
    dialogue: Dialogue, agent: Voice, customer: Voice, directory: Path, tag: str
) -> Parts:
    """Write both sides of a dialogue; each is silent while the other speaks. Needs espeak-ng."""
    voices = {"agent": agent, "customer": customer}
    sides: dict[str, list[Samples]] = {"agent": [], "customer": []}
    pause = np.zeros(int(PAUSE_S * RATE), np.int16)
    speaker, other = dialogue.first, ({"agent", "customer"} - {dialogue.first}).pop()
    for line in dialogue.lines:
        said = np.concatenate((_speak(line, voices[speaker]), pause))
        sides[speaker].append(said)
        sides[other].append(np.zeros_like(said))
        speaker, other = other, speaker
    tracks = {side: np.concatenate(parts) for side, parts in sides.items()}
    paths = {side: directory / f"{dialogue.name}-{tag}-{side}.wav" for side in tracks}
    for side, samples in tracks.items():
        soundfile.write(paths[side], samples, RATE, subtype="PCM_16")
    return Parts(paths["customer"], paths["agent"], len(tracks["agent"]) / RATE)


def _speak(text: str, voice: Voice) -> Samples:
    """Return one spoken line as mono samples at RATE."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
        options = ["-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch)]
        command = ["espeak-ng", *options, "-w", wav.name, "--", text]
        subprocess.run(command, check=True, timeout=SPEAK_TIMEOUT_S)
        convert = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        with av.open(wav.name) as container:
            frames = container.decode(audio=0)
            parts = [part for frame in frames for part in convert.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in [*parts, *convert.resample(None)]])
