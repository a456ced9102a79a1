"""Call-backs: their rows and states, and the calls of the customers who call in by themselves.

A row that waits has a job for its next attempt, deferred in the same transaction.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Text,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from storage import jobs, states
from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.hours import gather_hours, spread_hours
from storage.errors import NoSuchCallback
from storage.records import CallbackRecord, CallbackState, Slice, shallow
from storage.schema import LAST_DIGITS, LAST_DIGITS_OF_CALLER, call, callback

TASK = "callback_step"
_EVENT_FIELDS = (
    *("id", "pbx", "state", "phone", "agent", "number", "name", "at"),
    *("next_at", "attempts", "cause"),
)
# Literals, not parameters: else PostgreSQL does not use the indexes of live rows.
_LIVES: ColumnElement[bool] = literal_column("callback.state IN ('waiting', 'dialling')")
_INBOUND = call.c.direction == literal_column("'inbound'")
_CALLERS_LAST_DIGITS: ColumnElement[str] = literal_column(LAST_DIGITS_OF_CALLER, Text)


@dataclass(frozen=True, slots=True)
class InboundCall:
    """The caller of an inbound call, as the PBX gave it, and the beginning of the talk."""

    pbx: str
    caller_number: str
    is_live: bool
    talked_at: datetime | None


def create_callback(tx: Connection, record: CallbackRecord) -> None:
    """Create a call-back that waits, with the job of its first attempt."""
    tx.execute(insert(callback).values(spread_hours(shallow(record))))
    _schedule(tx, record)
    _emit(tx, record)


def get_callback(
    tx: Connection, callback_id: UUID, *, agents: Collection[str] | None = None
) -> CallbackRecord:
    """Return the call-back of this id. Raises NoSuchCallback, also if its agent is not one of
    `agents`."""
    found = _find(tx, callback.c.id == callback_id, *_seen_by(agents))
    if found is None:
        raise NoSuchCallback(f"there is no call-back {callback_id}")
    return found


def lock_callback(tx: Connection, callback_id: UUID) -> CallbackRecord | None:
    """Return the call-back of this id, or None; nobody else changes it before our transaction
    ends."""
    return _find(tx, callback.c.id == callback_id, lock=True)


def list_callbacks(
    tx: Connection,
    *,
    limit: int,
    cursor: str | None = None,
    state: CallbackState | None = None,
    number: str | None = None,
    agents: Collection[str] | None = None,
) -> Slice[CallbackRecord]:
    """Return a slice of the call-backs, newest first, restricted like `get_callback`."""
    query = select(callback).where(*_seen_by(agents))
    if state is not None:
        query = query.where(callback.c.state == state)
    if number is not None:
        query = query.where(callback.c.number == number)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(callback.c.id < before)
    rows = tx.execute(query.order_by(callback.c.id.desc()).limit(one_more(limit))).mappings()
    return slice_of([_record(row) for row in rows], limit, lambda one: (str(one.id),))


def list_live_callbacks(
    tx: Connection, *, limit: int | None = None, agents: Collection[str] | None = None
) -> tuple[CallbackRecord, ...]:
    """Return the call-backs that wait or are dialling, by the time of their next attempt,
    restricted like `get_callback`."""
    query = select(callback).where(_LIVES, *_seen_by(agents))
    rows = tx.execute(query.order_by(callback.c.next_at).limit(limit)).mappings()
    return tuple(_record(row) for row in rows)


def list_waiting_of(tx: Connection, owner_id: UUID) -> tuple[CallbackRecord, ...]:
    """Return the call-backs of this owner that wait, oldest first."""
    mine = (_LIVES, callback.c.state == "waiting", callback.c.owner_id == owner_id)
    rows = tx.execute(select(callback).where(*mine).order_by(callback.c.id)).mappings()
    return tuple(_record(row) for row in rows)


def move_callback(
    tx: Connection, callback_id: UUID, *, to: CallbackState, **columns: Any
) -> CallbackRecord | None:
    """Move a call-back to a state, if its present state leads there; else return None.

    Compare-and-set: of two callers who move the same call-back, one gets None. `to="waiting"` needs
    `next_at`, and an end needs `ended_at`.
    """
    in_sources = callback.c.state.in_(states.sources_of(states.CALLBACK_NEXT, to))
    statement = update(callback).where(callback.c.id == callback_id, in_sources)
    changed = statement.values(state=to, **columns).returning(callback)
    row = tx.execute(changed).mappings().one_or_none()
    if row is None:
        return None
    record = _record(row)
    if to == "waiting":
        _schedule(tx, record)
    _emit(tx, record)
    return record


def resume_callback(tx: Connection, callback_id: UUID) -> None:
    """Defer a job for a call-back whose job was lost, unless such a job waits or runs."""
    id_ = str(callback_id)
    jobs.defer_once(tx, TASK, lock=id_, queue=jobs.DIALLING, callback_id=id_)


def list_inbound_calls(
    tx: Connection, numbers: Collection[str], since: datetime
) -> tuple[InboundCall, ...]:
    """Return the inbound calls that live, or in which two people talked since this time.

    Only those whose caller's number ends like one of `numbers`, which are in E.164. Such a call is
    often of that number, not always: parse its number, and compare.
    """
    digits = {number[-LAST_DIGITS:] for number in numbers}
    query = select(call.c.pbx, call.c.caller_number, call.c.state, call.c.talked_at).where(
        _INBOUND,
        _CALLERS_LAST_DIGITS.in_(digits),
        or_(call.c.state != "ended", call.c.talked_at >= since),
    )
    return tuple(
        InboundCall(row.pbx, row.caller_number, row.state != "ended", row.talked_at)
        for row in tx.execute(query)
    )


def _seen_by(agents: Collection[str] | None) -> Iterator[ColumnElement[bool]]:
    if agents is not None:
        yield callback.c.agent.in_(agents)


def _find(
    tx: Connection, *conditions: ColumnElement[bool], lock: bool = False
) -> CallbackRecord | None:
    query = select(callback).where(*conditions)
    if lock:
        query = query.with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return _record(row) if row is not None else None


def _record(row: RowMapping) -> CallbackRecord:
    return CallbackRecord(**gather_hours(row) | {"retry_after_s": tuple(row["retry_after_s"])})


def _schedule(tx: Connection, record: CallbackRecord) -> None:
    """Defer the job of the next attempt.

    Its lock is its own: a job that waits for its time would keep back later jobs of the same lock.
    """
    jobs.defer(
        tx,
        TASK,
        lock=f"{record.id} at {record.next_at}",
        queue=jobs.DIALLING,
        at=record.next_at,
        callback_id=str(record.id),
    )


def _emit(tx: Connection, record: CallbackRecord) -> None:
    data = {name: getattr(record, name) for name in _EVENT_FIELDS}
    events.add_event(tx, f"callback.{record.state}", data, agent=record.agent)
