"""Sounds for the tests of the audio module, and decoded files to measure."""

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lab.ears import cut_out, level_dbfs, read_audio, tone_spans
from recorder.audio import Piece

LEFT_HZ, RIGHT_HZ = 440.0, 880.0
TONE_DBFS = -13.0
SILENT_DBFS = -60.0

Pcm = npt.NDArray[np.int16]


def tone(hz: float, duration_s: float, rate: int = 8_000, dbfs: float = TONE_DBFS) -> Pcm:
    """Return a sine that begins at 0."""
    moments = np.arange(round(duration_s * rate)) / rate
    return np.rint(32_767 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * moments)).astype(np.int16)


def silence(duration_s: float, rate: int = 8_000) -> Pcm:
    """Return digital silence."""
    return np.zeros(round(duration_s * rate), np.int16)


def write_wav(
    path: Path, samples: Pcm, rate: int = 8_000, *, claimed: int | None = None, channels: int = 1
) -> Path:
    """Write a WAV file like Asterisk; `claimed` is the length in its header."""
    data = samples.astype("<i2").tobytes()
    length = len(data) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    head = b"RIFF" + struct.pack("<I", 36 + length) + b"WAVEfmt " + struct.pack("<I", 16) + form
    path.write_bytes(head + b"data" + struct.pack("<I", length) + data)
    return path


def piece(
    folder: Path,
    side: str,
    samples: Pcm,
    offset_s: float = 0.0,
    *,
    span_s: float | None = None,
    rate: int = 8_000,
) -> Piece:
    """Return a captured file of these samples, at its place."""
    path = folder / f"{side}-{len(list(folder.iterdir()))}.wav"
    return Piece(write_wav(path, samples, rate), side, offset_s, span_s)  # type: ignore[arg-type]


def both_tones(folder: Path, duration_s: float = 4.0, rate: int = 8_000) -> list[Piece]:
    """Return 440 Hz on the left and 880 Hz on the right, for the whole time."""
    return [
        piece(folder, "left", tone(LEFT_HZ, duration_s, rate), rate=rate),
        piece(folder, "right", tone(RIGHT_HZ, duration_s, rate), rate=rate),
    ]


def render_elsewhere(
    paths: Sequence[Path], target: Path, *, layout: str, format: str
) -> tuple[str, float]:
    """Render files in another process; return the SHA-256, and the peak memory in MB.

    All files are at the same time: on the left and on the right in turns, or on tracks.
    """
    program = (
        "import sys; from pathlib import Path; from recorder.audio import Piece, render\n"
        "layout, format, target, *paths = sys.argv[1:]\n"
        "pieces = [Piece(Path(path), ('left', 'right')[n % 2], 0.0, None, track=n)"
        " for n, path in enumerate(paths)]\n"
        "made = render(pieces, layout=layout, format=format, target=Path(target))\n"
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "print(made.sha256, peak)"
    )
    words = [layout, format, str(target), *map(str, paths)]
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, check=True
    )
    sha256, peak_kb = result.stdout.decode().split()
    return sha256, float(peak_kb) / 1_024


def peak_mb(folder: Path, length_s: int, *, layout: str, format: str, pieces: int) -> float:
    """Return the peak memory of a process that renders a beep and digital silence, so many times
    at once."""
    path = write_wav(folder / "long.wav", tone(LEFT_HZ, 2.0), claimed=0)
    with path.open("r+b") as file:
        file.truncate(44 + 16_000 * length_s)
    return render_elsewhere([path] * pieces, folder / "out", layout=layout, format=format)[1]


class Heard:
    """A decoded file; `channels` are [channel][n] between -1 and 1."""

    def __init__(self, path: Path) -> None:
        self.rate, self.channels = read_audio(path)

    @property
    def duration_s(self) -> float:
        """The length of the decoded sound."""
        return self.channels.shape[1] / self.rate

    def dbfs(self, channel: int, hz: float, from_s: float = 0.0, to_s: float = 1e9) -> float:
        """Return the level of a tone in a channel, between two moments."""
        part = cut_out(self.channels[channel], self.rate, from_s, min(to_s, self.duration_s))
        return level_dbfs(part, self.rate, hz)

    def spans(self, channel: int, hz: float) -> list[tuple[float, float]]:
        """Return the times of a tone in a channel."""
        return tone_spans(self.channels[channel], self.rate, hz)

    def part(self, from_s: float, to_s: float) -> npt.NDArray[np.float64]:
        """Return all channels between two moments."""
        return cut_out(self.channels, self.rate, from_s, to_s)
