"""One thing done to many recordings, in the background: what workers do, safe to repeat.

Tags and holds go recording by recording, and a worker goes on where another was killed. An export
is one ZIP: of each recording the audio and its manifest, and `index.csv`, which says what is what.
Its bytes go from the store through a file of the spool to the store, a bounded number at a time; a
worker that comes after a killed one begins it anew.
"""

import csv
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from zipfile import ZIP_STORED, ZipFile

import structlog

from recorder.errors import SpoolFull
from recorder.work import retry
from recorder.work.keeping import Keeper
from storage.catalogue import audit, bulks, recordings
from storage.catalogue.engine import Catalogue
from storage.errors import NoSuchRecording
from storage.objects.errors import NoSuchObject, StoreRefused
from storage.objects.keys import build_export_key, parse_key
from storage.objects.store import ObjectStore
from storage.records import BulkRecord, RecordingRecord

log = structlog.get_logger()

TOLD_EVERY = 20
# While it is written the ZIP is on the spool, and is then put whole.
SPARE_BYTES = 256 * 1024 * 1024
INDEX = (
    "file", "id", "call_id", "started_at", "duration_s", "direction", "caller_number",
    "callee_number", "queue", "agent", "tags", "sha256",
)  # fmt: skip

Refusal = dict[str, str]


@dataclass(frozen=True, slots=True)
class Bulks:
    """Works on many recordings. `spool` is a directory of this machine for files on the way.

    Raises StoreUnavailable, CatalogueUnavailable (try again), StoreRefused, SpoolFull.
    """

    catalogue: Catalogue
    objects: ObjectStore
    spool: Path

    def work(self, bulk_id: UUID) -> None:
        """Bring it to its end, from where it is."""
        with self.catalogue.begin() as tx:
            wanted = bulks.get_bulk(tx, bulk_id)
            ids = bulks.get_recordings(tx, bulk_id)
        if wanted.state not in ("waiting", "running"):
            return
        if wanted.action == "export":
            self._export(wanted, ids)
        else:
            self._each(wanted, ids)
        log.info("bulk.done", bulk=str(bulk_id), action=wanted.action)

    def fail(self, bulk_id: UUID, reason: str) -> None:
        """It cannot be brought to its end: say why."""
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

    def _each(self, wanted: BulkRecord, ids: Sequence[UUID]) -> None:
        act = self._act(wanted)
        refused: list[Refusal] = []
        for done, recording_id in enumerate(ids[wanted.done :], wanted.done + 1):
            try:
                act(recording_id)
            except NoSuchRecording as error:
                refused.append({"id": str(recording_id), "reason": error.error_id})
            if done % TOLD_EVERY == 0:
                self._tell(wanted, done, refused)
                refused = []
        self._tell(wanted, len(ids), refused)
        with self.catalogue.begin() as tx:
            bulks.set_bulk(tx, wanted.id, state="done", ended_at=datetime.now(UTC))

    def _act(self, wanted: BulkRecord) -> Callable[[UUID], None]:
        keeper = Keeper(self.catalogue, wanted.created_by, None)
        told = wanted.arguments
        if wanted.action == "tag":
            return lambda id_: keeper.tag(id_, told["tags"], told["remove_tags"])
        return lambda id_: keeper.hold_too(id_, told["reason"])

    def _tell(self, wanted: BulkRecord, done: int, refused: list[Refusal]) -> None:
        with self.catalogue.begin() as tx:
            bulks.note_progress(tx, wanted.id, done=done, refused=refused)

    # Exports

    def _export(self, wanted: BulkRecord, ids: Sequence[UUID]) -> None:
        with self.catalogue.begin() as tx:
            bulks.set_bulk(tx, wanted.id, done=0, refused=[])
            found = recordings.list_of_ids(tx, ids)
        self._require_space(sum(one.size_bytes or 0 for one in found.values()))
        self.spool.mkdir(parents=True, exist_ok=True)
        path = self.spool / f"{wanted.id}.zip"
        try:
            exported = self._pack(wanted, {one: found.get(one) for one in ids}, path)
            self._put(wanted, path, exported)
        finally:
            path.unlink(missing_ok=True)

    def _require_space(self, needed_bytes: int) -> None:
        place = next(one for one in (self.spool, *self.spool.parents) if one.exists())
        free_bytes = shutil.disk_usage(place).free
        if free_bytes < needed_bytes + SPARE_BYTES:
            raise SpoolFull(
                f"the export needs {needed_bytes} bytes of the spool, and {free_bytes} are free"
            )

    def _pack(
        self, wanted: BulkRecord, found: Mapping[UUID, RecordingRecord | None], path: Path
    ) -> list[UUID]:
        """Write the ZIP; the ids of the recordings that are in it."""
        index = io.StringIO()
        rows = csv.writer(index)
        rows.writerow(INDEX)
        exported: list[UUID] = []
        refused: list[Refusal] = []
        with ZipFile(path, "w", ZIP_STORED) as target:
            for done, (recording_id, record) in enumerate(found.items(), 1):
                try:
                    rows.writerow(self._add(target, recording_id, record))
                    exported.append(recording_id)
                except (NoSuchObject, NoSuchRecording) as error:
                    refused.append({"id": str(recording_id), "reason": error.error_id})
                if done % TOLD_EVERY == 0:
                    self._tell(wanted, done, refused)
                    refused = []
            target.writestr("index.csv", index.getvalue())
        self._tell(wanted, len(found), refused)
        return exported

    def _add(self, target: ZipFile, id_: UUID, record: RecordingRecord | None) -> list[object]:
        """The audio and its manifest; its row of the index."""
        if record is None or record.object_key is None:
            raise NoSuchRecording(f"the recording {id_} has no audio")
        key = parse_key(record.object_key)
        name = record.object_key.rpartition("/")[2]
        manifest = self.objects.get_bytes(str(key.manifest))
        with (
            self.objects.open(record.object_key) as audio,
            target.open(name, "w", force_zip64=True) as entry,
        ):
            for chunk in audio.chunks():
                entry.write(chunk)
        target.writestr(str(key.manifest).rpartition("/")[2], manifest)
        return [name, *_cells(record)]

    def _put(self, wanted: BulkRecord, path: Path, exported: list[UUID]) -> None:
        """Keep the ZIP, and write down whose audio went out with it."""
        key = build_export_key(wanted.id)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.objects.put_file(
            key, path, content_type="application/zip", metadata={"sha256": sha256}, sha256=sha256
        )
        told = {"bulk": str(wanted.id)}
        with self.catalogue.begin() as tx:
            audit.add_audits(
                tx, wanted.created_by, "recording.exported", map(str, exported), detail=told
            )
            bulks.set_bulk(
                tx,
                wanted.id,
                state="done",
                ended_at=datetime.now(UTC),
                object_key=key,
                size_bytes=path.stat().st_size,
            )


def next_wait_s(error: BaseException, attempts: int) -> float | None:
    """As for a recording; but a store that says no is not asked for ever, for somebody waits."""
    if isinstance(error, StoreRefused) and attempts + 1 >= retry.ATTEMPTS_OF_OURS:
        return None
    return retry.next_wait_s(error, attempts)


def _cells(record: RecordingRecord) -> Iterator[object]:
    for name in INDEX[1:]:
        value = getattr(record, name)
        cell = ",".join(value) if name == "tags" else "" if value is None else str(value)
        # What a spreadsheet would take for a formula is text; a number begins with + too.
        yield f"'{cell}" if cell[:1] in "=@-+\t\r" and cell else cell
