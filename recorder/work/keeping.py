"""What people write on a recording: tags, notes, bookmarks; how long it is kept, and holds.

Each change is one transaction: the row, the audit trail, and a job that signs the manifest anew,
so that a rebuild from the store knows it too.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder.errors import NoSuchBookmark, RetentionNotExtended
from storage import jobs
from storage.catalogue import audit, recordings
from storage.catalogue.engine import Catalogue
from storage.records import Bookmark, Hold, RecordingRecord

# The manifests of the others are yet to be written, or never will be.
_HAS_MANIFEST = frozenset({"captured", "stored", "failed"})
# A bulk leaves thousands of manifests. None goes before the next bulk, or the end of its recording,
# however often these have been tried.
_CAN_WAIT = jobs.LOWEST - 1


@dataclass(frozen=True, slots=True)
class Keeper:
    """Changes recordings for one who may see those of `agents` (None: all).

    Every method raises NoSuchRecording, and returns the recording as it is then.
    """

    catalogue: Catalogue
    by: str
    agents: Collection[str] | None

    def change(self, recording_id: UUID, changes: Mapping[str, Any]) -> RecordingRecord:
        """Other `tags`, `note` or `retention_days` (None is for ever).

        Raises RetentionNotExtended for fewer days than before.
        """

        def changed(record: RecordingRecord) -> RecordingRecord:
            if "retention_days" in changes:
                _refuse_shorter(record.retention_days, changes["retention_days"])
            return replace(record, **changes)

        return self._change(recording_id, "recording.change", changed, changes)

    def tag(self, recording_id: UUID, add: Collection[str], remove: Collection[str]) -> None:
        """These tags more, those less."""

        def changed(record: RecordingRecord) -> RecordingRecord:
            kept = [tag for tag in (*record.tags, *add) if tag not in remove]
            return replace(record, tags=tuple(dict.fromkeys(kept)))

        told = {"add": list(add), "remove": list(remove)}
        self._change(recording_id, "recording.tag", changed, told)

    def add_bookmark(self, recording_id: UUID, at_s: float, text: str) -> RecordingRecord:
        """A bookmark more; the last one of the answer, whose bookmarks are in order of making."""
        made = Bookmark(uuid7(), at_s, text, self.by)

        def changed(record: RecordingRecord) -> RecordingRecord:
            return replace(record, bookmarks=(*record.bookmarks, made))

        told = {"bookmark": str(made.id), "at_s": at_s, "text": text}
        return self._change(recording_id, "recording.bookmark", changed, told)

    def remove_bookmark(self, recording_id: UUID, bookmark_id: UUID) -> RecordingRecord:
        """Without this bookmark. Raises NoSuchBookmark."""

        def changed(record: RecordingRecord) -> RecordingRecord:
            left = tuple(one for one in record.bookmarks if one.id != bookmark_id)
            if left == record.bookmarks:
                raise NoSuchBookmark(f"there is no bookmark {bookmark_id} in this recording")
            return replace(record, bookmarks=left)

        told = {"bookmark": str(bookmark_id)}
        return self._change(recording_id, "recording.unbookmark", changed, told)

    def hold(self, recording_id: UUID, reason: str) -> RecordingRecord:
        """Under legal hold: nothing of it is deleted until the hold is released."""
        hold = Hold(reason, self.by, datetime.now(UTC))
        told = {"reason": reason}
        return self._change(
            recording_id, "recording.hold", lambda one: replace(one, hold=hold), told
        )

    def hold_too(self, recording_id: UUID, reason: str) -> None:
        """As `hold`; a hold that is there stays as it is."""
        hold = Hold(reason, self.by, datetime.now(UTC))
        told = {"reason": reason}
        self._change(
            recording_id, "recording.hold", lambda one: replace(one, hold=one.hold or hold), told
        )

    def release(self, recording_id: UUID, reason: str) -> RecordingRecord:
        """No hold any more; harmless where there is none."""
        told = {"reason": reason}
        return self._change(
            recording_id, "recording.release", lambda one: replace(one, hold=None), told
        )

    def _change(
        self,
        recording_id: UUID,
        action: str,
        changed: Callable[[RecordingRecord], RecordingRecord],
        told: Mapping[str, Any],
    ) -> RecordingRecord:
        with self.catalogue.begin() as tx:
            before = recordings.lock_recording(tx, recording_id, agents=self.agents)
            after = changed(before)
            if after == before:
                return before
            recordings.annotate(tx, after)
            audit.add_audit(
                tx,
                actor=self.by,
                action=action,
                subject=str(recording_id),
                outcome="done",
                detail=told,
            )
            renew_manifest(tx, after)
        return after


def renew_manifest(tx: Connection, record: RecordingRecord) -> None:
    """Have the manifest of a recording that has one signed anew, as the recording is by then."""
    if record.state in _HAS_MANIFEST:
        id_ = str(record.id)
        jobs.defer(tx, "manifest", lock=id_, queue=jobs.SLOW, priority=_CAN_WAIT, recording_id=id_)


def _refuse_shorter(before: int | None, after: int | None) -> None:
    if before is None and after is not None:
        raise RetentionNotExtended("the recording is kept for ever")
    if before is not None and after is not None and after < before:
        raise RetentionNotExtended(f"the recording is kept for {before} days")
