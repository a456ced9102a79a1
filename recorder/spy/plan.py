"""The plan of a spy: the channel that it listens to, and the legs that hear the supervisor. Pure.

The *target* is the leg listened to: its voice, and the audio sent to it. The target is the agent's
leg, so that the spy stays with the call through hold and transfer. Without an agent in the
conversation it is the customer's leg. A whisper reaches an agent alone: while the target is a
customer, nobody hears it. A barge reaches the people whom the supervisor hears: the conversation of
the target, whatever their calls.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter

from recorder import names
from recorder.calls.conversations import Conversation, conversations_of, group_channels
from recorder.calls.legs import (
    audible_legs,
    extension_of,
    has_customer,
    is_agent,
    joined_or_created_at,
    legs_of,
    live_legs,
)
from recorder.recording.voices import hears_call
from recorder.spy.listeners import listener_of
from storage.records import CallRecord, LegRecord, Mode, SpyRecord

# The keys of a supervisor's phone; ChanSpy with its option d has the same.
KEYS: dict[str, Mode] = {"4": "listen", "5": "whisper", "6": "barge"}
END_KEY = "0"
# The time of an agent without a customer, before all others.
NEVER = datetime.min.replace(tzinfo=UTC)

# The cause of a spy for each Q.850 cause of a phone that was never answered; others: no-answer.
_CAUSES = {
    1: "no-such-destination",
    2: "no-such-destination",
    3: "no-such-destination",
    17: "busy",
    20: "unreachable",
    21: "declined",
    27: "unreachable",
    28: "no-such-destination",
    34: "congestion",
    38: "unreachable",
    41: "unreachable",
    42: "congestion",
    58: "incompatible",
    65: "incompatible",
    66: "no-such-destination",
    88: "incompatible",
}


@dataclass(frozen=True, slots=True)
class SpyPlan:
    """The present needs of a spy.

    call_id     the call that the spy is on
    target      the channel to listen to; without one the supervisor hears nothing
    company     the channels that are connected with the target by bridges
    heard_by    the legs that hear the supervisor
    cause       why the spy is over; None while it goes on
    party       the party of the target
    deaf        whether somebody in the conversation is paused, so that the supervisor must hear
                nothing; a barging supervisor is a party and hears
    conference  the bridge in which the target talks with two or more others
    """

    call_id: str
    target: str | None = None
    company: tuple[str, ...] = ()
    heard_by: tuple[str, ...] = ()
    cause: str | None = None
    party: str | None = None
    deaf: bool = False
    conference: str | None = None

    @property
    def surroundings(self) -> tuple[str, ...]:
        """The company for which the listening snoop is made.

        It is the bridge alone in a conference, where everybody hears the mix, whoever comes or
        goes: there no snoop needs to be renewed.
        """
        return (self.conference,) if self.conference is not None else self.company

    @property
    def circle(self) -> tuple[str, ...]:
        """The people for whom talking snoops are made: the target and its surroundings."""
        if self.target is None or self.conference is not None:
            return self.surroundings
        return (self.target, *self.company)


def plan_spy(
    spy: SpyRecord,
    call: CallRecord,
    others: Iterable[CallRecord],
    paused: Collection[str] = (),
) -> SpyPlan:
    """Return the present needs of a spy; it may move to one of the other live calls of its PBX.

    Among `others` must be the calls that are joined with the call of the spy. `paused` are the
    channels of people under a pause that supervisors respect too.

    Example: an agent `a` and a customer `c` talk. A whisper has the target `a` and is heard by
    `a`; a barge has the same target and is heard by `a` and `c`.
    """
    known = {call.id: call} | {one.id: one for one in others if one.id != call.id}
    present = find_present_call(spy, call, known.values())
    if present is None:
        cause = "channel-gone" if spy.follow == "channel" else "call-ended"
        waits = spy.follow == "agent" and spy.agent is not None
        return SpyPlan(call.id, cause=None if waits else cause)
    target: LegRecord | None
    if spy.follow == "channel":
        target = next(leg for leg in live_legs(present) if leg.id == spy.channel_id)
    elif spy.follow == "agent" and spy.agent is not None:
        target = _find_agents_leg(present, spy.agent, _conversations(known.values()))
    else:
        target = find_target(present, known.values())
    if target is None:
        return SpyPlan(present.id)
    people = _conversations(known.values())[target.id]
    heard_by: tuple[str, ...] = ()
    if spy.mode == "barge":
        heard_by = tuple(leg.id for leg in people.legs)
    elif spy.mode == "whisper" and is_agent(target):
        heard_by = (target.id,)
    return SpyPlan(
        present.id,
        target.id,
        _company_of(target, known.values()),
        heard_by,
        party=target.party,
        deaf=spy.mode != "barge" and not people.leg_ids.isdisjoint(paused),
        conference=target.bridge_id if len(people.legs) > 2 else None,
    )


def is_settled(
    instance: str, spy: SpyRecord, plan: SpyPlan, bridges: Mapping[str, frozenset[str]]
) -> bool:
    """Whether the PBX is as planned; `bridges` maps each of its bridges to the channels inside.

    `instance` is the Stasis application of our channels.
    """
    if plan.cause is not None or plan.call_id != spy.call_id or spy.state != "live":
        return False
    listener = listener_of(spy)
    talking = bridges.get(names.build_talking_bridge_id(spy.id), frozenset())
    parts = {id_: names.parse_spy_part(id_) for id_ in talking}
    snoops = {id_ for id_, one in parts.items() if one is not None and one.kind == "talking-snoop"}
    if snoops != {
        names.build_talking_snoop_id(instance, spy.id, leg, plan.circle) for leg in plan.heard_by
    }:
        return False
    if snoops and listener.talking_channel not in talking:
        return False
    if plan.target is None:
        return not hears_call(spy)
    listening = bridges.get(names.build_listening_bridge_id(instance, plan.target), frozenset())
    if plan.deaf:
        return not hears_call(spy) and listener.supervisor_channel not in listening
    wanted = {
        names.build_listening_snoop_id(instance, plan.target, plan.surroundings),
        listener.listening_channel(instance, plan.target),
    }
    if listener.joins_listeners():
        wanted.add(listener.supervisor_channel)
    return hears_call(spy) and wanted <= listening


def follows(spy: SpyRecord, call: CallRecord) -> bool:
    """Whether a change of the call concerns the spy.

    The people of a call that is joined with the spy's call, or was until now, concern it.
    """
    if spy.call_id == call.id or spy.call_id in call.joined or spy.call_id in call.met:
        return True
    if spy.follow == "agent" and spy.agent is not None:
        return spy.agent == call.agent or any(
            is_agent(leg) and extension_of(leg) == spy.agent for leg in legs_of(call)
        )
    return spy.channel_id is not None and any(leg.id == spy.channel_id for leg in call.channels)


def find_present_call(
    spy: SpyRecord, call: CallRecord, others: Iterable[CallRecord]
) -> CallRecord | None:
    """Return the call that the spy is on now; None if it has no place in any of these calls.

    When a call is absorbed by another, its channels live on there, and so does the spy.
    """
    candidates = [call, *(other for other in others if other.id != call.id)]
    live = [one for one in candidates if one.state != "ended" and _live_ids(one)]
    if spy.follow == "channel":
        return next((one for one in live if spy.channel_id in _live_ids(one)), None)
    if spy.follow == "agent" and spy.agent is not None:
        conversations = _conversations(live)
        legs = [(one, _find_agents_leg(one, spy.agent, conversations)) for one in live]
        found = [(_preference(leg, conversations), one) for one, leg in legs if leg is not None]
        return max(found, key=itemgetter(0), default=(None, None))[1]
    if call in live:
        return call
    known = {leg.id for leg in legs_of(call)}
    return next((one for one in live if known & _live_ids(one)), None)


def find_target(call: CallRecord, others: Iterable[CallRecord] = ()) -> LegRecord | None:
    """Return the leg to listen to; None while no leg can be heard.

    It is the agent who came last to the customer, so that a consultation is not taken for a
    transfer, and in a call without a customer the agent who joined last. The agent may be in one of
    `others`, the calls that are joined with this one.
    """
    conversations = _conversations([call, *(one for one in others if one.id != call.id)])
    own = live_legs(call)
    met = {leg.id: leg for one in own for leg in conversations[one.id].legs}
    agents = [leg for leg in met.values() if is_agent(leg) and leg.joined_at is not None]
    if not has_customer(call):
        agents = [leg for leg in agents if leg in own] or agents
    if agents:
        return max(agents, key=lambda leg: (leg.served_at or NEVER, joined_or_created_at(leg)))
    audible = audible_legs(call)
    customers = [leg for leg in audible if leg.party == "customer"]
    return next(iter(customers or audible), None)


def end_cause(state: str, q850: int) -> str:
    """Return why a spy is over whose phone ended while the spy was in `state`.

    Example: a phone that was ringing and ended with Q.850 cause 17 gives `busy`.
    """
    if state == "live":
        return "hung-up"
    return _CAUSES.get(q850, "no-answer")


def _conversations(calls: Iterable[CallRecord]) -> dict[str, Conversation]:
    """Return the conversation of each live leg, by the id of the leg."""
    return {leg_id: one for one in conversations_of(calls) for leg_id in one.leg_ids}


def _company_of(target: LegRecord, calls: Iterable[CallRecord]) -> tuple[str, ...]:
    """Return the other channels that bridges connect with the target, Local halves too."""
    live = [leg for call in calls for leg in call.channels if leg.alive]
    groups = group_channels((leg.id, leg.name, leg.bridge_id) for leg in live)
    group = groups.get(target.id)
    return tuple(id_ for id_, one in groups.items() if one == group and id_ != target.id)


def _find_agents_leg(
    call: CallRecord, agent: str, conversations: Mapping[str, Conversation]
) -> LegRecord | None:
    """Return the leg on which this agent talks, or will talk next."""
    mine = [
        leg
        for leg in live_legs(call)
        if is_agent(leg)
        and extension_of(leg) == agent
        and (leg.joined_at is not None or leg.state == "Up")
    ]
    return max(mine, key=lambda leg: _preference(leg, conversations), default=None)


def _preference(
    leg: LegRecord, conversations: Mapping[str, Conversation]
) -> tuple[bool, bool, datetime]:
    """Return a key by which the leg on which an agent talks comes last.

    An agent who keeps a customer on hold and talks with a colleague talks on the second leg.
    """
    talks = conversations[leg.id].is_talk
    return talks and not leg.on_hold, talks, joined_or_created_at(leg)


def _live_ids(call: CallRecord) -> set[str]:
    return {leg.id for leg in live_legs(call)}
