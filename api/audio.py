"""Send the audio, the waveform and the manifest of a recording."""

import json
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog
from flask import Response, request

from api.errors import AudioNotStoredYet
from api.operation import answer
from api.ranges import ByteSpan, choose_span
from api.services import services
from api.stored import name_file, redirect_to_object, stream_object
from storage import states
from storage.catalogue import audit
from storage.errors import AudioNotStored, ManifestInvalid
from storage.objects.errors import ObjectMismatch
from storage.objects.keys import parse_key
from storage.records import RecordingRecord

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Audio:
    """The stored rendition of a recording."""

    recording_id: UUID
    key: str
    size_bytes: int
    sha256: str
    content_type: str

    @classmethod
    def of(cls, record: RecordingRecord) -> Self:
        """Return the rendition. Raises AudioNotStoredYet before it is stored, or AudioNotStored."""
        if record.state in states.LIVE or record.state == "captured":
            raise AudioNotStoredYet(f"the recording is {record.state}: its audio is not stored yet")
        media = (record.object_key, record.size_bytes, record.sha256, record.content_type)
        if record.state not in ("stored", "failed") or None in media:
            raise AudioNotStored(f"the recording is {record.state}: there is no audio")
        key, size_bytes, sha256, content_type = media
        return cls(record.id, str(key), int(size_bytes or 0), str(sha256), str(content_type))

    @property
    def etag(self) -> str:
        """The strong entity tag of the bytes."""
        return f'"{self.sha256}"'

    @property
    def file_name(self) -> str:
        """The name of the file for a download."""
        return self.key.rpartition("/")[2]


def redirect_to_audio(audio: Audio, *, download: bool, by: str) -> Response:
    """Redirect to a presigned URL. HEAD gets it too, so it is audited as a hearing."""
    _note_heard(audio, None, by)
    name = audio.file_name if download else None
    return redirect_to_object(audio.key, audio.content_type, name)


def stream_audio(audio: Audio, *, download: bool, by: str) -> Response:
    """Send the requested bytes, and audit the hearing by this caller.

    Raises RangeNotSatisfiable, ObjectMismatch, and the errors of the store.
    """
    if request.if_none_match.contains_weak(audio.sha256):
        return _with_headers(Response(status=304), audio, download)
    if request.method == "HEAD":  # the catalogue knows the size; only GET has ranges
        return _with_headers(_described(audio, None), audio, download)
    span = choose_span(
        request.headers.get("Range"),
        request.headers.get("If-Range"),
        etag=audio.etag,
        size_bytes=audio.size_bytes,
    )
    answered = _with_headers(_described(audio, span), audio, download)
    first, last = (span.first, span.last) if span else (0, None)
    with stream_object(answered, audio.key, first=first, last=last) as found:
        if found.size_bytes != audio.size_bytes:
            raise ObjectMismatch(f"{audio.key} has {found.size_bytes} bytes in the store")
    _note_heard(audio, span, by)
    return answered


def send_waveform(audio: Audio) -> Response:
    """Send the waveform of the manifest. Raises ManifestInvalid, and the errors of the store."""
    try:
        return answer(json.loads(read_manifest(audio))["manifest"]["waveform"])
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestInvalid("the manifest has no waveform") from error


def read_manifest(audio: Audio) -> bytes:
    """Return the signed manifest, byte for byte. Raises the errors of the store."""
    return services().objects.get_bytes(str(parse_key(audio.key).manifest))


def _described(audio: Audio, span: ByteSpan | None) -> Response:
    described = Response(status=206 if span else 200, content_type=audio.content_type)
    described.content_length = span.length if span else audio.size_bytes
    if span:
        described.headers["Content-Range"] = span.content_range
    return described


def _with_headers(described: Response, audio: Audio, download: bool) -> Response:
    described.headers["ETag"] = audio.etag
    described.headers["Accept-Ranges"] = "bytes"
    if download:
        name_file(described, audio.file_name)
    return described


def _note_heard(audio: Audio, span: ByteSpan | None, by: str) -> None:
    detail = {"range": span.content_range if span else None}
    log.info("recording.heard", recording=str(audio.recording_id), token=by, **detail)
    with services().catalogue.begin() as tx:
        audit.note_heard(tx, audio.recording_id, actor=by, detail=detail)
