"""The call model: channels and bridges of one PBX, seen as calls. Pure: no I/O, no clock.

Events go in, `CallRecord`s come out:

    model.apply(event, linkedids)  →  the ids of the calls that it changed
    model.record(call_id)          →  the call as it is now

A call is all channels of one linkedid. Asterisk changes linkedids when bridges join, so a channel
may move from one call to another (attended transfer); the watcher reads them again whenever
`linkedids_needed` says so. A *leg* is a channel that belongs to a person: not a Local half, not
one of Asterisk's own helpers.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from recorder import ari
from recorder.calls.legs import LOCAL, extension_of, is_person
from recorder.names import build_call_id, is_ours
from storage.records import CallRecord, Direction, LegRecord, Party, Side

# The state of a leg whose channel has left the call.
GONE = "Gone"
# Channels that carry no person and belong to no call: snoops, media, and what records or announces.
HELPERS = frozenset(
    {"Announcer", "AudioSocket", "CBAnn", "CBRec", "Message", "MulticastRTP", "Recorder"}
    | {"Snoop", "Surrogate", "UnicastRTP", "WebSocket"}
)


@dataclass(slots=True)
class _Call:
    """What is known of one linkedid; `legs` in the order in which they appeared."""

    linkedid: str
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    queue: str | None = None
    legs: dict[str, LegRecord] = field(default_factory=dict)

    def persons(self) -> list[LegRecord]:
        return [leg for leg in self.legs.values() if is_person(leg)]


class CallModel:
    """The calls of one PBX. `trunks` are patterns of the endpoints behind which customers are."""

    def __init__(self, pbx: str, trunks: Collection[str]) -> None:
        self._pbx = pbx
        self._trunks = tuple(trunks)
        self._calls: dict[str, _Call] = {}
        self._call_of: dict[str, str] = {}  # channel id → linkedid

    # What the watcher asks before and after an event

    def linkedids_needed(self, event: ari.Event) -> tuple[str, ...]:
        """The channels whose linkedid has to be read before this event can be applied."""
        match event:
            case ari.ChannelCreated(channel=channel):
                return (channel.id,) if belongs_to_call(channel) else ()
            case ari.ChannelEnteredBridge(bridge=bridge) if _joins(bridge):
                present = [id_ for id_ in bridge.channel_ids if id_ in self._call_of]
                return tuple(present) if len({self._call_of[id_] for id_ in present}) > 1 else ()
        return ()

    def record(self, call_id: str) -> CallRecord:
        """The call as it is now. Raises KeyError for one that was forgotten."""
        return _record(self._pbx, self._calls[call_id.removeprefix(f"{self._pbx}-")])

    def live_call_ids(self) -> tuple[str, ...]:
        """Every call that has not ended."""
        return tuple(self._id(call) for call in self._calls.values() if call.ended_at is None)

    def find_call_of(self, channel_id: str) -> str | None:
        """The call that a live channel belongs to; None where it belongs to none."""
        linkedid = self._call_of.get(channel_id)
        return self._id(self._calls[linkedid]) if linkedid is not None else None

    def is_split(self) -> bool:
        """Whether a bridge joins channels of different calls: a linkedid was read too early."""
        joined = {(leg.bridge_id, self._call_of[id_]) for id_, leg in self._live_legs().items()}
        bridges = [bridge_id for bridge_id, _ in joined if bridge_id is not None]
        return len(bridges) != len(set(bridges))

    def forget(self, call_id: str) -> None:
        """Drop an ended call, once it is kept elsewhere."""
        linkedid = call_id.removeprefix(f"{self._pbx}-")
        if self._calls[linkedid].ended_at is not None:
            del self._calls[linkedid]

    def restore(self, record: CallRecord) -> None:
        """Take up a call where it was kept; what has changed since comes with `rebuild`."""
        linkedid = record.id.removeprefix(f"{self._pbx}-")
        call = _Call(linkedid, record.started_at, record.answered_at, None, record.queue)
        call.legs = {leg.id: leg for leg in record.channels}
        self._calls[linkedid] = call
        self._call_of |= {id_: linkedid for id_, leg in call.legs.items() if leg.alive}

    # Events

    def apply(self, event: ari.Event, linkedids: Mapping[str, str]) -> frozenset[str]:
        """Take an event in; the ids of the calls that it changed."""
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
                touched.add(self._transfer(channel.id, event.at, exten))
            case ari.BridgeAttendedTransfer(result="Success", transferer_first_leg=channel):
                touched.add(self._transfer(channel.id, event.at, _asked(event)))
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
        """Bring the model to what the PBX lists; the ids of the calls that this changed.

        Channels that are listed no more ended at `at`, `vanished` if that is only when it was
        noticed.
        """
        present = {channel.id: channel for channel in channels if channel.id in linkedids}
        gone = [id_ for id_, leg in self._live_legs().items() if id_ not in present]
        touched = {self._end(id_, at, vanished=vanished) for id_ in gone}
        for channel in sorted(present.values(), key=lambda channel: channel.created_at):
            touched.add(self._move(channel.id, linkedids[channel.id], at))
            touched.add(self._add(channel, linkedids[channel.id]))
            touched.add(self._refresh(channel, at))
        touched |= self._rebuild_bridges(bridges)
        return frozenset(call_id for call_id in touched if call_id is not None)

    def _rebuild_bridges(self, bridges: Iterable[ari.Bridge]) -> set[str | None]:
        """Who joined unseen may have been talking ever since the channel began."""
        joining = [bridge for bridge in bridges if _joins(bridge)]
        bridge_of = {id_: bridge.id for bridge in joining for id_ in bridge.channel_ids}
        touched: set[str | None] = set()
        for id_, leg in self._live_legs().items():
            if id_ in bridge_of:
                touched.add(self._enter(id_, bridge_of[id_], leg.created_at))
            elif leg.bridge_id is not None:
                touched.add(self._update(id_, bridge_id=None))
        return touched

    # Changes of one channel; each answers the id of the call it belongs to, None for no call

    def _add(self, channel: ari.Channel, linkedid: str) -> str | None:
        if not belongs_to_call(channel):
            return None
        call = self._calls.get(linkedid)
        if call is None:
            call = self._calls[linkedid] = _Call(linkedid, channel.created_at)
        if channel.id not in call.legs:  # an id is never used twice, but may be told twice
            call.ended_at = None
            dialled = channel.dialplan
            call.legs[channel.id] = LegRecord(
                id=channel.id,
                name=channel.name,
                state=channel.state,
                party=self._party(channel),
                created_at=channel.created_at,
                number=channel.caller.number or None,
                caller_name=channel.caller.name or None,
                exten=dialled.exten,
                context=dialled.context,
            )
            self._call_of[channel.id] = linkedid
        return self._refresh(channel, channel.created_at)

    def _move(self, channel_id: str, linkedid: str, at: datetime) -> str | None:
        """The channel may have come to another call: take its leg there."""
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
        leg = self._find_leg(channel_id)
        if leg is None:
            return None
        side = leg.side or _side(leg, self._calls[self._call_of[channel_id]])
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
        leg = self._find_leg(channel_id)
        if leg is None or leg.on_hold is begins:
            return None
        before = leg.holds if begins else leg.holds[:-1]
        span = (at, None) if begins else (leg.holds[-1][0], at)
        return self._update(channel_id, holds=(*before, span))

    def _transfer(self, channel_id: str, at: datetime, to: str) -> str | None:
        return self._update(channel_id, transferred_at=at, transferred_to=to)

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

    def _find_leg(self, channel_id: str) -> LegRecord | None:
        linkedid = self._call_of.get(channel_id)
        return self._calls[linkedid].legs[channel_id] if linkedid is not None else None

    def _live_legs(self) -> dict[str, LegRecord]:
        return {id_: self._calls[linkedid].legs[id_] for id_, linkedid in self._call_of.items()}

    def _party(self, channel: ari.Channel) -> Party | None:
        if channel.technology == LOCAL:
            return None
        behind_trunk = any(fnmatchcase(channel.endpoint, trunk) for trunk in self._trunks)
        return "customer" if behind_trunk else "agent"

    def _id(self, call: _Call) -> str:
        return build_call_id(self._pbx, call.linkedid)


def belongs_to_call(channel: ari.Channel) -> bool:
    """Whether the channel is part of some call: neither a helper nor a supervisor's phone."""
    return channel.technology not in HELPERS and not is_ours(channel.id)


def _asked(event: ari.BridgeAttendedTransfer) -> str:
    """Who was asked, and has the call now."""
    target = event.transfer_target
    asked = target.caller.number if target is not None else ""
    return asked or event.transferer_second_leg.connected.number


def _joins(bridge: ari.Bridge) -> bool:
    """Whether those in the bridge hear each other; in a parking lot they wait, each for himself."""
    return bridge.type != "holding"


def _side(leg: LegRecord, call: _Call) -> Side | None:
    """The side of a dual recording on which a leg that joins is heard.

    Left is the customer, or the caller where no customer takes part; right are all others, so a
    second customer (a call that was transferred out) too.
    """
    persons = call.persons()
    if not is_person(leg):
        return None
    if any(other.side == "left" and other.alive for other in persons):
        return "right"
    if leg.party == "customer":
        return "left"
    is_caller = persons[0].id == leg.id
    has_customer = any(other.party == "customer" for other in persons)
    return "left" if is_caller and not has_customer else "right"


def _record(pbx: str, call: _Call) -> CallRecord:
    persons = call.persons()
    direction = _direction(persons)
    caller, callee = _caller(persons), _callee(persons, direction)
    return CallRecord(
        id=build_call_id(pbx, call.linkedid),
        pbx=pbx,
        state="ended" if call.ended_at else "up" if call.answered_at else "ringing",
        direction=direction,
        started_at=call.started_at,
        caller_number=caller.number or None,
        caller_name=caller.name or None,
        callee_number=callee.number or None,
        callee_name=callee.name or None,
        did=_dialled(persons) if direction == "inbound" else None,
        queue=call.queue,
        agent=_agent(persons),
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        channels=tuple(call.legs.values()),
    )


def _direction(persons: list[LegRecord]) -> Direction:
    if persons and persons[0].party == "customer":
        return "inbound"
    return "outbound" if any(leg.party == "customer" for leg in persons) else "internal"


def _caller(persons: list[LegRecord]) -> ari.Party:
    return _caller_of(persons[0]) if persons else ari.Party("", "")


def _caller_of(leg: LegRecord) -> ari.Party:
    return ari.Party(leg.number or "", leg.caller_name or "")


def _callee(persons: list[LegRecord], direction: str) -> ari.Party:
    """Who answered, or else whom the caller dialled; of an outbound call always the latter."""
    others = sorted(
        (leg for leg in persons[1:] if leg.joined_at is not None),
        key=lambda leg: leg.joined_at or leg.created_at,
    )
    dialled = ari.Party(_dialled(persons) or "", "")
    if not others or direction == "outbound":
        return dialled
    answered = _caller_of(others[-1])
    return answered if answered.number else dialled


def _dialled(persons: list[LegRecord]) -> str | None:
    exten = persons[0].exten if persons else ""
    return exten if exten not in {"", "s"} else None


def _agent(persons: list[LegRecord]) -> str | None:
    """The endpoint of the agent who joined last; before that, of the agent who calls."""
    joined = [leg for leg in persons if leg.party == "agent" and leg.joined_at is not None]
    if joined:
        last = max(joined, key=lambda leg: leg.joined_at or leg.created_at)
        return extension_of(last)
    if persons and persons[0].party == "agent":
        return extension_of(persons[0])
    return None
