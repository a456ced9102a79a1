"""The catalogue on a real PostgreSQL: races, lists and transactions."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar, get_args
from uuid import UUID, uuid4

import pytest
from api_client import build_call, build_recording
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from earwitness.config import Config, Database
from earwitness.doctor import Finding, examine_database
from earwitness.embedded import EmbeddedPostgres, postgres
from recorder.work import tasks
from storage import jobs, states
from storage.catalogue import (
    audit,
    calls,
    engine,
    events,
    idempotency,
    pauses,
    recordings,
    segments,
    signing,
    tokens,
    users,
)
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import PEOPLE, RecordingFilter
from storage.errors import CatalogueUnavailable, IdempotencyKeyReused, LockTimeout
from storage.records import (
    CallRecord,
    Pause,
    PeoplePause,
    RecordingParty,
    RecordingRecord,
    SegmentRecord,
    Speaker,
)
from storage.schema import metadata
from tests.actors import ROOT
from tests.legs import leg

T = TypeVar("T")

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def keep(catalogue: Catalogue, **fields: Any) -> RecordingRecord:
    """Write a recording into the catalogue."""
    record = build_recording(**fields)
    with catalogue.begin() as tx:
        recordings.create_recording(tx, record)
    return record


def find(catalogue: Catalogue, record: RecordingRecord) -> RecordingRecord:
    with catalogue.begin() as tx:
        return recordings.get_recording(tx, record.id)


def segment(of: RecordingRecord, channel: str = "a", **more: Any) -> SegmentRecord:
    values = {
        "id": uuid7(),
        "recording_id": of.id,
        "channel_id": channel,
        "side": "left",
        "state": "requested",
        "name": "name",
        "started_at": NOW,
    }
    return SegmentRecord(**(values | more))


def side_by_side(catalogue: Catalogue, works: Sequence[Callable[[Connection], T]]) -> list[T]:
    """Run each work in a transaction of its own, all open at the same time; return the results."""
    opened = threading.Barrier(len(works), timeout=20)

    def run(work: Callable[[Connection], T]) -> T:
        with catalogue.begin() as tx:
            tx.execute(text("SELECT 1"))
            opened.wait()
            return work(tx)

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


# Races


def test_one_of_many_claims_a_leg(catalogue: Catalogue) -> None:
    """One of many processes that claim a leg at the same time gets it; other legs are free."""
    record = keep(catalogue)
    wanted = [segment(record) for _ in range(6)] + [segment(record, "b")]
    won = side_by_side(
        catalogue, [lambda tx, one=one: segments.claim_segment(tx, one) for one in wanted]
    )
    assert sum(won[:6]) == 1
    assert won[6]
    with catalogue.begin() as tx:
        kept = {one.id for one in segments.list_segments(tx, record.id)}
    assert kept == {one.id for one, mine in zip(wanted, won, strict=True) if mine}


def test_a_rolled_back_claim_does_not_count(catalogue: Catalogue) -> None:
    """A process that dies before its commit leaves the leg to the next one."""
    record = keep(catalogue)
    with catalogue.begin() as tx:
        assert segments.claim_segment(tx, segment(record))
        tx.rollback()
    with catalogue.begin() as tx:
        assert segments.claim_segment(tx, segment(record))


@pytest.mark.parametrize("end", ["finished", "lost"])
def test_a_leg_is_claimed_again_after_its_segment_ended(catalogue: Catalogue, end: str) -> None:
    """A leg has one running segment at a time, and any number in turn."""
    record, first = keep(catalogue), None
    for _ in range(3):
        first = segment(record)
        with catalogue.begin() as tx:
            assert segments.claim_segment(tx, first)
            assert not segments.claim_segment(tx, segment(record))
            assert segments.move_segment(tx, first.id, to=end, sources=segments.RUNNING)


def test_the_first_end_of_a_segment_is_believed(catalogue: Catalogue) -> None:
    """A segment ends once, and never before its start."""
    record = keep(catalogue)
    one = segment(record)
    with catalogue.begin() as tx:
        segments.claim_segment(tx, one)
        assert segments.end_segment(tx, one.id, at=at(-5), cause="finished")
        assert not segments.end_segment(tx, one.id, at=at(5), cause="stopped")
        (ended,) = segments.list_segments(tx, record.id)
    assert (ended.ended_at, ended.end_cause) == (NOW, "finished")


@pytest.mark.parametrize(
    ("noted", "then", "ended_s", "cause"),
    [
        ("stopped", "finished", 4, "stopped"),
        ("unobserved", "finished", 4, "finished"),
        ("pbx-lost", "finished", 5, "pbx-lost"),
        ("stopped", "unobserved", 5, "stopped"),
    ],
)
def test_the_time_of_the_pbx_replaces_our_note(
    catalogue: Catalogue, noted: str, then: str, ended_s: float, cause: str
) -> None:
    """Our note of an end is late by the way of our request; Asterisk's event has the true time."""
    record = keep(catalogue)
    one = segment(record)
    with catalogue.begin() as tx:
        segments.claim_segment(tx, one)
        segments.end_segment(tx, one.id, at=at(5), cause=noted)
        assert not segments.end_segment(tx, one.id, at=at(4), cause=then)
        (ended,) = segments.list_segments(tx, record.id)
    assert (ended.ended_at, ended.end_cause) == (at(ended_s), cause)


@pytest.mark.parametrize("target", sorted(states.NEXT))
@pytest.mark.parametrize("source", sorted(states.NEXT))
def test_a_recording_moves_as_the_states_allow(
    catalogue: Catalogue, source: str, target: str
) -> None:
    """Only a legal move changes the row, for every pair of states."""
    record = keep(catalogue, state=source)
    with catalogue.begin() as tx:
        moved = recordings.move(tx, record.id, to=target)
    allowed = target in states.NEXT[source]
    assert moved == (replace(record, state=target) if allowed else None)
    assert find(catalogue, record).state == (target if allowed else source)


def test_only_one_concurrent_move_succeeds(catalogue: Catalogue) -> None:
    """One wins when a call ends, a person discards and a job fails at the same time."""
    for _ in range(5):
        record = keep(catalogue, state="recording")
        targets = ["captured", "captured", "discarded", "discarded"]
        moved = side_by_side(
            catalogue,
            [lambda tx, to=to, id_=record.id: recordings.move(tx, id_, to=to) for to in targets],
        )
        (winner,) = [one for one in moved if one is not None]
        assert find(catalogue, record) == winner


def test_a_second_leg_does_not_end_a_pause(catalogue: Catalogue) -> None:
    """Only a `requested` recording begins: the second leg of a paused one changes nothing."""
    record = keep(catalogue, state="requested", started_at=None)
    with catalogue.begin() as tx:
        assert recordings.begin(tx, record.id, at=at(1))
        assert not recordings.begin(tx, record.id, at=at(2))
        recordings.open_pause(tx, record.id, at=at(3), by="ann")
        assert not recordings.begin(tx, record.id, at=at(4))
    paused = find(catalogue, record)
    assert (paused.state, paused.started_at) == ("paused", at(1))


def test_pauses_open_and_close(catalogue: Catalogue) -> None:
    """Each pause is one span with its author; a repeat changes nothing."""
    record = keep(catalogue, state="recording")
    with catalogue.begin() as tx:
        assert recordings.close_pause(tx, record.id, at=at(1)) is None
        assert recordings.open_pause(tx, record.id, at=at(1), by="ann") is not None
        assert recordings.open_pause(tx, record.id, at=at(2), by="ben") is None
        assert recordings.close_pause(tx, record.id, at=at(3.5)) is not None
        assert recordings.close_pause(tx, record.id, at=at(4)) is None
        recordings.open_pause(tx, record.id, at=at(5), by="ben")
    present = find(catalogue, record)
    assert present.state == "paused"
    assert present.pauses == (Pause(at(1), at(3.5), "ann"), Pause(at(5), None, "ben"))


def test_a_pause_never_ends_before_it_began(catalogue: Catalogue) -> None:
    """A call that ends before its pause, by the PBX's clock, leaves a pause of no length."""
    record = keep(catalogue, state="recording")
    with catalogue.begin() as tx:
        recordings.open_pause(tx, record.id, at=at(5), by="ann")
        recordings.close_pause(tx, record.id, at=at(4))
    assert find(catalogue, record).pauses == (Pause(at(5), at(5), "ann"),)


def test_past_pauses_of_people(catalogue: Catalogue) -> None:
    """The pauses of these people that touch a span are found, ended or not, and no others."""
    made = {
        name: PeoplePause(uuid7(), "past", (leg_id, "nobody"), at(from_s), "2001", to_at)
        for name, leg_id, from_s, to_at in [
            ("before", "past-a", 0, at(2)),
            ("into", "past-a", 1, at(4)),
            ("open", "past-b", 5, None),
            ("other", "past-c", 3, at(6)),
            ("after", "past-a", 8, at(9)),
        ]
    }
    with catalogue.begin() as tx:
        for pause in made.values():
            pauses.open_pause(tx, pause)
        found = pauses.list_pauses(tx, "past", ["past-a", "past-b"], from_at=at(2), to_at=at(8))
        assert found == (made["into"], made["open"])
        assert pauses.list_pauses(tx, "past", [], from_at=at(2), to_at=at(8)) == ()


def test_concurrent_pauses_are_one(catalogue: Catalogue) -> None:
    """Two pauses at the same moment are one, and one resume ends it."""
    record = keep(catalogue, state="recording")
    opened = side_by_side(
        catalogue,
        [
            lambda tx, by=by: recordings.open_pause(tx, record.id, at=NOW, by=by)
            for by in ("ann", "sue", "tom")
        ],
    )
    assert sum(one is not None for one in opened) == 1
    assert len(find(catalogue, record).pauses) == 1


# Lists

NUMBERS = ("12025550100", "2025550199", "4930123450100", "100", "1%0", "a_b", None)
WORDS = ("alpha", "Beta", "gamma", "DELTA")


def party(party: Speaker, number: str | None, *spans: tuple[float, float | None]) -> RecordingParty:
    agent = number if party == "agent" else None
    return RecordingParty(party, number, f"name of {number}", "right", spans, agent)


def some_recording(chance: random.Random, pbx: str) -> RecordingRecord:
    """Draw a recording with any fields."""
    maybe_at = at(chance.randrange(0, 100)) if chance.random() < 0.9 else None
    name = " ".join(chance.sample(WORDS, chance.randrange(0, 3))) or None
    return build_recording(
        call_id=f"{pbx}-{chance.randrange(4)}.0",
        pbx=pbx,
        state=chance.choice(sorted(states.NEXT)),
        direction=chance.choice(["inbound", "outbound", "internal"]),
        rule=chance.choice(["one", "two", None]),
        agent=chance.choice(["2001", "2002", "2003", None]),
        queue=chance.choice(["support", "sales", None]),
        did=chance.choice(["3000", "3001", None]),
        caller_number=chance.choice(NUMBERS),
        callee_number=chance.choice(NUMBERS),
        caller_name=name,
        callee_name=chance.choice([*WORDS, None]),
        parties=tuple(
            party(chance.choice(get_args(Speaker)), chance.choice([*NUMBERS, "2001", "2003"]))
            for _ in range(chance.randrange(0, 3))
        ),
        note=chance.choice([None, "", "a note on Beta", "gamma, alpha!"]),
        tags=tuple(chance.sample(["x", "y", "a b"], chance.randrange(0, 3))),
        started_at=maybe_at,
        duration_s=chance.choice([None, 0.0, 1.5, 30.0, 60.0, 3600.0]),
    )


FILTERS: dict[str, tuple[Any, ...]] = {
    "call_id": ("list-0.0", "list-3.0", "list-9.0"),
    "number": ("0100", "100", "12025550100", "%", "_b", "1%0", "9999"),
    "agent": ("2001", "2003"),
    "queue": ("support",),
    "did": ("3000",),
    "direction": ("inbound", "internal"),
    "tag": ("x", "a b", "none"),
    "rule": ("one",),
    "state": ("stored", "paused"),
    "from_at": (at(0), at(50)),
    "to_at": (at(50), at(99)),
    "min_duration_s": (0.0, 1.5, 31),
    "max_duration_s": (1.5, 60.0),
    "words": ("alpha", "ALPHA beta", "note", "delta gamma alpha", "alph"),
    "agents": ((), ("2001",), ("2001", "2002")),
}


def passes(one: RecordingRecord, name: str, value: Any) -> bool:
    """Return whether a recording passes the filter, in Python."""
    ends = (one.caller_number, one.callee_number)
    numbers = [number for number in (*ends, *(each.number for each in one.parties)) if number]
    said = " ".join(filter(None, (one.note, one.caller_name, one.callee_name))).casefold()
    words = {word.strip(",!") for word in said.split()}
    meanings: dict[str, Callable[[], bool]] = {
        "agent": lambda: value in {one.agent, *(each.agent for each in one.parties)},
        "number": lambda: any(number.endswith(value) for number in numbers),
        "tag": lambda: value in one.tags,
        "from_at": lambda: one.started_at is not None and one.started_at >= value,
        "to_at": lambda: one.started_at is not None and one.started_at < value,
        "min_duration_s": lambda: one.duration_s is not None and one.duration_s >= value,
        "max_duration_s": lambda: one.duration_s is not None and one.duration_s <= value,
        "words": lambda: set(value.casefold().split()) <= words,
        "agents": lambda: one.agent in value,
    }
    return meanings.get(name, lambda: bool(getattr(one, name) == value))()


@pytest.fixture(scope="module")
def library(catalogue: Catalogue) -> list[RecordingRecord]:
    """Write 300 recordings into a catalogue with others; return them, newest first."""
    chance = random.Random(20261123)
    records = [some_recording(chance, "list") for _ in range(300)]
    with catalogue.begin() as tx:
        for record in records:
            recordings.create_recording(tx, record)
    return sorted(records, key=lambda record: record.id, reverse=True)


def listed(catalogue: Catalogue, narrowed: RecordingFilter) -> list[RecordingRecord]:
    with catalogue.begin() as tx:
        page = recordings.list_recordings(tx, narrowed, limit=1000)
    assert page.next_cursor is None
    return [record for record in page.items if record.pbx == "list"]


def test_every_filter_is_tested() -> None:
    """Each filter of the list is in this test."""
    assert {*FILTERS, "remarks"} == {field.name for field in fields(RecordingFilter)}


@pytest.mark.parametrize("words", FILTERS["words"])
def test_words_are_those_of_names_without_remarks(
    catalogue: Catalogue, library: list[RecordingRecord], words: str
) -> None:
    """Without the right to remarks, a search finds only words of names, and returns no remark."""
    bare = [one.without_remarks() for one in library]
    found = listed(catalogue, RecordingFilter(words=words, remarks=False))
    assert found == [one for one in bare if passes(one, "words", words)]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FILTERS.items() for value in values]
)
def test_each_filter_alone(
    catalogue: Catalogue, library: list[RecordingRecord], name: str, value: Any
) -> None:
    """A filter returns exactly the recordings that it describes, newest first."""
    expected = [one for one in library if passes(one, name, value)]
    assert listed(catalogue, RecordingFilter(**{name: value})) == expected


@pytest.mark.parametrize("number", [*FILTERS["number"], "0", ""])
def test_a_frequent_number_is_found_page_by_page(
    catalogue: Catalogue,
    library: list[RecordingRecord],
    monkeypatch: pytest.MonkeyPatch,
    number: str,
) -> None:
    """The way for a frequent number finds the same, in the same order, each recording once."""
    monkeypatch.setattr(recordings, "SORTED_PARTIES", 0)
    found: list[RecordingRecord] = []
    cursor: str | None = None
    while cursor is not None or not found:
        with catalogue.begin() as tx:
            page = recordings.list_recordings(
                tx, RecordingFilter(number=number), limit=7, cursor=cursor
            )
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = [one for one in library if passes(one, "number", number)]
    assert [one for one in found if one.pbx == "list"] == expected


def test_filters_together(catalogue: Catalogue, library: list[RecordingRecord]) -> None:
    """Several filters together return the recordings that pass each of them."""
    chance, found = random.Random(7), 0
    for _ in range(150):
        names = chance.sample(sorted(FILTERS), chance.randrange(2, 5))
        wanted = {name: chance.choice(FILTERS[name]) for name in names}
        expected = [one for one in library if all(passes(one, *pair) for pair in wanted.items())]
        assert listed(catalogue, RecordingFilter(**wanted)) == expected, wanted
        found += bool(expected)
    assert found > 20


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_cursor_walks_every_row_once(
    catalogue: Catalogue, library: list[RecordingRecord], limit: int
) -> None:
    """While new recordings arrive, a list returns each old one exactly once, in order, and no new
    one."""
    narrowed, cursor, met, new = RecordingFilter(tag="x"), None, [], []
    for _ in range(1000):
        with catalogue.begin() as tx:
            page = recordings.list_recordings(tx, narrowed, limit=limit, cursor=cursor)
        met += [record.id for record in page.items]
        new.append(keep(catalogue, tags=("x",), pbx="new").id)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert cursor is None
    assert not set(met) & set(new)
    assert [id_ for id_ in met if id_ in {one.id for one in library}] == [
        one.id for one in library if "x" in one.tags
    ]
    assert met == sorted(set(met), reverse=True)


def test_calls_are_listed_page_by_page(catalogue: Catalogue) -> None:
    """Each of several calls that started at the same instant is listed once."""
    wanted = [
        build_call(id=f"pages-{n}.0", pbx="pages", state="ended", started_at=at(n // 3))
        for n in range(10)
    ]
    with catalogue.begin() as tx:
        calls.save_calls(tx, wanted)
        met, cursor = [], None
        while True:
            page = calls.list_calls(tx, states=["ended"], limit=4, cursor=cursor)
            met += [one.id for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    order = sorted(wanted, key=lambda one: (one.started_at, one.id), reverse=True)
    assert [id_ for id_ in met if id_.startswith("pages-")] == [one.id for one in order]


# Calls


def test_a_saved_call_replaces_its_row(catalogue: Catalogue) -> None:
    """A saved call replaces its older row; an ended call is not live."""
    first = build_call(id="save-1.0", pbx="save", channels=(leg("1.0"),))
    other = build_call(id="save-2.0", pbx="save")
    now = replace(first, state="ended", ended_at=at(9), agent="2001", queue="support", channels=())
    with catalogue.begin() as tx:
        calls.save_calls(tx, [])
        calls.save_calls(tx, [other, first])
        assert calls.get_call(tx, first.id) == first
        calls.save_calls(tx, [now])
        assert calls.get_call(tx, first.id) == now
        assert calls.list_live_calls(tx, pbx="save") == (other,)


def test_two_writers_of_the_same_calls_do_not_block_each_other(catalogue: Catalogue) -> None:
    """Two writers with different orders both finish, and each row is from one of them."""
    mine = [build_call(id=f"both-{n}.0", pbx="both", agent="mine") for n in range(50)]
    yours = [replace(one, agent="yours") for one in reversed(mine)]
    side_by_side(
        catalogue,
        [
            lambda tx: calls.save_calls(tx, mine),
            lambda tx: calls.save_calls(tx, yours),
        ],
    )
    with catalogue.begin() as tx:
        kept = calls.list_live_calls(tx, pbx="both")
    assert {one.agent for one in kept} <= {"mine", "yours"}
    assert len(kept) == 50


def people(record: CallRecord | RecordingRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in PEOPLE}


def test_only_live_recordings_get_the_new_agent(catalogue: Catalogue) -> None:
    """After a transfer a running recording has the new agent, and that agent's viewers get one
    event; an ended recording keeps the old agent."""
    kept = {
        state: keep(catalogue, call_id="people-1.0", state=state, agent="2001")
        for state in states.NEXT
    }
    other = keep(catalogue, call_id="people-2.0", state="recording", agent="2001")
    now = people(build_call(agent="2003", caller_name="Alice", direction="outbound"))
    with catalogue.begin() as tx:
        before = events.newest_event_id(tx)
    for _ in range(2):
        with catalogue.begin() as tx:
            recordings.update_people(tx, "people-1.0", now)
    with catalogue.begin() as tx:
        found = events.list_events(tx, before, 100)
    running = {str(kept[state].id) for state in states.LIVE}
    assert {(one.type, one.agent) for one in found} == {("recording.changed", "2003")}
    assert sorted(one.data["id"] for one in found) == sorted(running)
    for state, record in kept.items():
        assert people(find(catalogue, record)) == (now if state in states.LIVE else people(record))
    assert find(catalogue, other) == other


# Parties, by which a search finds a recording


def found_by(catalogue: Catalogue, pbx: str, **narrowed: str) -> list[UUID]:
    with catalogue.begin() as tx:
        page = recordings.list_recordings(tx, RecordingFilter(**narrowed), limit=1000)
    return [one.id for one in page.items if one.pbx == pbx]


def test_parties_are_read_as_they_were_written(catalogue: Catalogue) -> None:
    """Parties keep their spans, the open one too, by a change of state and by themselves."""
    record = keep(catalogue)
    parties = (party("customer", "12025550123", (0.0, 1.5), (2.0, None)), party("agent", "2001"))
    with catalogue.begin() as tx:
        moved = recordings.move(tx, record.id, to="captured", parties=parties)
    assert moved == replace(record, state="captured", parties=parties)
    assert find(catalogue, record) == moved
    with catalogue.begin() as tx:
        recordings.set_parties(tx, record.id, parties[:1])
    assert find(catalogue, record).parties == parties[:1]


def test_a_live_recording_is_found_by_every_party_so_far(catalogue: Catalogue) -> None:
    """A transfer adds the new agent to the search and keeps the former one, until the parties are
    known."""
    ends = {"caller_number": "12025550123", "callee_number": "2001", "agent": "2001"}
    record = keep(catalogue, pbx="found", call_id="found-1.0", **ends)
    later = people(build_call(caller_number="12025550123", callee_number="2002", agent="2002"))
    with catalogue.begin() as tx:
        for _ in range(2):
            recordings.update_people(tx, "found-1.0", later)
    for narrowed in ({"number": "0123"}, {"number": "2001"}, {"number": "2002"}):
        assert found_by(catalogue, "found", **narrowed) == [record.id], narrowed
    for agent in ("2001", "2002"):
        assert found_by(catalogue, "found", agent=agent) == [record.id], agent
    heard = [party("customer", "12025550123", (0.0, 9.0)), party("supervisor", "9001", (3.0, 5.0))]
    with catalogue.begin() as tx:
        recordings.set_parties(tx, record.id, heard)
    assert found_by(catalogue, "found", number="9001") == [record.id]
    assert found_by(catalogue, "found", agent="2002") == [record.id]
    assert found_by(catalogue, "found", agent="2001") == []
    assert found_by(catalogue, "found", agent="9001") == []
    assert found_by(catalogue, "found", number="9001", agent="2002") == [record.id]


def test_recordings_that_capture_a_channel_now(catalogue: Catalogue) -> None:
    """The channels of each recording are those of its running segments, or of all."""
    one, other = (keep(catalogue, pbx="captured") for _ in range(2))
    with catalogue.begin() as tx:
        for record, channel in ((one, "a"), (one, "b"), (other, "c")):
            assert segments.claim_segment(tx, segment(record, channel))
        (first, _) = segments.list_segments(tx, one.id)
        segments.end_segment(tx, first.id, at=NOW, cause="stopped")
        of = partial(segments.map_captured, tx, [one.id, other.id])
        left = {"a", "b"} - {first.channel_id}
        assert of(running=True) == {one.id: left, other.id: {"c"}}
        assert of(running=False) == {one.id: {"a", "b"}, other.id: {"c"}}
        assert segments.map_captured(tx, [], running=False) == {}


def test_recordings_by_rule_that_a_person_ended(catalogue: Catalogue) -> None:
    """Only a rule's recording that a person ended, of one of these calls, is found."""
    made = {"call_id": "stopped-1.0", "state": "captured"}
    kept = {
        (trigger, ended_by): keep(catalogue, **made, trigger=trigger, ended_by=ended_by)
        for trigger in ("rule", "manual")
        for ended_by in ("person", "call", None)
    }
    with catalogue.begin() as tx:
        found = recordings.map_stopped_by_person(tx, ["stopped-1.0", "stopped-2.0"])
        assert recordings.map_stopped_by_person(tx, ["stopped-2.0"]) == {}
    assert found == {kept["rule", "person"].id: "stopped-1.0"}


# Transactions


def job_count(tx: Connection, recording_id: UUID) -> int:
    query = text("SELECT count(*) FROM procrastinate_jobs WHERE args->>'recording_id' = :id")
    count: int = tx.execute(query, {"id": str(recording_id)}).scalar_one()
    return count


def test_a_job_exists_exactly_if_its_transaction_does(catalogue: Catalogue) -> None:
    """A failed transaction leaves no job."""
    record = keep(catalogue)
    id_ = str(record.id)
    with catalogue.begin() as tx:
        recordings.move(tx, record.id, to="captured")
        jobs.defer(tx, tasks.finish.name, lock=id_, recording_id=id_)
        assert job_count(tx, record.id) == 1
        tx.rollback()
    assert find(catalogue, record).state == "recording"
    with catalogue.begin() as tx:
        assert job_count(tx, record.id) == 0
        recordings.move(tx, record.id, to="captured")
        jobs.defer(tx, tasks.finish.name, lock=id_, recording_id=id_)
    with catalogue.begin() as tx:
        assert job_count(tx, record.id) == 1


def test_the_signing_key_is_made_once(catalogue: Catalogue) -> None:
    """Workers that start together on an empty catalogue sign with one key."""
    keys = side_by_side(catalogue, [signing.get_signing_key] * 6)
    with catalogue.begin() as tx:
        again = signing.get_signing_key(tx)
        assert tx.execute(text("SELECT count(*) FROM signing_key")).scalar_one() == 1
    assert {key.key_id for key in keys} == {again.key_id}


# Idempotency keys


@pytest.fixture
def token_id(catalogue: Catalogue) -> UUID:
    with catalogue.begin() as tx:
        made, _ = tokens.create_token(tx, name=uuid4().hex, role="admin")
    return made.id


REQUEST = idempotency.fingerprint("ew_x", "POST", "/calls/1/recordings", b"{}")
OTHER = idempotency.fingerprint("ew_x", "POST", "/x", b"{}")


def test_a_request_is_acted_on_once(catalogue: Catalogue, token_id: UUID) -> None:
    """The same key gives the same answer, but not to another request or token."""
    answer = idempotency.StoredAnswer(201, {"id": "one"})
    with catalogue.begin() as tx:
        assert idempotency.claim_key(tx, token_id, "k", REQUEST) is None
        with pytest.raises(IdempotencyKeyReused):
            idempotency.claim_key(tx, token_id, "k", REQUEST)
        idempotency.keep_answer(tx, token_id, "k", answer)
        assert idempotency.claim_key(tx, token_id, "k", REQUEST) == answer
        with pytest.raises(IdempotencyKeyReused):
            idempotency.claim_key(tx, token_id, "k", OTHER)


def test_only_one_concurrent_request_acts(catalogue: Catalogue, token_id: UUID) -> None:
    """One of two equal requests at the same time acts, and the other has to wait."""

    def claim(tx: Connection) -> bool:
        try:
            return idempotency.claim_key(tx, token_id, "same", REQUEST) is None
        except IdempotencyKeyReused:
            return False

    assert sum(side_by_side(catalogue, [claim] * 5)) == 1


def test_a_key_that_was_released_meanwhile(catalogue: Catalogue, token_id: UUID) -> None:
    """If the first request fails while the second waits for it, the second acts, or may retry."""
    with catalogue.begin() as tx:
        idempotency.claim_key(tx, token_id, "released", REQUEST)
    claimed: list[object] = []

    def claim_again() -> None:
        for _ in range(100):
            try:
                with catalogue.begin() as tx:
                    claimed.append(idempotency.claim_key(tx, token_id, "released", REQUEST))
            except IdempotencyKeyReused:
                claimed.append("running")

    others = threading.Thread(target=claim_again)
    others.start()
    while others.is_alive():
        with catalogue.begin() as tx:
            idempotency.release_key(tx, token_id, "released")
    others.join()
    assert len(claimed) == 100
    assert set(claimed) <= {None, "running"}


@pytest.mark.parametrize(
    ("answered", "age"),
    [(True, idempotency.KEPT_FOR), (False, idempotency.ABANDONED_AFTER)],
    ids=["kept-long-enough", "abandoned"],
)
def test_a_key_is_free_again(
    catalogue: Catalogue, token_id: UUID, answered: bool, age: timedelta
) -> None:
    """An answer is kept for a day; a request that died blocks its key for minutes."""
    with catalogue.begin() as tx:
        idempotency.claim_key(tx, token_id, "old", REQUEST)
        if answered:
            idempotency.keep_answer(tx, token_id, "old", idempotency.StoredAnswer(200, None))
        tx.execute(
            text("UPDATE idempotency SET created_at = now() - CAST(:age AS interval)"),
            {"age": age + timedelta(seconds=1)},
        )
        assert idempotency.claim_key(tx, token_id, "old", REQUEST) is None


# The schema


def test_a_second_migration_changes_nothing(catalogue: Catalogue) -> None:
    """Every start migrates, several at the same time, and no row changes."""
    record = keep(catalogue)
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(catalogue.migrate) for _ in range(3)]:
            done.result()
    assert find(catalogue, record) == record
    present, needed = catalogue.schema_versions()
    assert present == needed is not None


def test_a_newer_schema_is_left_alone(catalogue: Catalogue, database_url: str) -> None:
    """An older program starts on a newer schema, because machines are upgraded in turn."""
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    with catalogue.begin() as tx:
        tx.execute(newer)
    try:
        with closing(Catalogue(database_url)) as older:
            older.migrate()
            assert older.is_migrated()
            assert older.schema_versions() == ("9999", engine.NEWEST)
        config = Config(database=Database(url=SecretStr(database_url)))
        assert examine_database(config) == Finding("database", True, "schema 9999")
    finally:
        with catalogue.begin() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": engine.NEWEST})


DEFINITIONS = """
SELECT table_name, column_name || ' ' || udt_name || ' ' || is_nullable || ' ' ||
       coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = :schema
UNION SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = :schema
UNION SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = CAST(:schema AS regnamespace)
"""


def definitions(tx: Connection, schema: str) -> set[tuple[str, str]]:
    """Return every column, index and constraint of our tables in the spelling of PostgreSQL."""
    tx.execute(text(f"SET LOCAL search_path = {schema}"))
    ours = {table.name for table in metadata.tables.values()}
    found = {
        (table, definition.replace(f"{schema}.", ""))
        for table, definition in tx.execute(text(DEFINITIONS), {"schema": schema})
    }
    return {(table, definition) for table, definition in found if table in ours}


def test_the_migrations_make_the_schema(catalogue: Catalogue) -> None:
    """The migrations make exactly the schema that the program describes."""
    with catalogue.begin() as tx:
        migrated = definitions(tx, "public")
        tx.execute(text("CREATE SCHEMA believed; SET LOCAL search_path = believed"))
        metadata.create_all(tx, checkfirst=False)
        assert definitions(tx, "believed") == migrated
        tx.rollback()
    assert len(migrated) > 80


def test_the_checks_of_states_are_those_of_the_program(catalogue: Catalogue) -> None:
    """PostgreSQL accepts every state of a recording, and no other."""
    for state in states.NEXT:
        keep(catalogue, state=state)
    with pytest.raises(Exception, match="recording_state_check"):
        keep(catalogue, state="nonsense")


def test_a_database_that_is_away_is_named() -> None:
    """An absent database raises CatalogueUnavailable, without the password."""
    away = Catalogue("postgresql://user:secret@127.0.0.1:9/none")
    with pytest.raises(CatalogueUnavailable) as caught, away.begin():
        pass
    assert "secret" not in str(caught.value) + repr(away)


def test_a_password_may_hold_reserved_characters() -> None:
    """The catalogue and the job queue read the same address, with any character in the password."""
    url = Catalogue("postgresql://user:a/b@127.0.0.1:9/none").url
    expected = {
        "user": "user",
        "password": "a/b",
        "host": "127.0.0.1",
        "port": "9",
        "dbname": "none",
    }
    assert conninfo_to_dict(url) == expected


def test_errors_show_no_values(catalogue: Catalogue) -> None:
    """The error of a statement does not show its values, such as secrets."""
    with pytest.raises(DBAPIError) as caught, catalogue.begin() as tx:
        tx.execute(text("SELECT 1 / length(substr(:secret, 100))"), {"secret": "whsec_opens-it"})
    assert "opens-it" not in str(caught.value)


# Old rows

MAKE_JOB = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)
VALUES ('none', :task, :lock, CAST(:args AS jsonb))
"""
FAIL = """
UPDATE procrastinate_jobs SET status = 'failed' WHERE lock LIKE '% failed %' AND status = 'todo'
"""
AGE = "UPDATE procrastinate_events SET at = at - interval '2 days'"
TRACES = """
SELECT lock, count(event.id) FROM procrastinate_jobs AS job
LEFT JOIN procrastinate_events AS event ON event.job_id = job.id GROUP BY lock ORDER BY lock
"""


def test_old_rows_are_deleted(catalogue: Catalogue, token_id: UUID) -> None:
    """Old answers and traces of jobs are deleted, but not young ones, or those of jobs to retry."""
    about = '{"recording_id": "a"}'
    made = [("finish", about, "failed"), ("finish", about, "todo"), ("tidy", "{}", "failed")]
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM procrastinate_jobs"))
        for when in ("old", "young"):
            for task, args, status in made:
                values = {"task": task, "lock": f"{task} {status} {when}", "args": args}
                tx.execute(text(MAKE_JOB), values)
            tx.execute(text(FAIL))
            idempotency.claim_key(tx, token_id, f"tidy {when}", b"x")
            if when == "old":
                tx.execute(text(AGE))
                tx.execute(text("UPDATE idempotency SET created_at = created_at - interval '2 d'"))
    tasks.tidy.func(SimpleNamespace(additional_context={"catalogue": catalogue}), 0)
    with catalogue.begin() as tx:
        keys = tx.scalars(text("SELECT key FROM idempotency WHERE key LIKE 'tidy %'")).all()
        kept = dict(tx.execute(text(TRACES)).all())
        tx.execute(text("DELETE FROM procrastinate_jobs"))
    assert keys == ["tidy young"]
    assert kept.keys() == {
        *("finish failed old", "finish failed young", "finish todo old", "finish todo young"),
        "tidy failed young",
    }
    assert (kept["finish todo old"], kept["finish failed old"] > 0) == (0, True)


def test_lock_holders_always_get_a_connection(database_url: str) -> None:
    """More threads than the pool has connections hold a lock each, take another one, and read."""
    small, threads = Catalogue(database_url, pool_size=1), 8
    holding = threading.Barrier(threads, timeout=20)

    def settle(number: int) -> int:
        with small.lock(f"one of many {number}", wait_s=20):
            holding.wait()
            with small.lock("the same for all", wait_s=20), small.begin() as tx:
                return int(tx.scalar(text("SELECT 1")))

    with closing(small), ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(settle, range(threads))) == [1] * threads


def test_a_lock_is_awaited_for_a_limited_time(catalogue: Catalogue, database_url: str) -> None:
    """A lock of another session is given up in time, by name; other locks are free meanwhile."""
    began = time.monotonic()
    with closing(Catalogue(database_url)) as other, other.lock("listen main", wait_s=1):
        vain = pytest.raises(LockTimeout, match="'listen main'")
        with vain, catalogue.lock("listen main", wait_s=0.2):
            pytest.fail("two sessions held one lock")
        assert 0.2 <= time.monotonic() - began < 5
        with catalogue.lock("listen other", wait_s=0.2):
            pass
    with catalogue.lock("listen main", wait_s=0.2):
        pass


def test_a_lock_comes_within_its_deadline(catalogue: Catalogue, database_url: str) -> None:
    """A timeout of one wait does not shorten the next one, which gets the lock once it is free."""
    with closing(Catalogue(database_url)) as other:
        held, freed = threading.Event(), threading.Event()

        def hold() -> None:
            with other.lock("handed on", wait_s=1):
                held.set()
                freed.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(20)
        with pytest.raises(LockTimeout), catalogue.lock("handed on", wait_s=0.05):
            pytest.fail("two sessions held one lock")
        timer = threading.Timer(0.5, freed.set)
        timer.start()
        with catalogue.lock("handed on", wait_s=20):
            assert freed.is_set()
        thread.join()


def test_a_pool_that_stays_empty_is_named(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that gets no connection in time raises CatalogueUnavailable."""
    monkeypatch.setattr(engine, "FREE_WITHIN_S", 0.05)
    small, vain = Catalogue(database_url, pool_size=1), pytest.raises(CatalogueUnavailable)
    with closing(small), small.begin(), small.begin(), vain, small.begin():
        pass


def test_times_are_utc_in_any_server_zone(catalogue: Catalogue, database_url: str) -> None:
    """Times are read in UTC, whatever the time zone of the server."""
    database = make_url(database_url).database
    with catalogue.begin() as tx:
        audit.add_audit(tx, actor=ROOT, action="zone", subject="it", outcome="done", detail={})
        tx.execute(text(f"ALTER DATABASE {database} SET timezone TO 'Europe/Berlin'"))
    with closing(Catalogue(database_url)) as elsewhere:
        with elsewhere.begin() as tx:
            (entry,) = audit.list_audit(tx, limit=1, action="zone").items
            zone = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
            assert tx.scalar(text(zone)) == "Europe/Berlin"
        with elsewhere.connect_alone() as alone:
            (noted_at,) = alone.execute("SELECT at FROM audit").fetchone() or ()
    with catalogue.begin() as tx:
        tx.execute(text(f"ALTER DATABASE {database} RESET timezone"))
    assert str(entry.at).endswith("+00:00")
    assert str(noted_at).endswith("+00:00")


# Machines that die


@pytest.fixture
def tcp_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a PostgreSQL that listens on TCP."""
    trusting = [one.replace("host=reject", "host=trust") for one in postgres.CLUSTER_OPTIONS]
    monkeypatch.setattr(postgres, "CLUSTER_OPTIONS", trusting)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reached = {"listen_addresses": "127.0.0.1", "port": str(port)}
    monkeypatch.setattr(postgres, "SETTINGS", {**postgres.SETTINGS, **reached})
    with (
        TemporaryDirectory(prefix="earwitness-postgres-") as directory,
        EmbeddedPostgres(Path(directory) / "data") as server,
    ):
        user = make_url(server.url).username
        yield f"postgresql://{user}@127.0.0.1:{port}/{postgres.DATABASE}"


def test_a_dead_connection_is_noticed_in_seconds(tcp_url: str) -> None:
    """PostgreSQL and the client both notice a dead connection in seconds, the client first."""
    served = "SELECT name, setting FROM pg_settings WHERE name ~ '^tcp_(keepalives|user_timeout)'"
    with (
        closing(Catalogue(tcp_url)) as catalogue,
        catalogue.begin() as tx,
        catalogue.connect_alone() as alone,
    ):
        pooled: Any = tx.connection.driver_connection
        for connection in (pooled, alone):
            assert dict(connection.execute(served).fetchall()) == {
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
                "tcp_user_timeout": "15000",
            }
            with socket.socket(fileno=os.dup(connection.fileno())) as ours:
                kept = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                assert [ours.getsockopt(socket.IPPROTO_TCP, one) for one in kept] == [5, 2, 3]
                assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


def test_first_sign_ins_at_once_bring_one_user(catalogue: Catalogue) -> None:
    """Several first sign-ins of one person at the same moment bring the same user."""
    at_once = 6

    def bring(name: str, barrier: threading.Barrier) -> UUID:
        barrier.wait(10)
        with catalogue.begin() as tx:
            return users.bring_user(
                tx, issuer="https://login", subject=name, name=name, role="admin", team=None
            ).id

    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(20):
            barrier, name = threading.Barrier(at_once), f"person-{uuid4()}"
            going = [pool.submit(bring, name, barrier) for _ in range(at_once)]
            assert len({one.result(10) for one in going}) == 1
