"""A signal ends a block whatever it waits for, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.signals import until_signal, wait_for_signal

ROOT = Path(__file__).resolve().parents[3]

# Is told to end, and then has more to tidy up than it may.
SLOW = """
import signal, threading
from earwitness.signals import until_signal, wait_for_signal
with until_signal(0.2):
    signal.raise_signal(signal.SIGTERM)
threading.Event().wait()
"""


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """The handlers of the test run come back, and no timer of a test ends it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_block(number: signal.Signals) -> None:
    """Whatever it waits for; what stands after the block runs."""
    reached = []
    with until_signal():
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        threading.Event().wait(30)
        reached.append("the end of the wait")
    assert reached == []


def test_a_signal_for_another_thread_ends_the_wait() -> None:
    """A signal that the kernel delivers to another thread ends the main thread's wait too."""
    ended = threading.Event()

    def receive() -> None:
        time.sleep(0.1)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        ended.wait(30)

    thread = threading.Thread(target=receive, daemon=True)
    with until_signal():
        thread.start()
        wait_for_signal()
    ended.set()
    thread.join(5)
    assert not thread.is_alive()


def test_signals_that_follow_do_nothing() -> None:
    """Ctrl-C sends one to each process, and `make` a second: tidying up is not disturbed."""
    with until_signal():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) not in {signal.SIG_DFL, signal.SIG_IGN}


def test_errors_pass() -> None:
    """A block that fails fails."""
    with pytest.raises(ValueError, match="mine"), until_signal():
        raise ValueError("mine")


def test_tidying_up_has_an_end() -> None:
    """A process that would not end is ended, and that is no failure."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", SLOW], cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 0
    assert time.monotonic() - began < 30
