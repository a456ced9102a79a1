"""Calls, live and past."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    cast,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONPATH

from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.events import NewEvent
from storage.catalogue.rows import excluded, insert_rows
from storage.errors import NoSuchCall
from storage.records import CallRecord, LegRecord, Slice, Stay, shallow
from storage.schema import call

# A literal, not a parameter: else PostgreSQL does not use the index of live calls.
LIVES = call.c.state != literal_column("'ended'")
_EVENT_FIELDS = (
    *("id", "pbx", "state", "direction", "did", "queue", "agent"),
    *("started_at", "answered_at", "ended_at"),
    *("joined", "people", "talking", "activity", "trigger"),
)
_INSTANTS = ("joined_at", "served_at", "media_at", "left_at", "transferred_at")
_LISTS = ("joined", "met")
_KEPT = {column.name for column in call.columns} - {"id", "pbx"}


def save_calls(
    tx: Connection,
    records: Iterable[CallRecord],
    *,
    before: Mapping[str, CallRecord] | None = None,
) -> None:
    """Save calls as they are now, in the order of their ids, so that two writers cannot deadlock.

    `before` holds the same calls as the catalogue has them; with it nothing is read.
    """
    wanted = sorted(records, key=lambda record: record.id)
    if not wanted:
        return
    known = find_calls(tx, [record.id for record in wanted]) if before is None else before
    statement = insert_rows(call, [_row(record) for record in wanted])
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[call.c.id],
            set_={name: excluded(call)[name] for name in _KEPT},
        )
    )
    changed = [record for record in wanted if known.get(record.id) != record]
    events.add_events(
        tx, [one for record in changed for one in _events(record, known.get(record.id))]
    )


def lock_call(tx: Connection, call_id: str) -> None:
    """Let nobody change this call before the end of the transaction.

    The watcher writes a call before its dial: lock in this order, or both wait for each other.
    """
    tx.execute(select(call.c.id).where(call.c.id == call_id).with_for_update())


def end_unseen_call(tx: Connection, call_id: str, at: datetime) -> CallRecord | None:
    """End a call of which nobody has seen a channel; return None for any other call.

    We write the call that we dial before the PBX has a channel for it.
    """
    query = select(call).where(call.c.id == call_id).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    record = parse_call(row) if row is not None else None
    if record is None or record.channels or record.state == "ended":
        return None
    ended = replace(record, state="ended", ended_at=at)
    save_calls(tx, [ended], before={call_id: record})
    return ended


def find_call(tx: Connection, call_id: str) -> CallRecord | None:
    """Return the call of this id, or None."""
    row = tx.execute(select(call).where(call.c.id == call_id)).mappings().one_or_none()
    return parse_call(row) if row is not None else None


def get_call(tx: Connection, call_id: str, *, agents: Collection[str] | None = None) -> CallRecord:
    """Return the call of this id. Raises NoSuchCall, also if its agent is not one of `agents`."""
    record = find_call(tx, call_id)
    if record is None or (agents is not None and record.agent not in agents):
        raise NoSuchCall(f"there is no call {call_id}")
    return record


def list_live_calls(
    tx: Connection, *, pbx: str | None = None, agents: Collection[str] | None = None
) -> tuple[CallRecord, ...]:
    """Return every call that has not ended, newest first."""
    query = select(call).where(LIVES)
    if pbx is not None:
        query = query.where(call.c.pbx == pbx)
    if agents is not None:
        query = query.where(call.c.agent.in_(agents))
    rows = tx.execute(query.order_by(call.c.started_at.desc(), call.c.id.desc())).mappings()
    return tuple(parse_call(row) for row in rows)


def list_calls(
    tx: Connection,
    *,
    states: Sequence[str],
    limit: int,
    cursor: str | None = None,
    agents: Collection[str] | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> Slice[CallRecord]:
    """Return a slice of the calls in these states that started in [`from_at`, `to_at`), newest
    first."""
    position = tuple_(call.c.started_at, call.c.id)
    query = select(call).where(*_conditions(states, agents, from_at, to_at))
    if cursor is not None:
        started_at, call_id = decode_cursor(cursor, datetime.fromisoformat, str)
        query = query.where(position < tuple_(started_at, call_id))
    query = query.order_by(call.c.started_at.desc(), call.c.id.desc()).limit(limit + 1)
    records = [parse_call(row) for row in tx.execute(query).mappings()]
    return slice_of(records, limit, lambda one: (one.started_at.isoformat(), one.id))


def list_missed(
    tx: Connection, *, from_at: datetime, limit: int, agents: Collection[str] | None = None
) -> tuple[CallRecord, ...]:
    """Return the newest inbound calls that ended without a talk and started from `from_at` on."""
    missed = (call.c.direction == "inbound") & call.c.talked_at.is_(None)
    query = select(call).where(*_conditions(["ended"], agents, from_at, None), missed)
    newest = query.order_by(call.c.started_at.desc(), call.c.id.desc()).limit(limit)
    return tuple(parse_call(row) for row in tx.execute(newest).mappings())


def count_calls(
    tx: Connection,
    *,
    states: Sequence[str],
    agents: Collection[str] | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> int:
    """Return the number of calls that `list_calls` lists."""
    query = select(func.count()).select_from(call)
    return tx.scalar(query.where(*_conditions(states, agents, from_at, to_at))) or 0


def _conditions(
    states: Sequence[str],
    agents: Collection[str] | None,
    from_at: datetime | None,
    to_at: datetime | None,
) -> Iterator[ColumnElement[bool]]:
    yield call.c.state.in_(states)
    if "ended" not in states:
        yield LIVES
    if agents is not None:
        yield call.c.agent.in_(agents)
    if from_at is not None:
        yield call.c.started_at >= from_at
    if to_at is not None:
        yield call.c.started_at < to_at


def find_live_call_of(
    tx: Connection, channel_name: str, *, pbx: str | None = None
) -> CallRecord | None:
    """Return the live call with a channel of this name (`PJSIP/2001-00000001`), or None.

    Two PBXs may have channels of one name: give the `pbx` where it is known.
    """
    query = select(call).where(LIVES, call.c.channels.contains([{"name": channel_name}]))
    if pbx is not None:
        query = query.where(call.c.pbx == pbx)
    row = tx.execute(query.order_by(call.c.started_at.desc()).limit(1)).mappings().first()
    return parse_call(row) if row is not None else None


def list_calls_of_agent(tx: Connection, pbx: str, agent: str) -> tuple[CallRecord, ...]:
    """Return the live calls of a PBX in which an agent's phone is now, newest first.

    Example: `2001` is in a call with a live channel `PJSIP/2001-00000001`. A phone whose name ends
    alike (`PJSIP/x/2001-1`) is found too.
    """
    named = json.dumps(f"/{agent}-")
    path = f'$[*] ? (@.left_at == null).name ? (@ like_regex {named} flag "q")'
    has_agent = call.c.channels.op("@?", is_comparison=True)(cast(path, JSONPATH))
    query = select(call).where(LIVES, call.c.pbx == pbx, has_agent)
    rows = tx.execute(query.order_by(call.c.started_at.desc())).mappings()
    return tuple(parse_call(row) for row in rows)


def find_calls(tx: Connection, call_ids: Collection[str]) -> dict[str, CallRecord]:
    """Return the calls of these ids that exist, by id."""
    rows = tx.execute(select(call).where(call.c.id.in_(call_ids))).mappings()
    return {row["id"]: parse_call(row) for row in rows}


def list_joined(tx: Connection, call_id: str) -> dict[str, CallRecord]:
    """Return a call and all live calls joined with it, directly or through others, by id.

    An ended call comes alone. Raises NoSuchCall.
    """
    found = {call_id: get_call(tx, call_id)}
    while missing := {id_ for one in found.values() for id_ in one.joined} - found.keys():
        new = find_calls(tx, missing)
        found |= new
        if len(new) < len(missing):
            break
    return found


def find_positions(tx: Connection, records: Iterable[CallRecord]) -> dict[str, int]:
    """Return the queue position of each waiting call among these; 1 is the next to be served.

    It counts every call in the queue, whoever asks.
    """
    queues = {(one.pbx, one.queue) for one in records if one.is_waiting}
    if not queues:
        return {}
    position = func.row_number().over(
        partition_by=(call.c.pbx, call.c.queue), order_by=(call.c.waiting_since, call.c.id)
    )
    waiting = select(call.c.id, position).where(
        LIVES, call.c.waiting_since.is_not(None), tuple_(call.c.pbx, call.c.queue).in_(queues)
    )
    return {row.id: row[1] for row in tx.execute(waiting)}


def list_met(tx: Connection, call_id: str) -> dict[str, CallRecord]:
    """Return a call and all calls with which it ever shared a conversation, by id.

    Raises NoSuchCall.
    """
    record = get_call(tx, call_id)
    return {call_id: record} | find_calls(tx, record.met)


def _events(record: CallRecord, before: CallRecord | None) -> Iterator[NewEvent]:
    """Yield the events of a new or changed call, with every field that a list of calls shows.

    A client that saw the call through its former agent gets `call.left`, without the new agent.
    """
    if before is not None and before.agent not in (None, record.agent):
        left = {name: getattr(record, name) for name in ("id", "pbx", "state")}
        yield NewEvent("call.left", {**left, "agent": before.agent}, before.agent)
    moved = before is None or before.state != record.state
    facts: dict[str, Any] = {name: getattr(record, name) for name in _EVENT_FIELDS}
    waiting = {"queue": record.queue, "since": record.waiting_since}
    facts["waiting"] = waiting if record.is_waiting else None
    for who in ("caller", "callee"):
        facts[who] = {name: getattr(record, f"{who}_{name}") for name in ("number", "name")}
    yield NewEvent(f"call.{record.state if moved else 'changed'}", facts, record.agent)


def parse_call(row: RowMapping | Mapping[str, Any]) -> CallRecord:
    """Read a row of the table."""
    lists = {name: tuple(row[name]) for name in _LISTS}
    return CallRecord(
        **{**row, **lists, "channels": tuple(parse_leg(entry) for entry in row["channels"])}
    )


def parse_leg(entry: Mapping[str, Any]) -> LegRecord:
    """Read an entry of the column `channels`; older entries lack some fields, and have others.

    Where an entry has no `stays`, its leg counts as one stay from `joined_at` to `left_at`.
    """
    instants = {name: _instant(entry.get(name)) for name in _INSTANTS}
    spans = {
        "created_at": datetime.fromisoformat(entry["created_at"]),
        "holds": tuple((datetime.fromisoformat(a), _instant(b)) for a, b in entry.get("holds", ())),
        "stays": tuple(
            Stay(bridge_id, datetime.fromisoformat(a), _instant(b))
            for bridge_id, a, b in entry.get("stays", ())
        ),
    }
    joined_at = instants["joined_at"]
    if joined_at is not None and not spans["stays"]:
        spans["stays"] = (Stay(entry.get("bridge_id") or "", joined_at, instants["left_at"]),)
    known = {name: value for name, value in entry.items() if name in LegRecord.__slots__}
    return LegRecord(**{**known, **instants, **spans})


def dump_leg(leg: LegRecord) -> dict[str, Any]:
    """Write a leg as an entry of the column `channels`; `parse_leg` reads it back."""
    instants = {name: _text(getattr(leg, name)) for name in ("created_at", *_INSTANTS)}
    holds = [[begin.isoformat(), _text(end)] for begin, end in leg.holds]
    stays = [[one.bridge_id, one.from_at.isoformat(), _text(one.to_at)] for one in leg.stays]
    return {**shallow(leg), **instants, "holds": holds, "stays": stays}


def _row(record: CallRecord) -> dict[str, Any]:
    lists = {name: list(getattr(record, name)) for name in _LISTS}
    return {**shallow(record), **lists, "channels": [dump_leg(leg) for leg in record.channels]}


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
