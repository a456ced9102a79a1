"""The decisions of the rules about each call, with their reasons."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from storage.catalogue import calls, events
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.rows import excluded, insert_rows
from storage.records import Assurance, CallRecord, DecisionRecord, Slice, shallow
from storage.schema import call, decision

# A long call can be evaluated for ever: keep only so many moments.
MOST_MOMENTS = 100
_REPLACED = ("action", "rule", "reason", "as_of")
_COLUMNS = [column for column in decision.columns if column is not decision.c.assurance]
_CAUSE = decision.c.assurance["cause"].astext


def save_decisions(tx: Connection, records: Iterable[DecisionRecord]) -> None:
    """Save decisions; append their moments to the older ones, and drop the oldest of too many.

    Write in the order of the ids, so that two writers cannot deadlock.
    """
    rows = [_row(record) for record in sorted(records, key=lambda record: record.call_id)]
    if not rows:
        return
    statement = insert_rows(decision, rows)
    replaced: dict[str, Any] = {name: excluded(decision)[name] for name in _REPLACED}
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[decision.c.call_id],
            set_=replaced | {"moments": _with_room().op("||")(excluded(decision).moments)},
        )
    )


def _with_room() -> ColumnElement[Any]:
    """Return the saved moments, without the oldest one if there is no room for another."""
    full = func.jsonb_array_length(decision.c.moments) >= MOST_MOMENTS
    return case((full, decision.c.moments.op("-")(0)), else_=decision.c.moments)


def add_announced(tx: Connection, call_id: str, channel_ids: Iterable[str]) -> None:
    """Note that the parties on these channels heard the announcement."""
    announced = func.array_cat(decision.c.announced, cast(list(channel_ids), ARRAY(Text)))
    tx.execute(update(decision).where(decision.c.call_id == call_id).values(announced=announced))


def find_decision(tx: Connection, call_id: str) -> DecisionRecord | None:
    """Return the decision about this call, or None if the rules were never evaluated."""
    return next(iter(list_decisions(tx, [call_id])), None)


def list_decisions(
    tx: Connection, call_ids: Iterable[str], *, with_moments: bool = True
) -> tuple[DecisionRecord, ...]:
    """Return the decisions about these calls; `with_moments=False` leaves out their moments."""
    columns = _COLUMNS if with_moments else [one for one in _COLUMNS if one.name != "moments"]
    query = select(*columns).where(decision.c.call_id.in_(list(call_ids)))
    return tuple(_record({"moments": (), **row}) for row in tx.execute(query).mappings())


def list_unassured(
    tx: Connection, pbx: str, *, ended_before: datetime, limit: int
) -> tuple[str, ...]:
    """Return the ended calls of the PBX that were not compared with their recordings yet.

    Leave out a call while another that it met has not ended.
    """
    met = call.alias("met")
    goes_on = or_(met.c.ended_at.is_(None), met.c.ended_at >= ended_before)
    lives = select(met.c.id).where(met.c.id == any_(call.c.met), goes_on).exists()
    query = (
        select(call.c.id)
        .join(decision, decision.c.call_id == call.c.id)
        .where(decision.c.assurance.is_(None), call.c.pbx == pbx, call.c.ended_at < ended_before)
        .where(~lives)
        .order_by(call.c.ended_at)
        .limit(limit)
    )
    return tuple(tx.scalars(query))


def forget_assurance(tx: Connection, call_id: str) -> None:
    """Let the call, and those that it met, be compared with their recordings again."""
    met = select(func.unnest(call.c.met)).where(call.c.id == call_id)
    near = or_(decision.c.call_id == call_id, decision.c.call_id.in_(met))
    tx.execute(update(decision).where(near).values(assurance=None))


def save_assurances(tx: Connection, found: Mapping[str, Assurance]) -> None:
    """Save the results of the comparisons, and add an event for each missing recording."""
    if not found:
        return
    statement = update(decision).where(decision.c.call_id == bindparam("id"))
    facts = {call_id: asdict(one) for call_id, one in found.items()}
    tx.execute(
        statement.values(assurance=bindparam("facts")),
        [{"id": call_id, "facts": row} for call_id, row in facts.items()],
    )
    for call_id in (call_id for call_id, one in found.items() if one.cause is not None):
        agent = tx.scalar(select(call.c.agent).where(call.c.id == call_id))
        missing = {"call_id": call_id, **facts[call_id]}
        events.add_event(tx, "recording.missing", missing, agent=agent)


def list_missing(
    tx: Connection,
    *,
    limit: int,
    cursor: str | None = None,
    agents: Collection[str] | None = None,
) -> Slice[tuple[CallRecord, Assurance]]:
    """Return a slice of the ended calls whose recording is missing or short, newest first."""
    query = select(call, decision.c.assurance).join(decision, decision.c.call_id == call.c.id)
    query = query.where(_CAUSE.is_not(None))
    if agents is not None:
        query = query.where(call.c.agent.in_(agents))
    if cursor is not None:
        started_at, call_id = decode_cursor(cursor, datetime.fromisoformat, str)
        query = query.where(tuple_(call.c.started_at, call.c.id) < tuple_(started_at, call_id))
    query = query.order_by(call.c.started_at.desc(), call.c.id.desc()).limit(limit + 1)
    rows = [dict(row) for row in tx.execute(query).mappings()]
    found = [(Assurance(**row.pop("assurance")), calls.parse_call(row)) for row in rows]
    items = [(record, missing) for missing, record in found]
    return slice_of(items, limit, lambda one: (one[0].started_at.isoformat(), one[0].id))


def count_missing(tx: Connection) -> int:
    """Count the ended calls whose recording is missing or short."""
    query = select(func.count()).select_from(decision).where(_CAUSE.is_not(None))
    return tx.scalar(query) or 0


def _row(record: DecisionRecord) -> dict[str, Any]:
    lists = {"moments": list(record.moments), "announced": list(record.announced)}
    return {**shallow(record), **lists}


def _record(row: Mapping[str, Any]) -> DecisionRecord:
    lists = {"moments": tuple(row["moments"]), "announced": tuple(row["announced"])}
    return DecisionRecord(**{**row, **lists})
