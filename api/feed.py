"""Read the newest events once, and serialise them once, for all event streams of a process."""

import bisect
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from api.errors import Busy, TooManyStreams
from storage.catalogue import events
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications, parse_event_id
from storage.errors import CatalogueUnavailable
from storage.records import EventRecord

MOST_STREAMS = 200
# A page has one stream, while its tab is seen. One owner must not take the streams of all others.
MOST_OF_OWNER = 20
KEPT = 5_000
READ_AT_ONCE = 500
# A notification announces most events at once; polling finds the rest.
LOOK_EVERY_S = 1.0
LOOK_AGAIN_S = 0.05
# Events that arrive sooner are read together: a query costs more than the event it returns.
AT_MOST_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Written:
    """An event, and its text in a stream."""

    event: EventRecord
    text: str

    @classmethod
    def of(cls, event: EventRecord) -> "Written":
        """Serialise an event."""
        data = events.event_json(event)
        return cls(event, f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n")


class Feed:
    """The newest events of one process; it follows the catalogue once a stream is open.

    It keeps at most `kept` events, and reads `read_at_once` of them in one query.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        most_streams: int = MOST_STREAMS,
        kept: int = KEPT,
        read_at_once: int = READ_AT_ONCE,
    ) -> None:
        self._catalogue = catalogue
        self._most_streams, self._kept, self._read_at_once = most_streams, kept, read_at_once
        self._streams: Counter[UUID] = Counter()  # by owner
        self._counting = threading.Lock()
        self._starting = threading.Lock()
        self._started = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        # All known events after `_floor`, and the place of each, for the binary search.
        self._events: list[Written] = []
        self._places: list[tuple[int, int]] = []
        self._floor: tuple[int, int] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the process ends, and so every stream."""
        return self._closed.is_set()

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def enter(self, owner_id: UUID) -> None:
        """Count one more stream of this owner, and follow the catalogue.

        Raises TooManyStreams above the maximum of one owner, and Busy above that of all.
        """
        with self._counting:
            if self._streams[owner_id] >= MOST_OF_OWNER:
                raise TooManyStreams(
                    f"you have {MOST_OF_OWNER} event streams open: close one of them first"
                )
            if self._streams.total() >= self._most_streams:
                raise Busy(f"{self._most_streams} event streams are open in this process")
            self._streams[owner_id] += 1
        with self._starting:
            if not self._started:
                threading.Thread(target=self._follow, name="feed", daemon=True).start()
                self._started = True

    def leave(self, owner_id: UUID) -> None:
        """Count one stream of this owner less."""
        with self._counting:
            self._streams[owner_id] -= 1
            if not self._streams[owner_id]:
                del self._streams[owner_id]

    def read_after(self, event_id: str, *, timeout_s: float) -> Sequence[Written]:
        """Return some events after this one; wait until there is one, or the timeout ends.

        Raises BadCursor if this is not the id of an event, and CatalogueUnavailable if older events
        are needed and cannot be read.
        """
        place = parse_event_id(event_id)
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_closed or (self._newest is not None and self._newest > place),
                timeout_s,
            )
            if self._floor is None:
                return ()
            if place >= self._floor:
                first = bisect.bisect_right(self._places, place)
                return self._events[first : first + self._read_at_once]
        with self._catalogue.begin() as tx:
            found = events.list_events(tx, event_id, self._read_at_once)
        return [Written.of(one) for one in found]

    @property
    def _newest(self) -> tuple[int, int] | None:
        return self._places[-1] if self._places else self._floor

    def _follow(self) -> None:
        seen = 0
        with Notifications(self._catalogue) as notifications:
            while not self.is_closed:
                wait_s, read_at = LOOK_EVERY_S, time.monotonic()
                # Without PostgreSQL there are no new events; other requests report it.
                with contextlib.suppress(CatalogueUnavailable):
                    wait_s = LOOK_AGAIN_S if self._read_on() else LOOK_EVERY_S
                seen = notifications.wait(seen, timeout_s=wait_s)
                self._closed.wait(max(0.0, read_at + AT_MOST_EVERY_S - time.monotonic()))

    def _read_on(self) -> bool:
        """Read the new events; return whether there are more, such as in an open transaction."""
        with self._catalogue.begin() as tx:
            if self._floor is None:
                floor = parse_event_id(events.newest_event_id(tx))
                with self._changed:
                    self._floor = floor
                    self._changed.notify_all()
            newest = self._places[-1] if self._places else self._floor
            found = events.list_events(tx, events.build_event_id(*newest), self._read_at_once)
            hidden = events.are_hidden(tx)
        if found:
            written = [Written.of(one) for one in found]
            with self._changed:
                self._events.extend(written)
                self._places.extend(parse_event_id(one.id) for one in found)
                if len(self._events) > self._kept:
                    surplus = len(self._events) - self._kept // 2  # drop many at a time, so seldom
                    self._floor = self._places[surplus - 1]
                    del self._events[:surplus], self._places[:surplus]
                self._changed.notify_all()
        return hidden or len(found) == self._read_at_once
