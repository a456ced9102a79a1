"""Counters of attempts, shared by all processes; each has a key and an expiry.

A key may hold a text that a person typed, so only its SHA-256 is stored.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from storage.catalogue.digest import digest_of
from storage.schema import hits


def add_hits(tx: Connection, key: str, *, amount: int, lasts: timedelta) -> int:
    """Add to a counter, and return its value; the first hit sets when the counter expires."""
    row = {"sha256": digest_of(key), "counted": amount, "expires_at": datetime.now(UTC) + lasts}
    added = insert(hits).values(row)
    is_over = hits.c.expires_at <= func.now()
    changed = {
        "counted": case((is_over, amount), else_=hits.c.counted + amount),
        "expires_at": case((is_over, added.excluded.expires_at), else_=hits.c.expires_at),
    }
    upsert = added.on_conflict_do_update(index_elements=[hits.c.sha256], set_=changed)
    counted = tx.scalar(upsert.returning(hits.c.counted))
    # Skip the counters that another process deletes now, and do not wait for it.
    expired = select(hits.c.sha256).where(hits.c.expires_at <= func.now())
    expired = expired.with_for_update(skip_locked=True)
    tx.execute(delete(hits).where(hits.c.sha256.in_(expired)))
    return int(counted or 0)


def find_hits(tx: Connection, key: str) -> tuple[int, datetime] | None:
    """Return the value of a counter and its expiry, or None."""
    mine = (hits.c.sha256 == digest_of(key), hits.c.expires_at > func.now())
    row = tx.execute(select(hits.c.counted, hits.c.expires_at).where(*mine)).one_or_none()
    return (row.counted, row.expires_at) if row is not None else None


def delete_hits(tx: Connection, key: str | None = None) -> int:
    """Delete the counter of a key, or all; return their number."""
    mine = [] if key is None else [hits.c.sha256 == digest_of(key)]
    return tx.execute(delete(hits).where(*mine)).rowcount
