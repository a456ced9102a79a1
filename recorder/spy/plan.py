"""The plan of a spy: the channel that it listens to, and the legs that hear the supervisor. Pure.

The *target* is the leg listened to: its voice, and the audio sent to it. The target is the agent's
leg, so that the spy stays with the call through hold and transfer. Without an agent in the
conversation it is the customer's leg. A whisper reaches an agent alone: while the target is a
customer, nobody hears it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recorder import names
from recorder.calls.legs import (
    extension_of,
    joined_legs,
    joined_or_created_at,
    legs_of,
    legs_to_capture,
    live_legs,
)
from recorder.recording.voices import hears_call
from recorder.spy.listeners import listener_of
from storage.records import CallRecord, LegRecord, Mode, SpyRecord

# The keys of a supervisor's phone; ChanSpy with its option d has the same.
KEYS: dict[str, Mode] = {"4": "listen", "5": "whisper", "6": "barge"}
END_KEY = "0"

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
    company     the channels that share a bridge with the target
    heard_by    the legs that hear the supervisor
    cause       why the spy is over; None while it goes on
    party       the party of the target
    """

    call_id: str
    target: str | None = None
    company: tuple[str, ...] = ()
    heard_by: tuple[str, ...] = ()
    cause: str | None = None
    party: str | None = None


def plan_spy(spy: SpyRecord, call: CallRecord, others: Iterable[CallRecord]) -> SpyPlan:
    """Return the present needs of a spy; it may move to one of the other live calls of its PBX.

    Example: an agent `a` and a customer `c` talk. A whisper has the target `a` and is heard by
    `a`; a barge has the same target and is heard by `a` and `c`.
    """
    present = _find_call(spy, call, tuple(others))
    if present is None:
        cause = "channel-gone" if spy.follow == "channel" else "call-ended"
        waits = spy.follow == "agent" and spy.agent is not None
        return SpyPlan(call.id, cause=None if waits else cause)
    target: LegRecord | None
    if spy.follow == "channel":
        target = next(leg for leg in live_legs(present) if leg.id == spy.channel_id)
    elif spy.follow == "agent" and spy.agent is not None:
        target = _find_agents_leg(present, spy.agent)
    else:
        target = find_target(present)
    if target is None:
        return SpyPlan(present.id)
    # Halves of Local channels count as company too.
    together = [leg.id for leg in present.channels if leg.bridge_id == target.bridge_id]
    company = tuple(id_ for id_ in together if target.bridge_id and id_ != target.id)
    heard_by: tuple[str, ...] = ()
    if spy.mode == "barge":
        heard_by = tuple(dict.fromkeys([target.id, *(leg.id for leg in joined_legs(present))]))
    elif spy.mode == "whisper" and target.party == "agent":
        heard_by = (target.id,)
    return SpyPlan(present.id, target.id, company, heard_by, party=target.party)


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
    parts = [names.parse_spy_part(id_) for id_ in talking]
    heard_by = {one.channel_id for one in parts if one is not None and one.kind == "talking-snoop"}
    if heard_by != set(plan.heard_by):
        return False
    if heard_by and listener.talking_channel not in talking:
        return False
    if plan.target is None:
        return not hears_call(spy)
    wanted = {
        names.build_listening_snoop_id(instance, plan.target, plan.company),
        listener.listening_channel(instance, plan.target),
    }
    if listener.joins_listeners():
        wanted.add(listener.supervisor_channel)
    listening = bridges.get(names.build_listening_bridge_id(instance, plan.target), frozenset())
    return hears_call(spy) and wanted <= listening


def may_need_others(spy: SpyRecord, call: CallRecord) -> bool:
    """Whether the spy must look for another call, because its own has no place for it."""
    return _find_call(spy, call, ()) is None


def follows(spy: SpyRecord, call: CallRecord) -> bool:
    """Whether a change of the call concerns the spy."""
    if spy.call_id == call.id or (spy.follow == "agent" and spy.agent == call.agent):
        return True
    return spy.channel_id is not None and any(leg.id == spy.channel_id for leg in call.channels)


def find_target(call: CallRecord) -> LegRecord | None:
    """Return the leg to listen to; None while no leg can be heard."""
    agents = [leg for leg in joined_legs(call) if leg.party == "agent"]
    if agents:
        return max(agents, key=joined_or_created_at)
    audible = legs_to_capture(call)
    customers = [leg for leg in audible if leg.party == "customer"]
    return next(iter(customers or audible), None)


def end_cause(state: str, q850: int) -> str:
    """Return why a spy is over whose phone ended while the spy was in `state`.

    Example: a phone that was ringing and ended with Q.850 cause 17 gives `busy`.
    """
    if state == "live":
        return "hung-up"
    return _CAUSES.get(q850, "no-answer")


def _find_call(spy: SpyRecord, call: CallRecord, others: Sequence[CallRecord]) -> CallRecord | None:
    """Return the call that the spy is on now.

    When calls are joined, one of them ends and its channels live on in the other, and so does the
    spy.
    """
    candidates = [call, *(other for other in others if other.id != call.id)]
    live = [one for one in candidates if one.state != "ended" and _live_ids(one)]
    if spy.follow == "channel":
        return next((one for one in live if spy.channel_id in _live_ids(one)), None)
    if spy.follow == "agent" and spy.agent is not None:
        mine = (one for one in live if _find_agents_leg(one, spy.agent) is not None)
        return next(mine, None)
    if call in live:
        return call
    known = {leg.id for leg in legs_of(call)}
    return next((one for one in live if known & _live_ids(one)), None)


def _find_agents_leg(call: CallRecord, agent: str) -> LegRecord | None:
    """Return the leg on which this agent talks, or will talk next."""
    mine = [
        leg
        for leg in live_legs(call)
        if leg.party == "agent"
        and extension_of(leg) == agent
        and (leg.joined_at is not None or leg.state == "Up")
    ]
    return next(iter(mine), None)


def _live_ids(call: CallRecord) -> set[str]:
    return {leg.id for leg in live_legs(call)}
