"""The session of a page, without a browser and without a PBX."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from recorder.media import page as pages
from recorder.media.held import ListeningChannels
from recorder.media.pacing import FRAME_BYTES
from recorder.media.page import PageSession
from tests.unit.recorder.media.fakes import SPY, Connection, FakeChannels, FakeSpies, settled, until


def session(
    spies: FakeSpies, connection: Connection, channels: FakeChannels | None = None
) -> PageSession:
    """Return the session of a page on this connection."""
    channels = channels or FakeChannels()
    listening = ListeningChannels({"main": channels}, spies.renew)  # type: ignore[dict-item]
    return PageSession(
        connection,  # type: ignore[arg-type]
        SPY,
        spies=spies,  # type: ignore[arg-type]
        channels=channels,  # type: ignore[arg-type]
        listening=listening,
    )


def test_a_new_page_waits_for_the_channels_of_the_page_before() -> None:
    """Their ids are the same: the old channels must be gone, not only the old connection."""

    async def replace_page() -> None:
        connection = Connection()
        before = session(FakeSpies(), connection)
        replacing = asyncio.create_task(before.replace())
        await settled()
        assert connection.closed == [4000]
        assert not replacing.done()
        before.mark_gone()
        await asyncio.wait_for(replacing, 1)

    asyncio.run(replace_page())


def test_a_whisper_is_not_barged() -> None:
    """A frame goes on only while row, PBX and page are at the mode that it was spoken for."""

    async def talk() -> None:
        spies, connection, channels = FakeSpies(), Connection(), FakeChannels()
        page = session(spies, connection, channels)

        async def speak(word: bytes) -> bool:
            """Return whether the frame reaches the PBX."""
            before = len(channels.made[0].sent)
            await connection.comes.put(word * FRAME_BYTES)
            await settled()
            return len(channels.made[0].sent) > before

        async def answer(mode: str) -> None:
            await connection.comes.put(json.dumps({"type": "mode", "mode": mode}))
            await settled()

        async def switched(mode: str) -> None:
            """Wait until the page has its mode, and the PBX too."""
            shown = [one.get("mode") for one in connection.texts if one["type"] == "state"]
            assert shown[-1:] == [mode], "before the PBX, so that the page opens its microphone"
            await until(connection, lambda: page.gate.on_pbx == mode)

        spies.joining.clear()
        running = asyncio.create_task(page.run())
        await until(connection, lambda: connection.texts and channels.made)
        spies.joining.set()
        await switched("whisper")
        assert await speak(b"a"), "a page that never answers"
        await answer("listen")
        assert not await speak(b"b")
        await answer("whisper")
        assert await speak(b"c")
        spies.joining.clear()
        spies.row = replace(SPY, mode="barge")
        page.apply_mode("barge")
        assert not await speak(b"d"), "at once"
        await answer("barge")
        assert not await speak(b"e"), "before the PBX is at barge"
        await answer("whisper")
        await until(connection, lambda: len(channels.made) == 2)
        spies.joining.set()
        await switched("barge")
        assert not await speak(b"f"), "the last words of the whisper"
        await answer("barge")
        assert await speak(b"g")
        assert channels.made[1].channel_id == f"earwitness-seat-{SPY.id}"
        assert channels.made[1].sent == [b"g" * FRAME_BYTES], "for the other supervisors"
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(talk())


def test_a_mode_that_changed_while_the_pbx_was_settled_closes_the_gate() -> None:
    """The PBX was brought to the newer mode: speech for the mode before does not go on."""

    async def change() -> None:
        spies, connection = FakeSpies(), Connection()
        page = session(spies, connection)
        spies.joining.clear()
        running = asyncio.create_task(page.run())
        await until(connection, lambda: len(connection.texts) == 2)
        spies.row = replace(SPY, mode="listen")
        spies.joining.set()
        await until(connection, lambda: connection.texts[-1].get("mode") == "listen")
        assert not page.gate.may_send()
        await until(connection, lambda: page.gate.on_pbx == "listen")
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(change())


def test_switches_that_overtake_a_settled_mode_close_the_gate() -> None:
    """While listen was settled, the PBX may have gone on to barge: a whisper waits for it."""

    async def overtake() -> None:
        listening = replace(SPY, mode="listen")
        spies, connection = FakeSpies(listening), Connection()
        spies.row_when_joined = listening
        spies.joining.clear()
        page = session(spies, connection)
        running = asyncio.create_task(page.run())
        await until(connection, lambda: spies.joins == 1)
        spies.row = replace(SPY, mode="whisper")
        for mode in ("barge", "whisper"):
            page.apply_mode(mode)  # type: ignore[arg-type]
        spies.joining.set()  # for the first time alone
        await until(connection, lambda: spies.joins == 2)
        assert not page.gate.may_send()
        spies.joining.set()
        await until(connection, page.gate.may_send)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(overtake())


def test_a_barging_page_hears_its_own_channel() -> None:
    """While frames arrive on its barge channel, frames of the listening channel are dropped."""

    async def hear() -> None:
        spies = FakeSpies(replace(SPY, mode="barge"), target="agent")
        connection, channels = Connection(), FakeChannels()
        running = asyncio.create_task(session(spies, connection, channels).run())
        await until(connection, lambda: len(channels.made) == 3)
        await settled()
        shared, _, own = channels.made
        shared.receive(b"shared")
        await until(connection, lambda: connection.frames == [b"shared"])
        own.receive(b"own")
        await until(connection, lambda: connection.frames[-1] == b"own")
        shared.receive(b"late")
        own.receive(b"own again")
        await until(connection, lambda: connection.frames[-1] == b"own again")
        assert connection.frames == [b"shared", b"own", b"own again"]
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(hear())


@pytest.mark.parametrize("party", ["customer", "agent"])
def test_levels_are_named_after_the_sides(party: str) -> None:
    """The voice of the target belongs to its own party, the audio sent to it to the other."""

    async def show() -> None:
        spies, connection = FakeSpies(), Connection()
        spies.plan = replace(spies.plan, party=party)
        page = session(spies, connection)
        running = asyncio.create_task(page.run())
        page.show_levels({"in": -10.04, "out": -20.0})
        await connection.comes.put(json.dumps({"type": "levels"}))
        await until(connection, lambda: page.gate.on_pbx == "whisper")
        page.show_levels({"in": -10.04, "out": -20.0})
        await until(connection, lambda: connection.texts[-1]["type"] == "levels")
        other = "agent" if party == "customer" else "customer"
        assert connection.texts[-1] == {"type": "levels", party: -10.0, other: -20.0}
        assert [one["type"] for one in connection.texts].count("levels") == 1
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(show())


@pytest.mark.parametrize(
    "message", [b"x", b"x" * 641, b"", "[" * 5_000, "[]", "no JSON"], ids=lambda one: repr(one)[:6]
)
def test_a_malformed_message_closes_the_page(message: str | bytes) -> None:
    """The page gets a reason, nothing of the message reaches the PBX, and its channels go."""

    async def talk() -> None:
        spies, connection, channels = FakeSpies(), Connection(), FakeChannels()
        page = session(spies, connection, channels)
        running = asyncio.create_task(page.run())
        await until(connection, page.gate.may_send)
        await connection.comes.put(b"a" * FRAME_BYTES)
        await connection.comes.put(message)
        await connection.comes.put(b"b" * FRAME_BYTES)
        await asyncio.wait_for(running, 5)
        assert connection.closed == [1007]
        assert connection.reasons[-1].startswith(
            "a text message" if isinstance(message, str) else "a binary message"
        )
        assert channels.made[0].sent == [b"a" * FRAME_BYTES]

    asyncio.run(talk())


@pytest.mark.parametrize("mode", [None, 1, ["whisper"], {}])
def test_a_mode_that_is_no_word_acknowledges_nothing(mode: Any) -> None:
    """Such an answer leaves the gate as it was: it stays closed to speech for another mode."""

    async def answer() -> None:
        spies, connection = FakeSpies(), Connection()
        page = session(spies, connection)
        running = asyncio.create_task(page.run())
        await until(connection, page.gate.may_send)
        for sent in ("listen", mode):
            await connection.comes.put(json.dumps({"type": "mode", "mode": sent}))
        await settled()
        assert not page.gate.may_send()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(answer())


def tones(connection: Connection) -> list[bytes]:
    """Return the frames of our tone that the page got."""
    return [frame for frame in connection.frames if frame in pages.TONE]


def states(connection: Connection) -> list[dict[str, Any]]:
    """Return the states that the page got."""
    return [one for one in connection.texts if one["type"] == "state"]


@pytest.mark.parametrize("mode", ["listen", "whisper"])
def test_a_page_is_deaf_in_a_pause(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    """No frame of the call goes to the page, only one tone; the levels rest, the state says so."""
    monkeypatch.setattr(pages, "LATE_SOUND_S", 0.0)

    async def listen() -> None:
        spies = FakeSpies(replace(SPY, mode=mode), target="agent")
        connection, channels = Connection(), FakeChannels()
        page = session(spies, connection, channels)
        running = asyncio.create_task(page.run())
        await connection.comes.put(json.dumps({"type": "levels"}))
        await until(connection, lambda: page.gate.on_pbx == mode)
        shared = channels.made[0]
        shared.receive(b"before")
        await until(connection, lambda: connection.frames == [b"before"])
        page.hear(b"queued")
        page.show_levels({"in": -10.0, "out": -10.0})
        page.apply_plan(replace(spies.plan, deaf=True))
        for word in (b"card", b"digits"):
            shared.receive(word)
        page.show_levels({"in": -10.0, "out": -10.0})
        await until(connection, lambda: len(tones(connection)) == len(pages.TONE))
        page.apply_plan(replace(spies.plan, deaf=True))
        await settled()
        assert connection.frames == [b"before", *pages.TONE]
        assert states(connection)[-1]["deaf"] is True
        levels = [one for one in connection.texts if one["type"] == "levels"]
        assert levels[-1] == {"type": "levels", "agent": -90.0, "customer": -90.0}
        page.apply_plan(spies.plan)
        shared.receive(b"after")
        await until(connection, lambda: connection.frames[-1] == b"after")
        await until(connection, lambda: states(connection)[-1]["deaf"] is False)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(listen())


def test_sound_that_arrives_late_after_a_pause_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PBX may deliver the last sound of the pause after its end."""
    now = 100.0
    monkeypatch.setattr(pages.time, "monotonic", lambda: now)

    async def listen() -> None:
        nonlocal now
        spies, connection = FakeSpies(), Connection()
        page = session(spies, connection)
        for deaf in (True, False):
            page.apply_plan(replace(spies.plan, deaf=deaf))
        sending = asyncio.create_task(page.run())
        page.hear(b"late")
        now += 0.31
        page.hear(b"after")
        await until(connection, lambda: b"after" in connection.frames)
        assert b"late" not in connection.frames
        sending.cancel()
        await asyncio.wait([sending])

    asyncio.run(listen())


def test_a_page_that_stops_barging_hears_nothing_until_its_plan_is_read() -> None:
    """In a pause it was a party until then, and is deaf from then on."""

    async def switch() -> None:
        spies, connection = FakeSpies(replace(SPY, mode="listen")), Connection()
        page = session(spies, connection)
        for word, mode in ((b"party", "barge"), (b"digits", "listen"), (b"more", "listen")):
            page.apply_mode(mode)  # type: ignore[arg-type]
            page.hear(word)
        page.apply_plan(spies.plan)
        page.hear(b"after")
        running = asyncio.create_task(page.run())
        await until(connection, lambda: connection.frames)
        assert connection.frames == [b"after"]
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(switch())


def test_a_page_learns_that_nobody_hears_it() -> None:
    """The state says `unheard` while the row does."""

    async def talk() -> None:
        spies, connection = FakeSpies(replace(SPY, unheard=True)), Connection()
        running = asyncio.create_task(session(spies, connection).run())
        await until(
            connection, lambda: states(connection)[-1:] and states(connection)[-1]["unheard"]
        )
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(talk())


def test_the_end_of_the_spy_closes_the_page() -> None:
    """The page gets the last state with its cause, and its connection closes in good order."""

    async def end() -> None:
        spies, connection = FakeSpies(replace(SPY, state="ended", cause="call-ended")), Connection()
        async with asyncio.timeout(5):
            await session(spies, connection).run()
        assert connection.texts[-1]["cause"] == "call-ended"
        assert connection.closed == [1000]

    asyncio.run(end())


def test_a_page_learns_that_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page gets `alive` at once, and again every few seconds, even when the call is silent."""
    monkeypatch.setattr(pages, "ALIVE_EVERY_S", 0.001)

    async def wait() -> None:
        connection = Connection()
        running = asyncio.create_task(session(FakeSpies(), connection).run())
        await until(connection, lambda: connection.texts.count({"type": "alive"}) >= 3)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(wait())
