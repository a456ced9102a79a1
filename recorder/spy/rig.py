"""Bridges and snoops of spies on one PBX; every step is harmless to repeat.

    target ──listening snoop──▶ listening bridge ──▶ phones, the channel of all pages, barging pages
    phone ──phone snoop──▶ talking bridge ──talking snoop──▶ each leg that hears the supervisor
    microphone of a page ─▶
    target ──meter snoop──▶ meter bridge ──▶ meter channel      once for each way

All supervisors who listen to a channel share its listening bridge; each has a talking bridge. To
listen costs the call nothing. A switch of mode changes talking snoops alone.

Listeners are silent in the listening bridge: the volume of a phone is turned down where its audio
enters Asterisk. The bridge's own `mute` does not serve: it takes the voice from the phone snoop too
(measured on 22.10). Turning down does not, because the hooks of snoops run before it. When a
supervisor barges, the phone is turned up for the other supervisors. A barging page joins the
bridge with a channel of its own, where others hear it and it hears all but itself.

When the target gets into other company it needs a new listening snoop: the audiohooks of some
builds (Debian's 22.10.1) drop the frames of a party who joins later, for up to minutes. They do so
until the last hook on the target is gone, so the talking snoops on it are made anew too. For the
same reason each leg that hears the supervisor gets a new talking snoop when the people change who
talk with each other. The snoop of a recording stays, and the fault with it, where the leg is
recorded.

A leg to which the PBX sends nothing (its other side is muted, or it is on hold) hears no whisper on
Asterisk up to 22.10.1, and no request of ARI can change that for a channel outside of Stasis
(measured on 22.10 and 16): `recorder/spy/reach.py` notices it.

A deaf phone is in no bridge and hears silence; its phone snoop still carries the voice.
"""

import time
from collections.abc import Callable, Collection

from recorder import names
from recorder.ari import Ari, AriBadRequest, AriConflict, AriNotFound
from recorder.ari.client import Direction
from recorder.ari.model import Bridge
from recorder.ari.stasis import in_stasis
from recorder.names import PartKind, SpyPart
from recorder.spy.listeners import Listener

# A snoop needs a frame or two to notice its hangup, and a bridge takes as long to go.
GONE_WITHIN_S = 0.2
SILENT, UNCHANGED = "-32767", "0"
LOUDNESS = "VOLUME(RX)"
# The sound at the start of a pause.
DEAF_TONE, DEAF_TONE_S = "tone:660", 0.25


class Rig:
    """The parts of spies on one PBX. Raises AriError; AriNotFound if a needed channel is gone."""

    def __init__(self, ari: Ari) -> None:
        self._ari = ari
        self._instance = ari.application

    def listen(self, target: str, listener: Listener, *, company: Collection[str] = ()) -> bool:
        """Let the supervisor hear the voice of the target and the audio sent to it.

        `company` are the channels that share a bridge with the target. Return whether the
        supervisor or the listening snoop is new: then the caller must `speak` again.
        """
        bridge_id = names.build_listening_bridge_id(self._instance, target)
        bridge = self._find_or_create_bridge(bridge_id)
        snoop_id = names.build_listening_snoop_id(self._instance, target, company)
        needs_snoop = snoop_id not in bridge.channel_ids
        if needs_snoop:
            if bridge.channel_ids:
                self._remove_all_snoops(target)
            self._join(bridge_id, self._snoop(snoop_id, target, spy="both"))
        if listener.is_loud:
            loudness = UNCHANGED if listener.spy.mode == "barge" else SILENT
            phone = listener.supervisor_channel
            in_stasis(lambda: self._ari.set_variable(phone, LOUDNESS, loudness))
        channel_id = listener.listening_channel(self._instance, target)
        is_new = channel_id not in bridge.channel_ids
        if is_new:
            if listener.rests_in_silence and listener.spy.live_at is not None:
                self._end_silence(listener)
            self._join(bridge_id, channel_id)
        return is_new or needs_snoop

    def join_listeners(self, target: str, channel_id: str) -> None:
        """Add the channel of a barging page to the listening bridge, so that all hear it there."""
        bridge = self._find_or_create_bridge(
            names.build_listening_bridge_id(self._instance, target)
        )
        if channel_id not in bridge.channel_ids:
            self._join(bridge.id, channel_id)

    def deafen(self, target: str) -> None:
        """Remove the listening snoop of the target: nobody hears it until the next `listen`."""
        bridge = self._ari.find_bridge(names.build_listening_bridge_id(self._instance, target))
        if bridge is not None:
            self._remove("listening-snoop", bridge, keep=())

    def rest(self, target: str) -> None:
        """Remove the snoops through which the target is heard and measured; bridges stay."""
        self.deafen(target)
        for way in names.WAYS:
            id_ = names.build_meter_bridge_id(self._instance, way, target)
            bridge = self._ari.find_bridge(id_)
            if bridge is not None:
                self._remove("meter-snoop", bridge, keep=())

    def begin_silence(self, listener: Listener, *, with_tone: bool) -> None:
        """Let the phone, which is in no bridge, hear silence, perhaps after a short tone.

        A phone that gets no RTP at all may hang up.
        """
        phone = listener.supervisor_channel
        if with_tone:
            tone_id = names.build_tone_id(listener.spy.id)
            in_stasis(lambda: self._ari.play(phone, DEAF_TONE, playback_id=tone_id))
            time.sleep(DEAF_TONE_S)
            self._ari.stop_playback(tone_id)
        in_stasis(lambda: self._ari.start_silence(phone))

    def _end_silence(self, listener: Listener) -> None:
        """Make the phone ready for a bridge: until the tone ends it would wait for the phone."""
        self._ari.stop_playback(names.build_tone_id(listener.spy.id))
        in_stasis(lambda: self._ari.stop_silence(listener.supervisor_channel))

    def drop(self, target: str) -> None:
        """Remove the listening bridge of the target with all its channels, and its meters."""
        self.deafen(target)
        for way in names.WAYS:
            self._ari.hang_up(names.build_meter_channel_id(self._instance, way, target))
            self._drop_meter(target, way)
        self._ari.hang_up(names.build_listening_channel_id(self._instance, target))
        self._destroy(names.build_listening_bridge_id(self._instance, target))

    def leave(self, channel_id: str, *, keep: str | None = None) -> None:
        """Take a channel out of every listening bridge but that of the target `keep`."""
        for bridge in self._ari.list_bridges():
            part = names.parse_spy_part(bridge.id)
            if part is None or part.kind != "listening-bridge" or part.channel_id == keep:
                continue
            if channel_id in bridge.channel_ids:
                self._leave(bridge.id, channel_id)

    def connect_meters(self, target: str) -> None:
        """Bring each way of the target to its meter channel, where a page has opened one."""
        for way in names.WAYS:
            meter_id = names.build_meter_channel_id(self._instance, way, target)
            if self._ari.find_channel(meter_id) is None:
                self._drop_meter(target, way)
                continue
            bridge = self._find_or_create_bridge(
                names.build_meter_bridge_id(self._instance, way, target)
            )
            if meter_id not in bridge.channel_ids:
                self._join(bridge.id, meter_id)
            snoop_id = names.build_meter_snoop_id(self._instance, way, target)
            if snoop_id not in bridge.channel_ids:
                self._join(bridge.id, self._snoop(snoop_id, target, spy=way))

    def speak(
        self, listener: Listener, legs: Collection[str], *, circle: Collection[str] = ()
    ) -> None:
        """Let these legs, and no others, hear the supervisor.

        `circle` are all channels that are connected with these legs, and these legs. Without legs
        the voice still enters its talking bridge: a later switch then takes half the time.
        """
        spy_id, talking = listener.spy.id, listener.talking_channel
        bridge_id = names.build_talking_bridge_id(spy_id)
        bridge = self._find_or_create_bridge(bridge_id)
        wanted = {
            names.build_talking_snoop_id(self._instance, spy_id, leg, circle): leg for leg in legs
        }
        removed = self._remove("talking-snoop", bridge, keep=wanted)
        if any(channel_id in legs for channel_id in map(_channel_of, removed)):
            self._remove_stale_snoops(legs, circle)
            _await_gone(self._ari.find_channel, removed)
        if talking == listener.voice_channel:
            self._ari.get_channel(talking)
        else:
            self._snoop(talking, listener.voice_channel, spy="in")
        if talking not in bridge.channel_ids:
            self._join(bridge_id, talking)
        for snoop_id, leg in wanted.items():
            if snoop_id not in bridge.channel_ids:
                self._join(bridge_id, self._snoop(snoop_id, leg, whisper="out"))

    def hush(self, listener: Listener, *, keep: Collection[str]) -> None:
        """Take the supervisor's voice from every leg but these."""
        spy_id = listener.spy.id
        bridge = self._ari.find_bridge(names.build_talking_bridge_id(spy_id))
        if bridge is not None:
            kept = {id_ for id_ in bridge.channel_ids if _channel_of(id_) in keep}
            self._remove("talking-snoop", bridge, keep=kept)

    def silence(self, listener: Listener) -> None:
        """Remove the talking bridge and its snoops; the microphone channel of a page stays."""
        bridge = self._ari.find_bridge(names.build_talking_bridge_id(listener.spy.id))
        if bridge is None:
            return
        self._remove("talking-snoop", bridge, keep=())
        if listener.talking_channel != listener.voice_channel:
            self._ari.hang_up(listener.talking_channel)
        self._destroy(bridge.id)

    def _remove_all_snoops(self, target: str) -> None:
        """Remove all our snoops of spies from the target, and wait until they are gone.

        The faulty builds remember the first hook as long as any audiohook is left.
        """
        kinds = ("listening-snoop", "talking-snoop", "meter-snoop")
        self._remove_snoops(lambda _, part: part.kind in kinds and part.channel_id == target)

    def _remove_stale_snoops(self, legs: Collection[str], circle: Collection[str]) -> None:
        """Remove from these legs the talking snoops that were made for another circle."""

        def is_stale(id_: str, part: SpyPart) -> bool:
            spy_id, leg = part.spy_id, part.channel_id
            if spy_id is None or leg is None or leg not in legs:
                return False
            return id_ != names.build_talking_snoop_id(self._instance, spy_id, leg, circle)

        self._remove_snoops(is_stale)

    def _remove_snoops(self, is_meant: Callable[[str, SpyPart], bool]) -> None:
        """Remove our snoops that are meant, and wait until they are gone."""
        snoops = [
            (bridge.id, id_)
            for bridge in self._ari.list_bridges()
            for id_ in bridge.channel_ids
            if (part := names.parse_spy_part(id_)) is not None
            and part.instance == self._instance
            and is_meant(id_, part)
        ]
        for bridge_id, id_ in snoops:
            self._leave(bridge_id, id_)
            self._ari.hang_up(id_)
        _await_gone(self._ari.find_channel, [id_ for _, id_ in snoops])

    def _drop_meter(self, target: str, way: names.Way) -> None:
        bridge = self._ari.find_bridge(names.build_meter_bridge_id(self._instance, way, target))
        if bridge is not None:
            self._remove("meter-snoop", bridge, keep=())
            self._destroy(bridge.id)

    def _destroy(self, bridge_id: str) -> None:
        """Destroy a bridge and wait until it is gone: until then no channel can join it."""
        self._ari.destroy_bridge(bridge_id)
        _await_gone(self._ari.find_bridge, [bridge_id])

    def _remove(self, kind: PartKind, bridge: Bridge, keep: Collection[str]) -> list[str]:
        """Hang up the snoops of a kind, and return their ids.

        They leave the bridge first: a snoop on a silent channel lingers.
        """
        removed = []
        for id_ in bridge.channel_ids:
            part = names.parse_spy_part(id_)
            if part is not None and part.kind == kind and id_ not in keep:
                self._leave(bridge.id, id_)
                self._ari.hang_up(id_)
                removed.append(id_)
        return removed

    def _leave(self, bridge_id: str, channel_id: str) -> None:
        try:
            self._ari.remove_from_bridge(bridge_id, channel_id)
        except (AriBadRequest, AriConflict, AriNotFound):
            return  # it left by itself

    def _snoop(
        self, id_: str, channel_id: str, *, spy: Direction = "none", whisper: Direction = "none"
    ) -> str:
        """Return the snoop with this id; look first, because a refused id costs Asterisk dearly."""
        if self._ari.find_channel(id_) is None:
            self._ari.snoop(channel_id, snoop_id=id_, spy=spy, whisper=whisper)
        return id_

    def _find_or_create_bridge(self, bridge_id: str) -> Bridge:
        return self._ari.find_bridge(bridge_id) or self._ari.create_bridge(bridge_id=bridge_id)

    def _join(self, bridge_id: str, channel_id: str) -> None:
        in_stasis(lambda: self._ari.add_to_bridge(bridge_id, channel_id, absorb_dtmf=True))


def _channel_of(id_: str) -> str | None:
    """Return the channel to which this part of a spy belongs."""
    part = names.parse_spy_part(id_)
    return part.channel_id if part is not None else None


def _await_gone(find: Callable[[str], object | None], ids: Collection[str]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while any(find(id_) is not None for id_ in ids):
        if time.monotonic() > deadline:
            return  # a snoop on a silent channel lingers, and does no harm
        time.sleep(GONE_WITHIN_S / 40)
