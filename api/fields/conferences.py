"""The fields of conferences and of their members."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from api.fields.base import Answer, Body, Instant, ListOf, ListQuery, Name, Text, fields_of
from storage.records import (
    ConferenceRecord,
    ConferenceState,
    Layout,
    MemberRecord,
    MemberRole,
    MemberState,
)

PIN = r"^[0-9]{3,12}$"


class QuietSpan(Answer):
    """A span of time in which nobody heard the member."""

    from_at: Instant = Field(alias="from")
    to_at: Instant | None = Field(alias="to", description="null while it lasts")


class Member(Answer):
    """A member of a conference: one person on one phone."""

    id: UUID
    conference_id: UUID
    call_id: str = Field(description="the member's call; it can be recorded and spied on")
    state: MemberState = Field(
        description="`requested`, `ringing`; `waiting` for the owner; `in`; `left`"
    )
    role: MemberRole = Field(
        description="the conference ends when its `owner` leaves; a `guest` waits for the owner"
    )
    destination: str | None = Field(
        description="the phone or number that we called; null for somebody who came by himself",
        examples=["PJSIP/2003", "+12025550123"],
    )
    number: str | None
    name: str | None
    muted: bool = Field(description="hears the others, and is heard by nobody")
    on_hold: bool = Field(description="hears music, and is heard by nobody")
    talking: bool = Field(description="whether the member speaks now")
    quiet: list[QuietSpan] = Field(description="when the member was muted or on hold")
    requested_at: Instant
    joined_at: Instant | None
    left_at: Instant | None
    cause: str | None = Field(description="why the member left; null before")


class Conference(Answer):
    """A conference that we hold on a PBX, and its members."""

    id: UUID
    pbx: str
    name: str = Field(description="unique among the open conferences of the PBX")
    state: ConferenceState
    record: bool
    layout: Layout | None = Field(description="of its recording; null: the layout of the rules")
    owner: str | None = Field(
        description="the phone of the owner, whom guests and the recording wait for",
        examples=["PJSIP/2001"],
    )
    has_pin: bool = Field(description="whether callers from the dialplan must know a PIN")
    pin: str | None = Field(description="null without `conferences.control`")
    locked: bool = Field(description="whether nobody else is admitted")
    announce: bool = Field(description="whether a sound says that somebody came or left")
    created_by: str
    started_at: Instant
    ended_at: Instant | None
    cause: str | None = Field(description="why it ended; null before")
    members: list[Member] = Field(
        description="those who are in or on their way; of an ended conference everybody"
    )


class ConferenceList(ListOf[Conference]):
    """One part of the list of conferences."""


class ConferenceQuery(ListQuery):
    """The parameters that select conferences."""

    state: ConferenceState = Field("open", description="`open` or `ended`")


class NewConference(Body):
    """The properties of a new conference."""

    name: Name | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="letters, digits, `-` and `_`: the dialplan names it so in"
        " `Stasis(earwitness,conference,NAME)`; default: made from its id",
        examples=["monday"],
    )
    record: bool = Field(
        False, description="record it as one conversation, unless a rule forbids or decides"
    )
    layout: Layout | None = Field(
        None, description="of the recording: `dual`, `mono`, or `tracks`: one for each person"
    )
    owner: Text | None = Field(
        None,
        description="the phone whose member is the owner: guests and the recording wait for it, and"
        " the conference ends with it",
        examples=["PJSIP/2001"],
    )
    pbx: Name | None = Field(None, description="needed if several PBXs are configured")
    pin: str | None = Field(
        None, pattern=PIN, description="3 to 12 digits that callers must key", examples=["4711"]
    )
    locked: bool = Field(False, description="admit nobody from the dialplan")
    announce: bool = Field(False, description="play a sound when somebody comes or leaves")


class ChangedConference(Body):
    """The properties to change."""

    locked: bool | None = Field(None, description="whether nobody else is admitted")
    record: bool | None = Field(None, description="whether it is recorded from now on")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        _require_one(self)
        return self


class NewMember(Body):
    """A phone or a number to call, or a live call to take in."""

    destination: Text | None = Field(
        None,
        description="a phone, or an outside number, which needs `calls.dial` too",
        examples=["PJSIP/2003", "12025550123"],
    )
    call_id: Text | None = Field(
        None,
        description="a live call: both of its people come in without a gap in a recording",
        examples=["main-1795424777.0"],
    )
    role: MemberRole | None = Field(
        None,
        description="default: `owner` for the owner's phone; all others are a `guest` where the"
        " conference has an owner, else a `member`",
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.destination is None) == (self.call_id is None):
            raise ValueError("give either `destination` or `call_id`")
        return self


class ChangedMember(Body):
    """The properties to change."""

    muted: bool | None = Field(None, description="nobody hears the member, who hears the others")
    on_hold: bool | None = Field(None, description="the member hears music, and nobody hears him")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        _require_one(self)
        return self


def member_fields(record: MemberRecord) -> dict[str, Any]:
    """Return the fields of a member."""
    return fields_of(Member, record, quiet=[_span(*span) for span in record.quiet])


def conference_fields(
    record: ConferenceRecord, members: Iterable[MemberRecord], *, with_pin: bool
) -> dict[str, Any]:
    """Return the fields of a conference, with its PIN only if `with_pin`."""
    return fields_of(
        Conference,
        record,
        has_pin=record.pin is not None,
        pin=record.pin if with_pin else None,
        members=[member_fields(one) for one in members],
    )


def _span(from_at: datetime, to_at: datetime | None) -> dict[str, datetime | None]:
    return {"from": from_at, "to": to_at}


def _require_one(body: Body) -> None:
    if not body.model_dump(exclude_none=True):
        raise ValueError("name a property to change")
