"""Media channels: our end of a PBX channel that carries live audio both ways.

A media channel carries 20 ms frames of 16-bit little-endian PCM, mono, 16 kHz (640 bytes). It uses
Asterisk's `chan_websocket` where that module runs (22.6, 20.16), and RTP otherwise (16.6 and up).
Unread frames are dropped, the oldest first: late audio is useless to a listener.

    channels = MediaChannels(ari)
    async with channels.open("earwitness-mic-1") as channel:
        await channel.send(frame)
        async for frame in channel:
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
from contextlib import asynccontextmanager, suppress
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
# RTP has no end marker, and a connection may break without a sign: after this long without a frame
# we ask Asterisk whether the channel still exists.
QUIET_S = 3.0

# Asterisk sends 16-bit PCM at 16 kHz with a payload type of its own, but does not accept that type
# (measured on 22.10). So we send PCM at 8 kHz, type 11. Source: main/rtp_engine.c.
_RECEIVED_TYPE = 118
_SENT_TYPE = 11
_VERSION, _MARKER = 0x80, 0x80
_HEADER = struct.Struct("!BBHII")
_SENT_RATE = 8_000
_SENT_SAMPLES = 160


class MediaChannel(Protocol):
    """An open media channel; iterating over it yields received frames until the channel ends."""

    channel_id: str

    @property
    def failed(self) -> bool:
        """Whether the channel ended because the PBX could not be reached any more."""

    async def send(self, frame: bytes) -> None:
        """Send a frame to the PBX. Does nothing after the channel has ended."""

    async def flush(self) -> None:
        """Drop frames that Asterisk has received and not yet played."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the frames that the PBX sends."""


def find_transport(ari: Ari) -> Transport:
    """Return the transport that this Asterisk offers, from a list of its modules. Raises AriError.

    The list is long: `MediaChannels` asks once per PBX.
    """
    modules = {module.name for module in ari.list_modules() if module.status == "Running"}
    return "websocket" if "chan_websocket.so" in modules else "rtp"


class MediaChannels:
    """The media channels of one PBX, over the transport that this PBX offers."""

    def __init__(self, ari: Ari) -> None:
        self.instance = ari.application
        self._ari = ari
        self._transport: Transport | None = None
        self._finding = asyncio.Lock()

    @asynccontextmanager
    async def open(self, channel_id: str) -> AsyncIterator[MediaChannel]:
        """Hang up a leftover channel with this id, then open a new one. Raises AriError.

        After a failure the transport is looked up again: the PBX may have restarted with other
        modules.
        """
        try:
            await asyncio.to_thread(self._ari.hang_up, channel_id)
            async with self._finding:
                if self._transport is None:
                    found: Transport = await asyncio.to_thread(find_transport, self._ari)
                    self._transport = found
                transport = self._transport
            async with open_media_channel(self._ari, channel_id, transport=transport) as channel:
                yield channel
                if channel.failed:
                    self._transport = None
        except AriError:
            self._transport = None
            raise


@asynccontextmanager
async def open_media_channel(
    ari: Ari, channel_id: str, *, transport: Transport
) -> AsyncIterator[MediaChannel]:
    """Create a media channel in our application, and hang it up when the block ends.

    The channel enters the application a few milliseconds later, so that adding it to a bridge may
    need a second try. Raises AriError; AriConflict where the id is taken.
    """
    opened = _open_websocket if transport == "websocket" else _open_rtp
    try:
        async with opened(ari, channel_id) as channel:
            yield channel
    finally:
        with suppress(AriError):  # the sweep for leftovers finds a channel that stays
            await asyncio.shield(asyncio.to_thread(ari.hang_up, channel_id))


# Over chan_websocket


@asynccontextmanager
async def _open_websocket(ari: Ari, channel_id: str) -> AsyncIterator[MediaChannel]:
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
    media = WebSocketChannel(channel_id, ari, connection)
    reader = asyncio.create_task(media.read())
    try:
        yield media
    finally:
        reader.cancel()
        await connection.close()


class _Received:
    """The newest frames that a channel received, and its end."""

    def __init__(self, channel_id: str, ari: Ari) -> None:
        self.failed = False
        self._channel_id = channel_id
        self._ari = ari
        self._frames: deque[bytes] = deque(maxlen=UNREAD_FRAMES)
        self._news = asyncio.Event()
        self._ended = False

    def put(self, frame: bytes) -> None:
        """Add a frame."""
        self._frames.append(frame)
        self._news.set()

    def end(self) -> None:
        """Mark the end: no frame follows."""
        self._ended = True
        self._news.set()

    async def get(self) -> bytes | None:
        """Wait for the oldest unread frame and return it; None after the end."""
        while not self._frames and not self._ended:
            self._news.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._news.wait()
            except TimeoutError:
                try:
                    found = await asyncio.to_thread(self._ari.find_channel, self._channel_id)
                except AriError:
                    self.failed, found = True, None
                if found is None:
                    return None
        return self._frames.popleft() if self._frames else None


class WebSocketChannel:
    """A media channel over `chan_websocket`."""

    def __init__(self, channel_id: str, ari: Ari, connection: ClientConnection) -> None:
        self.channel_id = channel_id
        self._connection = connection
        self._received = _Received(channel_id, ari)

    @property
    def failed(self) -> bool:
        """Whether the connection broke, or the PBX could not be reached any more."""
        return self._received.failed

    async def send(self, frame: bytes) -> None:
        """Send a frame to the PBX."""
        with suppress(ConnectionClosed):
            await self._connection.send(frame)

    async def flush(self) -> None:
        """Drop frames that Asterisk has received and not yet played."""
        with suppress(ConnectionClosed):
            await self._connection.send("FLUSH_MEDIA")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (frame := await self._received.get()) is not None:
            yield frame

    async def read(self) -> None:
        """Read frames until the channel ends, and ignore Asterisk's text messages about it."""
        framer = Framer()
        try:
            async for message in self._connection:
                if isinstance(message, bytes):
                    for frame in framer.cut(message):
                        self._received.put(frame)
        except ConnectionClosed:  # without a closing handshake
            self._received.failed = True
        finally:
            self._received.end()


# Over RTP


@asynccontextmanager
async def _open_rtp(ari: Ari, channel_id: str) -> AsyncIterator[MediaChannel]:
    """Open a channel over a socket that is connected to the PBX: it accepts no other sender."""
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
        media = RtpChannel(channel_id, ari)
        await loop.create_datagram_endpoint(lambda: media, sock=own)
        try:
            yield media
        finally:
            media.close()


def _bind_towards(host: str) -> socket.socket:
    """Return a UDP socket on a free port of our address that faces `host`."""
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


class RtpChannel(asyncio.DatagramProtocol):
    """A media channel over RTP. Source: RFC 3550; L16 of RFC 3551, at 16 kHz."""

    def __init__(self, channel_id: str, ari: Ari) -> None:
        self.channel_id = channel_id
        self._received = _Received(channel_id, ari)
        self._framer = Framer()
        self._transport: asyncio.DatagramTransport | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._timestamp = 0
        self._sent_at = 0.0
        self._newest: int | None = None
        self._halver = Halver()

    @property
    def failed(self) -> bool:
        """Whether the PBX could not be reached any more."""
        return self._received.failed

    async def send(self, frame: bytes) -> None:
        """Send a frame to the PBX; a marker opens each stretch of speech, time goes on between."""
        if self._transport is None or self._transport.is_closing():
            return
        now = time.monotonic()
        begins = now - self._sent_at > 5 * FRAME_S
        self._timestamp = int(now * _SENT_RATE) if begins else self._timestamp + _SENT_SAMPLES
        self._timestamp &= 0xFFFFFFFF
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._sent_at = now
        kind = _SENT_TYPE | (_MARKER if begins else 0)
        head = _HEADER.pack(_VERSION, kind, self._sequence, self._timestamp, self._ssrc)
        self._transport.sendto(head + _swap_bytes(self._halver.halve(frame)))

    async def flush(self) -> None:
        """Do nothing: RTP cannot take a packet back, and Asterisk buffers next to none."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (frame := await self._received.get()) is not None:
            yield frame

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """Mark the end of the received frames."""
        self._received.end()

    def error_received(self, _: Exception) -> None:
        """Ignore a closed port of the PBX: the channel has ended, or has not started."""

    def datagram_received(self, packet: bytes, _: object) -> None:
        """Keep the frames of a packet, unless a newer packet overtook it."""
        if len(packet) <= _HEADER.size or packet[1] & 0x7F != _RECEIVED_TYPE:
            return
        sequence = _HEADER.unpack_from(packet)[2]
        if self._newest is not None and 0 < (self._newest - sequence) & 0xFFFF < 0x8000:
            return
        self._newest = sequence
        for frame in self._framer.cut(_swap_bytes(packet[_HEADER.size :])):
            self._received.put(frame)


class Halver:
    """Resampler from 16 to 8 kHz: a half-band filter of seven taps, then every second sample."""

    def __init__(self) -> None:
        self._before = array("h", bytes(12))

    def halve(self, pcm: bytes) -> bytes:
        """Return one sample for each two samples of `pcm`, delayed by 3 samples of the input."""
        x = self._before + array("h", pcm)
        self._before = x[-6:]
        halved = array("h", bytes(len(pcm) // 2))
        for n in range(len(halved)):
            at = 2 * n + 3
            sides = 9 * (x[at - 1] + x[at + 1]) - x[at - 3] - x[at + 3]
            halved[n] = min(32767, max(-32768, (16 * x[at] + sides) >> 5))
        return halved.tobytes()


def _swap_bytes(pcm: bytes) -> bytes:
    """Return 16-bit samples in the other byte order: RTP is big-endian."""
    samples = array("h", pcm[: len(pcm) & ~1])
    samples.byteswap()
    return samples.tobytes()
