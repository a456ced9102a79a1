"""Keep everything that the program writes from the other users of the machine.

A umask does so for new files, directories and sockets. Files of an earlier version are closed at
the start of `serve` and of a worker; `doctor` names those that are still open.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

UMASK = 0o077
# The parts of the data directory. Anything else in it is not ours.
POSTGRESQL, OBJECTS, SPOOL = "postgresql", "objects", "spool"


def keep_files_private() -> None:
    """Let only this user open what this process and its children make from now on."""
    os.umask(UMASK)


def close_files(directory: Path) -> None:
    """Take the rights of all other users from the files in the data directory."""
    for path, mode in find_open(directory):
        try:
            path.chmod(mode & ~_rights_of_others(path, directory))
        except OSError as error:
            log.warning("file.open", path=str(path), error=error.strerror)
        else:
            log.info("file.closed", path=str(path))


def find_open(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files and directories of the data that other users may open, each with its mode.

    Nobody reaches anything below a closed directory, so the search ends there.
    """
    waiting = [directory / name for name in (POSTGRESQL, OBJECTS, SPOOL)]
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            mode = stat.S_IMODE(status.st_mode)
            if mode & _rights_of_others(path, directory):
                yield path, mode
            if stat.S_ISDIR(status.st_mode) and path.stat().st_mode & 0o011:
                waiting += path.iterdir()


def _rights_of_others(path: Path, directory: Path) -> int:
    """Return the rights that only this user may have; root lets the user of PostgreSQL enter."""
    is_entered = os.geteuid() == 0 and path == directory / POSTGRESQL
    return 0o066 if is_entered else 0o077
