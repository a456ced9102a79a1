"""A page, its spy and its media channels, without a browser and without a PBX."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from recorder.spy.plan import SpyPlan
from storage.records import SpyRecord
from tests.spies import spy

SPY = spy(mode="whisper", destination="browser")


class Connection:
    """The WebSocket of a page."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.reasons: list[str] = []
        self.texts: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.news = asyncio.Event()
        self.comes: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self.reasons.append(reason)

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.texts.append(json.loads(message))
        else:
            self.frames.append(message)
        self.news.set()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while True:
            yield await self.comes.get()


class FakeSpies:
    """One spy whose row and plan are given; joining takes as long as `joining` says."""

    def __init__(self, row: SpyRecord = SPY, target: str | None = None) -> None:
        self.row = row
        self.plan = SpyPlan(SPY.call_id, target, party="customer")
        self.joining = threading.Event()
        self.joining.set()
        self.joins = 0
        self.lapsed: frozenset[UUID] = frozenset()
        self.row_when_joined: SpyRecord | None = None

    def read(self, _: UUID) -> tuple[SpyRecord, SpyPlan]:
        return self.row, self.plan

    def page_joined(self, _: UUID) -> SpyRecord:
        self.joins += 1
        assert self.joining.wait(5)
        joined, self.row_when_joined = self.row_when_joined, None
        if joined is not None:
            self.joining.clear()
        return joined or self.row

    def list_lapsed(self, spy_ids: Iterable[UUID]) -> frozenset[UUID]:
        return self.lapsed.intersection(spy_ids)

    def page_left(self, _: UUID) -> None:
        pass

    def renew(self, _: UUID) -> None:
        pass


class FakeChannel:
    """A media channel that keeps every frame sent to it until it ends."""

    failed = False

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.sent: list[bytes] = []
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    async def flush(self) -> None:
        self.sent.clear()

    def receive(self, frame: bytes) -> None:
        """Let the PBX send this frame."""
        self._received.put_nowait(frame)

    def end(self) -> None:
        """Let the PBX end the channel."""
        self._received.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (frame := await self._received.get()) is not None:
            yield frame


class FakeChannels:
    """The media channels of a PBX that opens every channel, or refuses all of them."""

    instance = "earwitness"

    def __init__(self, error: Exception | None = None) -> None:
        self.made: list[FakeChannel] = []
        self._error = error

    @asynccontextmanager
    async def open(self, channel_id: str) -> AsyncIterator[FakeChannel]:
        if self._error is not None:
            raise self._error
        self.made.append(FakeChannel(channel_id))
        yield self.made[-1]


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(connection: Connection, found: Any) -> None:
    """Wait until `found()` is true, looking again after each message to the page."""
    async with asyncio.timeout(5):
        while not found():
            connection.news.clear()
            if not found():
                await asyncio.wait([asyncio.ensure_future(connection.news.wait())], timeout=0.005)
