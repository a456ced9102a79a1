"""Frames that arrive too fast or too late. Pure: the clock is an argument, in seconds."""

FRAME_S = 0.02
FRAME_BYTES = 640  # 20 ms of 16-bit mono at 16 kHz

# Asterisk plays at its own pace: audio that is ahead of it stays as delay.
AHEAD_S = 0.06
# A snoop that stays this late for this long does not catch up any more.
LATE_S = 3 * FRAME_S
LATE_FOR_S = 2.0


class Framer:
    """A stream of bytes, cut into frames whatever the length of its messages."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """Add bytes and return the whole frames; the rest waits for more bytes."""
        if not self._rest and len(data) == FRAME_BYTES:
            return [data]
        data = self._rest + data
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        return [data[at : at + FRAME_BYTES] for at in range(0, whole, FRAME_BYTES)]


class Pace:
    """The pace of a microphone: at most AHEAD_S ahead of real time.

    Without it a burst after a stall, or a clock that runs fast, would stay as delay to the end of
    the call. A slow clock needs no help: Asterisk fills in silence.
    """

    def __init__(self) -> None:
        self._sent_until = 0.0
        self.dropped = 0

    def admits(self, now: float) -> bool:
        """Return whether to send the frame that arrived at `now`, and count it as sent if so."""
        sent_until = max(self._sent_until, now) + FRAME_S
        if sent_until - now > AHEAD_S + 1e-9:
            self.dropped += 1
            return False
        self._sent_until = sent_until
        return True


class Arrears:
    """The delay of a steady stream of frames, counted against the clock.

    Jitter comes and goes. Frames that stay missing are a delay that Asterisk keeps.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._frames = 0
        self._late_since: float | None = None

    def count(self, now: float) -> bool:
        """Count a frame that arrived at `now`; return True where the stream must start again.

        The count then starts again too.
        """
        self._frames += 1
        start = now - self._frames * FRAME_S  # the start of a stream in time that is here now
        if self._start is None or start < self._start:
            self._start = start
        if start - self._start < LATE_S - 1e-9:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= LATE_FOR_S:
            self.__init__()  # type: ignore[misc]
            return True
        return False
