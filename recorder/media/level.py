"""How loud a stream of frames is. Pure."""

import math

FULL_SCALE = 32768
SILENCE_DBFS = -90.0
# Power is as well measured by some of the samples.
EVERY = 4
# So many readings in a row without a frame are frames that come late, not silence.
LATE = 2


class Level:
    """The mean power of the frames since it was last read."""

    def __init__(self) -> None:
        self._energy = 0
        self._samples = 0
        self._last = SILENCE_DBFS
        self._missed = 0

    def take(self, frame: bytes) -> None:
        """A frame of 16-bit PCM, of this machine's byte order."""
        samples = memoryview(frame).cast("h")[::EVERY]
        self._energy += sum(sample * sample for sample in samples)
        self._samples += len(samples)

    def read(self) -> float:
        """In dBFS, where a square wave of full scale is 0; begins anew."""
        if not self._samples:
            self._missed += 1
            return self._last if self._missed <= LATE else SILENCE_DBFS
        power = self._energy / self._samples / FULL_SCALE**2
        self._last = max(SILENCE_DBFS, 10 * math.log10(power)) if power else SILENCE_DBFS
        self._energy = self._samples = self._missed = 0
        return self._last
