"""The jobs that come by the clock."""

from datetime import UTC, datetime
from itertools import pairwise

from recorder import tasks
from storage import jobs


def test_dead_workers_are_looked_for_every_five_seconds() -> None:
    """In any minute of the hour: the sixth field of a cron is the seconds."""
    periodic = jobs.app.periodic_registry.periodic_tasks[tasks.retry_stalled.name, ""]
    began = datetime(2026, 11, 23, 22, 36, 1, tzinfo=UTC).timestamp()
    periodic.croniter.set_current(start_time=began)
    times = [periodic.croniter.get_next(ret_type=float) for _ in range(720)]
    assert times[0] - began <= 5
    assert {later - sooner for sooner, later in pairwise(times)} == {5.0}
