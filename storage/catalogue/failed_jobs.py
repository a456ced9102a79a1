"""Jobs that were given up, and the two choices of a person: retry, or leave it.

A job that succeeds is deleted from the queue, a job that was given up stays. Periodic jobs are not
here: they run again by themselves.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from storage import jobs
from storage.catalogue import bulks, decisions, recordings
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.errors import NoSuchJob
from storage.records import FailedJob, Slice

# The largest bigint: every id is below it.
_END = 2**63 - 1

# The recording or bulk of a job.
_SUBJECT = "coalesce(args ->> 'recording_id', args ->> 'bulk_id')"
_LIST = f"""
    SELECT job.id, task_name AS task, {_SUBJECT} AS subject, attempts, failed_at,
           coalesce(recording.reason, bulk.reason) AS reason
    FROM procrastinate_jobs AS job
    CROSS JOIN LATERAL (
        SELECT coalesce(max(at), now()) AS failed_at FROM procrastinate_events
        WHERE job_id = job.id AND type <> 'scheduled'
    ) AS latest
    LEFT JOIN recording ON task_name = 'finish' AND recording.id = (args ->> 'recording_id')::uuid
    LEFT JOIN bulk ON bulk.id = (args ->> 'bulk_id')::uuid
    WHERE status = 'failed' AND {_SUBJECT} IS NOT NULL AND job.id < :before
    ORDER BY job.id DESC
    LIMIT :limit
"""  # noqa: S608  # no part comes from outside
_TAKE = f"""
    DELETE FROM procrastinate_jobs
    WHERE id = :id AND status = 'failed' AND {_SUBJECT} IS NOT NULL
    RETURNING task_name AS task, lock, queue_name AS queue, priority, args, {_SUBJECT} AS subject
"""  # noqa: S608
_DROP_JOBS = f"""
    DELETE FROM procrastinate_jobs AS job
    WHERE status NOT IN ('todo', 'doing') AND (status <> 'failed' OR {_SUBJECT} IS NULL)
        AND NOT EXISTS (
            SELECT FROM procrastinate_events WHERE job_id = job.id AND at >= :before
        )
"""  # noqa: S608
# A store that is away for days leaves hundreds of them for each job.
_DROP_EVENTS = """
    DELETE FROM procrastinate_events AS event USING procrastinate_jobs AS job
    WHERE job.id = event.job_id AND job.status IN ('todo', 'doing') AND event.at < :before
"""


def list_failed_jobs(tx: Connection, *, limit: int, cursor: str | None = None) -> Slice[FailedJob]:
    """Return a slice of the failed jobs, newest first."""
    before = decode_cursor(cursor, int)[0] if cursor is not None else _END
    rows = tx.execute(text(_LIST), {"limit": limit + 1, "before": before}).mappings()
    return slice_of([FailedJob(**row) for row in rows], limit, lambda one: (str(one.id),))


def retry_job(tx: Connection, job_id: int) -> tuple[str, str]:
    """Run a failed job again, and return its task and subject.

    Set the recording or bulk that failed with it to work again. Raises NoSuchJob for a job that did
    not fail, or that another person took.
    """
    job = _take(tx, job_id)
    if job["task"] == "finish":
        revived = recordings.revive(tx, UUID(job["subject"]))
        if revived is not None:
            decisions.forget_assurance(tx, revived.call_id)
    elif job["task"] == "bulk":
        bulks.set_bulk(tx, UUID(job["subject"]), state="waiting", reason=None, ended_at=None)
    place = {name: job[name] for name in ("lock", "queue", "priority")}
    jobs.defer(tx, job["task"], **place, **job["args"])
    return job["task"], job["subject"]


def forget_job(tx: Connection, job_id: int) -> tuple[str, str]:
    """Delete a failed job, and return its task and subject. Raises NoSuchJob."""
    job = _take(tx, job_id)
    return job["task"], job["subject"]


def drop_rests(tx: Connection, before: datetime) -> None:
    """Delete the traces of jobs before this time: the attempts of unfinished jobs, and finished
    jobs that nobody can retry."""
    tx.execute(text(_DROP_JOBS), {"before": before})
    tx.execute(text(_DROP_EVENTS), {"before": before})


def _take(tx: Connection, job_id: int) -> Any:
    row = tx.execute(text(_TAKE), {"id": job_id}).mappings().one_or_none()
    if row is None:
        raise NoSuchJob(f"there is no failed job {job_id}")
    return row
