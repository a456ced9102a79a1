"""Hostile receivers of webhooks: they drip, flood, redirect, and change their address."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from earwitness.embedded.certificates import make_certificates
from recorder.work.webhooks import Sender, WebhookResponse
from storage.records import EventRecord

SECRET = "whsec_" + "c2VjcmV0" * 4
EVENT = EventRecord("1-1", "call.up", datetime(2026, 11, 30, tzinfo=UTC), None, {"id": "a" * 100})
WITHIN_S = 1.0
# Receivers drip for this long; an exchange that each byte prolongs would last as long.
DRIPS_FOR_S = 30.0
# A loaded machine is slow, but not this slow.
BOUND_S = 15.0
OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
PRIVATE = "its address is private: see webhooks.allow_private_addresses"
SILENCE = "no answer within 1 s"

Serve = Callable[[socket.socket], None]


class RawReceiver:
    """A TCP server that gives each connection to `serve`, and remembers how often it was asked."""

    def __init__(self, serve: Serve) -> None:
        self.connections = 0
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the receiver."""
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        """Accept no connection any more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connected,), daemon=True).start()

    def _talk(self, connected: socket.socket) -> None:
        with connected, suppress(OSError):
            self._serve(connected)


@contextmanager
def receiving(serve: Serve) -> Iterator[RawReceiver]:
    """Run a receiver for the length of the block."""
    receiver = RawReceiver(serve)
    try:
        yield receiver
    finally:
        receiver.close()


def read_request(connected: socket.socket) -> bytes:
    """Read a whole request, with its body."""
    data = b""
    while not data.endswith(b"}"):
        more = connected.recv(65536)
        if not more:
            return data
        data += more
    return data


def answering(answer: bytes) -> Serve:
    """Return a receiver that sends this answer to each request of a connection."""

    def serve(connected: socket.socket) -> None:
        while read_request(connected):
            connected.sendall(answer)

    return serve


def dripping(before: bytes, drop: bytes, *, reads: bool = True) -> Serve:
    """Return a receiver that sends `before`, and then a drop from time to time."""

    def serve(connected: socket.socket) -> None:
        if reads:
            read_request(connected)
        connected.sendall(before)
        ends_at = time.monotonic() + DRIPS_FOR_S
        while time.monotonic() < ends_at:
            time.sleep(0.1)
            connected.sendall(drop)

    return serve


def send(url: str, **options: object) -> WebhookResponse:
    """Send one event, to a private address too."""
    settings = {"allow_private_addresses": True, "within_s": WITHIN_S} | options
    with Sender(**settings) as sender:  # type: ignore[arg-type]
        return sender.send(url, SECRET, EVENT)


@pytest.mark.parametrize(
    ("serve", "scheme"),
    [
        pytest.param(dripping(b"", b"\x16\x03\x03\x40\x00", reads=False), "https", id="tls"),
        pytest.param(dripping(b"\x16\x03\x03\x40\x00", b"\0", reads=False), "https", id="record"),
        pytest.param(dripping(b"", b"H"), "http", id="status"),
        pytest.param(dripping(OK, b"X-Drop: a\r\n"), "http", id="headers"),
        pytest.param(dripping(OK + b"X-Drop: ", b"a"), "http", id="header"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "http", id="interim"),
    ],
)
def test_a_receiver_that_drips_holds_nobody(serve: Serve, scheme: str) -> None:
    """At whatever stage it drips, the exchange ends with its one deadline."""
    with receiving(serve) as receiver:
        began_at = time.monotonic()
        response = send(f"{scheme}://127.0.0.1:{receiver.port}/")
        lasted_s = time.monotonic() - began_at
    assert response.status is None
    assert response.summary.startswith("no ")
    assert WITHIN_S * 0.9 <= lasted_s < BOUND_S


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Content-Length: 9999\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"\r\n",
    ],
)
def test_a_body_that_drips_holds_nobody(head: bytes) -> None:
    """The status counts at once; we wait a moment for the body, and then close the connection."""
    with receiving(dripping(head, b"1\r\na\r\n")) as receiver:
        began_at = time.monotonic()
        assert send(receiver.url, within_s=60.0).status == 200
        assert time.monotonic() - began_at < BOUND_S


def test_a_name_whose_lookup_hangs_holds_nobody() -> None:
    """A name server that does not answer takes no more time than a connection may take."""
    over = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        over.wait(DRIPS_FOR_S)
        return ["127.0.0.1"]

    began_at = time.monotonic()
    response = send("http://slow.example/", resolve=resolve)
    over.set()
    assert response.status is None
    assert response.summary.startswith("no connection within")
    assert time.monotonic() - began_at < BOUND_S


def test_a_connection_that_nobody_accepts_holds_nobody() -> None:
    """The deadline holds for the connection too, and the next address gets its part of it."""
    with ExitStack() as stack:
        port = stack.enter_context(receiving(answering(EMPTY))).port
        stack.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        for _ in range(4):  # fill its queue, so that the kernel drops the next connection
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))
        began_at = time.monotonic()
        response = send(f"http://127.0.0.2:{port}/")
        assert time.monotonic() - began_at < BOUND_S
        assert response.summary.startswith("no connection within")
        found = send(f"http://two.example:{port}/", within_s=20.0, resolve=lambda host, port: BOTH)
        assert found.status == 204


BOTH = ["127.0.0.2", "127.0.0.1"]


def test_the_next_address_is_tried() -> None:
    """A receiver is reached although its first addresses refuse, or have no route."""
    addresses = ["::1", "fe80::1", "127.0.0.3", "127.0.0.1"]
    with receiving(answering(EMPTY)) as receiver:
        url = f"http://many.example:{receiver.port}/"
        answer = send(url, within_s=BOUND_S, resolve=lambda host, port: addresses)
    assert answer.status == 204


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        (OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "its answer is not HTTP"),
        (OK + b"X: a\r\n" * 101 + b"\r\n", "its answer is not HTTP"),
        (b"a" * 70_000, "its answer is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "its answer is not HTTP"),
    ],
)
def test_a_huge_or_strange_answer_is_no_answer(answer: bytes, summary: str) -> None:
    """The head of an answer is bounded; a receiver that does not speak HTTP is named."""
    with receiving(answering(answer)) as receiver:
        assert send(receiver.url, within_s=BOUND_S) == WebhookResponse(None, summary)


def test_a_flood_is_cut_off() -> None:
    """Only the first part of an endless body is read."""
    sent = 0

    def flood(connected: socket.socket) -> None:
        nonlocal sent
        read_request(connected)
        connected.sendall(OK + b"\r\n")
        while True:
            sent += connected.send(b"a" * 65536)

    with receiving(flood) as receiver:
        assert send(receiver.url, within_s=60.0).status == 200
    assert sent < 64 << 20


def test_a_compressed_bomb_stays_compressed() -> None:
    """A body is never decompressed."""
    bomb = gzip.compress(b"\0" * (8 << 20))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with receiving(answering(head + bomb)) as receiver:
        assert send(receiver.url, within_s=BOUND_S).status == 200


def test_a_receiver_that_hangs_up_is_named() -> None:
    """The summary differs for a closed connection, a silent receiver and a missing receiver."""
    with receiving(lambda connected: connected.shutdown(socket.SHUT_RDWR)) as receiver:
        assert send(receiver.url).summary == "it closed the connection without an answer"
    assert send(receiver.url).summary == "it cannot be reached"
    with receiving(lambda connected: time.sleep(DRIPS_FOR_S)) as receiver:
        assert send(receiver.url).summary == SILENCE


def test_a_closed_connection_is_opened_again() -> None:
    """Between two events a receiver may close the connection; the second one comes nevertheless."""
    with_body = OK + b"Content-Length: 2\r\n\r\nok"

    def once(connected: socket.socket) -> None:
        read_request(connected)
        connected.sendall(with_body)

    with (
        receiving(once) as receiver,
        Sender(allow_private_addresses=True, within_s=BOUND_S) as sender,
    ):
        assert [sender.send(receiver.url, SECRET, EVENT).status for _ in range(3)] == [200] * 3
    assert receiver.connections == 3


# Addresses


def test_a_name_that_changes_its_address_is_checked_again() -> None:
    """A name with a public address when the webhook was added gets no event at a private one."""
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])
    with (
        receiving(answering(EMPTY)) as receiver,
        Sender(
            allow_private_addresses=False,
            within_s=BOUND_S,
            resolve=lambda host, port: next(answers),
        ) as sender,
    ):
        url = f"http://rebinding.example:{receiver.port}/"
        assert sender.find_refusal(url) is None
        assert sender.send(url, SECRET, EVENT) == WebhookResponse(None, PRIVATE)
    assert receiver.connections == 0


def test_a_system_resolver_that_rebinds_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is asked once for the address of a name."""
    asked = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.9"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with receiving(answering(EMPTY)) as receiver:
        assert send(f"http://rebinding.example:{receiver.port}/").status == 204
    assert asked == ["rebinding.example"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "0.0.0.1",
     "10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fec0::1]",
     "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "224.0.0.1", "localhost."],
)  # fmt: skip
def test_private_addresses_get_no_event(host: str) -> None:
    """A private address is refused in every way of writing it, and the response says so."""
    response = send(f"http://{host}:9/", allow_private_addresses=False, within_s=BOUND_S)
    assert response == WebhookResponse(None, PRIVATE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_private_address_is_not_followed(status: int) -> None:
    """A redirect is an answer like any other; its target gets nothing."""
    with receiving(answering(EMPTY)) as target:
        head = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\n" % (status, target.url.encode())
        with receiving(answering(head + b"Content-Length: 0\r\n\r\n")) as receiver:
            assert send(receiver.url, within_s=BOUND_S).status == status
        assert target.connections == 0


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to an address that nobody has checked."""
    with receiving(answering(EMPTY)) as proxy, receiving(answering(EMPTY)) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(receiver.url, within_s=BOUND_S).status == 204
        assert (proxy.connections, receiver.connections) == (0, 1)


# TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "other.example"])
def test_tls_checks_the_name_and_not_the_address(host: str, tmp_path: Path) -> None:
    """The certificate must hold for the host of the URL; `Host` and SNI carry this name."""
    for name, pem in make_certificates("127.0.0.1").items():
        (tmp_path / name).write_bytes(pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "weed.crt", tmp_path / "weed.key")
    asked: list[object] = []
    server.sni_callback = lambda connected, name, context: asked.append(name)

    def serve(connected: socket.socket) -> None:
        with server.wrap_socket(connected, server_side=True) as secure:
            asked.append(read_request(secure))
            secure.sendall(EMPTY)

    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    with receiving(serve) as receiver:
        url = f"https://{host}:{receiver.port}/"
        address = ["127.0.0.1"]
        response = send(url, tls=trusted, within_s=BOUND_S, resolve=lambda host, port: address)
        unknown = send(url, within_s=BOUND_S, resolve=lambda host, port: address)
    assert unknown.summary == "its certificate does not hold"
    if host == "other.example":
        assert response.summary == "its certificate does not hold"
        return
    assert response.status == 204
    assert asked[0] == (host if host == "localhost" else None)
    assert f"\r\nHost: {host}:{receiver.port}\r\n".encode() in asked[1]  # type: ignore[operator]
