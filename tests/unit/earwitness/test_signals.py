"""A signal ends a block, whatever it waits for, and nothing else."""

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

# A program that takes too long to end after a signal.
SLOW = """
import signal, threading
from earwitness.signals import until_signal, wait_for_signal
with until_signal(0.2):
    signal.raise_signal(signal.SIGTERM)
threading.Event().wait()
"""


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Restore the handlers of the test run, and let no timer of a test end it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_block(number: signal.Signals) -> None:
    """A signal ends every wait of the block; the code after the block runs."""
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
        time.sleep(0.1)  # wait until the main thread waits
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
    """Further signals, such as those of `make`, do not disturb the end."""
    with until_signal():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) not in {signal.SIG_DFL, signal.SIG_IGN}


def test_errors_pass() -> None:
    """An error of the block is raised."""
    with pytest.raises(ValueError, match="mine"), until_signal():
        raise ValueError("mine")


def test_tidying_up_has_an_end() -> None:
    """A process that takes too long to end exits with status 0."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", SLOW], cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 0
    assert time.monotonic() - began < 30
