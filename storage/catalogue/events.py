"""What happened, in the order in which every reader sees it; kept for a while.

An event is written in the transaction of the change that it tells of. Transactions commit in
another order than they begin, so a reader who remembers the newest event it saw could miss an
older one that is committed later. Therefore an event's place is the number of its transaction,
then its own; and a reader sees only events of transactions older than every one that still runs:
before these no event can appear any more.
"""

import contextlib
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from pydantic_core import to_json
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    delete,
    literal_column,
    select,
    text,
    tuple_,
)

from storage.catalogue.engine import Catalogue
from storage.catalogue.rows import insert_rows
from storage.errors import BadCursor
from storage.records import EventRecord
from storage.schema import event

CHANNEL = "earwitness"
# Before every event.
BEGINNING = "0-0"

# A transaction of this number has not ended yet: besides our own, whatever can be seen of it or of
# a later one was brought by a dump, from a cluster that had got further.
UNBORN: ColumnElement[int] = literal_column(
    "pg_snapshot_xmax(pg_current_snapshot())::text::int8", BigInteger
)
_PLACE = tuple_(event.c.xid, event.c.n)
_SETTLED: ColumnElement[bool] = event.c.xid < literal_column(
    "pg_snapshot_xmin(pg_current_snapshot())::text::int8"
)
_RECONNECT_S = 1.0
_ID = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be written; `agent` is whose call it concerns."""

    type: str
    data: Mapping[str, Any]
    agent: str | None = None


def add_event(
    tx: Connection, type_: str, data: Mapping[str, Any], *, agent: str | None = None
) -> None:
    """Tell of a change, in its own transaction; the readers are woken when it commits."""
    add_events(tx, [NewEvent(type_, data, agent)])


def add_events(tx: Connection, added: Iterable[NewEvent]) -> None:
    """As `add_event`, for several at once."""
    rows = [{"type": one.type, "data": dict(one.data), "agent": one.agent} for one in added]
    if rows:
        tx.execute(insert_rows(event, rows))
        tx.execute(text(f"NOTIFY {CHANNEL}"))


def list_events(tx: Connection, after: str | None, limit: int) -> tuple[EventRecord, ...]:
    """The events after this one (None: from the oldest that is kept), oldest first.

    Raises BadCursor where `after` is not the id of an event.
    """
    query = select(event).where(_SETTLED)
    if after is not None:
        query = query.where(tuple_(*parse_event_id(after)) < _PLACE)
    rows = tx.execute(query.order_by(event.c.xid, event.c.n).limit(limit))
    return tuple(_record(row) for row in rows)


def newest_event_id(tx: Connection) -> str:
    """The id of the newest event that a reader sees; BEGINNING where there is none."""
    query = select(event.c.xid, event.c.n).where(_SETTLED)
    row = tx.execute(query.order_by(event.c.xid.desc(), event.c.n.desc()).limit(1)).one_or_none()
    return build_event_id(row.xid, row.n) if row is not None else BEGINNING


def drop_events(tx: Connection, before: datetime) -> int:
    """Forget the events of before this time; how many there were."""
    return tx.execute(delete(event).where(event.c.at < before)).rowcount


def drop_unborn(tx: Connection) -> None:
    """Forget the events that a dump of another cluster left in times to come.

    For a transaction that writes none.
    """
    tx.execute(delete(event).where(event.c.xid >= UNBORN))


def has_event(tx: Connection, event_id: str) -> bool:
    """Whether this event is still kept: if so, a reader who saw it last has missed nothing.

    Raises BadCursor.
    """
    xid, n = parse_event_id(event_id)
    query = select(event.c.n).where(_SETTLED, event.c.xid == xid, event.c.n == n)
    return tx.execute(query).one_or_none() is not None


def are_hidden(tx: Connection) -> bool:
    """Whether there are committed events that no reader sees yet: look again soon.

    Nothing wakes a reader when the older transaction that hides them ends.
    """
    return bool(tx.scalar(select(select(event.c.n).where(~_SETTLED).exists())))


def event_json(told: EventRecord) -> str:
    """An event as its readers get it, wherever they read it."""
    return to_json({"type": told.type, "at": told.at, "data": told.data}).decode()


def build_event_id(xid: int, n: int) -> str:
    """The id of the event in this place."""
    return f"{xid}-{n}"


def parse_event_id(event_id: str) -> tuple[int, int]:
    """An event's place: ids sort by it. Raises BadCursor."""
    matched = _ID.fullmatch(event_id)
    if matched is None:
        raise BadCursor("this is not the id of an event")
    return int(matched[1]), int(matched[2])


def _record(row: Row[Any]) -> EventRecord:
    return EventRecord(build_event_id(row.xid, row.n), row.type, row.at, row.agent, row.data)


class Notifications:
    """Wakes the threads of a process when events were written; one for each process.

    It has a connection of its own and makes it anew when it is lost; who waits is woken then, for
    something may have been missed. Close it, or use it as a context.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._count = 0
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="notifications", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Notifications":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, seen: int, *, timeout_s: float) -> int:
        """Wait until there were more than `seen` notifications, or for so long; how many.

        Begin with 0, and hand in the last answer each time. Read the events after each wait.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._count > seen or self._closed.is_set(), timeout_s)
            return self._count

    def close(self) -> None:
        """Wake everybody and stop listening."""
        self._closed.set()
        self._wake()
        self._thread.join(timeout=5)

    def _listen(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.Error), self._catalogue.connect_alone() as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                self._wake()
                self._hear(connection)
            self._closed.wait(_RECONNECT_S)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        while not self._closed.is_set():
            # A short wait, only so that `close` is seen.
            for _ in connection.notifies(timeout=0.5, stop_after=1):
                self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
