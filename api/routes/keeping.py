"""Annotate a recording, extend its retention, and put it under a legal hold."""

from uuid import UUID

from flask import Response

from api.auth import authorise, principal
from api.errors import RequestInvalid
from api.fields.base import fields_of
from api.fields.keeping import ChangedRecording, NewBookmark, Reasoned
from api.fields.recordings import Recording, RecordingBookmark, recording_fields
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.routes.recordings import get_visible
from api.services import services
from recorder.errors import NoSuchBookmark, RetentionNotExtended, UnderHold
from recorder.work.keeping import Keeper
from storage.errors import NoSuchRecording
from storage.permissions import RECORDINGS_ANNOTATE, RECORDINGS_HOLD
from storage.records import RecordingRecord

operations = Operations("/api/v1", tag="recordings")

MOST_BOOKMARKS = 500


@operations.patch(
    "/recordings/<uuid:recording_id>",
    RECORDINGS_ANNOTATE,
    json(Recording),
    body=ChangedRecording,
    errors=(NoSuchRecording, RetentionNotExtended, UnderHold),
)
def change_recording(recording_id: UUID, body: ChangedRecording) -> Response:
    """Change the tags and the note, or extend the retention, which needs `recordings.hold`.

    While the recording is under a legal hold, tags can only be added, and a new note must begin
    with the whole present note.
    """
    changes = body.changes()
    if "retention_days" in changes:
        authorise(RECORDINGS_HOLD)
    return _answer(_keeper(recording_id).change(recording_id, changes))


@operations.post(
    "/recordings/<uuid:recording_id>/bookmarks",
    RECORDINGS_ANNOTATE,
    {201: Reply("The new bookmark.", RecordingBookmark)},
    body=NewBookmark,
    errors=(NoSuchRecording,),
)
def create_bookmark(recording_id: UUID, body: NewBookmark) -> Response:
    """Add a bookmark: a text at a place of the recording."""
    record = get_visible(recording_id)
    if record.duration_s is not None and body.at_s > record.duration_s:
        fault = f"the recording is {record.duration_s:.1f} s long"
        raise RequestInvalid.at("body", "at_s", fault)
    if len(record.bookmarks) >= MOST_BOOKMARKS:
        fault = f"a recording has at most {MOST_BOOKMARKS} bookmarks"
        raise RequestInvalid.at("body", "text", fault)
    made = _keeper(recording_id).add_bookmark(recording_id, body.at_s, body.text).bookmarks[-1]
    return answer(fields_of(RecordingBookmark, made), 201)


@operations.delete(
    "/recordings/<uuid:recording_id>/bookmarks/<uuid:bookmark_id>",
    RECORDINGS_ANNOTATE,
    json(Recording),
    errors=(NoSuchRecording, NoSuchBookmark, UnderHold),
)
def delete_bookmark(recording_id: UUID, bookmark_id: UUID) -> Response:
    """Remove a bookmark, unless the recording is under a legal hold; the audit trail keeps it."""
    return _answer(_keeper(recording_id).remove_bookmark(recording_id, bookmark_id))


@operations.put(
    "/recordings/<uuid:recording_id>/hold",
    RECORDINGS_HOLD,
    json(Recording),
    body=Reasoned,
    errors=(NoSuchRecording,),
)
def hold_recording(recording_id: UUID, body: Reasoned) -> Response:
    """Put the recording under a legal hold: it is not deleted, even when its retention ends."""
    return _answer(_keeper(recording_id).hold(recording_id, body.reason))


@operations.delete(
    "/recordings/<uuid:recording_id>/hold",
    RECORDINGS_HOLD,
    json(Recording),
    body=Reasoned,
    errors=(NoSuchRecording,),
)
def release_recording(recording_id: UUID, body: Reasoned) -> Response:
    """Release the hold; the audit trail keeps both reasons."""
    return _answer(_keeper(recording_id).release(recording_id, body.reason))


def _keeper(recording_id: UUID) -> Keeper:
    """Return the keeper for this recording. Raises NoSuchRecording if the caller may not see it."""
    get_visible(recording_id)
    return Keeper(services().catalogue, principal().actor, principal().agents)


def _answer(record: RecordingRecord) -> Response:
    return answer(recording_fields(record, base_url()))
