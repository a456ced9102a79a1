"""Turn the captured files on a PBX into one stored object, in steps that are safe to repeat.

    fetch ▶ probe ▶ join, encode, hash ▶ put ▶ read back ▶ manifest ▶ stored ▶ delete on the PBX

A repeated step finds its work done, or does it again with the same result, because the same
segments always give the same bytes. The files on the PBX are deleted last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from recorder.ari import Ari, AriNotFound
from recorder.ari.pbxs import Pbxs
from recorder.audio import NotAudio, Piece, Rendition, measure_late_s, probe_wav, render
from recorder.errors import NoAudioOnPbx, PbxUnavailable
from recorder.names import parse_spy_part
from recorder.recording.capture import Capture
from recorder.recording.presence import Past
from recorder.work.fitting import alignment_ms
from recorder.work.parties import find_people, supervisors_of
from recorder.work.timeline import Timeline, build_timeline
from storage import states
from storage.catalogue import calls, decisions, pauses, quiet, recordings, segments, signing, spies
from storage.catalogue.engine import Catalogue
from storage.errors import ManifestInvalid
from storage.manifest import build_manifest, sign_manifest
from storage.objects.errors import ObjectMismatch
from storage.objects.keys import ObjectKey, parse_key
from storage.objects.store import ObjectStore
from storage.records import GapCause, RecordingRecord, SegmentRecord

CLOSED_WITHIN_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A segment with its measured file on this machine."""

    segment: SegmentRecord
    path: Path


@dataclass(frozen=True, slots=True)
class Lost:
    """A segment without usable audio on the PBX."""

    segment: SegmentRecord
    cause: GapCause
    error: str


class Finisher:
    """The last steps of a recording. `spool` is a directory of this machine for fetched files.

    Every method raises PbxUnavailable, StoreUnavailable or CatalogueUnavailable (retry), or
    AudioUnusable (do not retry), or ObjectMismatch.
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
        """Bring a captured recording to `stored`, then delete its files on the PBX."""
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
        """Sign the manifest of a stored recording again, with its present tags, notes and hold."""
        recording = self._now(recording_id)
        if recording.object_key is None or recording.state in states.DELETED:
            return
        key = parse_key(recording.object_key)
        try:
            document = json.loads(self._objects.get_bytes(str(key.manifest)))
            waveform = document["manifest"]["waveform"]
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestInvalid("the manifest has no waveform") from error
        self._put_manifest(key, recording, waveform)

    def fail(self, recording_id: UUID, reason: str) -> None:
        """Mark a recording as failed, with the reason; its files stay on the PBX."""
        with self._catalogue.begin() as tx:
            moved = recordings.move(tx, recording_id, to="failed", reason=reason)
        if moved is not None:
            log.error("recording.failed", recording=str(recording_id), reason=reason)

    def _store(
        self, recording: RecordingRecord, present: Sequence[SegmentRecord]
    ) -> RecordingRecord:
        """Store the recording; return it as it is then, `failed` if another worker gave up."""
        self._spool.mkdir(parents=True, exist_ok=True)
        # Each attempt has its own folder, because a second worker takes the job when this machine
        # stalls for long. A failed attempt keeps nothing, so a long outage fills no disk.
        own = TemporaryDirectory(
            prefix=f"{recording.id}-", dir=self._spool, ignore_cleanup_errors=True
        )
        with own as name:
            folder = Path(name)
            fetched, lost = self._fetch(recording, present, folder)
            if lost and (now := self._now(recording.id)).state != "captured":
                return now  # a faster attempt has stored the recording and deleted the files
            with self._catalogue.begin() as tx:
                for missing in lost:
                    segments.update_segment(
                        tx, missing.segment.id, duration_s=0.0, end_cause=missing.cause
                    )
                for one in fetched:
                    segments.update_segment(
                        tx,
                        one.segment.id,
                        duration_s=one.segment.duration_s,
                        size_bytes=one.segment.size_bytes,
                        alignment_ms=one.segment.alignment_ms,
                    )
                past = _read_past(tx, recording, present)
                barged = [spies.find_spy(tx, id_) for id_ in supervisors_of(present)]
            for missing in lost:
                log.warning(
                    "segment.lost",
                    segment=str(missing.segment.id),
                    cause=missing.cause,
                    error=missing.error,
                )
            if not fetched:
                raise NoAudioOnPbx(f"the PBX holds no audio of recording {recording.id}")
            measured = [one.segment for one in fetched]
            timeline = build_timeline(past, measured)
            supervisors = [spy for spy in barged if spy is not None]
            people = find_people(past, timeline, measured, supervisors)
            rendition = _render(recording, timeline, fetched, people.tracks, folder)
            heard = replace(recording, gaps=timeline.gaps, parties=people.parties)
            return self._put(heard, timeline.started_at, rendition)

    def _fetch(
        self, recording: RecordingRecord, present: Sequence[SegmentRecord], folder: Path
    ) -> tuple[Sequence[Fetched], Sequence[Lost]]:
        """Fetch and measure the file of every segment; return them, and the lost segments."""
        fetched: list[Fetched] = []
        lost: list[Lost] = []
        with self._pbxs.reach(recording.pbx) as ari:
            for segment in (one for one in present if one.state != "lost"):
                path = folder / f"{segment.id}.wav"
                try:
                    if segment.end_cause != "finished":  # else Asterisk said that it is closed
                        _wait_until_closed(ari, segment)
                    with path.open("wb") as target:
                        ari.fetch_stored_recording(segment.name, target)
                    wav = probe_wav(path)
                except AriNotFound as error:
                    lost.append(Lost(segment, "file-missing", str(error)))
                except NotAudio as error:
                    lost.append(Lost(segment, "file-unreadable", str(error)))
                else:
                    if wav.frames == 0:
                        lost.append(Lost(segment, "file-empty", ""))
                        continue
                    size_bytes = path.stat().st_size
                    measured = replace(segment, duration_s=wav.duration_s, size_bytes=size_bytes)
                    sureness = alignment_ms(measured, measure_late_s(wav))
                    fetched.append(Fetched(replace(measured, alignment_ms=sureness), path))
        return fetched, lost

    def _put(
        self, recording: RecordingRecord, started_at: datetime, rendition: Rendition
    ) -> RecordingRecord:
        """Put the object, read it back, put the manifest, then mark the recording as stored."""
        key = ObjectKey.of(recording.pbx, started_at, recording.id, rendition.extension)
        self._objects.put_file(
            str(key),
            rendition.path,
            content_type=rendition.content_type,
            metadata={  # nothing personal: metadata shows in logs and can never be changed
                "recording-id": str(recording.id),
                "call-id": recording.call_id,
                "sha256": rendition.sha256,
                "started-at": started_at.isoformat(),
                "duration-s": f"{rendition.duration_s:.3f}",
                "channels": str(rendition.channels),
            },
            sha256=rendition.sha256,
        )
        try:
            self._objects.verify(str(key), size_bytes=rendition.size_bytes, sha256=rendition.sha256)
        except ObjectMismatch:
            # The metadata of this broken object has the right hash, so no later attempt would
            # replace it. Keep it if another attempt has proved it: it may be the only copy.
            if self._now(recording.id).state == "captured":
                self._objects.delete(str(key))
            raise
        if rendition.format != recording.format:
            log.warning(
                "recording.format-changed",
                recording=str(recording.id),
                wanted=recording.format,
                format=rendition.format,
                channels=rendition.channels,
            )
        media: dict[str, Any] = {
            "format": rendition.format,
            "started_at": started_at,
            "duration_s": rendition.duration_s,
            "content_type": rendition.content_type,
            "channels": rendition.channels,
            "sample_rate": rendition.sample_rate,
            "size_bytes": rendition.size_bytes,
            "sha256": rendition.sha256,
            "object_key": str(key),
        }
        stored = replace(recording, state="stored", **media)
        self._put_manifest(key, stored, rendition.waveform.to_json())
        gaps = [asdict(gap) for gap in recording.gaps]
        with self._catalogue.begin() as tx:
            moved = recordings.move(tx, recording.id, to="stored", gaps=gaps, **media)
            if moved is not None:
                recordings.set_parties(tx, recording.id, recording.parties)
            present = recordings.get_recording(tx, recording.id)
        if moved is not None:
            log.info("recording.stored", recording=str(moved.id), duration_s=moved.duration_s)
        return present

    def _put_manifest(
        self, key: ObjectKey, recording: RecordingRecord, waveform: Mapping[str, Any]
    ) -> None:
        with self._catalogue.begin() as tx:
            signing_key = signing.get_signing_key(tx)
            parts = segments.list_segments(tx, recording.id)
        body = build_manifest(asdict(recording), [asdict(segment) for segment in parts], waveform)
        self._objects.put_bytes(
            str(key.manifest), sign_manifest(body, signing_key), content_type="application/json"
        )

    def _clear(self, recording: RecordingRecord, present: Sequence[SegmentRecord]) -> None:
        """Delete the files on the PBX of a recording that is stored or discarded."""
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

    def _now(self, recording_id: UUID) -> RecordingRecord:
        with self._catalogue.begin() as tx:
            return recordings.get_recording(tx, recording_id)

    def _segments(self, recording_id: UUID) -> tuple[SegmentRecord, ...]:
        with self._catalogue.begin() as tx:
            return segments.list_segments(tx, recording_id)


def _read_past(
    tx: Connection, recording: RecordingRecord, present: Sequence[SegmentRecord]
) -> Past:
    """Read everything that happened to the people of a recording."""
    met = calls.list_met(tx, recording.call_id)
    captured = {
        segment.channel_id for segment in present if parse_spy_part(segment.channel_id) is None
    }
    # A recording whose call is over goes on with people whom this call never met.
    while captured - {leg.id for call in met.values() for leg in call.channels}:
        further = {id_ for call in met.values() for id_ in call.met} - met.keys()
        found = calls.find_calls(tx, further)
        if not found:
            break
        met |= found
    legs = [leg.id for call in met.values() for leg in call.channels]
    from_at = min(call.started_at for call in met.values())
    to_at = recording.ended_at or datetime.now(UTC)
    return Past(
        recording,
        met,
        decisions.list_decisions(tx, met),
        recordings.list_recordings_of_calls(tx, list(met)),
        pauses.list_pauses(tx, recording.pbx, legs, from_at=from_at, to_at=to_at),
        quiet.map_quiet_spans(tx, recording.pbx, legs),
    )


def _render(
    recording: RecordingRecord,
    timeline: Timeline,
    fetched: Sequence[Fetched],
    tracks: Mapping[str, int],
    folder: Path,
) -> Rendition:
    """Render the files; a pause stays silent, even if the PBX went on capturing, or is cut out."""
    files = {one.segment.id: one for one in fetched}
    return render(
        [
            Piece(
                files[one.segment_id].path,
                one.side,
                one.offset_s,
                one.span_s,
                one.from_s,
                one.to_s,
                one.silent,
                tracks.get(files[one.segment_id].segment.channel_id, 0),
            )
            for one in timeline.placements
        ],
        layout=recording.layout,
        format=recording.format,
        target=folder / f"rendition.{recording.format}",
        blank=timeline.blank,
        cut=timeline.pauses if recording.pause_leaves == "skip" else (),
    )


def _wait_until_closed(ari: Ari, segment: SegmentRecord) -> None:
    """Wait until Asterisk has closed a file: it also serves an open file, which would be cut."""
    attempts = Retrying(
        retry=retry_if_result(bool), stop=stop_after_delay(CLOSED_WITHIN_S), wait=wait_fixed(0.02)
    )
    try:
        attempts(lambda: ari.find_live_recording(segment.name) is not None)
    except RetryError as error:
        raise PbxUnavailable("the PBX is still writing a segment that has ended") from error
