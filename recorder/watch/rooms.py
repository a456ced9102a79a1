"""The events of one PBX that concern conferences, and their checks.

Each event submits its work to the lane of its conference, or of its caller. Who talks is collected
here and written once a second.
"""

from collections.abc import Mapping
from contextlib import suppress
from uuid import UUID

import structlog

from recorder import ari, names
from recorder.conferences.conferences import Conferences
from recorder.conferences.entrance import Entrance
from recorder.conferences.room import TO_CONFERENCE
from recorder.watch.lanes import Lanes
from storage.catalogue import conferences
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchConference

log = structlog.get_logger()

# Why a phone that we called is not in the conference, by the hang-up cause of Q.850.
CAUSES: Mapping[int, str] = {
    17: "busy",
    21: "declined",
    **dict.fromkeys((1, 22, 28), "wrong-number"),
    **dict.fromkeys((2, 3, 20, 27, 34, 38, 41, 42, 44, 47), "unreachable"),
}


class RoomWatch:
    """The conferences of one PBX, for its session."""

    def __init__(
        self,
        pbx: str,
        catalogue: Catalogue,
        lanes: Lanes,
        rooms: Conferences,
        entrance: Entrance,
    ) -> None:
        self._pbx = pbx
        self._catalogue = catalogue
        self._lanes = lanes
        self._conferences = rooms
        self._entrance = entrance
        self._talking: dict[str, bool] = {}
        self._waiting: set[UUID] = set()  # conferences that wait for a settle
        self._may_have_rooms = True  # a process before us may have left some

    def take(self, event: ari.Event) -> bool:
        """Handle an event; return True if it is of no use to anybody else."""
        match event:
            case ari.StasisStart(channel=channel, args=(first, *_)) if first == TO_CONFERENCE:
                self._may_have_rooms = True
                if event.replace_channel is not None:
                    self._lanes.submit(channel.id, self._entrance.expel, channel.id)
                else:
                    self._lanes.submit(channel.id, self._entrance.arrived, channel, event.args)
                return True
            case ari.DtmfReceived(channel=channel, digit=digit) if self._entrance.is_asking(
                channel.id
            ):
                self._lanes.submit(channel.id, self._entrance.key_pressed, channel.id, digit)
                return True
            case ari.ChannelTalkingStarted(channel=channel):
                self._talking[channel.id] = True
                return True
            case ari.ChannelTalkingFinished(channel=channel):
                self._talking[channel.id] = False
                return True
            case ari.ChannelLeftBridge(bridge=bridge):
                conference_id = names.parse_conference_bridge_id(bridge.id)
                if conference_id is not None:
                    self._submit_settle(conference_id)
            case ari.ChannelStateChange(channel=channel) if channel.state == "Ringing":
                if (member_id := names.parse_person_id(channel.id)) is not None:
                    self._lanes.submit(channel.id, self._conferences.phone_rings, member_id)
            case ari.ChannelDestroyed(channel=channel):
                self._entrance.left(channel.id)
                if (member_id := names.parse_person_id(channel.id)) is not None:
                    cause = CAUSES.get(event.cause, "no-answer")
                    self._lanes.submit(channel.id, self._phone_ended, member_id, cause)
        return False

    def tick(self) -> None:
        """Write who talks; call it once a second."""
        if self._talking:
            talking, self._talking = self._talking, {}
            self._lanes.submit(self._pbx, self._conferences.note_talking, self._pbx, talking)

    def check(self) -> None:
        """Check the conferences while there are any, and once after the last."""
        self._lanes.submit(self._pbx, self._check)

    def lose(self) -> None:
        """End the conferences of a PBX that has restarted."""
        self._conferences.lose(self._pbx)

    def _check(self) -> None:
        with self._catalogue.begin() as tx:
            has_rooms = bool(conferences.list_live_conferences(tx, self._pbx))
        if self._may_have_rooms or has_rooms:
            callers = self._conferences.check(self._pbx)
            self._entrance.check(callers)
            self._may_have_rooms = has_rooms

    def _phone_ended(self, member_id: UUID, cause: str) -> None:
        conference_id = self._conferences.phone_ended(member_id, cause)
        if conference_id is not None:
            self._submit_settle(conference_id)

    def _submit_settle(self, conference_id: UUID) -> None:
        """Settle a conference soon, in its own lane: once for all who have left it until then."""
        if conference_id in self._waiting:
            return
        self._waiting.add(conference_id)

        def settle() -> None:
            self._waiting.discard(conference_id)
            with suppress(NoSuchConference):  # another instance's
                self._conferences.settle(conference_id)

        self._lanes.submit(str(conference_id), settle)
