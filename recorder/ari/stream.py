"""ARI's events as a queue that says when something may be missing.

A thread of its own reads the socket, answers and sends pings, parses, and does nothing else. The
consumer takes `Connected`, then the events of that connection, then `Disconnected`, in this
order: after every `Connected` it must ask Asterisk what there is, for nothing is replayed.
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
)
from recorder.ari.model import ApplicationReplaced, Event, OtherEvent, parse_event

_log = logging.getLogger(__name__)

_LONGEST_DELAY_S = 10.0

# Not the socket's own `subscribeAll=true`: that adds device states, and an Asterisk that tells one
# while such a socket closes may lock up its ARI until it is restarted (asterisk issue 2170; on
# 22.10.1 it took a few calls and a few closed sockets).
_EVERYTHING = ("channel:", "bridge:")


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is open: what is asked of Asterisk from now on is not older than its events."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket is gone, or could not be opened; told once per reason, not per attempt.

    `fatal` means that trying again will not help until a person mends something: the password,
    or a second program that uses our application's name. It is tried again all the same, slowly.
    """

    at: datetime
    reason: str
    fatal: bool


def backoff(
    first_s: float = 0.1,
    longest_s: float = _LONGEST_DELAY_S,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[float]:
    """Yield delays for ever: anything from 0 to a limit that doubles from `first_s` on.

    "Full jitter": after a restart of the PBX its clients come back spread out, not together.
    """
    limit_s = first_s
    while True:
        yield uniform(0.0, limit_s)
        limit_s = min(2 * limit_s, longest_s)


class Pulse:
    """When to ping and when to give up; it only computes, `now` is any clock in seconds."""

    def __init__(self, interval_s: float, timeout_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ping_at = now + interval_s
        self._lost_at: float | None = None

    def pinged(self, now: float) -> None:
        """A ping was sent: something must be heard in time."""
        self._ping_at = now + self._interval_s
        if self._lost_at is None:
            self._lost_at = now + self._timeout_s

    def heard(self) -> None:
        """Any frame proves life: a pong may wait behind a crowd of events."""
        self._lost_at = None

    def is_due(self, now: float) -> bool:
        """Whether to ping now."""
        return now >= self._ping_at

    def is_lost(self, now: float) -> bool:
        """Whether the other side has been silent for too long."""
        return self._lost_at is not None and now >= self._lost_at


class _Gap(Exception):
    """This connection is over, and events may be missing from now on."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fatal = fatal


class EventStream:
    """Events of an application, connected for ever until `close`.

    `subscribe_all` asks for the events of every channel and bridge, not of the application's own
    alone. `allowed` names the types of events wanted, as ARI spells them (None: all). When the
    consumer lets `queue_size` events pile up, the connection is given up, which is told, and made
    again once it has caught up.
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
        # Only the reader puts events, so it keeps the bound itself, and can always tell a gap.
        self._queue: queue.SimpleQueue[Event | Connected | Disconnected | None]
        self._queue = queue.SimpleQueue()
        self._told: str | None = None
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
        """Begin to connect; once only."""
        self._reader.start()

    def close(self) -> None:
        """End the connection and wake a waiting `next`; what is queued can still be taken.

        Waits at most a second: an attempt to connect that is under way ends by its own time-out.
        """
        self._closing.set()
        if self._socket is not None:
            _say_goodbye(self._socket)
            self._socket.abort()
        if self._reader.is_alive():
            self._reader.join(timeout=1.0)
        self._queue.put(None)

    def next(self, timeout_s: float) -> Event | Connected | Disconnected | None:
        """Take what came next; None when nothing came in time, or the stream was closed."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    # ---------------------------------------------------------------------- the reader's thread

    def _run(self) -> None:
        delays = backoff()
        while not self._closing.is_set():
            began = time.monotonic()
            gap = self._live()
            if self._closing.is_set():
                return
            self._tell(gap)
            if time.monotonic() - began > _LONGEST_DELAY_S:
                delays = backoff()  # only a connection that held says that all is well again
            self._rest(_LONGEST_DELAY_S if gap.fatal else next(delays))

    def _live(self) -> _Gap:
        """Connect, hand on events until the connection ends, and say why it did."""
        try:
            self._connect()
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

    def _connect(self) -> None:
        self._socket = _open_socket(self._ari)
        if self._allowed is not None:
            self._ask_for_allowed()
        if self._subscribe_all:
            self._ari.subscribe(*_EVERYTHING)
        self._told = None
        self._queue.put(Connected(_now()))

    def _ask_for_allowed(self) -> None:
        try:
            self._ari.set_event_filter(self._allowed)
        except AriNotFound:
            _log.info("no such application for an event filter: filtering here alone")

    def _read(self) -> NoReturn:
        # How late a missing pong may be noticed; setting it per frame costs more than parsing.
        self._socket.settimeout(min(self._ping_interval_s, self._pong_timeout_s) / 4)
        pulse = Pulse(self._ping_interval_s, self._pong_timeout_s, time.monotonic())
        while not self._closing.is_set():
            now = time.monotonic()
            if pulse.is_lost(now):
                raise _Gap(f"no sign of life within {self._pong_timeout_s:g} s of a ping")
            if pulse.is_due(now):
                self._socket.ping()
                pulse.pinged(now)
            if self._read_frame():
                pulse.heard()
        raise _Gap("closed by us")

    def _read_frame(self) -> bool:
        """Wait a little for one frame and hand it on; False when none came."""
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return False
        if opcode == websocket.ABNF.OPCODE_TEXT:
            self._take(json.loads(frame.data))
        elif opcode == websocket.ABNF.OPCODE_CLOSE:
            raise _Gap("closed by Asterisk")
        return True

    def _take(self, body: object) -> None:
        if not isinstance(body, dict):
            raise _Gap("what came is no event: this is not ARI")
        if self._allowed is not None and body.get("type") not in self._allowed:
            return  # the filter was set a moment after the first events
        if self._queue.qsize() >= self._queue_size:
            raise _Gap(f"{self._queue_size} events wait unread")
        event = _event_of(body)
        self._queue.put(event)
        if isinstance(event, ApplicationReplaced):
            raise _Gap("another client took the application's name", fatal=True)

    def _tell(self, gap: _Gap) -> None:
        if gap.reason != self._told:
            self._told = gap.reason
            self._queue.put(Disconnected(_now(), gap.reason, gap.fatal))

    def _rest(self, delay_s: float) -> None:
        self._closing.wait(delay_s)
        while self._queue.qsize() > self._queue_size // 2:
            if self._closing.wait(0.1):
                return


class _BufferedWebSocket(websocket.WebSocket):
    """Reads ahead: plain websocket-client asks the system three times for every frame.

    Halves the whole cost of an event (measured: 112 to 55 µs).
    """

    _ahead = memoryview(b"")

    def _recv(self, bufsize: int) -> bytes:
        if not self._ahead:
            self._ahead = memoryview(super()._recv(1 << 16))  # type: ignore[no-untyped-call]
        taken, self._ahead = self._ahead[:bufsize], self._ahead[bufsize:]
        return taken.tobytes()


def _open_socket(ari: Ari) -> Any:
    """A connected websocket-client socket; raises AriUnavailable, AriUnauthorized, …"""
    try:
        return websocket.create_connection(
            ari.events_url(),
            timeout=ari.timeout_s,
            class_=_BufferedWebSocket,
            header=[f"Authorization: {ari.authorization()}"],
            suppress_origin=True,
            redirect_limit=0,  # the password goes nowhere else
            http_no_proxy=["*"],
            skip_utf8_validation=True,  # json does it, in C
        )
    except websocket.WebSocketBadStatusException as error:
        message = _message(error.resp_body)
        raise error_for(error.status_code, message, method="GET", path="/events") from error
    except (websocket.WebSocketException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AriUnavailable(reason, method="GET", path="/events") from error


def _say_goodbye(socket: Any) -> None:
    """Send a close frame if that is still possible: Asterisk logs a warning where none comes."""
    with suppress(websocket.WebSocketException, OSError):
        socket.send(websocket.STATUS_NORMAL.to_bytes(2, "big"), websocket.ABNF.OPCODE_CLOSE)


def _message(body: bytes | None) -> str | None:
    try:
        message = json.loads(body or b"")["message"]
    except (ValueError, LookupError, TypeError):
        return None
    return message if isinstance(message, str) else None


def _event_of(body: dict[str, object]) -> Event:
    """Parse; an event that cannot be is handed on as it came rather than dropped."""
    try:
        return parse_event(body)
    except AriProtocolError as error:
        _log.warning("an event is not as ARI describes it: %s", error)
        return OtherEvent(_now(), str(body.get("application", "")), str(body.get("type", "")), body)


def _now() -> datetime:
    return datetime.now(UTC)
