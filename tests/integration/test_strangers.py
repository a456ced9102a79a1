"""Hostile sockets waste the server's threads, and other clients still get their answers."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from served import Service, serving

from api.worker import LONGEST_HEADERS_BYTES, MOST_OF_ADDRESS
from lab.strangers import HABITS, Strangers, Target, ask, attacking
from lab.waiting import until

# Of two processes with 232 threads each: more sockets than threads.
SOCKETS = 500
# Their addresses; one address may have 100 connections to each process.
THEIRS = [f"127.0.1.{number}" for number in range(1, 9)]
OURS = "127.0.0.2"
PATIENCE_S = 20.0
HOLD_NO_THREAD = ("silent", "headers", "bodies", "huge headers")


@pytest.fixture(scope="module")
def service(arguments: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service."""
    with serving(arguments, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def target(service: Service, make_token: Callable[..., str]) -> Target:
    """Return the service as a target, with an admin's token."""
    return Target(int(service.url.rpartition(":")[2]), token=make_token(name="root", role="admin"))


def connect(target: Target, address: str) -> socket.socket:
    """Open a connection from this address."""
    return socket.create_connection((target.host, target.port), PATIENCE_S, (address, 0))


def read_all(connection: socket.socket) -> bytes:
    """Return everything until the server closes."""
    found = b""
    while more := connection.recv(65536):
        found += more
    return found


def test_sockets_that_only_wait_hold_no_thread(target: Target) -> None:
    """With more such sockets than threads, from many addresses, requests are answered in time."""
    habits = [HABITS[name] for name in HOLD_NO_THREAD]
    strangers = Strangers(target, SOCKETS, habits=habits, addresses=THEIRS)
    with attacking(strangers):
        until(lambda: strangers.opened >= SOCKETS, 60)
        for _ in range(10):
            status = ask(target, "/api/v1/calls", address=OURS, timeout_s=PATIENCE_S)
            assert status == 200


def test_one_address_does_not_take_all_threads(target: Target) -> None:
    """One address that uses every way to hold a thread leaves threads to the others."""
    strangers = Strangers(target, SOCKETS, habits=[*HABITS.values()], addresses=THEIRS[:1])
    with attacking(strangers):
        until(lambda: strangers.opened >= SOCKETS, 60)
        for _ in range(10):
            status = ask(target, "/api/v1/calls", address=OURS, timeout_s=PATIENCE_S)
            assert status == 200


def test_a_client_that_does_not_close_delays_nobody(target: Target) -> None:
    """The server's end of a connection waits for the client's end, but not in the main thread."""
    with ExitStack() as stack:
        for _ in range(40):
            own = stack.enter_context(closing(connect(target, THEIRS[0])))
            own.sendall(target.request("GET", "/health/live", "Connection: close"))
            assert own.recv(12) == b"HTTP/1.1 200"
        began = time.monotonic()
        assert ask(target, "/health/live", address=OURS, timeout_s=PATIENCE_S) == 200
        assert time.monotonic() - began < 10  # 40 ends of 2 s each would take longer


def test_unfinished_headers_end(target: Target) -> None:
    """A client that does not finish its headers gets 408, a silent one gets nothing."""
    with closing(connect(target, OURS)) as slow, closing(connect(target, OURS)) as silent:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        assert read_all(silent) == b""


def test_long_headers_are_refused(target: Target) -> None:
    """Headers that are too long are 431 as soon as they are."""
    with closing(connect(target, OURS)) as own:
        own.sendall(b"GET / HTTP/1.1\r\nA: " + (LONGEST_HEADERS_BYTES + 1) * b"a")
        assert own.recv(12) == b"HTTP/1.1 431"


def test_one_address_has_few_connections(target: Target) -> None:
    """Connections beyond the number of one address are 429; another address is served."""
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(connect(target, THEIRS[1])))
            for _ in range(2 * MOST_OF_ADDRESS + 1)
        ]
        assert opened[-1].recv(12) in {b"HTTP/1.1 429", b""}
        assert ask(target, "/health/live", address=OURS, timeout_s=PATIENCE_S) == 200
    until(lambda: ask(target, "/health/live", address=THEIRS[1]) == 200, PATIENCE_S)


def test_pipelined_requests_are_answered_in_order(target: Target) -> None:
    """Requests sent in one piece, the last one later, get their answers on one connection."""
    first = target.request("GET", "/health/live")
    body = (
        target.request(
            "POST", "/api/v1/searches", "Content-Length: 2", "Content-Type: application/json"
        )
        + b"{}"
    )
    last = target.request("GET", "/api/v1/nothing", "Connection: close")
    with closing(connect(target, OURS)) as own:
        own.sendall(first + body + first + last[:20])
        answered = own.recv(65536)
        while answered.count(b"HTTP/1.1 ") < 3:
            answered += own.recv(65536)
        own.sendall(last[20:])
        answered += read_all(own)
    statuses = [part[:3] for part in answered.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"422", b"200", b"404"]
