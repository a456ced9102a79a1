"""The PBX's side of live sound: a media channel of ours, and the frames that it hears and says.

A leg carries 20 ms frames of 16-bit little-endian PCM, mono, 16 kHz (640 bytes), both ways, over
Asterisk's `chan_websocket` where that is loaded (22.6, 20.16), over RTP otherwise (16.6 and up).
What comes and is not fetched is dropped, the oldest first: old sound is of no use.

    async with open_leg(ari, channel_id) as leg:
        await leg.send(frame)
        async for frame in leg:
            ...
"""

import asyncio
import secrets
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from recorder.ari import Ari, AriError, AriUnavailable
from recorder.media.pacing import FRAME_S, Framer

Transport = Literal["websocket", "rtp"]

OPEN_WITHIN_S = 3.0
UNREAD_FRAMES = 10
FORMAT = "slin16"
# RTP knows no end, and a connection may be lost unseen: when nothing comes for so long, Asterisk is
# asked whether the channel is there.
QUIET_S = 3.0

# What Asterisk sends for 16-bit PCM at 16 kHz is a number of its own, which it does not take back
# (measured on 22.10): what it is sent is PCM at 8 kHz. Source: main/rtp_engine.c.
_HEARD_TYPE = 118
_SAID_TYPE = 11
_VERSION, _MARKER = 0x80, 0x80
_HEADER = struct.Struct("!BBHII")
_SAID_RATE = 8_000
_SAID_SAMPLES = 160


class Leg(Protocol):
    """A media channel that is up; the iteration ends when the channel does."""

    channel_id: str

    async def send(self, frame: bytes) -> None:
        """Say a frame. Nothing happens where the channel has ended."""

    async def flush(self) -> None:
        """Drop what was sent and is not yet said."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The frames that are heard, as they come."""


def find_transport(ari: Ari) -> Transport:
    """What this Asterisk can: it has to be asked once. Raises AriError."""
    modules = {module.name for module in ari.list_modules() if module.status == "Running"}
    return "websocket" if "chan_websocket.so" in modules else "rtp"


@asynccontextmanager
async def open_leg(
    ari: Ari, channel_id: str, *, transport: Transport | None = None
) -> AsyncIterator[Leg]:
    """Make a media channel in our application, for as long as the block lasts.

    Without `transport` Asterisk is asked what it can. The channel enters the application a few
    milliseconds later: adding it to a bridge may have to be tried again. Raises AriError;
    AriConflict where the id is taken.
    """
    transport = transport or await asyncio.to_thread(find_transport, ari)
    opened = _open_websocket if transport == "websocket" else _open_rtp
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_hang_up, ari, channel_id)
        yield await stack.enter_async_context(opened(ari, channel_id))


async def _hang_up(ari: Ari, channel_id: str) -> None:
    with suppress(AriError):  # what stays is found by whoever looks for what nobody needs
        await asyncio.shield(asyncio.to_thread(ari.hang_up, channel_id))


# Over chan_websocket


@asynccontextmanager
async def _open_websocket(ari: Ari, channel_id: str) -> AsyncIterator[Leg]:
    channel = await asyncio.to_thread(
        ari.create_external_media,
        channel_id,
        external_host="INCOMING",
        transport="websocket",
        encapsulation="none",
        connection_type="server",
        format=FORMAT,
    )
    connection_id = channel.variables["MEDIA_WEBSOCKET_CONNECTION_ID"]
    try:
        connecting = connect(
            f"ws{ari.url.removeprefix('http')}/media/{connection_id}",
            subprotocols=["media"],  # type: ignore[list-item]
            additional_headers={"Authorization": ari.authorization()},
            compression=None,
            open_timeout=OPEN_WITHIN_S,
            close_timeout=0.5,
            ping_interval=None,
            max_queue=None,
            proxy=None,
        )
        connection = await connecting
    except (OSError, TimeoutError, WebSocketException) as error:
        raise AriUnavailable(f"no media connection: {error}") from error
    leg = WebSocketLeg(channel_id, ari, connection)
    reader = asyncio.create_task(leg.read())
    try:
        yield leg
    finally:
        reader.cancel()
        await connection.close()


class _Heard:
    """The newest frames that came by a channel, and the end."""

    def __init__(self, channel_id: str, ari: Ari) -> None:
        self._channel_id = channel_id
        self._ari = ari
        self._frames: deque[bytes] = deque(maxlen=UNREAD_FRAMES)
        self._news = asyncio.Event()
        self._ended = False

    def put(self, frame: bytes) -> None:
        """A frame came."""
        self._frames.append(frame)
        self._news.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._news.set()

    async def get(self) -> bytes | None:
        """The oldest that is left; None after the end."""
        while not self._frames and not self._ended:
            self._news.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._news.wait()
            except TimeoutError:
                if not await asyncio.to_thread(self._is_there):
                    return None
        return self._frames.popleft() if self._frames else None

    def _is_there(self) -> bool:
        try:
            return self._ari.find_channel(self._channel_id) is not None
        except AriError:
            return False


class WebSocketLeg:
    """A leg over `chan_websocket`."""

    def __init__(self, channel_id: str, ari: Ari, connection: ClientConnection) -> None:
        self.channel_id = channel_id
        self._connection = connection
        self._heard = _Heard(channel_id, ari)

    async def send(self, frame: bytes) -> None:
        """Say a frame."""
        with suppress(ConnectionClosed):
            await self._connection.send(frame)

    async def flush(self) -> None:
        """Drop what was sent and is not yet said."""
        with suppress(ConnectionClosed):
            await self._connection.send("FLUSH_MEDIA")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (frame := await self._heard.get()) is not None:
            yield frame

    async def read(self) -> None:
        """Take what comes until the channel ends; text is Asterisk's own talk about the channel."""
        framer = Framer()
        try:
            async for message in self._connection:
                if isinstance(message, bytes):
                    for frame in framer.cut(message):
                        self._heard.put(frame)
        except ConnectionClosed:
            pass
        finally:
            self._heard.end()


# Over RTP


@asynccontextmanager
async def _open_rtp(ari: Ari, channel_id: str) -> AsyncIterator[Leg]:
    """Sound is taken from the PBX's own address and port alone: the socket is connected to it."""
    host = urlsplit(ari.url).hostname or ""
    loop = asyncio.get_running_loop()
    with await asyncio.to_thread(_bind_towards, host) as own:
        address, port = own.getsockname()[:2]
        channel = await asyncio.to_thread(
            ari.create_external_media,
            channel_id,
            external_host=f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
            format=FORMAT,
        )
        own.connect((host, int(channel.variables["UNICASTRTP_LOCAL_PORT"])))
        leg = RtpLeg(channel_id, ari)
        await loop.create_datagram_endpoint(lambda: leg, sock=own)
        try:
            yield leg
        finally:
            leg.close()


def _bind_towards(host: str) -> socket.socket:
    """A UDP socket at a free port of the address from which `host` is reached."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            own = probe.getsockname()[0]
        bound = socket.socket(family, socket.SOCK_DGRAM)
        bound.bind((own, 0))
    except OSError as error:
        raise AriUnavailable(f"no way to {host}: {error.strerror}") from error
    bound.setblocking(False)
    return bound


class RtpLeg(asyncio.DatagramProtocol):
    """A leg over RTP. Source: RFC 3550; L16 of RFC 3551, at 16 kHz."""

    def __init__(self, channel_id: str, ari: Ari) -> None:
        self.channel_id = channel_id
        self._heard = _Heard(channel_id, ari)
        self._framer = Framer()
        self._transport: asyncio.DatagramTransport | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._timestamp = 0
        self._sent_at = 0.0
        self._newest: int | None = None
        self._narrow = Halver()

    async def send(self, frame: bytes) -> None:
        """Say a frame."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(self._packet(frame, time.monotonic()))

    async def flush(self) -> None:
        """Nothing can be taken back here, and Asterisk keeps next to nothing."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (frame := await self._heard.get()) is not None:
            yield frame

    def close(self) -> None:
        """No more is said or heard."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """The socket is closed."""
        self._heard.end()

    def error_received(self, _: Exception) -> None:
        """The PBX's port is closed: the channel has ended, or has not begun."""

    def datagram_received(self, packet: bytes, _: object) -> None:
        """A packet came; one that was overtaken is too late."""
        if len(packet) <= _HEADER.size or packet[1] & 0x7F != _HEARD_TYPE:
            return
        sequence = _HEADER.unpack_from(packet)[2]
        if self._newest is not None and 0 < (self._newest - sequence) & 0xFFFF < 0x8000:
            return
        self._newest = sequence
        for frame in self._framer.cut(_swapped(packet[_HEADER.size :])):
            self._heard.put(frame)

    def _packet(self, frame: bytes, now: float) -> bytes:
        """A marker opens each stretch of sound; time goes on in between."""
        begins = now - self._sent_at > 5 * FRAME_S
        self._timestamp = int(now * _SAID_RATE) if begins else self._timestamp + _SAID_SAMPLES
        self._timestamp &= 0xFFFFFFFF
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._sent_at = now
        kind = _SAID_TYPE | (_MARKER if begins else 0)
        head = _HEADER.pack(_VERSION, kind, self._sequence, self._timestamp, self._ssrc)
        return head + _swapped(self._narrow.halve(frame))


class Halver:
    """Brings PCM from 16 to 8 kHz: a half-band filter of seven taps, then every second sample."""

    def __init__(self) -> None:
        self._before = array("h", bytes(12))

    def halve(self, pcm: bytes) -> bytes:
        """As many samples as the input has pairs; 3 samples of the input late."""
        x = self._before + array("h", pcm)
        self._before = x[-6:]
        halved = array("h", bytes(len(pcm) // 2))
        for n in range(len(halved)):
            at = 2 * n + 3
            sides = 9 * (x[at - 1] + x[at + 1]) - x[at - 3] - x[at + 3]
            halved[n] = min(32767, max(-32768, (16 * x[at] + sides) >> 5))
        return halved.tobytes()


def _swapped(pcm: bytes) -> bytes:
    """16-bit samples in the other byte order: RTP's is big-endian."""
    samples = array("h", pcm[: len(pcm) & ~1])
    samples.byteswap()
    return samples.tobytes()
