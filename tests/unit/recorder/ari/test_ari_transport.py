"""Broken connections of the client, with a server of raw sockets."""

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ari.client import Ari, join_path
from recorder.ari.errors import AriError, AriProtocolError, AriUnavailable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
HANG_UP = b""


class Server:
    """A server that sends the next of `answers` to each request, or closes at HANG_UP."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while self._answers and (request := connection.recv(65536)):
            self.requests.append(request.split(b"\r\n")[0].decode())
            answer = self._answers.pop(0)
            connection.sendall(answer)
            if answer == HANG_UP or b"Connection: close" in answer:
                return


@contextmanager
def served(*answers: bytes, timeout_s: float = 10.0) -> Iterator[tuple[Server, Ari]]:
    server = Server(*answers)
    with Ari(server.url, "user", "s3cret", "app", timeout_s=timeout_s) as ari:
        yield server, ari
    server.close()


def test_connections_are_kept() -> None:
    """Successive requests share a connection."""
    with served(OK, OK, OK) as (server, ari):
        for _ in range(3):
            assert ari.list_channels() == []
    assert server.connections == 1


def test_a_read_is_repeated_on_a_closed_connection() -> None:
    """A read is sent once more if the server has just closed the idle connection."""
    with served(OK, HANG_UP, OK) as (server, ari):
        assert ari.list_channels() == []
        assert ari.list_channels() == []
    assert server.requests == ["GET /ari/channels HTTP/1.1"] * 3


def test_a_read_is_repeated_only_once() -> None:
    """A server that closes every connection is unavailable."""
    with (
        served(HANG_UP, HANG_UP, OK) as (server, ari),
        pytest.raises(AriUnavailable, match="closed before the whole answer"),
    ):
        ari.list_channels()
    assert len(server.requests) == 2


def test_an_action_is_never_repeated() -> None:
    """A POST on a broken connection may have worked, so the caller must look."""
    with served(OK, HANG_UP, OK) as (server, ari):
        ari.list_channels()
        with pytest.raises(AriUnavailable, match="POST /channels/a/answer: the connection was"):
            ari.answer("a")
    assert len(server.requests) == 2


def test_a_connection_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """We close an idle connection before Asterisk does, so that no POST meets that moment."""
    monkeypatch.setattr("recorder.ari.client.IDLE_S", 0.0)
    with served(OK, OK) as (server, ari):
        ari.list_channels()
        server_connections = server.connections
        ari.list_channels()
    assert server.connections == server_connections + 1


def test_silence_ends_in_time() -> None:
    """A silent server costs one time-out."""
    with (
        served(b"HTTP/1.1 ", OK, timeout_s=0.3) as (_, ari),
        pytest.raises(AriUnavailable, match=r"within 0\.3 s"),
    ):
        ari.list_channels()


FILE = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nConnection: close\r\nContent-Length: "


def test_a_file_is_fetched_in_blocks() -> None:
    """All bytes of a file arrive and are counted."""
    target = io.BytesIO()
    with served(FILE + b"10\r\n\r\n0123456789") as (server, ari):
        assert ari.fetch_stored_recording("2026/a b", target, chunk=3) == 10
    assert target.getvalue() == b"0123456789"
    assert server.requests == ["GET /ari/recordings/stored/2026%2Fa%20b/file HTTP/1.1"]


def test_a_short_file_is_an_error() -> None:
    """A file with fewer bytes than announced is an error."""
    with (
        served(FILE + b"10\r\n\r\n0123") as (_, ari),
        pytest.raises(AriUnavailable, match="closed before the whole answer"),
    ):
        ari.fetch_stored_recording("a", io.BytesIO())


def test_a_file_that_stalls_is_an_error() -> None:
    """A stalled file is an error after the time-out."""
    stalled = FILE.replace(b"Connection: close\r\n", b"") + b"10\r\n\r\n0123"
    with served(stalled, OK) as (_, ari), pytest.raises(AriUnavailable, match="no answer within"):
        ari.fetch_stored_recording("a", io.BytesIO())


@pytest.mark.parametrize("length", [b"-2147483604", b"", b"many"])
def test_a_file_of_unknown_length_is_an_error(length: bytes) -> None:
    """A file without a usable length is an error: Asterisk sends a negative one above 2 GiB."""
    with served(FILE + length + b"\r\n\r\n01") as (_, ari), pytest.raises(AriProtocolError):
        ari.fetch_stored_recording("a", io.BytesIO())


def test_a_full_disk_is_not_mistaken_for_a_broken_connection() -> None:
    """An error of the target file reaches the caller unchanged."""

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with (
        served(FILE + b"2\r\n\r\n01") as (_, ari),
        pytest.raises(OSError, match="No space left"),
    ):
        ari.fetch_stored_recording("a", Full())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]",
    ],
)
def test_an_answer_of_another_kind_is_named(answer: bytes) -> None:
    """An answer other than ARI's JSON raises AriProtocolError."""
    with served(answer) as (_, ari), pytest.raises(AriProtocolError):
        ari.list_channels()


def test_a_redirect_is_not_followed() -> None:
    """The password is sent only to the configured server."""
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with served(elsewhere) as (server, ari), pytest.raises(AriError) as caught:
        ari.list_channels()
    assert caught.value.status == 302
    assert len(server.requests) == 1


def test_the_password_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The password is in no repr, error or log, neither in clear nor encoded."""
    caplog.set_level(logging.DEBUG)
    with served(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as (_, ari):
        with pytest.raises(AriError) as caught:
            ari.set_variable("a", "X", "personal")
        shown = [repr(ari), str(ari), str(caught.value), repr(caught.value), caplog.text]
        secrets = ["s3cret", ari.authorization().removeprefix("Basic ")]
    assert caplog.text
    assert not [secret for secret in secrets for text in shown if secret in text]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8088", "ftp://pbx", "http://", "http://user:password@pbx:8088"]
)
def test_an_odd_url_is_refused(url: str) -> None:
    """A URL of another scheme, or with a password, is refused at once."""
    with pytest.raises(ValueError, match="url must be"):
        Ari(url, "user", "password")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://pbx:8088", "ws://pbx:8088/ari/events?app=a+b"),
        ("https://pbx/asterisk/", "wss://pbx/asterisk/ari/events?app=a+b"),
    ],
)
def test_the_event_socket_is_derived_from_the_url(url: str, expected: str) -> None:
    """The socket's URL has wss for https, keeps a prefix, and has no credentials."""
    assert Ari(url, "user", "s3cret", "a b").events_url() == expected


NAME = st.text(st.characters(codec="utf-8"), min_size=1)


@given(names=st.lists(NAME | st.sampled_from([".", "..", "a//b", "a/../b"]), min_size=1))
def test_a_name_is_one_segment_of_a_path(names: list[str]) -> None:
    """Every name becomes one segment that decodes to the same name."""
    segments = join_path(*names).split("/")[1:]
    assert [unquote(segment) for segment in segments] == names
    assert {".", ".."}.isdisjoint(segments)


@pytest.mark.parametrize(
    ("channel_id", "sent"),
    [("a//b", "a%2F%2Fb"), ("a/../b", "a%2F..%2Fb"), ("..", ".."), ("größe", "gr%C3%B6%C3%9Fe")],
)
def test_every_id_of_a_channel_reaches_the_pbx(channel_id: str, sent: str) -> None:
    """An id may hold any character; Asterisk reads its part of the path as it stands."""
    with served(OK) as (server, ari), pytest.raises(AriProtocolError):
        ari.get_channel(channel_id)
    assert server.requests == [f"GET /ari/channels/{sent} HTTP/1.1"]


CALLS_WITH_A_NAME: list[Callable[[Ari, str], object]] = [
    Ari.get_stored_recording,
    Ari.delete_stored_recording,
    Ari.get_live_recording,
    Ari.discard_live_recording,
    lambda ari, name: ari.record_channel("a", name=name),
    lambda ari, name: ari.fetch_stored_recording(name, io.BytesIO()),
]


@pytest.mark.parametrize("call", CALLS_WITH_A_NAME)
@pytest.mark.parametrize("name", ["", ".", "..", "../recordings2/a", "a/../b", "a//b", "/a", "a/"])
def test_a_name_of_another_path_is_never_sent(
    call: Callable[[Ari, str], object], name: str
) -> None:
    """The name of a file can neither leave its directory nor become another request."""
    with served(OK) as (server, ari), pytest.raises(ValueError, match="cannot be a name"):
        call(ari, name)
    assert server.requests == []
