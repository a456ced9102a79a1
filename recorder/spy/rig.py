"""What a spy is made of on a PBX; every step is harmless to repeat.

    target ──snoop (hear)──▶ listen bridge ──▶ phones, ear, seats  one for all who listen
    target ──snoop (probe)──▶ gauging bridge ──▶ gauge   what it says, and what it hears, each alone
    phone ──snoop (tap)──▶ voice bridge ──snoop (say)──▶ each leg  one for each who talks

To listen costs the call nothing, and a switch leaves it as it is: only the snoops that say change.
Whoever listens is silent there: a phone's own voice is turned down to nothing where it comes in.
A bridge's own `mute` would not do: it takes the voice from the tap too (measured on 22.10), which
this does not, since spying audiohooks come before the one that turns down. Who barges is turned up
again, for the other supervisors to hear; a page that barges takes a seat among them, by which it is
heard, and hears all but itself.

When the target comes into other company it is heard through a new snoop: the audiohooks of some
builds (Debian's 22.10.1) drop the frames of a party who comes later, for up to minutes. They do so
until the last of them is gone, so those that say are made anew too. That of a recording stays, and
so does the fault, where the target is recorded.

A leg that is sent nothing by the PBX (its other side is mute, or it holds) hears no whisper on
Asterisk up to 22.10.1.
"""

import time
from collections.abc import Callable, Collection

from recorder import names
from recorder.ari import Ari, AriBadRequest, AriConflict, AriNotFound
from recorder.ari.client import Direction
from recorder.ari.model import Bridge
from recorder.ari.stasis import in_stasis
from recorder.names import PartKind
from storage.records import SpyRecord

# How long a snoop takes at most to see that it was hung up, a frame or two; and a bridge to go.
GONE_WITHIN_S = 0.2
SILENT, AS_IT_IS = "-32767", "0"
LOUDNESS = "VOLUME(RX)"


class Rig:
    """One PBX, for spies. Raises AriError; AriNotFound where a channel that is needed is gone."""

    def __init__(self, ari: Ari) -> None:
        self._ari = ari

    def listen(
        self,
        target: str,
        listener: str,
        *,
        company: Collection[str] = (),
        audible: bool,
        is_phone: bool,
    ) -> bool:
        """Let a phone, or the ear of the pages, hear what the target says and hears.

        `company` are the channels that it talks with; `audible` says whether the other listeners
        hear the phone. Whether the listener or the snoop is new: then who speaks has to `speak`.
        """
        bridge_id = names.build_listening_bridge_id(target)
        bridge = self._bridge(bridge_id)
        hear_id = names.build_listening_snoop_id(target, company)
        is_deaf = hear_id not in bridge.channel_ids
        if is_deaf:
            if bridge.channel_ids:
                self._clear(target)
            self._join(bridge_id, self._snoop(hear_id, target, spy="both"))
        if is_phone:
            self.set_audible(listener, audible)
        is_new = listener not in bridge.channel_ids
        if is_new:
            self._join(bridge_id, listener)
        return is_new or is_deaf

    def gauge(self, target: str) -> None:
        """Bring what the target says, and what it hears, to the gauges, where there are any."""
        for way in names.WAYS:
            gauge, bridge_id = (
                names.build_meter_channel_id(way, target),
                names.build_meter_bridge_id(way, target),
            )
            if self._ari.find_channel(gauge) is None:
                self._end_gauging(target, way)
                continue
            there = self._bridge(bridge_id).channel_ids
            if gauge not in there:
                self._join(bridge_id, gauge)
            probe = names.build_meter_snoop_id(way, target)
            if probe not in there:
                self._join(bridge_id, self._snoop(probe, target, spy=way))

    def ungauge(self, target: str) -> None:
        """Measure nothing of the target any more."""
        for way in names.WAYS:
            self._ari.hang_up(names.build_meter_channel_id(way, target))
            self._end_gauging(target, way)

    def _end_gauging(self, target: str, way: names.Way) -> None:
        bridge = self._ari.find_bridge(names.build_meter_bridge_id(way, target))
        if bridge is not None:
            self._remove("meter-snoop", bridge, keep=())
            self._destroy(bridge.id)

    def seat(self, target: str, seat: str) -> None:
        """Let a page that barges be heard by the others who listen to the target."""
        bridge = self._bridge(names.build_listening_bridge_id(target))
        if seat not in bridge.channel_ids:
            self._join(bridge.id, seat)

    def set_audible(self, phone: str, audible: bool) -> None:
        """Whether what the phone says is heard in the bridge that it is in."""
        value = AS_IT_IS if audible else SILENT
        in_stasis(lambda: self._ari.set_variable(phone, LOUDNESS, value))

    def deafen(self, target: str) -> None:
        """Take the snoop of the target away: until the next `listen` nobody hears it."""
        bridge = self._ari.find_bridge(names.build_listening_bridge_id(target))
        if bridge is not None:
            self._remove("listening-snoop", bridge, keep=())

    def drop(self, target: str) -> None:
        """Take down all by which the target is listened to."""
        self.deafen(target)
        self.ungauge(target)
        self._ari.hang_up(names.build_listening_channel_id(target))
        self._destroy(names.build_listening_bridge_id(target))

    def leave(self, listener: str, *, keep: str | None = None) -> None:
        """Take a listener out of every listen bridge but that of the channel `keep`."""
        for bridge in self._ari.list_bridges():
            part = names.parse_spy_part(bridge.id)
            listens = (
                part is not None and part.kind == "listening-bridge" and part.channel_id != keep
            )
            if listens and listener in bridge.channel_ids:
                self._leave(bridge.id, listener)

    def speak(self, spy: SpyRecord, carrier: str, says: Collection[str]) -> None:
        """Let these legs, and no others, hear the supervisor.

        For nobody the voice is brought as far as its bridge: then a switch takes half the time.
        """
        bridge_id = names.build_talking_bridge_id(spy.id)
        bridge = self._bridge(bridge_id)
        wanted = {names.build_talking_snoop_id(spy.id, one): one for one in says}
        self._remove("talking-snoop", bridge, keep=wanted)
        voice = self._voice(spy, carrier)
        if voice not in bridge.channel_ids:
            self._join(bridge_id, voice)
        for say_id, leg in wanted.items():
            if say_id not in bridge.channel_ids:
                self._join(bridge_id, self._snoop(say_id, leg, whisper="out"))

    def hush(self, spy: SpyRecord, *, keep: Collection[str]) -> None:
        """Take the supervisor's voice away from all but these legs."""
        bridge = self._ari.find_bridge(names.build_talking_bridge_id(spy.id))
        if bridge is not None:
            self._remove(
                "talking-snoop",
                bridge,
                keep={names.build_talking_snoop_id(spy.id, one) for one in keep},
            )

    def silence(self, spy: SpyRecord) -> None:
        """Take the supervisor's voice away from everybody; the microphone of a page stays."""
        bridge = self._ari.find_bridge(names.build_talking_bridge_id(spy.id))
        if bridge is None:
            return
        self._remove("talking-snoop", bridge, keep=())
        self._ari.hang_up(names.build_phone_snoop_id(spy.id))
        self._destroy(bridge.id)

    def _clear(self, target: str) -> None:
        """Take all snoops of spies off the target, and see them gone.

        What the builds above remember of the sequence lasts as long as any audiohook is left.
        """
        there = [(one.id, id_) for one in self._ari.list_bridges() for id_ in one.channel_ids]
        snoops = [(bridge_id, id_) for bridge_id, id_ in there if _is_snoop_of(target, id_)]
        for bridge_id, id_ in snoops:
            self._leave(bridge_id, id_)
            self._ari.hang_up(id_)
        _see_gone(self._ari.find_channel, [id_ for _, id_ in snoops])

    def _destroy(self, bridge_id: str) -> None:
        """And see it gone: while its channels leave it is still found, but takes none."""
        self._ari.destroy_bridge(bridge_id)
        _see_gone(self._ari.find_bridge, [bridge_id])

    def _remove(self, kind: PartKind, bridge: Bridge, keep: Collection[str]) -> None:
        """Out of the bridge first: a snoop of a channel without frames lingers."""
        for id_ in bridge.channel_ids:
            part = names.parse_spy_part(id_)
            if part is not None and part.kind == kind and id_ not in keep:
                self._leave(bridge.id, id_)
                self._ari.hang_up(id_)

    def _leave(self, bridge_id: str, channel_id: str) -> None:
        try:
            self._ari.remove_from_bridge(bridge_id, channel_id)
        except (AriBadRequest, AriConflict, AriNotFound):
            return  # it went by itself

    def _voice(self, spy: SpyRecord, carrier: str) -> str:
        """The channel that brings the supervisor's voice into the bridge."""
        if carrier == names.build_microphone_id(spy.id):
            self._ari.get_channel(carrier)
            return carrier
        return self._snoop(names.build_phone_snoop_id(spy.id), carrier, spy="in")

    def _snoop(
        self, id_: str, channel_id: str, *, spy: Direction = "none", whisper: Direction = "none"
    ) -> str:
        """The snoop of this id; looked for first, for a refused id costs Asterisk dearly."""
        if self._ari.find_channel(id_) is None:
            self._ari.snoop(channel_id, snoop_id=id_, spy=spy, whisper=whisper)
        return id_

    def _bridge(self, bridge_id: str) -> Bridge:
        return self._ari.find_bridge(bridge_id) or self._ari.create_bridge(bridge_id=bridge_id)

    def _join(self, bridge_id: str, channel_id: str) -> None:
        in_stasis(lambda: self._ari.add_to_bridge(bridge_id, channel_id, absorb_dtmf=True))


def _see_gone(find: Callable[[str], object | None], ids: Collection[str]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while any(find(id_) is not None for id_ in ids):
        if time.monotonic() > deadline:
            return  # a snoop without frames lingers, and there is nothing to be heard
        time.sleep(GONE_WITHIN_S / 40)


def _is_snoop_of(target: str, id_: str) -> bool:
    part = names.parse_spy_part(id_)
    return (
        part is not None
        and part.kind in ("listening-snoop", "talking-snoop", "meter-snoop")
        and part.channel_id == target
    )
