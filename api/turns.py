"""How many requests a process works on at once.

There are threads enough for every event stream, but not connections to PostgreSQL for as many
requests. A request therefore waits for its turn; a stream, once it has begun, takes none, nor does
what waits for another server.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from flask import Flask, g

from api.errors import Busy

AT_ONCE = 8  # of the pool's 20 connections; streams and probes want some, too
TURN_WITHIN_S = 20.0


class Turns:
    """The turns of one application."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def register(self, app: Flask) -> None:
        """Let every request of the application wait for its turn."""
        app.before_request(self._take)
        app.teardown_request(self._give_back)

    def _take(self) -> None:
        if not self._turns.acquire(timeout=TURN_WITHIN_S):
            raise Busy("too many requests at once")
        g.turns = self

    def _give_back(self, _: BaseException | None) -> None:
        if g.pop("turns", None) is not None:
            self._turns.release()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Let another request have this one's turn for the length of the block."""
        self._give_back(None)
        try:
            yield
        finally:
            self._take()


def others_turn() -> AbstractContextManager[None]:
    """Let another request be worked on while this one waits for another server."""
    turns: Turns = g.turns
    return turns.left()
