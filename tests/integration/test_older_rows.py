"""Rows that an earlier version wrote, after the migration to this one."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from uuid_utils.compat import uuid7

from storage.catalogue import recordings
from storage.catalogue.engine import MIGRATIONS, Catalogue
from storage.catalogue.recordings import RecordingFilter

INSERT = """
INSERT INTO recording (id, call_id, pbx, state, reason, trigger, layout, format, pause_leaves,
    direction, caller_number, callee_number, agent, tags)
VALUES (:id, 'main-1.0', 'main', 'failed', :reason, 'rule', 'dual', 'opus', 'silence', 'inbound',
    :caller_number, :callee_number, :agent, '{}')
"""
OLDER: tuple[dict[str, Any], ...] = (
    {"reason": "the PBX holds no audio of this recording", "caller_number": "12025550123"}
    | {"callee_number": "2001", "agent": "2001"},
    {"reason": "the PBX burnt down", "caller_number": "2001", "callee_number": None}
    | {"agent": "2002"},
    {"reason": None, "caller_number": None, "callee_number": None, "agent": None},
)


@pytest.fixture(scope="module")
def older(database_url: str) -> Iterator[tuple[Catalogue, list[UUID]]]:
    """Write rows into the schema 0010, migrate; yield the catalogue and the ids of the rows."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    ids = [uuid7() for _ in OLDER]
    with closing(Catalogue(database_url)) as catalogue:
        with catalogue.begin() as tx:
            config.attributes["connection"] = tx
            command.upgrade(config, "0010")
            for id_, row in zip(ids, OLDER, strict=True):
                tx.execute(text(INSERT), {"id": id_, **row})
        catalogue.migrate()
        yield catalogue, ids


def test_an_older_reason_becomes_a_code(older: tuple[Catalogue, list[UUID]]) -> None:
    """A sentence that an earlier version stored gets its code, and any other one stays."""
    catalogue, ids = older
    with catalogue.begin() as tx:
        found = recordings.list_of_ids(tx, ids)
    assert [found[one].reason for one in ids] == ["no-audio-on-pbx", "the PBX burnt down", None]


def test_an_older_recording_is_found_by_its_ends_and_its_agent(
    older: tuple[Catalogue, list[UUID]],
) -> None:
    """A recording without parties is still found by its caller, its callee and its agent."""
    catalogue, (first, second, _) = older
    searches = {
        ("number", "0123"): [first],
        ("number", "2001"): [second, first],
        ("number", "2002"): [],
        ("agent", "2001"): [first],
        ("agent", "2002"): [second],
    }
    for (name, value), expected in searches.items():
        with catalogue.begin() as tx:
            page = recordings.list_recordings(tx, RecordingFilter(**{name: value}), limit=9)
        assert [one.id for one in page.items] == expected, (name, value)
