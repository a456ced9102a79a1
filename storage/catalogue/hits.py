"""How often something was tried, counted for all processes: by a key, until it expires.

A key may hold what people type, so it is kept as its SHA-256.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from storage.catalogue.digest import digest_of
from storage.schema import hits


def add_hits(tx: Connection, key: str, *, amount: int, lasts: timedelta) -> int:
    """Count them, and say how many there are; the first one says when all expire."""
    row = {"sha256": digest_of(key), "counted": amount, "expires_at": datetime.now(UTC) + lasts}
    added = insert(hits).values(row)
    is_over = hits.c.expires_at <= func.now()
    changed = {
        "counted": case((is_over, amount), else_=hits.c.counted + amount),
        "expires_at": case((is_over, added.excluded.expires_at), else_=hits.c.expires_at),
    }
    upsert = added.on_conflict_do_update(index_elements=[hits.c.sha256], set_=changed)
    counted = tx.scalar(upsert.returning(hits.c.counted))
    _delete_expired(tx)
    return int(counted or 0)


def find_hits(tx: Connection, key: str) -> tuple[int, datetime] | None:
    """How many there are, and until when; None where there are none."""
    mine = (hits.c.sha256 == digest_of(key), hits.c.expires_at > func.now())
    row = tx.execute(select(hits.c.counted, hits.c.expires_at).where(*mine)).one_or_none()
    return (row.counted, row.expires_at) if row is not None else None


def delete_hits(tx: Connection, key: str | None = None) -> int:
    """Forget those of a key, or all; how many keys that were."""
    mine = [] if key is None else [hits.c.sha256 == digest_of(key)]
    return tx.execute(delete(hits).where(*mine)).rowcount


def _delete_expired(tx: Connection) -> None:
    """What another process deletes at this moment is left to it: nobody waits for anybody."""
    over = select(hits.c.sha256).where(hits.c.expires_at <= func.now())
    locked = over.with_for_update(skip_locked=True)
    tx.execute(delete(hits).where(hits.c.sha256.in_(locked)))
