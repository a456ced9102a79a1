"""Child processes that die with us.

The kernel ends a child when the *thread* that started it ends. So start it from a thread that lives
as long as the service, such as the main one.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import ConfigurationInvalid

START_WITHIN_S = 60.0
POLL_S = 0.05
LOG_BYTES = 8 * 1024 * 1024

Process = subprocess.Popen[bytes]
# The signals that end a process, each with the seconds to wait for it.
Steps = Sequence[tuple[signal.Signals, float]]


def spawn(
    command: Sequence[str],
    *,
    dies_by: str,
    cwd: Path,
    log_path: Path,
    environment: Mapping[str, str],
    **options: Any,
) -> Process:
    """Start a child that gets the signal `dies_by` when we die, in a session of its own.

    Ctrl-C at a terminal reaches only us, so that we end our children in our own order.
    """
    if log_path.exists() and log_path.stat().st_size > LOG_BYTES:
        log_path.unlink()
    with log_path.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", dies_by, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
            **options,
        )


def end_child(process: Process, steps: Steps) -> None:
    """Send each signal in turn, and wait for its time, until the child has ended."""
    for number, wait_s in steps:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            return


def end_leftovers(directory: Path, program: str, steps: Steps) -> None:
    """End the processes of a killed service in `directory`, while we hold its lock."""
    for number, wait_s in steps:
        for pid in running_in(directory, program):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if until(lambda: not any(running_in(directory, program)), within_s=wait_s):
            return
    raise ConfigurationInvalid(f"data.directory: a {program} still runs in {directory}; end it")


def running_in(directory: Path, program: str) -> Iterator[int]:
    """Yield the processes that run `program` with `directory` as their working directory."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it has ended, or belongs to another user
            runs = os.readlink(entry / "exe").removesuffix(" (deleted)")
            if os.readlink(entry / "cwd") == str(directory) and Path(runs).name == program:
                yield int(entry.name)


def until(
    holds: Callable[[], bool], process: Process | None = None, within_s: float = START_WITHIN_S
) -> bool:
    """Wait until `holds`; return False if the time is over or the process has ended."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            return False
        time.sleep(POLL_S)
    return True


def tail(path: Path) -> str:
    """Return the last error in a log, else its last line; "" if there is no log."""
    try:
        return last_line(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return ""


def last_line(text: str) -> str:
    """Return the last error in a text, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (complaints or lines or [""])[-1]
