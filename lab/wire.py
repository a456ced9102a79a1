"""The wire: the RTP on loopback, the reference for the timing of recordings."""

import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

RATE = 8000
ULAW = 0
ETHERNET_BYTES, UDP_BYTES, RTP_BYTES = 14, 8, 12
LOUD = 0.05


@dataclass(frozen=True)
class Packet:
    """One RTP packet of G.711 µ-law: its time on the monotonic clock, its port, its samples."""

    passed_s: float
    port: int
    samples: npt.NDArray[np.float64]


class Wire:
    """A listener to all RTP on loopback, for as long as the block lasts. Needs root."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind(("lo", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.settimeout(0.2)
        self._raw: list[tuple[float, bytes]] = []
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._reader.join()
        self._socket.close()

    def onsets(self, hz: float, rest_s: float = 0.3) -> list[float]:
        """Return the time of each burst's first sample, on the monotonic clock.

        Several streams carry the tone; take the earliest one: it comes from the speaker's phone.
        """
        streams: dict[int, list[Packet]] = {}
        for passed_s, frame in self._raw:
            if packet := _parse(passed_s, frame):
                streams.setdefault(packet.port, []).append(packet)
        heard = [_onsets(packets, hz, rest_s) for packets in streams.values()]
        return min((one for one in heard if one), key=lambda one: one[0])

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                frame, address = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            if address[2] != socket.PACKET_OUTGOING:  # loopback shows each packet twice
                self._raw.append((time.monotonic(), frame))


def _parse(passed_s: float, frame: bytes) -> Packet | None:
    """Return the packet, if it is RTP of G.711 µ-law over UDP and IPv4."""
    ip_bytes = (frame[ETHERNET_BYTES] & 15) * 4 if len(frame) > ETHERNET_BYTES else 0
    rtp = ETHERNET_BYTES + ip_bytes + UDP_BYTES
    if ip_bytes < 20 or frame[ETHERNET_BYTES + 9] != socket.IPPROTO_UDP or len(frame) < rtp + 60:
        return None
    (port,) = struct.unpack_from("!H", frame, rtp - UDP_BYTES + 2)
    if frame[rtp] >> 6 != 2 or frame[rtp + 1] & 127 != ULAW:
        return None
    return Packet(passed_s, port, _decode(frame[rtp + RTP_BYTES :]))


def _decode(payload: bytes) -> npt.NDArray[np.float64]:
    """Return the samples of G.711 µ-law, within -1 to 1."""
    code = ~np.frombuffer(payload, np.uint8)
    magnitude = (((code & 15) << 3).astype(np.int32) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude) / 32768.0


def _onsets(packets: list[Packet], hz: float, rest_s: float) -> list[float]:
    """Return the times at which the tone starts after a rest of at least `rest_s`."""
    found: list[float] = []
    last_s = -1e9
    for packet in packets:
        carrier = np.exp(-2j * np.pi * hz * np.arange(len(packet.samples)) / RATE)
        if 2 * abs(np.mean(packet.samples * carrier)) < LOUD / 4:
            continue
        first = int(np.argmax(np.abs(packet.samples) > LOUD))
        if packet.passed_s - last_s > rest_s:
            found.append(packet.passed_s + first / RATE)
        last_s = packet.passed_s
    return found
