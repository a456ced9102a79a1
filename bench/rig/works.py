"""Run the real pipeline: PostgreSQL, SeaweedFS, an Asterisk and a worker.

No call takes place: the files are put into Asterisk's folder of recordings, and the catalogue gets
captured recordings.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from bench.rig.sound import Sides
from earwitness.config import load_config
from earwitness.embedded import objects_of, postgres_of
from lab.asterisk import Asterisk
from lab.root import ensure_root, root_directory
from lab.waiting import until
from recorder import ari, names
from recorder.calls.model import CallModel
from storage import jobs
from storage.catalogue import calls, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.objects.store import ObjectStoreSettings
from storage.records import CallRecord, Format, RecordingRecord, SegmentRecord, Side

REPOSITORY = Path(__file__).resolve().parents[2]
PBX = "lab"
SECOND_LEG_LATER_S = 0.01  # two captures never start at the same moment
FINISHED_WITHIN_S = 900.0
UNDONE = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
SIDES: tuple[Side, ...] = ("left", "right")
NOBODY = ari.Party("", "")


@dataclass(frozen=True, slots=True)
class Works:
    """The running servers and their addresses."""

    directory: Path
    config: Path
    asterisk: Asterisk
    catalogue: Catalogue
    store: ObjectStoreSettings

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Start the servers in their own directory, and stop them at the end."""
        with TemporaryDirectory(prefix="earwitness-bench-") as name:
            directory = Path(name)
            os.chmod(directory, 0o755)  # for PostgreSQL's own account  # noqa: S103
            with Asterisk(ensure_root(root_directory()), "bench") as asterisk:
                path = directory / "config.toml"
                path.write_text(_configuration(directory, asterisk))
                config = load_config(path)
                config.data.directory.mkdir()
                with postgres_of(config) as postgres, objects_of(config) as objects:
                    catalogue = Catalogue(postgres.url)
                    catalogue.migrate()
                    yield cls(directory, path, asterisk, catalogue, objects.settings)
                    catalogue.close()

    @contextmanager
    def worker(self) -> Iterator[int]:
        """Run the role `work` in its own fresh process; yield its process id."""
        command = [sys.executable, "-m", "earwitness", "--config", str(self.config), "work"]
        with (self.directory / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=REPOSITORY, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)

    def finish(self, sides: Sides, count: int, format_: Format = "opus") -> None:
        """Finish `count` recordings of this call, and wait until the PBX is cleared too."""
        ids = [self._capture(sides, format_) for _ in range(count)]
        with self.catalogue.begin() as tx:
            for id_ in ids:
                jobs.defer(tx, "finish", lock=str(id_), recording_id=str(id_))
        until(self._is_done, FINISHED_WITHIN_S)
        with self.catalogue.begin() as tx:
            found = [recordings.get_recording(tx, id_) for id_ in ids]
        assert {one.state for one in found} == {"stored"}, (
            self.directory / "worker.log"
        ).read_text()

    def put_on_pbx(self, file: Path, name: str) -> str:
        """Put a file into Asterisk's folder of recordings; return its URL in ARI."""
        target = self.asterisk.recordings / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        quoted = name.replace("/", "%2F")
        return f"{self.asterisk.ari_url}/ari/recordings/stored/{quoted}/file"

    def _capture(self, sides: Sides, format_: Format) -> UUID:
        """Add a recording in the state that it has at hang-up."""
        began = datetime.now(UTC) - timedelta(seconds=sides.duration_s)
        call = _call(uuid7(), began, sides.duration_s)
        recording = RecordingRecord(
            id=uuid7(),
            call_id=call.id,
            pbx=PBX,
            state="captured",
            trigger="rule",
            layout="dual",
            format=format_,
            pause_leaves="silence",
            started_at=began,
            ended_at=call.ended_at,
            **{name: getattr(call, name) for name in recordings.PEOPLE},
        )
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [call])
            recordings.create_recording(tx, recording)
            for place, entry in enumerate(call.channels):
                one = _segment(recording, place, entry.id, sides.duration_s)
                segments.claim_segment(tx, one)
                self.put_on_pbx((sides.left, sides.right)[place], one.name)
        return recording.id

    def _is_done(self) -> bool:
        with self.catalogue.begin() as tx:
            return bool(tx.scalar(text(UNDONE)) == 0)


def _configuration(directory: Path, asterisk: Asterisk) -> str:
    return "\n".join(
        [
            f"[data]\ndirectory = {json.dumps(str(directory / 'var'))}",
            f'[[pbx]]\nname = "{PBX}"\nurl = "{asterisk.ari_url}"',
            f'username = "{asterisk.username}"\npassword = "{asterisk.password}"',
            'trunks = ["PJSIP/trunk*"]',
        ]
    )


def _call(id_: UUID, began: datetime, duration_s: float) -> CallRecord:
    """Return an inbound call of two legs that talked all the time, by the call model."""
    model = CallModel(PBX, ["PJSIP/trunk*"])
    ended = began + timedelta(seconds=duration_s)
    linkedid = str(id_)
    legs = (
        _channel(f"{id_}-1", "PJSIP/trunk-00000001", "12025550100", "3000", began),
        _channel(f"{id_}-2", "PJSIP/2001-00000002", "2001", "", began),
    )
    bridge = ari.Bridge("bench", "mixing", "simple_bridge", tuple(leg.id for leg in legs))
    for leg in legs:
        model.apply(ari.ChannelCreated(began, "", leg), {leg.id: linkedid})
        model.apply(ari.ChannelEnteredBridge(began, "", bridge, leg), {})
    for leg in legs:
        model.apply(ari.ChannelDestroyed(ended, "", leg, 16, "Normal Clearing"), {})
    return model.record(names.build_call_id(PBX, linkedid))


def _channel(id_: str, name: str, number: str, exten: str, at: datetime) -> ari.Channel:
    party = ari.Party(number, "")
    return ari.Channel(id_, name, "Up", party, NOBODY, ari.Dialplan("in", exten, "", ""), at)


def _segment(
    recording: RecordingRecord, place: int, channel_id: str, duration_s: float
) -> SegmentRecord:
    id_ = uuid7()
    assert recording.started_at is not None
    began = recording.started_at + timedelta(seconds=place * SECOND_LEG_LATER_S)
    return SegmentRecord(
        id=id_,
        recording_id=recording.id,
        channel_id=channel_id,
        side=SIDES[place],
        state="finished",
        name=names.build_recording_name(recording.id, id_, began),
        started_at=began,
        ended_at=began + timedelta(seconds=duration_s),
        end_cause="finished",
    )
