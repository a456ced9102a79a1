"""Do one action on many recordings, in the background and safe to repeat.

Tags and holds go recording by recording; after a killed worker another one continues. An export is
one ZIP with the audio and the manifest of each recording, and `index.csv`, which lists them. Its
bytes go from the store through a file of the spool back to the store, a few at a time; after a
killed worker another one starts again.
"""

import csv
import hashlib
import io
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from zipfile import ZIP_STORED, ZipFile

import structlog

from recorder.errors import RightWithdrawn, SpoolFull, UnderHold
from recorder.work import retry
from recorder.work.keeping import Keeper
from storage.actors import WORK
from storage.catalogue import audit, bulks, recordings
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_actor, find_rights
from storage.errors import NoSuchRecording
from storage.objects.errors import NoSuchObject, StoreRefused
from storage.objects.keys import build_export_key, parse_key
from storage.objects.store import ObjectStore
from storage.records import BulkRecord, RecordingRecord

log = structlog.get_logger()

PROGRESS_EVERY = 20
RIGHTS_EVERY_S = 3.0
# The whole ZIP lies on the spool before it is put; so much room must remain beside it.
SPARE_BYTES = 256 * 1024 * 1024
INDEX = (
    "file", "id", "call_id", "started_at", "duration_s", "direction", "caller_number",
    "callee_number", "queue", "agent", "tags", "sha256", "parties",
)  # fmt: skip
LISTS = ("tags", "parties")


@dataclass(slots=True)
class _Progress:
    """The progress of a bulk, written to the catalogue after every 20 recordings."""

    catalogue: Catalogue
    bulk_id: UUID
    done: int
    refused: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def count(self, recording_id: UUID) -> Iterator[None]:
        """Count one recording, as refused if it, or its audio, is gone, or if a hold forbids it."""
        try:
            yield
        except (NoSuchObject, NoSuchRecording, UnderHold) as error:
            self.refused.append({"id": str(recording_id), "reason": error.error_id})
        self.done += 1
        if self.done % PROGRESS_EVERY == 0:
            self.write()

    def write(self) -> None:
        """Write the count, and the new refusals. Raises RightWithdrawn if the bulk was ended."""
        with self.catalogue.begin() as tx:
            if not bulks.note_progress(tx, self.bulk_id, done=self.done, refused=self.refused):
                raise RightWithdrawn("the bulk was ended")
        self.refused = []


@dataclass(slots=True)
class _Owner:
    """The rights of the owner of a bulk, read again every few seconds."""

    catalogue: Catalogue
    wanted: BulkRecord
    read_at: float = 0.0
    rights: Rights | None = None

    def ask(self) -> Rights:
        """Return the present rights. Raises RightWithdrawn without the right to the action."""
        if self.rights is None or time.monotonic() - self.read_at >= RIGHTS_EVERY_S:
            self.read_at = time.monotonic()
            with self.catalogue.begin() as tx:
                self.rights = find_rights(tx, self.wanted.owner_id)
        if self.rights is None or not bulks.is_permitted(self.rights, self.wanted):
            raise RightWithdrawn(f"{self.wanted.created_by} may not {self.wanted.action} any more")
        return self.rights


@dataclass(frozen=True, slots=True)
class Bulks:
    """The work on many recordings. `spool` is a directory of this machine for unfinished ZIPs.

    Every method raises StoreUnavailable or CatalogueUnavailable (retry), StoreRefused or SpoolFull.
    """

    catalogue: Catalogue
    objects: ObjectStore
    spool: Path

    def work(self, bulk_id: UUID) -> None:
        """Bring a bulk to its end, from its present progress."""
        with self.catalogue.begin() as tx:
            wanted = bulks.get_bulk(tx, bulk_id)
            ids = bulks.get_recordings(tx, bulk_id)
        if wanted.state not in ("waiting", "running"):
            return
        try:
            if wanted.action == "export":
                self._export(wanted, ids)
            else:
                self._annotate(wanted, ids)
        except RightWithdrawn as error:
            ended = {"state": "failed", "reason": error.error_id, "ended_at": datetime.now(UTC)}
            with self.catalogue.begin() as tx:
                bulks.change_unfinished(tx, bulk_id, **ended)
            log.info("bulk.ended", bulk=str(bulk_id), cause=error.error_id)
            return
        log.info("bulk.finished", bulk=str(bulk_id), action=wanted.action)

    def fail(self, bulk_id: UUID, reason: str) -> None:
        """Mark a bulk as failed, with the reason."""
        with self.catalogue.begin() as tx:
            bulks.set_bulk(tx, bulk_id, state="failed", reason=reason, ended_at=datetime.now(UTC))
        log.error("bulk.failed", bulk=str(bulk_id), reason=reason)

    def drop_exports(self, before: datetime) -> None:
        """Delete the ZIPs of exports that ended before this time."""
        with self.catalogue.begin() as tx:
            old = bulks.list_exports_before(tx, before)
        for one in old:
            self.objects.delete(str(one.object_key))
            with self.catalogue.begin() as tx:
                bulks.set_bulk(tx, one.id, object_key=None)

    def _annotate(self, wanted: BulkRecord, ids: Sequence[UUID]) -> None:
        """Tag or hold each recording."""
        with self.catalogue.begin() as tx:
            by = find_actor(tx, wanted.owner_id, otherwise=WORK)
        given = wanted.arguments
        owner = _Owner(self.catalogue, wanted)
        progress = _Progress(self.catalogue, wanted.id, wanted.done)
        for recording_id in ids[wanted.done :]:
            keeper = Keeper(self.catalogue, by, owner.ask().agents)
            with progress.count(recording_id):
                if wanted.action == "tag":
                    keeper.tag(recording_id, given["tags"], given["remove_tags"])
                else:
                    keeper.hold(recording_id, given["reason"], replace_hold=False)
        progress.write()
        with self.catalogue.begin() as tx:
            bulks.change_unfinished(tx, wanted.id, state="done", ended_at=datetime.now(UTC))

    def _export(self, wanted: BulkRecord, ids: Sequence[UUID]) -> None:
        """Pack the recordings into one ZIP on the spool, put it, and audit every export."""
        with self.catalogue.begin() as tx:
            bulks.set_bulk(tx, wanted.id, done=0, refused=[])
            found = recordings.list_of_ids(tx, ids)
        self.spool.mkdir(parents=True, exist_ok=True)
        needed_bytes = sum(one.size_bytes or 0 for one in found.values())
        free_bytes = shutil.disk_usage(self.spool).free
        if free_bytes < needed_bytes + SPARE_BYTES:
            raise SpoolFull(
                f"the export needs {needed_bytes} bytes of the spool, and {free_bytes} are free"
            )
        path = self.spool / f"{wanted.id}.zip"
        try:
            exported = self._pack(wanted, {one: found.get(one) for one in ids}, path)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            key = build_export_key(wanted.id)
            self.objects.put_file(
                key,
                path,
                content_type="application/zip",
                metadata={"sha256": sha256},
                sha256=sha256,
            )
            size_bytes = path.stat().st_size
        finally:
            path.unlink(missing_ok=True)
        done = {"state": "done", "object_key": key, "size_bytes": size_bytes}
        with self.catalogue.begin() as tx:
            audit.add_audits(
                tx,
                find_actor(tx, wanted.owner_id, otherwise=WORK),
                "recording.exported",
                map(str, exported),
                detail={"bulk": str(wanted.id)},
            )
            is_done = bulks.change_unfinished(tx, wanted.id, **done, ended_at=datetime.now(UTC))
        if not is_done:  # the right was withdrawn while the ZIP was put
            self.objects.delete(key)
            raise RightWithdrawn("the bulk was ended")

    def _pack(
        self, wanted: BulkRecord, found: Mapping[UUID, RecordingRecord | None], path: Path
    ) -> list[UUID]:
        """Write the ZIP; return the ids of the recordings in it."""
        index = io.StringIO()
        rows = csv.writer(index)
        rows.writerow(INDEX)
        exported: list[UUID] = []
        owner = _Owner(self.catalogue, wanted)
        progress = _Progress(self.catalogue, wanted.id, 0)
        with ZipFile(path, "w", ZIP_STORED) as target:
            for recording_id, record in found.items():
                with progress.count(recording_id):
                    if not owner.ask().sees(record.agent if record is not None else None):
                        raise NoSuchRecording(f"the recording {recording_id} is not visible")
                    if record is None or record.object_key is None:
                        raise NoSuchRecording(f"the recording {recording_id} has no audio")
                    key = parse_key(record.object_key)
                    name = str(key).rpartition("/")[2]
                    with self._noticing_loss(recording_id, str(key.manifest)) as manifest_key:
                        manifest = self.objects.get_bytes(manifest_key)
                    with (
                        self._noticing_loss(recording_id, str(key)) as audio_key,
                        self.objects.open(audio_key) as audio,
                        target.open(name, "w", force_zip64=True) as entry,
                    ):
                        for chunk in audio.chunks():
                            owner.ask()
                            entry.write(chunk)
                    target.writestr(str(key.manifest).rpartition("/")[2], manifest)
                    rows.writerow([name, *_cells(record)])
                    exported.append(recording_id)
            target.writestr("index.csv", index.getvalue())
        progress.write()
        return exported

    @contextmanager
    def _noticing_loss(self, recording_id: UUID, key: str) -> Iterator[str]:
        """Yield the key; sound the alarm if the store no longer holds this object."""
        try:
            yield key
        except NoSuchObject:
            with self.catalogue.begin() as tx:
                is_new = recordings.note_lost(tx, recording_id, key)
            if is_new:
                log.error("recording.object-lost", recording=str(recording_id), key=key)
            raise


def next_wait_s(error: BaseException, attempts: int) -> float | None:
    """Decide like `retry.next_wait_s`, but give up when the store refuses: a person waits."""
    if isinstance(error, StoreRefused) and attempts + 1 >= retry.ATTEMPTS_OF_OURS:
        return None
    return retry.next_wait_s(error, attempts)


def _cells(record: RecordingRecord) -> Iterator[str]:
    """Yield the cells of a recording's row, with a quote before everything like a formula."""
    for name in INDEX[1:]:
        value = getattr(record, name)
        if name == "parties":  # "customer 12025550123,agent 2001"
            value = [f"{one.party} {one.number or one.name or ''}".rstrip() for one in value]
        cell = ",".join(value) if name in LISTS else "" if value is None else str(value)
        # A spreadsheet reads a number that begins with + as a formula, too.
        yield f"'{cell}" if cell[:1] in "=@-+\t\r" and cell else cell
