"""Whom a spy hears, and who hears it. Pure.

The *target* is the leg that is listened to: both what it says and what it hears. That is the
agent's, so that the spy stays with the call through hold and transfer; where no agent is in the
conversation, the customer's. A whisper is heard by an agent alone: where the target is a customer,
it is heard by nobody.
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
from recorder.recording.voices import BROWSER, hears_call, voice_channel
from storage.records import CallRecord, LegRecord, Mode, SpyRecord

# The keys of a supervisor's phone, as ChanSpy has them with its option d.
KEYS: dict[str, Mode] = {"4": "listen", "5": "whisper", "6": "barge"}
END_KEY = "0"

# Q.850's causes for a phone that was never answered; what is not here was not answered in time.
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
    """What a spy needs now: the channel `target` is listened to, `says` hear the supervisor.

    `party` is whose the target is, `company` are the channels with which it is in a bridge. Without
    a target nothing is heard; `cause` is why the spy is over, None while it is not. `call_id` is
    the call it is on.
    """

    call_id: str
    target: str | None = None
    company: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    cause: str | None = None
    party: str | None = None


def plan_spy(spy: SpyRecord, call: CallRecord, others: Iterable[CallRecord]) -> SpyPlan:
    """What the spy needs; `others` are the live calls of the PBX that it may move on to."""
    present = _find_call(spy, call, tuple(others))
    if present is None:
        cause = "channel-gone" if spy.follow == "channel" else "call-ended"
        waits = spy.follow == "agent" and spy.agent is not None
        return SpyPlan(call.id, cause=None if waits else cause)
    target = _find_target(spy, present)
    if target is None:
        return SpyPlan(present.id)
    company, says = _company(target, present), _says(spy.mode, target, present)
    return SpyPlan(present.id, target.id, company, says, party=target.party)


def is_settled(spy: SpyRecord, plan: SpyPlan, bridges: Mapping[str, frozenset[str]]) -> bool:
    """Whether all is as planned; `bridges` are those on the PBX, and which channels are in each."""
    if plan.cause is not None or plan.call_id != spy.call_id or spy.state != "live":
        return False
    talking = bridges.get(names.build_talking_bridge_id(spy.id), frozenset())
    says = {id_ for id_ in talking if id_.startswith(names.build_talking_snoop_id(spy.id, ""))}
    if says != {names.build_talking_snoop_id(spy.id, leg) for leg in plan.says}:
        return False
    if says and _voice(spy) not in talking:
        return False
    if plan.target is None:
        return not hears_call(spy)
    listen = names.build_listening_bridge_id(plan.target)
    wanted = {names.build_listening_snoop_id(plan.target, plan.company)}
    if spy.destination == BROWSER:
        wanted.add(names.build_listening_channel_id(plan.target))
    if spy.destination != BROWSER or takes_seat(spy):
        wanted.add(place(spy))
    return hears_call(spy) and wanted <= bridges.get(listen, frozenset())


def may_need_others(spy: SpyRecord, call: CallRecord) -> bool:
    """Whether the spy may have to look for another call than the one it is on."""
    return _find_call(spy, call, ()) is None


def follows(spy: SpyRecord, call: CallRecord) -> bool:
    """Whether a change of the call concerns the spy."""
    if spy.call_id == call.id or (spy.follow == "agent" and spy.agent == call.agent):
        return True
    return spy.channel_id is not None and any(leg.id == spy.channel_id for leg in call.channels)


def find_target(call: CallRecord) -> LegRecord | None:
    """The leg through which a call is heard best: see above; None while nobody can be heard."""
    agents = [leg for leg in joined_legs(call) if leg.party == "agent"]
    if agents:
        return max(agents, key=joined_or_created_at)
    audible = legs_to_capture(call)
    customers = [leg for leg in audible if leg.party == "customer"]
    return next(iter(customers or audible), None)


def end_cause(state: str, q850: int) -> str:
    """Why the spy of a supervisor's phone is over that hung up while the spy was in `state`."""
    if state == "live":
        return "hung-up"
    return _CAUSES.get(q850, "no-answer")


def _voice(spy: SpyRecord) -> str:
    """The channel that brings the voice into its bridge: the microphone, or what taps the phone."""
    return voice_channel(spy) if spy.destination == BROWSER else names.build_phone_snoop_id(spy.id)


def place(spy: SpyRecord) -> str:
    """The supervisor's own channel among the listeners: the phone, or the seat of a page."""
    is_page = spy.destination == BROWSER
    return names.build_barge_channel_id(spy.id) if is_page else names.build_phone_id(spy.id)


def takes_seat(spy: SpyRecord) -> bool:
    """Whether a page is heard by the other listeners.

    All pages share one ear; on its seat this one hears the same, but for itself.
    """
    return spy.destination == BROWSER and spy.mode == "barge"


def _find_call(spy: SpyRecord, call: CallRecord, others: Sequence[CallRecord]) -> CallRecord | None:
    """The call that the spy is on now.

    When calls are joined, one of them ends and its channels live on in the other: then so does the
    spy.
    """
    candidates = [call, *(other for other in others if other.id != call.id)]
    live = [one for one in candidates if one.state != "ended" and _present(one)]
    if spy.follow == "channel":
        return next((one for one in live if spy.channel_id in _present(one)), None)
    if spy.follow == "agent" and spy.agent is not None:
        mine = (one for one in live if _agents_leg(one, spy.agent) is not None)
        return next(mine, None)
    if call in live:
        return call
    known = {leg.id for leg in legs_of(call)}
    return next((one for one in live if known & _present(one)), None)


def _find_target(spy: SpyRecord, call: CallRecord) -> LegRecord | None:
    if spy.follow == "channel":
        return next((leg for leg in live_legs(call) if leg.id == spy.channel_id), None)
    if spy.follow == "agent" and spy.agent is not None:
        return _agents_leg(call, spy.agent)
    return find_target(call)


def _agents_leg(call: CallRecord, agent: str) -> LegRecord | None:
    """The leg on which this agent talks, or talks next."""
    mine = [
        leg
        for leg in live_legs(call)
        if leg.party == "agent"
        and extension_of(leg) == agent
        and (leg.joined_at is not None or leg.state == "Up")
    ]
    return next(iter(mine), None)


def _company(target: LegRecord, call: CallRecord) -> tuple[str, ...]:
    """Who is in the target's bridge, halves of Local channels too."""
    together = [leg.id for leg in call.channels if leg.bridge_id == target.bridge_id]
    return tuple(id_ for id_ in together if target.bridge_id and id_ != target.id)


def _says(mode: Mode, target: LegRecord, call: CallRecord) -> tuple[str, ...]:
    if mode == "whisper":
        return (target.id,) if target.party == "agent" else ()
    if mode == "barge":
        return tuple(dict.fromkeys([target.id, *(leg.id for leg in joined_legs(call))]))
    return ()


def _present(call: CallRecord) -> set[str]:
    return {leg.id for leg in live_legs(call)}
