"""Media channels without a PBX."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from recorder.ari import AriUnavailable
from recorder.media import channels as media
from recorder.media.channels import (
    Halver,
    MediaChannel,
    MediaChannels,
    RtpChannel,
    WebSocketChannel,
    find_transport,
)
from recorder.media.pacing import FRAME_BYTES


def channel_over(transport: str, ari: Any) -> RtpChannel | WebSocketChannel:
    """Return an open channel that receives nothing."""
    return (
        RtpChannel("quiet", ari)
        if transport == "rtp"
        else WebSocketChannel("quiet", ari, SimpleNamespace())  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("transport", ["websocket", "rtp"])
def test_a_quiet_channel_asks_whether_it_exists(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """A silent channel stays open; a channel that is gone ends, though no message said so."""
    monkeypatch.setattr(media, "QUIET_S", 0.001)
    answers = [SimpleNamespace(), SimpleNamespace(), None]
    ari = SimpleNamespace(find_channel=lambda _: answers.pop(0))

    async def hear() -> tuple[list[bytes], bool]:
        channel = channel_over(transport, ari)
        async with asyncio.timeout(5):
            return [frame async for frame in channel], channel.failed

    assert asyncio.run(hear()) == ([], False)
    assert answers == []


@pytest.mark.parametrize("transport", ["websocket", "rtp"])
def test_a_channel_fails_with_its_pbx(monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    """A channel whose PBX does not answer any more ends, and says that it failed."""
    monkeypatch.setattr(media, "QUIET_S", 0.001)

    def find_channel(_: str) -> None:
        raise AriUnavailable("no answer")

    async def hear() -> tuple[list[bytes], bool]:
        channel = channel_over(transport, SimpleNamespace(find_channel=find_channel))
        async with asyncio.timeout(5):
            return [frame async for frame in channel], channel.failed

    assert asyncio.run(hear()) == ([], True)


@pytest.mark.parametrize("breaks", [True, False])
def test_a_broken_connection_is_a_failure(breaks: bool) -> None:
    """A connection that ends without a closing handshake has failed; its frames still arrive."""

    class Connection:
        async def __aiter__(self) -> AsyncIterator[str | bytes]:
            yield "MEDIA_START"
            yield bytes(FRAME_BYTES)
            if breaks:
                raise ConnectionClosedError(None, None)

    async def hear() -> tuple[list[bytes], bool]:
        channel = WebSocketChannel("c", SimpleNamespace(), Connection())  # type: ignore[arg-type]
        await channel.read()
        return [frame async for frame in channel], channel.failed

    assert asyncio.run(hear()) == ([bytes(FRAME_BYTES)], breaks)


class Ari:
    """A PBX that counts how often its modules are listed."""

    application = "earwitness"

    def __init__(self) -> None:
        self.listings = 0
        self.hung_up: list[str] = []

    def list_modules(self) -> list[SimpleNamespace]:
        self.listings += 1
        return [SimpleNamespace(name="chan_websocket.so", status="Running")]

    def hang_up(self, channel_id: str) -> None:
        self.hung_up.append(channel_id)


def test_the_transport_is_found_once_until_a_channel_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many channels list the modules of the PBX once; after a failure they are listed again."""
    ari, failing, opened = Ari(), False, 0

    def open_fake(*_: Any, **more: str) -> AbstractAsyncContextManager[MediaChannel]:
        nonlocal opened
        opened += 1
        assert more == {"transport": "websocket"}

        @asynccontextmanager
        async def open_one() -> AsyncIterator[Any]:
            yield SimpleNamespace(failed=failing)

        return open_one()

    monkeypatch.setattr(media, "open_media_channel", open_fake)

    async def use() -> None:
        nonlocal failing
        channels = MediaChannels(ari)  # type: ignore[arg-type]

        async def one() -> None:
            async with channels.open("ear"):
                await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(5)))
        assert (opened, ari.listings, ari.hung_up) == (5, 1, ["ear"] * 5)
        failing = True
        await one()
        failing = False
        await one()
        assert ari.listings == 2
        monkeypatch.setattr(media, "open_media_channel", refuse)
        with pytest.raises(AriUnavailable):
            await one()
        monkeypatch.setattr(media, "open_media_channel", open_fake)
        await one()
        assert ari.listings == 3

    def refuse(*_: Any, **__: str) -> None:
        raise AriUnavailable("no answer")

    asyncio.run(use())


@pytest.mark.parametrize(
    ("name", "status", "transport"),
    [
        ("chan_websocket.so", "Running", "websocket"),
        ("chan_websocket.so", "Not Running", "rtp"),
        ("chan_pjsip.so", "Running", "rtp"),
    ],
)
def test_the_transport_is_a_module_that_runs(name: str, status: str, transport: str) -> None:
    """WebSockets need their module loaded and running; every Asterisk has RTP."""
    ari = SimpleNamespace(list_modules=lambda: [SimpleNamespace(name=name, status=status)])
    assert find_transport(ari) == transport  # type: ignore[arg-type]


class Datagrams:
    """A datagram transport that keeps each packet."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closing = False

    def sendto(self, packet: bytes) -> None:
        self.sent.append(packet)

    def is_closing(self) -> bool:
        return self.closing


def test_rtp_packets_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequence and time go on without a break; a marker opens each stretch of speech."""
    clock = 100.0
    monkeypatch.setattr(media.time, "monotonic", lambda: clock)

    async def send() -> list[tuple[int, ...]]:
        nonlocal clock
        rtp, datagrams = RtpChannel("c", SimpleNamespace()), Datagrams()  # type: ignore[arg-type]
        await rtp.send(bytes(FRAME_BYTES))  # before the socket is there
        rtp.connection_made(datagrams)  # type: ignore[arg-type]
        for at in (100.0, 100.02, 100.04, 110.0):
            clock = at
            await rtp.send(bytes(FRAME_BYTES))
        datagrams.closing = True
        await rtp.send(bytes(FRAME_BYTES))
        assert {len(packet) for packet in datagrams.sent} == {12 + 320}
        return [struct.unpack_from("!BBHII", packet) for packet in datagrams.sent]

    heads = asyncio.run(send())
    assert [head[:2] for head in heads] == [(0x80, 0x8B), (0x80, 11), (0x80, 11), (0x80, 0x8B)]
    assert [(head[2] - heads[0][2]) & 0xFFFF for head in heads] == [0, 1, 2, 3]
    assert [head[3] for head in heads] == [800_000, 800_160, 800_320, 880_000]
    assert len({head[4] for head in heads}) == 1


def test_an_overtaken_packet_is_dropped() -> None:
    """Packets are read in order, across the wrap of the sequence; other payloads are ignored."""

    def packet(sequence: int, sample: int, payload_type: int = 118) -> bytes:
        head = struct.pack("!BBHII", 0x80, payload_type, sequence, 0, 0)
        return head + struct.pack("!h", sample) * (FRAME_BYTES // 2)

    async def hear() -> list[int]:
        rtp = RtpChannel("c", SimpleNamespace())  # type: ignore[arg-type]
        for sequence, sample in ((0xFFFE, 1), (0xFFFF, 2), (1, 3), (0, 4), (2, 5)):
            rtp.datagram_received(packet(sequence, sample), None)
        rtp.datagram_received(packet(3, 6, payload_type=0), None)
        rtp.datagram_received(packet(3, 6)[:12], None)
        rtp.connection_lost(None)
        return [struct.unpack_from("<h", frame)[0] async for frame in rtp]

    assert asyncio.run(hear()) == [1, 2, 3, 5]


def test_halving_keeps_speech_and_removes_aliases() -> None:
    """A constant stays as it is, from one frame to the next; half the old rate is silenced."""
    halver = Halver()
    constant = struct.pack("<4h", *[1000] * 4)
    halver.halve(constant * 2)
    assert struct.unpack("<4h", halver.halve(constant * 2)) == (1000,) * 4
    halver = Halver()
    alternating = struct.pack("<8h", *[1000, -1000] * 4)
    halver.halve(alternating)
    assert set(struct.unpack("<4h", halver.halve(alternating))) == {0}
    loud = struct.pack("<8h", *[32767] * 8)
    halver.halve(loud)
    assert set(struct.unpack("<4h", halver.halve(loud))) == {32767}
