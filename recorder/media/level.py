"""The level of a stream of frames, in dBFS. Pure."""

import math

FULL_SCALE = 32768
SILENCE_DBFS = -90.0
# A quarter of the samples measures the power as well as all of them.
EVERY = 4
# After this many readings without a frame, the frames are not late: it is silent.
LATE = 2


class Level:
    """The mean power of the frames since the last reading."""

    def __init__(self) -> None:
        self._energy = 0
        self._samples = 0
        self._last = SILENCE_DBFS
        self._empty_readings = 0

    def add(self, frame: bytes) -> None:
        """Add a frame of 16-bit PCM in this machine's byte order."""
        samples = memoryview(frame).cast("h")[::EVERY]
        self._energy += sum(sample * sample for sample in samples)
        self._samples += len(samples)

    def read(self) -> float:
        """Return the level in dBFS since the last reading; a full-scale square wave is 0.

        Example: frames of a sine at a tenth of full scale read as -23.
        """
        if not self._samples:
            self._empty_readings += 1
            return self._last if self._empty_readings <= LATE else SILENCE_DBFS
        power = self._energy / self._samples / FULL_SCALE**2
        self._last = max(SILENCE_DBFS, 10 * math.log10(power)) if power else SILENCE_DBFS
        self._energy = self._samples = self._empty_readings = 0
        return self._last
