"""Send the audio, the waveform and the manifest of a recording."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog
from flask import Response, request

from api.errors import AudioNotStoredYet
from api.operation import answer
from api.ranges import ByteSpan, choose_span
from api.services import services
from api.stored import check_object, check_size, name_file, redirect_to_object, stream_object
from storage import states
from storage.catalogue import audit, recordings
from storage.errors import AudioNotStored, ManifestInvalid
from storage.objects.errors import NoSuchObject
from storage.objects.keys import parse_key
from storage.records import Actor, RecordingRecord

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


def redirect_to_audio(audio: Audio, *, download: bool, by: Actor) -> Response:
    """Redirect to a presigned URL. HEAD gets it too, so it is audited as a hearing.

    Raises NoSuchObject, ObjectMismatch, and the errors of the store.
    """
    name = audio.file_name if download else None
    with _noticing_loss(audio, audio.key):
        redirected = redirect_to_object(
            audio.key, audio.content_type, name, size_bytes=audio.size_bytes
        )
    _note_heard(audio, None, by)
    return redirected


def stream_audio(
    audio: Audio, *, download: bool, by: Actor, is_permitted: Callable[[], bool]
) -> Response:
    """Send the requested bytes while they are permitted, and audit the hearing by this caller.

    Raises RangeNotSatisfiable, NoSuchObject, ObjectMismatch, and the errors of the store.
    """
    if request.if_none_match.contains_weak(audio.sha256):
        return _with_headers(Response(status=304), audio, download)
    if request.method == "HEAD":  # only GET has ranges
        with _noticing_loss(audio, audio.key):
            check_object(audio.key, size_bytes=audio.size_bytes)
        return _with_headers(_described(audio, None), audio, download)
    span = choose_span(
        request.headers.get("Range"),
        request.headers.get("If-Range"),
        etag=audio.etag,
        size_bytes=audio.size_bytes,
    )
    answered = _with_headers(_described(audio, span), audio, download)
    first, last = (span.first, span.last) if span else (0, None)
    with (
        _noticing_loss(audio, audio.key),
        stream_object(answered, audio.key, is_permitted, first=first, last=last) as found,
    ):
        check_size(audio.key, found.size_bytes, audio.size_bytes)
    _note_heard(audio, span, by)
    return answered


def send_waveform(audio: Audio) -> Response:
    """Send the waveform of the manifest. Raises ManifestInvalid, and the errors of the store."""
    try:
        return answer(json.loads(read_manifest(audio))["manifest"]["waveform"])
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestInvalid("the manifest has no waveform") from error


def read_manifest(audio: Audio) -> bytes:
    """Return the signed manifest, byte for byte. Raises NoSuchObject, and the errors of the
    store."""
    key = str(parse_key(audio.key).manifest)
    with _noticing_loss(audio, key):
        return services().objects.get_bytes(key)


@contextmanager
def _noticing_loss(audio: Audio, key: str) -> Iterator[None]:
    """Sound the alarm if the store no longer holds this file of the recording."""
    try:
        yield
    except NoSuchObject as error:
        with services().catalogue.begin() as tx:
            is_new = recordings.note_lost(tx, audio.recording_id, key)
        if is_new:
            log.error("recording.object-lost", recording=str(audio.recording_id), key=key)
        raise NoSuchObject("the object store no longer has this file of the recording") from error


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


def _note_heard(audio: Audio, span: ByteSpan | None, by: Actor) -> None:
    detail = {"range": span.content_range if span else None}
    log.info("recording.heard", recording=str(audio.recording_id), token=by.name, **detail)
    with services().catalogue.begin() as tx:
        recordings.note_found(tx, audio.key)
        audit.note_heard(tx, audio.recording_id, actor=by, detail=detail)
