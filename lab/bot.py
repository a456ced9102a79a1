"""A voice bot: another ARI application joins a caller with an RTP stream of its own.

The PBX's DID_BOT sends the caller to the application. It makes a mixing bridge of the caller and an
`externalMedia` channel, over which the bot speaks its tone.
"""

import itertools
import json
import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
import websocket

from lab.asterisk import Asterisk
from lab.pbx import BOT
from lab.waiting import until

BOT_HZ = 2200
RATE = 8000
FRAME = 160
FRAME_S = FRAME / RATE
AMPLITUDE = 0.25


class Bot:
    """The bot on a PBX, for as long as the block lasts; it takes any number of calls."""

    def __init__(self, pbx: Asterisk) -> None:
        self._pbx = pbx
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._over = threading.Event()
        self._ports: list[int] = []  # of the PBX, one for each call
        self._media: dict[str, str] = {}  # the media channels, by the caller's channel
        address = pbx.ari_url.replace("http:", "ws:")
        self._events = websocket.create_connection(
            f"{address}/ari/events?app={BOT}&api_key={pbx.username}:{pbx.password}",
            suppress_origin=True,
        )
        self._threads = [
            threading.Thread(target=one, name=name, daemon=True)
            for name, one in (("bot-calls", self._take_calls), ("bot-voice", self._speak))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._events.abort()  # type: ignore[no-untyped-call]
        for thread in self._threads:
            thread.join()
        for caller in list(self._media):
            self._release(caller)
        self._events.close()
        self._socket.close()

    def _take_calls(self) -> None:
        with suppress(OSError, websocket.WebSocketException):
            while text := self._events.recv():
                event = json.loads(text)
                id_, name = (event.get("channel", {}).get(key, "") for key in ("id", "name"))
                if event["type"] == "StasisStart" and not name.startswith("UnicastRTP"):
                    self._media[id_] = self._take(id_)
                elif event["type"] == "StasisEnd" and id_ in self._media:
                    self._release(id_)

    def _take(self, caller: str) -> str:
        """Connect a caller with a media channel; return the id of the media channel."""
        host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        media: dict[str, Any] = self._pbx.ari(
            "POST", "/channels/externalMedia", app=BOT, external_host=host, format="ulaw"
        )
        path = f"/channels/{media['id']}/variable"
        port = self._pbx.ari("GET", path, variable="UNICASTRTP_LOCAL_PORT")["value"]
        bridge = self._pbx.ari("POST", "/bridges", type="mixing")["id"]
        for channel in (media["id"], caller):
            self._add(bridge, channel)
        self._ports.append(int(port))
        return str(media["id"])

    def _release(self, caller: str) -> None:
        self._pbx.ari_response("DELETE", f"/channels/{self._media.pop(caller)}")

    def _add(self, bridge: str, channel: str) -> None:
        """Add a channel to a bridge; retry while it enters Stasis (409, 422)."""

        def added() -> bool:
            path = f"/bridges/{bridge}/addChannel"
            answer = self._pbx.ari_response("POST", path, channel=channel)
            if answer.status_code in (409, 422):
                return False
            answer.raise_for_status()
            return True

        until(added)

    def _speak(self) -> None:
        started = time.monotonic()
        for number in itertools.count():
            time_s = (np.arange(FRAME) + number * FRAME) / RATE
            payload = encode_ulaw(AMPLITUDE * np.sin(2 * np.pi * BOT_HZ * time_s))
            header = struct.pack("!BBHII", 128, 0, number & 0xFFFF, number * FRAME & 0xFFFFFFFF, 7)
            for port in tuple(self._ports):
                self._socket.sendto(header + payload, ("127.0.0.1", port))
            if self._over.wait(max(0.0, started + (number + 1) * FRAME_S - time.monotonic())):
                return


def encode_ulaw(samples: Any) -> bytes:
    """Return samples within -1 to 1 as G.711 µ-law."""
    linear = np.minimum(np.abs(samples * 32768).astype(np.int32), 32635) + 132
    exponent = np.floor(np.log2(linear)).astype(np.int32) - 7
    mantissa = (linear >> (exponent + 3)) & 15
    sign = np.where(samples < 0, 128, 0)
    codes = ~(sign | exponent << 4 | mantissa) & 255
    return bytes(codes.astype(np.uint8))
