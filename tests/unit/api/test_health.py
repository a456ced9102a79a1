"""The state of a PBX."""

from datetime import UTC, datetime, timedelta

import pytest

from api.health import pbx_state
from storage.records import PbxRecord

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "age_s", "state"),
    [
        ("main", 0, "connected"),
        ("main", 20, "connected"),
        ("main", 21, "unwatched"),
        ("other", 0, "unwatched"),
    ],
)
def test_a_watchers_state_counts_for_20_s(name: str, age_s: float, state: str) -> None:
    """A watcher's state counts for 20 s; after that the PBX is unwatched."""
    known = [PbxRecord("main", "connected", "", "22.1", NOW - timedelta(seconds=age_s))]
    assert pbx_state(name, known, NOW) == state
