"""Sockets of strangers who want to hold the API's threads, and want no answer.

Each socket does one thing for ever, such as sending a header byte by byte, and opens again a second
after it was closed. Strangers come from one address, or from a few.
"""

import asyncio
import http.client
import itertools
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from recorder.background import running_in_background

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# The library warns at each write to a socket that the server has closed.
logging.getLogger("asyncio").setLevel(logging.ERROR)

DRIP_S = 1.0
AGAIN_AFTER_S = 1.0
PIPELINED = 20
SMALL_BUFFER = 4096
# A file that needs no token, and is longer than the buffers of a few requests.
LONG_FILE = "/static/vendor/wavesurfer.js"


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is attacked; with a token the strangers also open streams and lists."""

    port: int
    tls: bool = False
    token: str = ""
    host: str = "127.0.0.1"

    def request(self, method: str, path: str, *headers: str) -> bytes:
        """Return a request, whole or up to its body."""
        own = [f"Authorization: Bearer {self.token}"] if self.token else []
        lines = [f"{method} {path} HTTP/1.1", "Host: ear.example", *own, *headers, "", ""]
        return "\r\n".join(lines).encode()


async def stay_silent(target: Target, streams: Streams) -> None:
    """Send nothing."""
    await streams[0].read()


async def drip_headers(target: Target, streams: Streams) -> None:
    """Begin a request, and send one more short header each second."""
    await _drip(streams, b"GET /api/v1/calls HTTP/1.1\r\nHost: ear.example\r\n", b"A: 1\r\n")


async def drip_body(target: Target, streams: Streams) -> None:
    """Send a long body, a byte each second."""
    head = target.request("POST", "/sign-in", "Content-Length: 100000")
    await _drip(streams, head, b"a")


async def drip_chunks(target: Target, streams: Streams) -> None:
    """Send a body in chunks of one byte, one each second."""
    head = target.request("POST", "/sign-in", "Transfer-Encoding: chunked")
    await _drip(streams, head, b"1\r\na\r\n")


async def send_huge_headers(target: Target, streams: Streams) -> None:
    """Send headers without an end, as fast as they are taken."""
    _, writer = streams
    writer.write(b"GET / HTTP/1.1\r\n")
    for number in itertools.count():
        if writer.transport.is_closing():
            return
        writer.write(b"A-%d: %s\r\n" % (number, b"a" * 4000))
        await writer.drain()


async def read_nothing(target: Target, streams: Streams) -> None:
    """Ask for much, and read nothing of it."""
    streams[1].write(PIPELINED * target.request("GET", LONG_FILE))
    await asyncio.sleep(3600)


async def read_no_events(target: Target, streams: Streams) -> None:
    """Open a stream of events, and read nothing of it."""
    streams[1].write(target.request("GET", "/api/v1/events"))
    await asyncio.sleep(3600)


async def pipeline(target: Target, streams: Streams) -> None:
    """Send many requests at once, and again when most of the answers are here."""
    reader, writer = streams
    while True:
        writer.write(PIPELINED * target.request("GET", "/api/v1/calls"))
        for _ in range(PIPELINED):
            await reader.readuntil(b"\r\n\r\n")


Habit: TypeAlias = Callable[[Target, Streams], Awaitable[None]]

HABITS: Mapping[str, Habit] = {
    "silent": stay_silent,
    "headers": drip_headers,
    "bodies": drip_body,
    "chunks": drip_chunks,
    "huge headers": send_huge_headers,
    "slow readers": read_nothing,
    "pipelined": pipeline,
    "event streams": read_no_events,
}


async def _drip(streams: Streams, start: bytes, more: bytes) -> None:
    reader, writer = streams
    writer.write(start)
    while not (reader.at_eof() or writer.transport.is_closing()):
        await writer.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(SMALL_BUFFER), DRIP_S)
        writer.write(more)


class Strangers:
    """So many sockets, each with one of the habits in turn, each from one of the addresses."""

    def __init__(
        self,
        target: Target,
        number: int,
        *,
        habits: Sequence[Habit],
        addresses: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        self.opened = 0
        self._target = target
        self._each = [
            (habits[one % len(habits)], addresses[one % len(addresses)]) for one in range(number)
        ]

    async def attack(self) -> None:
        """Keep all sockets busy until this task is cancelled."""
        await asyncio.gather(*(self._keep(habit, address) for habit, address in self._each))

    async def _keep(self, habit: Habit, address: str) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                streams = await self._open(address)
                try:
                    await habit(self._target, streams)
                finally:
                    streams[1].transport.abort()
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _open(self, address: str) -> Streams:
        own = socket.socket()
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        own.bind((address, 0))
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(own, (self._target.host, self._target.port))
        except BaseException:
            own.close()
            raise
        self.opened += 1
        context = ssl._create_unverified_context() if self._target.tls else None  # noqa: S323
        name = "ear.example" if context else None
        return await asyncio.open_connection(
            sock=own, ssl=context, server_hostname=name, limit=SMALL_BUFFER
        )


def ask(
    target: Target, path: str, *, address: str = "127.0.0.1", timeout_s: float = 10.0
) -> int | None:
    """Send one request of our own from this address; return the status, or None without answer."""
    options: dict[str, Any] = {"timeout": timeout_s, "source_address": (address, 0)}
    connection = (
        http.client.HTTPSConnection(
            target.host,
            target.port,
            context=ssl._create_unverified_context(),  # noqa: S323
            **options,
        )
        if target.tls
        else http.client.HTTPConnection(target.host, target.port, **options)
    )
    own = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path, headers={"Connection": "close", **own})
        answered = connection.getresponse()
        answered.read()
        return answered.status
    return None


@contextmanager
def attacking(strangers: Strangers) -> Iterator[None]:
    """Let strangers attack from a thread while this context lasts."""

    async def until_over(over: threading.Event) -> None:
        task = asyncio.create_task(strangers.attack())
        await asyncio.to_thread(over.wait)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with running_in_background(
        lambda over: asyncio.run(until_over(over)), "strangers", join_s=20.0
    ):
        yield
