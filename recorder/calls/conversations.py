"""Conversations: who hears whom, now and at any time before. Pure.

A *conversation* is all people who hear each other: those in one bridge, and those in bridges that
Local channels connect. It asks for bridges alone, so it may hold the legs of several calls: a
conference has one call for each member.

    bridge 1: Alice, Local/9@x-1;1        bridge 2: Local/9@x-1;2, Bob        → {Alice, Bob}
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from recorder.calls.legs import LOCAL, is_person
from storage.records import CallRecord, LegRecord


@dataclass(frozen=True, slots=True)
class Conversation:
    """The people who hear each other now, in the order in which they joined.

    A person whom nobody hears is a conversation of one. `calls` maps each leg's id to the id of its
    call.
    """

    legs: tuple[LegRecord, ...]
    calls: Mapping[str, str]

    @property
    def is_talk(self) -> bool:
        """Whether at least two people hear each other."""
        return len(self.legs) > 1

    @property
    def leg_ids(self) -> frozenset[str]:
        """The ids of the legs."""
        return frozenset(self.calls)

    @property
    def call_ids(self) -> frozenset[str]:
        """The ids of the calls that have a leg in it."""
        return frozenset(self.calls.values())


def conversations_of(calls: Iterable[CallRecord]) -> tuple[Conversation, ...]:
    """Return the conversations of the live legs of these calls: each leg is in exactly one.

    Pass a call together with those in its `joined`, because they share its bridges.
    """
    call_of: dict[str, str] = {}
    live: list[LegRecord] = []
    for call in calls:
        for leg in call.channels:
            if leg.alive:
                call_of[leg.id] = call.id
                live.append(leg)
    connected = group_channels((leg.id, leg.name, leg.bridge_id) for leg in live)
    together: dict[str, list[LegRecord]] = {}
    for leg in live:
        if is_person(leg):
            together.setdefault(connected.get(leg.id, leg.id), []).append(leg)
    return tuple(
        Conversation(
            tuple(sorted(legs, key=lambda leg: (leg.joined_at or leg.created_at, leg.id))),
            {leg.id: call_of[leg.id] for leg in legs},
        )
        for legs in together.values()
    )


@dataclass(frozen=True, slots=True)
class Talk:
    """A span in which the same people heard each other; `to_at` is None while it lasts."""

    leg_ids: frozenset[str]
    from_at: datetime
    to_at: datetime | None


def talks_of(calls: Iterable[CallRecord]) -> tuple[Talk, ...]:
    """Return the past and present conversations of two or more people, in order of time.

    Pass a call together with those in its `met`.

    Example: Ann and Bob talk from 0 to 9 s, Cid is with them from 3 to 5 s: the talks are {Ann,
    Bob} 0 to 3, {Ann, Bob, Cid} 3 to 5, {Ann, Bob} 5 to 9.
    """
    channels = {leg.id: leg for call in calls for leg in call.channels}
    moments: dict[datetime, list[tuple[str, str | None]]] = {}
    for leg in channels.values():
        for stay in leg.stays:
            to_at = stay.to_at or leg.left_at
            if to_at is not None and to_at <= stay.from_at:
                continue
            moments.setdefault(stay.from_at, []).append((leg.id, stay.bridge_id))
            if to_at is not None:
                moments.setdefault(to_at, []).insert(0, (leg.id, None))
    bridge_of: dict[str, str | None] = {}
    begun: dict[frozenset[str], datetime] = {}
    found: list[Talk] = []
    for at in sorted(moments):
        bridge_of.update(moments[at])
        present = _talking(channels, bridge_of)
        for leg_ids in [one for one in begun if one not in present]:
            found.append(Talk(leg_ids, begun.pop(leg_ids), at))
        for leg_ids in present:
            begun.setdefault(leg_ids, at)
    found += [Talk(leg_ids, from_at, None) for leg_ids, from_at in begun.items()]
    return tuple(sorted(found, key=lambda talk: talk.from_at))


def group_channels(places: Iterable[tuple[str, str, str | None]]) -> Mapping[str, str]:
    """Return for each channel in a bridge the key of its group: equal keys mean connected.

    `places` are the id, the name and the bridge of channels. Both halves of a Local channel have
    one key, so that their two bridges become one group.
    """
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key] = parent[parent[key]]
        return key

    bridged: dict[str, str] = {}
    for id_, name, bridge_id in places:
        if bridge_id is None:
            continue
        bridged[id_] = f"bridge {bridge_id}"
        if name.startswith(f"{LOCAL}/"):
            parent[find(f"local {name.rpartition(';')[0]}")] = find(bridged[id_])
    return {id_: find(key) for id_, key in bridged.items()}


def _talking(
    channels: Mapping[str, LegRecord], bridge_of: Mapping[str, str | None]
) -> Collection[frozenset[str]]:
    """Return the groups of two or more people that are connected."""
    groups: dict[str, set[str]] = {}
    places = ((id_, channels[id_].name, bridge_id) for id_, bridge_id in bridge_of.items())
    for id_, key in group_channels(places).items():
        if is_person(channels[id_]):
            groups.setdefault(key, set()).add(id_)
    return [frozenset(ids) for ids in groups.values() if len(ids) > 1]
