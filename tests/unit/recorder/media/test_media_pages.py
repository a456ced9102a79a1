"""Pages of a media server whose PBX is none."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from recorder.media import server as media
from recorder.media.channels import Leg
from recorder.media.pacing import FRAME_BYTES
from recorder.media.server import MediaServer, Mic, Page
from recorder.spy.plan import SpyPlan
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
        self.spies = SimpleNamespace()

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
        self.told: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.comes: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def close(self, code: int, _: str) -> None:
        self.closed.append(code)

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.told.append(json.loads(message))
            self.news.set()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while True:
            yield await self.comes.get()


class Bench(Page):
    """A page whose spy is given, and which nobody hears."""

    def __init__(self, server: "Server", connection: Connection) -> None:
        super().__init__(server, connection, SPY)  # type: ignore[arg-type]
        self.written = SPY

    def _read(self) -> tuple[SpyRecord, SpyPlan]:
        return self.written, SpyPlan(SPY.call_id)


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


def test_a_whisper_is_not_barged() -> None:
    """What is said goes on while the spy's mode is the one that it is meant for, and rigged."""

    async def talk() -> None:
        server, connection = Server(), Connection()
        page, rigged = Bench(server, connection), threading.Event()

        def rig(_: UUID) -> SpyRecord:
            assert rigged.wait(5)
            return page.written

        async def say(word: bytes) -> bool:
            """Whether it goes on."""
            before = len(server.made[0].said)
            await connection.comes.put(word * FRAME_BYTES)
            await settled()
            return len(server.made[0].said) > before

        async def answer(mode: str) -> None:
            await connection.comes.put(json.dumps({"type": "mode", "mode": mode}))
            await settled()

        async def told(mode: str) -> None:
            """Before it is rigged, so that it opens its microphone; then that is waited for."""
            async with asyncio.timeout(5):
                while [one["mode"] for one in connection.told if "mode" in one][-1:] != [mode]:
                    connection.news.clear()
                    await connection.news.wait()
                while page._rigged != mode:
                    await settled()

        server.spies.page_joined = rig
        running = asyncio.create_task(page.run())
        await settled()
        rigged.set()
        await told("whisper")
        assert await say(b"a"), "a page that never answers"
        await answer("listen")
        assert not await say(b"b")
        await answer("whisper")
        assert await say(b"c")
        rigged.clear()
        page.written = replace(SPY, mode="barge")
        page.learn("barge")
        assert not await say(b"d"), "at once"
        await answer("barge")
        assert not await say(b"e"), "before all is as it has to be"
        await answer("whisper")
        rigged.set()
        await told("barge")
        assert not await say(b"f"), "the last words of the whisper"
        await answer("barge")
        assert await say(b"g")
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(talk())


def test_from_listen_one_mode_alone_is_not_waited_for() -> None:
    """After a barge that was on its way the PBX has to be brought to the whisper first."""

    async def change() -> None:
        page = page_of(MediaServer(SimpleNamespace(), SimpleNamespace(), {}))  # type: ignore[arg-type]
        page._written = page._rigged = "listen"
        page.learn("barge")
        assert page._rigged == "listen"
        page.learn("whisper")
        assert page._rigged is None

    asyncio.run(change())


def test_what_goes_on_by_itself_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are noted again and again, whatever goes wrong with one of these times."""
    monkeypatch.setattr(media, "SEEN_EVERY_S", 0.001)
    tries = threading.Semaphore(0)

    def begin() -> None:
        tries.release()
        raise ValueError("something is wrong")

    async def note() -> None:
        server = MediaServer(SimpleNamespace(), SimpleNamespace(begin=begin), {})  # type: ignore[arg-type]
        server._pages[SPY.id] = page_of(server)
        noting = asyncio.create_task(server.note_pages())
        for _ in range(3):
            assert await asyncio.to_thread(tries.acquire, timeout=5)
        noting.cancel()
        await asyncio.wait([noting])

    asyncio.run(note())


def test_a_page_is_told_that_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and every few seconds, whatever there is to hear."""
    monkeypatch.setattr(media, "ALIVE_EVERY_S", 0.001)

    async def wait() -> None:
        server, connection = Server(), Connection()
        server.spies.page_joined = lambda _: SPY
        running = asyncio.create_task(Bench(server, connection).run())
        async with asyncio.timeout(5):
            while connection.told.count({"type": "alive"}) < 3:
                connection.news.clear()
                await connection.news.wait()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(wait())
