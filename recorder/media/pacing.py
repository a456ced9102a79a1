"""When sound comes too fast or too slow. Pure: the clock is an argument, in seconds."""

FRAME_S = 0.02
FRAME_BYTES = 640  # 20 ms of 16-bit mono at 16 kHz

# Asterisk plays what it is given at its own pace: what is ahead of it stays as delay.
AHEAD_S = 0.06
# A snoop that is this far behind, for this long, does not catch up any more.
LATE_S = 3 * FRAME_S
LATE_FOR_S = 2.0


class Framer:
    """Cuts a stream of bytes into frames, however it comes."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """The whole frames there are now; the rest waits for more."""
        if not self._rest and len(data) == FRAME_BYTES:
            return [data]
        data = self._rest + data
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        return [data[at : at + FRAME_BYTES] for at in range(0, whole, FRAME_BYTES)]


class Pace:
    """Which frames of a microphone go on to Asterisk: never more than AHEAD_S ahead of real time.

    A burst after a stall, or a clock that runs fast, would stay as delay until the end. A clock
    that runs slow needs nothing: Asterisk puts in silence.
    """

    def __init__(self) -> None:
        self._sent_until = 0.0
        self.dropped = 0

    def admits(self, now: float) -> bool:
        """Whether the frame that came at `now` is sent; if so, it is taken as sent."""
        sent_until = max(self._sent_until, now) + FRAME_S
        if sent_until - now > AHEAD_S + 1e-9:
            self.dropped += 1
            return False
        self._sent_until = sent_until
        return True


class Arrears:
    """How late a steady stream of frames has become, counted against the clock.

    Jitter comes and goes; frames that stay missing are delay that Asterisk keeps.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._frames = 0
        self._late_since: float | None = None

    def count(self, now: float) -> bool:
        """Count a frame that came at `now`; True where the stream has to begin anew.

        Then the count begins anew too.
        """
        self._frames += 1
        due = now - (self._frames - 1) * FRAME_S  # when the first would have come at this pace
        if self._start is None or due < self._start:
            self._start = due
        if due - self._start < LATE_S - 1e-9:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= LATE_FOR_S:
            self.__init__()  # type: ignore[misc]
            return True
        return False
