"""The fields of call-backs, of numbers, and of the do-not-call list."""

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Name,
    Query,
    RefusedLine,
    Text,
    Time,
    fields_of,
    without_nul,
)
from storage.records import (
    CallbackRecord,
    CallbackState,
    DialCause,
    DialRecord,
    DialState,
    DoNotCall,
    Hours,
)

Weekday = Annotated[int, Field(ge=1, le=7)]
Retry = Annotated[int, Field(ge=60, le=604_800, description="seconds")]
Retries = Annotated[
    tuple[Retry, ...],
    Field(
        max_length=20,
        description="the waits before further attempts; default: those of the configuration",
    ),
]
Reason = Annotated[Text, Field(description="why the number may not be called")]
Note = Annotated[str, StringConstraints(max_length=1000), AfterValidator(without_nul)]
# In a URL a `+` that is not written as `%2B` arrives as a space.
SentNumber = Annotated[Text, AfterValidator(lambda text: re.sub("^ (?=[0-9])", "+", text))]
MOST_REFUSED = 1000


class LocalHours(Body):
    """Hours in the time zones of the number; they may be narrower than those of the service."""

    from_hour: int = Field(ge=0, le=23)
    to_hour: int = Field(ge=1, le=24, description="not at this hour")
    weekdays: tuple[Weekday, ...] | None = Field(
        None, min_length=1, max_length=7, description="1 is Monday; default: those of the service"
    )

    @model_validator(mode="after")
    def _is_some_time(self) -> "LocalHours":
        if self.from_hour >= self.to_hour:
            raise ValueError("from_hour must be before to_hour")
        return self

    def within(self, limits: Hours) -> Hours | None:
        """Return the hours as the recorder takes them, or None if they go beyond these limits."""
        weekdays = limits.weekdays if self.weekdays is None else self.weekdays
        is_within = limits.from_hour <= self.from_hour and self.to_hour <= limits.to_hour
        if not is_within or not set(weekdays) <= set(limits.weekdays):
            return None
        return Hours(self.from_hour, self.to_hour, tuple(sorted(set(weekdays))))


class NewCallback(Body):
    """A number to call back."""

    from_phone: Text = Field(
        alias="from", description="the phone that rings first", examples=["PJSIP/2001"]
    )
    to: Text = Field(
        description="a number, with or without its country code", examples=["12025550123"]
    )
    at: Time | None = Field(None, description="default: now. Outside the hours, the next open time")
    pbx: Name | None = Field(None, description="needed where several PBXs dial")
    name: Name | None = Field(None, description="the customer")
    note: Note | None = None
    call_id: Text | None = Field(None, description="the call that led to this call-back")
    recording_id: UUID | None = Field(None, description="a recording of that call")
    hours: LocalHours | None = Field(None, description="default: those of the configuration")
    retry_after_s: Retries | None = None


class CallbackQuery(ListQuery):
    """The parameters that select call-backs."""

    state: CallbackState | None = None
    number: SentNumber | None = None


class CallbackHours(Answer):
    """The local hours in which the number may be dialled."""

    from_hour: int
    to_hour: int
    weekdays: list[int]


class Callback(Answer):
    """A promise to call a number back."""

    id: UUID
    pbx: str
    phone: str = Field(alias="from", description="the phone that rings first")
    agent: str = Field(description="the agent whose phone it is")
    number: str = Field(alias="to", examples=["+12025550123"])
    name: str | None
    note: str | None
    call_id: str | None = Field(description="the call that led to this call-back")
    state: CallbackState
    cause: str | None = Field(
        description="why it waits: `outside-hours`, `agent-busy` and other `agent-…`, `in-call`"
        " (the customer is calling now), or the end of the last attempt. Why it has ended:"
        " `called-in` (the customer called by himself), `by-person`, `do-not-call`,"
        " `not-permitted`, `no-open-hours`, or the end of the last attempt"
    )
    at: Instant = Field(description="the time that was asked for")
    next_at: Instant | None = Field(description="the time of the next attempt; null at the end")
    attempts: int = Field(description="how often the number was dialled")
    hours: CallbackHours
    zones: list[str] = Field(description="the time zones in which the number may be: all are kept")
    retry_after_s: list[int]
    created_at: Instant
    created_by: str
    ended_at: Instant | None


class Attempt(Answer):
    """A call that a call-back set up."""

    call_id: str
    state: DialState
    cause: DialCause | None
    requested_at: Instant
    answered_at: Instant | None = Field(description="when the agent answered")
    talked_at: Instant | None = Field(description="when the number answered")
    ended_at: Instant | None


class CallbackWithDials(Callback):
    """A call-back with its calls, the newest first."""

    dials: list[Attempt]


class CallbackList(ListOf[Callback]):
    """One part of the list of call-backs."""


class NumberQuery(Query):
    """The PBX whose region reads a number without a country code."""

    pbx: Name | None = None


class Number(Answer):
    """A number as we read it, and whether a call-back may dial it now."""

    number: str = Field(examples=["+12025550123"])
    zones: list[str] = Field(description="the time zones in which it may be")
    is_open: bool = Field(description="whether all of these are within the hours now")
    opens_at: Instant | None = Field(description="the next open time; null if there is none")
    do_not_call: bool = Field(description="whether it is on the do-not-call list")


class NewListedNumber(Body):
    """A number that may not be called."""

    number: Text = Field(description="a number, with or without its country code")
    reason: Reason
    pbx: Name | None = Field(None, description="its region reads a number without a country code")


class ListedNumber(Answer):
    """A number of the do-not-call list."""

    number: str = Field(examples=["+12025550123"])
    reason: str
    created_at: Instant
    created_by: str


class ListedNumberList(ListOf[ListedNumber]):
    """One part of the do-not-call list, by number."""


class ListedNumberQuery(ListQuery):
    """The parameters that select numbers of the do-not-call list."""

    number: SentNumber | None = None


class ImportQuery(Query):
    """The reason of lines without one, and the PBX whose region reads their numbers."""

    reason: Text = "imported"
    pbx: Name | None = None


class Imported(Answer):
    """The result of an import."""

    added: int = Field(description="numbers that were not listed yet")
    known: int = Field(description="numbers that were listed, or that the file repeats")
    refused: list[RefusedLine] = Field(description="the first 1,000 lines without a number")
    refused_total: int


def callback_fields(record: CallbackRecord, zones: Collection[str]) -> dict[str, Any]:
    """Return the fields of a call-back."""
    return fields_of(Callback, record, zones=list(zones))


def callback_with_dials_fields(
    record: CallbackRecord, zones: Collection[str], dials: Sequence[DialRecord]
) -> dict[str, Any]:
    """Return the fields of a call-back with its calls."""
    made = [fields_of(Attempt, one) for one in dials]
    return fields_of(CallbackWithDials, record, zones=list(zones), dials=made)


def listed_number_fields(record: DoNotCall) -> dict[str, Any]:
    """Return the fields of a number of the do-not-call list."""
    return fields_of(ListedNumber, record)
