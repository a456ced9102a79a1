"""The entrance of conferences on one PBX: channels that come to us from the dialplan.

    exten => 800,1,Stasis(earwitness,conference,sales)

A caller is asked for the PIN, where the conference has one, and becomes a member. Anybody who may
not enter goes on in the dialplan, behind that line; the variable EARWITNESS_CONFERENCE says why.
Only the watcher has an entrance. Whom a dead watcher was asking, the next one asks again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import structlog

from recorder import names
from recorder.ari import LINKEDID, Ari, AriConflict, AriNotFound, Channel
from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences
from recorder.conferences.pin_pad import PinPad
from recorder.errors import ConferenceEnded, ConferenceLocked
from storage.actors import dialplan_actor
from storage.catalogue import audit, conferences
from storage.catalogue.engine import Catalogue
from storage.records import ConferenceRecord

log = structlog.get_logger()

REASON = "EARWITNESS_CONFERENCE"
ASK_PIN, WRONG_PIN = "sound:conf-getpin", "sound:conf-invalidpin"
# The place in the dialplan to which a call that is taken in goes: the id of the conference.
_TAKEN_IN = re.compile(r"[0-9a-f]{32}")
# A caller who presses no key for this long has typed a wrong PIN.
PIN_WITHIN = timedelta(seconds=20)

Refusal = Literal["unknown", "ended", "locked", "wrong-pin"]


@dataclass(slots=True)
class _Question:
    """A caller whom we ask for the PIN of a conference."""

    channel: Channel
    conference: ConferenceRecord
    pad: PinPad
    asked_at: datetime
    playback_id: str = field(default_factory=lambda: str(uuid4()))


class Entrance:
    """The entrance of one PBX. Call it for one channel in one lane. Raises PbxUnavailable."""

    def __init__(self, catalogue: Catalogue, pbxs: Pbxs, rooms: Conferences, pbx: str) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._conferences = rooms
        self._pbx = pbx
        self._questions: dict[str, _Question] = {}

    def is_asking(self, channel_id: str) -> bool:
        """Whether the keys of this channel are those of a PIN."""
        return channel_id in self._questions

    def arrived(self, channel: Channel, args: Sequence[str]) -> None:
        """Let a channel in that came with these arguments of `Stasis()`, or ask for its PIN."""
        with self._catalogue.begin() as tx:
            known = conferences.find_live_members(tx, self._pbx, [channel.id])
        if known:  # we called it, or took it in
            self._conferences.settle(known[0].conference_id)
            return
        if names.parse_person_id(channel.id) is not None:  # its member has been removed
            with self._pbxs.reach(self._pbx) as ari:
                ari.hang_up(channel.id)
            return
        name = args[1] if len(args) > 1 else ""
        conference, is_taken_in = self._find(name)
        if conference is None:
            self._refuse(channel, "unknown", name)
        elif conference.pin and not is_taken_in:
            self._ask(channel, conference)
        else:
            self._admit(channel, conference)

    def expel(self, channel_id: str) -> None:
        """Hang up a channel that took a member's place by a transfer."""
        log.warning("conference.transferred", pbx=self._pbx, channel=channel_id)
        with self._pbxs.reach(self._pbx) as ari:
            ari.hang_up(channel_id)

    def key_pressed(self, channel_id: str, digit: str) -> None:
        """Add a key to the PIN of a caller, and let the caller in once it is complete."""
        question = self._questions.get(channel_id)
        if question is None:
            return
        with self._pbxs.reach(self._pbx) as ari:
            ari.stop_playback(question.playback_id)
        self._judge(question, question.pad.press(digit))

    def left(self, channel_id: str) -> None:
        """Forget a caller who has hung up."""
        self._questions.pop(channel_id, None)

    def check(self, callers: Iterable[Channel]) -> None:
        """Judge the PIN of callers who press no key, and let callers in whose event was lost.

        `callers` came from the dialplan and are no members (`Conferences.check`).
        """
        now = datetime.now(UTC)
        for question in list(self._questions.values()):
            if now - question.asked_at > PIN_WITHIN:
                self._judge(question, question.pad.end())
        for channel in callers:
            if channel.id not in self._questions and self._still_waits(channel):
                _, *args = channel.dialplan.app_data.split(",")
                self.arrived(channel, args)

    def _still_waits(self, channel: Channel) -> bool:
        """Whether a channel is where it was when the PBX was listed."""
        with self._pbxs.reach(self._pbx) as ari:
            now = ari.find_channel(channel.id)
        return now is not None and now.dialplan == channel.dialplan

    def _find(self, name: str) -> tuple[ConferenceRecord | None, bool]:
        """Return the open conference of this name, and whether the name is that of a call taken in.

        Such a channel may come so late that its member counts as one who never came.
        """
        with self._catalogue.begin() as tx:
            found = conferences.find_open_conference(tx, self._pbx, name)
            if found is not None:
                return found, False
            if not _TAKEN_IN.fullmatch(name):
                return None, False
            found = conferences.find_conference(tx, UUID(hex=name))
        is_open = found is not None and found.state == "open" and found.pbx == self._pbx
        return (found, True) if is_open else (None, False)

    def _ask(self, channel: Channel, conference: ConferenceRecord) -> None:
        question = _Question(channel, conference, PinPad(conference.pin or ""), datetime.now(UTC))
        self._questions[channel.id] = question
        with self._pbxs.reach(self._pbx) as ari:
            if channel.state != "Up":
                ari.answer(channel.id)
            self._play(ari, question, ASK_PIN)

    def _judge(self, question: _Question, answer: str) -> None:
        question.asked_at = datetime.now(UTC)
        channel = question.channel
        match answer:
            case "right":
                self._questions.pop(channel.id, None)
                self._admit(channel, question.conference)
            case "wrong":
                with self._pbxs.reach(self._pbx) as ari:
                    self._play(ari, question, WRONG_PIN)
            case "over":
                self._questions.pop(channel.id, None)
                self._refuse(channel, "wrong-pin", question.conference.name)

    def _play(self, ari: Ari, question: _Question, sound: str) -> None:
        question.playback_id = str(uuid4())
        try:
            ari.play(question.channel.id, sound, playback_id=question.playback_id)
        except (AriConflict, AriNotFound):  # the caller has just hung up
            self._questions.pop(question.channel.id, None)

    def _admit(self, channel: Channel, conference: ConferenceRecord) -> None:
        with self._pbxs.reach(self._pbx) as ari:
            linkedid = ari.find_variable(channel.id, LINKEDID) or channel.id
        call_id = names.build_call_id(self._pbx, linkedid)
        try:
            self._conferences.admit(conference, channel, call_id=call_id)
        except ConferenceLocked:
            self._refuse(channel, "locked", conference.name)
        except ConferenceEnded:
            self._refuse(channel, "ended", conference.name)

    def _refuse(self, channel: Channel, reason: Refusal, name: str) -> None:
        """Send a channel back to the dialplan with the reason, and write the refusal down."""
        log.info("conference.caller-refused", channel=channel.id, name=name, reason=reason)
        with self._catalogue.begin() as tx:
            audit.add_audit(
                tx,
                actor=dialplan_actor(self._pbx),
                action="conference.join",
                subject=name,
                outcome="refused",
                detail={"pbx": self._pbx, "reason": reason, "number": channel.caller.number},
            )
        with self._pbxs.reach(self._pbx) as ari:
            try:
                ari.set_variable(channel.id, REASON, reason)
                ari.continue_in_dialplan(channel.id)
            except (AriConflict, AriNotFound):  # the caller has just hung up
                pass
