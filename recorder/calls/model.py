"""The call model: it groups the channels and bridges of one PBX into calls. Pure: no I/O, no clock.

Events go in, `CallRecord`s come out:

    model.apply(event, linkedids)  →  the ids of the changed calls
    model.record(call_id)          →  the present record of a call

A call consists of the channels that were linked when they were created, so it keeps its people, its
DID and its queue for as long as it lives. Where bridges connect several calls, each names the
others in `joined`. Asterisk gives such calls one linkedid, except in a ConfBridge, and an attended
transfer would move a customer into an older call. So the model follows a change of linkedid for a
*blank* call alone: nobody in it has talked, and no customer is in it. Such a call is the phone that
picks up, or takes a parked call. `linkedids_needed` lists the channels whose linkedid must be read.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from recorder import ari
from recorder.calls.legs import (
    LOCAL,
    MEDIA,
    extension_of,
    is_agent,
    is_person,
    joined_or_created_at,
)
from recorder.names import (
    CLICK_TO_DIAL,
    build_call_id,
    is_ours,
    parse_conference_bridge_id,
    parse_person_id,
)
from storage.records import CallRecord, Direction, LegRecord, Party, Stay

# The state of a leg whose channel has left the call.
GONE = "Gone"
# The applications of channels that Dial(), or an originate, has called.
DIALLED_BY = frozenset({"AppDial", "AppDial2"})
# Technologies of Asterisk's own channels: they belong to no person and to no call.
HELPERS = MEDIA | {
    *("Announcer", "CBAnn", "CBRec", "Message", "MulticastRTP", "Recorder", "Snoop", "Surrogate")
}


@dataclass(slots=True)
class _Call:
    """The state of one call; `legs` are its channels in the order in which they appeared.

    `callee` and `agent` stay as they were last, after these people have left. `waiting` is the
    channel that waits in the queue, and since when. `dialled` is the number of a call that we dial.
    """

    linkedid: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    talked_at: datetime | None = None
    changed_at: datetime | None = None
    queue: str | None = None
    waiting: tuple[str, datetime] | None = None
    callee: tuple[str | None, str | None] | None = None
    agent: str | None = None
    dialled: str | None = None
    met: set[str] = field(default_factory=set)  # linkedids
    legs: dict[str, LegRecord] = field(default_factory=dict)

    def persons(self) -> list[LegRecord]:
        return [leg for leg in self.legs.values() if is_person(leg)]

    @property
    def has_customer(self) -> bool:
        return any(leg.party == "customer" for leg in self.legs.values())

    @property
    def is_blank(self) -> bool:
        """Whether the call has nothing of its own: no customer, and nobody has talked."""
        return self.talked_at is None and not self.has_customer


class CallModel:
    """The calls of one PBX. Channels of endpoints that match a pattern of `trunks` are customers.

    Example: `CallModel("main", ["PJSIP/trunk*"])`.
    """

    def __init__(self, pbx: str, trunks: Collection[str]) -> None:
        self._pbx = pbx
        self._trunks = tuple(trunks)
        self._calls: dict[str, _Call] = {}
        self._call_of: dict[str, str] = {}  # channel id → linkedid of its call
        self._inside: dict[str, dict[str, None]] = {}  # bridge id → its channels, in order
        self._halves: dict[str, set[str]] = {}  # name of a Local channel → its halves
        self._media: dict[str, ari.Channel] = {}  # channels of programs, outside of any call
        self._people: dict[str, tuple[str, ...]] = {}  # bridge id → people, until a bridge changes

    # Queries

    def linkedids_needed(self, event: ari.Event) -> tuple[str, ...]:
        """Return the channels whose linkedid must be read before this event is applied."""
        match event:
            case ari.ChannelCreated(channel=channel):
                return (channel.id,) if belongs_to_call(channel) else ()
            case ari.ChannelEnteredBridge(bridge=bridge, channel=channel) if _joins(bridge):
                if parse_conference_bridge_id(bridge.id) is not None:
                    return ()  # each member of a conference of ours stays a call
                one_each = self._one_channel_of_each_call(channel.id, bridge.channel_ids)
                blank = [id_ for id_ in one_each if self._calls[self._call_of[id_]].is_blank]
                if len(one_each) < 2 or not blank:
                    return ()
                return tuple(dict.fromkeys([*blank, *one_each[:2]]))
        return ()

    def record(self, call_id: str) -> CallRecord:
        """Return the present record of a call. Raises KeyError for a forgotten call."""
        return self._build_record(self._calls[call_id.removeprefix(f"{self._pbx}-")])

    def find_call_of(self, channel_id: str) -> str | None:
        """Return the id of the call of a live channel, or None where it belongs to no call."""
        linkedid = self._call_of.get(channel_id)
        return self._id(linkedid) if linkedid is not None else None

    def forget(self, call_id: str) -> None:
        """Drop an ended call; the catalogue has its record."""
        linkedid = call_id.removeprefix(f"{self._pbx}-")
        if self._calls[linkedid].ended_at is not None:
            del self._calls[linkedid]

    def restore(self, record: CallRecord) -> None:
        """Add a live call from its stored record; `rebuild` brings the changes since then."""
        linkedid = record.id.removeprefix(f"{self._pbx}-")
        call = _Call(linkedid, record.started_at, record.answered_at, None, record.talked_at)
        call.changed_at, call.queue, call.agent = record.changed_at, record.queue, record.agent
        call.callee = (record.callee_number, record.callee_name) if record.talked_at else None
        call.met = {one.removeprefix(f"{self._pbx}-") for one in record.met}
        call.legs = {leg.id: leg for leg in record.channels}
        first = next(iter(call.legs), None)
        if record.waiting_since is not None and first is not None:
            call.waiting = (first, record.waiting_since)
        self._calls[linkedid] = call
        for leg in record.channels:
            if leg.alive:
                self._call_of[leg.id] = linkedid
                self._find_place(leg)

    def set_dialled(self, call_id: str, number: str) -> None:
        """Note that we dial a call: the phone of its caller rings first, then this number.

        So the call is answered when the number answers, not when the phone does.
        """
        self._calls[call_id.removeprefix(f"{self._pbx}-")].dialled = number

    # Events

    def apply(self, event: ari.Event, linkedids: Mapping[str, str]) -> frozenset[str]:
        """Apply an event and return the ids of the changed calls.

        `linkedids` maps each channel of `linkedids_needed(event)` to its linkedid.
        """
        touched: set[str] = set()  # linkedids
        match event:
            case ari.ChannelCreated(channel=channel) if channel.id in linkedids:
                self._add(channel, linkedids[channel.id])
                touched |= self._touched(channel.id)
            case ari.ChannelCreated(channel=channel) if _is_program(channel):
                self._media[channel.id] = channel
            case ari.ChannelDestroyed(channel=channel):
                self._media.pop(channel.id, None)
                touched = self._end(channel.id, event.at, vanished=False)
            case ari.ChannelEnteredBridge(bridge=bridge, channel=channel) if _joins(bridge):
                touched |= self._absorb(bridge, linkedids, event.at)
                touched |= self._add_programs(bridge)
                touched |= self._enter(channel.id, bridge.id, event.at)
            case ari.ChannelLeftBridge(channel=channel):
                touched = self._leave(channel.id, event.at)
            case ari.ChannelDialplan(channel=channel):
                self._find_number(channel)
                self._wait(channel, event.app_name, event.app_data, event.at)
                touched = self._touched(channel.id)
            case ari.Dial(dialstatus="PROGRESS", caller=ari.Channel() as caller, peer=peer):
                touched = self._hear_early(caller.id, event.at)
                touched |= self._hear_early(peer.id, event.at)
            case ari.ChannelHold(channel=channel) | ari.ChannelUnhold(channel=channel):
                self._hold(channel.id, event.at, isinstance(event, ari.ChannelHold))
                touched = self._touched(channel.id)
            case ari.BridgeBlindTransfer(result="Success", channel=channel, exten=exten):
                self._update(channel.id, transferred_at=event.at, transferred_to=exten)
                touched = self._touched(channel.id)
            case ari.BridgeAttendedTransfer(result="Success", transferer_first_leg=channel):
                target = event.transfer_target
                number = target.caller.number if target is not None else ""
                to = number or event.transferer_second_leg.connected.number
                self._update(channel.id, transferred_at=event.at, transferred_to=to)
                touched = self._touched(channel.id)
            case (
                ari.ChannelStateChange(channel=channel)
                | ari.ChannelCallerId(channel=channel)
                | ari.ChannelConnectedLine(channel=channel)
            ):
                self._refresh(channel, event.at)
                touched = self._touched(channel.id)
        return self._note_changes(touched, event.at)

    def rebuild(
        self,
        channels: Iterable[ari.Channel],
        linkedids: Mapping[str, str],
        bridges: Iterable[ari.Bridge],
        at: datetime,
        *,
        vanished: bool,
    ) -> frozenset[str]:
        """Update the model from full lists of the PBX; return the ids of the changed calls.

        `linkedids` has the new channels; a known channel stays in its call. A channel that is
        missing from `channels` ended at `at`; `vanished` marks that this is the time of the notice,
        not of the event. A person who is found in a bridge for the first time may have talked since
        the channel was created, so that time counts as the time of joining.
        """
        listed = {channel.id: channel for channel in channels}
        known = {id_ for id_ in listed if id_ in linkedids or id_ in self._call_of}
        touched: set[str] = set()
        for id_ in [id_ for id_ in self._call_of if id_ not in known]:
            touched |= self._end(id_, at, vanished=vanished)
        self._media = {id_: one for id_, one in listed.items() if _is_program(one)}
        for id_ in sorted(known, key=lambda id_: _in_order(listed[id_], linkedids)):
            if id_ not in self._call_of:
                self._add(listed[id_], linkedids[id_])
            self._refresh(listed[id_], at)
            touched |= self._touched(id_)
        joining = [bridge for bridge in bridges if _joins(bridge)]
        bridge_of = {id_: bridge.id for bridge in joining for id_ in bridge.channel_ids}
        for id_, linkedid in tuple(self._call_of.items()):
            leg = self._calls[linkedid].legs[id_]
            if leg.bridge_id is not None and bridge_of.get(id_) != leg.bridge_id:
                touched |= self._leave(id_, at)
        for bridge in joining:
            touched |= self._add_programs(bridge)
            for id_ in bridge.channel_ids:
                if (linkedid := self._call_of.get(id_, "")) in self._calls:
                    leg = self._calls[linkedid].legs[id_]
                    touched |= self._enter(id_, bridge.id, at if leg.joined_at else leg.created_at)
        return self._note_changes(touched, at)

    # Changes of one channel

    def _add(self, channel: ari.Channel, linkedid: str) -> None:
        if not (belongs_to_call(channel) or _is_program(channel)):
            return
        linkedid = self._call_of.get(channel.id, linkedid)
        call = self._calls.get(linkedid)
        if call is None:
            call = self._calls[linkedid] = _Call(linkedid, channel.created_at)
        if channel.id not in call.legs:  # one channel may be created in two events
            call.ended_at = None
            is_customer = any(fnmatchcase(channel.endpoint, trunk) for trunk in self._trunks)
            party: Party = "customer" if is_customer else "agent"
            call.legs[channel.id] = leg = LegRecord(
                id=channel.id,
                name=channel.name,
                state=channel.state,
                party=party if channel.technology != LOCAL else None,
                created_at=channel.created_at,
                number=channel.caller.number or None,
                caller_name=_name_of(channel),
                exten=_dialled_exten(channel),
                context=channel.dialplan.context,
            )
            self._call_of[channel.id] = linkedid
            self._find_place(leg)
        self._refresh(channel, channel.created_at)

    def _find_place(self, leg: LegRecord) -> None:
        """Index a live leg by its bridge, and a Local half by its name."""
        self._people.clear()
        if leg.bridge_id is not None:
            self._inside.setdefault(leg.bridge_id, {})[leg.id] = None
        if not is_person(leg):
            self._halves.setdefault(_local_name(leg), set()).add(leg.id)

    def _add_programs(self, bridge: ari.Bridge) -> set[str]:
        """Add the channels of programs in a bridge to the call of the first person there."""
        programs = [id_ for id_ in bridge.channel_ids if id_ in self._media]
        people = [id_ for id_ in bridge.channel_ids if id_ in self._call_of]
        touched: set[str] = set()
        for id_ in programs if people else ():
            channel = self._media[id_]
            if id_ not in self._call_of:
                self._add(replace(channel, state="Up"), self._call_of[people[0]])
                touched |= self._enter(id_, bridge.id, channel.created_at)
        return touched

    def _refresh(self, channel: ari.Channel, at: datetime) -> None:
        self._update(
            channel.id,
            name=channel.name,
            state=channel.state,
            number=channel.caller.number or None,
            caller_name=_name_of(channel),
        )
        if (linkedid := self._call_of.get(channel.id)) is None:
            return
        call = self._calls[linkedid]
        first = next(iter(call.legs.values()))
        if first.id == channel.id and channel.state == "Up" and not call.answered_at:
            call.answered_at = at
        self._find_number(channel)
        if channel.dialplan.app_name == "Queue":
            self._wait(channel, "Queue", channel.dialplan.app_data, at)

    def _find_number(self, channel: ari.Channel) -> None:
        """Note the number that an originated channel dials: it has none when it is created."""
        leg = self._find_leg(channel.id)
        exten = _dialled_exten(channel)
        if leg is not None and leg.exten in {"", "s"} and exten not in {"", "s"}:
            self._update(channel.id, exten=exten, context=channel.dialplan.context)

    def _wait(self, channel: ari.Channel, app_name: str, app_data: str, at: datetime) -> None:
        """Note that a channel begins to wait in a queue, or has left it for another application."""
        if (linkedid := self._call_of.get(channel.id)) is None:
            return
        call = self._calls[linkedid]
        if app_name == "Queue":
            queue = app_data.split(",", maxsplit=1)[0] or None
            is_new = call.waiting is None or call.queue != queue
            call.queue = queue
            if is_new and len(self._people_with(channel.id)) < 2:
                call.waiting = (channel.id, at)
        elif call.waiting is not None and call.waiting[0] == channel.id:
            call.waiting = None

    def _hold(self, channel_id: str, at: datetime, begins: bool) -> None:
        leg = self._find_leg(channel_id)
        if leg is None or leg.on_hold is begins:
            return
        before = leg.holds if begins else leg.holds[:-1]
        span = (at, None) if begins else (leg.holds[-1][0], at)
        self._update(channel_id, holds=(*before, span))

    def _hear_early(self, channel_id: str, at: datetime) -> set[str]:
        """Note that a channel can be heard before the answer; return its call if that is new."""
        leg = self._find_leg(channel_id)
        if leg is None or not is_person(leg) or leg.media_at is not None:
            return set()
        self._update(channel_id, media_at=at)
        return self._touched(channel_id)

    def _enter(self, channel_id: str, bridge_id: str, at: datetime) -> set[str]:
        """Note that a channel joined a bridge; return the calls of the people there."""
        leg = self._find_leg(channel_id)
        if leg is None or leg.bridge_id == bridge_id:
            return set()
        touched = self._leave(channel_id, at)
        stays = (*leg.stays[:-1], *_closed(leg.stays[-1:], at), Stay(bridge_id, at))
        self._update(channel_id, bridge_id=bridge_id, joined_at=leg.joined_at or at, stays=stays)
        self._inside.setdefault(bridge_id, {})[channel_id] = None
        self._people.clear()
        people = self._people_with(channel_id)
        calls = {self._call_of[one.id] for one in people}
        if len(people) > 1:
            for linkedid in calls:
                call = self._calls[linkedid]
                call.talked_at = call.talked_at or at
                call.met |= calls - {linkedid}
                if call.waiting is not None and call.waiting[0] in {one.id for one in people}:
                    call.waiting = None
        if any(one.party == "customer" for one in people):
            # An agent who comes is new to the customer; else the customer is new to all agents.
            served = [leg] if leg.party == "agent" else list(people)
            for one in served:
                if one.party == "agent":
                    self._update(one.id, served_at=at)
        return touched | calls | self._touched(channel_id)

    def _leave(self, channel_id: str, at: datetime) -> set[str]:
        """Note that a channel left its bridge; return the calls of the people there."""
        leg = self._find_leg(channel_id)
        if leg is None or leg.bridge_id is None:
            return self._touched(channel_id)
        touched = {self._call_of[one.id] for one in self._people_with(channel_id)}
        self._update(channel_id, bridge_id=None, stays=_closed(leg.stays, at))
        self._people.clear()
        inside = self._inside[leg.bridge_id]
        inside.pop(channel_id, None)
        if not inside:
            del self._inside[leg.bridge_id]
        return touched | self._touched(channel_id)

    def _end(self, channel_id: str, at: datetime, *, vanished: bool) -> set[str]:
        leg = self._find_leg(channel_id)
        if leg is None:
            return set()
        touched = self._leave(channel_id, at)
        self._update(channel_id, state=GONE, left_at=at, vanished=vanished)
        if not is_person(leg):
            self._people.clear()
            halves = self._halves.get(_local_name(leg), set())
            halves.discard(channel_id)
            if not halves:
                self._halves.pop(_local_name(leg), None)
        call = self._calls[self._call_of.pop(channel_id)]
        if call.waiting is not None and call.waiting[0] == channel_id:
            call.waiting = None
        if not any(one.alive for one in call.legs.values()):
            call.ended_at = at
        return touched

    def _absorb(self, bridge: ari.Bridge, linkedids: Mapping[str, str], at: datetime) -> set[str]:
        """Move the legs of a blank call into the call with which it now shares a linkedid."""
        touched: set[str] = set()
        of_linkedid: dict[str, list[str]] = {}
        for id_ in bridge.channel_ids:
            if id_ in linkedids and id_ in self._call_of:
                of_linkedid.setdefault(linkedids[id_], []).append(self._call_of[id_])
        for common, calls in of_linkedid.items():
            distinct = list(dict.fromkeys(calls))
            # The call that stays: one with something of its own, else the one that Asterisk keeps.
            distinct.sort(key=lambda one: (self._calls[one].is_blank, one != common))
            for blank in distinct[1:]:
                if self._calls[blank].is_blank:
                    touched |= {blank, distinct[0]}
                    self._move(self._calls[blank], self._calls[distinct[0]], at)
        return touched

    def _move(self, blank: _Call, to: _Call, at: datetime) -> None:
        for id_, leg in tuple(blank.legs.items()):
            if leg.alive:
                blank.legs[id_] = replace(
                    leg, state=GONE, left_at=at, bridge_id=None, stays=_closed(leg.stays, at)
                )
                to.legs[id_] = leg
                self._call_of[id_] = to.linkedid
        blank.ended_at, to.ended_at = at, None

    def _update(self, channel_id: str, **changes: object) -> None:
        if (linkedid := self._call_of.get(channel_id)) is not None:
            legs = self._calls[linkedid].legs
            legs[channel_id] = replace(legs[channel_id], **changes)  # type: ignore[arg-type]

    # Helpers

    def _find_leg(self, channel_id: str) -> LegRecord | None:
        linkedid = self._call_of.get(channel_id)
        return self._calls[linkedid].legs[channel_id] if linkedid is not None else None

    def _touched(self, channel_id: str) -> set[str]:
        linkedid = self._call_of.get(channel_id)
        return {linkedid} if linkedid is not None else set()

    def _one_channel_of_each_call(self, first: str, channel_ids: Iterable[str]) -> list[str]:
        found: dict[str, str] = {}
        for id_ in (first, *channel_ids):
            if id_ in self._call_of:
                found.setdefault(self._call_of[id_], id_)
        return list(found.values())

    def _people_with(self, channel_id: str) -> list[LegRecord]:
        """Return the people of this channel's conversation, with itself if it is a person."""
        leg = self._find_leg(channel_id)
        if leg is None or leg.bridge_id is None:
            return [leg] if leg is not None and is_person(leg) else []
        ids = self._people.get(leg.bridge_id)
        if ids is None:
            connected = tuple(self._iter_connected(channel_id))
            ids = tuple(one.id for one in connected if is_person(one))
            self._people |= {one.bridge_id: ids for one in connected if one.bridge_id is not None}
        return [self._calls[self._call_of[id_]].legs[id_] for id_ in ids]

    def _iter_connected(self, channel_id: str) -> Iterator[LegRecord]:
        """Yield the channels that bridges and Local channels connect with this one, itself too."""
        if channel_id not in self._call_of:
            return
        waiting, seen = [channel_id], {channel_id}
        while waiting:
            leg = self._find_leg(waiting.pop())
            if leg is None:
                continue
            yield leg
            if leg.bridge_id is None:
                continue
            near: Iterable[str] = self._inside[leg.bridge_id]
            if not is_person(leg):
                near = (*near, *self._halves[_local_name(leg)])
            for id_ in near:
                if id_ not in seen:
                    seen.add(id_)
                    waiting.append(id_)

    def _note_changes(self, touched: Iterable[str], at: datetime) -> frozenset[str]:
        changed = [linkedid for linkedid in touched if linkedid in self._calls]
        for linkedid in changed:
            call = self._calls[linkedid]
            call.changed_at = max(call.changed_at or at, at)
            self._note_people(call)
        return frozenset(self._id(linkedid) for linkedid in changed)

    def _note_people(self, call: _Call) -> None:
        """Note the present agent, and the partner of the caller.

        The agent is the agent who came last to the customer and is still there: so during a
        consultation it is the one who holds the customer. Without a customer it is the agent who
        joined last; before anybody has joined, the agent who calls. The partner counts while the
        caller talks with one person; in a conference nobody is the callee.
        """
        persons = [leg for leg in call.persons() if leg.alive]
        if call.has_customer:
            present = {one.id: one for leg in persons for one in self._people_with(leg.id)}
            agents = [one for one in present.values() if is_agent(one) and one.served_at]
            agent = max(agents, key=lambda one: one.served_at or one.created_at, default=None)
        else:
            agents = [one for one in persons if is_agent(one) and one.joined_at is not None]
            agent = max(agents, key=joined_or_created_at, default=None)
        first = next(iter(call.persons()), None)
        if agent is not None:
            call.agent = extension_of(agent)
        elif call.agent is None and first is not None and is_agent(first):
            call.agent = extension_of(first)
        if first is not None and first.alive:
            partners = [one for one in self._people_with(first.id) if one.id != first.id]
            if len(partners) == 1 and partners[0].number:
                call.callee = (partners[0].number, partners[0].caller_name)

    def _build_record(self, call: _Call) -> CallRecord:
        """Return the record of a call, with its direction and parties.

        The dialled number stands in for the callee before anybody has joined. The callee of an
        outbound call is always its customer.
        """
        persons = call.persons()
        first = persons[0] if persons else None
        direction: Direction = "internal"
        if any(leg.party == "customer" for leg in persons):
            direction = "inbound" if persons[0].party == "customer" else "outbound"
        dialled = first.exten if first is not None and first.exten not in {"", "s"} else None
        callee = call.callee or (dialled, None)
        if direction == "outbound":
            customer = next(leg for leg in persons if leg.party == "customer")
            callee = (dialled or customer.number, None)
        caller = (first.number, first.caller_name) if first is not None else (None, None)
        answered_at = call.answered_at if call.dialled is None else call.talked_at
        if call.dialled is not None and first is not None:
            # The channel of the phone has the caller id that the customer sees.
            direction, callee = "outbound", (call.dialled, None)
            caller = (extension_of(first), first.caller_name)
        conversations = [self._people_with(leg.id) for leg in persons if leg.bridge_id is not None]
        joined = {self._call_of[one.id] for people in conversations for one in people}
        return CallRecord(
            id=self._id(call.linkedid),
            pbx=self._pbx,
            state="ended"
            if call.ended_at
            else "up"
            if answered_at or call.talked_at
            else "ringing",
            direction=direction,
            started_at=call.started_at,
            caller_number=caller[0],
            caller_name=caller[1],
            callee_number=callee[0],
            callee_name=callee[1],
            did=dialled if direction == "inbound" else None,
            queue=call.queue,
            agent=call.agent,
            answered_at=answered_at,
            ended_at=call.ended_at,
            talked_at=call.talked_at,
            changed_at=call.changed_at,
            waiting_since=call.waiting[1] if call.waiting is not None else None,
            joined=tuple(self._id(one) for one in sorted(joined - {call.linkedid})),
            met=tuple(self._id(one) for one in sorted(call.met)),
            people=max(map(len, conversations), default=0),
            trigger="dialled" if parse_person_id(call.linkedid) else None,
            channels=tuple(call.legs.values()),
        )

    def _id(self, linkedid: str) -> str:
        return build_call_id(self._pbx, linkedid)


def belongs_to_call(channel: ari.Channel) -> bool:
    """Whether the channel is part of a call: neither Asterisk's own nor one of ours."""
    return channel.technology not in HELPERS and not is_ours(channel.id)


def _is_program(channel: ari.Channel) -> bool:
    """Whether another program than ours sends and receives the audio of this channel."""
    return channel.technology in MEDIA and not is_ours(channel.id)


def _name_of(channel: ari.Channel) -> str | None:
    """Return the name of the person; Dial() also gives the number the name that the phone shows."""
    name = channel.caller.name
    return name if name and name != CLICK_TO_DIAL else None


def _dialled_exten(channel: ari.Channel) -> str:
    """Return the extension that a channel dials; empty for a channel that Dial() itself called.

    Asterisk gives such a channel, an agent's phone for example, its own extension.
    """
    return "" if channel.dialplan.app_name in DIALLED_BY else channel.dialplan.exten


def _joins(bridge: ari.Bridge) -> bool:
    """Whether the channels of the bridge hear each other: in a parking lot they do not."""
    return bridge.type != "holding"


def _closed(stays: tuple[Stay, ...], at: datetime) -> tuple[Stay, ...]:
    """Return the stays with the last one ended."""
    if not stays or stays[-1].to_at is not None:
        return stays
    return (*stays[:-1], replace(stays[-1], to_at=max(at, stays[-1].from_at)))


def _local_name(leg: LegRecord) -> str:
    """Return the name that both halves of a Local channel share."""
    return leg.name.rpartition(";")[0]


def _in_order(channel: ari.Channel, linkedids: Mapping[str, str]) -> tuple[object, ...]:
    """Return a key that sorts channels by their creation.

    Two channels of a call are often created in the same millisecond. The one that gave the call its
    linkedid was first, and Asterisk counts its channels after the dot: `1795424777.12`.
    """
    serial = channel.id.rpartition(".")[2]
    number = int(serial) if serial.isascii() and serial.isdigit() else 0
    return (channel.created_at, channel.id != linkedids.get(channel.id), number, channel.id)
