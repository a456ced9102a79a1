"""An Asterisk that snoops and records, in memory: for faults that a real one cannot show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from recorder.ari import AriConflict, AriNotFound, AriServerError, AriUnavailable


@dataclass
class Pbx:
    """An Asterisk with these channels. `before` and `after` run once, in the next such request."""

    channels: set[str]
    snoops: dict[str, str] = field(default_factory=dict)  # snoop → the channel that it listens to
    live: dict[str, str] = field(default_factory=dict)  # name of a recording → its snoop
    stored: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)  # every channel that ever got a snoop
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    after: dict[str, Callable[[], None]] = field(default_factory=dict)
    reachable: bool = True

    def snoop(self, channel_id: str, *, snoop_id: str, **_: Any) -> None:
        """Like ARI, raise 404 for a missing channel and 500 for a used id."""
        with self._request("snoop"):
            if channel_id not in self.channels:
                raise AriNotFound("Channel not found")
            if snoop_id in self.snoops:
                raise AriServerError("Failed to create")
            self.snoops[snoop_id] = channel_id
            self.made.append(channel_id)

    def record_channel(self, channel_id: str, *, name: str, **_: Any) -> None:
        """Like ARI, raise 404 for a missing channel and 409 for a used name."""
        with self._request("record"):
            if channel_id not in self.snoops:
                raise AriNotFound("Channel not found")
            if name in self.live or name in self.stored:
                raise AriConflict("Recording already exists")
            self.live[name] = channel_id

    def find_variable(self, _channel_id: str, _name: str) -> str | None:
        """Return the same format for every leg."""
        with self._request("variable"):
            return "(ulaw)"

    def find_live_recording(self, name: str) -> str | None:
        """Return the name while a recording under it runs."""
        with self._request("find-live"):
            return name if name in self.live else None

    def find_stored_recording(self, name: str) -> str | None:
        """Return the name where a file has it."""
        with self._request("find-stored"):
            return name if name in self.live or name in self.stored else None

    def find_channel(self, channel_id: str) -> str | None:
        """Return the id of a channel while it exists."""
        with self._request("find-channel"):
            return channel_id if channel_id in self.channels else None

    def list_channels(self, **_: Any) -> list[SimpleNamespace]:
        """Return the snoops."""
        with self._request("list"):
            return [SimpleNamespace(id=snoop_id) for snoop_id in self.snoops]

    def stop_live_recording(self, name: str) -> bool:
        """Close the file."""
        with self._request("stop"):
            self.stored |= {name} & set(self.live)
            return self.live.pop(name, None) is not None

    def hang_up(self, channel_id: str) -> bool:
        """End a channel or a snoop, and with it its snoops and its recordings."""
        with self._request("hang-up"):
            return self.end(channel_id)

    def end(self, channel_id: str) -> bool:
        """End a channel as its party does: it needs no request to the PBX."""
        for snoop_id in [one for one, of in self.snoops.items() if of == channel_id]:
            self.end(snoop_id)
        for name in [one for one, snoop_id in self.live.items() if snoop_id == channel_id]:
            del self.live[name]
            self.stored.add(name)
        known = channel_id in self.channels or channel_id in self.snoops
        self.channels.discard(channel_id)
        self.snoops.pop(channel_id, None)
        return known

    def heard(self) -> list[str]:
        """Return the channels that are recorded now."""
        return sorted(self.snoops[snoop_id] for snoop_id in self.live.values())

    def _request(self, kind: str) -> "_Request":
        if not self.reachable:
            raise AriUnavailable("no answer within 5 s")
        return _Request(self, kind)


@dataclass
class _Request:
    pbx: Pbx
    kind: str

    def __enter__(self) -> None:
        self.pbx.before.pop(self.kind, lambda: None)()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.pbx.after.pop(self.kind, lambda: None)()
