"""Send a request to a receiver within one deadline: name, connection, TLS, headers and body.

The standard library's timeouts bound one read; a receiver that sends a byte every 2 s would hold us
for hours. Here each wait gets only the time that is left of the whole exchange. The connection goes
to the address that was checked: no second lookup, no redirect and no proxy comes in between.
"""

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv6Address, ip_address
from typing import Any

import certifi

from recorder.work.addresses import Address, Target, is_public, parse_address

# A short answer is read, so that the connection can be used again; a longer one is cut off.
SHORT_BYTES = 16_384
BODY_WITHIN_S = 1.0
# An event leaves at most this long after its sender asked whether its receiver may get it.
CONNECTED_WITHIN_S = 4.0
# One address that does not answer must not use up the time of the next one.
MOST_ADDRESSES = 4
# A lookup cannot be stopped. So many may hang before the next one waits.
MOST_LOOKUPS = 64

Resolve = Callable[[str, int], Sequence[str]]

_lookups = threading.BoundedSemaphore(MOST_LOOKUPS)


class AddressRefused(OSError):
    """The address is private, and webhooks may not go there."""


class NotConnected(TimeoutError):
    """The lookup of the name, the connection and TLS took too long."""


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """The answer of a receiver: only its status and one header count."""

    status: int
    retry_after: str | None


class Deadline:
    """The end of an exchange."""

    def __init__(self, within_s: float) -> None:
        self._at = time.monotonic() + within_s

    def left_s(self) -> float:
        """Return the seconds that are left. Raises TimeoutError once there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        return left

    def shorten(self, within_s: float) -> None:
        """End at most in `within_s` seconds."""
        self._at = min(self._at, time.monotonic() + within_s)


class Exchanges:
    """Exchanges with one receiver after another; the last connection is used again. Close it."""

    def __init__(
        self,
        *,
        allow_private_addresses: bool,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allows_private = allow_private_addresses
        self._resolve = resolve or resolve_name
        self._tls = tls
        self._kept: _Connection | None = None

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def find_addresses(self, target: Target, deadline: Deadline) -> Sequence[Address]:
        """Return the addresses of the target, each of them checked.

        Raises AddressRefused, socket.gaierror, TimeoutError.
        """
        literal = parse_address(target.host)
        found = [literal] if literal is not None else self._look_up(target, deadline)
        if not self._allows_private and not all(is_public(one) for one in found):
            raise AddressRefused("its address is private: see webhooks.allow_private_addresses")
        return found

    def post(
        self, target: Target, body: bytes, headers: Mapping[str, str], *, within_s: float
    ) -> ReceiverAnswer:
        """Send a body and return the answer.

        Raises OSError (AddressRefused, socket.gaierror, NotConnected, TimeoutError, ssl.SSLError)
        and HTTPException.
        """
        deadline, connecting = Deadline(within_s), Deadline(min(within_s, CONNECTED_WITHIN_S))
        kept, self._kept = self._kept, None
        if kept is not None and kept.goes_to(target):
            with suppress(ConnectionError):  # the receiver has closed it meanwhile
                return self._post_on(kept, target, body, headers, deadline)
        elif kept is not None:
            kept.close()
        return self._post_on(self._connect(target, connecting), target, body, headers, deadline)

    def _connect(self, target: Target, deadline: Deadline) -> "_Connection":
        try:
            addresses = self.find_addresses(target, deadline)
            tls = (self._tls or _default_tls()) if target.scheme == "https" else None
            connection = _Connection(target, addresses, tls, deadline)
            connection.connect()
        except TimeoutError as error:
            raise NotConnected("there is no connection in time") from error
        return connection

    def _post_on(
        self,
        connection: "_Connection",
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> ReceiverAnswer:
        connection.deadline = deadline
        try:
            connection.request("POST", target.path, body, headers)
            response = connection.getresponse()
            answer = ReceiverAnswer(response.status, response.headers.get("Retry-After"))
            if _read_whole(response, deadline):
                self._kept = connection
            return answer
        finally:
            if self._kept is None:
                connection.close()

    def _look_up(self, target: Target, deadline: Deadline) -> list[Address]:
        """Look a name up in a thread, because nothing else bounds the time of a lookup."""
        if not _lookups.acquire(timeout=deadline.left_s()):
            raise TimeoutError("too many lookups hang")
        answer: Future[Sequence[str]] = Future()

        def look_up() -> None:
            try:
                answer.set_result(self._resolve(target.host, target.port))
            except Exception as error:
                answer.set_exception(error)
            finally:
                _lookups.release()

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        return [ip_address(one) for one in answer.result(deadline.left_s())]


def resolve_name(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, in the order of the system. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Connection(HTTPConnection):
    """A connection to the first of these addresses that answers; TLS checks the target's name."""

    auto_open = 0  # http.client opens no other connection

    def __init__(
        self,
        target: Target,
        addresses: Sequence[Address],
        tls: ssl.SSLContext | None,
        deadline: Deadline,
    ) -> None:
        super().__init__(target.host, target.port)
        if tls is not None:
            self.default_port = 443  # so that the header `Host` has no port
        # Of the exchange that goes on: first of the connection itself, then of each request.
        self.deadline = deadline
        self._target, self._addresses, self._tls = target, addresses[:MOST_ADDRESSES], tls

    def goes_to(self, target: Target) -> bool:
        """Return whether requests to this target can use the connection."""
        mine = self._target
        return (mine.scheme, mine.receiver) == (target.scheme, target.receiver)

    def connect(self) -> None:
        """Open the connection, before the first request."""
        connected = self._connect_to_any()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connected.settimeout(self.deadline.left_s())
                connected = self._tls.wrap_socket(connected, server_hostname=self.host)
        except BaseException:
            connected.close()
            raise
        self.sock: Any = _BoundedSocket(connected, self)

    def _connect_to_any(self) -> socket.socket:
        failure = OSError("there is no address")
        for tried, address in enumerate(self._addresses):
            within_s = self.deadline.left_s() / (len(self._addresses) - tried)
            try:
                return _connect_to(address, self.port, within_s)
            except OSError as error:
                failure = error
        raise failure


def _connect_to(address: Address, port: int, within_s: float) -> socket.socket:
    """Connect to an address; `socket.create_connection` would ask the resolver again."""
    is_6 = isinstance(address, IPv6Address)
    made = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET)
    try:
        made.settimeout(within_s)
        made.connect((str(address), port))
    except BaseException:
        made.close()
        raise
    return made


class _BoundedSocket:
    """The part of a socket that http.client uses; each wait ends with the deadline."""

    def __init__(self, connected: socket.socket, owner: _Connection) -> None:
        self._socket, self._owner = connected, owner

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(self._owner.deadline.left_s())
            rest = rest[self._socket.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._socket, self._owner))

    def close(self) -> None:
        self._socket.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, connected: socket.socket, owner: _Connection) -> None:
        self._socket, self._owner = connected, owner
        self._file = connected.makefile("rb", buffering=0)  # keeps the socket open until it closes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._owner.deadline.left_s())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_whole(response: HTTPResponse, deadline: Deadline) -> bool:
    """Read a short answer; return whether the connection can be used again."""
    deadline.shorten(BODY_WITHIN_S)
    try:
        response.read(SHORT_BYTES)
    except (OSError, HTTPException):
        pass
    else:
        if response.isclosed() and not response.will_close:
            return True
    response.close()
    return False


@cache
def _default_tls() -> ssl.SSLContext:
    """Trust the system's authorities, and those that come with us where the system has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
