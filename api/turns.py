"""Limit the number of requests that a process handles at the same time.

Each event stream has a thread, but PostgreSQL has fewer connections than there are threads. So a
request, once its body has arrived, waits for one of a few turns. A request gives its turn back
while it waits for another server, and an event stream once it has started. A request that needs no
PostgreSQL takes no turn.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from flask import Flask, current_app, g, request
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from api.errors import Busy
from api.operation import find_operation

AT_ONCE = 8  # of the pool's 20 connections; streams and probes need some, too
TURN_WITHIN_S = 20.0
BODY_WITHIN_S = 10.0
TOO_LATE = "the body did not arrive completely, or not in time"
# These answer without PostgreSQL.
NEEDS_NONE = ("/health/live", "/static/")


class Turns:
    """The turns of one application."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def register(self, app: Flask) -> None:
        """Make every request of the application wait for its turn."""
        app.before_request(self._begin)
        app.teardown_request(self._give_back)

    def _begin(self) -> None:
        _receive_body()
        if not request.path.startswith(NEEDS_NONE):
            self._take()

    def _take(self) -> None:
        if not self._turns.acquire(timeout=TURN_WITHIN_S):
            raise Busy("too many requests at once")
        g.turns = self

    def _give_back(self, _: BaseException | None) -> None:
        if g.pop("turns", None) is not None:
            self._turns.release()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give the turn back for the length of the block, then wait for one again."""
        self._give_back(None)
        try:
            yield
        finally:
            self._take()


def give_turn_back() -> AbstractContextManager[None]:
    """Give this request's turn to another one while it waits for another server.

    Example: `with give_turn_back(): sender.send(url, secret, event)`.
    """
    turns: Turns = g.turns
    return turns.left()


def _receive_body() -> None:
    """Receive the whole body; answer 408 to a client that sends it too slowly.

    A list of numbers may be longer than other bodies.
    """
    operation = find_operation(current_app, request.endpoint)
    if operation is not None and operation.csv_bytes:
        request.max_content_length = operation.csv_bytes
    own: socket.socket | None = request.environ.get("gunicorn.socket")
    if own is None or not (request.content_length or "Transfer-Encoding" in request.headers):
        return
    # A timeout of the socket would start again with each byte.
    late = threading.Timer(BODY_WITHIN_S, _end_body, [own])
    late.daemon = True
    late.start()
    try:
        received = len(request.get_data())
    except ClientDisconnected as error:  # of a body in chunks
        raise RequestTimeout(TOO_LATE) from error
    finally:
        late.cancel()
    if received < (request.content_length or 0):
        raise RequestTimeout(TOO_LATE)


def _end_body(own: socket.socket) -> None:
    with suppress(OSError):  # the client has gone
        own.shutdown(socket.SHUT_RD)
