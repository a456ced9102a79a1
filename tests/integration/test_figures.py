"""Figures about millions of recordings, and the few that are not stored."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from api_client import build_recording
from sqlalchemy import Connection, text

from storage.catalogue import audit, calls, decisions, figures, recordings, spies
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import RecordingFilter
from storage.records import Slice

FILL = """
INSERT INTO recording (id, call_id, pbx, state, trigger, layout, format, pause_leaves, direction,
    tags, started_at, duration_s, size_bytes)
SELECT gen_random_uuid(), 'main-' || n, 'main', 'stored', 'rule', 'dual', 'opus', 'silence',
    'inbound', '{}', timestamptz '2020-01-01', 10, 1000
FROM generate_series(1, 30000) AS n
"""
FILL_THE_OTHERS = """
INSERT INTO call (id, pbx, state, direction, agent, started_at, channels)
SELECT 'main-' || n, 'main', 'ended', 'inbound', (2000 + n % 20)::text,
    timestamptz '2020-01-01' + n * interval '1 s', '[]' FROM generate_series(1, 30000) AS n;
INSERT INTO decision (call_id, action, reason, moments, assurance)
SELECT id, 'record', '', '[]', '{"expected_s": 9, "covered_s": 1, "cause": "has-gaps"}' FROM call;
INSERT INTO audit (id, at, actor_kind, actor, action, subject, outcome, detail)
SELECT gen_random_uuid(), started_at, 'token', 'root', 'recording.heard', id, 'done', '{}'
    FROM call;
INSERT INTO spy (id, call_id, pbx, mode, destination, state, supervisor, follow, may, started_at,
    cause)
SELECT gen_random_uuid(), id, 'main', 'listen', 'browser', 'ended', 'root', 'call', '{}',
    started_at, 'ended' FROM call;
ANALYZE
"""
READ = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"


def list_recordings(tx: Connection, *, limit: int, **narrowed: Any) -> Slice[Any]:
    """List recordings like the catalogue does, with the filter as keywords."""
    return recordings.list_recordings(tx, RecordingFilter(**narrowed), limit=limit)


def test_figures(catalogue: Catalogue) -> None:
    """The figures count all recordings, add up those of the day, and know the oldest that waits."""
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
    """A very large number is an estimate, and failed recordings are found without reading all
    rows."""
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


@pytest.fixture(scope="module")
def many(catalogue: Catalogue) -> None:
    """Write many calls of a few agents, with recordings, spies and audit entries."""
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM recording"))
        tx.execute(text(FILL))
        tx.execute(text(FILL_THE_OTHERS))


@pytest.mark.parametrize(
    "find",
    [
        partial(calls.list_calls, states=["ended"], agents=["2999"]),
        partial(decisions.list_missing, agents=["2999"]),
        partial(audit.list_audit, actor="nobody"),
        partial(audit.list_audit, actor_kind="link"),
        partial(audit.list_audit, action="token.create"),
        partial(audit.list_audit, outcome="refused"),
        partial(list_recordings, did="4711"),
        partial(list_recordings, rule="rare"),
    ],
)
def test_an_empty_search_is_fast(
    catalogue: Catalogue, many: None, find: Callable[..., Slice[Any]]
) -> None:
    """A search without results reads next to no row of millions."""
    with catalogue.begin() as tx:
        tx.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))  # not counted
        before = tx.scalar(text(READ))
        assert find(tx, limit=50).items == ()
        assert tx.scalar(text(READ)) - before < 500


def test_spies_are_found_by_their_own_calls(catalogue: Catalogue, many: None) -> None:
    """Neither a spy nor a list of spies reads all calls of a team."""
    agents, boss = [str(2000 + n) for n in range(10)], UUID(int=1)
    with catalogue.begin() as tx:
        before = tx.scalar(text(READ))
        page = spies.list_spies(tx, states=["ended"], limit=50, agents=agents, maker_id=boss)
        first = page.items[0]
        assert spies.get_spy(tx, first.id, agents=agents, maker_id=boss) == first
        assert tx.scalar(text(READ)) - before < 1000
