"""The worker process of the HTTP server: a thread never waits for a client's request.

gunicorn's own worker gives a connection to a thread when its first byte is here, so a client that
sends a header a second holds a thread for ever. This worker collects the headers, and a short body,
in its main thread, which polls all connections. A client that does not finish in time is closed,
and so is a client that does not read its answer.

It also bounds the connections of one address. Behind a proxy all connections have the proxy's
address: then the proxy bounds them (docs/operate.md, "The front").
"""

import errno
import ipaddress
import re
import socket
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http import get_parser  # type: ignore[import-untyped]
from gunicorn.util import close_graceful  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

HEADERS_WITHIN_S = 10.0
BODY_WITHIN_S = 10.0
# One part of an answer, such as 256 KiB of audio, has to be taken within this time.
ANSWER_TAKEN_WITHIN_S = 60.0
LONGEST_HEADERS_BYTES = 32 * 1024
# A longer body, and one of unknown length, is received by the thread of the request.
LONGEST_BODY_AHEAD_BYTES = 64 * 1024
MOST_OF_ADDRESS = 100
READ_BYTES = 64 * 1024

END_OF_HEADERS = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect:", re.IGNORECASE)
LATE = "408 Request Timeout", "the request did not arrive in time"
TOO_LONG = "431 Request Header Fields Too Large", "the headers are too long"
TOO_MANY = "429 Too Many Requests", "too many connections from this address"


class Connection(TConn):  # type: ignore[misc]  # the library has no types
    """A connection, with the bytes of the next request that have arrived."""

    def __init__(self, worker: "Worker", sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self.received = bytearray()
        self.is_open = True
        self.parser: Any = None
        self._worker = worker

    def hand_over(self) -> None:
        """Give the bytes to the parser, which a thread runs."""
        if self.parser is None:
            self.parser = get_parser(self.cfg, self.sock, self.client)
            self.initialized = True
        self.parser.unreader.unread(bytes(self.received))
        self.received.clear()

    def take_back(self) -> None:
        """Take the bytes that a client sent behind its last request from the parser."""
        self.received += self.parser.unreader.take_buffered()

    def refuse(self, reason: tuple[str, str]) -> None:
        """Answer an error, if the client takes it at once."""
        status, sentence = reason
        lines = [f"HTTP/1.1 {status}", "Connection: close", "Content-Type: text/plain"]
        lines += [f"Content-Length: {len(sentence) + 1}", "", f"{sentence}\n"]
        try:
            self.sock.send("\r\n".join(lines).encode(), socket.MSG_DONTWAIT)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone

    def close(self, graceful: bool = False) -> None:
        """Close without waiting, because this runs in the thread that polls all connections."""
        if self.is_open:
            self.is_open = False
            self.sock.close()
            self._worker.forget(self)


def is_complete(received: bytes | bytearray) -> bool:
    """Return whether a thread can go on with these bytes of a request without waiting for more.

    That is so when the headers are here, and the body, unless it is long, has no known length, or
    the client waits for an answer before it sends the body.
    """
    end = received.find(END_OF_HEADERS)
    if end < 0:
        return False
    head = bytes(received[: end + 2])
    length = LENGTH.search(head)
    if length is None or EXPECTS.search(head):
        return True
    missing = end + len(END_OF_HEADERS) + int(length[1]) - len(received)
    return missing <= 0 or int(length[1]) > LONGEST_BODY_AHEAD_BYTES


def network_of(address: str) -> str:
    """Return the address, or of IPv6 its /64, all of which belongs to one client."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class Worker(ThreadWorker):  # type: ignore[misc]  # the library has no types
    """A worker of gunicorn whose threads get whole requests only."""

    bounds_addresses = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._of_address: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # the one that waits longest is first

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, unless its address has too many."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED):
                return
            raise
        connection = Connection(self, sock, client, listener.getsockname())
        network = network_of(client[0])
        self.nr_conns += 1
        self._of_address[network] += 1
        if self.bounds_addresses and self._of_address[network] > MOST_OF_ADDRESS:
            connection.refuse(TOO_MANY)
            self._end(connection)
        else:
            self._await_request(connection)

    def forget(self, connection: Connection) -> None:
        """Count a connection less for its address."""
        network = network_of(connection.client[0])
        self._of_address[network] -= 1
        if not self._of_address[network]:
            del self._of_address[network]

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Wait for the rest of the next request on a kept connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await_request(conn)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """Keep or close the connection; handle the request that was sent behind the last one."""
        if not fs.cancelled() and fs.exception() is None and fs.result() is True:
            conn.take_back()
            if is_complete(conn.received):
                conn.hand_over()
                self.enqueue_req(conn)
                return
            if conn.received:
                self._await_request(conn)
                return
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close the connections whose requests are late; at the end, those without a request."""
        now = time.monotonic()
        for connection in [*self._waiting] if not self.alive else []:
            if not connection.received:
                self._end(connection)
        while self._waiting:
            first = next(iter(self._waiting))
            if first.timeout > now:
                break
            if first.received:
                first.refuse(LATE)
            self._end(first)

    def handle(self, conn: Connection) -> Any:
        """Handle a request in a thread, and let the client take all of the answer there too."""
        goes_on = super().handle(conn)
        if not goes_on:
            close_graceful(conn.sock)
        return goes_on

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Handle a request; close the connection of a client that does not take the answer."""
        conn.sock.settimeout(ANSWER_TAKEN_WITHIN_S)
        try:
            return super().handle_request(req, conn)
        except TimeoutError:
            return False

    def _await_request(self, connection: Connection) -> None:
        connection.sock.setblocking(False)
        connection.timeout = time.monotonic() + HEADERS_WITHIN_S
        self._waiting[connection] = None
        self.poller.register(connection.sock, EVENT_READ, partial(self._receive, connection))

    def _receive(self, connection: Connection, sock: socket.socket) -> None:
        try:
            received = sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        had_headers = END_OF_HEADERS in connection.received
        connection.received += received
        if not received:
            self._end(connection)
        elif is_complete(connection.received):
            self._stop_waiting(connection)
            connection.hand_over()
            self.enqueue_req(connection)
        elif END_OF_HEADERS not in connection.received:
            if len(connection.received) > LONGEST_HEADERS_BYTES:
                connection.refuse(TOO_LONG)
                self._end(connection)
        elif not had_headers:
            self._stop_waiting(connection)
            self._await_request(connection)
            connection.timeout = time.monotonic() + BODY_WITHIN_S

    def _stop_waiting(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self.poller.unregister(connection.sock)

    def _end(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self.nr_conns -= 1
        connection.close()


class WorkerBehindProxy(Worker):
    """The same for clients that all have one address, the proxy's."""

    bounds_addresses = False
