"""Channels that the media server holds open for its pages."""

import asyncio
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from recorder.ari import AriUnavailable
from recorder.media import held
from recorder.media.held import ListeningChannels, Microphone
from recorder.media.level import SILENCE_DBFS
from recorder.media.pacing import FRAME_BYTES
from storage.errors import CatalogueUnavailable
from tests.unit.recorder.media.fakes import FakeChannels, settled


class Page:
    """A listener that counts its calls."""

    def __init__(self, number: int = 0) -> None:
        self.spy: Any = SimpleNamespace(id=UUID(int=number))
        self.heard: list[bytes] = []
        self.levels: Mapping[str, float] = {}
        self.wakes = self.settles = 0

    def hear_shared(self, frame: bytes) -> None:
        self.heard.append(frame)

    def show_levels(self, levels: Mapping[str, float]) -> None:
        self.levels = levels

    def settle_again(self) -> None:
        self.settles += 1

    def wake(self) -> None:
        self.wakes += 1


def test_a_page_is_woken_when_its_microphone_ends() -> None:
    """Frames sent after the end go nowhere, and the page can open another microphone."""

    async def talk() -> None:
        channels, page = FakeChannels(), Page()
        microphone = Microphone(channels, "mic", on_end=page.wake)  # type: ignore[arg-type]
        await microphone.opened()
        await settled()
        (channel,) = channels.made
        await microphone.send(b"heard")
        assert (channel.sent, microphone.is_over, page.wakes) == ([b"heard"], False, 0)
        channel.end()
        await settled()
        await microphone.send(b"lost")
        assert (channel.sent, microphone.is_over, page.wakes) == ([b"heard"], True, 1)
        await microphone.close()

    asyncio.run(talk())


def test_a_channel_that_cannot_be_opened_says_why() -> None:
    """The error reaches the page that waits, once; nobody is woken besides."""

    async def open_it() -> None:
        channels, page = FakeChannels(AriUnavailable("no answer")), Page()
        microphone = Microphone(channels, "mic", on_end=page.wake)  # type: ignore[arg-type]
        with pytest.raises(AriUnavailable, match="no answer"):
            await microphone.opened()
        await settled()
        assert (microphone.is_over, page.wakes) == (True, 0)

    asyncio.run(open_it())


def test_pages_share_the_listening_channel() -> None:
    """Two pages hear one channel; it is hung up after the last of them, and opened anew then."""

    async def listen() -> None:
        channels, first, second = FakeChannels(), Page(1), Page(2)
        shared = ListeningChannels({"main": channels}, lambda _: None)  # type: ignore[dict-item]
        one = shared.join("main", "agent", first)
        assert shared.join("main", "agent", second) is one
        assert shared.join("main", "other", second) is not one
        await one.opened()
        await settled()
        channels.made[0].receive(b"frame")
        await settled()
        assert (first.heard, second.heard) == ([b"frame"], [b"frame"])
        await shared.leave("main", one, first)
        assert not one.is_over
        await shared.leave("main", one, second)
        assert one.is_over
        again = shared.join("main", "agent", first)
        assert again is not one
        await shared.leave("main", again, first)

    asyncio.run(listen())


def test_an_ended_listening_channel_wakes_its_pages() -> None:
    """Every page looks again, and the next page to join opens another channel."""

    async def listen() -> None:
        channels, first = FakeChannels(), Page(1)
        shared = ListeningChannels({"main": channels}, lambda _: None)  # type: ignore[dict-item]
        one = shared.join("main", "agent", first)
        await one.opened()
        await settled()
        channels.made[0].end()
        await settled()
        assert (one.is_over, first.wakes) == (True, 1)
        assert shared.join("main", "agent", first) is not one

    asyncio.run(listen())


def test_a_meter_settles_the_pages_once_open() -> None:
    """Opening two meters asks for the PBX to be settled; a repeat opens no other meter."""

    async def measure() -> None:
        channels, page = FakeChannels(), Page()
        shared = ListeningChannels({"main": channels}, lambda _: None)  # type: ignore[dict-item]
        one = shared.join("main", "agent", page)
        await one.opened()
        one.measure()
        one.measure()
        await settled()
        assert [made.channel_id for made in channels.made] == [
            "earwitness-ear-earwitness~agent",
            "earwitness-gauge-in-earwitness~agent",
            "earwitness-gauge-out-earwitness~agent",
        ]
        assert page.settles == 2
        await shared.leave("main", one, page)
        one.measure()
        assert len(channels.made) == 3

    asyncio.run(measure())


def test_pages_see_the_levels_of_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way is measured alone: a loud voice does not change the level of the other way."""
    monkeypatch.setattr(held, "LEVELS_EVERY_S", 0.001)

    async def measure() -> None:
        channels, page = FakeChannels(), Page()
        shared = ListeningChannels({"main": channels}, lambda _: None)  # type: ignore[dict-item]
        one = shared.join("main", "agent", page)
        await one.opened()
        one.measure()
        await settled()
        loud = b"\x00\x40" * (FRAME_BYTES // 2)
        async with asyncio.timeout(5):
            while page.levels.get("in") != pytest.approx(-6.02, abs=0.01):
                channels.made[1].receive(loud)
                await asyncio.sleep(0.002)
        assert page.levels["out"] == SILENCE_DBFS
        await shared.leave("main", one, page)

    asyncio.run(measure())


@pytest.mark.parametrize("fails", [True, False])
def test_a_late_snoop_is_renewed(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """The delay of a snoop that stays late is ended by a new snoop; a failure stops no audio."""
    monkeypatch.setattr(held, "Arrears", lambda: SimpleNamespace(count=lambda _: True))
    renewed: list[UUID] = []
    renewals = threading.Semaphore(0)

    def renew(spy_id: UUID) -> None:
        renewed.append(spy_id)
        renewals.release()
        if fails:
            raise CatalogueUnavailable("no answer")

    async def listen() -> None:
        channels, page = FakeChannels(), Page(7)
        shared = ListeningChannels({"main": channels}, renew)  # type: ignore[dict-item]
        one = shared.join("main", "agent", page)
        await one.opened()
        await settled()
        for frame in (b"one", b"two"):
            channels.made[0].receive(frame)
        for _ in range(2):
            assert await asyncio.to_thread(renewals.acquire, timeout=5)
        assert page.heard == [b"one", b"two"]
        assert set(renewed) == {UUID(int=7)}
        await shared.leave("main", one, page)

    asyncio.run(listen())
