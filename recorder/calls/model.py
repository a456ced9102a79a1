"""The call model: it groups the channels and bridges of one PBX into calls. Pure: no I/O, no clock.

Events go in, `CallRecord`s come out:

    model.apply(event, linkedids)  →  the ids of the changed calls
    model.record(call_id)          →  the present record of a call

A call consists of all channels with one linkedid. Asterisk changes linkedids when bridges join, so
an attended transfer moves a channel from one call to another. `linkedids_needed` lists the channels
whose linkedid the watcher has to read again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from recorder import ari
from recorder.calls.legs import LOCAL, extension_of, is_person, joined_or_created_at
from recorder.names import build_call_id, is_ours
from storage.records import CallRecord, Direction, LegRecord, Party

# The state of a leg whose channel has left the call.
GONE = "Gone"
# Technologies of Asterisk's own channels: they belong to no person and to no call.
HELPERS = frozenset(
    {"Announcer", "AudioSocket", "CBAnn", "CBRec", "Message", "MulticastRTP", "Recorder"}
    | {"Snoop", "Surrogate", "UnicastRTP", "WebSocket"}
)


@dataclass(slots=True)
class _Call:
    """The state of one linkedid; `legs` are its channels in the order in which they appeared."""

    linkedid: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    queue: str | None = None
    legs: dict[str, LegRecord] = field(default_factory=dict)

    def persons(self) -> list[LegRecord]:
        return [leg for leg in self.legs.values() if is_person(leg)]


class CallModel:
    """The calls of one PBX. Channels of endpoints that match a pattern of `trunks` are customers.

    Example: `CallModel("main", ["PJSIP/trunk*"])`.
    """

    def __init__(self, pbx: str, trunks: Collection[str]) -> None:
        self._pbx = pbx
        self._trunks = tuple(trunks)
        self._calls: dict[str, _Call] = {}
        self._call_of: dict[str, str] = {}  # channel id → linkedid

    # Queries

    def linkedids_needed(self, event: ari.Event) -> tuple[str, ...]:
        """Return the channels whose linkedid must be read before this event is applied."""
        match event:
            case ari.ChannelCreated(channel=channel):
                return (channel.id,) if belongs_to_call(channel) else ()
            case ari.ChannelEnteredBridge(bridge=bridge) if _joins(bridge):
                present = [id_ for id_ in bridge.channel_ids if id_ in self._call_of]
                return tuple(present) if len({self._call_of[id_] for id_ in present}) > 1 else ()
        return ()

    def record(self, call_id: str) -> CallRecord:
        """Return the present record of a call. Raises KeyError for a forgotten call."""
        return _build_record(self._pbx, self._calls[call_id.removeprefix(f"{self._pbx}-")])

    def find_call_of(self, channel_id: str) -> str | None:
        """Return the id of the call of a live channel, or None where it belongs to no call."""
        linkedid = self._call_of.get(channel_id)
        return self._id(self._calls[linkedid]) if linkedid is not None else None

    def is_split(self) -> bool:
        """Whether a bridge joins channels of two calls, because a linkedid was read too early."""
        joined = {(leg.bridge_id, self._call_of[id_]) for id_, leg in self._live_legs().items()}
        bridges = [bridge_id for bridge_id, _ in joined if bridge_id is not None]
        return len(bridges) != len(set(bridges))

    def forget(self, call_id: str) -> None:
        """Drop an ended call; the catalogue has its record."""
        linkedid = call_id.removeprefix(f"{self._pbx}-")
        if self._calls[linkedid].ended_at is not None:
            del self._calls[linkedid]

    def restore(self, record: CallRecord) -> None:
        """Add a live call from its stored record; `rebuild` brings the changes since then."""
        linkedid = record.id.removeprefix(f"{self._pbx}-")
        call = _Call(linkedid, record.started_at, record.answered_at, None, record.queue)
        call.legs = {leg.id: leg for leg in record.channels}
        self._calls[linkedid] = call
        self._call_of |= {id_: linkedid for id_, leg in call.legs.items() if leg.alive}

    # Events

    def apply(self, event: ari.Event, linkedids: Mapping[str, str]) -> frozenset[str]:
        """Apply an event and return the ids of the changed calls.

        `linkedids` maps each channel of `linkedids_needed(event)` to its linkedid.
        """
        touched = {self._move(id_, linkedid, event.at) for id_, linkedid in linkedids.items()}
        touched |= {self._id(self._calls[one]) for one in linkedids.values() if one in self._calls}
        match event:
            case ari.ChannelCreated(channel=channel) if channel.id in linkedids:
                touched.add(self._add(channel, linkedids[channel.id]))
            case ari.ChannelDestroyed(channel=channel):
                touched.add(self._end(channel.id, event.at, vanished=False))
            case ari.ChannelEnteredBridge(bridge=bridge, channel=channel) if _joins(bridge):
                touched.add(self._enter(channel.id, bridge.id, event.at))
            case ari.ChannelLeftBridge(channel=channel):
                touched.add(self._update(channel.id, bridge_id=None))
            case ari.ChannelDialplan(channel=channel, app_name="Queue", app_data=data):
                touched.add(self._queue(channel, data))
            case ari.ChannelHold(channel=channel) | ari.ChannelUnhold(channel=channel):
                touched.add(self._hold(channel.id, event.at, isinstance(event, ari.ChannelHold)))
            case ari.BridgeBlindTransfer(result="Success", channel=channel, exten=exten):
                sent = {"transferred_at": event.at, "transferred_to": exten}
                touched.add(self._update(channel.id, **sent))
            case ari.BridgeAttendedTransfer(result="Success", transferer_first_leg=channel):
                target = event.transfer_target
                number = target.caller.number if target is not None else ""
                to = number or event.transferer_second_leg.connected.number
                sent = {"transferred_at": event.at, "transferred_to": to}
                touched.add(self._update(channel.id, **sent))
            case (
                ari.ChannelStateChange(channel=channel)
                | ari.ChannelCallerId(channel=channel)
                | ari.ChannelConnectedLine(channel=channel)
            ):
                touched.add(self._refresh(channel, event.at))
        return frozenset(call_id for call_id in touched if call_id is not None)

    def rebuild(
        self,
        channels: Iterable[ari.Channel],
        linkedids: Mapping[str, str],
        bridges: Iterable[ari.Bridge],
        at: datetime,
        *,
        vanished: bool,
    ) -> frozenset[str]:
        """Update the model from full lists of the PBX and return the ids of the changed calls.

        A channel that is missing from `channels` ended at `at`; `vanished` marks that this is the
        time of the notice, not of the event. A person who is found in a bridge may have talked
        since the channel was created, so that time counts as the time of joining.
        """
        present = {channel.id: channel for channel in channels if channel.id in linkedids}
        gone = [id_ for id_, leg in self._live_legs().items() if id_ not in present]
        touched = {self._end(id_, at, vanished=vanished) for id_ in gone}
        for channel in sorted(present.values(), key=lambda channel: channel.created_at):
            touched.add(self._move(channel.id, linkedids[channel.id], at))
            touched.add(self._add(channel, linkedids[channel.id]))
            touched.add(self._refresh(channel, at))
        joining = [bridge for bridge in bridges if _joins(bridge)]
        bridge_of = {id_: bridge.id for bridge in joining for id_ in bridge.channel_ids}
        for id_, leg in self._live_legs().items():
            if id_ in bridge_of:
                touched.add(self._enter(id_, bridge_of[id_], leg.created_at))
            elif leg.bridge_id is not None:
                touched.add(self._update(id_, bridge_id=None))
        return frozenset(call_id for call_id in touched if call_id is not None)

    # Changes of one channel. Each returns the id of its call, or None for a channel without a call.

    def _add(self, channel: ari.Channel, linkedid: str) -> str | None:
        if not belongs_to_call(channel):
            return None
        call = self._calls.get(linkedid)
        if call is None:
            call = self._calls[linkedid] = _Call(linkedid, channel.created_at)
        if channel.id not in call.legs:  # one channel may be created in two events
            call.ended_at = None
            is_customer = any(fnmatchcase(channel.endpoint, trunk) for trunk in self._trunks)
            party: Party = "customer" if is_customer else "agent"
            call.legs[channel.id] = LegRecord(
                id=channel.id,
                name=channel.name,
                state=channel.state,
                party=party if channel.technology != LOCAL else None,
                created_at=channel.created_at,
                number=channel.caller.number or None,
                caller_name=channel.caller.name or None,
                exten=channel.dialplan.exten,
                context=channel.dialplan.context,
            )
            self._call_of[channel.id] = linkedid
        return self._refresh(channel, channel.created_at)

    def _move(self, channel_id: str, linkedid: str, at: datetime) -> str | None:
        """Move the leg of a channel to the call of its new linkedid."""
        old = self._call_of.get(channel_id)
        if old is None or old == linkedid:
            return None
        leg = self._calls[old].legs[channel_id]
        self._calls[old].legs[channel_id] = replace(leg, state=GONE, left_at=at, bridge_id=None)
        self._end_if_empty(self._calls[old], at)
        call = self._calls.setdefault(linkedid, _Call(linkedid, leg.created_at))
        call.ended_at = None
        call.legs[channel_id] = replace(leg, joined_at=None, side=None)
        self._call_of[channel_id] = linkedid
        if leg.bridge_id is not None:
            self._enter(channel_id, leg.bridge_id, at)
        return self._id(self._calls[old])

    def _refresh(self, channel: ari.Channel, at: datetime) -> str | None:
        call_id = self._update(
            channel.id,
            name=channel.name,
            state=channel.state,
            number=channel.caller.number or None,
            caller_name=channel.caller.name or None,
        )
        if call_id is None:
            return None
        call = self._calls[self._call_of[channel.id]]
        first = next(iter(call.legs.values()))
        if first.id == channel.id and channel.state == "Up" and not call.answered_at:
            call.answered_at = at
        if channel.dialplan.app_name == "Queue":
            self._queue(channel, channel.dialplan.app_data)
        return call_id

    def _enter(self, channel_id: str, bridge_id: str, at: datetime) -> str | None:
        """Note that a channel joined a bridge, and give its leg a side of a dual recording.

        Left is the customer; without a customer, the caller. Right is everybody else, also a second
        customer, for example after the agent transferred the call to an outside number.
        """
        linkedid = self._call_of.get(channel_id)
        if linkedid is None:
            return None
        leg, persons = self._calls[linkedid].legs[channel_id], self._calls[linkedid].persons()
        side = leg.side
        if side is None and is_person(leg):
            is_left_taken = any(other.side == "left" and other.alive for other in persons)
            has_customer = any(other.party == "customer" for other in persons)
            is_caller = persons[0].id == leg.id and not has_customer
            is_left = leg.party == "customer" or is_caller
            side = "left" if is_left and not is_left_taken else "right"
        return self._update(
            channel_id, bridge_id=bridge_id, joined_at=leg.joined_at or at, side=side
        )

    def _end(self, channel_id: str, at: datetime, *, vanished: bool) -> str | None:
        call_id = self._update(
            channel_id, state=GONE, left_at=at, bridge_id=None, vanished=vanished
        )
        if call_id is not None:
            self._end_if_empty(self._calls[self._call_of.pop(channel_id)], at)
        return call_id

    def _queue(self, channel: ari.Channel, data: str) -> str | None:
        linkedid = self._call_of.get(channel.id)
        if linkedid is None:
            return None
        self._calls[linkedid].queue = data.split(",", maxsplit=1)[0] or None
        return self._id(self._calls[linkedid])

    def _hold(self, channel_id: str, at: datetime, begins: bool) -> str | None:
        linkedid = self._call_of.get(channel_id)
        if linkedid is None:
            return None
        leg = self._calls[linkedid].legs[channel_id]
        if leg.on_hold is begins:
            return None
        before = leg.holds if begins else leg.holds[:-1]
        span = (at, None) if begins else (leg.holds[-1][0], at)
        return self._update(channel_id, holds=(*before, span))

    def _update(self, channel_id: str, **changes: object) -> str | None:
        linkedid = self._call_of.get(channel_id)
        if linkedid is None:
            return None
        call = self._calls[linkedid]
        call.legs[channel_id] = replace(call.legs[channel_id], **changes)  # type: ignore[arg-type]
        return self._id(call)

    # Helpers

    def _end_if_empty(self, call: _Call, at: datetime) -> None:
        if not any(leg.alive for leg in call.legs.values()):
            call.ended_at = at

    def _live_legs(self) -> dict[str, LegRecord]:
        return {id_: self._calls[linkedid].legs[id_] for id_, linkedid in self._call_of.items()}

    def _id(self, call: _Call) -> str:
        return build_call_id(self._pbx, call.linkedid)


def belongs_to_call(channel: ari.Channel) -> bool:
    """Whether the channel is part of a call: neither Asterisk's own nor one of ours."""
    return channel.technology not in HELPERS and not is_ours(channel.id)


def _joins(bridge: ari.Bridge) -> bool:
    """Whether the channels of the bridge hear each other: in a parking lot they do not."""
    return bridge.type != "holding"


def _build_record(pbx: str, call: _Call) -> CallRecord:
    """Return the record of a call, with its direction and parties.

    The callee is the person who joined last after the caller; the dialled number stands in for it
    before anybody has joined, and always in an outbound call. The agent is the agent who joined
    last; before any agent has joined, the agent who calls.
    """
    persons = call.persons()
    first = persons[0] if persons else None
    direction: Direction = "internal"
    if any(leg.party == "customer" for leg in persons):
        direction = "inbound" if persons[0].party == "customer" else "outbound"
    dialled = first.exten if first is not None and first.exten not in {"", "s"} else None
    joined = sorted((leg for leg in persons if leg.joined_at is not None), key=joined_or_created_at)
    others = [leg for leg in joined if leg is not first]
    is_known = others and others[-1].number and direction != "outbound"
    callee = others[-1] if is_known else None
    agents = [leg for leg in joined if leg.party == "agent"]
    agents = agents or [leg for leg in persons[:1] if leg.party == "agent"]
    agent = max(agents, key=joined_or_created_at, default=None)
    return CallRecord(
        id=build_call_id(pbx, call.linkedid),
        pbx=pbx,
        state="ended" if call.ended_at else "up" if call.answered_at else "ringing",
        direction=direction,
        started_at=call.started_at,
        caller_number=first.number if first is not None else None,
        caller_name=first.caller_name if first is not None else None,
        callee_number=callee.number if callee is not None else dialled,
        callee_name=callee.caller_name if callee is not None else None,
        did=dialled if direction == "inbound" else None,
        queue=call.queue,
        agent=extension_of(agent) if agent is not None else None,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        channels=tuple(call.legs.values()),
    )
