"""A short tone as frames. Pure."""

import math
from array import array

from recorder.media.pacing import FRAME_BYTES

RATE = 16_000
TONE_HZ = 1850
TONE_S = 0.2
FADE_S = 0.02  # without it the tone begins and ends with a click
AMPLITUDE = 3_000  # about a tenth of full scale


def build_tone() -> list[bytes]:
    """Return the frames of the tone: 16-bit little-endian PCM, mono, 16 kHz."""
    count = round(TONE_S * RATE)
    samples = array("h")
    for n in range(count):
        fade = min(1.0, n / RATE / FADE_S, (count - 1 - n) / RATE / FADE_S)
        samples.append(round(AMPLITUDE * fade * math.sin(2 * math.pi * TONE_HZ * n / RATE)))
    pcm = samples.tobytes()
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
