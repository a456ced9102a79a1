"""The retry of a job that failed."""

import pytest
from procrastinate.jobs import Job

from storage.jobs import LOWEST, RetryBy


@pytest.mark.parametrize(
    ("before", "after"), [(0, -1), (-1, -2), (LOWEST, LOWEST), (LOWEST - 1, LOWEST - 1)]
)
def test_each_attempt_lowers_the_priority(before: int, after: int) -> None:
    """A job goes behind jobs with fewer attempts, down to the lowest priority."""
    job = Job(id=1, queue="q", task_name="t", lock="l", queueing_lock=None, priority=before)
    decided = RetryBy(lambda *_: 1.0).get_retry_decision(exception=ValueError(), job=job)
    assert decided is not None
    assert decided.priority == after
