"""Children die with us, and a log shows its last error."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.embedded import processes
from earwitness.embedded.directories import claim_directory, is_claimed, write_private
from earwitness.embedded.processes import end_child, last_line, running_in, spawn, tail, until
from storage.errors import ConfigurationInvalid

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one\n\n two \n\n", "two"),
        ("LOG: starting\nFATAL: no room\nLOG: bye", "FATAL: no room"),
        ("Error: first\nerror: second\nhint", "error: second"),
    ],
)
def test_the_last_error_of_a_log_is_found(tmp_path: Path, text: str, line: str) -> None:
    """The last error of a log is found, or else its last line."""
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text(text)
    assert (last_line(text), tail(log)) == (line, line)


def test_a_stubborn_child_is_ended_in_steps(tmp_path: Path) -> None:
    """A child that ignores a signal gets the next one; a running child is found by its
    directory."""
    log = tmp_path / "log"
    child = spawn(
        [sys.executable, "-c", STUBBORN],
        dies_by="KILL",
        cwd=tmp_path,
        log_path=log,
        environment=os.environ,
    )
    assert until(lambda: tail(log) == "ready", child)
    program = Path(os.readlink(f"/proc/{child.pid}/exe")).name
    assert list(running_in(tmp_path, program)) == [child.pid]
    end_child(child, [(signal.SIGTERM, 0.1), (signal.SIGKILL, 20.0)])
    assert child.returncode == -signal.SIGKILL
    assert list(running_in(tmp_path, program)) == []


def test_a_long_log_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log of earlier starts is deleted."""
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    log = tmp_path / "log"
    log.write_text("a" * 11)
    command = [sys.executable, "-c", "print('new')"]
    spawn(command, dies_by="KILL", cwd=tmp_path, log_path=log, environment=os.environ).wait(30)
    assert log.read_text() == "new\n"


def test_waiting_ends_with_the_process_or_the_time() -> None:
    """A wait ends when the process ends or the time is over."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert not until(lambda: False, ended)
    assert ended.returncode == 0
    assert not until(lambda: False, within_s=0.0)


def test_a_directory_has_one_user(tmp_path: Path) -> None:
    """Another process sees a claim and is refused; the claim ends with its file."""
    directory = tmp_path / "data"
    assert not is_claimed(directory)
    claim = claim_directory(directory)
    assert is_claimed(directory)
    with pytest.raises(ConfigurationInvalid, match=f"process {os.getpid()}"):
        claim_directory(directory)
    claim.close()
    assert not is_claimed(directory)
    claim_directory(directory).close()


def test_a_private_file_is_for_us_alone(tmp_path: Path) -> None:
    """A private file is replaced completely, and only its owner can read it."""
    path = tmp_path / "secret"
    for content in (b"one", b"two"):
        write_private(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
