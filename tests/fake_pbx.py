"""A PBX in memory, for tests of the steps that supervisors need on it."""

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from recorder import names
from recorder.ari import AriNotFound, AriServerError, Bridge, Endpoint

INSTANCE = "earwitness"


class FakePbx:
    """A PBX with channels, and bridges with channels inside; a snoop needs its channel."""

    application = INSTANCE

    def __init__(self, *channels: str) -> None:
        self.channels = set(channels)
        self.variables: dict[tuple[str, str], str] = {}
        self.look: Callable[[str], None] = lambda _: None
        self.bridges: dict[str, list[str]] = {}
        self.endpoints = {"PJSIP/9001", "PJSIP/9002", "PJSIP/trunk"}
        self.unregistered: set[str] = set()
        self.dialled: list[str] = []
        self.ringing: set[str] = set()
        self.names: dict[str, str] = {}
        self.in_stasis: set[str] = set()
        self.played: list[tuple[str, str]] = []
        self.silent: set[str] = set()

    def find_endpoint(self, technology: str, resource: str) -> Endpoint | None:
        found = f"{technology.upper()}/{resource}"
        state = "offline" if found in self.unregistered else "online"
        return Endpoint(technology.upper(), resource, state) if found in self.endpoints else None

    def has_endpoints(self, technology: str) -> bool:
        return any(one.startswith(f"{technology}/") for one in self.endpoints)

    def originate(self, endpoint: str, *, channel_id: str, **_: Any) -> None:
        if endpoint not in self.endpoints - self.unregistered:
            raise AriServerError("Allocation failed")
        self.dialled.append(endpoint)
        self.channels.add(channel_id)
        self.ringing.add(channel_id)

    def find_channel(self, id_: str) -> Any:
        self.look(id_)
        state = "Ringing" if id_ in self.ringing else "Up"
        name = self.names.get(id_, f"PJSIP/{id_}-00000001")
        ours = (f"{INSTANCE},", "Stasis") if id_ in self.in_stasis else ("", "")
        found = SimpleNamespace(
            id=id_,
            state=state,
            name=name,
            technology=name.partition("/")[0],
            dialplan=SimpleNamespace(app_data=ours[0], app_name=ours[1]),
        )
        return found if id_ in self.channels else None

    def get_channel(self, id_: str) -> Any:
        if id_ not in self.channels:
            raise AriNotFound(f"no channel {id_}")
        return self.find_channel(id_)

    def list_channels(self, *, prefix: str = "") -> list[Any]:
        return [self.find_channel(id_) for id_ in sorted(self.channels) if id_.startswith(prefix)]

    def list_own_channels(
        self, argument: str | None = None, *, also: Collection[str] = ()
    ) -> list[Any]:
        wanted = self.channels & (self.in_stasis | set(also))
        found = [self.find_channel(id_) for id_ in sorted(wanted)]
        return [one for one in found if one.id in also or argument in (None, *_arguments(one)[:1])]

    def snoop(self, channel_id: str, *, snoop_id: str, **_: str) -> None:
        self.get_channel(channel_id)
        self.channels.add(snoop_id)

    def hang_up(self, id_: str) -> None:
        self.channels.discard(id_)
        for there in self.bridges.values():
            there[:] = [one for one in there if one != id_]

    def set_variable(self, id_: str, name: str, value: str) -> None:
        self.get_channel(id_)
        self.variables[id_, name] = value

    def play(self, id_: str, media: str, *, playback_id: str) -> None:
        self.get_channel(id_)
        self.played.append((id_, media))

    def stop_playback(self, playback_id: str) -> None:
        pass

    def start_silence(self, id_: str) -> None:
        self.get_channel(id_)
        self.silent.add(id_)

    def stop_silence(self, id_: str) -> None:
        self.silent.discard(id_)

    def find_bridge(self, id_: str) -> Bridge | None:
        there = self.bridges.get(id_)
        return Bridge(id_, "mixing", "", tuple(there)) if there is not None else None

    def list_bridges(self) -> list[Bridge]:
        return [Bridge(id_, "mixing", "", tuple(there)) for id_, there in self.bridges.items()]

    def create_bridge(self, *, bridge_id: str) -> Bridge:
        return Bridge(bridge_id, "mixing", "", tuple(self.bridges.setdefault(bridge_id, [])))

    def destroy_bridge(self, id_: str) -> None:
        self.bridges.pop(id_, None)

    def add_to_bridge(self, id_: str, *channel_ids: str, **_: bool) -> None:
        for one in channel_ids:
            self.get_channel(one)
            for there in self.bridges.values():
                there[:] = [other for other in there if other != one]
            self.bridges[id_].append(one)

    def remove_from_bridge(self, id_: str, channel_id: str) -> None:
        if channel_id not in self.bridges.get(id_, ()):
            raise AriNotFound(f"{channel_id} is not in {id_}")
        self.bridges[id_].remove(channel_id)

    def heard_by(self, spy_id: UUID) -> set[str]:
        """Return the legs that hear the supervisor."""
        parts = map(
            names.parse_spy_part, self.bridges.get(names.build_talking_bridge_id(spy_id), ())
        )
        return {str(one.channel_id) for one in parts if one and one.kind == "talking-snoop"}


def _arguments(channel: Any) -> list[str]:
    return str(channel.dialplan.app_data).split(",")[1:]
