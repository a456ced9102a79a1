"""The fields of rules, and of trials of rules."""

from collections.abc import Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    Name,
    Query,
    Seconds,
    Tag,
    Time,
    fields_of,
    without_nul,
)
from recorder.rules import FIELDS, HEADER, SOUND, VARIABLE
from storage.records import (
    BulkState,
    DefaultAction,
    Origin,
    RuleRecord,
    RuleTerms,
    TrialChange,
    TrialRecord,
    TrialResult,
)

# A result holds the first changed calls; the list of a trial has them all.
MOST_CHANGES = 100
# The conditions of a trial are compiled within the request: about 6 ms for 1,000 characters.
MOST_TRIED = 65_536

# A name goes into `CHANNEL()` and `PJSIP_HEADER()`, so it must not be a dialplan function.
VariableName = Annotated[str, StringConstraints(pattern=VARIABLE)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER)]


class Terms(RuleTerms):
    """The condition of a rule, and its action on the calls that match."""

    name: Name
    when: Annotated[str, AfterValidator(without_nul)] = Field(
        "",
        max_length=4096,
        description="CEL over the fields of a call: "
        + ", ".join(f"`{name}` {type_}" for name, type_ in FIELDS.items())
        + "; an unknown text is empty, `hour` and `weekday` (1 is Monday) are in the rule's time"
        " zone, see docs/rules.md; an empty condition matches every call",
        examples=['direction == "inbound" && did == "3000"'],
    )
    variables: tuple[VariableName, ...] = Field(
        (), max_length=32, description="channel variables that `when` reads"
    )
    headers: tuple[HeaderName, ...] = Field(
        (), max_length=32, description="SIP headers that `when` reads"
    )
    tags: tuple[Tag, ...] = Field((), max_length=32)
    announcement: str | None = Field(
        None,
        pattern=SOUND,
        max_length=200,
        description="a sound before the recording starts, also for a party who joins later",
        examples=["sound:this-call-may-be-recorded"],
    )


class Rule(Terms):
    """One version of a rule."""

    id: str
    version: int
    origin: Origin = Field(description="`config`: only the configuration can change it")
    changed_at: Instant | None
    changed_by: str | None
    deleted: bool


class RuleList(ListOf[Rule]):
    """One part of the list of rules, in the order of their evaluation."""


class RuleVersionList(ListOf[Rule]):
    """One part of the list of a rule's versions, newest first."""


class ChangedCall(Answer):
    """A call that the draft rules decide differently."""

    call_id: str
    before: str | None = Field(description="the rule or the trigger; null: not recorded")
    after: str | None = Field(description="the rule or `default`; null: not recorded")


class RuleTrialResult(Answer):
    """The result of draft rules on past calls."""

    trial_id: UUID | None = Field(
        description="the trial whose `changes` list all changed calls; null: they are all here"
    )

    from_at: Instant = Field(alias="from")
    to_at: Instant = Field(alias="to")
    complete: bool = Field(
        description="false: too many calls; `from` is the start of the oldest examined call"
    )
    calls: int = Field(
        description="the number of conversations, and of other calls that were or would be recorded"
    )
    recorded: int
    recorded_before: int
    audio_s: Seconds
    audio_s_per_month: Seconds
    bytes_per_month: int = Field(description="an estimate, from the stored bytes per second")
    changed: int
    changes: list[ChangedCall] = Field(description="the first 100 changed calls, newest first")


class ChangedCallList(ListOf[ChangedCall]):
    """One part of the list of the calls that a trial changes, newest first."""


class RuleTrial(Answer):
    """A trial of draft rules in the background, with its progress."""

    id: UUID
    state: BulkState
    reason: str | None = Field(description="the code of the failure, an `error_id`")
    done: int = Field(description="the number of examined calls")
    total: int = Field(description="the number of calls to examine; 0 while it waits")
    created_by: str
    created_at: Instant
    ended_at: Instant | None
    result: RuleTrialResult | None = Field(description="null until the trial is done")


class NewRule(Terms):
    """A new rule; a layout or format that is not given comes from the configuration."""


class ChangedRule(Terms):
    """The whole rule in its next version."""

    version: int = Field(ge=1, description="the version on which the change is based")


class RuleTest(Body):
    """Draft rules, and the time of the calls; the default is the last 30 days."""

    rules: list[NewRule] = Field(max_length=100)
    default: DefaultAction = "never"
    from_at: Time | None = Field(None, alias="from")
    to_at: Time | None = Field(None, alias="to")

    @model_validator(mode="after")
    def _is_compiled_soon(self) -> Self:
        if sum(len(rule.when) for rule in self.rules) > MOST_TRIED:
            raise ValueError(
                f"the conditions of all drafts are longer than {MOST_TRIED} characters"
            )
        return self


class VersionQuery(Query):
    """The version of a rule; the default is the newest."""

    version: int | None = Field(None, ge=1)


def rule_fields(record: RuleRecord) -> dict[str, Any]:
    """Return the fields of a rule."""
    return fields_of(Rule, record)


def result_fields(
    result: TrialResult, changes: Sequence[TrialChange], trial_id: UUID | None
) -> dict[str, Any]:
    """Return the fields of a result with the first changed calls."""
    first = [change_fields(one) for one in changes[:MOST_CHANGES]]
    return fields_of(RuleTrialResult, result, trial_id=trial_id, changes=first)


def trial_fields(record: TrialRecord, changes: Sequence[TrialChange]) -> dict[str, Any]:
    """Return the fields of a trial, with its result if it is done."""
    result = record.result and result_fields(record.result, changes, record.id)
    return fields_of(RuleTrial, record, result=result)


def change_fields(change: TrialChange) -> dict[str, Any]:
    """Return the fields of a changed call."""
    return fields_of(ChangedCall, change)
