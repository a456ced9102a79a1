"""The bridge and the lobby of one conference on its PBX: look at them, and carry out the steps."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID, uuid4

import structlog

from recorder import names
from recorder.ari import Ari, AriBadRequest, AriConflict, AriNotFound, AriServerError, Channel
from recorder.calls.model import HELPERS
from recorder.conferences.plan import HUNG_UP, RoomStep, RoomView, Whereabouts
from recorder.dialling.phones import NOWHERE
from storage.records import MemberRecord

log = structlog.get_logger()

# The sound that all members hear when somebody joins; every set of Asterisk's core sounds has it.
JOINED = "sound:confbridge-join"
# The first of the arguments of Stasis() in the dialplan, and of channels that we call.
TO_CONFERENCE = "conference"
# A member talks no longer after this time without a voice, in milliseconds.
SILENT_MS = "1000"


class Room:
    """One conference on one PBX. Raises AriError where the PBX does not answer."""

    def __init__(self, ari: Ari, conference_id: UUID) -> None:
        self._ari = ari
        self._bridge = names.build_conference_bridge_id(conference_id)
        self._lobby = names.build_lobby_id(conference_id)

    def look(
        self,
        members: Sequence[MemberRecord],
        bridges: Mapping[str, frozenset[str]] | None = None,
        listed: Mapping[str, Channel] | None = None,
    ) -> RoomView:
        """Return the bridges and the channels of these members.

        Ask the PBX for each, unless `bridges` and `listed` are all that it has, by their ids.
        """
        find = self._ari.find_channel if listed is None else listed.get
        if bridges is None:
            found = (self._ari.find_bridge(id_) for id_ in (self._bridge, self._lobby))
            bridges = {one.id: frozenset(one.channel_ids) for one in found if one is not None}
        view = RoomView(bridges.get(self._bridge), bridges.get(self._lobby))
        channels: dict[str, Whereabouts] = {}
        present = {one.channel_id for one in members if one.cause != HUNG_UP}
        for channel_id in present - view.inside:
            channel = find(channel_id)
            if channel is not None:
                channels[channel_id] = self._describe(channel)
        known = {one.channel_id for one in members}
        unknown = (find(id_) for id_ in view.inside - known)
        foreign = [one for one in unknown if one is not None and one.technology not in HELPERS]
        return RoomView(view.bridge, view.lobby, channels, frozenset(one.id for one in foreign))

    def carry_out(self, steps: Iterable[RoomStep], muted: Mapping[str, bool]) -> None:
        """Carry out the steps in order; skip one whose channel has just gone.

        `muted` says for each channel that enters whether nobody may hear it.
        """
        for step in steps:
            try:
                self._do(step, is_muted=muted.get(step.channel_id, False))
            except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                # The next look shows whether the channel is gone; else the step comes again.
                log.info("conference.step-failed", step=step.kind, error=str(error))

    def mute(self, channel_id: str, *, muted: bool) -> None:
        """Let nobody hear a channel, or everybody; harmless to repeat."""
        try:
            if muted:
                self._ari.mute(channel_id, "in")
            else:
                self._ari.unmute(channel_id, "in")
        except (AriConflict, AriNotFound):  # the member has just gone
            pass

    def announce(self) -> None:
        """Play the sound of somebody who joins to everybody in the bridge."""
        try:
            self._ari.play_on_bridge(self._bridge, JOINED, playback_id=str(uuid4()))
        except (AriNotFound, AriConflict) as error:
            log.info("conference.not-announced", error=str(error))

    def _do(self, step: RoomStep, *, is_muted: bool) -> None:
        channel_id = step.channel_id
        match step.kind:
            case "open-bridge":
                self._ari.create_bridge(bridge_id=self._bridge)
            case "open-lobby":
                self._ari.create_bridge(bridge_id=self._lobby, type="holding")
            case "answer":
                self._ari.answer(channel_id)
            case "enter":
                # A member must not transfer his own place to the outside.
                self._ari.set_variable(channel_id, "TRANSFER_CONTEXT", NOWHERE)
                self._ari.set_variable(channel_id, "TALK_DETECT(set)", SILENT_MS)
                if is_muted:
                    self._ari.mute(channel_id, "in")
                self._ari.add_to_bridge(self._bridge, channel_id)
            case "wait":
                self._ari.add_to_bridge(self._lobby, channel_id, role="holding_participant")
            case "release":
                self._ari.continue_in_dialplan(channel_id)
            case "hang-up":
                self._ari.hang_up(channel_id)
            case "close":
                self._ari.destroy_bridge(self._bridge)
                self._ari.destroy_bridge(self._lobby)

    def _describe(self, channel: Channel) -> Whereabouts:
        return Whereabouts(
            is_ours=_arguments(channel)[:1] == [self._ari.application],
            is_up=channel.state == "Up",
            is_ringing=channel.state == "Ringing",
        )


def came_to_room(channel: Channel, application: str) -> bool:
    """Whether a channel is in this application for the sake of a conference."""
    return _arguments(channel)[:2] == [application, TO_CONFERENCE]


def _arguments(channel: Channel) -> list[str]:
    """Return the arguments of Stasis() with which a channel is in it; none outside."""
    dialplan = channel.dialplan
    return dialplan.app_data.split(",") if dialplan.app_name == "Stasis" else []
