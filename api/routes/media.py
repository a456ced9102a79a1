"""What was recorded: the audio, its waveform, the manifest."""

import hashlib
import json as json_text
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog
from flask import Response, request

from api.auth import asker
from api.errors import AudioNotStoredYet, RangeNotSatisfiable
from api.fields import AudioQuery, Manifest, Waveform
from api.operation import JSON, Operations, Told, answer, json
from api.parts import parts
from api.permissions import RECORDINGS_HEAR, RECORDINGS_READ
from api.ranges import Span, choose_span
from api.routes.recordings import get_visible
from storage import states
from storage.catalogue import audit
from storage.errors import (
    AudioNotStored,
    ManifestInvalid,
    NoSuchObject,
    NoSuchRecording,
    ObjectMismatch,
    StoreRefused,
    StoreUnavailable,
)
from storage.keys import parse_key
from storage.records import RecordingRecord

log = structlog.get_logger()

operations = Operations("/api/v1", tag="recordings")

PRESIGNED_FOR_S = 300
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


@dataclass(frozen=True, slots=True)
class Audio:
    """The rendition of a recording that has one."""

    recording_id: UUID
    key: str
    size_bytes: int
    sha256: str
    content_type: str

    @classmethod
    def of(cls, record: RecordingRecord) -> Self:
        """Raises AudioNotStoredYet where it will come, AudioNotStored where it never will."""
        media = (record.object_key, record.size_bytes, record.sha256, record.content_type)
        kept = record.state in ("stored", "failed") and None not in media
        if not kept:
            _refuse_unstored(record)
        key, size_bytes, sha256, content_type = media
        return cls(record.id, str(key), int(size_bytes or 0), str(sha256), str(content_type))

    @property
    def etag(self) -> str:
        """A strong entity tag."""
        return f'"{self.sha256}"'

    @property
    def file_name(self) -> str:
        """What a browser saves it as."""
        return self.key.rpartition("/")[2]


@operations.get(
    "/recordings/<uuid:recording_id>/audio",
    RECORDINGS_HEAR,
    {
        200: Told("The bytes.", media_types=AUDIO_TYPES, headers=AUDIO_HEADERS),
        206: Told(
            "The bytes of the range.",
            media_types=AUDIO_TYPES,
            headers={**AUDIO_HEADERS, "Content-Range": "which bytes, of how many"},
        ),
        302: Told(
            "Where the bytes are, for five minutes, without a token.",
            headers={"Location": "a presigned URL of the object store"},
        ),
        304: Told("`If-None-Match` names the audio: it has not changed.", headers=AUDIO_HEADERS),
    },
    query=AudioQuery,
    errors=(*STORE_ERRORS, RangeNotSatisfiable, ObjectMismatch),
)
def get_audio(recording_id: UUID, query: AudioQuery) -> Response:
    """Hear a recording: a redirect to the object store, or with `stream` the bytes from here."""
    audio, by = Audio.of(get_visible(recording_id)), asker().name
    if query.stream:
        return stream_audio(audio, download=query.download, by=by)
    return _redirect(audio, download=query.download, by=by)


@operations.get(
    "/recordings/<uuid:recording_id>/waveform",
    RECORDINGS_READ,
    json(Waveform),
    errors=(*STORE_ERRORS, ManifestInvalid),
)
def get_waveform(recording_id: UUID) -> Response:
    """Tell the peaks of each side, and its spans of talk and silence."""
    return tell_waveform(Audio.of(get_visible(recording_id)))


@operations.get(
    "/recordings/<uuid:recording_id>/manifest",
    RECORDINGS_READ,
    {
        **json(Manifest, "The signed manifest, byte for byte as it is stored."),
        304: Told("`If-None-Match` names the manifest: it has not changed."),
    },
    errors=STORE_ERRORS,
)
def get_manifest(recording_id: UUID) -> Response:
    """Tell the signed manifest: all that is known of the recording, as it was when stored."""
    document = _read_manifest(Audio.of(get_visible(recording_id)))
    found = Response(document, content_type=JSON)
    found.set_etag(hashlib.sha256(document).hexdigest())
    found.make_conditional(request)
    return found


def _refuse_unstored(record: RecordingRecord) -> None:
    if record.state in states.LIVE or record.state == "captured":
        raise AudioNotStoredYet(f"the recording is {record.state}: its audio is not stored yet")
    raise AudioNotStored(f"the recording is {record.state}: there is no audio")


def tell_waveform(audio: Audio) -> Response:
    """The waveform, as the manifest has it. Raises ManifestInvalid, and what the store raises."""
    try:
        return answer(json_text.loads(_read_manifest(audio))["manifest"]["waveform"])
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestInvalid("the manifest has no waveform") from error


def _read_manifest(audio: Audio) -> bytes:
    return parts().objects.get_bytes(str(parse_key(audio.key).manifest))


def _redirect(audio: Audio, *, download: bool, by: str) -> Response:
    """To a URL that gives the bytes to whoever has it; so HEAD, which is told it too, hears."""
    _note_heard(audio, None, by)
    url = parts().objects.presign(
        audio.key,
        expires_in_s=PRESIGNED_FOR_S,
        download_name=audio.file_name if download else None,
        content_type=audio.content_type,
    )
    return Response(status=302, headers={"Location": url})


def stream_audio(audio: Audio, *, download: bool, by: str) -> Response:
    """The bytes that the request wants, heard by this one.

    Raises RangeNotSatisfiable, ObjectMismatch, and what the store raises.
    """
    if request.if_none_match.contains_weak(audio.sha256):
        return _with_headers(Response(status=304), audio, download)
    if request.method == "HEAD":  # told by the catalogue; a range is for GET alone
        return _with_headers(_described(audio, None), audio, download)
    span = choose_span(
        request.headers.get("Range"),
        request.headers.get("If-Range"),
        etag=audio.etag,
        size_bytes=audio.size_bytes,
    )
    answered = _with_headers(_described(audio, span), audio, download)
    _fill(answered, audio, span)
    _note_heard(audio, span, by)
    return answered


def _described(audio: Audio, span: Span | None) -> Response:
    described = Response(status=206 if span else 200, content_type=audio.content_type)
    described.content_length = span.length if span else audio.size_bytes
    if span:
        described.headers["Content-Range"] = span.content_range
    return described


def _with_headers(described: Response, audio: Audio, download: bool) -> Response:
    described.headers["ETag"] = audio.etag
    described.headers["Accept-Ranges"] = "bytes"
    if download:
        described.headers["Content-Disposition"] = f'attachment; filename="{audio.file_name}"'
    return described


def _fill(answered: Response, audio: Audio, span: Span | None) -> None:
    """Pass the store's bytes on as they come; its stream is closed with the answer, come what may.

    The stream is opened here, before anything is sent, so that its errors are still answered.
    """
    first, last = (span.first, span.last) if span else (0, None)
    with ExitStack() as opening:
        found = opening.enter_context(parts().objects.open(audio.key, first=first, last=last))
        if found.size_bytes != audio.size_bytes:
            raise ObjectMismatch(f"{audio.key} has {found.size_bytes} bytes in the store")
        answered.response = found.chunks()
        answered.call_on_close(opening.pop_all().close)


def _note_heard(audio: Audio, span: Span | None, by: str) -> None:
    told = {"range": span.content_range if span else None}
    log.info("recording.heard", recording=str(audio.recording_id), token=by, **told)
    with parts().catalogue.begin() as tx:
        audit.note_heard(tx, audio.recording_id, actor=by, detail=told)
