"""A real nginx with the configuration that we ship, before the API and the media server."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from api_client import build_call, build_spy, store_audio
from requests.adapters import HTTPAdapter
from served import serving
from websockets.asyncio.client import connect

from api.routes.static import static_path
from lab.front import Front, front
from lab.ports import free_port
from lab.strangers import HABITS, Strangers, Target, ask, attacking
from lab.waiting import until
from recorder.media.server import MediaServer
from storage.catalogue import calls, spies
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore
from tests.fake_pbx import FakePbx
from tests.unit.recorder.media.fakes import FakeSpies

SOCKETS = 300
PATIENCE_S = 20.0
AUDIO = os.urandom(1 << 20) * 3


@pytest.fixture(scope="module")
def media_port() -> int:
    """Return the port at which a test may run a media server."""
    return free_port()


@pytest.fixture(scope="module")
def shown(
    arguments: str, media_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """Start the API, which trusts one proxy, and the front."""
    directory = tmp_path_factory.mktemp("front")
    for one in (directory, *directory.parents):  # nginx's own account has to pass
        if one.owner() == "root" and one != Path("/tmp"):  # noqa: S108
            one.chmod(one.stat().st_mode | 0o011)
    behind = json.dumps(json.loads(arguments) | {"proxies": 1})
    with serving(behind, directory) as service:
        port = int(service.url.rpartition(":")[2])
        with front(directory, port, media_port) as shown:
            yield shown


@pytest.fixture(scope="module")
def token(make_token: Callable[..., str]) -> str:
    """Return an admin's token."""
    return make_token(name="root", role="admin")


class From(HTTPAdapter):
    """Send from this address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Bind each connection to the address."""
        super().init_poolmanager(*args, **options, source_address=(self._address, 0))


def client(shown: Front, token: str = "", address: str = "127.0.0.1") -> requests.Session:
    """Return a client that trusts the front's certificate alone."""
    session = requests.Session()
    session.trust_env = False  # a bundle of the environment would replace the certificate
    session.verify = str(shown.certificate)
    session.mount("https://", From(address))
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def url(shown: Front, path: str) -> str:
    """Return an address of the front."""
    return f"https://127.0.0.1:{shown.port}{path}"


def test_everything_is_over_tls(shown: Front) -> None:
    """HTTP leads to HTTPS, which speaks HTTP/2 and tells browsers to stay."""
    plain = f"http://127.0.0.1:{shown.plain_port}/library"
    moved = requests.get(plain, allow_redirects=False, timeout=PATIENCE_S)
    assert (moved.status_code, moved.headers["Location"]) == (301, "https://127.0.0.1/library")
    answered = client(shown).get(url(shown, "/health/live"), timeout=PATIENCE_S)
    assert answered.headers["Strict-Transport-Security"]
    assert "nginx/" not in answered.headers["Server"]
    context = ssl.create_default_context(cafile=str(shown.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", shown.port), PATIENCE_S) as own,
        context.wrap_socket(own, server_hostname="localhost") as safe,
    ):
        assert safe.selected_alpn_protocol() == "h2"


def test_headers_and_bodies_are_bounded(shown: Front, token: str) -> None:
    """Long headers and bodies are refused by the front; lists of numbers may be longer."""
    ours = client(shown, token)
    long = ours.get(url(shown, "/"), headers={"A": 9000 * "a"}, timeout=PATIENCE_S)
    assert long.status_code == 400
    big = ours.post(url(shown, "/api/v1/searches"), data=1_100_000 * b" ", timeout=PATIENCE_S)
    assert big.status_code == 413
    numbers = "number\n" + "".join(f"+120255{one:05}\n" for one in range(90_000))
    sent = ours.post(
        url(shown, "/api/v1/do-not-call/import"),
        data=numbers.encode(),
        headers={"Content-Type": "text/csv"},
        timeout=60,
    )
    assert sent.status_code not in {413, 429, 502, 504}, sent.text
    assert "html" not in sent.headers["Content-Type"]


def test_the_api_knows_the_clients_address(shown: Front) -> None:
    """Failures of sign-in count for the client's own address, whatever header it sends."""
    form = {"name": f"nobody-{uuid4()}", "password": "wrong"}
    theirs, ours = client(shown, address="127.0.3.1"), client(shown, address="127.0.3.2")
    forged = {"X-Forwarded-For": "127.0.3.2"}

    tries = [
        theirs.post(url(shown, "/sign-in"), form, headers=forged, timeout=PATIENCE_S)
        for _ in range(11)
    ]
    assert [one.status_code for one in tries] == [401] * 10 + [429]
    tried = ours.post(url(shown, "/sign-in"), form, timeout=PATIENCE_S)
    assert tried.status_code == 401


def test_events_come_at_once(shown: Front, catalogue: Catalogue, token: str) -> None:
    """The front holds no event back, and does not compress the stream."""
    headers = {"Accept-Encoding": "gzip, br, zstd"}
    with client(shown, token) as ours:
        stream = ours.get(
            url(shown, "/api/v1/events"), headers=headers, stream=True, timeout=PATIENCE_S
        )
        assert "Content-Encoding" not in stream.headers
        lines = stream.iter_lines(chunk_size=1)
        assert next(lines).startswith(b"retry: ")
        call_id = f"main-{uuid4()}"
        with catalogue.begin() as tx:
            calls.save_calls(tx, [build_call(id=call_id, state="ringing")])
        assert any(call_id.encode() in line for line in lines)


def test_ranges_of_audio_pass(
    shown: Front, catalogue: Catalogue, objects: S3ObjectStore, token: str
) -> None:
    """A part of the audio, and all of it, arrive byte for byte."""
    key = "main/2026/11/23/01a209c6-75ff-71d9-992e-ee478d697434.wav"
    recording = store_audio(catalogue, objects, key, AUDIO)
    path = url(shown, f"/api/v1/recordings/{recording.id}/audio?stream=1")
    ours = client(shown, token)
    part = ours.get(path, headers={"Range": "bytes=1000-1999"}, timeout=PATIENCE_S)
    assert (part.status_code, part.content) == (206, AUDIO[1000:2000])
    assert ours.get(path, timeout=PATIENCE_S).content == AUDIO


def test_files_of_pages_are_compressed_and_kept(shown: Front) -> None:
    """Compression, tags and the life of files pass through the front."""
    path = url(shown, static_path("page.js"))
    found = client(shown).get(path, headers={"Accept-Encoding": "br"}, timeout=PATIENCE_S)
    assert found.headers["Content-Encoding"] == "br"
    assert "immutable" in found.headers["Cache-Control"]
    again = {"Accept-Encoding": "br", "If-None-Match": found.headers["ETag"]}
    assert client(shown).get(path, headers=again, timeout=PATIENCE_S).status_code == 304


def test_a_page_hears_through_the_front(
    shown: Front, catalogue: Catalogue, media_port: int
) -> None:
    """A WebSocket below /media/ reaches the media server."""
    token, call_id = str(uuid4()), f"main-{uuid4()}"
    spy = build_spy(call_id=call_id, destination="browser", started_at=datetime.now(UTC))
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=call_id)])
        spies.create_spy(tx, spy, audio_token=token)

    async def hear() -> Any:
        pbxs: Any = {"main": FakePbx()}
        server = MediaServer(FakeSpies(spy), catalogue, pbxs)  # type: ignore[arg-type]
        address = f"wss://127.0.0.1:{shown.port}/media/spies/{spy.id}?token={token}"
        context = ssl.create_default_context(cafile=str(shown.certificate))
        async with (
            asyncio.timeout(30),
            server.listen("127.0.0.1", media_port),
            connect(address, ssl=context, proxy=None) as page,
        ):
            return json.loads(await page.recv())

    assert asyncio.run(hear())["type"]


def test_logs_hold_no_secret(shown: Front) -> None:
    """Queries, referrers and secrets of links are in no log, also when a server is away."""
    secret = f"secret-{uuid4()}"
    ours = client(shown)
    for path in (
        f"/shared/{secret}",
        f"/shared/{secret}/audio?a={secret}",
        f"/media/spies/{uuid4()}?token={secret}",  # the media server is away
        f"/api/v1/dialplan/record?token={secret}",
        f"/sign-in/oidc/callback?code={secret}",
        f"/library?q={secret}",
    ):
        ours.get(
            url(shown, path),
            headers={"Referer": url(shown, f"/?{secret}")},
            allow_redirects=False,
            timeout=PATIENCE_S,
        )
    until(lambda: "/library" in shown.requests_log.read_text(), PATIENCE_S)
    written = shown.requests_log.read_text() + shown.errors_log.read_text()
    assert "/shared/…" in written
    assert secret not in written


def test_strangers_delay_nobody(shown: Front, token: str) -> None:
    """Sockets that waste the server leave it to others, though all come from one address."""
    target = Target(shown.port, tls=True, token=token)
    strangers = Strangers(target, SOCKETS, habits=[*HABITS.values()], addresses=["127.0.1.1"])
    with attacking(strangers):
        until(lambda: strangers.opened >= SOCKETS, 60)
        for _ in range(10):
            status = ask(target, "/api/v1/calls", address="127.0.0.2", timeout_s=PATIENCE_S)
            assert status == 200


def test_unfinished_headers_end(shown: Front) -> None:
    """The front closes a connection whose headers are not here after 10 s."""
    context = ssl.create_default_context(cafile=str(shown.certificate))
    own = socket.create_connection(("127.0.0.1", shown.port), 30)
    with closing(own), context.wrap_socket(own, server_hostname="localhost") as safe:
        safe.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with suppress(ConnectionResetError):
            assert safe.recv(100) == b""
