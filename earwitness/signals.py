"""The end of a process: SIGTERM and SIGINT stop it in order and in time."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WAKE_EVERY_S = 1.0


class _Interrupted(BaseException):
    """A signal came; never leaves this file."""


@contextmanager
def until_signal(end_within_s: float = 6.0) -> Iterator[None]:
    """Run a block of the main thread until it ends or a signal comes, whatever it waits for.

    The code after the block may tidy up. Then further signals do nothing, and the process exits
    with status 0 when its time is over; the next process can do the rest.
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


def wait_for_signal() -> None:
    """Wait inside `until_signal` until a signal comes.

    The kernel may deliver a signal to any thread, but Python handles it in the main thread only.
    So wake up every second: an endless wait of the main thread would never end.
    """
    while True:
        time.sleep(WAKE_EVERY_S)


def _ignore(*_: Any) -> None:
    """Ignore a signal, without SIG_IGN, which children would inherit."""


def _on_signals(handler: Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
