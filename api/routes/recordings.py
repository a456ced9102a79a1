"""Find recordings, and control them while their call lives."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response

from api.auth import get_if_visible, principal
from api.fields.base import Nothing, list_fields
from api.fields.recordings import Recording, RecordingList, RecordingQuery, recording_fields
from api.links import base_url
from api.operation import Declare, Operations, answer, json
from api.services import services
from recorder.errors import PbxUnavailable, RecordingNotActive
from storage.catalogue import recordings
from storage.catalogue.recordings import RecordingFilter
from storage.errors import BadCursor, NoSuchRecording
from storage.permissions import RECORDINGS_CONTROL, RECORDINGS_READ
from storage.records import RecordingRecord

operations = Operations("/api/v1", tag="recordings")


@operations.get(
    "/recordings", RECORDINGS_READ, json(RecordingList), query=RecordingQuery, errors=(BadCursor,)
)
def list_recordings(query: RecordingQuery) -> Response:
    """List recordings, newest first."""
    narrowed = narrow(query.model_dump(exclude={"limit", "cursor"}))
    with services().catalogue.begin() as tx:
        page = recordings.list_recordings(tx, narrowed, limit=query.limit, cursor=query.cursor)
    return answer(list_fields(page, partial(recording_fields, base_url=base_url())))


@operations.get(
    "/recordings/<uuid:recording_id>", RECORDINGS_READ, json(Recording), errors=(NoSuchRecording,)
)
def get_recording(recording_id: UUID) -> Response:
    """Get one recording."""
    return answer(recording_fields(get_visible(recording_id), base_url()))


def _controlling(verb: str) -> Declare:
    return operations.post(
        f"/recordings/<uuid:recording_id>/{verb}",
        RECORDINGS_CONTROL,
        json(Recording),
        body=Nothing,
        errors=(NoSuchRecording, RecordingNotActive, PbxUnavailable),
    )


@_controlling("pause")
def pause_recording(recording_id: UUID) -> Response:
    """Pause a recording: nothing is recorded until it is resumed."""
    return _control(recording_id, services().capture.pause)


@_controlling("resume")
def resume_recording(recording_id: UUID) -> Response:
    """Resume a recording after a pause."""
    return _control(recording_id, services().capture.resume)


@_controlling("stop")
def stop_recording(recording_id: UUID) -> Response:
    """Stop a recording, and keep its audio."""
    return _control(recording_id, services().capture.stop)


@_controlling("discard")
def discard_recording(recording_id: UUID) -> Response:
    """Stop a recording, and keep nothing of it."""
    return _control(recording_id, services().capture.discard)


def get_visible(recording_id: UUID) -> RecordingRecord:
    """Return the recording, as the caller may see it. Raises NoSuchRecording if it may not."""
    found = get_if_visible(recordings.get_recording, recording_id)
    return found if principal().reads_remarks else found.without_remarks()


def narrow(search: Mapping[str, Any]) -> RecordingFilter:
    """Return the filter of a search for the recordings, and the fields, that the caller may see."""
    who = principal()
    return RecordingFilter(**search, agents=who.agents, remarks=who.reads_remarks)


def _control(recording_id: UUID, act: Callable[..., RecordingRecord]) -> Response:
    get_visible(recording_id)
    return answer(recording_fields(act(recording_id, by=principal().actor), base_url()))
