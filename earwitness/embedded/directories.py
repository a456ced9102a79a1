"""Directories with one running Earwitness each, and files that only our user can read."""

import fcntl
import os
from pathlib import Path
from typing import IO

from earwitness.embedded.processes import until
from storage.errors import ConfigurationInvalid

LOCK_NAME = "lock"
# Longer than `is_claimed` holds the lock.
CLAIMED_WITHIN_S = 0.5


def claim_directory(directory: Path) -> IO[str]:
    """Make the directory private, and claim it for this process until the file is closed.

    Raises ConfigurationInvalid if it cannot be written, or if another process uses it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        claim = (directory / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(
            f"data.directory: cannot write {directory}: {error.strerror}"
        ) from error
    if not until(lambda: _lock(claim), within_s=CLAIMED_WITHIN_S):
        claim.seek(0)
        pid = claim.read().strip()
        claim.close()
        raise ConfigurationInvalid(
            f"data.directory: {directory} is in use by another running Earwitness (process {pid})"
        )
    claim.truncate(0)
    claim.write(str(os.getpid()))
    claim.flush()
    return claim


def is_claimed(directory: Path) -> bool:
    """Return whether a running Earwitness, this one or another, has claimed the directory."""
    try:
        with (directory / LOCK_NAME).open(encoding="utf-8") as file:
            return not _lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only our user can read, completely or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
