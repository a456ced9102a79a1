"""Calls that we set up: their rows and states.

A dial has one event, `call.dial-changed`, with the id of its call. Write a dial in the transaction
of its call.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import jobs, states
from storage.catalogue import events
from storage.catalogue.idempotency import KEPT_FOR
from storage.errors import NoSuchDial
from storage.records import DialCause, DialRecord, DialState, shallow
from storage.schema import dial

# A literal, not a parameter: else PostgreSQL does not use the indexes of live dials.
_LIVES = dial.c.state != literal_column("'ended'")


def create_dial(tx: Connection, record: DialRecord) -> bool:
    """Create a dial in the state `requested`, before we send any request to the PBX.

    Return False, and create nothing, while its phone has another live dial, or where another dial
    has its key. Of two transactions that want one phone, the second waits for the first.
    """
    statement = insert(dial).values(shallow(record)).on_conflict_do_nothing()
    return tx.execute(statement.returning(dial.c.id)).one_or_none() is not None


def find_dial(tx: Connection, dial_id: UUID) -> DialRecord | None:
    """Return the dial of this id, or None."""
    return _find(tx, dial.c.id == dial_id)


def get_dial(tx: Connection, dial_id: UUID) -> DialRecord:
    """Return the dial of this id. Raises NoSuchDial."""
    record = find_dial(tx, dial_id)
    if record is None:
        raise NoSuchDial(f"there is no dialled call {dial_id}")
    return record


def find_dial_by_key(tx: Connection, key: str) -> DialRecord | None:
    """Return the dial with this key, unless it is so old that the key may be used again."""
    before = datetime.now(UTC) - KEPT_FOR
    outdated = (dial.c.key == key) & (dial.c.requested_at < before)
    tx.execute(update(dial).where(outdated).values(key=None))
    return _find(tx, dial.c.key == key)


def map_dials_of_calls(tx: Connection, call_ids: Collection[str]) -> dict[str, DialRecord]:
    """Return the dials of these calls, by the id of the call."""
    rows = tx.execute(select(dial).where(dial.c.call_id.in_(call_ids))).mappings()
    return {row["call_id"]: _record(row) for row in rows}


def list_live_dials(tx: Connection, pbx: str) -> tuple[DialRecord, ...]:
    """Return every dial of this PBX that has not ended, oldest first."""
    query = select(dial).where(dial.c.pbx == pbx, _LIVES).order_by(dial.c.id)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def list_dials(
    tx: Connection,
    *,
    callback_id: UUID | None = None,
    campaign_id: UUID | None = None,
    entry_id: UUID | None = None,
    limit: int = 200,
) -> tuple[DialRecord, ...]:
    """Return the newest dials of a call-back, a campaign or an entry of one, newest first."""
    wanted = {"callback_id": callback_id, "campaign_id": campaign_id, "entry_id": entry_id}
    where = [dial.c[name] == value for name, value in wanted.items() if value is not None]
    query = select(dial).where(*where).order_by(dial.c.id.desc()).limit(limit)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def map_newest_of_entries(tx: Connection, entry_ids: Collection[UUID]) -> dict[UUID, DialRecord]:
    """Return the newest dial of each of these entries of campaigns, by the id of the entry."""
    query = select(dial).where(dial.c.entry_id.in_(entry_ids)).order_by(dial.c.id)
    return {row["entry_id"]: _record(row) for row in tx.execute(query).mappings()}


def list_live_numbers(tx: Connection) -> frozenset[str]:
    """Return the numbers of all dials that have not ended."""
    return frozenset(tx.scalars(select(dial.c.number).where(_LIVES)))


def list_live_phones(tx: Connection, pbx: str) -> frozenset[str]:
    """Return the phones of a PBX whose dials have not ended."""
    return frozenset(tx.scalars(select(dial.c.phone).where(dial.c.pbx == pbx, _LIVES)))


def is_dialled(tx: Connection, number: str, *, besides: UUID | None = None) -> bool:
    """Return whether a live dial, besides this one, dials the number."""
    query = select(dial.c.id).where(dial.c.number == number, _LIVES, dial.c.id != besides)
    return tx.execute(query.limit(1)).one_or_none() is not None


def move_dial(
    tx: Connection, dial_id: UUID, *, to: DialState, cause: DialCause | None = None, **columns: Any
) -> DialRecord | None:
    """Move a dial to a state, if its present state leads there; else return None.

    Compare-and-set: of two callers who move the same dial, one gets None. `to="ended"` needs a
    cause; it defers the next step of the call-back or of the campaign that wanted the call.
    """
    if to == "ended":
        columns = {"ended_at": datetime.now(UTC), "cause": cause} | columns
    where = (dial.c.id == dial_id, dial.c.state.in_(states.sources_of(states.DIAL_NEXT, to)))
    statement = update(dial).where(*where).values(state=to, **columns).returning(dial)
    row = tx.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    record = _record(row)
    _tell(tx, record)
    if to == "ended":
        _defer_step(tx, "callback", record.callback_id)
        _defer_step(tx, "campaign", record.campaign_id)
    return record


def free_key(tx: Connection, dial_id: UUID) -> None:
    """Let another dial have the key of this one, which never rang."""
    tx.execute(update(dial).where(dial.c.id == dial_id).values(key=None))


def _tell(tx: Connection, record: DialRecord) -> None:
    data = {"id": record.call_id, "pbx": record.pbx, "dial": record.state, "cause": record.cause}
    wanted_by = {"callback_id": record.callback_id, "campaign_id": record.campaign_id}
    data |= {"phone": record.phone, "number": record.number}
    data |= {name: str(id_) for name, id_ in wanted_by.items() if id_ is not None}
    events.add_event(tx, "call.dial-changed", data, agent=record.agent)


def _defer_step(tx: Connection, kind: str, id_: UUID | None) -> None:
    """Defer `callback_step` or `campaign_step`, also while one runs: it may have read before us."""
    if id_ is not None:
        named: dict[str, Any] = {f"{kind}_id": str(id_)}
        jobs.defer(tx, f"{kind}_step", lock=str(id_), queue=jobs.DIALLING, **named)


def _find(tx: Connection, condition: ColumnElement[bool]) -> DialRecord | None:
    row = tx.execute(select(dial).where(condition)).mappings().one_or_none()
    return _record(row) if row is not None else None


def _record(row: RowMapping | Mapping[str, Any]) -> DialRecord:
    return DialRecord(**row)
