"""How a process of ours ends: SIGTERM and SIGINT, in order and in time."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Interrupted(BaseException):
    """A signal came; never leaves this file."""


@contextmanager
def until_signal(end_within_s: float = 6.0) -> Iterator[None]:
    """Run a block of the main thread until it ends or a signal comes, whatever it waits for.

    What comes after the block is for tidying up: further signals do nothing, and the process
    ends, with status 0, when that takes longer than it may. What is left undone can be done by the
    next process.
    """

    def interrupt(*_: Any) -> None:
        _on_signals(_ignore)
        last = threading.Timer(end_within_s, os._exit, (0,))
        last.daemon = True
        last.start()
        raise _Interrupted

    _on_signals(interrupt)
    try:
        yield
    except _Interrupted:
        pass
    finally:
        _on_signals(_ignore)


def _ignore(*_: Any) -> None:
    """Not SIG_IGN, which children would inherit."""


def _on_signals(handler: Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
