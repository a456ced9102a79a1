"""The journals of the embedded object store: the indexes that it does not sync by itself.

SeaweedFS brings the bytes of a put to the disk, but not the entries that say where they are. After
a power cut an object without its entry is lost, so we sync the journals before we report a put.
"""

import os
from collections.abc import Mapping
from pathlib import Path

# Where SeaweedFS keeps its indexes, below its data directory.
PATTERNS = ("*.idx", "filerldb2/*/*.log")


class Journals:
    """The journals below the data directory of a SeaweedFS.

    A journal only grows: one whose length has not changed since its last sync has nothing new.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._synced: Mapping[Path, tuple[int, int]] = {}

    def flush(self) -> None:
        """Sync every journal that has changed since the last flush."""
        found = (path for pattern in PATTERNS for path in self._directory.glob(pattern))
        self._synced = {path: self._sync(path) for path in found}

    def _sync(self, path: Path) -> tuple[int, int]:
        """Sync a file unless it is unchanged; return its inode and its length before the sync."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # SeaweedFS has just replaced this journal, and synced it
            return 0, 0
        try:
            status = os.fstat(descriptor)
            state = (status.st_ino, status.st_size)
            if state != self._synced.get(path):
                os.fsync(descriptor)
            return state
        finally:
            os.close(descriptor)
