"""Calls, live and past; and to start recording one."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from api.auth import asker
from api.fields import (
    Call,
    CallPage,
    CallQuery,
    NewRecording,
    Recording,
    call_fields,
    page_fields,
    recording_fields,
)
from api.links import base_url
from api.operation import Operations, Told, answer, json
from api.parts import parts
from api.permissions import CALLS_READ, RECORDINGS_CONTROL
from storage import states
from storage.catalogue import calls, recordings
from storage.errors import BadCursor, CallEnded, NoSuchCall, NothingToRecord, PbxUnavailable
from storage.records import CallRecord

operations = Operations("/api/v1", tag="calls")

LIVE = ("ringing", "up")


@operations.get("/calls", CALLS_READ, json(CallPage), query=CallQuery, errors=(BadCursor,))
def list_calls(query: CallQuery) -> Response:
    """List calls, newest first: those that live, or those in one state."""
    wanted = [query.state] if query.state else LIVE
    with parts().catalogue.begin() as tx:
        page = calls.list_calls(
            tx, states=wanted, limit=query.limit, cursor=query.cursor, agents=asker().agents
        )
        made = _recordings_of(tx, page.items)
    return answer(page_fields(page, [call_fields(call, made[call.id]) for call in page.items]))


@operations.get("/calls/<call_id:call_id>", CALLS_READ, json(Call), errors=(NoSuchCall,))
def get_call(call_id: str) -> Response:
    """Tell one call."""
    with parts().catalogue.begin() as tx:
        call = calls.get_call(tx, call_id, agents=asker().agents)
        made = _recordings_of(tx, [call])
    return answer(call_fields(call, made[call.id]))


@operations.post(
    "/calls/<call_id:call_id>/recordings",
    RECORDINGS_CONTROL,
    {201: Told("The recording has begun.", Recording, headers={"Location": "the recording"})},
    body=NewRecording,
    errors=(NoSuchCall, CallEnded, NothingToRecord, PbxUnavailable),
)
def start_recording(call_id: str, body: NewRecording) -> Response:
    """Start to record a call."""
    with parts().catalogue.begin() as tx:
        calls.get_call(tx, call_id, agents=asker().agents)
    record = parts().recorder.start(
        call_id, by=asker().name, layout=body.layout, format=body.format, tags=body.tags
    )
    fields = recording_fields(record, base_url())
    return answer(fields, 201, Location=fields["links"]["self"])


def _recordings_of(tx: Connection, found: Iterable[CallRecord]) -> Mapping[str, list[UUID]]:
    """The recordings that a call shows: the running ones while it lives, then all."""
    ended = {call.id: call.state == "ended" for call in found}
    made: dict[str, list[UUID]] = {call_id: [] for call_id in ended}
    for recording in recordings.list_recordings_of_calls(tx, ended):
        if ended[recording.call_id] or recording.state in states.LIVE:
            made[recording.call_id].append(recording.id)
    return made
