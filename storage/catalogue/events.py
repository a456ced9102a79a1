"""Events, in an order that is the same for every reader; kept for a while.

An event is written in the transaction of the change that it reports. Transactions commit in another
order than they start. So a reader who remembers the newest event that it saw could miss an older
event that is committed later. Therefore the position of an event is the number of its transaction,
then its own number. A reader sees only the events of transactions that are older than every running
one: no event can appear before these any more.
"""

import contextlib
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

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

# The number of the first transaction that has not ended yet. Visible rows with this number or a
# higher one, except our own, came with a dump of another cluster.
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
    """An event to write; `agent` is the agent of its call, `owner_id` whose thing it is about."""

    type: str
    data: Mapping[str, Any]
    agent: str | None = None
    owner_id: UUID | None = None


def add_event(
    tx: Connection,
    type_: str,
    data: Mapping[str, Any],
    *,
    agent: str | None = None,
    owner_id: UUID | None = None,
) -> None:
    """Add an event in the transaction of its change; the commit wakes the readers."""
    add_events(tx, [NewEvent(type_, data, agent, owner_id)])


def add_events(tx: Connection, added: Iterable[NewEvent]) -> None:
    """Add several events, like `add_event`."""
    rows = [
        {
            "type": one.type,
            "data": dict(one.data),
            "agent": one.agent,
            "owner_id": one.owner_id,
        }
        for one in added
    ]
    if rows:
        tx.execute(insert_rows(event, rows))
        wake_readers(tx)


def wake_readers(tx: Connection) -> None:
    """Let every reader look now, once this transaction commits."""
    tx.execute(text(f"NOTIFY {CHANNEL}"))


def list_events(tx: Connection, after: str | None, limit: int) -> tuple[EventRecord, ...]:
    """Return the events after this one (None: from the oldest one on), oldest first.

    Raises BadCursor if `after` is not the id of an event.
    """
    query = select(event).where(_SETTLED)
    if after is not None:
        query = query.where(tuple_(*parse_event_id(after)) < _PLACE)
    rows = tx.execute(query.order_by(event.c.xid, event.c.n).limit(limit))
    return tuple(_record(row) for row in rows)


def newest_event_id(tx: Connection) -> str:
    """Return the id of the newest event that a reader sees, or BEGINNING."""
    query = select(event.c.xid, event.c.n).where(_SETTLED)
    row = tx.execute(query.order_by(event.c.xid.desc(), event.c.n.desc()).limit(1)).one_or_none()
    return build_event_id(row.xid, row.n) if row is not None else BEGINNING


def drop_events(tx: Connection, before: datetime) -> int:
    """Delete the events before this time, and return their number."""
    return tx.execute(delete(event).where(event.c.at < before)).rowcount


def drop_unborn(tx: Connection) -> None:
    """Delete the events with transaction numbers of the future, left by a dump of another cluster.

    Use it in a transaction that writes no event.
    """
    tx.execute(delete(event).where(event.c.xid >= UNBORN))


def has_event(tx: Connection, event_id: str) -> bool:
    """Return whether this event is still kept: then a reader who saw it last has missed nothing.

    Raises BadCursor.
    """
    xid, n = parse_event_id(event_id)
    query = select(event.c.n).where(_SETTLED, event.c.xid == xid, event.c.n == n)
    return tx.execute(query).one_or_none() is not None


def are_hidden(tx: Connection) -> bool:
    """Return whether there are committed events that no reader sees yet: then look again soon.

    Nothing wakes a reader when the older transaction that hides them ends.
    """
    return bool(tx.scalar(select(select(event.c.n).where(~_SETTLED).exists())))


def event_json(record: EventRecord) -> str:
    """Return an event as its readers get it, on the stream and by webhook."""
    return to_json({"type": record.type, "at": record.at, "data": record.data}).decode()


def build_event_id(xid: int, n: int) -> str:
    """Build the id of the event at this position."""
    return f"{xid}-{n}"


def parse_event_id(event_id: str) -> tuple[int, int]:
    """Parse the position of an event, by which ids sort. Raises BadCursor."""
    matched = _ID.fullmatch(event_id)
    if matched is None:
        raise BadCursor("this is not the id of an event")
    return int(matched[1]), int(matched[2])


def _record(row: Row[Any]) -> EventRecord:
    id_ = build_event_id(row.xid, row.n)
    return EventRecord(id_, row.type, row.at, row.agent, row.data, row.owner_id)


class Notifications:
    """A thread that wakes the threads of this process when events were written.

    It has a connection of its own. If the connection is lost, it opens another one and wakes
    everyone, because events may have been missed. Close it, or use it as a context.
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
        """Wait until there are more than `seen` notifications, or `timeout_s` is over; return their
        number.

        Start with 0 and pass the last answer each time. Read the events after each wait.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._count > seen or self._closed.is_set(), timeout_s)
            return self._count

    def close(self) -> None:
        """Wake everyone and stop listening."""
        self._closed.set()
        self._wake()
        self._thread.join(timeout=5)

    def _listen(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.Error), self._catalogue.connect_alone() as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                self._wake()
                while not self._closed.is_set():
                    # A short wait, so that the thread notices `close`.
                    for _ in connection.notifies(timeout=0.5, stop_after=1):
                        self._wake()
            self._closed.wait(_RECONNECT_S)

    def _wake(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
