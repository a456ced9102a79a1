"""Ears: measure whose tone is in a sound, how loud and when. Each party speaks its own tone."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from lab.bot import BOT_HZ
from lab.far import AGENT_HZ, CUSTOMER_HZ, OTHER_CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import MUSIC_HZ, RING_HZ

Samples = npt.NDArray[np.float64]

ALL_HZ = (
    *(CUSTOMER_HZ, *OTHER_CUSTOMER_HZ.values(), *AGENT_HZ.values()),
    *(BOT_HZ, SUPERVISOR_HZ, MUSIC_HZ, RING_HZ),
)
SILENCE_DBFS = -120.0
LEVEL_BLOCK_S = 0.5
CLICK_BLOCK_S = 0.1
_OPUS_SUFFIXES = {".opus", ".ogg"}


def read_audio(path: Path) -> tuple[int, Samples]:
    """Read WAV, FLAC, MP3 or Ogg: the rate in Hz, and samples as [channels, n] within -1 to 1."""
    if path.suffix not in _OPUS_SUFFIXES:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
        return int(rate), samples.T
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        # Packed samples: PyAV crashes on eight or more planes.
        convert = av.AudioResampler(format="flt")
        frames = [part for frame in container.decode(stream) for part in convert.resample(frame)]
        joined = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        return stream.rate, joined.reshape(-1, stream.channels).T.astype(np.float64)


def level_dbfs(samples: Samples, rate: int, hz: float) -> float:
    """Return the average level of the tone `hz`; a full-scale sine is 0 dBFS, silence is -120.

    A lost or inserted packet shifts the tone's phase. So average the power of half-overlapping
    blocks of half a second: such a packet then costs only its own share.
    """
    return _power_dbfs(_powers(samples, rate, hz, LEVEL_BLOCK_S))


def tone_spans(
    samples: Samples, rate: int, hz: float, threshold_db: float = -40.0, window_s: float = 0.02
) -> list[tuple[float, float]]:
    """Return the spans (from_s, to_s) in which the tone `hz` sounds, exact to about 2 ms.

    An edge is the point at which the tone has half its usual strength in that stretch: there half
    the window lies over the edge. A span shorter than the window is no tone, but the click of
    another tone that starts or stops.
    """
    size = round(window_s * rate)
    hop = max(1, size // 20)
    padded = np.pad(samples, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(samples) + hop : hop]
    strength = 2 * np.abs(frames @ _kernel(size, rate, hz))
    spans = []
    for start, end in _runs(strength > 10 ** (threshold_db / 20)):
        half = np.median(strength[start:end]) / 2
        for first, last in _runs(strength[start:end] >= half):
            spans.append(((start + first) * hop / rate, (start + last) * hop / rate))
    return [(from_s, to_s) for from_s, to_s in spans if to_s - from_s >= window_s]


def worst_other_tone(
    samples: Samples, rate: int, allowed_hz: Sequence[float], of_hz: Sequence[float] = ALL_HZ
) -> tuple[float, float]:
    """Return (hz, dBFS) of the loudest tone of the lab that is not allowed, averaged over all time.

    A tone lasts a quarter of a second or longer. A shorter sound is the click of an allowed tone at
    a joint, for example where a late packet left 20 ms of silence; a click contains every tone.
    """

    def lasting_dbfs(hz: float) -> float:
        powers = _powers(samples, rate, hz, CLICK_BLOCK_S)
        windows = np.lib.stride_tricks.sliding_window_view(powers, min(4, len(powers)))
        return _power_dbfs(windows.min(axis=1))

    others = [hz for hz in of_hz if hz not in allowed_hz]
    return max(((hz, lasting_dbfs(hz)) for hz in others), key=lambda tone: tone[1])


def list_stray_voices(
    tracks: Samples, rate: int, voices: Sequence[float], absent_dbfs: float = -60.0
) -> list[str]:
    """Return a sentence for each fault of a file with a track for each person.

    Track n must hold the tone `voices[n]`, and each other of these tones below the limit; further
    channels must be silent. Example: `list_stray_voices(tracks, rate, [440, 880]) == []`.
    """
    faults = []
    for track, own in enumerate(voices[: len(tracks)]):
        sound = tracks[track]
        if level_dbfs(sound, rate, own) < absent_dbfs:
            faults.append(f"track {track} lacks {own:g} Hz")
        others = [hz for hz in voices if hz != own]
        if others and (found := worst_other_tone(sound, rate, [own], others))[1] >= absent_dbfs:
            faults.append(f"track {track} has {found[0]:g} Hz at {found[1]:.0f} dBFS")
    faults += [f"there is no track {track}" for track in range(len(tracks), len(voices))]
    return faults + [
        f"track {track} belongs to nobody and is not silent"
        for track in range(len(voices), len(tracks))
        if np.abs(tracks[track]).max(initial=0.0) > 10 ** (absent_dbfs / 20)
    ]


def cut_out(samples: Samples, rate: int, from_s: float, to_s: float) -> Samples:
    """Return the samples between two moments."""
    return samples[..., round(from_s * rate) : round(to_s * rate)]


def _powers(samples: Samples, rate: int, hz: float, block_s: float) -> npt.NDArray[np.float64]:
    """Return the tone's squared amplitude in blocks that overlap by half; one block at least."""
    size = max(1, min(len(samples), round(block_s * rate)))
    padded = samples if len(samples) else np.zeros(1)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(1, size // 2)]
    return np.abs(2 * (blocks @ _kernel(size, rate, hz))) ** 2


def _power_dbfs(powers: npt.NDArray[np.float64]) -> float:
    return max(SILENCE_DBFS, 10 * float(np.log10(np.mean(powers) + 1e-18)))


def _kernel(size: int, rate: int, hz: float) -> npt.NDArray[np.complex128]:
    """Return a kernel; a block times the kernel is half the complex amplitude of one tone in it."""
    window = np.hanning(size + 2)[1:-1]
    carrier = np.exp(-2j * np.pi * hz * np.arange(size) / rate)
    kernel: npt.NDArray[np.complex128] = window / window.sum() * carrier
    return kernel


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
