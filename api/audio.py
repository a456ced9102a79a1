"""The audio of a recording, and its waveform, on their way to who hears it."""

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
from api.stored import name_file, passed_on, redirect_to_object
from storage import states
from storage.catalogue import audit
from storage.errors import AudioNotStored, ManifestInvalid, ObjectMismatch
from storage.objects.keys import parse_key
from storage.records import RecordingRecord

log = structlog.get_logger()


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


def redirect_to_audio(audio: Audio, *, download: bool, by: str) -> Response:
    """To a URL that gives the bytes to whoever has it; so HEAD, which is told it too, hears."""
    _note_heard(audio, None, by)
    name = audio.file_name if download else None
    return redirect_to_object(audio.key, audio.content_type, name)


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
    first, last = (span.first, span.last) if span else (0, None)
    with passed_on(answered, audio.key, first=first, last=last) as found:
        if found.size_bytes != audio.size_bytes:
            raise ObjectMismatch(f"{audio.key} has {found.size_bytes} bytes in the store")
    _note_heard(audio, span, by)
    return answered


def tell_waveform(audio: Audio) -> Response:
    """The waveform, as the manifest has it. Raises ManifestInvalid, and what the store raises."""
    try:
        return answer(json.loads(read_manifest(audio))["manifest"]["waveform"])
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestInvalid("the manifest has no waveform") from error


def read_manifest(audio: Audio) -> bytes:
    """The signed manifest, as it is stored. Raises what the store raises."""
    return services().objects.get_bytes(str(parse_key(audio.key).manifest))


def _refuse_unstored(record: RecordingRecord) -> None:
    if record.state in states.LIVE or record.state == "captured":
        raise AudioNotStoredYet(f"the recording is {record.state}: its audio is not stored yet")
    raise AudioNotStored(f"the recording is {record.state}: there is no audio")


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
    told = {"range": span.content_range if span else None}
    log.info("recording.heard", recording=str(audio.recording_id), token=by, **told)
    with services().catalogue.begin() as tx:
        audit.note_heard(tx, audio.recording_id, actor=by, detail=told)
