"""Calls, live and past, and the start of a recording."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from api.auth import get_if_visible, principal
from api.fields.calls import Call, CallList, CallQuery, call_fields
from api.fields.recordings import NewRecording, Recording, recording_fields
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.errors import CallEnded, NothingToRecord, PbxUnavailable, RecordingForbidden
from storage import states
from storage.catalogue import calls, decisions, recordings, spies
from storage.errors import BadCursor, NoSuchCall
from storage.permissions import CALLS_READ, RECORDINGS_CONTROL, SPIES_READ
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
        call_id, by=principal().name, layout=body.layout, format=body.format, tags=body.tags
    )
    fields = recording_fields(record, base_url())
    return answer(fields, 201, Location=fields["links"]["self"])


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
    return [
        call_fields(call, made[call.id], spying[call.id], said.get(call.id), position.get(call.id))
        for call in found
    ]
