"""Conferences that Earwitness holds on the simulated PBX, and the recordings of their members.

Each has ten members at any time. The bench writes the row of the next member and then asks for him
by `POST /join`: the oldest member hangs up, and the next one is in the bridge, as a dialled call.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from recorder import names

HELD_MEMBERS = 10
_CONFERENCES, _MEMBERS = 1 << 100, 1 << 101
_MOST = 1 << 20  # members of one conference

Answer = tuple[int, Any]


def conference_id(number: int) -> UUID:
    """Return the id of a conference, by its number."""
    return UUID(int=_CONFERENCES + number)


def member_id(conference: int, number: int) -> UUID:
    """Return the id of a member, by the numbers of the conference and of the member in it."""
    return UUID(int=_MEMBERS + conference * _MOST + number)


class Captures:
    """The snoops on the PBX and the recordings of them; `send` sends an event."""

    def __init__(self, like: str, send: Callable[[str], None], now: Callable[[], str]) -> None:
        self._like = json.loads(like)
        self._send = send
        self._now = now
        self._snoops: dict[str, dict[str, Any]] = {}
        self._targets: dict[str, str] = {}
        self._live: dict[str, str] = {}  # the snoop of each live recording, by its name
        self.most = 0

    @property
    def channels(self) -> list[str]:
        """Return the snoops as JSON."""
        return [json.dumps(one) for one in self._snoops.values()]

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> Answer | None:
        """Answer a request about a snoop or a live recording; None for any other."""
        parts = path.removeprefix("/ari/").split("/")
        answer: Answer | None = None
        match (method, parts):
            case ("POST", ["channels", target, "snoop", snoop]):
                answer = self._snoop(target, snoop)
            case ("POST", ["channels", snoop, "record"]) if snoop in self._snoops:
                answer = self._record(snoop, query["name"][0])
            case ("GET", ["channels", snoop]) if snoop in self._snoops:
                answer = 200, self._snoops[snoop]
            case ("DELETE", ["channels", snoop]) if self._end(snoop):
                answer = 204, {}
            case ("GET" | "POST", ["recordings", "live", *words]):
                name = "/".join(words[:-1] if words[-1] == "stop" else words)
                if name in self._live:
                    answer = 200, self._recording(name)
        return answer

    def hang_up_target(self, channel_id: str) -> None:
        """End the snoops on a channel that hangs up."""
        for snoop in [one for one, target in self._targets.items() if target == channel_id]:
            self._end(snoop)

    def _snoop(self, target: str, snoop: str) -> Answer:
        name = f"Snoop/{target}-{len(self._snoops):08x}"
        channel = self._like | {"id": snoop, "name": name, "creationtime": self._now()}
        channel["channelvars"] = {"CHANNEL(linkedid)": snoop}
        self._snoops[snoop], self._targets[snoop] = channel, target
        self._emit("ChannelCreated", channel=channel)
        self._emit("StasisStart", channel=channel, args=[])
        return 200, channel

    def _record(self, snoop: str, name: str) -> Answer:
        self._live[name] = snoop
        self.most = max(self.most, len(self._live))
        self._emit("RecordingStarted", recording=self._recording(name))
        return 201, self._recording(name)

    def _recording(self, name: str) -> dict[str, str]:
        uri = f"channel:{self._live.get(name, '')}"
        return {"name": name, "format": "wav", "state": "recording", "target_uri": uri}

    def _end(self, snoop: str) -> bool:
        channel = self._snoops.pop(snoop, None)
        if channel is None:
            return False
        del self._targets[snoop]
        for name in [one for one, by in self._live.items() if by == snoop]:
            recording = self._recording(name) | {"state": "done"}
            del self._live[name]
            self._emit("RecordingFinished", recording=recording)
        self._emit("ChannelDestroyed", channel=channel, cause=16, cause_txt="Normal Clearing")
        return True

    def _emit(self, type_: str, **fields: Any) -> None:
        event = {"type": type_, "timestamp": self._now(), "application": "earwitness", **fields}
        self._send(json.dumps(event))


def held_bridge_id(conference: int) -> str:
    """Return the id of the bridge of a conference."""
    return names.build_conference_bridge_id(conference_id(conference))


def person_channel(conference: int, number: int) -> str:
    """Return the id of the channel of a member."""
    return names.build_person_id(member_id(conference, number))
