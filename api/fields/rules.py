"""The fields of rules: their schema, and how they are made."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from api.fields.base import (
    Answer,
    Body,
    Exact,
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
from recorder.rules.trial import Trial
from storage.records import (
    Action,
    AnnounceTo,
    Begins,
    DefaultAction,
    Format,
    Layout,
    Origin,
    RuleRecord,
)

# What `CHANNEL()` and `PJSIP_HEADER()` are asked for must not be a function of its own.
VariableName = Annotated[str, StringConstraints(pattern=VARIABLE)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER)]


class Terms(Exact):
    """Which calls a rule is for, and what is done with them."""

    name: Name
    when: Annotated[str, AfterValidator(without_nul)] = Field(
        "",
        max_length=4096,
        description="CEL over the fields of a call: "
        + ", ".join(f"`{name}` {type_}" for name, type_ in FIELDS.items())
        + "; a text that is not known is empty, `hour` and `weekday` (1 is Monday) are in the"
        " rule's time zone, see docs/rules.md; empty for every call",
        examples=['direction == "inbound" && did == "3000"'],
    )
    action: Action = Field(
        description="`force` and `never` beat everything, the first of them by priority; then the"
        " first `record`, then the first `on_demand`"
    )
    priority: int = Field(100, ge=-1_000_000, le=1_000_000, description="lower is asked first")
    enabled: bool = True
    begins: Begins = Field("answer", description="`ringing`: as soon as anything can be heard")
    sample_percent: float = Field(100, ge=0, le=100, description="the share of calls that match")
    variables: tuple[VariableName, ...] = Field(
        (), max_length=32, description="channel variables that `when` reads"
    )
    headers: tuple[HeaderName, ...] = Field(
        (), max_length=32, description="SIP headers that `when` reads"
    )
    timezone: str = Field("UTC", max_length=64, description="of `hour` and `weekday`")
    layout: Layout | None = None
    format: Format | None = None
    retention_days: int | None = Field(None, ge=1, le=36_500)
    tags: tuple[Tag, ...] = Field((), max_length=32)
    announcement: str | None = Field(
        None,
        pattern=SOUND,
        max_length=200,
        description="heard before the recording begins, and by who joins later",
        examples=["sound:this-call-may-be-recorded"],
    )
    announce_to: AnnounceTo = "customer"
    beep_every_s: int = Field(0, ge=0, le=3600, description="0: no beep")


class Rule(Terms):
    """Which calls are recorded, and how: one version of a rule."""

    id: str
    version: int
    origin: Origin = Field(description="those of the configuration stay there")
    changed_at: Instant | None
    changed_by: str | None
    deleted: bool


class RuleList(ListOf[Rule]):
    """A page of rules, in the order in which they are asked."""


class RuleVersionList(ListOf[Rule]):
    """A page of the versions of a rule, the newest first."""


class ChangedCall(Answer):
    """A call with which something else would have been done."""

    call_id: str
    before: str | None = Field(description="the rule, or the trigger; null: not recorded")
    after: str | None = Field(description="the rule, or `default`; null: not recorded")


class RuleTrial(Answer):
    """What draft rules would have recorded of past calls."""

    from_at: Instant = Field(alias="from")
    to_at: Instant = Field(alias="to")
    complete: bool = Field(
        description="false: more calls than could be looked at; `from` is when the oldest began"
    )
    calls: int = Field(description="so many were looked at, the newest")
    recorded: int
    recorded_before: int
    audio_s: Seconds
    audio_s_per_month: Seconds
    bytes_per_month: int = Field(description="by what a second takes in the store so far")
    changed: int
    changes: list[ChangedCall] = Field(description="the first hundred")


class NewRule(Terms):
    """A rule; what is not given is left to the configuration."""


class ChangedRule(Terms):
    """The whole rule as it shall be."""

    version: int = Field(ge=1, description="the version that the change was made on")


class RuleTest(Body):
    """Draft rules, and the calls to try them on; by default those of the last 30 days."""

    rules: list[NewRule] = Field(max_length=100)
    default: DefaultAction = "never"
    from_at: Time | None = Field(None, alias="from")
    to_at: Time | None = Field(None, alias="to")


class VersionQuery(Query):
    """Which version; the newest where none is given."""

    version: int | None = Field(None, ge=1)


def rule_fields(record: RuleRecord) -> dict[str, Any]:
    """A rule as it is answered."""
    return fields_of(Rule, record)


def trial_fields(trial: Trial) -> dict[str, Any]:
    """A trial as it is answered."""
    changes = [fields_of(ChangedCall, one) for one in trial.changes]
    return fields_of(RuleTrial, trial, changes=changes)
