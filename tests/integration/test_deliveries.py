"""Deliver events to webhooks: order, failing receivers, lost events and killed workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, TokenMaker
from sqlalchemy import text
from standardwebhooks import Webhook

from api.services import EXTENSION
from lab.waiting import until
from recorder.work import tasks
from recorder.work.webhooks import Sender
from storage import jobs
from storage.catalogue import events, webhooks
from storage.catalogue.engine import Catalogue
from tests.service import REPOSITORY

PATIENCE_S = 20.0
# A worker counts as dead after 12 s, and a job looks for dead workers every 5 s.
PUT_BACK_WITHIN_S = 40.0
Answer = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Request:
    """A request to the receiver."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the event."""
        return self.headers["webhook-id"]


class Receiver:
    """A customer's server; `answers` returns its answer to the n-th request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.answers: Callable[[Request, int], Answer] = lambda request, n: (204, {})
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps connections

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(headers, body)
                receiver.requests.append(request)
                status, more = receiver.answers(request, len(receiver.requests))
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                body = b"thank you" if status != 204 else b""
                if "Content-Length" not in more:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=opens-it"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def verified(self, secret: str) -> list[Any]:
        """Return the body of every request; raise an error for a wrong signature."""
        return [Webhook(secret).verify(one.body, one.headers) for one in list(self.requests)]


@contextmanager
def listening() -> Iterator[Receiver]:
    """Yield a running receiver."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that accepts every event."""
    with listening() as receiver:
        yield receiver


@dataclass(frozen=True)
class Made:
    """A new webhook."""

    client: ApiClient
    id: str
    secret: str

    @property
    def listed(self) -> dict[str, Any]:
        """The webhook as the API lists it now."""
        items = self.client.get("/api/v1/webhooks").json["items"]
        return next(one for one in items if one["id"] == self.id)

    def is_up_to_date(self, catalogue: Catalogue) -> bool:
        """Return whether the webhook has received every event."""
        with catalogue.begin() as tx:
            found = webhooks.get_webhook(tx, UUID(self.id))
            return not events.list_events(tx, found.after, 1)

    def list_jobs(self, catalogue: Catalogue) -> list[str]:
        """Return the states of the webhook's jobs."""
        query = text("SELECT status::text FROM procrastinate_jobs WHERE lock = :id")
        with catalogue.begin() as tx:
            return list(tx.scalars(query, {"id": self.id}))


Make = Callable[..., Made]


def send_to_private(client: ApiClient, monkeypatch: pytest.MonkeyPatch, *, allowed: bool) -> None:
    """Let the API send to private addresses, or no longer."""
    extensions = client.application.extensions
    make_sender = partial(Sender, allow_private_addresses=allowed)
    changed = replace(extensions[EXTENSION], make_sender=make_sender)
    monkeypatch.setitem(extensions, EXTENSION, changed)


@pytest.fixture
def make(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that creates webhooks, which are deleted at the end.

    Their receivers are on this machine, so the API may send to private addresses meanwhile.
    """
    send_to_private(client, monkeypatch, allowed=True)
    made: list[Made] = []

    def create(receiver: Receiver, *types: str, by: ApiClient = client) -> Made:
        answer = by.post("/api/v1/webhooks", json={"url": receiver.url, "types": types})
        assert answer.status_code == 201, answer.text
        made.append(Made(client, answer.json["id"], answer.json["secret"]))
        return made[-1]

    yield create
    for one in made:
        client.delete(f"/api/v1/webhooks/{one.id}")


# A worker that retries without a wait; at one address its sender has a defect.
WORKER = """
import json, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until it works
from recorder.work import deliveries, tasks
from recorder.work.webhooks import Sender
from storage import jobs
from storage.catalogue.engine import Catalogue
url, to_private, broken = json.loads(sys.argv[1])
jobs.LOOK_EVERY_S = deliveries.LOOK_EVERY_S = 0.05
class Broken(Sender):
    def send(self, url, secret, event):
        if url == broken:
            raise LookupError("a defect")
        return super().send(url, secret, event)
catalogue = Catalogue(url)
make_sender = lambda: Broken(allow_private_addresses=to_private)
deliverer = deliveries.Deliverer(catalogue, make_sender, uniform=lambda low, high: 0.0)
@jobs.app.task(name="mark")
def mark(path):
    open(path, "w").close()
with deliveries.looking(catalogue):
    context = {"deliverer": deliverer, "catalogue": catalogue}
    jobs.run_worker(url, context, tasks.QUEUES)
"""


@contextmanager
def working(url: str, *, to_private: bool = True, broken: str = "") -> Iterator[None]:
    """Run a worker for the length of the block."""
    command = [sys.executable, "-c", WORKER, json.dumps([url, to_private, broken])]
    worker = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        yield
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
    finally:
        worker.kill()
        worker.wait(5)


@pytest.fixture
def worker(database_url: str) -> Iterator[None]:
    """Run a worker for the length of the test."""
    with working(database_url):
        yield


def happen(catalogue: Catalogue, *types: str) -> list[str]:
    """Add events of these types, each in its own transaction; return their subjects."""
    names = [str(uuid4()) for _ in types]
    for type_, name in zip(types, names, strict=True):
        with catalogue.begin() as tx:
            events.add_event(tx, type_, {"id": name})
    return names


def names_of(received: list[Any]) -> list[str]:
    """Return the subject of each event."""
    return [one["data"]["id"] for one in received]


# Managing webhooks


def test_a_webhook(client: ApiClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret is shown once; neither the secret nor the whole address is in the audit trail."""
    send_to_private(client, monkeypatch, allowed=True)
    made = client.post("/api/v1/webhooks", json={"url": receiver.url, "types": ["call.*"]})
    assert made.status_code == 201
    assert made.json["secret"].startswith("whsec_")
    assert (made.json["types"], made.json["created_by"]) == (["call.*"], "root")
    listed = client.get("/api/v1/webhooks")
    assert made.json["id"] in listed.text
    assert made.json["secret"] not in listed.text
    path = f"/api/v1/webhooks/{made.json['id']}"
    assert client.delete(path).status_code == 204
    assert client.delete(path).json["error_id"] == "no-such-webhook"
    assert client.post(f"{path}/test").json["error_id"] == "no-such-webhook"
    trail = client.get(f"/api/v1/audit?subject={made.json['id']}").json["items"]
    assert [one["action"] for one in trail] == ["webhook.delete", "webhook.create"]
    assert made.json["secret"] not in str(trail)
    assert "opens-it" not in str(trail)


def test_a_secret_is_in_no_repr(catalogue: Catalogue, make: Make, receiver: Receiver) -> None:
    """The records of webhooks do not hold their secrets."""
    made = make(receiver)
    with catalogue.begin() as tx:
        assert webhooks.get_secret(tx, UUID(made.id)) == made.secret
        assert made.secret.removeprefix("whsec_") not in repr(webhooks.list_webhooks(tx).items)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Field required"),
        ({"url": "ftp://example.com"}, "expected a URL such as https://example.com/hook"),
        ({"url": "https://"}, "expected a URL such as"),
        ({"url": "example.com/hook"}, "expected a URL such as"),
        ({"url": "https://me:secret@example.com"}, "expected a URL such as"),
        ({"url": "https://@example.com"}, "expected a URL such as"),
        ({"url": "https://example.com:99999"}, "expected a URL such as"),
        ({"url": "https://exa mple.com"}, "expected a URL such as"),
        ({"url": "https://[::1"}, "expected a URL such as"),
        ({"url": f"https://{'a' * 64}.com"}, "expected a URL such as"),
        ({"url": f"https://example.com/{'a' * 2000}"}, "String should have at most 2000"),
        ({"url": "https://example.com", "types": ["calls.*"]}, "expected a type of event"),
        ({"url": "https://example.com", "types": ["call"]}, "expected a type of event"),
        ({"url": "https://example.com", "types": ["*"]}, "expected a type of event"),
        ({"url": "https://example.com", "secret": "mine"}, "unknown"),
    ],
)
def test_a_bad_webhook_is_refused(client: ApiClient, body: dict[str, Any], message: str) -> None:
    """The error names the mistake, and does not repeat a password from the request."""
    refused = client.post("/api/v1/webhooks", json=body)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["msg"].startswith(message)
    assert "me:secret" not in refused.text


def test_only_an_administrator_manages_webhooks(
    client: ApiClient, make_token: TokenMaker, make: Make, receiver: Receiver
) -> None:
    """A service with the scope `system.read` may list webhooks, and nothing else."""
    path = f"/api/v1/webhooks/{make(receiver).id}"
    boss = client.as_holder_of(make_token(name=f"boss-{uuid4()}", role="supervisor"))
    reader = client.as_holder_of(
        make_token(name=f"reader-{uuid4()}", role="service", scopes=["system.read"])
    )
    assert boss.get("/api/v1/webhooks").status_code == 403
    assert reader.get("/api/v1/webhooks").status_code == 200
    for other in (boss, reader):
        body = {"url": "https://example.com"}
        assert other.post("/api/v1/webhooks", json=body).status_code == 403
        assert other.post(f"{path}/test").status_code == 403
        assert other.delete(path).status_code == 403
    assert receiver.requests == []


def test_a_webhook_can_be_tested(client: ApiClient, make: Make, receiver: Receiver) -> None:
    """The test event is sent at once and signed; the response is returned and audited."""
    made = make(receiver, "spy.live")
    path = f"/api/v1/webhooks/{made.id}/test"
    assert client.post(path).json == {"delivered": True, "status": 204, "told": "HTTP 204"}
    (event,) = receiver.verified(made.secret)
    assert (event["type"], event["data"]) == ("webhook.test", {"id": made.id})
    receiver.answers = lambda request, n: (500, {})
    assert client.post(path).json == {"delivered": False, "status": 500, "told": "HTTP 500"}
    receiver.close()
    assert client.post(path).json["told"] == "it cannot be reached"
    trail = client.get(f"/api/v1/audit?subject={made.id}&action=webhook.test").json["items"]
    assert [one["detail"]["told"] for one in trail][-1] == "HTTP 204"


# Allowed addresses


def test_a_private_address_is_refused(
    catalogue: Catalogue,
    database_url: str,
    make: Make,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a test nor an event goes to our own machine, unless the configuration allows it."""
    made = make(receiver)
    send_to_private(made.client, monkeypatch, allowed=False)
    tested = made.client.post(f"/api/v1/webhooks/{made.id}/test").json
    assert (tested["delivered"], tested["status"]) == (False, None)
    assert tested["told"].startswith("its address is private")
    happen(catalogue, "call.ended")
    with working(database_url, to_private=False):
        until(lambda: made.listed["failing_since"] is not None, PATIENCE_S)
    assert made.listed["last_error"].startswith("its address is private")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[fec0::1]", "169.254.169.254"]
)
def test_a_webhook_to_a_private_address_is_not_created(client: ApiClient, host: str) -> None:
    """The error names the key of the configuration, and the refusal is audited."""
    before = len(client.get("/api/v1/webhooks?limit=200").json["items"])
    refused = client.post("/api/v1/webhooks", json={"url": f"http://{host}:9/hook?key=opens-it"})
    assert refused.status_code == 422
    (fault,) = refused.json["errors"]
    assert fault["loc"] == ["body", "url"]
    assert "webhooks.allow_private_addresses" in fault["msg"]
    assert len(client.get("/api/v1/webhooks?limit=200").json["items"]) == before
    trail = client.get("/api/v1/audit?action=webhook.create&outcome=refused").json["items"]
    assert trail[0]["detail"]["host"] == host.strip("[]")
    assert "opens-it" not in str(trail[0])


def test_all_addresses_of_a_name_are_checked(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse a name with one private address; accept a name that has no address yet."""
    answers = {"mixed.example": ["1.1.1.1", "10.0.0.1"], "public.example": ["1.1.1.1"]}

    def resolve(host: str, port: int) -> list[str]:
        if host not in answers:
            raise socket.gaierror(-2, "unknown")
        return answers[host]

    extensions = client.application.extensions
    make_sender = partial(Sender, allow_private_addresses=False, resolve=resolve)
    changed = replace(extensions[EXTENSION], make_sender=make_sender)
    monkeypatch.setitem(extensions, EXTENSION, changed)
    for host, status in [("mixed.example", 422), ("public.example", 201), ("new.example", 201)]:
        answer = client.post("/api/v1/webhooks", json={"url": f"https://{host}/"})
        assert answer.status_code == status
        if status == 201:
            client.delete(f"/api/v1/webhooks/{answer.json['id']}")


def test_a_redirect_is_not_followed(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """The target of a redirect gets no request."""
    with listening() as other:
        receiver.answers = lambda request, n: (307, {"Location": other.url})
        made = make(receiver)
        happen(catalogue, "call.ended")
        with working(database_url):
            until(lambda: made.listed["last_error"] == "HTTP 307", PATIENCE_S)
        assert other.requests == []


# Delivery


def test_events_are_delivered_in_order(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """Each event of a wanted type comes once, signed, with the fields of the event stream."""
    happen(catalogue, "call.up")  # before there was a webhook
    made = make(receiver, "recording.*", "call.ended")
    types = ["recording.stored", "call.up", "call.ended", "spy.live", "recording.failed"] * 50
    names = happen(catalogue, *types)
    wanted = [name for name, one in zip(names, types, strict=True) if one not in SKIPPED]
    until(lambda: len(receiver.requests) == len(wanted), PATIENCE_S)
    received = receiver.verified(made.secret)
    assert names_of(received) == wanted
    assert {one["type"] for one in received} == set(types) - SKIPPED
    assert all(one.keys() == {"type", "at", "data"} for one in received)
    assert len({one.id for one in receiver.requests}) == len(wanted)
    assert receiver.requests[0].headers["content-type"] == "application/json"
    happen(catalogue, *["spy.live"] * 150)
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert len(receiver.requests) == len(wanted)
    assert made.listed["last_delivered_at"] is not None


SKIPPED = {"call.up", "spy.live"}


def test_a_connection_is_used_again(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """Many waiting events use one connection, with or without a body in the response."""
    receiver.answers = lambda request, n: (200 if n % 2 else 204, {})
    made = make(receiver)
    names = happen(catalogue, *["call.up"] * 50)
    with working(database_url):
        until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == names
    assert receiver.connections == 1


def test_a_body_that_breaks_off_does_not_matter(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """Only the status of a response counts."""
    promised = {"Content-Length": "100", "Content-Encoding": "gzip", "Connection": "close"}
    receiver.answers = lambda request, n: (200, promised)
    made = make(receiver)
    names = happen(catalogue, *["call.up"] * 3)
    with working(database_url):
        until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == names


def test_many_workers_deliver_an_event_once(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """Workers take turns: no event comes twice or out of order."""
    made = make(receiver)
    with working(database_url), working(database_url), working(database_url):
        names = [name for _ in range(20) for name in happen(catalogue, *["call.up"] * 5)]
        until(lambda: len(receiver.requests) >= len(names), PATIENCE_S)
        until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
        until(lambda: made.list_jobs(catalogue) == [], PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == names


def test_a_failing_receiver_gets_its_events_later(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """The events come later and in order; meanwhile the API lists the first failure and why."""
    ill = threading.Event()
    ill.set()
    receiver.answers = lambda request, n: (500 if ill.is_set() else 200, {})
    made = make(receiver)
    names = happen(catalogue, *["call.up"] * 10)
    until(lambda: made.listed["attempts"] > 2, PATIENCE_S)
    listed = made.listed
    assert listed["failing_since"] is not None
    assert (listed["last_error"], listed["last_delivered_at"]) == ("HTTP 500", None)
    assert len({one.id for one in receiver.requests}) == 1
    failures = len(receiver.requests)
    ill.clear()
    until(lambda: made.listed["failing_since"] is None, PATIENCE_S)
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    received = receiver.verified(made.secret)
    assert names_of(received)[-len(names) :] == names
    assert len(received) >= failures + len(names)


def test_no_webhook_waits_for_another(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """While one receiver does not answer at all, another one gets its events."""
    answer = threading.Event()
    with listening() as silent:
        silent.answers = lambda request, n: (200 if answer.wait(PATIENCE_S) else 500, {})
        slow, made = make(silent), make(receiver)
        names = happen(catalogue, *["call.up"] * 30)
        until(lambda: len(receiver.requests) == len(names), PATIENCE_S)
        assert len(silent.requests) == 1
        assert names_of(receiver.verified(made.secret)) == names
        answer.set()
        until(lambda: slow.is_up_to_date(catalogue), PATIENCE_S)
        assert names_of(silent.verified(slow.secret)) == names


def test_silent_receivers_delay_no_other_job(
    catalogue: Catalogue, worker: None, make: Make, tmp_path: Path
) -> None:
    """While many receivers hang, another receiver gets its events, and recordings are finished."""
    answer = threading.Event()
    with ExitStack() as stack:
        hanging = [stack.enter_context(listening()) for _ in range(8)]
        good = stack.enter_context(listening())
        for one in hanging:
            one.answers = lambda request, n: (200 if answer.wait(PATIENCE_S) else 500, {})
        silent = [make(one, "call.up") for one in hanging]
        happen(catalogue, "call.up")
        until(lambda: all(len(one.requests) == 1 for one in hanging), PATIENCE_S)
        made = make(good)
        names = happen(catalogue, "call.ended")
        until(lambda: len(good.requests) == 1, PATIENCE_S)
        assert names_of(good.verified(made.secret)) == names
        done = [tmp_path / str(n) for n in range(4)]
        with catalogue.begin() as tx:
            for path in done:
                jobs.defer(tx, "mark", lock=path.name, path=str(path))
        until(lambda: all(path.exists() for path in done), PATIENCE_S)
        assert [one.listed["attempts"] for one in silent] == [0] * 8  # all of them still hang
        answer.set()
        until(lambda: all(one.is_up_to_date(catalogue) for one in silent), PATIENCE_S)


def test_many_webhooks_to_a_silent_receiver_take_two_places(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """They take turns, two at a time, and each of them gets its event in the end."""
    answer = threading.Event()
    receiver.answers = lambda request, n: (200 if answer.wait(PATIENCE_S) else 500, {})
    silent = [make(receiver, "call.up") for _ in range(6)]
    happen(catalogue, "call.up")
    until(lambda: len(receiver.requests) == 2, PATIENCE_S)
    with listening() as good:
        make(good)
        happen(catalogue, "call.ended")
        until(lambda: len(good.requests) == 1, PATIENCE_S)
    assert len(receiver.requests) == 2
    answer.set()
    until(lambda: all(one.is_up_to_date(catalogue) for one in silent), PATIENCE_S)
    assert len(receiver.requests) == 6


def test_a_defect_ends_no_delivery(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """A defect at one webhook delays no other, and its own events come after the repair."""
    with listening() as other:
        broken, made = make(receiver), make(other)
        with working(database_url, broken=receiver.url):
            for _ in range(3):
                happen(catalogue, "call.up")
                until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
        assert len(other.requests) == 3
        assert broken.list_jobs(catalogue) == ["todo"]
        with working(database_url):
            until(lambda: broken.is_up_to_date(catalogue), PATIENCE_S)
        assert len(receiver.requests) == 3


def test_a_refused_event_is_skipped(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """An event that is rejected five times is counted and skipped; the next events come."""
    made = make(receiver)
    receiver.answers = lambda request, n: (400 if b"recording.failed" in request.body else 200, {})
    names = happen(catalogue, "call.up", "recording.failed", "call.ended")
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    received = names_of(receiver.verified(made.secret))
    assert received == [names[0], *[names[1]] * 5, names[2]]
    listed = made.listed
    assert (listed["refused"], listed["last_error"]) == (1, "HTTP 400")
    assert (listed["failing_since"], listed["attempts"]) == (None, 0)


def test_410_stops_a_webhook(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """After 410 a webhook gets no more events; other webhooks do."""
    gone = make(receiver)
    receiver.answers = lambda request, n: (410, {})
    happen(catalogue, "call.up")
    until(lambda: gone.listed["gone"], PATIENCE_S)
    with listening() as other:
        made = make(other)
        names = happen(catalogue, *["call.up"] * 3)
        until(lambda: len(other.requests) == len(names), PATIENCE_S)
        assert made.listed["gone"] is False
    assert len(receiver.requests) == 1


def test_a_successful_test_ends_the_wait(
    catalogue: Catalogue,
    worker: None,
    make: Make,
    receiver: Receiver,
) -> None:
    """After the repair of a receiver, a test delivers the waiting events at once."""
    receiver.answers = lambda request, n: (503, {"Retry-After": "3000"} if n == 1 else {})
    made = make(receiver)
    happen(catalogue, "call.up")
    until(lambda: made.listed["retry_at"] is not None, PATIENCE_S)
    retry_at = datetime.fromisoformat(made.listed["retry_at"])
    assert retry_at > datetime.now(UTC) + timedelta(minutes=45)
    receiver.answers = lambda request, n: (200, {})
    assert made.client.post(f"/api/v1/webhooks/{made.id}/test").json["delivered"]
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)


def test_lost_events_are_announced(
    catalogue: Catalogue,
    database_url: str,
    make: Make,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A webhook whose events were dropped gets `events.lost`, and then the next events."""
    made = make(receiver, "call.*")
    with listening() as healthy:
        fine = make(healthy, "call.*")
        receiver.answers = lambda request, n: (500, {})
        happen(catalogue, "call.ringing")
        with working(database_url):
            until(lambda: made.listed["attempts"] > 0, PATIENCE_S)
            until(lambda: fine.is_up_to_date(catalogue), PATIENCE_S)
        monkeypatch.setattr(tasks, "EVENTS_KEPT_FOR", timedelta(seconds=-1))
        tasks.drop_events.func(SimpleNamespace(additional_context={"catalogue": catalogue}), 0)
        receiver.requests.clear()
        receiver.answers = lambda request, n: (200, {})
        names = happen(catalogue, "call.up", "call.ended")
        with working(database_url):
            until(lambda: len(receiver.requests) == 3, PATIENCE_S)
            until(lambda: len(healthy.requests) == 3, PATIENCE_S)
        received = receiver.verified(made.secret)
        assert [one["type"] for one in received] == ["events.lost", "call.up", "call.ended"]
        assert names_of(received[1:]) == names
        assert "events.lost" not in [one["type"] for one in healthy.verified(fine.secret)]


PUT = """
INSERT INTO event (xid, n, type, data) OVERRIDING SYSTEM VALUE
VALUES (:xid, 1, 'spy.switched', CAST('{"id": "foreign"}' AS jsonb))
"""
MOVE = "UPDATE webhook SET after = :after, retry_at = now() + interval '1 day' WHERE id = :id"


def test_a_dump_of_another_cluster_loses_no_new_event(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """A webhook with a place of another cluster gets `events.lost`, and then the next events."""
    made, xid = make(receiver, "spy.switched"), 1 << 40
    with catalogue.begin() as tx:
        tx.execute(text(PUT), {"xid": xid})
        tx.execute(text(MOVE), {"after": f"{xid}-1", "id": made.id})
    with catalogue.begin() as tx:
        assert not events.has_event(tx, f"{xid}-1")  # else a stream would wait for later events
    tasks.drop_events.func(SimpleNamespace(additional_context={"catalogue": catalogue}), 0)
    with catalogue.begin() as tx:
        assert not tx.scalar(text("SELECT count(*) FROM event WHERE xid = :xid"), {"xid": xid})
    names = happen(catalogue, "spy.switched")
    with working(database_url):
        until(lambda: len(receiver.requests) >= 2, PATIENCE_S)
    received = receiver.verified(made.secret)
    assert [one["type"] for one in received] == ["events.lost", "spy.switched"]
    assert names_of(received[1:]) == names


def test_a_deleted_webhook_gets_no_more_events(
    catalogue: Catalogue, worker: None, make: Make, receiver: Receiver
) -> None:
    """If a webhook is deleted during a request, this request is its last one."""
    sending, removed = threading.Event(), threading.Event()

    def answer(request: Request, n: int) -> Answer:
        sending.set()
        return (200 if removed.wait(PATIENCE_S) else 500), {}

    receiver.answers = answer
    made = make(receiver)
    happen(catalogue, *["call.up"] * 3)
    assert sending.wait(PATIENCE_S)
    assert made.client.delete(f"/api/v1/webhooks/{made.id}").status_code == 204
    removed.set()
    with listening() as other:
        make(other)
        happen(catalogue, "call.up")
        until(lambda: len(other.requests) == 1, PATIENCE_S)
    until(lambda: made.list_jobs(catalogue) == [], PATIENCE_S)
    assert len(receiver.requests) == 1


def test_a_worker_ends_after_its_present_event(
    catalogue: Catalogue, database_url: str, make: Make, receiver: Receiver
) -> None:
    """Another worker continues, and no event comes twice."""
    ended = threading.Event()
    receiver.answers = lambda request, n: (200 if ended.wait(0.1) else 204, {})  # slowly at first
    made = make(receiver)
    names = happen(catalogue, *["call.up"] * 100)
    with working(database_url):
        until(lambda: len(receiver.requests) >= 3, PATIENCE_S)
    assert len(receiver.requests) < len(names)
    assert "doing" not in made.list_jobs(catalogue)
    ended.set()
    with working(database_url):
        until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == names


# Rights


MAKES = ("system.write", "events.read")
READS = ("calls.read", "recordings.read")


@dataclass(frozen=True)
class Maker:
    """A service whose token makes webhooks."""

    name: str
    client: ApiClient


@pytest.fixture
def make_maker(client: ApiClient, make_token: TokenMaker) -> Callable[..., Maker]:
    """Return a function that makes a token with these scopes."""

    def create(*scopes: str, team: str | None = None) -> Maker:
        name = f"maker-{uuid4()}"
        secret = make_token(name=name, role="service", scopes=scopes, team=team)
        return Maker(name, client.as_holder_of(secret))

    return create


@pytest.mark.parametrize(
    ("scopes", "types", "missing"),
    [
        ((*MAKES, "calls.read"), ["call.*", "recording.stored"], "recordings.read"),
        (("system.write", "calls.read"), ["call.*"], "events.read"),
        ((*MAKES, *READS), [], "calls.dial"),
    ],
)
def test_a_webhook_sends_nothing_that_its_maker_may_not_see(
    client: ApiClient,
    make_maker: Callable[..., Maker],
    scopes: tuple[str, ...],
    types: list[str],
    missing: str,
) -> None:
    """Its creation is refused by the name of the missing permission, and this is audited."""
    maker = make_maker(*scopes)
    refused = maker.client.post(
        "/api/v1/webhooks", json={"url": "http://hook.invalid", "types": types}
    )
    assert (refused.status_code, refused.json["error_id"]) == (403, "forbidden")
    assert missing in refused.json["detail"]
    (row,) = client.get(f"/api/v1/audit?actor={maker.name}").json["items"]
    assert (row["action"], row["outcome"]) == (missing, "refused")
    assert maker.name not in client.get("/api/v1/webhooks?limit=200").text


@pytest.mark.usefixtures("worker")
def test_a_webhook_of_a_team_gets_the_events_of_its_agents(
    catalogue: Catalogue,
    make: Make,
    receiver: Receiver,
    make_token: TokenMaker,
    make_maker: Callable[..., Maker],
) -> None:
    """The events of other agents, and of calls without an agent, are not sent."""
    team, mine, theirs = (f"{word}-{uuid4()}" for word in ("team", "mine", "theirs"))
    make_token(name=mine, role="agent", team=team)
    make_token(name=theirs, role="agent", team=f"not-{team}")
    made = make(receiver, "call.*", by=make_maker(*MAKES, *READS, team=team).client)
    for agent in (theirs, mine, None, mine):
        with catalogue.begin() as tx:
            events.add_event(tx, "call.up", {"id": str(agent)}, agent=agent)
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == [mine, mine]
    assert made.listed["stopped"] is None


def change(catalogue: Catalogue, statement: str, **values: object) -> None:
    """Change the rights of an owner, without a word to anybody."""
    with catalogue.begin() as tx:
        assert tx.execute(text(statement), values).rowcount == 1


@pytest.mark.usefixtures("worker")
def test_a_right_that_is_lost_between_two_events(
    catalogue: Catalogue, make: Make, receiver: Receiver, make_maker: Callable[..., Maker]
) -> None:
    """Within one turn each event asks for the rights as they are then."""
    maker = make_maker(*MAKES, *READS)
    narrower = "UPDATE token SET scopes = :scopes WHERE name = :name"

    def answer(request: Request, n: int) -> Answer:
        if n == 1:
            change(catalogue, narrower, scopes=[*MAKES, "calls.read"], name=maker.name)
        return 204, {}

    receiver.answers = answer
    made = make(receiver, "call.*", "recording.*", by=maker.client)
    names = happen(catalogue, "recording.stored", "recording.failed", "call.up", "recording.stored")
    until(lambda: made.is_up_to_date(catalogue), PATIENCE_S)
    assert names_of(receiver.verified(made.secret)) == [names[0], names[2]]
    assert made.listed["stopped"] is None


@pytest.mark.parametrize(
    "lost",
    [
        ("DELETE FROM token WHERE name = :name", "owner-gone"),
        ("UPDATE token SET scopes = '{events.read,calls.read}' WHERE name = :name", "right-lost"),
        ("UPDATE token SET without = '{events.read}' WHERE name = :name", "right-lost"),
        ("UPDATE token SET expires_at = now() WHERE name = :name", "owner-gone"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_a_webhook_stops_with_the_right_of_its_maker(
    catalogue: Catalogue,
    make: Make,
    receiver: Receiver,
    make_maker: Callable[..., Maker],
    lost: tuple[str, str],
) -> None:
    """It stops for ever, the list says why, it is audited once, and a test sends nothing."""
    (statement, cause), maker = lost, make_maker(*MAKES, *READS)
    made = [make(receiver, "call.*", by=maker.client) for _ in range(2)]
    happen(catalogue, "call.up")
    until(lambda: len(receiver.requests) == 2, PATIENCE_S)
    change(catalogue, statement, name=maker.name)
    happen(catalogue, "call.ended", "call.ended")
    until(lambda: {one.listed["stopped"] for one in made} == {cause}, PATIENCE_S)
    for one in made:
        tested = one.client.post(f"/api/v1/webhooks/{one.id}/test")
        assert (tested.status_code, tested.json["error_id"]) == (409, "webhook-stopped")
        trail = one.client.get(f"/api/v1/audit?subject={one.id}&action=webhook.stop").json["items"]
        assert [(row["actor"], row["detail"]) for row in trail] == [("work", {"cause": cause})]
    until(lambda: [one.list_jobs(catalogue) for one in made] == [[], []], PATIENCE_S)
    assert len(receiver.requests) == 2


def test_a_revocation_stops_webhooks_at_once(
    client: ApiClient, make: Make, receiver: Receiver
) -> None:
    """No worker runs: the transaction of the revocation stops them, by the one who revoked."""
    body = {"name": f"maker-{uuid4()}", "role": "service", "scopes": [*MAKES, *READS]}
    token = client.post("/api/v1/tokens", json=body).json
    made = make(receiver, "call.*", by=client.as_holder_of(token["token"]))
    assert client.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
    assert made.listed["stopped"] == "owner-gone"
    trail = client.get(f"/api/v1/audit?subject={made.id}&action=webhook.stop").json["items"]
    assert [row["actor"] for row in trail] == ["root"]


def test_a_test_finds_that_the_maker_is_gone(
    catalogue: Catalogue, make: Make, receiver: Receiver, make_maker: Callable[..., Maker]
) -> None:
    """No worker runs, and no event happens: the test itself stops the webhook."""
    maker = make_maker(*MAKES, *READS)
    made = make(receiver, "call.*", by=maker.client)
    change(catalogue, "DELETE FROM token WHERE name = :name", name=maker.name)
    refused = made.client.post(f"/api/v1/webhooks/{made.id}/test")
    assert refused.json["error_id"] == "webhook-stopped"
    assert made.listed["stopped"] == "owner-gone"
    assert receiver.requests == []


# A worker that is killed


@pytest.fixture
def start_work(
    database_url: str, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts the role `work`, as a user does."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[data]\ndirectory = "{tmp_path / "var"}"\n[database]\nurl = "{database_url}"\n'
        '[objects]\nkind = "s3"\nendpoint_url = "http://127.0.0.1:1"\n'
        'access_key_id = "a"\nsecret_access_key = "b"\n'
        "[webhooks]\nallow_private_addresses = true\n"
    )
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "earwitness", "--config", str(config), "work"]
        with (tmp_path / "work.log").open("ab") as log:
            started.append(subprocess.Popen(command, cwd=REPOSITORY, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(5)
    assert "Traceback" not in (tmp_path / "work.log").read_text()


def test_a_worker_is_killed(
    catalogue: Catalogue,
    make: Make,
    receiver: Receiver,
    start_work: Callable[[], subprocess.Popen[bytes]],
) -> None:
    """Another worker repeats the unfinished event with the same id, and loses no event."""
    reached, killed = threading.Event(), threading.Event()

    def answer(request: Request, n: int) -> Answer:
        if n == 3:
            reached.set()
            killed.wait(PUT_BACK_WITHIN_S)
        return 200, {}

    receiver.answers = answer
    made = make(receiver)
    names = happen(catalogue, *["call.up"] * 6)
    first = start_work()
    assert reached.wait(PATIENCE_S)
    os.kill(first.pid, signal.SIGKILL)
    second = start_work()
    until(lambda: made.is_up_to_date(catalogue), PUT_BACK_WITHIN_S)
    killed.set()
    assert names_of(receiver.verified(made.secret)) == [*names[:3], names[2], *names[3:]]
    assert receiver.requests[2].id == receiver.requests[3].id
    second.terminate()
    assert second.wait(10) == 0
