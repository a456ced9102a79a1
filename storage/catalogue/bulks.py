"""Bulks: one action on many recordings, and its progress."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    RowMapping,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from uuid_utils.compat import uuid7

from storage import jobs
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.rights import Rights
from storage.errors import NoSuchBulk
from storage.permissions import BULK_ACTIONS, RECORDINGS_READ
from storage.records import BulkAction, BulkRecord, Slice
from storage.schema import bulk, recording

UNFINISHED = ("waiting", "running")
# A record holds the first 100 refusals; the database counts them all.
_FIRST = "$[0 to 99]"
_COMPUTED = {
    "total": func.cardinality(bulk.c.recordings),
    "refused": func.jsonb_path_query_array(bulk.c.refused, text(f"'{_FIRST}'")),
    "refused_total": func.jsonb_array_length(bulk.c.refused),
}
_COLUMNS = [
    _COMPUTED[field.name].label(field.name) if field.name in _COMPUTED else bulk.c[field.name]
    for field in fields(BulkRecord)
]


def create_bulk(
    tx: Connection,
    *,
    action: BulkAction,
    arguments: Mapping[str, Any],
    recordings: Collection[UUID],
    by: str,
    owner_id: UUID,
) -> BulkRecord:
    """Create a bulk and ask a worker to run it."""
    made = BulkRecord(
        uuid7(),
        action,
        arguments,
        len(recordings),
        "waiting",
        by,
        datetime.now(UTC),
        owner_id=owner_id,
    )
    kept = ("id", "action", "arguments", "state", "created_by", "created_at", "owner_id")
    row = {name: getattr(made, name) for name in kept} | {"recordings": list(recordings)}
    tx.execute(insert(bulk).values(row))
    jobs.defer(tx, "bulk", lock=str(made.id), queue=jobs.SLOW, bulk_id=str(made.id))
    return made


def get_bulk(tx: Connection, bulk_id: UUID, *, owner_id: UUID | None = None) -> BulkRecord:
    """Return the bulk of this id if it belongs to this owner (None: to anybody). Raises
    NoSuchBulk."""
    query = select(*_COLUMNS).where(bulk.c.id == bulk_id)
    if owner_id is not None:
        query = query.where(bulk.c.owner_id == owner_id)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NoSuchBulk(f"there is no bulk {bulk_id}")
    return _record(row)


def get_recordings(tx: Connection, bulk_id: UUID) -> tuple[UUID, ...]:
    """Return the ids of the recordings of a bulk."""
    return tuple(tx.scalar(select(bulk.c.recordings).where(bulk.c.id == bulk_id)) or ())


def has_hidden(tx: Connection, bulk_id: UUID, agents: Collection[str] | None) -> bool:
    """Return whether a bulk is about a recording of others than these agents (None: all agents).

    The recordings that it has refused do not count: a ZIP does not have them.
    """
    if agents is None:
        return False
    refused = func.jsonb_path_query_array(bulk.c.refused, text("'$[*].id'"), type_=JSONB)
    among = select(func.unnest(bulk.c.recordings)).where(bulk.c.id == bulk_id)
    is_refused = exists().where(bulk.c.id == bulk_id, refused.has_key(cast(recording.c.id, Text)))
    others = or_(recording.c.agent.is_(None), recording.c.agent.not_in(agents))
    query = select(exists().where(recording.c.id.in_(among), others, ~is_refused))
    return bool(tx.scalar(query))


def list_bulks(
    tx: Connection, *, owner_id: UUID, limit: int, cursor: str | None = None
) -> Slice[BulkRecord]:
    """Return a slice of the bulks of this owner, newest first."""
    query = select(*_COLUMNS).where(bulk.c.owner_id == owner_id)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(bulk.c.id < before)
    query = query.order_by(bulk.c.id.desc()).limit(limit + 1)
    found = [_record(row) for row in tx.execute(query).mappings()]
    return slice_of(found, limit, lambda one: (str(one.id),))


def list_unfinished_of(tx: Connection, owner_id: UUID) -> tuple[BulkRecord, ...]:
    """Return the bulks of this owner that wait or run, oldest first."""
    unfinished = bulk.c.state.in_(UNFINISHED)
    query = select(*_COLUMNS).where(bulk.c.owner_id == owner_id, unfinished).order_by(bulk.c.id)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def list_exports_before(tx: Connection, at: datetime) -> tuple[BulkRecord, ...]:
    """Return the exports that ended before this time and still have their ZIP."""
    query = select(*_COLUMNS).where(bulk.c.object_key.is_not(None), bulk.c.ended_at < at)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def drop_bulks(tx: Connection, before: datetime) -> None:
    """Forget the bulks that ended before this time, except those with a ZIP or a job to retry."""
    has_no_job = text("NOT EXISTS (SELECT FROM procrastinate_jobs WHERE lock = bulk.id::text)")
    is_over = (bulk.c.ended_at < before, bulk.c.object_key.is_(None), has_no_job)
    tx.execute(delete(bulk).where(*is_over))


def set_bulk(tx: Connection, bulk_id: UUID, **columns: Any) -> None:
    """Change columns of a bulk."""
    tx.execute(update(bulk).where(bulk.c.id == bulk_id).values(columns))


def change_unfinished(tx: Connection, bulk_id: UUID, **columns: Any) -> bool:
    """Change columns of a bulk that waits or runs; return False if it has ended."""
    where = (bulk.c.id == bulk_id, bulk.c.state.in_(UNFINISHED))
    return tx.execute(update(bulk).where(*where).values(columns)).rowcount == 1


def note_progress(
    tx: Connection, bulk_id: UUID, *, done: int, refused: Collection[Mapping[str, str]]
) -> bool:
    """Save how many recordings are done, and add those that were refused.

    Return False if the bulk has ended.
    """
    more = bulk.c.refused.op("||")(cast(list(refused), JSONB))
    return change_unfinished(tx, bulk_id, state="running", done=done, refused=more)


def is_permitted(rights: Rights | None, record: BulkRecord) -> bool:
    """Whether the owner of these rights may do the action of the bulk, on visible recordings."""
    return rights is not None and rights.may(RECORDINGS_READ, *BULK_ACTIONS[record.action])


def _record(row: RowMapping) -> BulkRecord:
    return BulkRecord(**{**row, "refused": tuple(row["refused"])})
