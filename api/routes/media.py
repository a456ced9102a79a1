"""The stored parts of a recording: the audio, the waveform, the manifest."""

import hashlib
from uuid import UUID

from flask import Response, request

from api.audio import Audio, read_manifest, redirect_to_audio, send_waveform, stream_audio
from api.auth import principal, refuse
from api.errors import AudioNotStoredYet, RangeNotSatisfiable
from api.fields.recordings import AudioQuery, Manifest, Waveform
from api.operation import JSON, Operations, Reply, json
from api.routes.recordings import get_visible
from api.services import services
from storage.errors import AudioNotStored, ManifestInvalid, NoSuchRecording
from storage.objects.errors import NoSuchObject, ObjectMismatch, StoreRefused, StoreUnavailable
from storage.permissions import RECORDINGS_HEAR, RECORDINGS_READ

operations = Operations("/api/v1", tag="recordings")

AUDIO_TYPES = ("audio/ogg", "audio/mpeg", "audio/flac", "audio/wav")
AUDIO_HEADERS = {
    "ETag": "the SHA-256 of the whole audio",
    "Accept-Ranges": "bytes",
    "Content-Disposition": "with `download`: the file's name",
}
STORE_ERRORS = (
    NoSuchRecording,
    AudioNotStored,
    AudioNotStoredYet,
    NoSuchObject,
    StoreRefused,
    StoreUnavailable,
)


@operations.get(
    "/recordings/<uuid:recording_id>/audio",
    RECORDINGS_HEAR,
    {
        200: Reply("The bytes.", media_types=AUDIO_TYPES, headers=AUDIO_HEADERS),
        206: Reply(
            "The bytes of the range.",
            media_types=AUDIO_TYPES,
            headers={**AUDIO_HEADERS, "Content-Range": "the range, and the size of the audio"},
        ),
        302: Reply(
            "A redirect to the bytes, for five minutes, without a token.",
            headers={"Location": "a presigned URL of the object store"},
        ),
        304: Reply("`If-None-Match` names the audio: it has not changed.", headers=AUDIO_HEADERS),
    },
    query=AudioQuery,
    errors=(*STORE_ERRORS, RangeNotSatisfiable, ObjectMismatch),
)
def get_audio(recording_id: UUID, query: AudioQuery) -> Response:
    """Get the audio: a redirect to the object store, or with `stream` the bytes."""
    record, by = get_visible(recording_id), principal().actor
    audio, owner_id, present = Audio.of(record), principal().token.id, services().rights

    def is_permitted() -> bool:
        rights = present.find(owner_id)
        return rights is not None and rights.may(RECORDINGS_HEAR) and rights.sees(record.agent)

    if query.stream:
        return stream_audio(audio, download=query.download, by=by, is_permitted=is_permitted)
    return redirect_to_audio(audio, download=query.download, by=by)


@operations.get(
    "/recordings/<uuid:recording_id>/waveform",
    RECORDINGS_READ,
    json(Waveform),
    errors=(*STORE_ERRORS, ManifestInvalid),
)
def get_waveform(recording_id: UUID) -> Response:
    """Get the peaks of each side, and its spans of talk and silence."""
    return send_waveform(Audio.of(get_visible(recording_id)))


@operations.get(
    "/recordings/<uuid:recording_id>/manifest",
    RECORDINGS_READ,
    {
        **json(Manifest, "The signed manifest, byte for byte as it is stored."),
        304: Reply("`If-None-Match` names the manifest: it has not changed."),
    },
    errors=STORE_ERRORS,
)
def get_manifest(recording_id: UUID) -> Response:
    """Get the signed manifest: the recording's data at the time of its storing, or later.

    It has the note, the bookmarks and the hold, so agents do not get it.
    """
    if not principal().reads_remarks:
        refuse("manifests, which have notes and holds")
    document = read_manifest(Audio.of(get_visible(recording_id)))
    found = Response(document, content_type=JSON)
    found.set_etag(hashlib.sha256(document).hexdigest())
    found.make_conditional(request)
    return found
