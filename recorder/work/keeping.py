"""Change the tags, note, bookmarks, retention and hold of a recording.

Each change is one transaction: the row, the audit trail, and a job that signs the manifest again,
so that a rebuild from the store keeps the change.
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
from storage.records import Actor, Bookmark, Hold, RecordingRecord

# In every other state there is no manifest yet, or never will be.
_HAS_MANIFEST = frozenset({"captured", "stored", "failed"})
# A bulk defers thousands of manifests. The next bulk and the end of its recording come first, even
# after many attempts, each of which lowers their priority.
_CAN_WAIT = jobs.LOWEST - 1


@dataclass(frozen=True, slots=True)
class Keeper:
    """The changes of one person, on the recordings of `agents` (None: on all).

    Every method raises NoSuchRecording, and returns the changed recording.
    """

    catalogue: Catalogue
    by: Actor
    agents: Collection[str] | None

    def change(self, recording_id: UUID, changes: Mapping[str, Any]) -> RecordingRecord:
        """Set `tags`, `note` or `retention_days` (None is for ever).

        Example: `change(id_, {"note": "angry", "tags": ("vip",)})`. Raises RetentionNotExtended
        for fewer days than before.
        """

        def changed(record: RecordingRecord) -> RecordingRecord:
            before, after = record.retention_days, changes.get("retention_days")
            if "retention_days" in changes and after is not None:
                if before is None:
                    raise RetentionNotExtended("the recording is kept for ever")
                if after < before:
                    raise RetentionNotExtended(f"the recording is kept for {before} days")
            return replace(record, **changes)

        return self._change(recording_id, "recording.change", changed, changes)

    def tag(self, recording_id: UUID, add: Collection[str], remove: Collection[str]) -> None:
        """Add some tags and remove others."""

        def changed(record: RecordingRecord) -> RecordingRecord:
            kept = [tag for tag in (*record.tags, *add) if tag not in remove]
            return replace(record, tags=tuple(dict.fromkeys(kept)))

        detail = {"add": list(add), "remove": list(remove)}
        self._change(recording_id, "recording.tag", changed, detail)

    def add_bookmark(self, recording_id: UUID, at_s: float, text: str) -> RecordingRecord:
        """Add a bookmark, which is the last one of the returned recording."""
        made = Bookmark(uuid7(), at_s, text, self.by.name)

        def changed(record: RecordingRecord) -> RecordingRecord:
            return replace(record, bookmarks=(*record.bookmarks, made))

        detail = {"bookmark": str(made.id), "at_s": at_s, "text": text}
        return self._change(recording_id, "recording.bookmark", changed, detail)

    def remove_bookmark(self, recording_id: UUID, bookmark_id: UUID) -> RecordingRecord:
        """Remove a bookmark. Raises NoSuchBookmark."""

        def changed(record: RecordingRecord) -> RecordingRecord:
            left = tuple(one for one in record.bookmarks if one.id != bookmark_id)
            if left == record.bookmarks:
                raise NoSuchBookmark(f"there is no bookmark {bookmark_id} in this recording")
            return replace(record, bookmarks=left)

        detail = {"bookmark": str(bookmark_id)}
        return self._change(recording_id, "recording.unbookmark", changed, detail)

    def hold(
        self, recording_id: UUID, reason: str, *, replace_hold: bool = True
    ) -> RecordingRecord:
        """Put a recording under legal hold: nothing of it is deleted until the hold is released.

        A present hold is replaced, or stays if `replace_hold` is false.
        """
        hold = Hold(reason, self.by.name, datetime.now(UTC))

        def changed(record: RecordingRecord) -> RecordingRecord:
            return replace(record, hold=hold if replace_hold else record.hold or hold)

        return self._change(recording_id, "recording.hold", changed, {"reason": reason})

    def release(self, recording_id: UUID, reason: str) -> RecordingRecord:
        """Release the hold of a recording, if there is one."""
        return self._change(
            recording_id,
            "recording.release",
            lambda record: replace(record, hold=None),
            {"reason": reason},
        )

    def _change(
        self,
        recording_id: UUID,
        action: str,
        changed: Callable[[RecordingRecord], RecordingRecord],
        detail: Mapping[str, Any],
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
                detail=detail,
            )
            renew_manifest(tx, after)
        return after


def renew_manifest(tx: Connection, record: RecordingRecord) -> None:
    """Defer a job that signs the recording's manifest again, if there is one."""
    if record.state in _HAS_MANIFEST:
        id_ = str(record.id)
        jobs.defer(tx, "manifest", lock=id_, queue=jobs.SLOW, priority=_CAN_WAIT, recording_id=id_)
