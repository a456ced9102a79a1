"""Spies: their rows, their states, and the seconds of calls that each supervisor heard."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from storage import states
from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.digest import digest_of
from storage.errors import NoSuchSpy
from storage.records import Heard, Mode, Slice, SpyRecord, SpyState
from storage.schema import call, spy, token

# A literal, not a parameter: else PostgreSQL does not use the index of live spies.
_LIVES = spy.c.state != literal_column("'ended'")
_COLUMNS = [column for column in spy.columns if column is not spy.c.audio_token_sha256]


def create_spy(tx: Connection, record: SpyRecord, *, audio_token: str | None = None) -> None:
    """Create a spy in the state `requested`, before we send any request to the PBX.

    Store only the SHA-256 of the token that opens its audio.
    """
    digest = digest_of(audio_token) if audio_token is not None else None
    tx.execute(insert(spy).values(**_row(record), audio_token_sha256=digest))
    _tell(tx, "spy.requested", record)


def find_spy(tx: Connection, spy_id: UUID) -> SpyRecord | None:
    """Return the spy of this id, or None."""
    return _find(tx, spy.c.id == spy_id)


def get_spy(
    tx: Connection,
    spy_id: UUID,
    *,
    agents: Collection[str] | None = None,
    maker_id: UUID | None = None,
) -> SpyRecord:
    """Return the spy of this id.

    Raises NoSuchSpy, also if its call has none of `agents` and `maker_id` did not start it.
    """
    record = _find(tx, spy.c.id == spy_id, *_seen_by(agents, maker_id))
    if record is None:
        raise NoSuchSpy(f"there is no spy {spy_id}")
    return record


def find_spy_by_token(tx: Connection, token: str) -> SpyRecord | None:
    """Return the spy whose audio this token opens; None if there is none, or it has ended."""
    return _find(tx, spy.c.audio_token_sha256 == digest_of(token), _LIVES)


def find_known(tx: Connection, spy_ids: Collection[UUID]) -> frozenset[UUID]:
    """Return those of these ids that belong to a spy, live or ended."""
    return frozenset(tx.scalars(select(spy.c.id).where(spy.c.id.in_(spy_ids))))


def list_spies(
    tx: Connection,
    *,
    states: Collection[str],
    limit: int,
    cursor: str | None = None,
    agents: Collection[str] | None = None,
    maker_id: UUID | None = None,
) -> Slice[SpyRecord]:
    """Return a slice of the spies in these states, newest first, restricted like `get_spy`."""
    query = select(*_COLUMNS).where(spy.c.state.in_(states), *_seen_by(agents, maker_id))
    if "ended" not in states:
        query = query.where(_LIVES)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(spy.c.id < before)
    query = query.order_by(spy.c.id.desc()).limit(limit + 1)
    records = [_record(row) for row in tx.execute(query).mappings()]
    return slice_of(records, limit, lambda one: (str(one.id),))


def list_live_spies(tx: Connection, pbx: str) -> tuple[SpyRecord, ...]:
    """Return every live spy of this PBX, oldest first."""
    query = select(*_COLUMNS).where(spy.c.pbx == pbx, _LIVES).order_by(spy.c.id)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def list_live_spies_of(tx: Connection, owner_ids: Collection[UUID]) -> tuple[SpyRecord, ...]:
    """Return every live spy of these people and tokens, and of every owner that is gone.

    A deleted session does not say whose it was, so its spies are among those of gone owners.
    """
    sessions = select(token.c.id).where(token.c.user_id.in_(owner_ids))
    is_gone = ~exists().where(token.c.id == spy.c.owner_id)
    theirs = or_(spy.c.owner_id.in_(owner_ids), spy.c.owner_id.in_(sessions), is_gone)
    query = select(*_COLUMNS).where(theirs, _LIVES).order_by(spy.c.id)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def list_spies_of_calls(
    tx: Connection, call_ids: Collection[str], *, live_only: bool = True
) -> tuple[SpyRecord, ...]:
    """Return the spies on these calls, oldest first."""
    query = select(*_COLUMNS).where(spy.c.call_id.in_(call_ids)).order_by(spy.c.id)
    if live_only:
        query = query.where(_LIVES)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def move_spy(tx: Connection, spy_id: UUID, *, to: SpyState, **columns: Any) -> SpyRecord | None:
    """Move a spy to a state, if its present state leads there; else return None.

    Compare-and-set: of two callers who move the same spy, one gets None. `to="ended"` needs
    `ended_at` and `cause`, and closes the span that is heard.
    """
    in_sources = spy.c.state.in_(states.sources_of(states.SPY_NEXT, to))
    if to == "ended":
        columns["unheard"] = False
    record = _change(tx, spy_id, in_sources, state=to, **columns)
    if record is None:
        return None
    if record.ended_at is not None:
        record = close_heard(tx, spy_id, at=record.ended_at) or record
    _tell(tx, f"spy.{to}", record)
    return record


def set_mode(tx: Connection, spy_id: UUID, mode: Mode) -> SpyRecord | None:
    """Set the mode that the supervisor wants, in which nobody is known yet not to hear.

    Return None if the spy has ended.
    """
    changed = _change(tx, spy_id, _LIVES & (spy.c.mode != mode), mode=mode, unheard=False)
    if changed is None:
        return _find(tx, spy.c.id == spy_id, _LIVES)
    _tell(tx, "spy.switched", changed)
    return changed


def set_call(tx: Connection, spy_id: UUID, call_id: str) -> SpyRecord | None:
    """Set the call that the spy is on. Return None if the spy has ended."""
    changed = _change(tx, spy_id, _LIVES & (spy.c.call_id != call_id), call_id=call_id)
    if changed is None:
        return _find(tx, spy.c.id == spy_id, _LIVES)
    _tell(tx, "spy.moved", changed)
    return changed


def set_agent(tx: Connection, spy_id: UUID, agent: str) -> SpyRecord | None:
    """Set the agent that the spy follows. Return None if it has an agent already, or has ended."""
    return _change(tx, spy_id, _LIVES & spy.c.agent.is_(None), agent=agent)


def set_may(tx: Connection, spy_id: UUID, may: Collection[Mode]) -> SpyRecord | None:
    """Set the modes that the supervisor may use now. Return None if the spy has ended."""
    return _change(tx, spy_id, _LIVES, may=list(may))


def set_unheard(tx: Connection, spy_id: UUID, *, unheard: bool) -> SpyRecord | None:
    """Note whether nobody hears the supervisor who talks; harmless to repeat.

    Return None if the spy has ended, or has switched to listening.
    """
    talks = _LIVES & (spy.c.mode != "listen")
    changed = _change(tx, spy_id, talks & spy.c.unheard.is_(not unheard), unheard=unheard)
    if changed is None:
        return _find(tx, spy.c.id == spy_id, talks)
    _tell(tx, "spy.unheard" if unheard else "spy.heard-again", changed)
    return changed


def open_heard(tx: Connection, spy_id: UUID, *, at: datetime, call_id: str) -> SpyRecord | None:
    """Open a span in which the supervisor hears this call; harmless to repeat. Return None if the
    spy has ended."""
    record = _find(tx, spy.c.id == spy_id, _LIVES, lock=True)
    if record is None:
        return None
    last = record.heard[-1] if record.heard else None
    if last is not None and last.to_at is None and last.call_id == call_id:
        return record
    return _set_heard(tx, record, (*_closed(record.heard, at), Heard(at, None, call_id)))


def close_heard(tx: Connection, spy_id: UUID, *, at: datetime) -> SpyRecord | None:
    """Close the open span, but not before its start; harmless to repeat.

    Return None if there is no such spy.
    """
    record = _find(tx, spy.c.id == spy_id, lock=True)
    return _set_heard(tx, record, _closed(record.heard, at)) if record is not None else None


def touch_spy(tx: Connection, spy_id: UUID, at: datetime) -> None:
    """Note that the page of the spy is connected."""
    tx.execute(update(spy).where(spy.c.id == spy_id).values(seen_at=at))


def _closed(heard: tuple[Heard, ...], at: datetime) -> tuple[Heard, ...]:
    if not heard or heard[-1].to_at is not None:
        return heard
    return (*heard[:-1], replace(heard[-1], to_at=max(heard[-1].from_at, at)))


def _set_heard(tx: Connection, record: SpyRecord, heard: tuple[Heard, ...]) -> SpyRecord:
    if heard != record.heard:
        rows = [_heard_row(span) for span in heard]
        tx.execute(update(spy).where(spy.c.id == record.id).values(heard=rows))
    return replace(record, heard=heard)


def _change(
    tx: Connection, spy_id: UUID, condition: ColumnElement[bool], **columns: Any
) -> SpyRecord | None:
    """Change the spy if the condition holds; else return None."""
    statement = update(spy).where(spy.c.id == spy_id, condition).values(**columns)
    row = tx.execute(statement.returning(*_COLUMNS)).mappings().one_or_none()
    return _record(row) if row is not None else None


def _find(tx: Connection, *conditions: ColumnElement[bool], lock: bool = False) -> SpyRecord | None:
    query = select(*_COLUMNS).where(*conditions)
    if lock:
        query = query.with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return _record(row) if row is not None else None


def _seen_by(
    agents: Collection[str] | None, maker_id: UUID | None
) -> tuple[ColumnElement[bool], ...]:
    """Build the conditions for spies on calls of these agents, and for the own spies of the
    supervisor."""
    if agents is None:
        return ()
    # Looks up the call of each spy; IN (SELECT …) would read all calls of the agents.
    agent = select(call.c.agent).where(call.c.id == spy.c.call_id).scalar_subquery()
    own = [spy.c.maker_id == maker_id] if maker_id is not None else []
    return (or_(agent.in_(agents), *own),)


def _tell(tx: Connection, type_: str, record: SpyRecord) -> None:
    agent = select(call.c.agent).where(call.c.id == record.call_id)
    events.add_event(tx, type_, _facts(record), agent=tx.scalar(agent), owner_id=record.maker_id)


def _facts(record: SpyRecord) -> dict[str, Any]:
    """Build the data of an event about a spy."""
    names = (
        *("call_id", "pbx", "state", "mode", "destination", "follow", "supervisor", "cause"),
        "unheard",
    )
    return {"id": str(record.id)} | {name: getattr(record, name) for name in names}


def _row(record: SpyRecord) -> dict[str, Any]:
    return {
        **asdict(record),
        "may": list(record.may),
        "heard": [_heard_row(span) for span in record.heard],
    }


def _heard_row(span: Heard) -> dict[str, str | None]:
    to_at = span.to_at.isoformat() if span.to_at else None
    return {"from_at": span.from_at.isoformat(), "to_at": to_at, "call_id": span.call_id}


def _record(row: RowMapping) -> SpyRecord:
    heard = tuple(_heard(span) for span in row["heard"])
    return SpyRecord(**{**row, "may": tuple(row["may"]), "heard": heard})


def _heard(row: Mapping[str, Any]) -> Heard:
    to_at = datetime.fromisoformat(row["to_at"]) if row["to_at"] else None
    return Heard(datetime.fromisoformat(row["from_at"]), to_at, row["call_id"])
