"""The jobs that come by the clock."""

import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from recorder.work import tasks
from storage import jobs


def test_what_the_clock_brings_waits_once_and_keeps_no_recording_waiting() -> None:
    """However long it waits there is one of it; it takes no place of a recording's."""
    periodic = [one.task for one in jobs.app.periodic_registry.periodic_tasks.values()]
    assert all(one.queueing_lock == one.name for one in periodic)
    assert all(one.queue in tasks.QUEUES.keys() - {jobs.RECORDINGS} for one in periodic)
    assert all(one.lock is None for one in periodic)  # it would outlive a worker that dies


def test_what_a_dead_worker_left_goes(tmp_path: Path) -> None:
    """Audio of a day ago, fetched or packed; what is being worked on stays."""
    now = datetime.now(UTC)
    for name, age_s in (("old", 90_000), ("young", 60)):
        folder, packed = tmp_path / name, tmp_path / "exports" / f"{name}.zip"
        folder.mkdir()
        (folder / "left.wav").touch()
        packed.parent.mkdir(exist_ok=True)
        packed.touch()
        for one in (folder, packed, packed.parent):
            os.utime(one, times=(now.timestamp() - age_s,) * 2)
    tasks.clear_spool(tmp_path, now - tasks.RESTS_KEPT_FOR)
    left = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")}
    assert left == {"young", "young/left.wav", "exports", "exports/young.zip"}


def test_dead_workers_are_looked_for_every_five_seconds() -> None:
    """In any minute of the hour: the sixth field of a cron is the seconds."""
    periodic = jobs.app.periodic_registry.periodic_tasks[tasks.retry_stalled.name, ""]
    began = datetime(2026, 11, 23, 22, 36, 1, tzinfo=UTC).timestamp()
    periodic.croniter.set_current(start_time=began)
    times = [periodic.croniter.get_next(ret_type=float) for _ in range(720)]
    assert times[0] - began <= 5
    assert {later - sooner for sooner, later in pairwise(times)} == {5.0}
