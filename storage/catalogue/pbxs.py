"""The last known state of each PBX, shared by all processes."""

from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from storage.records import PbxRecord
from storage.schema import pbx


def save_pbx(tx: Connection, record: PbxRecord) -> None:
    """Save the PBX's state; keep the known version while the PBX is away."""
    values = {
        "name": record.name,
        "state": record.state,
        "detail": record.detail,
        "version": record.version,
        "seen_at": record.seen_at,
    }
    statement = insert(pbx).values(values)
    if not record.version:
        del values["version"]
    tx.execute(statement.on_conflict_do_update(index_elements=[pbx.c.name], set_=values))


def touch_pbx(tx: Connection, name: str, seen_at: datetime) -> None:
    """Note that the watcher of the PBX is alive, whatever the state of the PBX."""
    tx.execute(pbx.update().where(pbx.c.name == name).values(seen_at=seen_at))


def list_pbxs(tx: Connection) -> tuple[PbxRecord, ...]:
    """Return every PBX that was ever watched, by name."""
    return tuple(PbxRecord(**row._mapping) for row in tx.execute(select(pbx).order_by(pbx.c.name)))
