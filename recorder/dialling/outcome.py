"""The progress and the end of a dialled call, from the events of its channels. Pure.

    observe(outcome, event, channel)  →  the outcome with this event
    state_of(outcome, call)           →  requested, ringing, dialling, up or ended
    cause_of(outcome, call)           →  why the call ended, in a word that a person understands

Both the status of Dial() and the hang-up causes of the channels count. Dial() itself reports a
refused call and an unknown number as `NOANSWER`; the cause of the channel says more, by the numbers
of Q.850. A person who hangs up while the number rings gives `CANCEL`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from recorder import ari
from storage.records import CallRecord, DialCause, DialState

_UNKNOWN_NUMBER, _UNREACHABLE, _CONGESTED = (1, 22, 28), (2, 3, 20, 27), (34, 38, 41, 42, 44, 47)
_BUSY, _DECLINED, _UNANSWERED = 17, 21, (18, 19, 102)
_OF_NUMBER: Mapping[int, DialCause] = {
    **dict.fromkeys(_UNKNOWN_NUMBER, "wrong-number"),
    **dict.fromkeys(_UNREACHABLE, "unreachable"),
    **dict.fromkeys(_CONGESTED, "congestion"),
    **dict.fromkeys(_UNANSWERED, "no-answer"),
    _BUSY: "busy",
    _DECLINED: "declined",
}
_OF_AGENT: Mapping[int, DialCause] = {
    **dict.fromkeys((*_UNKNOWN_NUMBER, *_UNREACHABLE, *_CONGESTED), "agent-unreachable"),
    **dict.fromkeys(_UNANSWERED, "agent-no-answer"),
    _BUSY: "agent-busy",
    _DECLINED: "agent-declined",
}
_STATUS_OF_NUMBER: Mapping[str, DialCause] = {
    "ANSWER": "ended",
    "BUSY": "busy",
    "CANCEL": "cancelled",
    "CHANUNAVAIL": "unreachable",
    "CONGESTION": "congestion",
    "DONTCALL": "declined",
    "NOANSWER": "no-answer",
    "TORTURE": "declined",
}
# A phone that forwards the call elsewhere ends as `CANCEL`: we follow no forwarding.
_STATUS_OF_AGENT: Mapping[str, DialCause] = {
    "BUSY": "agent-busy",
    "CANCEL": "agent-unreachable",
    "CHANUNAVAIL": "agent-unreachable",
    "CONGESTION": "agent-unreachable",
    "NOANSWER": "agent-no-answer",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The facts of a dialled call that its record lacks.

    `agent_…` are those of the phone that rings first, before it answers; the others are those of
    the number. `has_ended` is true once a channel of the call has ended before our eyes.
    """

    rang: bool = False
    answered_at: datetime | None = None
    agent_status: str = ""
    agent_q850: int = 0
    status: str = ""
    q850: int = 0
    has_ended: bool = False


def observe(outcome: Outcome, event: ari.Event, channel_id: str) -> Outcome:
    """Return the outcome with an event of the call; `channel_id` is that of the agent's phone."""
    match event:
        case ari.ChannelStateChange(channel=channel) if channel.id == channel_id:
            return _with_state(outcome, channel.state, event.at)
        case ari.Dial(peer=peer, dialstatus="ANSWER") if peer.id == channel_id:
            return _with_state(outcome, "Up", event.at)
        case ari.Dial(peer=peer, dialstatus=status) if peer.id == channel_id:
            return replace(outcome, agent_status=status or outcome.agent_status)
        case ari.Dial(caller=ari.Channel(), dialstatus=status):
            return _with_status(outcome, status)
        case ari.ChannelDestroyed(channel=channel, cause=q850):
            return _with_q850(outcome, q850, is_phone=channel.id == channel_id)
    return outcome


def state_of(outcome: Outcome, call: CallRecord) -> DialState:
    """Return the state of the dial whose call this is."""
    if call.state == "ended":
        return "ended"
    if call.talked_at is not None:
        return "up"
    if outcome.answered_at is not None:
        return "dialling"
    return "ringing" if outcome.rang else "requested"


def cause_of(outcome: Outcome, call: CallRecord) -> DialCause:
    """Return why the call ended; `pbx-lost` where nobody saw its end, for example after a crash."""
    if call.talked_at is not None:
        return "ended"
    if not outcome.has_ended:
        return "pbx-lost"
    if outcome.answered_at is None:
        unknown: DialCause = "agent-no-answer" if outcome.rang else "agent-unreachable"
        by_status = _STATUS_OF_AGENT.get(outcome.agent_status, unknown)
        return _OF_AGENT.get(outcome.agent_q850, by_status)
    if outcome.status == "CANCEL":
        return "cancelled"
    by_status = _STATUS_OF_NUMBER.get(outcome.status, "unreachable")
    return _OF_NUMBER.get(outcome.q850, by_status)


def _with_state(outcome: Outcome, state: str, at: datetime) -> Outcome:
    if state == "Up":
        return replace(outcome, rang=True, answered_at=outcome.answered_at or at)
    return replace(outcome, rang=True) if state == "Ringing" else outcome


def _with_status(outcome: Outcome, status: str) -> Outcome:
    """Return the outcome with a status of Dial(); an empty one is the start of another way."""
    if not status:
        return replace(outcome, status="", q850=0)
    return replace(outcome, status=status) if status in _STATUS_OF_NUMBER else outcome


def _with_q850(outcome: Outcome, q850: int, *, is_phone: bool) -> Outcome:
    ended = replace(outcome, has_ended=True)
    if outcome.answered_at is None:
        return replace(ended, agent_q850=q850) if is_phone else ended
    return replace(ended, q850=q850) if q850 in _OF_NUMBER else ended
