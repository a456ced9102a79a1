"""The newest events, read and written out once for all the streams of a process."""

import bisect
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from api.errors import Busy
from storage.catalogue import events
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications, parse_event_id
from storage.errors import CatalogueUnavailable
from storage.records import EventRecord

MOST_STREAMS = 200
KEPT = 5_000
READ_AT_ONCE = 500
# A notification tells of most events at once; these find the rest.
LOOK_EVERY_S = 1.0
LOOK_AGAIN_S = 0.05
# What comes sooner is read along with the next: each reading costs more than what it brings.
AT_MOST_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Written:
    """An event, and how a stream tells it."""

    event: EventRecord
    text: str

    @classmethod
    def of(cls, event: EventRecord) -> "Written":
        """Written out."""
        data = events.event_json(event)
        return cls(event, f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n")


class Feed:
    """The events of one process; it follows the catalogue from the first stream on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._streams = threading.BoundedSemaphore(MOST_STREAMS)
        self._starting = threading.Lock()
        self._started = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        # Every event after `_floor` that is known; each with its place, by which it is found.
        self._events: list[Written] = []
        self._places: list[tuple[int, int]] = []
        self._floor: tuple[int, int] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the process ends, and with it every stream."""
        return self._closed.is_set()

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def enter(self) -> None:
        """Take one of the places for streams, and follow the catalogue; raises Busy."""
        if not self._streams.acquire(blocking=False):
            raise Busy(f"{MOST_STREAMS} event streams are open in this process")
        with self._starting:
            if not self._started:
                threading.Thread(target=self._follow, name="feed", daemon=True).start()
                self._started = True

    def leave(self) -> None:
        """Give the place back."""
        self._streams.release()

    def read_after(self, event_id: str, *, timeout_s: float) -> Sequence[Written]:
        """The events after this one, or the first of them; waits for one, but no longer than this.

        Raises BadCursor for what is no event's id, CatalogueUnavailable where older events than
        those at hand are asked for and cannot be read.
        """
        place = parse_event_id(event_id)
        with self._changed:
            self._changed.wait_for(lambda: self._is_ahead_of(place), timeout_s)
            if self._floor is None:
                return ()
            if place >= self._floor:
                first = bisect.bisect_right(self._places, place)
                return self._events[first : first + READ_AT_ONCE]
        with self._catalogue.begin() as tx:
            found = events.list_events(tx, event_id, READ_AT_ONCE)
        return [Written.of(one) for one in found]

    def _is_ahead_of(self, place: tuple[int, int]) -> bool:
        newest = self._places[-1] if self._places else self._floor
        return self.is_closed or (newest is not None and newest > place)

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
        """Take in what is new; whether there is more, still hidden by an older transaction."""
        with self._catalogue.begin() as tx:
            if self._floor is None:
                floor = parse_event_id(events.newest_event_id(tx))
                with self._changed:
                    self._floor = floor
                    self._changed.notify_all()
            newest = self._places[-1] if self._places else self._floor
            found = events.list_events(tx, events.build_event_id(*newest), READ_AT_ONCE)
            hidden = events.are_hidden(tx)
        if found:
            self._take_in(found)
        return hidden or len(found) == READ_AT_ONCE

    def _take_in(self, found: Sequence[EventRecord]) -> None:
        told = [Written.of(one) for one in found]
        with self._changed:
            self._events.extend(told)
            self._places.extend(parse_event_id(one.id) for one in found)
            if len(self._events) > KEPT:
                surplus = len(self._events) - KEPT // 2  # seldom, rather than with each event
                self._floor = self._places[surplus - 1]
                del self._events[:surplus], self._places[:surplus]
            self._changed.notify_all()
