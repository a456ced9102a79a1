"""Pages of a media server whose PBX is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from recorder.media.legs import Leg
from recorder.media.server import Mic, Page
from storage.records import SpyRecord
from tests.legs import ZERO

SPY = SpyRecord(
    id=UUID(int=7),
    call_id="main-1.0",
    pbx="main",
    mode="whisper",
    destination="browser",
    state="live",
    supervisor="sue",
    follow="call",
    started_at=ZERO,
    may=("listen", "whisper", "barge"),
)


class Channel:
    """A media channel: it keeps what is said until it ends."""

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.said: list[bytes] = []
        self.ended = asyncio.Event()

    async def send(self, frame: bytes) -> None:
        self.said.append(frame)

    async def flush(self) -> None:
        self.said.clear()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self.ended.wait()
        return
        yield


class Server:
    """Makes such channels."""

    def __init__(self) -> None:
        self.made: list[Channel] = []

    def leg(self, _: str, channel_id: str) -> AbstractAsyncContextManager[Leg]:
        @asynccontextmanager
        async def open_one() -> AsyncIterator[Any]:
            self.made.append(Channel(channel_id))
            yield self.made[-1]

        return open_one()


class Connection:
    """What a page is connected by."""

    def __init__(self) -> None:
        self.closed: list[int] = []

    async def close(self, code: int, _: str) -> None:
        self.closed.append(code)


def page_of(server: Any) -> Page:
    return Page(server, Connection(), SPY)  # type: ignore[arg-type]


async def settled() -> None:
    """Whatever can happen by now has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_newcomer_waits_for_what_the_page_before_has() -> None:
    """Its channels have the same ids: they are to be gone, not only its connection."""

    async def replace() -> None:
        before = page_of(SimpleNamespace())
        replacing = asyncio.create_task(before.replace())
        await settled()
        assert not replacing.done()
        before.leave()
        await asyncio.wait_for(replacing, 1)

    asyncio.run(replace())


def test_a_microphone_that_ended_is_known() -> None:
    """Its page looks again then, and what is said meanwhile goes nowhere."""

    async def talk() -> None:
        server, looks = Server(), 0
        page = page_of(server)

        def look() -> None:
            nonlocal looks
            looks += 1

        page.look_again = look  # type: ignore[method-assign]
        mic = Mic(server, page)  # type: ignore[arg-type]
        await mic.opened()
        await settled()
        (channel,) = server.made
        await mic.say(b"heard")
        assert (channel.said, mic.is_over, looks) == ([b"heard"], False, 0)
        channel.ended.set()
        await settled()
        await mic.say(b"lost")
        assert (channel.said, mic.is_over, looks) == ([b"heard"], True, 1)
        await mic.close()

    asyncio.run(talk())
