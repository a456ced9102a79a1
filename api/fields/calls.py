"""The fields of calls, of the decisions on them, and of calls without their recording."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Name,
    Person,
    Query,
    Seconds,
    Text,
    fields_of,
    party_fields,
)
from recorder.rules.facts import SOUND
from storage.records import (
    Action,
    Activity,
    Assurance,
    CallRecord,
    CallState,
    CallTrigger,
    DecisionRecord,
    DialCause,
    DialRecord,
    DialState,
    Direction,
)


class Channel(Answer):
    """One Asterisk channel of a call."""

    id: str
    name: str
    state: str = Field(description="the state as Asterisk names it, such as `Ring` or `Up`")
    party: str | None = Field(description="its owner: `customer`, `agent` or `supervisor`")
    number: str | None
    caller_name: str | None = Field(description="the party's name")


class RuleName(Answer):
    """One version of a rule."""

    id: str
    version: int
    name: str


class RuleAnswer(Answer):
    """The answer of one rule."""

    rule_id: str
    version: int
    name: str
    action: Action
    answer: Literal["matched", "not-matched", "sampled-out", "not-yet", "error"]
    detail: str = Field(description="the message of an `error`, else empty")


class Moment(Answer):
    """One evaluation of the rules: its occasion, the facts, each rule's answer, the winner."""

    at: Instant
    moment: str = Field(
        description="the occasion: `begin`, `answer`, `queue`, `agent`, `transfer`, `change` or"
        " `time`"
    )
    facts: dict[str, Any] = Field(description="the fields of the call as the rules saw them")
    asked: list[RuleAnswer]
    action: Action
    rule: RuleName | None
    reason: str = Field(description="`rule-decided` or `no-rule-matched`")


class Decision(Answer):
    """The decision of the rules on a call."""

    action: Action
    rule: RuleName | None = Field(description="the rule that won; null for the default")
    reason: str = Field(description="`rule-decided` or `no-rule-matched`")
    announced: list[str] = Field(description="channels whose parties heard the announcement")
    moments: list[Moment]


class Waiting(Answer):
    """The place of a caller in a queue."""

    queue: str
    since: Instant
    position: int | None = Field(
        description="1 is the next caller; it counts all calls that wait in this queue of the PBX"
    )


class DialProgress(Answer):
    """The progress of a call that we set up."""

    state: DialState = Field(
        description="`requested`; `ringing`: the agent's phone rings; `dialling`: the agent has"
        " answered, the number rings; `up`: both talk; `ended`"
    )
    phone: str = Field(description="the agent's phone", examples=["PJSIP/2001"])
    number: str = Field(description="the dialled number", examples=["+12025550123"])
    cause: DialCause | None = Field(
        description="the reason of the end: `ended` after a talk; `cancelled`: hung up before the"
        " answer; `agent-…`: the number was never dialled; else the answer of the number"
    )
    by: str = Field(description="the token or person that dialled")
    answered_at: Instant | None = Field(description="when the agent answered")
    talked_at: Instant | None = Field(description="when the number answered")
    callback_id: UUID | None
    campaign_id: UUID | None


class Call(Answer):
    """One call, as Asterisk links its channels."""

    id: str = Field(examples=["main-1795424777.0"])
    pbx: str
    state: CallState
    direction: Direction
    caller: Person
    callee: Person
    did: str | None = Field(description="the number that was dialled from outside")
    queue: str | None
    agent: str | None
    started_at: Instant
    answered_at: Instant | None
    ended_at: Instant | None
    talking: bool = Field(
        description="whether two people hear each other now; a caller in a queue or a menu does not"
        " talk, although the state is `up`"
    )
    activity: Activity | None = Field(
        description="`ringing`; `waiting` in a queue; `menu`: one person alone, also in an empty"
        " conference; `talking`; `on_hold`; `conference`: three people or more; null after the end"
    )
    people: int = Field(
        description="how many people hear each other now, those of joined calls too"
    )
    joined: list[str] = Field(
        description="the ids of the other calls in the same conversation now: after an attended"
        " transfer, or in a conference; also of calls that the caller may not see"
    )
    waiting: Waiting | None = Field(description="null unless the caller waits in a queue")
    channels: list[Channel]
    recordings: list[UUID] = Field(
        description="the running recordings of a live call; all recordings of an ended call"
    )
    spies: list[UUID] = Field(
        description="the running spies on a live call; all spies on an ended call; empty for a"
        " token without `spies.read`"
    )
    trigger: CallTrigger | None = Field(description="`dialled`: we set the call up")
    dial: DialProgress | None = Field(description="null for a call that we did not set up")
    decision: Decision | None = Field(
        description="the reason why the call is recorded or not; null before the first evaluation"
    )


class CallList(ListOf[Call]):
    """One part of the list of calls."""


class MissingRecording(Answer):
    """An ended call whose recording is missing or too short."""

    call_id: str
    agent: str | None
    started_at: Instant
    ended_at: Instant | None
    expected_s: Seconds = Field(description="the expected length of the recording")
    covered_s: Seconds = Field(description="the recorded part of it")
    cause: str = Field(
        description="`never-began`, `has-gaps`, or the `reason` or `state` of the last recording"
    )


class MissingList(ListOf[MissingRecording]):
    """One part of the list of missing recordings."""


class CallQuery(ListQuery):
    """The parameters that select calls."""

    state: CallState | None = Field(None, description="default: every live call")


class NewCall(Body):
    """A call to set up."""

    from_phone: Text = Field(
        alias="from", description="the phone that rings first", examples=["PJSIP/2001"]
    )
    to: Text = Field(
        description="a number, with or without its country code", examples=["12025550123"]
    )
    pbx: Name | None = Field(None, description="needed where several PBXs dial")
    record: bool = Field(
        False,
        description="record the call from the answer of the number on; a rule that forbids it wins",
    )
    announce: str | None = Field(
        None,
        pattern=SOUND,
        max_length=200,
        description="a sound that the number hears before its recording starts; needs `record`",
        examples=["sound:this-call-may-be-recorded"],
    )


class DialplanQuery(Query):
    """The channel of a call, and the action on its recording."""

    channel: Text = Field(description="`${CHANNEL(name)}`", examples=["PJSIP/trunk-00000001"])
    action: Literal["start", "stop", "pause", "resume", "decide"]
    pbx: Text | None = Field(None, description="the PBX of the channel, if several have such a one")


def call_fields(
    record: CallRecord,
    recordings: Sequence[UUID],
    spies: Sequence[UUID],
    decision: DecisionRecord | None,
    *,
    position: int | None = None,
    dial: DialRecord | None = None,
) -> dict[str, Any]:
    """Return the fields of a call; `position` is its place in the queue."""
    waiting = {"queue": record.queue, "since": record.waiting_since, "position": position}
    return fields_of(
        Call,
        record,
        **party_fields(record),
        joined=[*record.joined],
        waiting=waiting if record.is_waiting else None,
        channels=[fields_of(Channel, channel) for channel in record.channels],
        recordings=recordings,
        spies=spies,
        dial=fields_of(DialProgress, dial, by=dial.created_by) if dial is not None else None,
        decision=fields_of(Decision, decision) if decision is not None else None,
    )


def missing_fields(call: CallRecord, found: Assurance) -> dict[str, Any]:
    """Return the fields of a missing recording."""
    measured = {"expected_s": found.expected_s, "covered_s": found.covered_s, "cause": found.cause}
    return fields_of(MissingRecording, call, call_id=call.id, **measured)
