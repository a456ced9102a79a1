"""Conferences: open and end them, call people, take calls in, mute, hold and remove members."""

from functools import partial
from typing import Any, TypedDict
from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from api.auth import auditing_refusals, authorise, get_if_visible, principal
from api.errors import RequestInvalid
from api.fields.conferences import (
    ChangedConference,
    ChangedMember,
    Conference,
    ConferenceList,
    ConferenceQuery,
    Member,
    NewConference,
    NewMember,
    conference_fields,
    member_fields,
)
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.errors import (
    BadDestination,
    CallEnded,
    CannotDial,
    CannotTakeIn,
    ConferenceEnded,
    ConferenceLocked,
    ControlNotPermitted,
    NotANumber,
    NumberRefused,
    PbxUnavailable,
)
from storage.catalogue import conferences
from storage.errors import (
    BadCursor,
    ConferenceNameTaken,
    NoSuchCall,
    NoSuchConference,
    NoSuchMember,
)
from storage.permissions import CALLS_DIAL, CONFERENCES_CONTROL, CONFERENCES_READ
from storage.records import Actor, ConferenceRecord

operations = Operations("/api/v1", tag="conferences")


@operations.get(
    "/conferences",
    CONFERENCES_READ,
    json(ConferenceList),
    query=ConferenceQuery,
    errors=(BadCursor,),
)
def list_conferences(query: ConferenceQuery) -> Response:
    """List conferences, newest first: all open ones, or all that have ended.

    A member of a team sees the conferences that he opened, and those with agents of the team.
    """
    who = principal()
    with services().catalogue.begin() as tx:
        page = conferences.list_conferences(
            tx,
            states=[query.state],
            limit=query.limit,
            cursor=query.cursor,
            agents=who.agents,
            owner_id=who.id,
        )
        items = _fields_of(tx, *page.items)
    return answer({"items": items, "next_cursor": page.next_cursor})


@operations.get(
    "/conferences/<uuid:conference_id>",
    CONFERENCES_READ,
    json(Conference),
    errors=(NoSuchConference,),
)
def get_conference(conference_id: UUID) -> Response:
    """Get one conference and its members."""
    return _answer_one(_get_visible(conference_id))


@operations.post(
    "/conferences",
    CONFERENCES_CONTROL,
    {201: Reply("It is open.", Conference, headers={"Location": "the conference"})},
    body=NewConference,
    errors=(ConferenceNameTaken, ControlNotPermitted, PbxUnavailable),
    shown_once="pin",
)
def open_conference(body: NewConference) -> Response:
    """Open a conference, which has no member yet.

    It ends with its owner, or without one with its last member. A recording of it is one
    conversation of all members; a rule that forbids recording, or records by itself, comes first.
    People come in by `POST …/members`, or from the dialplan: `Stasis(earwitness,conference,NAME)`.
    """
    wanted = body.model_dump(exclude={"pbx"})
    with auditing_refusals("conference.open", body.name or ""):
        made = services().conferences.open(_choose_pbx(body.pbx), **wanted, **_caller())
    return _answer_one(made, 201, Location=f"{base_url()}/api/v1/conferences/{made.id}")


@operations.patch(
    "/conferences/<uuid:conference_id>",
    CONFERENCES_CONTROL,
    json(Conference, "The changed conference."),
    body=ChangedConference,
    errors=(NoSuchConference, ConferenceEnded, ControlNotPermitted, PbxUnavailable),
)
def change_conference(conference_id: UUID, body: ChangedConference) -> Response:
    """Lock a conference or admit people again; record it from now on, or no longer."""
    changed = _get_visible(conference_id)
    control = services().conferences
    with auditing_refusals("conference.change", conference_id):
        if body.locked is not None:
            changed = control.set_locked(conference_id, locked=body.locked, **_caller())
        if body.record is not None:
            changed = control.set_recorded(conference_id, recorded=body.record, **_caller())
    return _answer_one(changed)


@operations.delete(
    "/conferences/<uuid:conference_id>",
    CONFERENCES_CONTROL,
    json(Conference, "The conference, ended."),
    errors=(NoSuchConference, ControlNotPermitted, PbxUnavailable),
)
def end_conference(conference_id: UUID) -> Response:
    """End a conference and let everybody go. An ended conference does not change."""
    _get_visible(conference_id)
    with auditing_refusals("conference.end", conference_id):
        services().conferences.end(conference_id, **_caller())
    return _answer_one(_get_visible(conference_id))


@operations.post(
    "/conferences/<uuid:conference_id>/members",
    CONFERENCES_CONTROL,
    {201: Reply("The phone rings, or the call comes in.", Member)},
    body=NewMember,
    errors=(
        NoSuchConference,
        ConferenceEnded,
        ConferenceLocked,
        ControlNotPermitted,
        BadDestination,
        CannotDial,
        NotANumber,
        NumberRefused,
        NoSuchCall,
        CallEnded,
        CannotTakeIn,
        PbxUnavailable,
    ),
)
def add_member(conference_id: UUID, body: NewMember) -> Response:
    """Call a phone or a number into a conference, or take a live call in.

    An outside number needs the permission `calls.dial` too. A call that is taken in brings all who
    talk in it, without a gap in a recording: the answer is the first of these members. A phone
    that cannot be rung is a member who has left; `cause` says why.
    """
    _get_visible(conference_id)
    control, destination = services().conferences, body.destination
    if destination is not None and "/" not in destination:
        authorise(CALLS_DIAL)
    wanted = body.model_dump(exclude_none=True)
    with auditing_refusals("conference.invite", conference_id, **wanted):
        if destination is not None:
            made = control.invite(conference_id, destination, role=body.role, **_caller())
        else:
            made = control.take_in(conference_id, body.call_id or "", **_caller())[0]
    return answer(member_fields(made), 201)


@operations.patch(
    "/conferences/<uuid:conference_id>/members/<uuid:member_id>",
    CONFERENCES_CONTROL,
    json(Member, "The changed member."),
    body=ChangedMember,
    errors=(NoSuchConference, NoSuchMember, ControlNotPermitted, PbxUnavailable),
)
def change_member(conference_id: UUID, member_id: UUID, body: ChangedMember) -> Response:
    """Mute a member, or put it on hold with music.

    While nobody hears the member, no recording does either.
    """
    _get_visible(conference_id)
    with auditing_refusals("conference.change-member", conference_id):
        changed = services().conferences.change_member(
            conference_id, member_id, **body.model_dump(), **_caller()
        )
    return answer(member_fields(changed))


@operations.delete(
    "/conferences/<uuid:conference_id>/members/<uuid:member_id>",
    CONFERENCES_CONTROL,
    json(Member, "The member, who has left."),
    errors=(NoSuchConference, NoSuchMember, ControlNotPermitted, PbxUnavailable),
)
def remove_member(conference_id: UUID, member_id: UUID) -> Response:
    """Let a member go: hang up, or go on in the dialplan where it came from there."""
    _get_visible(conference_id)
    with auditing_refusals("conference.remove", conference_id):
        removed = services().conferences.remove_member(conference_id, member_id, **_caller())
    return answer(member_fields(removed))


def _get_visible(conference_id: UUID) -> ConferenceRecord:
    """Return a conference that the caller opened, or one with an agent whom the caller may see."""
    return get_if_visible(
        partial(conferences.get_conference, owner_id=principal().id), conference_id
    )


def _choose_pbx(name: str | None) -> str:
    """Return the PBX of this name, or the only one. Raises RequestInvalid."""
    known = services().settings.pbxs
    if name is None and len(known) != 1:
        raise RequestInvalid.at("body", "pbx", f"name one of {', '.join(known)}")
    if name is not None and name not in known:
        raise RequestInvalid.at("body", "pbx", f"expected one of {', '.join(known)}")
    return name or known[0]


class _Caller(TypedDict):
    by: Actor
    owner_id: UUID


def _caller() -> _Caller:
    """Return the arguments by which a command knows the caller, and asks for its right again."""
    return {"by": principal().actor, "owner_id": principal().token.id}


def _answer_one(record: ConferenceRecord, status: int = 200, **headers: str) -> Response:
    with services().catalogue.begin() as tx:
        (fields,) = _fields_of(tx, record)
    return answer(fields, status, **headers)


def _fields_of(tx: Connection, *found: ConferenceRecord) -> list[dict[str, Any]]:
    """Return the fields of these conferences: of an open one without those who have left."""
    with_pin = CONFERENCES_CONTROL in principal().permissions
    members = conferences.list_members(tx, [one.id for one in found])
    return [
        conference_fields(
            one,
            [
                member
                for member in members
                if member.conference_id == one.id
                and (one.state == "ended" or member.state != "left")
            ],
            with_pin=with_pin,
        )
        for one in found
    ]
