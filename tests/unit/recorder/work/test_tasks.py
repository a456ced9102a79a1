"""The periodic jobs."""

import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from recorder.work import tasks
from storage import jobs


def test_a_periodic_job_waits_once_and_delays_no_recording() -> None:
    """A periodic job waits at most once in its queue, and never in the queue of recordings."""
    periodic = [one.task for one in jobs.app.periodic_registry.periodic_tasks.values()]
    assert all(one.queueing_lock == one.name for one in periodic)
    assert all(one.queue in tasks.QUEUES.keys() - {jobs.RECORDINGS} for one in periodic)
    assert all(one.lock is None for one in periodic)  # a lock would outlive a worker that dies


def test_files_of_a_dead_worker_are_deleted(tmp_path: Path) -> None:
    """Fetched and packed audio from a day ago is deleted; files of running jobs stay."""
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


def test_dead_workers_are_found_every_five_seconds() -> None:
    """The job runs every 5 s in every minute: the sixth field of its cron is the seconds."""
    periodic = jobs.app.periodic_registry.periodic_tasks[tasks.retry_stalled.name, ""]
    began = datetime(2026, 11, 23, 22, 36, 1, tzinfo=UTC).timestamp()
    periodic.croniter.set_current(start_time=began)
    times = [periodic.croniter.get_next(ret_type=float) for _ in range(720)]
    assert times[0] - began <= 5
    assert {later - sooner for sooner, later in pairwise(times)} == {5.0}
