"""ARI's events as a queue that marks every gap.

A thread of its own reads the socket, sends and answers pings, parses events, and does nothing
else. The consumer gets `Connected`, then the events of that connection, then `Disconnected`.
Asterisk repeats no event, so after every `Connected` the consumer must list channels and bridges.
"""

import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NoReturn, Self

import websocket

from recorder.ari.client import Ari
from recorder.ari.errors import (
    AriError,
    AriNotFound,
    AriProtocolError,
    AriUnauthorized,
    AriUnavailable,
    error_for,
    parse_message,
)
from recorder.ari.model import ApplicationReplaced, Event, OtherEvent, parse_event

_log = logging.getLogger(__name__)

_LONGEST_DELAY_S = 10.0

# The socket's own `subscribeAll=true` adds device states. An Asterisk that sends one while such a
# socket closes may lock up its ARI until a restart (asterisk issue 2170; on 22.10.1 a few calls
# and a few closed sockets were enough).
_EVERYTHING = ("channel:", "bridge:")


@dataclass(frozen=True, slots=True)
class Connected:
    """An open socket: an answer to a request from now on is not older than the events."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A lost or refused socket; it comes once for each reason, not for each attempt.

    `fatal` means that a person must correct something: the password, or a second program with our
    application's name. The stream goes on to reconnect, but slowly.
    """

    at: datetime
    reason: str
    fatal: bool


def backoff(
    first_s: float = 0.1,
    longest_s: float = _LONGEST_DELAY_S,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[float]:
    """Yield random delays for ever, from 0 to a limit that doubles, starting at `first_s`.

    With this "full jitter" the clients of a restarted PBX do not reconnect all at once.
    """
    limit_s = first_s
    while True:
        yield uniform(0.0, limit_s)
        limit_s = min(2 * limit_s, longest_s)


class Pulse:
    """The times to ping and to give up. Pure: `now` is any clock in seconds."""

    def __init__(self, interval_s: float, timeout_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ping_at = now + interval_s
        self._lost_at: float | None = None

    def pinged(self, now: float) -> None:
        """Note a sent ping: a frame must arrive in time."""
        self._ping_at = now + self._interval_s
        if self._lost_at is None:
            self._lost_at = now + self._timeout_s

    def heard(self) -> None:
        """Note a frame of any kind: a pong may wait behind many events."""
        self._lost_at = None

    def is_due(self, now: float) -> bool:
        """Return whether to ping now."""
        return now >= self._ping_at

    def is_lost(self, now: float) -> bool:
        """Return whether the other side has been silent for too long."""
        return self._lost_at is not None and now >= self._lost_at


class _Gap(Exception):
    """The end of a connection, from which on events may be missing."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fatal = fatal


class EventStream:
    """The events of an application, with a connection that is renewed until `close`.

    `subscribe_all` adds the events of all channels and bridges, not only the application's own.
    `allowed` lists the wanted types of events in ARI's spelling (None: all). If `queue_size` events
    wait unread, the stream disconnects, and reconnects once the consumer has caught up.

    Example: `with EventStream(ari) as stream: print(stream.next(timeout_s=1))`.
    """

    def __init__(
        self,
        ari: Ari,
        *,
        subscribe_all: bool = True,
        allowed: Collection[str] | None = None,
        queue_size: int = 20_000,
        ping_interval_s: float = 5.0,
        pong_timeout_s: float = 5.0,
    ) -> None:
        self._ari = ari
        self._subscribe_all = subscribe_all
        self._allowed = None if allowed is None else frozenset(allowed) | {"ApplicationReplaced"}
        self._queue_size = queue_size
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        # Only the reader puts events. It checks the size itself, so it can always put a gap.
        self._queue: queue.SimpleQueue[Event | Connected | Disconnected | None]
        self._queue = queue.SimpleQueue()
        self._last_reason: str | None = None
        self._socket: Any = None
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._run, name="ari-events", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start to connect. Call it only once."""
        self._reader.start()

    def close(self) -> None:
        """End the connection and wake a waiting `next`; queued events can still be read.

        Wait for at most a second: a running attempt to connect ends by its own time-out.
        """
        self._closing.set()
        if self._socket is not None:
            _say_goodbye(self._socket)
            self._socket.abort()
        if self._reader.is_alive():
            self._reader.join(timeout=1.0)
        self._queue.put(None)

    def next(self, timeout_s: float) -> Event | Connected | Disconnected | None:
        """Return the next event, or None if none came in time or the stream was closed."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    @property
    def unread(self) -> int:
        """Return how many items wait to be read."""
        return self._queue.qsize()

    # ---------------------------------------------------------------------- the reader's thread

    def _run(self) -> None:
        delays = backoff()
        while not self._closing.is_set():
            began = time.monotonic()
            gap = self._hold_connection()
            if self._closing.is_set():
                return
            if gap.reason != self._last_reason:
                self._last_reason = gap.reason
                self._queue.put(Disconnected(_now(), gap.reason, gap.fatal))
            if time.monotonic() - began > _LONGEST_DELAY_S:
                delays = backoff()  # only a connection that lasted shows that all is well again
            self._closing.wait(_LONGEST_DELAY_S if gap.fatal else next(delays))
            while self.unread > self._queue_size // 2 and not self._closing.wait(0.1):
                pass

    def _hold_connection(self) -> _Gap:
        """Connect, queue the events until the connection ends, and return the reason of its end."""
        try:
            self._socket = _open_socket(self._ari)
            if self._allowed is not None:
                try:
                    self._ari.set_event_filter(self._allowed)
                except AriNotFound:
                    _log.info("Asterisk has no event filter for this application: we filter here")
            if self._subscribe_all:
                self._ari.subscribe(*_EVERYTHING)
            self._last_reason = None
            self._queue.put(Connected(_now()))
            self._read()
        except _Gap as gap:
            return gap
        except AriError as error:
            return _Gap(str(error), fatal=isinstance(error, AriUnauthorized))
        except (websocket.WebSocketException, OSError, ValueError) as error:
            return _Gap(f"the connection broke: {error}")
        except Exception as error:  # a dead reader would look like a quiet PBX
            _log.exception("the reader of ARI's events failed")
            return _Gap(f"the reader failed: {type(error).__name__}")
        finally:
            if self._socket is not None:
                _say_goodbye(self._socket)
                self._socket.shutdown()

    def _read(self) -> NoReturn:
        # A missing pong is noticed so much late. A time-out for each frame costs more than parsing.
        self._socket.settimeout(min(self._ping_interval_s, self._pong_timeout_s) / 4)
        pulse = Pulse(self._ping_interval_s, self._pong_timeout_s, time.monotonic())
        while not self._closing.is_set():
            now = time.monotonic()
            if pulse.is_lost(now):
                raise _Gap(f"no sign of life within {self._pong_timeout_s:g} s of a ping")
            if pulse.is_due(now):
                self._socket.ping()
                pulse.pinged(now)
            try:
                opcode, frame = self._socket.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                continue
            pulse.heard()
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._queue_event(json.loads(frame.data))
            elif opcode == websocket.ABNF.OPCODE_CLOSE:
                raise _Gap("closed by Asterisk")
        raise _Gap("closed by us")

    def _queue_event(self, body: object) -> None:
        if not isinstance(body, dict):
            raise _Gap("the frame holds no event: this is not ARI")
        if self._allowed is not None and body.get("type") not in self._allowed:
            return  # the first events come before the filter is set
        if self.unread >= self._queue_size:
            raise _Gap(f"{self._queue_size} events wait unread")
        try:
            event = parse_event(body)
        except AriProtocolError as error:  # do not drop it
            _log.warning("an event differs from ARI's description: %s", error)
            application, kind = str(body.get("application", "")), str(body.get("type", ""))
            event = OtherEvent(_now(), application, kind, body)
        self._queue.put(event)
        if isinstance(event, ApplicationReplaced):
            raise _Gap("another client took the application's name", fatal=True)


class _BufferedWebSocket(websocket.WebSocket):
    """A socket that reads ahead: plain websocket-client asks the system three times for a frame.

    This halves the whole cost of an event (measured: 112 to 55 µs).
    """

    _ahead = memoryview(b"")

    def _recv(self, bufsize: int) -> bytes:
        if not self._ahead:
            self._ahead = memoryview(super()._recv(1 << 16))  # type: ignore[no-untyped-call]
        taken, self._ahead = self._ahead[:bufsize], self._ahead[bufsize:]
        return taken.tobytes()


def _open_socket(ari: Ari) -> Any:
    """Return a connected socket. Raises AriUnavailable, AriUnauthorized, …"""
    try:
        return websocket.create_connection(
            ari.events_url(),
            timeout=ari.timeout_s,
            class_=_BufferedWebSocket,
            header=[f"Authorization: {ari.authorization()}"],
            suppress_origin=True,
            redirect_limit=0,  # send the password to nobody else
            http_no_proxy=["*"],
            skip_utf8_validation=True,  # json does it, in C
        )
    except websocket.WebSocketBadStatusException as error:
        message = parse_message(error.resp_body)
        raise error_for(error.status_code, message, method="GET", path="/events") from error
    except (websocket.WebSocketException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AriUnavailable(reason, method="GET", path="/events") from error


def _say_goodbye(socket: Any) -> None:
    """Send a close frame if the socket still works, because Asterisk warns without one."""
    with suppress(websocket.WebSocketException, OSError):
        socket.send(websocket.STATUS_NORMAL.to_bytes(2, "big"), websocket.ABNF.OPCODE_CLOSE)


def _now() -> datetime:
    return datetime.now(UTC)
