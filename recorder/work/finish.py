"""From files on a PBX to an object that is kept: what workers do, each step safe to repeat.

    fetch ▶ probe ▶ join, encode, hash ▶ put ▶ read back ▶ manifest ▶ stored ▶ delete on the PBX

A step that was done before is found done; one that was begun is done again, with the same result,
since the same segments always give the same bytes. The PBX's files go last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import UUID

import structlog
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from recorder.ari import Ari, AriNotFound
from recorder.ari.pbxs import Pbxs
from recorder.audio import NotAudio, Piece, Rendition, probe_wav, render
from recorder.errors import NeverBegan, NoAudioOnPbx, PbxUnavailable
from recorder.recording.capture import Capture
from recorder.work.timeline import Timeline, build_timeline
from storage import states
from storage.catalogue import calls, recordings, segments, signing
from storage.catalogue.engine import Catalogue
from storage.errors import ManifestInvalid, ObjectMismatch
from storage.manifest import build_manifest, sign_manifest
from storage.objects.keys import ObjectKey, parse_key
from storage.objects.s3 import ObjectStore
from storage.records import GapCause, RecordingRecord, SegmentRecord

T = TypeVar("T")

CLOSED_WITHIN_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A segment whose file is here, measured."""

    segment: SegmentRecord
    path: Path


class _Lost(Exception):
    """The PBX has no usable audio of a segment."""

    def __init__(self, cause: GapCause) -> None:
        super().__init__(cause)
        self.cause = cause


class Finisher:
    """Finishes captured recordings. `spool` is a directory of this machine for files on the way.

    Raises PbxUnavailable, StoreUnavailable, CatalogueUnavailable (try again), AudioUnusable (do
    not), ObjectMismatch.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        objects: ObjectStore,
        pbxs: Pbxs,
        capture: Capture,
        spool: Path,
    ) -> None:
        self._catalogue = catalogue
        self._objects = objects
        self._pbxs = pbxs
        self._capture = capture
        self._spool = spool

    def finish(self, recording_id: UUID) -> None:
        """Bring a captured recording to `stored`."""
        recording = self._capture.settle(recording_id)
        present = self._segments(recording_id)
        if recording.state == "captured":
            recording = self._store(recording, present)
        if recording.state == "stored":
            self._clear(recording, present)

    def clear(self, recording_id: UUID) -> None:
        """Delete the files of a discarded recording on the PBX."""
        self._clear(self._capture.settle(recording_id), self._segments(recording_id))

    def renew_manifest(self, recording_id: UUID) -> None:
        """Sign the manifest of a stored recording anew, as the recording is now."""
        recording = self._now(recording_id)
        if recording.object_key is None or recording.state in states.DELETED:
            return
        key = str(parse_key(recording.object_key).manifest)
        try:
            waveform = json.loads(self._objects.get_bytes(key))["manifest"]["waveform"]
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestInvalid("the manifest has no waveform") from error
        self._put_manifest(recording, waveform)

    def fail(self, recording_id: UUID, reason: str) -> None:
        """The recording cannot be finished: say why, and leave all its files on the PBX."""
        with self._catalogue.begin() as tx:
            moved = recordings.move(tx, recording_id, to="failed", reason=reason)
        if moved is not None:
            log.error("recording.failed", recording=str(recording_id), reason=reason)

    # The steps

    def _store(
        self, recording: RecordingRecord, present: Sequence[SegmentRecord]
    ) -> RecordingRecord:
        """The recording as it is then: stored, unless another worker said that it failed."""
        self._spool.mkdir(parents=True, exist_ok=True)
        # Gone in the end, for the next attempt fetches anew, however many wait for the store. Of no
        # other attempt: where this machine stands still for long, another one takes the job.
        own = TemporaryDirectory(
            prefix=f"{recording.id}-", dir=self._spool, ignore_cleanup_errors=True
        )
        with own as name:
            folder = Path(name)
            fetched, lost = self._fetch(recording, present, folder)
            if lost and (now := self._now(recording.id)).state != "captured":
                return now  # a quicker attempt has stored it, and deleted them
            self._note_lost(lost)
            if not fetched:
                raise NoAudioOnPbx(f"the PBX holds no audio of recording {recording.id}")
            timeline = self._timeline(recording, fetched)
            recording = replace(recording, started_at=timeline.started_at, gaps=timeline.gaps)
            rendition = _render(recording, timeline, fetched, folder)
            stored = _with_media(recording, rendition)
            self._put(stored, rendition)
            return self._mark_stored(stored)

    def _fetch(
        self, recording: RecordingRecord, present: Sequence[SegmentRecord], folder: Path
    ) -> tuple[Sequence[Fetched], Mapping[UUID, "_Lost"]]:
        """Fetch the file of every segment; return the files, and the segments that are lost."""
        fetched: list[Fetched] = []
        lost: dict[UUID, _Lost] = {}
        with self._pbxs.reach(recording.pbx) as ari:
            for segment in (one for one in present if one.state != "lost"):
                try:
                    fetched.append(self._fetch_one(ari, segment, folder))
                except _Lost as error:
                    lost[segment.id] = error
        return fetched, lost

    def _fetch_one(self, ari: Ari, segment: SegmentRecord, folder: Path) -> Fetched:
        path = folder / f"{segment.id}.wav"
        try:
            if segment.end_cause != "finished":  # that is Asterisk's own word that it is closed
                _wait_until_closed(ari, segment)
            with path.open("wb") as target:
                ari.fetch_stored_recording(segment.name, target)
        except AriNotFound as error:
            raise _Lost("file-missing") from error
        try:
            wav = probe_wav(path)
        except NotAudio as error:
            raise _Lost("file-unreadable") from error
        if wav.frames == 0:
            raise _Lost("file-empty")
        measured = replace(segment, duration_s=wav.duration_s, size_bytes=path.stat().st_size)
        return Fetched(measured, path)

    def _note_lost(self, lost: Mapping[UUID, "_Lost"]) -> None:
        with self._catalogue.begin() as tx:
            for segment_id, why in lost.items():
                log.warning(
                    "segment.lost",
                    segment=str(segment_id),
                    cause=why.cause,
                    error=str(why.__cause__ or ""),
                )
                segments.update_segment(tx, segment_id, duration_s=0.0, end_cause=why.cause)

    def _timeline(self, recording: RecordingRecord, fetched: Sequence[Fetched]) -> Timeline:
        """Note what was measured, and lay it out."""
        measured = [one.segment for one in fetched]
        with self._catalogue.begin() as tx:
            for one in measured:
                segments.update_segment(
                    tx, one.id, duration_s=one.duration_s, size_bytes=one.size_bytes
                )
            call = calls.get_call(tx, recording.call_id)
        return build_timeline(recording, call, measured)

    def _put(self, recording: RecordingRecord, rendition: Rendition) -> None:
        """The object, read back; then the manifest, which claims it."""
        key = _required(recording.object_key)
        self._objects.put_file(
            key,
            rendition.path,
            content_type=rendition.content_type,
            metadata=_metadata(recording),
            sha256=rendition.sha256,
        )
        try:
            self._objects.verify(key, size_bytes=rendition.size_bytes, sha256=rendition.sha256)
        except ObjectMismatch:
            # It says of itself that it is what was meant: the next attempt would not write another.
            # Where another attempt has proved it, it may be the only copy.
            if self._now(recording.id).state == "captured":
                self._objects.delete(key)
            raise
        self._put_manifest(recording, rendition.waveform.to_json())

    def _put_manifest(self, recording: RecordingRecord, waveform: Mapping[str, Any]) -> None:
        with self._catalogue.begin() as tx:
            signing_key = signing.get_signing_key(tx)
            parts = segments.list_segments(tx, recording.id)
        body = build_manifest(asdict(recording), [asdict(segment) for segment in parts], waveform)
        self._objects.put_bytes(
            str(parse_key(_required(recording.object_key)).manifest),
            sign_manifest(body, signing_key),
            content_type="application/json",
        )

    def _mark_stored(self, recording: RecordingRecord) -> RecordingRecord:
        columns = {name: getattr(recording, name) for name in _MEDIA}
        gaps = [asdict(gap) for gap in recording.gaps]
        with self._catalogue.begin() as tx:
            moved = recordings.move(tx, recording.id, to="stored", gaps=gaps, **columns)
            present = moved or recordings.get_recording(tx, recording.id)
        if moved is not None:
            log.info("recording.stored", recording=str(moved.id), duration_s=moved.duration_s)
        return present

    def _clear(self, recording: RecordingRecord, present: Sequence[SegmentRecord]) -> None:
        """Delete the files on the PBX; the recording is stored, or nobody wants it."""
        left = [one for one in present if one.state != "deleted"]
        with self._pbxs.reach(recording.pbx) as ari:
            for segment in left:
                # A stored segment was closed before we fetched it; any other may still be growing.
                if recording.state == "discarded" or segment.state == "lost":
                    ari.discard_live_recording(segment.name)
                ari.delete_stored_recording(segment.name)
        with self._catalogue.begin() as tx:
            for segment in left:
                segments.update_segment(tx, segment.id, state="deleted")

    # Helpers

    def _now(self, recording_id: UUID) -> RecordingRecord:
        with self._catalogue.begin() as tx:
            return recordings.get_recording(tx, recording_id)

    def _segments(self, recording_id: UUID) -> tuple[SegmentRecord, ...]:
        with self._catalogue.begin() as tx:
            return segments.list_segments(tx, recording_id)


def _wait_until_closed(ari: Ari, segment: SegmentRecord) -> None:
    """Asterisk also serves a file that it is still writing: that would be cut."""
    attempts = Retrying(
        retry=retry_if_result(bool), stop=stop_after_delay(CLOSED_WITHIN_S), wait=wait_fixed(0.02)
    )
    try:
        attempts(lambda: ari.find_live_recording(segment.name) is not None)
    except RetryError as error:
        raise PbxUnavailable("a segment that was ended is still being written") from error


_MEDIA = (
    "started_at",
    "duration_s",
    "content_type",
    "channels",
    "sample_rate",
    "size_bytes",
    "sha256",
    "object_key",
)


def _render(
    recording: RecordingRecord, timeline: Timeline, fetched: Sequence[Fetched], folder: Path
) -> Rendition:
    """Join and encode. A pause is blanked whatever the files hold, and cut out if so wished."""
    paths = {one.segment.id: one.path for one in fetched}
    cut = timeline.pauses if recording.pause_leaves == "skip" else ()
    return render(
        [
            Piece(paths[place.segment_id], place.side, place.offset_s, place.span_s)
            for place in timeline.placements
        ],
        layout=recording.layout,
        format=recording.format,
        target=folder / f"rendition.{recording.format}",
        blank=timeline.blank,
        cut=cut,
    )


def _with_media(recording: RecordingRecord, rendition: Rendition) -> RecordingRecord:
    started_at = _required(recording.started_at)
    return replace(
        recording,
        state="stored",
        duration_s=rendition.duration_s,
        content_type=rendition.content_type,
        channels=rendition.channels,
        sample_rate=rendition.sample_rate,
        size_bytes=rendition.size_bytes,
        sha256=rendition.sha256,
        object_key=str(ObjectKey.of(recording.pbx, started_at, recording.id, rendition.extension)),
    )


def _metadata(recording: RecordingRecord) -> Mapping[str, str]:
    """On the object itself: nothing personal, for it cannot change and shows in logs."""
    return {
        "recording-id": str(recording.id),
        "call-id": recording.call_id,
        "sha256": _required(recording.sha256),
        "started-at": _required(recording.started_at).isoformat(),
        "duration-s": f"{recording.duration_s:.3f}",
        "channels": str(recording.channels),
    }


def _required(value: T | None) -> T:
    if value is None:
        raise NeverBegan("the recording never began")
    return value
