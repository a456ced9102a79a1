"""The media server without a socket and without a PBX."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.media import server as media
from recorder.media.server import MediaServer, concerns
from storage.records import EventRecord
from tests.legs import ZERO
from tests.unit.recorder.media.fakes import SPY, Connection, FakeSpies


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
    """A change concerns the spy's own call, calls of its agent, and all calls for a channel."""
    spy = replace(SPY, follow=follow, agent=agent)
    event = EventRecord("1-1", "call.up", ZERO, agent_of_call, {"id": call_id})
    assert concerns(spy, [event]) is expected
    assert not concerns(spy, [])
