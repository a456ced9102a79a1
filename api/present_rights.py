"""Read the rights of owners again for whatever runs: event streams, and bytes that are being sent.

All streams of an owner share one reading, so that 200 of them cost no more than one.
"""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import structlog
from sqlalchemy import Connection

from storage.catalogue.agents import list_agents_of_team
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_rights
from storage.errors import CatalogueUnavailable

log = structlog.get_logger()

# Whatever runs ends within 5 s after its right is gone: a reading is 2.5 s old at most, the agents
# of a team in it another second, and each stream looks at it once a second.
READ_EVERY_S = 2.5
AGENTS_EVERY_S = 1.0
LOOK_EVERY_S = 1.0
# Forget the owners whose streams are over.
MOST_KNOWN = 1000


class PresentRights:
    """The rights of the owners of streams, each a few seconds old."""

    def __init__(self, catalogue: Catalogue, *, read_every_s: float = READ_EVERY_S) -> None:
        self._catalogue = catalogue
        self._read_every_s = read_every_s
        self._agents_every_s = min(read_every_s, AGENTS_EVERY_S)
        self._known: dict[UUID, tuple[float, Rights | None]] = {}
        self._teams: dict[str, tuple[float, frozenset[str]]] = {}
        self._reading: dict[UUID, threading.Lock] = {}
        self._changing = threading.Lock()

    def find(self, owner_id: UUID) -> Rights | None:
        """Return the rights of a person, a session or a token, or None if it is gone.

        Raises CatalogueUnavailable.
        """
        with self._changing:
            reading = self._reading.setdefault(owner_id, threading.Lock())
        with reading:  # of two streams of one owner, the second waits for the reading of the first
            read_at, found = self._known.get(owner_id, (0.0, None))
            now = time.monotonic()
            if read_at and now - read_at < self._read_every_s:
                return found
            with self._catalogue.begin() as tx:
                found = find_rights(tx, owner_id, list_agents=self._list_agents)
            self._keep(owner_id, now, found)
            return found

    def _list_agents(self, tx: Connection, team: str) -> frozenset[str]:
        """Return the agents of a team; the streams of its members share a reading."""
        read_at, found = self._teams.get(team, (0.0, frozenset()))
        now = time.monotonic()
        if not read_at or now - read_at >= self._agents_every_s:
            found = list_agents_of_team(tx, team)
            self._teams[team] = (now, found)
        return found

    def _keep(self, owner_id: UUID, now: float, found: Rights | None) -> None:
        with self._changing:
            self._known[owner_id] = (now, found)
            if len(self._known) > MOST_KNOWN:
                for one, (read_at, _) in list(self._known.items()):
                    if now - read_at >= self._read_every_s:
                        del self._known[one], self._reading[one]


def while_permitted(chunks: Iterator[bytes], is_permitted: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the chunks while the right lasts.

    Raises ConnectionResetError once it is gone, or the catalogue is away: the server then closes
    the connection, so the client notices that bytes are missing.

    Example: `while_permitted(found.chunks(), lambda: rights.find(owner_id) is not None)`.
    """
    looked_at = time.monotonic()
    for chunk in chunks:
        if (now := time.monotonic()) - looked_at >= LOOK_EVERY_S:
            looked_at = now
            if not _is_certain(is_permitted):
                log.info("stream.ended", cause="not-permitted")
                raise ConnectionResetError(errno.ECONNRESET, "the right to this was withdrawn")
        yield chunk


def _is_certain(is_permitted: Callable[[], bool]) -> bool:
    try:
        return is_permitted()
    except CatalogueUnavailable:
        return False
