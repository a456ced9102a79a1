"""The media server on a real socket and a real PostgreSQL, without a PBX."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call, build_spy
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from recorder.media import server as media
from recorder.media.server import MediaServer
from storage.catalogue import calls, spies
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.records import SpyRecord
from tests.fake_pbx import FakePbx
from tests.unit.recorder.media.fakes import FakeSpies

Use = Callable[[str, MediaServer], Awaitable[None]]


def add_spy(catalogue: Catalogue, token: str, **fields: Any) -> SpyRecord:
    """Write the row of a spy in the browser, on a call of its own."""
    call_id = f"main-{uuid4()}"
    usual: dict[str, Any] = {"destination": "browser", "started_at": datetime.now(UTC)}
    spy = build_spy(**usual | {"call_id": call_id} | fields)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=call_id)])
        spies.create_spy(tx, spy, audio_token=token)
    return spy


def serve(catalogue: Catalogue, fake: FakeSpies, use: Use) -> None:
    """Run a media server, and let `use` connect to its address."""

    async def run() -> None:
        pbxs: Any = {"main": FakePbx()}
        server = MediaServer(fake, catalogue, pbxs)  # type: ignore[arg-type]
        async with asyncio.timeout(30), server.listen("127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            await use(f"127.0.0.1:{port}", server)

    asyncio.run(run())


async def status_of(url: str) -> int:
    """Return the HTTP status with which the server refuses a WebSocket."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, proxy=None):
            pass
    return refused.value.response.status_code


async def read_state(connection: ClientConnection) -> dict[str, Any]:
    """Return the next state that the page receives."""
    async for message in connection:
        if isinstance(message, str) and (found := json.loads(message))["type"] == "state":
            return dict(found)
    raise AssertionError("closed before a state came")


def test_token_and_path_open_a_spy_together(catalogue: Catalogue) -> None:
    """A wrong token, the path of another spy, or an old unused token gets 404."""
    token, old = str(uuid4()), str(uuid4())
    spy = add_spy(catalogue, token)
    late = add_spy(catalogue, old, started_at=datetime.now(UTC) - timedelta(seconds=61))
    seen, again = datetime.now(UTC), str(uuid4())
    back = add_spy(catalogue, again, started_at=late.started_at, seen_at=seen)

    async def use(address: str, _: MediaServer) -> None:
        base = f"ws://{address}/spies"
        assert await status_of(f"{base}/{spy.id}?token=wrong") == 404
        assert await status_of(f"{base}/{spy.id}") == 404
        assert await status_of(f"{base}/{late.id}?token={token}") == 404
        assert await status_of(f"{base}/{late.id}?token={old}") == 404
        for url in (f"{base}/{spy.id}?token={token}", f"{base}/{back.id}?token={again}"):
            async with connect(url, proxy=None) as connection:
                assert (await read_state(connection))["mode"] == "listen"

    serve(catalogue, FakeSpies(spy), use)


def test_health_needs_no_token(catalogue: Catalogue) -> None:
    """A health check gets 200 as plain HTTP."""

    async def use(address: str, _: MediaServer) -> None:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()
        await writer.wait_closed()

    serve(catalogue, FakeSpies(), use)


def test_a_second_page_replaces_the_first(catalogue: Catalogue) -> None:
    """The first page is closed with code 4000, and one session is left."""
    token = str(uuid4())
    spy = add_spy(catalogue, token)

    async def use(address: str, server: MediaServer) -> None:
        url = f"ws://{address}/spies/{spy.id}?token={token}"
        async with connect(url, proxy=None) as first:
            await read_state(first)
            async with connect(url, proxy=None) as second:
                await read_state(second)
                await first.wait_closed()
                assert first.close_code == 4000
                assert list(server.pages) == [spy.id]

    serve(catalogue, FakeSpies(spy), use)


def test_the_end_of_a_spy_wakes_its_page(catalogue: Catalogue) -> None:
    """A page learns at once that another process has ended its spy, and is closed."""
    token = str(uuid4())
    spy = add_spy(catalogue, token, state="live")
    fake = FakeSpies(spy)

    def end() -> None:
        with catalogue.begin() as tx:
            ended = spies.move_spy(tx, spy.id, to="ended", ended_at=spy.started_at, cause="ended")
            assert ended is not None
            fake.row = ended

    async def use(address: str, server: MediaServer) -> None:
        with Notifications(catalogue) as notifications:
            following = asyncio.create_task(server.follow(notifications))
            url = f"ws://{address}/spies/{spy.id}?token={token}"
            async with connect(url, proxy=None) as connection:
                assert (await read_state(connection))["state"] == "live"
                await asyncio.to_thread(end)
                async with asyncio.timeout(4):  # less than a page waits before it looks by itself
                    assert (await read_state(connection))["state"] == "ended"
                await connection.wait_closed()
                assert connection.close_code == 1000
            following.cancel()
            await asyncio.wait([following])

    serve(catalogue, fake, use)


def test_a_page_ends_with_the_right_of_its_supervisor(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The media server finds by itself that a right is gone: the page closes, and cannot return."""
    monkeypatch.setattr(media, "RIGHTS_EVERY_S", 0.05)
    token = str(uuid4())
    spy = add_spy(catalogue, token, state="live")
    fake = FakeSpies(spy)

    async def use(address: str, server: MediaServer) -> None:
        checking = asyncio.create_task(server.check_rights())
        url = f"ws://{address}/spies/{spy.id}?token={token}"
        async with connect(url, proxy=None) as connection:
            assert (await read_state(connection))["state"] == "live"
            fake.row = replace(spy, state="ended")  # as a settle leaves it
            fake.lapsed = frozenset({spy.id})
            async with asyncio.timeout(4):  # less than a page waits before it looks by itself
                assert (await read_state(connection))["state"] == "ended"
            await connection.wait_closed()
            assert connection.close_code == 1000
        assert await status_of(url) == 404
        checking.cancel()
        await asyncio.wait([checking])

    serve(catalogue, fake, use)
