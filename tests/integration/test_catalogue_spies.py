"""Spies, events and the audit trail on a real PostgreSQL."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import build_call, build_recording, build_spy
from sqlalchemy import select, text

from storage.catalogue import audit, calls, events, recordings, spies, tokens
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import BEGINNING, Notifications
from storage.errors import BadCursor, NoSuchSpy
from storage.records import EventRecord, Heard, SpyRecord
from storage.schema import audit as audit_table
from storage.schema import spy as spy_table
from tests.actors import ANN

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def keep(catalogue: Catalogue, *, audio_token: str | None = None, **fields: Any) -> SpyRecord:
    """Create a spy in the catalogue, on a call of its own unless one is named."""
    record = build_spy(**{"call_id": f"main-{uuid4()}"} | fields)
    with catalogue.begin() as tx:
        spies.create_spy(tx, record, audio_token=audio_token)
    return record


def find(catalogue: Catalogue, spy_id: UUID) -> SpyRecord:
    with catalogue.begin() as tx:
        return spies.get_spy(tx, spy_id)


def newest(catalogue: Catalogue) -> str:
    with catalogue.begin() as tx:
        return events.newest_event_id(tx)


def events_since(catalogue: Catalogue, after: str) -> tuple[EventRecord, ...]:
    with catalogue.begin() as tx:
        return events.list_events(tx, after, 100)


# Spies


def test_a_spy_is_read_as_it_was_written(catalogue: Catalogue) -> None:
    """Every field comes back; a spy that is not there is NoSuchSpy, or None."""
    record = keep(
        catalogue,
        agent="2001",
        channel_id="177.1",
        live_at=at(1),
        seen_at=at(2),
        heard=(Heard(at(1), at(2), "main-1.0"), Heard(at(3), None, "main-2.0")),
    )
    assert find(catalogue, record.id) == record
    with catalogue.begin() as tx:
        assert spies.find_spy(tx, uuid4()) is None
        with pytest.raises(NoSuchSpy):
            spies.get_spy(tx, uuid4())


@pytest.mark.parametrize("path", [("ringing", "live"), ("live",), ()])
def test_a_spy_goes_forward_to_its_end(catalogue: Catalogue, path: tuple[str, ...]) -> None:
    """A spy reaches its end by every path; after that its state and cause stay."""
    record = keep(catalogue)
    with catalogue.begin() as tx:
        for state in path:
            moved = spies.move_spy(tx, record.id, to=state)
            assert moved is not None
            assert moved.state == state
        assert spies.move_spy(tx, record.id, to="ended", ended_at=at(9), cause="hung-up")
        for state in ("ringing", "live", "ended"):
            assert spies.move_spy(tx, record.id, to=state) is None
    found = find(catalogue, record.id)
    assert (found.state, found.ended_at, found.cause) == ("ended", at(9), "hung-up")


def test_one_of_many_ends_a_spy(catalogue: Catalogue) -> None:
    """When several processes end a spy at once, one of them succeeds and the others get None."""
    record = keep(catalogue)

    def end(cause: str) -> SpyRecord | None:
        with catalogue.begin() as tx:
            return spies.move_spy(tx, record.id, to="ended", ended_at=NOW, cause=cause)

    with ThreadPoolExecutor(6) as pool:
        ends = [one for one in pool.map(end, "abcdef") if one is not None]
    assert ends == [find(catalogue, record.id)]


def test_the_mode_changes_while_it_lives(catalogue: Catalogue) -> None:
    """`set_mode` returns the spy and writes one event; after the end it returns None."""
    record = keep(catalogue)
    before = newest(catalogue)
    with catalogue.begin() as tx:
        for _ in range(2):
            changed = spies.set_mode(tx, record.id, "barge")
            assert changed is not None
            assert changed.mode == "barge"
    assert [event.type for event in events_since(catalogue, before)] == ["spy.switched"]
    with catalogue.begin() as tx:
        spies.move_spy(tx, record.id, to="ended", ended_at=NOW, cause="ended")
        assert spies.set_mode(tx, record.id, "listen") is None
        assert spies.set_call(tx, record.id, "main-9.0") is None


def test_the_agent_is_set_once(catalogue: Catalogue) -> None:
    """A spy started before an agent answered follows the first agent, and no other."""
    record = keep(catalogue, agent=None)
    with catalogue.begin() as tx:
        changed = spies.set_agent(tx, record.id, "2001")
        assert changed is not None
        assert changed.agent == "2001"
        assert spies.set_agent(tx, record.id, "2002") is None
        assert spies.get_spy(tx, record.id).agent == "2001"


def test_hearing_is_kept_in_spans(catalogue: Catalogue) -> None:
    """Repeats change nothing; another call, and the end, close the open span."""
    record = keep(catalogue)
    with catalogue.begin() as tx:
        for second in (1, 2):
            spies.open_heard(tx, record.id, at=at(second), call_id="a")
        for second in (3, 4):
            spies.close_heard(tx, record.id, at=at(second))
        spies.open_heard(tx, record.id, at=at(5), call_id="a")
        spies.open_heard(tx, record.id, at=at(6), call_id="b")
        ended = spies.move_spy(tx, record.id, to="ended", ended_at=at(7), cause="ended")
        assert spies.open_heard(tx, record.id, at=at(8), call_id="b") is None
    spans = (Heard(at(1), at(3), "a"), Heard(at(5), at(6), "a"), Heard(at(6), at(7), "b"))
    assert find(catalogue, record.id).heard == spans
    assert ended == find(catalogue, record.id)


def test_a_span_does_not_end_before_it_starts(catalogue: Catalogue) -> None:
    """A span closed by an earlier clock of another process is empty."""
    record = keep(catalogue)
    with catalogue.begin() as tx:
        spies.open_heard(tx, record.id, at=at(5), call_id="a")
        spies.close_heard(tx, record.id, at=at(4))
    assert find(catalogue, record.id).heard == (Heard(at(5), at(5), "a"),)


def test_a_token_opens_its_spy_until_the_end(catalogue: Catalogue) -> None:
    """The token finds the spy while it lives; the catalogue keeps a hash of it alone."""
    token = str(uuid4())
    record = keep(catalogue, audio_token=token, destination="browser")
    keep(catalogue)
    with catalogue.begin() as tx:
        assert spies.find_spy_by_token(tx, token) == record
        assert spies.find_spy_by_token(tx, token + "x") is None
        assert token not in str(tx.execute(select(spy_table)).all())
        spies.move_spy(tx, record.id, to="ended", ended_at=NOW, cause="page-lost")
        assert spies.find_spy_by_token(tx, token) is None


def test_spies_are_found_by_call_pbx_and_team(catalogue: Catalogue) -> None:
    """Lists can be limited to live spies, a PBX, calls, agents, or the supervisor's own."""
    mine, other = f"main-{uuid4()}", f"main-{uuid4()}"
    pbx, ann = uuid4().hex[:20], uuid4()
    with catalogue.begin() as tx:
        calls.save_calls(
            tx, [build_call(id=mine, agent="team-a"), build_call(id=other, agent="team-b")]
        )
    first = keep(catalogue, call_id=mine, pbx=pbx)
    second = keep(catalogue, call_id=other, pbx=pbx, supervisor="ann", maker_id=ann)
    with catalogue.begin() as tx:
        assert spies.list_live_spies(tx, pbx) == (first, second)
        assert spies.list_spies_of_calls(tx, [mine]) == (first,)
        assert spies.get_spy(tx, first.id, agents={"team-a"}) == first
        assert spies.get_spy(tx, second.id, agents={"team-a"}, maker_id=ann) == second
        with pytest.raises(NoSuchSpy):  # of another ann
            spies.get_spy(tx, second.id, agents={"team-a"}, maker_id=uuid4())
        for agents in (set[str](), {"team-b"}):
            with pytest.raises(NoSuchSpy):
                spies.get_spy(tx, first.id, agents=agents)
        ended = spies.move_spy(tx, first.id, to="ended", ended_at=NOW, cause="ended")
        assert spies.list_live_spies(tx, pbx) == (second,)
        assert spies.list_spies_of_calls(tx, [mine]) == ()
        assert spies.list_spies_of_calls(tx, [mine], live_only=False) == (ended,)
        page = spies.list_spies(tx, states=["ended"], limit=50, agents={"team-a"})
        assert page.items == (ended,)


def test_a_list_of_spies_goes_on_where_it_stopped(catalogue: Catalogue) -> None:
    """Newest first, each once, over pages."""
    maker_id = uuid4()
    made = [keep(catalogue, maker_id=maker_id).id for _ in range(5)]
    found, cursor = [], None
    with catalogue.begin() as tx:
        while True:
            page = spies.list_spies(
                tx, states=["requested"], limit=2, cursor=cursor, agents=(), maker_id=maker_id
            )
            found += [record.id for record in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == made[::-1]


def test_touch_spy_sets_the_time(catalogue: Catalogue) -> None:
    """`touch_spy` says when."""
    record = keep(catalogue)
    with catalogue.begin() as tx:
        spies.touch_spy(tx, record.id, at(3))
    assert find(catalogue, record.id) == replace(record, seen_at=at(3))


# Events


def test_changes_of_calls_write_events(catalogue: Catalogue) -> None:
    """Each change of a call writes one event, after the event for the agent who left."""
    before = newest(catalogue)
    call = build_call(id=f"main-{uuid4()}", state="ringing", agent=None)
    steps = [
        call,
        replace(call, state="up", agent="2001"),
        replace(call, state="up", agent="2001"),
        replace(call, state="up", agent="2002"),
        replace(call, state="ended", agent="2002"),
    ]
    for step in steps:
        with catalogue.begin() as tx:
            calls.save_calls(tx, [step])
    written = events_since(catalogue, before)
    assert [(event.type, event.agent) for event in written] == [
        ("call.ringing", None),
        ("call.up", "2001"),
        ("call.left", "2001"),
        ("call.changed", "2002"),
        ("call.ended", "2002"),
    ]
    assert written[2].data == {"id": call.id, "pbx": call.pbx, "state": "up", "agent": "2001"}
    assert {event.data["id"] for event in written} == {call.id}


def test_states_of_recordings_write_events(catalogue: Catalogue) -> None:
    """A move writes its event in its own transaction: a rollback removes both."""
    before = newest(catalogue)
    record = build_recording(state="requested", agent="2001")
    with catalogue.begin() as tx:
        recordings.create_recording(tx, record)
        recordings.begin(tx, record.id, at=NOW)
        recordings.open_pause(tx, record.id, at=NOW, by="ann")
    with catalogue.begin() as tx:
        recordings.move(tx, record.id, to="captured")
        tx.rollback()
    written = events_since(catalogue, before)
    states = ["requested", "recording", "paused"]
    assert [event.type for event in written] == [f"recording.{state}" for state in states]
    assert [event.data["state"] for event in written] == states
    assert {(event.agent, event.data["id"]) for event in written} == {("2001", str(record.id))}


def test_steps_of_spies_write_events(catalogue: Catalogue) -> None:
    """Each step of a spy writes an event, with the agent of its call."""
    here, there = f"main-{uuid4()}", f"main-{uuid4()}"
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=here, agent="a"), build_call(id=there, agent="b")])
    before = newest(catalogue)
    record = keep(catalogue, call_id=here)
    with catalogue.begin() as tx:
        spies.move_spy(tx, record.id, to="ringing")
        spies.move_spy(tx, record.id, to="live", live_at=NOW)
        spies.set_call(tx, record.id, there)
        spies.set_call(tx, record.id, there)
        spies.move_spy(tx, record.id, to="ended", ended_at=NOW, cause="hung-up")
    written = events_since(catalogue, before)
    assert [(event.type, event.agent) for event in written] == [
        ("spy.requested", "a"),
        ("spy.ringing", "a"),
        ("spy.live", "a"),
        ("spy.moved", "b"),
        ("spy.ended", "b"),
    ]
    assert written[-1].data["cause"] == "hung-up"


def test_no_event_is_skipped(catalogue: Catalogue) -> None:
    """Newer events stay hidden until an older transaction ends, so that readers skip none."""
    before = newest(catalogue)
    with catalogue.begin() as slow:
        events.add_event(slow, "call.up", {"id": "slow"})
        with catalogue.begin() as quick:
            events.add_event(quick, "call.up", {"id": "quick"})
        assert events_since(catalogue, before) == ()
        assert newest(catalogue) == before
        with catalogue.begin() as tx:
            assert events.are_hidden(tx)
    written = events_since(catalogue, before)
    assert [event.data["id"] for event in written] == ["slow", "quick"]
    assert events_since(catalogue, written[0].id) == written[1:]
    with catalogue.begin() as tx:
        assert not events.are_hidden(tx)
        assert events.has_event(tx, written[0].id)


def test_readers_beside_many_writers_miss_nothing(catalogue: Catalogue) -> None:
    """While eight threads write, a reader that goes on from its last event sees each once."""
    after = newest(catalogue)

    def write(writer: int) -> None:
        for number in range(25):
            with catalogue.begin() as tx:
                events.add_event(tx, "call.up", {"id": f"{writer}.{number}"})
                tx.execute(text("SELECT pg_sleep(random() * 0.01)"))

    seen: list[str] = []
    deadline = time.monotonic() + 30
    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, writer) for writer in range(8)]
        while len(seen) < 200 and time.monotonic() < deadline:
            for event in events_since(catalogue, after):
                seen.append(event.data["id"])
                after = event.id
        assert all(future.exception(10) is None for future in writing)
    assert sorted(seen) == sorted({f"{writer}.{n}" for writer in range(8) for n in range(25)})


def test_old_events_are_dropped(catalogue: Catalogue) -> None:
    """Old events are dropped, and the place of a reader among them is then unknown."""
    before = newest(catalogue)
    with catalogue.begin() as tx:
        events.add_event(tx, "call.up", {"id": "old"})
    (event,) = events_since(catalogue, before)
    with catalogue.begin() as tx:
        assert events.drop_events(tx, event.at - timedelta(days=1)) == 0
        assert events.drop_events(tx, event.at + timedelta(seconds=1)) > 0
        assert not events.has_event(tx, event.id)
        assert events.list_events(tx, None, 10) == ()


@pytest.mark.parametrize(
    "wrong", ["", "1", "1-", "-1-2", "1-2-3", "\u0661-\u0662", "9" * 30 + "-1"]
)
def test_other_texts_are_bad_cursors(catalogue: Catalogue, wrong: str) -> None:
    """A text of another form raises BadCursor, before the database sees it."""
    with catalogue.begin() as tx, pytest.raises(BadCursor):
        events.list_events(tx, wrong, 1)


def test_a_commit_ends_a_wait(catalogue: Catalogue) -> None:
    """A wait ends soon after an event is committed, or at its deadline."""
    with Notifications(catalogue) as notifications:
        seen = notifications.wait(0, timeout_s=10)  # it listens now
        began = time.monotonic()
        assert notifications.wait(seen, timeout_s=0.2) == seen
        assert time.monotonic() - began >= 0.2
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(notifications.wait, seen, timeout_s=20)
            with catalogue.begin() as tx:
                events.add_event(tx, "call.up", {"id": "x"})
            began = time.monotonic()
            assert waiting.result(20) > seen
            assert time.monotonic() - began < 10


def test_a_lost_connection_is_replaced(catalogue: Catalogue) -> None:
    """After a lost connection the wait ends, and the next event ends the next wait."""
    listening = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query = 'LISTEN earwitness'"
    )
    with Notifications(catalogue) as notifications:
        seen = notifications.wait(0, timeout_s=10)
        with catalogue.begin() as tx:
            assert tx.execute(listening).all()
        again = notifications.wait(seen, timeout_s=10)
        assert again > seen
        with catalogue.begin() as tx:
            events.add_event(tx, "call.up", {"id": "x"})
        assert notifications.wait(again, timeout_s=10) > again


def test_the_beginning_is_before_every_event(catalogue: Catalogue) -> None:
    """BEGINNING is the newest id of an empty table, and the id of no event."""
    with catalogue.begin() as tx:
        events.drop_events(tx, datetime.now(UTC) + timedelta(days=1))
        assert events.newest_event_id(tx) == BEGINNING
        assert not events.has_event(tx, BEGINNING)


# The audit trail, tokens


def test_the_audit_trail_keeps_an_entry(catalogue: Catalogue) -> None:
    """An entry has its actor, action, subject, outcome, detail and time."""
    with catalogue.begin() as tx:
        audit.add_audit(
            tx,
            actor=ANN,
            action="spy.start",
            subject="main-1.0",
            outcome="refused",
            detail={"mode": "barge"},
        )
        row = tx.execute(select(audit_table).order_by(audit_table.c.id.desc()).limit(1)).one()
    kept = (row.actor_kind, row.actor, row.action, row.subject, row.outcome, row.detail)
    assert kept == ("user", "ann", "spy.start", "main-1.0", "refused", {"mode": "barge"})
    assert datetime.now(UTC) - row.at < timedelta(minutes=1)


def test_removed_rights_are_saved_with_the_token(catalogue: Catalogue) -> None:
    """The rights that a token lacks are kept with it."""
    with catalogue.begin() as tx:
        made, secret = tokens.create_token(tx, name="s", role="supervisor", without=["spies.barge"])
        token = tokens.find_token(tx, secret)
    assert token == made
    assert (token.without, token.scopes) == (("spies.barge",), ())
