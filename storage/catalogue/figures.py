"""Figures about all recordings, cheap even among millions."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, literal_column, select, text

from storage.records import StorageFigures
from storage.schema import recording

# Estimate a higher number: to count a million takes half a second.
COUNTED = 10_000
DAY = timedelta(days=1)


def read_figures(tx: Connection) -> StorageFigures:
    """Read the figures of now."""
    columns = recording.c
    some = select(columns.id).limit(COUNTED + 1).subquery()
    counted = tx.scalar(select(func.count()).select_from(some)) or 0
    known = text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'recording'::regclass")
    estimate = int(tx.scalar(known) or 0) if counted > COUNTED else 0
    today = select(func.count(), func.sum(columns.size_bytes), func.sum(columns.duration_s)).where(
        columns.started_at > datetime.now(UTC) - DAY, columns.state == literal_column("'stored'")
    )
    count, size_bytes, duration_s = tx.execute(today).one()
    waiting = select(func.count(), func.min(columns.ended_at)).where(
        columns.state == literal_column("'captured'")
    )
    captured, since = tx.execute(waiting).one()
    return StorageFigures(
        recordings=max(counted, estimate),
        is_estimate=estimate > 0,
        day_recordings=count,
        day_bytes=int(size_bytes or 0),
        day_s=float(duration_s or 0),
        waiting=captured,
        waiting_since=since,
    )
