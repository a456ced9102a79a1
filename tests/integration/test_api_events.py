"""Server-sent events: their visibility, resuming, and many streams at once."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import requests
from api_client import NOW, ApiClient, TokenMaker, build_call, build_recording, build_spy
from served import Service, serving
from uuid_utils.compat import uuid7

from api.feed import MOST_OF_OWNER, MOST_STREAMS, Feed
from api.fields.calls import call_fields
from api.routes import events as route
from api.services import EXTENSION
from lab.waiting import until
from storage.catalogue import calls, conferences, events, recordings, spies
from storage.catalogue.engine import Catalogue
from storage.records import ConferenceRecord, MemberRecord

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Event:
    """One event as a browser reads it from a stream."""

    id: str
    type: str
    data: Mapping[str, Any]


class Stream:
    """A stream that a thread reads into `events`."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        assert connection.sock is not None
        self._socket = connection.sock
        self._response = response
        self.events: list[Event] = []
        self.last_id = ""
        self.is_open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect, like a browser whose tab is closed."""
        with suppress(OSError):  # the server went first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)

    def _read(self) -> None:
        block: dict[str, str] = {}
        with suppress(OSError, HTTPException):
            while line := self._response.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name:
                    block[name] = value
                    continue
                self.last_id = block.get("id", self.last_id)
                if "event" in block:
                    data = json.loads(block["data"])
                    self.events.append(Event(block["id"], block["event"], data))
                block = {}
        self.is_open = False

    def types(self) -> list[str]:
        """Return the types of the events."""
        return [event.type for event in self.events]


@pytest.fixture(scope="module")
def service(arguments: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service for the tests that do not end it."""
    with serving(arguments, tmp_path_factory.mktemp("service")) as service:
        yield service


@contextmanager
def following(service: Service, token: str, last: str | None = None) -> Iterator[Stream]:
    """Open a stream, and wait for its start."""
    headers = {"Authorization": f"Bearer {token}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    with closing(HTTPConnection(urlsplit(service.url).netloc, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/api/v1/events", headers=headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers.get_content_type() == "text/event-stream"
        stream = Stream(connection, response)
        until(lambda: stream.last_id, PATIENCE_S)
        yield stream
        stream.close()


def ring(catalogue: Catalogue, **fields: Any) -> str:
    """Store a ringing call, and return its id."""
    call_id = f"main-{uuid4()}"
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(**{"id": call_id, "state": "ringing"} | fields)])
    return call_id


def has(stream: Stream, *ids: str) -> bool:
    """Whether the stream has events of all these ids."""
    return {event.data["data"]["id"] for event in stream.events} >= set(ids)


# The visible events


def test_events_arrive_at_once(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """Events of a call, its recording and its spy arrive at once, in order."""
    with following(service, make_token(name="root", role="admin")) as stream:
        call_id = ring(catalogue, agent="2001")
        spy = build_spy(call_id=call_id)
        recording = build_recording(call_id=call_id, state="requested")
        with catalogue.begin() as tx:
            recordings.create_recording(tx, recording)
            spies.create_spy(tx, spy)
        until(lambda: has(stream, call_id, str(recording.id), str(spy.id)), PATIENCE_S)
    assert stream.types() == ["call.ringing", "recording.requested", "spy.requested"]
    first = stream.events[0].data
    assert first["type"] == "call.ringing"
    expected = {"id": call_id, "pbx": "main", "state": "ringing", "direction": "inbound"}
    assert first["data"].items() >= (expected | {"queue": None, "agent": "2001"}).items()
    with catalogue.begin() as tx:
        listed = call_fields(calls.get_call(tx, call_id), [], [], None)
    beside = {"channels", "recordings", "spies", "decision", "dial"}
    assert first["data"].keys() == listed.keys() - beside
    assert first["at"].endswith("Z")


def test_a_team_sees_the_conferences_with_its_agents(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """A supervisor follows the conferences that he opened, and those that an agent of his joins."""
    make_token(name="2001", role="agent", team="one")
    make_token(name="2002", role="agent", team="two")
    ann_id = uuid7()
    ann = make_token(id=ann_id, name="ann", role="supervisor", team="one")
    before = hold_conference(catalogue, agent="2001")
    with following(service, ann) as hers:
        ours, theirs = (hold_conference(catalogue, agent=one) for one in ("2001", "2002"))
        own = hold_conference(catalogue, agent="2002", owner_id=ann_id)
        for conference_id in (before, theirs, ours, own):
            with catalogue.begin() as tx:
                conferences.end_conference(tx, conference_id, at=NOW, cause="ended")
        until(lambda: "conference.ended" in types_of(hers, own), PATIENCE_S)
    joined = "conference.joined"
    assert types_of(hers, before) == ["conference.ended"]
    assert types_of(hers, ours) == [joined, "conference.ended"]
    assert types_of(hers, theirs) == []
    assert types_of(hers, own) == ["conference.opened", joined, "conference.ended"]


def hold_conference(catalogue: Catalogue, *, agent: str, owner_id: UUID | None = None) -> UUID:
    """Open a conference that an agent joins, and return its id."""
    call_id = ring(catalogue, agent=agent)
    room = ConferenceRecord(
        uuid7(), "main", f"room-{uuid4().hex}", "open", "ann", NOW, owner_id=owner_id
    )
    member = MemberRecord(
        uuid7(), room.id, "requested", "member", NOW, channel_id=call_id, call_id=call_id
    )
    with catalogue.begin() as tx:
        conferences.create_conference(tx, room)
        conferences.create_member(tx, member)
        conferences.move_member(tx, member.id, to="in", at=NOW)
    return room.id


def types_of(stream: Stream, id_: UUID) -> list[str]:
    """Return the types of the events about this thing."""
    return [one.type for one in stream.events if one.data["data"]["id"] == str(id_)]


def test_a_stream_shows_only_permitted_events(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """A stream shows events by permission, by team, and of the caller's own spies."""
    make_token(name="2001", role="agent", team="one")
    make_token(name="2002", role="agent", team="two")
    ann_id = uuid7()
    ann = make_token(id=ann_id, name="ann", role="supervisor", team="one")
    scopes = ["events.read", "recordings.read"]
    crm = make_token(name="crm", role="service", scopes=scopes)
    with following(service, ann) as hers, following(service, crm) as its:
        ours, theirs = ring(catalogue, agent="2001"), ring(catalogue, agent="2002")
        own = build_spy(call_id=theirs, supervisor="ann", owner_id=ann_id)
        other = build_spy(call_id=theirs, supervisor="ann")
        recording = build_recording(state="requested", agent="2001")
        with catalogue.begin() as tx:
            spies.create_spy(tx, other)
            spies.create_spy(tx, own)
            recordings.create_recording(tx, recording)
        until(lambda: has(hers, str(recording.id)) and has(its, str(recording.id)), PATIENCE_S)
    assert [event.data["data"]["id"] for event in hers.events] == [
        ours,
        str(own.id),
        str(recording.id),
    ]
    assert its.types() == ["recording.requested"]


def test_a_call_that_leaves_the_team(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """A call that leaves the team sends `call.left` to it; its listener sees the rest."""
    for agent in ("2001", "2002"):
        make_token(name=agent, role="agent", team=f"team-of-{agent}")
    ids = {"ann": uuid7(), "bob": uuid7()}
    tokens = [
        make_token(id=ids[name], name=name, role="supervisor", team="team-of-2001") for name in ids
    ]
    call = build_call(id=f"main-{uuid4()}", agent="2001")
    spy = build_spy(call_id=call.id, supervisor="ann", owner_id=ids["ann"])
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        spies.create_spy(tx, spy)
    with following(service, tokens[0]) as hers, following(service, tokens[1]) as his:
        for queue in ("a", "b"):
            with catalogue.begin() as tx:
                calls.save_calls(tx, [replace(call, agent="2002", queue=queue)])
        with catalogue.begin() as tx:
            spies.move_spy(tx, spy.id, to="ended", ended_at=call.started_at, cause="ended")
            calls.save_calls(tx, [replace(call, agent="2002", queue="c")])
        last = ring(catalogue, agent="2001")
        until(lambda: has(hers, last) and has(his, last), PATIENCE_S)
    own = ["call.left", "call.changed", "call.changed", "spy.ended", "call.ringing"]
    assert (hers.types(), his.types()) == (own, ["call.left", "call.ringing"])


def test_events_need_a_permission(client: ApiClient, make_token: TokenMaker) -> None:
    """Following events needs its own permission."""
    reader = make_token(name="reader", role="service", scopes=["calls.read"])
    assert client.as_holder_of(reader).get("/api/v1/events").status_code == 403
    assert client.as_holder_of(None).get("/api/v1/events").status_code == 401


def test_a_head_takes_no_place(client: ApiClient) -> None:
    """HEAD answers the media type, and opens no stream."""
    for _ in range(MOST_STREAMS + 1):
        answered = client.request("HEAD", "/api/v1/events")
    assert (answered.status_code, answered.mimetype) == (200, "text/event-stream")


# A break


def test_a_client_that_comes_back_misses_nothing(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """`Last-Event-ID` resumes: each missed event arrives once, then the new ones."""
    token = make_token(name="root", role="admin")
    with following(service, token) as stream:
        first = ring(catalogue)
        until(lambda: has(stream, first), PATIENCE_S)
    missed = [ring(catalogue) for _ in range(3)]
    with following(service, token, stream.events[-1].id) as stream:
        until(lambda: has(stream, *missed), PATIENCE_S)
        now = ring(catalogue)
        until(lambda: has(stream, now), PATIENCE_S)
    assert [event.data["data"]["id"] for event in stream.events] == [*missed, now]


def test_a_restart_loses_nothing(
    arguments: str, tmp_path: Path, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """An ending service closes its streams, and the next one resumes them."""
    token = make_token(name="root", role="admin")
    with serving(arguments, tmp_path) as service, following(service, token) as stream:
        first = ring(catalogue)
        until(lambda: has(stream, first), PATIENCE_S)
        service.process.terminate()
        assert service.process.wait(10) == 0
        until(lambda: not stream.is_open, PATIENCE_S)
    missed = ring(catalogue)
    (tmp_path / "ended").unlink()
    with (
        serving(arguments, tmp_path) as service,
        following(service, token, stream.last_id) as again,
    ):
        until(lambda: has(again, missed), PATIENCE_S)
    assert len(again.events) == 1


def test_a_client_learns_that_events_were_lost(
    service: Service, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """If its last event was dropped, a client gets `events.lost` first."""
    with following(service, make_token(name="root", role="admin"), "1-1") as stream:
        until(lambda: stream.types() == ["events.lost"], PATIENCE_S)
        assert stream.events[0].data == {}
        call_id = ring(catalogue)
        until(lambda: len(stream.events) == 2, PATIENCE_S)
    assert stream.events[1].data["data"]["id"] == call_id


def test_a_malformed_event_id_is_an_error(client: ApiClient) -> None:
    """A wrong event id is 422 `bad-cursor`, before the stream starts."""
    answered = client.get("/api/v1/events", headers={"Last-Event-ID": "yesterday"})
    assert (answered.status_code, answered.get_json()["error_id"]) == (422, "bad-cursor")


def test_a_quiet_stream_sends_comments(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet stream sends comments, so that no proxy closes it."""
    monkeypatch.setattr(route, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(route, "RIGHTS_EVERY_S", 0.05)
    answered = client.get("/api/v1/events")
    stream = iter(answered.response)
    lines = [next(stream) for _ in range(3)]
    answered.close()
    assert lines[0].startswith(b"retry: ")
    assert [one.startswith(b": ") for one in lines[1:]] == [True, True]


def test_a_stream_ends_with_the_token(
    client: ApiClient, make_token: TokenMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream ends when its token is revoked."""
    monkeypatch.setattr(route, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(route, "RIGHTS_EVERY_S", 0.05)
    name = f"follower-{uuid4()}"
    answered = client.as_holder_of(make_token(name=name, role="supervisor")).get("/api/v1/events")
    stream = iter(answered.response)
    assert next(stream).startswith(b"retry: ")
    assert next(stream).startswith(b": ")
    (own,) = [one for one in client.get("/api/v1/tokens").json["items"] if one["name"] == name]
    assert client.delete(f"/api/v1/tokens/{own['id']}").status_code == 204
    for _ in stream:
        pass  # an open stream would never end here
    answered.close()


# Many


def test_streams_leave_room_for_requests(service: Service, make_token: TokenMaker) -> None:
    """While 100 streams are open, other requests are answered at once."""
    tokens = [make_token(name="root", role="admin") for _ in range(100 // MOST_OF_OWNER)]
    headers = {"Authorization": f"Bearer {tokens[0]}"}
    with ExitStack() as stack:
        streams = [
            stack.enter_context(following(service, tokens[number % len(tokens)]))
            for number in range(98)  # and one connection more, all of one address
        ]
        began = time.monotonic()
        for _ in range(10):
            assert requests.get(f"{service.url}/api/v1/calls", headers=headers, timeout=5).ok
        assert time.monotonic() - began < 5
        assert all(stream.is_open for stream in streams)


def test_too_many_streams_are_refused(
    client: ApiClient, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stream too many is 503 `busy` with `Retry-After`; a closed stream makes room."""
    extensions = client.application.extensions
    small = replace(extensions[EXTENSION], feed=Feed(catalogue, most_streams=2))
    monkeypatch.setitem(extensions, EXTENSION, small)
    first, second, third = (client.get("/api/v1/events") for _ in range(3))
    assert (second.status_code, third.status_code) == (200, 503)
    assert third.get_json()["error_id"] == "busy"
    assert third.headers["Retry-After"]
    first.close()
    fourth = client.get("/api/v1/events")
    assert fourth.status_code == 200
    second.close()
    fourth.close()


def test_one_owner_has_few_streams(client: ApiClient, make_token: TokenMaker) -> None:
    """One stream too many of an owner is 429 `too-many-streams`; others still open theirs."""
    greedy = client.as_holder_of(make_token(name=f"greedy-{uuid4()}", role="admin"))
    opened = [greedy.get("/api/v1/events") for _ in range(MOST_OF_OWNER)]
    assert {one.status_code for one in opened} == {200}
    refused, others = greedy.get("/api/v1/events"), client.get("/api/v1/events")
    assert (refused.status_code, refused.get_json()["error_id"]) == (429, "too-many-streams")
    assert others.status_code == 200
    opened.pop().close()
    again = greedy.get("/api/v1/events")
    assert again.status_code == 200
    for one in (*opened, others, again):
        one.close()


# The feed itself


@pytest.fixture
def small(catalogue: Catalogue) -> Iterator[Feed]:
    """Return a feed that keeps ten events and reads four at once."""
    feed = Feed(catalogue, kept=10, read_at_once=4)
    owner_id = uuid7()
    feed.enter(owner_id)
    yield feed
    feed.leave(owner_id)
    feed.close()


def test_dropped_events_are_read_from_the_catalogue(small: Feed, catalogue: Catalogue) -> None:
    """A slow reader gets every event once, in order, also those that the feed dropped."""
    with catalogue.begin() as tx:
        after = events.newest_event_id(tx)
    small.read_after(after, timeout_s=1.0)
    for number in range(35):
        with catalogue.begin() as tx:
            events.add_event(tx, "call.up", {"id": number})
    seen: list[int] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < 35 and time.monotonic() < deadline:
        found = small.read_after(after, timeout_s=1.0)
        seen += [row.event.data["id"] for row in found]
        after = found[-1].event.id if found else after
    assert seen == list(range(35))


def test_an_event_arrives_after_an_older_transaction(small: Feed, catalogue: Catalogue) -> None:
    """The feed polls for an event behind an older transaction, which notifies nobody."""
    with catalogue.begin() as tx:
        after = events.newest_event_id(tx)
    with catalogue.begin() as slow:
        slow.exec_driver_sql("SELECT pg_current_xact_id()")
        with catalogue.begin() as tx:
            events.add_event(tx, "call.up", {"id": "hidden"})
        assert not small.read_after(after, timeout_s=0.3)
    began = time.monotonic()
    (row,) = small.read_after(after, timeout_s=20)
    assert row.event.data["id"] == "hidden"
    assert time.monotonic() - began < 10
