"""Things done to many recordings at once, and how far they are."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, cast, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from uuid_utils.compat import uuid7

from storage import jobs
from storage.errors import NoSuchBulk
from storage.records import BulkAction, BulkRecord, shallow
from storage.schema import bulk

_COLUMNS = [bulk.c[field.name] for field in fields(BulkRecord)]


def create_bulk(
    tx: Connection,
    *,
    action: BulkAction,
    arguments: Mapping[str, Any],
    recordings: Collection[UUID],
    by: str,
) -> BulkRecord:
    """Write down what is to be done, and have a worker do it."""
    now = datetime.now(UTC)
    made = BulkRecord(uuid7(), action, arguments, tuple(recordings), "waiting", by, now)
    row = shallow(made) | {"recordings": list(recordings), "refused": []}
    tx.execute(insert(bulk).values(row))
    jobs.defer(tx, "bulk", lock=str(made.id), queue=jobs.SLOW, bulk_id=str(made.id))
    return made


def get_bulk(tx: Connection, bulk_id: UUID, *, by: str | None = None) -> BulkRecord:
    """The one of this id, if this one has asked for it (None: whoever has). Raises NoSuchBulk."""
    query = select(*_COLUMNS).where(bulk.c.id == bulk_id)
    if by is not None:
        query = query.where(bulk.c.created_by == by)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NoSuchBulk(f"there is no bulk {bulk_id}")
    return _record(row)


def list_bulks(tx: Connection, *, by: str, limit: int) -> tuple[BulkRecord, ...]:
    """What this one has asked for, newest first."""
    query = select(*_COLUMNS).where(bulk.c.created_by == by).order_by(bulk.c.id.desc())
    return tuple(_record(row) for row in tx.execute(query.limit(limit)).mappings())


def list_exports_before(tx: Connection, at: datetime) -> tuple[BulkRecord, ...]:
    """The exports that ended before this time, and are still kept."""
    query = select(*_COLUMNS).where(bulk.c.object_key.is_not(None), bulk.c.ended_at < at)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def set_bulk(tx: Connection, bulk_id: UUID, **columns: Any) -> None:
    """Say how far it is."""
    tx.execute(update(bulk).where(bulk.c.id == bulk_id).values(columns))


def note_progress(
    tx: Connection, bulk_id: UUID, *, done: int, refused: Collection[Mapping[str, str]]
) -> None:
    """So many were worked on by now; with these it could not be done."""
    more = bulk.c.refused.op("||")(cast(list(refused), JSONB))
    set_bulk(tx, bulk_id, state="running", done=done, refused=more)


def _record(row: RowMapping) -> BulkRecord:
    lists = {"recordings": tuple(row["recordings"]), "refused": tuple(row["refused"])}
    return BulkRecord(**{**row, **lists})
