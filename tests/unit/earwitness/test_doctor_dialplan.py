"""The check of `doctor` on a dialplan that needs no token."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from earwitness.config import Pbx, Server
from earwitness.doctor import examine_dialplan

LOCAL = Pbx(url="http://127.0.0.1:8088", dialplan_without_token=True)
ELSEWHERE = Pbx(url="http://192.0.2.7:8088", dialplan_without_token=True)
Answer = Callable[[int], str]


@pytest.fixture
def answering() -> Iterator[Answer]:
    """Start servers that answer every request with one status; return their URL."""
    servers: list[HTTPServer] = []

    def answer(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield answer
    for server in servers:
        server.shutdown()
        server.server_close()


def test_without_a_proxy_all_is_well() -> None:
    """No proxy is configured, so a request from that address is the PBX's."""
    found = examine_dialplan(Server(), LOCAL)
    assert (found.ok, found.warns) == (True, False)


def test_a_proxy_on_the_same_address_is_a_warning() -> None:
    """A proxy and a PBX on this machine have one address; the text names the way out."""
    found = examine_dialplan(Server(proxies=1), LOCAL)
    assert (found.ok, found.warns) == (True, True)
    assert "token create --for-dialplan main" in found.text
    assert not examine_dialplan(Server(proxies=1), ELSEWHERE).warns


@pytest.mark.parametrize(("status", "ok"), [(404, False), (200, False), (401, True), (403, True)])
def test_an_open_front_door_is_a_fault(answering: Answer, status: int, ok: bool) -> None:
    """Where the public URL takes a command without a token, anybody can send one."""
    server = Server(proxies=1, public_url=answering(status))
    assert examine_dialplan(server, ELSEWHERE).ok == ok


def test_an_unknown_host_is_told() -> None:
    """A PBX without an address is never recognised."""
    nowhere = Pbx(url="http://pbx.invalid:8088", dialplan_without_token=True)
    assert examine_dialplan(Server(), nowhere).warns
