"""How much is kept, and the few among millions that are not stored."""

import json
from datetime import UTC, datetime, timedelta

from api_client import build_recording
from sqlalchemy import text

from storage.catalogue import figures, recordings
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import RecordingFilter

FILL = """
INSERT INTO recording (id, call_id, pbx, state, trigger, layout, format, pause_leaves, direction,
    tags, started_at, duration_s, size_bytes)
SELECT gen_random_uuid(), 'main-' || n, 'main', 'stored', 'rule', 'dual', 'opus', 'silence',
    'inbound', '{}', timestamptz '2020-01-01', 10, 1000
FROM generate_series(1, 30000) AS n
"""


def test_figures(catalogue: Catalogue) -> None:
    """All are counted, those of the day summed up, those that wait known by their oldest."""
    now = datetime.now(UTC)
    today = {"state": "stored", "started_at": now, "size_bytes": 1000, "duration_s": 10.0}
    with catalogue.begin() as tx:
        for fields in (today, today, {**today, "started_at": now - timedelta(days=2)}):
            recordings.create_recording(tx, build_recording(**fields))
        for age_s in (60, 3600):
            ended = now - timedelta(seconds=age_s)
            record = build_recording(state="captured", started_at=None, ended_at=ended)
            recordings.create_recording(tx, record)
        found = figures.read_figures(tx)
    assert (found.recordings, found.is_estimate) == (5, False)
    assert (found.day_recordings, found.day_bytes, found.day_s) == (2, 2000, 20.0)
    assert (found.waiting, found.waiting_since) == (2, now - timedelta(seconds=3600))


def test_many(catalogue: Catalogue) -> None:
    """Of very many the number is an estimate; those that failed are found without a look at all."""
    with catalogue.begin() as tx:
        tx.execute(text(FILL))
        tx.execute(text("ANALYZE recording"))
        failed = build_recording(state="failed")
        recordings.create_recording(tx, failed)
    with catalogue.begin() as tx:
        found = figures.read_figures(tx)
        page = recordings.list_recordings(tx, RecordingFilter(state="failed"), limit=20)
        query = "SELECT id FROM recording WHERE state = 'failed' ORDER BY id DESC LIMIT 20"
        plan = json.dumps(tx.scalar(text(f"EXPLAIN (FORMAT JSON) {query}")))
    assert found.is_estimate
    assert 29_000 < found.recordings < 31_000
    assert [one.id for one in page.items] == [failed.id]
    assert "recording_unusual_idx" in plan
