"""Calls, live and past; calls that we set up; and the start of a recording."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Response, request
from sqlalchemy import Connection

from api.auth import auditing_refusals, get_if_visible, principal
from api.errors import RequestInvalid
from api.fields.calls import Call, CallList, CallQuery, NewCall, call_fields
from api.fields.recordings import NewRecording, Recording, recording_fields
from api.idempotency import HEADER
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.dialling.dialler import DialRequest
from recorder.errors import (
    BadDestination,
    CallEnded,
    CannotDial,
    CannotHangUp,
    NotANumber,
    NothingToRecord,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
    RecordingForbidden,
)
from storage import states
from storage.catalogue import calls, decisions, dials, recordings, spies
from storage.errors import BadCursor, NoSuchCall
from storage.permissions import CALLS_DIAL, CALLS_READ, RECORDINGS_CONTROL, SPIES_READ
from storage.records import CallRecord

operations = Operations("/api/v1", tag="calls")

LIVE = ("ringing", "up")


@operations.get("/calls", CALLS_READ, json(CallList), query=CallQuery, errors=(BadCursor,))
def list_calls(query: CallQuery) -> Response:
    """List calls, newest first: all live calls, or all calls in one state."""
    wanted = [query.state] if query.state else LIVE
    with services().catalogue.begin() as tx:
        page = calls.list_calls(
            tx, states=wanted, limit=query.limit, cursor=query.cursor, agents=principal().agents
        )
        items = _fields_of(tx, page.items)
    return answer({"items": items, "next_cursor": page.next_cursor})


@operations.get("/calls/<call_id:call_id>", CALLS_READ, json(Call), errors=(NoSuchCall,))
def get_call(call_id: str) -> Response:
    """Get one call."""
    call = get_if_visible(calls.get_call, call_id)
    with services().catalogue.begin() as tx:
        (fields,) = _fields_of(tx, [call])
    return answer(fields)


@operations.post(
    "/calls/<call_id:call_id>/recordings",
    RECORDINGS_CONTROL,
    {201: Reply("The recording has started.", Recording, headers={"Location": "the recording"})},
    body=NewRecording,
    errors=(NoSuchCall, CallEnded, NothingToRecord, RecordingForbidden, PbxUnavailable),
)
def start_recording(call_id: str, body: NewRecording) -> Response:
    """Start recording a call."""
    get_if_visible(calls.get_call, call_id)
    record = services().capture.start(
        call_id, by=principal().actor, layout=body.layout, format=body.format, tags=body.tags
    )
    fields = recording_fields(record, base_url())
    return answer(fields, 201, Location=fields["links"]["self"])


@operations.post(
    "/calls",
    CALLS_DIAL,
    {
        201: Reply(
            "The phone rings, or the call has ended with a cause in `dial`.",
            Call,
            headers={"Location": "the call"},
        )
    },
    body=NewCall,
    errors=(
        CannotDial,
        BadDestination,
        NotANumber,
        NumberRefused,
        PhoneBusy,
        PhoneNotPermitted,
        PbxUnavailable,
    ),
)
def dial(body: NewCall) -> Response:
    """Ring a phone, and call a number once the phone is answered.

    The phone shows the number and "Click to dial". The PBX dials the number by the context
    `dial_context` of its dialplan, which chooses the trunk and the number that the customer sees.
    An agent dials from its own phone, a supervisor from the phones of the team. With an
    `Idempotency-Key`, a repeat never rings a second time.
    """
    if body.announce is not None and not body.record:
        raise RequestInvalid.at("body", "announce", "needs `record`")
    dialler, key = services().dialler, request.headers.get(HEADER)
    with auditing_refusals("call.dial", body.from_phone, to=body.to):
        made = dialler.dial(
            DialRequest(
                pbx=dialler.choose_pbx(body.pbx),
                phone=body.from_phone,
                number=body.to,
                record=body.record,
                announce=body.announce,
                key=f"{principal().token.id} {key}" if key is not None else None,
            ),
            by=principal().actor,
            owner_id=principal().token.id,
        )
    return answer_dialled(made.call_id)


@operations.delete(
    "/calls/<call_id:call_id>",
    CALLS_DIAL,
    json(Call, "The call, as it was hung up."),
    errors=(NoSuchCall, CannotHangUp, PbxUnavailable),
)
def hang_up(call_id: str) -> Response:
    """Hang up a call that we set up: the phone that dialled, and the number with it.

    An ended call does not change. Nothing but a dialled call is hung up.
    """
    get_if_visible(calls.get_call, call_id)
    with services().catalogue.begin() as tx:
        found = dials.map_dials_of_calls(tx, [call_id]).get(call_id)
    if found is None:
        raise CannotHangUp("the call was not dialled here")
    services().dialler.hang_up(found.id, by=principal().actor)
    return answer(_get_fields(call_id))


def answer_dialled(call_id: str) -> Response:
    """Answer with a call that was dialled now."""
    return answer(_get_fields(call_id), 201, Location=f"{base_url()}/api/v1/calls/{call_id}")


def _get_fields(call_id: str) -> dict[str, Any]:
    """Return the fields of a call as it is now. Raises NoSuchCall."""
    with services().catalogue.begin() as tx:
        (fields,) = _fields_of(tx, [calls.get_call(tx, call_id)])
        return fields


def _fields_of(tx: Connection, found: Sequence[CallRecord]) -> list[dict[str, Any]]:
    """Return the fields of these calls.

    A live call shows its running recordings and spies, an ended call all of them. Without
    `spies.read` the list of spies is empty: an agent must not learn of a listener.
    """
    ended = {call.id: call.state == "ended" for call in found}
    made: dict[str, list[UUID]] = {call_id: [] for call_id in ended}
    spying: dict[str, list[UUID]] = {call_id: [] for call_id in ended}
    for recording in recordings.list_recordings_of_calls(tx, ended):
        if ended[recording.call_id] or recording.state in states.LIVE:
            made[recording.call_id].append(recording.id)
    if SPIES_READ in principal().permissions:
        for spy in spies.list_spies_of_calls(tx, ended, live_only=False):
            if ended[spy.call_id] or spy.state in states.SPY_LIVE:
                spying[spy.call_id].append(spy.id)
    said = {one.call_id: one for one in decisions.list_decisions(tx, ended)}
    position = calls.find_positions(tx, found)
    dialled = dials.map_dials_of_calls(tx, [call.id for call in found if call.trigger is not None])
    return [
        call_fields(
            call,
            made[call.id],
            spying[call.id],
            said.get(call.id),
            position=position.get(call.id),
            dial=dialled.get(call.id),
        )
        for call in found
    ]
