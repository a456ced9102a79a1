"""Conferences: open and end them, bring people in, and keep the PBX as their rows say.

As with spies, a change is written to a row first; `settle` then brings the PBX to the rows. All of
it needs ARI's REST interface and the catalogue alone, so any process may do it: the API for a
person, the watcher for an event. The conference itself is on the PBX: people talk on while all our
processes are dead, and `check` finds every change afterwards.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import AriBadRequest, AriConflict, AriNotFound, AriServerError, Channel
from recorder.ari.pbxs import Pbxs
from recorder.calls.legs import endpoint_of, extension_of, is_over
from recorder.conferences.plan import (
    HUNG_UP,
    RELEASED_WITHIN,
    ConferencePlan,
    RoomView,
    choose_role,
    plan_conference,
)
from recorder.conferences.room import TO_CONFERENCE, Room, came_to_room
from recorder.conferences.taking_in import FORMATS, TAKE, find_talkers, give_back, take
from recorder.dialling.dialler import DialSettings, refuse_listed
from recorder.dialling.numbers import DialPolicy, check_allowed, format_number, parse_number
from recorder.dialling.phones import (
    NOT_FORWARDED,
    NOWHERE,
    build_phone,
    find_phone,
    parse_phone,
)
from recorder.errors import (
    BadDestination,
    CallEnded,
    CannotDial,
    CannotTakeIn,
    ConferenceEnded,
    ConferenceLocked,
    ControlNotPermitted,
    PbxUnavailable,
    RecordingForced,
    RecordingNotActive,
)
from recorder.recording.capture import Capture
from recorder.recording.terms import CONFERENCE
from storage import states
from storage.actors import WATCH
from storage.catalogue import audit, calls, conferences, recordings, terms
from storage.catalogue.conferences import Talking
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_rights
from storage.errors import LockTimeout, NoSuchMember
from storage.permissions import CALLS_DIAL, CONFERENCES_CONTROL
from storage.records import (
    Actor,
    ConferenceRecord,
    Layout,
    MemberRecord,
    MemberRole,
    RecordingRecord,
    RuleTerms,
)

log = structlog.get_logger()

LOCK_WITHIN_S = 20.0
# A settle ends by itself once the PBX agrees; a channel that refuses each step ends it here.
MOST_ROUNDS = 8

# A member, whether muted, and the spans in which nobody heard the member: new with each mute.
_Mute = tuple[UUID, bool, tuple[tuple[datetime, datetime | None], ...]]


@dataclass(frozen=True, slots=True)
class ConferenceSettings:
    """Conferences on one PBX: how it dials out, and the dialplan context through which calls come.

    Without `context` no call can be taken in.
    """

    dial: DialSettings = field(default_factory=DialSettings)
    context: str = ""


class Conferences:
    """The conferences of all PBXs.

    `by` is the name of a person or program, for the audit trail. `owner_id` is the token or session
    that asks: its right is asked again in the transaction that writes. None is a caller that has
    checked its own rights, such as a dialplan.

    Raises NoSuchConference, NoSuchMember, ConferenceEnded, ControlNotPermitted, and PbxUnavailable
    where the PBX does not answer or is not configured in this process.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        settings: Mapping[str, ConferenceSettings],
        policy: DialPolicy | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._settings = settings
        self._policy = policy or DialPolicy()
        self._capture = capture or Capture(catalogue, pbxs)
        self._settled_mutes: dict[str, frozenset[_Mute]] = {}  # by PBX

    # Commands of a person

    def open(
        self,
        pbx: str,
        *,
        name: str | None = None,
        record: bool = False,
        layout: Layout | None = None,
        owner: str | None = None,
        pin: str | None = None,
        locked: bool = False,
        announce: bool = False,
        by: Actor,
        owner_id: UUID | None = None,
        id_: UUID | None = None,
    ) -> ConferenceRecord:
        """Open a conference; its bridge comes with its first member.

        `owner` is an endpoint, an extension or a number: `PJSIP/2001`, `2001`. Raises
        ConferenceNameTaken.
        """
        if pbx not in self._pbxs:
            raise PbxUnavailable(f"no PBX named {pbx} is configured here")
        id_ = id_ or uuid7()
        conference = ConferenceRecord(
            id=id_,
            pbx=pbx,
            name=name or id_.hex[-8:],
            state="open",
            created_by=by.name,
            started_at=datetime.now(UTC),
            record=record,
            layout=layout,
            owner=owner,
            pin=pin,
            locked=locked,
            announce=announce,
        )
        with self._catalogue.begin() as tx:
            maker = self._require(tx, owner_id, CONFERENCES_CONTROL, by=by)
            conference = replace(conference, owner_id=maker.id if maker is not None else None)
            conferences.create_conference(tx, conference)
            _note(tx, by, "conference.open", conference)
        log.info("conference.opened", conference=str(id_), name=conference.name, by=by.name)
        return conference

    def set_locked(
        self, conference_id: UUID, *, locked: bool, by: Actor, owner_id: UUID | None = None
    ) -> ConferenceRecord:
        """Lock a conference, so that it admits nobody else, or unlock it; harmless to repeat."""
        with self._catalogue.begin() as tx:
            self._admit(tx, conference_id, owner_id, by=by)
            changed = conferences.set_locked(tx, conference_id, locked=locked)
            if changed is None:
                raise ConferenceEnded(f"conference {conference_id} has ended")
            _note(tx, by, "conference.lock" if locked else "conference.unlock", changed)
        return changed

    def set_recorded(
        self, conference_id: UUID, *, recorded: bool, by: Actor, owner_id: UUID | None = None
    ) -> ConferenceRecord:
        """Record a conference from now on, or no longer; harmless to repeat.

        The calls of the members get other terms; the watcher evaluates them again within seconds.
        """
        with self._catalogue.begin() as tx:
            self._admit(tx, conference_id, owner_id, by=by)
            changed = conferences.set_recorded(tx, conference_id, recorded=recorded)
            if changed is None:
                raise ConferenceEnded(f"conference {conference_id} has ended")
            self._follow_terms(tx, conference_id)
            _note(tx, by, "conference.record" if recorded else "conference.unrecord", changed)
        if not recorded:
            self._stop_unwanted(conference_id, by=by)
        return changed

    def end(
        self,
        conference_id: UUID,
        *,
        cause: str = "ended",
        by: Actor,
        owner_id: UUID | None = None,
    ) -> ConferenceRecord:
        """End a conference and let everybody go; harmless to repeat."""
        with self._catalogue.begin() as tx:
            before = self._admit(tx, conference_id, owner_id, by=by)
            ended = self._end(tx, before, cause, by=by)
        if ended is not None:
            self.settle(conference_id)
        return ended or before

    def invite(
        self,
        conference_id: UUID,
        destination: str,
        *,
        role: MemberRole | None = None,
        by: Actor,
        owner_id: UUID | None = None,
        id_: UUID | None = None,
    ) -> MemberRecord:
        """Call a phone of the house (`PJSIP/2003`) or a number, and bring it in once it answers.

        A phone that cannot be rung makes a member who has left; the record has the cause. Raises
        ConferenceLocked, BadDestination, CannotDial, NotANumber, NumberRefused.
        """
        with self._catalogue.begin() as tx:
            conference = self._admit(tx, conference_id, owner_id, by=by, joins=True)
        endpoint, number = self._find_destination(conference.pbx, destination)
        id_ = id_ or uuid7()
        channel_id = names.build_person_id(id_)
        member = MemberRecord(
            id=id_,
            conference_id=conference_id,
            state="requested",
            role=role or choose_role(conference, endpoint, number),
            requested_at=datetime.now(UTC),
            channel_id=channel_id,
            call_id=names.build_call_id(conference.pbx, channel_id),
            destination=destination if "/" in destination else number,
            number=number,
        )
        with self._catalogue.begin() as tx:
            self._admit(tx, conference_id, owner_id, by=by, joins=True, lock=True)
            if "/" not in destination:
                self._require(tx, owner_id, CALLS_DIAL, by=by)
                refuse_listed(tx, str(number))
            conferences.create_member(tx, member)
            _note(tx, by, "conference.invite", conference, destination=destination)
        return self._ring(conference, member, endpoint)

    def take_in(
        self, conference_id: UUID, call_id: str, *, by: Actor, owner_id: UUID | None = None
    ) -> tuple[MemberRecord, ...]:
        """Take a live call in: its people, two or more who talk, become members.

        Raises NoSuchCall, CallEnded, ConferenceLocked, CannotTakeIn.
        """
        with self._catalogue.begin() as tx:
            conference = self._admit(tx, conference_id, owner_id, by=by, joins=True, lock=True)
            owner = self._require(tx, owner_id, CONFERENCES_CONTROL, by=by)
            visible = owner.agents if owner is not None else None
            call = calls.get_call(tx, call_id, agents=visible)
            if is_over(call):
                raise CallEnded(f"call {call_id} has ended")
            if call.pbx != conference.pbx:
                raise CannotTakeIn(f"call {call_id} is on another PBX than the conference")
            context = self._settings_of(call.pbx).context
            if not context:
                key = f"the key conference_context of [[pbx]] {call.pbx}"
                raise CannotTakeIn(f"no call can be taken in: {key} is not set")
            legs = find_talkers(call_id, tuple(calls.list_joined(tx, call_id).values()))
            members = tuple(
                MemberRecord(
                    id=uuid7(),
                    conference_id=conference_id,
                    state="requested",
                    role=choose_role(conference, endpoint_of(leg), extension_of(leg), leg.number),
                    requested_at=datetime.now(UTC),
                    channel_id=leg.id,
                    call_id=of_call,
                    number=leg.number,
                    name=leg.caller_name,
                )
                for leg, of_call in legs
            )
            for member in members:
                conferences.create_member(tx, member)
            _note(tx, by, "conference.take-in", conference, call_id=call_id)
        with self._pbxs.reach(conference.pbx) as ari:
            if not ari.is_application_connected():
                self._drop(members, "not-taken-in")
                raise PbxUnavailable(f"nobody watches PBX {conference.pbx}: no call can come to us")
            try:
                take(ari, [leg for leg, _ in legs], context, conference_id.hex)
            except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                give_back(ari, [leg.id for leg, _ in legs])
                self._drop(members, "not-taken-in")
                place = f"the extension {TAKE} in the context {context}"
                raise CannotTakeIn(f"the PBX does not run {place}: {error}") from error
        log.info(
            "conference.call-taken-in", conference=str(conference_id), call=call_id, by=by.name
        )
        return members

    def change_member(
        self,
        conference_id: UUID,
        member_id: UUID,
        *,
        muted: bool | None = None,
        on_hold: bool | None = None,
        by: Actor,
        owner_id: UUID | None = None,
    ) -> MemberRecord:
        """Mute a member or put it on hold with music, or undo that; harmless to repeat.

        A member who has left raises NoSuchMember.
        """
        with self._catalogue.begin() as tx:
            conference = self._admit(tx, conference_id, owner_id, by=by)
            member = conferences.get_member(tx, conference_id, member_id)
            changed = conferences.change_member(
                tx, member_id, at=datetime.now(UTC), muted=muted, on_hold=on_hold
            )
            if changed is None:
                raise NoSuchMember(f"member {member_id} has left")
            wanted = {"muted": muted, "on_hold": on_hold}
            facts = {name: value for name, value in wanted.items() if value is not None}
            _note(tx, by, "conference.change-member", conference, member_id=str(member_id), **facts)
        self.settle(conference_id, recordings_of={member.call_id})
        return changed

    def remove_member(
        self, conference_id: UUID, member_id: UUID, *, by: Actor, owner_id: UUID | None = None
    ) -> MemberRecord:
        """Let a member go: hang up, or go on in the dialplan where it came by itself.

        Harmless to repeat.
        """
        with self._catalogue.begin() as tx:
            conference = self._admit(tx, conference_id, owner_id, by=by)
            member = conferences.get_member(tx, conference_id, member_id)
            moved = conferences.move_member(
                tx, member_id, to="left", at=datetime.now(UTC), cause="removed"
            )
            if moved is not None:
                _note(tx, by, "conference.remove", conference, member_id=str(member_id))
        self.settle(conference_id)
        return moved or member

    # Events of a PBX

    def admit(
        self, conference: ConferenceRecord, channel: Channel, *, call_id: str
    ) -> MemberRecord:
        """Make a member of a channel that came from the dialplan and may enter, then settle."""
        member = MemberRecord(
            id=uuid7(),
            conference_id=conference.id,
            state="requested",
            role=choose_role(
                conference,
                channel.endpoint,
                channel.endpoint.partition("/")[2],
                channel.caller.number,
            ),
            requested_at=datetime.now(UTC),
            channel_id=channel.id,
            call_id=call_id,
            number=channel.caller.number or None,
            name=channel.caller.name or None,
        )
        with self._catalogue.begin() as tx:
            self._admit(tx, conference.id, None, by=WATCH, joins=True, lock=True)
            conferences.create_member(tx, member)
        self.settle(conference.id)
        return member

    def phone_ended(self, member_id: UUID, cause: str) -> UUID | None:
        """Note that the channel of a member whom we called is gone, with this cause.

        Return the conference, which has to be settled then.
        """
        with self._catalogue.begin() as tx:
            member = conferences.find_member(tx, member_id)
            if member is None:
                return None  # a dialled call, or another instance's
            was_in = member.state in ("in", "waiting")
            left = HUNG_UP if was_in else cause
            conferences.move_member(tx, member_id, to="left", at=datetime.now(UTC), cause=left)
        return member.conference_id

    def phone_rings(self, member_id: UUID) -> None:
        """Note that the phone of a member rings."""
        with self._catalogue.begin() as tx:
            member = conferences.find_member(tx, member_id)
            if member is not None and member.state == "requested":
                conferences.move_member(tx, member_id, to="ringing", at=datetime.now(UTC))

    def note_talking(self, pbx: str, talking: Mapping[str, bool]) -> None:
        """Note who talks on a PBX, by channel; each change is an event.

        Call it once a second at most.
        """
        with self._catalogue.begin() as tx:
            found = conferences.find_live_members(tx, pbx, talking)
            changes = [Talking(one.id, talking[one.channel_id]) for one in found]
            conferences.set_talking(tx, changes)

    def lose(self, pbx: str) -> None:
        """End the conferences of a PBX that has restarted: their channels are gone."""
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            lost = conferences.list_live_members(tx, pbx)
            for member in lost:
                conferences.move_member(tx, member.id, to="left", at=now, cause="pbx-lost")
            for conference_id in {one.conference_id for one in lost}:
                self._follow_terms(tx, conference_id)
            for conference in conferences.list_open_conferences(tx, pbx):
                if conferences.list_members(tx, [conference.id]):
                    self._end(tx, conference, "pbx-lost", by=WATCH)

    # Settling

    def settle(
        self, conference_id: UUID, *, recordings_of: Collection[str] = ()
    ) -> ConferenceRecord:
        """Bring the PBX to the rows of a conference, and return its row; harmless to repeat.

        Then settle the recordings of these calls: a muted member must not be captured.
        """
        with self._catalogue.lock(f"conference {conference_id}", wait_s=LOCK_WITHIN_S):
            for _ in range(MOST_ROUNDS):
                conference, members = self.read(conference_id)
                with self._pbxs.reach(conference.pbx) as ari:
                    room = Room(ari, conference_id)
                    view = room.look(_near(members))
                    plan = plan_conference(conference, members, view, datetime.now(UTC))
                    if plan.is_empty:
                        break
                    self._carry_out(room, conference, members, plan)
            with self._pbxs.reach(conference.pbx) as ari:
                self._follow_mutes(Room(ari, conference_id), members)
        if recordings_of:
            self._settle_recordings(recordings_of)
        return conference

    def _settle_recordings(self, call_ids: Collection[str]) -> None:
        with self._catalogue.begin() as tx:  # the watcher may not have seen a new call yet
            known = calls.find_calls(tx, call_ids)
        for recording in [one for id_ in known for one in self._capture.list_heard(id_)]:
            try:
                self._capture.settle(recording.id)
            except (PbxUnavailable, LockTimeout) as error:
                log.warning("recording.postponed", recording=str(recording.id), error=str(error))

    def read(self, conference_id: UUID) -> tuple[ConferenceRecord, tuple[MemberRecord, ...]]:
        """Return a conference and all its members. Raises NoSuchConference."""
        with self._catalogue.begin() as tx:
            conference = conferences.get_conference(tx, conference_id)
            return conference, conferences.list_members(tx, [conference_id])

    def check(self, pbx: str) -> list[Channel]:
        """Settle every conference that is not as planned, and remove bridges that nobody needs.

        Return the channels that came from the dialplan for a conference and are no members. All
        conferences are compared with one list of bridges and one of channels: a change meanwhile
        costs a needless settle, or waits for the next check. Raises PbxUnavailable.
        """
        with self._catalogue.begin() as tx:
            rooms = conferences.list_live_conferences(tx, pbx)
            found = conferences.list_members(tx, [one.id for one in rooms])
        members: dict[UUID, list[MemberRecord]] = {room.id: [] for room in rooms}
        for one in found:
            members[one.conference_id].append(one)
        with self._pbxs.reach(pbx) as ari:
            bridges = {one.id: frozenset(one.channel_ids) for one in ari.list_bridges()}
            held = {id_: names.parse_conference_bridge_id(id_) for id_ in bridges}
            in_rooms = {id_ for bridge, of in held.items() if of for id_ in bridges[bridge]}
            near = {one.channel_id for one in _near(found)}
            listed = ari.list_own_channels(TO_CONFERENCE, also=near | in_rooms)
            channels = {channel.id: channel for channel in listed}
            views = {
                id_: Room(ari, id_).look(_near(its), bridges, channels)
                for id_, its in members.items()
            }
        self._settle_unplanned(pbx, rooms, members, views)
        self._stop_all_unwanted(rooms, members)
        unneeded = {of for of in held.values() if of is not None} - members.keys()
        if unneeded:
            with self._catalogue.begin() as tx:
                known = conferences.find_known_conferences(tx, unneeded)
            for conference_id in known:
                with _postponed(conference_id):
                    self.settle(conference_id)
        live = {one.channel_id for one in found if one.state != "left"}
        return [one for one in listed if one.id not in live and came_to_room(one, ari.application)]

    def _settle_unplanned(
        self,
        pbx: str,
        rooms: Iterable[ConferenceRecord],
        members: Mapping[UUID, Sequence[MemberRecord]],
        views: Mapping[UUID, RoomView],
    ) -> None:
        """Settle the conferences that differ from their plan, or whose mutes have changed.

        The PBX does not say who is muted. So settle each change of mutes once in this process:
        whoever made it may have died before the PBX heard of it.
        """
        before, settled = self._settled_mutes.get(pbx, frozenset()), set[_Mute]()
        for room in rooms:
            its = members[room.id]
            plan = plan_conference(room, its, views[room.id], datetime.now(UTC))
            mutes = {(one.id, one.muted, one.quiet) for one in _ever_muted(its)}
            with _postponed(room.id):
                if not plan.is_empty or not mutes <= before:
                    self.settle(room.id)
                settled |= mutes
        self._settled_mutes[pbx] = frozenset(settled)

    def _carry_out(
        self,
        room: Room,
        conference: ConferenceRecord,
        members: Sequence[MemberRecord],
        plan: ConferencePlan,
    ) -> None:
        """Carry out the steps on the PBX, then write the moves.

        The terms of a recording come first: the rules are evaluated when a member enters.
        """
        now = datetime.now(UTC)
        coming = {move.member_id for move in plan.moves if move.to == "in"}
        if coming:
            with self._catalogue.begin() as tx:
                self._follow_terms(tx, conference.id, coming)
        muted = {one.channel_id: one.muted for one in members if one.state != "left"}
        room.carry_out(plan.steps, muted)
        with self._catalogue.begin() as tx:
            for move in plan.moves:
                conferences.move_member(tx, move.member_id, to=move.to, at=now, cause=move.cause)
            if plan.end is not None:
                self._end(tx, conference, plan.end, by=WATCH)
            self._follow_terms(tx, conference.id)
        untaken = {one.member_id for one in plan.moves if one.cause == "not-taken-in"}
        if untaken:
            with self._pbxs.reach(conference.pbx) as ari:
                give_back(ari, [one.channel_id for one in members if one.id in untaken])
        if coming and conference.announce:
            room.announce()

    def _follow_mutes(self, room: Room, members: Iterable[MemberRecord]) -> None:
        """Mute and unmute members on the PBX: it does not say which of them are muted."""
        for member in _ever_muted(members):
            room.mute(member.channel_id, muted=member.muted)

    def _follow_terms(
        self, tx: Connection, conference_id: UUID, coming: Collection[UUID] = ()
    ) -> None:
        """Give the calls of those who are in the conference's terms, and drop those of the others.

        `coming` are members who enter just now. A call that was dialled keeps the terms of its
        dialling.
        """
        conference = conferences.get_conference(tx, conference_id)
        members = conferences.list_members(tx, [conference_id])
        present = [one for one in members if one.state == "in" or one.id in coming]
        has_begun = conference.owner is None or any(one.role == "owner" for one in present)
        is_recorded = conference.record and conference.state == "open" and has_begun
        wanted = {one.call_id for one in present} if is_recorded else set()
        known = terms.find_terms(tx, {one.call_id for one in members})
        rule = RuleTerms(name="conference", action="record", layout=conference.layout)
        for call_id in wanted - known.keys():
            terms.set_terms(tx, call_id, CONFERENCE, rule)
        for call_id in known.keys() - wanted:
            if known[call_id].id == CONFERENCE:
                terms.drop_terms(tx, call_id)

    def _stop_all_unwanted(
        self,
        rooms: Iterable[ConferenceRecord],
        members: Mapping[UUID, Iterable[MemberRecord]],
    ) -> None:
        """Stop the recordings that these conferences do not want any more."""
        of_call = {
            one.call_id: room.id
            for room in rooms
            if not room.record
            for one in members[room.id]
            if one.state == "in"
        }
        for conference_id in sorted({of_call[one.call_id] for one in self._find_own(of_call)}):
            with _postponed(conference_id):
                self._stop_unwanted(conference_id, by=WATCH)

    def _stop_unwanted(self, conference_id: UUID, *, by: Actor) -> None:
        """Stop the recordings that this conference wanted, and does not want any more.

        A decision from before may start one again: then the next check stops it.
        """
        conference, members = self.read(conference_id)
        if conference.record:
            return
        for recording in self._find_own({one.call_id for one in members if one.state == "in"}):
            with suppress(RecordingNotActive, RecordingForced):
                self._capture.stop(recording.id, by=by)

    def _find_own(self, call_ids: Collection[str]) -> list[RecordingRecord]:
        """Return the live recordings of these calls that conferences started.

        A rule, a dialled call or a person wants the others.
        """
        if not call_ids:
            return []
        with self._catalogue.begin() as tx:
            found = recordings.list_recordings_of_calls(tx, call_ids, in_states=states.LIVE)
        return [one for one in found if one.trigger == "manual" and one.is_by_decision]

    # Parts

    def _end(
        self, tx: Connection, conference: ConferenceRecord, cause: str, *, by: Actor
    ) -> ConferenceRecord | None:
        ended = conferences.end_conference(tx, conference.id, at=datetime.now(UTC), cause=cause)
        if ended is not None:
            log.info("conference.ended", conference=str(conference.id), cause=cause, by=by.name)
            _note(tx, by, "conference.end", ended, cause=cause)
        return ended

    def _find_destination(self, pbx: str, destination: str) -> tuple[str, str | None]:
        """Return the dial string of a phone, or of a number through the dialplan, and the number.

        A number is in E.164; that of a phone is its extension.
        """
        dial = self._settings_of(pbx).dial
        if "/" not in destination:
            if not dial.context:
                raise CannotDial(f"PBX {pbx}: the key dial_context of [[pbx]] is not set")
            number = parse_number(destination, dial.region)
            check_allowed(number, self._policy)
            written = format_number(number, dial.dial_format, dial.region)
            return f"Local/{written}@{dial.context}/n", number
        technology, resource = parse_phone(destination)
        with self._pbxs.reach(pbx) as ari:
            endpoint = find_phone(ari, technology, resource, dial.trunks)
        if endpoint is None:
            raise BadDestination(f"this PBX has no phone {destination}")
        return build_phone(endpoint), endpoint.resource

    def _ring(
        self, conference: ConferenceRecord, member: MemberRecord, endpoint: str
    ) -> MemberRecord:
        is_local = endpoint.startswith("Local/")
        try:
            with self._pbxs.reach(conference.pbx) as ari:
                try:
                    ari.originate(
                        endpoint,
                        channel_id=member.channel_id,
                        other_channel_id=names.build_far_half_id(member.id) if is_local else "",
                        formats=FORMATS if is_local else "",
                        app_args=[TO_CONFERENCE, str(conference.id), str(member.id)],
                        timeout_s=self._settings_of(conference.pbx).dial.ring_s,
                        variables={**NOT_FORWARDED, "TRANSFER_CONTEXT": NOWHERE}
                        if not is_local
                        else {},
                    )
                except (AriBadRequest, AriConflict, AriNotFound, AriServerError) as error:
                    log.warning("member.rejected", member=str(member.id), error=str(error))
                    return self._drop([member], "unreachable")[0]
        except PbxUnavailable:
            self._drop([member], "pbx-unreachable")
            raise
        return member

    def _settings_of(self, pbx: str) -> ConferenceSettings:
        return self._settings.get(pbx, ConferenceSettings())

    def _drop(self, members: Iterable[MemberRecord], cause: str) -> list[MemberRecord]:
        """Note that these members have left, or never came."""
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            moved = (
                conferences.move_member(tx, one.id, to="left", at=now, cause=cause)
                for one in members
            )
            return [one for one in moved if one is not None]

    # Rights

    def _admit(
        self,
        tx: Connection,
        conference_id: UUID,
        owner_id: UUID | None,
        *,
        by: Actor,
        joins: bool = False,
        lock: bool = False,
    ) -> ConferenceRecord:
        """Return a conference that the caller may control now.

        With `joins` it must be open and admit people; with `lock` it does not change meanwhile.
        """
        owner = self._require(tx, owner_id, CONFERENCES_CONTROL, by=by)
        visible = owner.agents if owner is not None else None
        conference = conferences.get_conference(
            tx,
            conference_id,
            agents=visible,
            owner_id=owner.id if owner is not None else None,
            lock=lock,
        )
        if joins and conference.state == "ended":
            raise ConferenceEnded(f"conference {conference_id} has ended")
        if joins and conference.locked:
            raise ConferenceLocked(f"conference {conference_id} is locked")
        return conference

    def _require(
        self, tx: Connection, owner_id: UUID | None, permission: str, *, by: Actor
    ) -> Rights | None:
        """Return the rights of the owner, which include this permission.

        They stay until the end of the transaction.
        """
        if owner_id is None:
            return None
        owner = find_rights(tx, owner_id, lock=True)
        if owner is None or not owner.may(permission):
            raise ControlNotPermitted(f"{by.name} has no permission {permission} any more")
        return owner


def _near(members: Iterable[MemberRecord]) -> list[MemberRecord]:
    """Return the members whose channels may still be on the PBX."""
    now = datetime.now(UTC)
    return [one for one in members if one.left_at is None or now - one.left_at <= RELEASED_WITHIN]


def _ever_muted(members: Iterable[MemberRecord]) -> list[MemberRecord]:
    """Return the members who are in and are, or once were, muted or on hold."""
    return [one for one in members if one.state == "in" and (one.muted or one.quiet)]


def _note(
    tx: Connection, by: Actor, action: str, conference: ConferenceRecord, **detail: Any
) -> None:
    """Write into the audit trail who did this to the conference."""
    facts = {"pbx": conference.pbx, "name": conference.name} | detail
    audit.add_audit(
        tx, actor=by, action=action, subject=str(conference.id), outcome="done", detail=facts
    )


@contextmanager
def _postponed(conference_id: UUID) -> Iterator[None]:
    """Log why this conference must wait and go on with the next: the next check repeats it."""
    try:
        yield
    except (PbxUnavailable, LockTimeout) as error:
        log.warning("conference.postponed", conference=str(conference_id), error=str(error))
