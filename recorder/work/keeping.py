"""Change the tags, note, bookmarks, retention and hold of a recording.

Each change is one transaction: the row, the audit trail, and a job that signs the manifest again,
so that a rebuild from the store keeps the change.

While a recording is under a legal hold, people only add: no change takes away a tag, a bookmark or
a part of the note. The lock of the row lets a hold and another change take turns.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder.errors import NoSuchBookmark, RetentionNotExtended, UnderHold
from storage import jobs
from storage.catalogue import audit, recordings
from storage.catalogue.engine import Catalogue
from storage.records import Actor, Bookmark, Hold, Outcome, RecordingRecord

# In every other state there is no manifest yet, or never will be.
_HAS_MANIFEST = frozenset({"captured", "stored", "failed"})
# A bulk defers thousands of manifests. The next bulk and the end of its recording come first, even
# after many attempts, each of which lowers their priority.
_CAN_WAIT = jobs.LOWEST - 1


@dataclass(frozen=True, slots=True)
class Keeper:
    """The changes of one person, on the recordings of `agents` (None: on all).

    Every method raises NoSuchRecording, or UnderHold if a hold forbids the change, and returns the
    changed recording.
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
        try:
            with self.catalogue.begin() as tx:
                before = recordings.lock_recording(tx, recording_id, agents=self.agents)
                after = changed(before)
                if after == before:
                    return before
                _require_only_additions(before, after)
                recordings.annotate(tx, before, after)
                self._audit(tx, recording_id, action, "done", detail, **_replaced(before, after))
                renew_manifest(tx, after)
        except (RetentionNotExtended, UnderHold) as error:
            with self.catalogue.begin() as tx:
                self._audit(tx, recording_id, action, "refused", detail, error_id=error.error_id)
            raise
        return after

    def _audit(
        self,
        tx: Connection,
        recording_id: UUID,
        action: str,
        outcome: Outcome,
        detail: Mapping[str, Any],
        **more: object,
    ) -> None:
        audit.add_audit(
            tx,
            actor=self.by,
            action=action,
            subject=str(recording_id),
            outcome=outcome,
            detail={**detail, **more},
        )


def _require_only_additions(before: RecordingRecord, after: RecordingRecord) -> None:
    """Raise UnderHold if this change takes something away while the hold lasts."""
    if before.hold is None:
        return
    gone = [tag for tag in before.tags if tag not in after.tags]
    if gone:
        raise UnderHold(f"under a legal hold tags can only be added: keep the tag {gone[0]!r}")
    if not (after.note or "").startswith(before.note or ""):
        raise UnderHold(
            "under a legal hold the note can only be extended: send the whole present note, and"
            " your text after it"
        )
    if after.bookmarks[: len(before.bookmarks)] != before.bookmarks:
        raise UnderHold("under a legal hold bookmarks can only be added")


def _replaced(before: RecordingRecord, after: RecordingRecord) -> dict[str, Any]:
    """Return the values that a change replaces or removes, for the audit trail."""
    gone: dict[str, Any] = {}
    for name in ("tags", "note", "retention_days"):
        was = getattr(before, name)
        if was not in (getattr(after, name), None, ()):
            gone[name] = was
    marks = [one for one in before.bookmarks if one not in after.bookmarks]
    if marks:
        gone["bookmarks"] = [{"at_s": one.at_s, "text": one.text, "by": one.by} for one in marks]
    if before.hold not in (after.hold, None):
        gone["hold"] = {**asdict(before.hold), "at": before.hold.at.isoformat()}
    return {"before": gone} if gone else {}


def renew_manifest(tx: Connection, record: RecordingRecord) -> None:
    """Defer a job that signs the recording's manifest again, if there is one."""
    if record.state in _HAS_MANIFEST:
        id_ = str(record.id)
        jobs.defer(tx, "manifest", lock=id_, queue=jobs.SLOW, priority=_CAN_WAIT, recording_id=id_)
