"""The media server without a PBX."""

import asyncio
import contextlib
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.media import server as media
from recorder.media.held import ListeningChannels
from recorder.media.page import PageSession
from recorder.media.server import MediaServer, concerns
from storage.records import EventRecord
from tests.legs import ZERO
from tests.unit.recorder.media.fakes import SPY, Connection, FakeChannels, FakeSpies, settled, until

SMALL = 400
PBX: Any = SimpleNamespace(application="earwitness")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the token `good` open the spy."""
    row = replace(SPY, seen_at=ZERO)
    monkeypatch.setattr(
        media.rows, "find_spy_by_token", lambda _, token: row if token == "good" else None
    )


def exchange(*messages: str | bytes, path: str | None = None) -> tuple[int, str]:
    """Send messages to a media server over a real socket; return the close code and reason.

    A refused handshake gives its HTTP status.
    """

    async def talk() -> tuple[int, str]:
        catalogue = SimpleNamespace(begin=contextlib.nullcontext)
        server = MediaServer(FakeSpies(), catalogue, {"main": PBX})  # type: ignore[arg-type]
        server.open_session = partial(_open_session, server)  # type: ignore[method-assign]
        async with server.listen("127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            address = path or f"/media/v1/spies/{SPY.id}?token=good"
            try:
                async with connect(f"ws://127.0.0.1:{port}{address}", proxy=None) as page:
                    for message in messages:
                        await page.send(message)
                    async with asyncio.timeout(5):
                        async for _ in page:
                            pass
                    await page.wait_closed()
                    return page.close_code or 0, page.close_reason or ""
            except InvalidStatus as refused:
                return refused.response.status_code, ""
            except ConnectionClosed:
                return page.close_code or 0, page.close_reason or ""

    return asyncio.run(talk())


def _open_session(server: MediaServer, connection: Any, spy: Any) -> PageSession:
    """Give the page a PBX that opens every channel."""
    channels: Any = FakeChannels()
    spies: Any = FakeSpies()
    listening = ListeningChannels({"main": channels}, spies.renew)
    page = PageSession(connection, spy, spies=spies, channels=channels, listening=listening)
    server.pages[spy.id] = page
    return page


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"x" * 641, 1007),
        (b"x" * 20_000, 1009),
        ("[" * 10_000, 1007),
        ("[" * 20_000, 1009),
        (b"", 1007),
        ("{}[", 1007),
    ],
    ids=["odd", "huge", "deep", "huge text", "empty", "no JSON"],
)
def test_a_malformed_message_is_refused_on_the_wire(message: str | bytes, code: int) -> None:
    """The close frame has a code and a reason, whatever the message."""
    closed, reason = exchange(message)
    assert closed == code
    assert reason


@pytest.mark.usefixtures("known")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(max_size=SMALL) | st.binary(max_size=SMALL), max_size=4))
def test_no_message_breaks_the_server(messages: list[str | bytes]) -> None:
    """The first malformed message is refused; none ends in an error of ours (1011)."""
    closed, _ = exchange(*messages, b"the end")
    assert closed == 1007


HANDSHAKE = (
    f"GET /media/v1/spies/{SPY.id}?token=good HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
# The first two bytes of frames: fragments, pings, closes, reserved bits and kinds, lengths.
FRAMES = st.binary(max_size=8).map(lambda rest: bytes([0x80 | len(rest) % 16, 0x80]) + rest)


def send_bytes(sent: bytes) -> tuple[bytes, list[str]]:
    """Send bytes to a media server; return its bytes until it closes, and its unhandled errors."""
    unhandled: list[str] = []

    async def talk() -> bytes:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: unhandled.append(str(about)))
        catalogue = SimpleNamespace(begin=contextlib.nullcontext)
        server = MediaServer(FakeSpies(), catalogue, {"main": PBX})  # type: ignore[arg-type]
        server.open_session = partial(_open_session, server)  # type: ignore[method-assign]
        async with server.listen("127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writer.write_eof()
            async with asyncio.timeout(20):
                answered = await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return answered

    return asyncio.run(talk()), unhandled


@pytest.mark.usefixtures("known")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=SMALL)
    | st.lists(FRAMES | st.binary(max_size=20), max_size=4).map(
        lambda some: HANDSHAKE + b"".join(some)
    )
    | st.integers(0, len(HANDSHAKE)).map(lambda end: HANDSHAKE[:end])
)
def test_no_bytes_break_the_server(sent: bytes) -> None:
    """Whatever is sent in place of a handshake or of frames, the server answers or closes."""
    answered, unhandled = send_bytes(sent)
    assert unhandled == []
    assert not answered or answered.startswith(b"HTTP/1.1 ")
    assert b"\x03\xf3" not in answered[-120:]  # 1011: an error of ours


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "path",
    [
        "//[",
        "/",
        "/spies/",
        f"/spies/{SPY.id}",
        f"/spies/{SPY.id}?token=%ff%00",
        "/spies/x?token=good",
    ],
)
def test_an_address_that_opens_nothing(path: str) -> None:
    """Any other address is refused with 404, also one that is no address at all."""
    assert exchange(path=path)[0] == 404


def test_pages_are_touched_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of connected pages are written again and again, though one time fails."""
    monkeypatch.setattr(media, "SEEN_EVERY_S", 0.001)
    tries = threading.Semaphore(0)

    def begin() -> None:
        tries.release()
        raise ValueError("something is wrong")

    async def touch() -> None:
        catalogue = SimpleNamespace(begin=begin)
        pbxs = {"main": SimpleNamespace(application="earwitness")}
        server = MediaServer(FakeSpies(), catalogue, pbxs)  # type: ignore[arg-type]
        server.open_session(Connection(), SPY)  # type: ignore[arg-type]
        touching = asyncio.create_task(server.touch_spies())
        for _ in range(3):
            assert await asyncio.to_thread(tries.acquire, timeout=5)
        touching.cancel()
        await asyncio.wait([touching])

    asyncio.run(touch())


@pytest.mark.parametrize(
    ("follow", "agent", "call_id", "agent_of_call", "expected"),
    [
        ("call", "2001", "main-1.0", None, True),
        ("call", "2001", "main-2.0", "2001", False),
        ("agent", "2001", "main-2.0", "2001", True),
        ("agent", "2001", "main-2.0", "2002", False),
        ("channel", "2001", "main-2.0", "2002", True),
    ],
)
def test_a_page_is_woken_by_calls_that_may_concern_it(
    follow: Any, agent: str, call_id: str, agent_of_call: str | None, expected: bool
) -> None:
    """A change concerns the spy's own call, those joined with it, those of its agent, and all for a
    channel.
    """
    spy = replace(SPY, follow=follow, agent=agent)
    event = EventRecord("1-1", "call.up", ZERO, agent_of_call, {"id": call_id})
    assert concerns(spy, [event]) is expected
    assert not concerns(spy, [])
    joined = replace(event, data={"id": "main-9.9", "joined": [SPY.call_id]})
    assert concerns(spy, [joined])


class Notified:
    """Notifications that come when the test says."""

    def __init__(self) -> None:
        self._news = threading.Semaphore(0)

    def wait(self, seen: int, *, timeout_s: float) -> int:
        """Wait for the test, but not for ever."""
        self._news.acquire(timeout=timeout_s)
        return seen + 1

    def notify(self) -> None:
        """Tell the media server that something has changed."""
        self._news.release()


def test_a_pause_reaches_a_page_that_waits_for_the_pbx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound stops at once, although the page is waiting until its spy is settled."""
    spies, paused = FakeSpies(replace(SPY, mode="listen"), target="agent"), []
    spies.plan = replace(spies.plan, company=("customer",))
    monkeypatch.setattr(media.rows, "list_live_spies", lambda _, __: [spies.row])
    monkeypatch.setattr(media.pauses, "list_open_pauses", lambda _, __: tuple(paused))
    monkeypatch.setattr(media.events, "newest_event_id", lambda _: "1-1")
    monkeypatch.setattr(media.events, "list_events", lambda *_: ())

    async def listen() -> None:
        catalogue: Any = SimpleNamespace(begin=contextlib.nullcontext)
        server = MediaServer(spies, catalogue, {"main": PBX})  # type: ignore[arg-type]
        connection, notified = Connection(), Notified()
        channels: Any = FakeChannels()
        listening = ListeningChannels({"main": channels}, spies.renew)
        page = PageSession(
            connection,  # type: ignore[arg-type]
            spies.row,
            spies=spies,  # type: ignore[arg-type]
            channels=channels,
            listening=listening,
        )
        server.pages[SPY.id] = page
        spies.joining.clear()
        tasks = [asyncio.create_task(page.run())]
        tasks.append(asyncio.create_task(server.follow(notified)))  # type: ignore[arg-type]
        await until(connection, lambda: spies.joins)
        channels.made[0].receive(b"before")
        await until(connection, lambda: b"before" in connection.frames)
        spies.plan = replace(spies.plan, deaf=True)
        paused.append(SimpleNamespace(legs=("customer",)))
        notified.notify()
        await until(connection, lambda: connection.texts[-1].get("deaf"))
        channels.made[0].receive(b"digits")
        await settled()
        assert b"digits" not in connection.frames
        spies.joining.set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(listen())


def test_a_pause_of_other_people_reads_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause concerns the pages alone that hear one of its people."""
    spies = FakeSpies(replace(SPY, mode="listen"), target="agent")
    reads: list[Any] = []
    monkeypatch.setattr(media.rows, "list_live_spies", lambda _, __: [spies.row])
    pause = SimpleNamespace(legs=("somebody",))
    monkeypatch.setattr(media.pauses, "list_open_pauses", lambda _, __: (pause,))
    monkeypatch.setattr(media.events, "newest_event_id", lambda _: "1-1")

    async def follow() -> None:
        catalogue: Any = SimpleNamespace(begin=contextlib.nullcontext)
        server = MediaServer(spies, catalogue, {"main": PBX})  # type: ignore[arg-type]
        page = server.open_session(Connection(), spies.row)  # type: ignore[arg-type]
        page.apply_plan(spies.plan)
        monkeypatch.setattr(spies, "read", reads.append)
        notified = Notified()
        following = asyncio.create_task(server.follow(notified))  # type: ignore[arg-type]
        for _ in range(3):
            notified.notify()
        await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.wait([following])
        assert reads == []

    asyncio.run(follow())


def test_a_page_that_missed_a_pause_is_deaf_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every look compares the pages with the open pauses: no news of the pause is needed."""
    spies = FakeSpies(replace(SPY, mode="listen"), target="agent")
    monkeypatch.setattr(media.rows, "list_live_spies", lambda _, __: [spies.row])
    pause = SimpleNamespace(legs=("agent",))
    monkeypatch.setattr(media.pauses, "list_open_pauses", lambda _, __: (pause,))
    monkeypatch.setattr(media.events, "newest_event_id", lambda _: "1-1")
    monkeypatch.setattr(media.events, "list_events", lambda *_: ())

    async def follow() -> None:
        catalogue: Any = SimpleNamespace(begin=contextlib.nullcontext)
        server = MediaServer(spies, catalogue, {"main": PBX})  # type: ignore[arg-type]
        connection, notified = Connection(), Notified()
        page = server.open_session(connection, spies.row)  # type: ignore[arg-type]
        following = asyncio.create_task(server.follow(notified))  # type: ignore[arg-type]
        notified.notify()
        await settled()
        page.apply_plan(spies.plan)  # read before the pause
        assert page.needs_plan("listen", ("agent",))
        spies.plan = replace(spies.plan, deaf=True)
        notified.notify()
        await until(connection, lambda: not page.needs_plan("listen", ("agent",)))
        page.hear(b"digits")
        assert page.needs_plan("listen", ()), "the end of the pause is noticed too"
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(follow())
