"""The job queue: Procrastinate, in the same PostgreSQL as the catalogue. Its only home.

A job is deferred in the transaction of the change that needs it: both happen, or neither.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from procrastinate import (
    App,
    BaseRetryStrategy,
    JobContext,
    PsycopgConnector,
    RetryDecision,
    SyncPsycopgConnector,
)
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from sqlalchemy import Connection, text

from storage.catalogue.engine import CONNECT_ARGS, first_line, take_turns
from storage.errors import CatalogueUnavailable

__all__ = [
    "CLOCK",
    "DIALLING",
    "HEARTBEAT_S",
    "LOWEST",
    "RECORDINGS",
    "SLOW",
    "JobContext",
    "RetryBy",
    "app",
    "defer",
    "defer_next",
    "defer_once",
    "list_live",
    "retry_stalled",
    "run_now",
    "run_worker",
]

# Each queue has workers of its own, so no queue delays another: recordings to finish or clear;
# long or many jobs; call-backs and campaigns; the periodic job that frees the jobs of dead workers.
RECORDINGS = "default"
SLOW = "slow"
DIALLING = "dialling"
CLOCK = "clock"

HEARTBEAT_S = 3.0
STALLED_AFTER_S = 12.0
CONNECTED_WITHIN_S = 10.0
# Workers poll, because nothing wakes them when a retry is due.
LOOK_EVERY_S = 2.0
# After a signal, a job is asked to end after this time.
ASKED_TO_END_AFTER_S = 0.5
END_WITHIN_S = 6.0
# Each retry lowers the priority of a job, down to this one: jobs that wait in vain for one PBX
# leave the workers to the jobs of the others.
LOWEST = -100
# For lookups that the libraries do in threads.
SPARE_THREADS = 2

# Tasks register here.
app = App(connector=SyncPsycopgConnector())
# Every job is deferred on the caller's connection. A worker's threads cannot use `app` for this:
# it has the worker's own connections then.
_deferring = App(connector=SyncPsycopgConnector())


class RetryBy(BaseRetryStrategy):
    """A retry strategy that a pure function decides from the error and the number of attempts.

    The function returns the seconds to wait, or None to give up. Each attempt lowers the priority
    of the job.
    """

    def __init__(self, decide: Callable[[BaseException, int], float | None]) -> None:
        self._decide = decide

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return the decision; Procrastinate calls this after a task has raised."""
        wait_s = self._decide(exception, job.attempts)
        if wait_s is None:
            return None
        return RetryDecision(
            retry_at=datetime.now(UTC) + timedelta(seconds=wait_s),
            priority=job.priority - 1 if job.priority > LOWEST else job.priority,
        )


def defer(
    tx: Connection,
    task: str,
    *,
    lock: str,
    queue: str = RECORDINGS,
    priority: int = 0,
    at: datetime | None = None,
    **arguments: Any,
) -> None:
    """Defer a job in this transaction; two jobs of one `lock` never run at the same time.

    Among waiting jobs, in a queue or for a lock, the one of the highest priority is next. With `at`
    the job waits for this time, and so do later jobs of its lock.
    """
    configured = _deferring.configure_task(
        task,
        lock=lock,
        queue=queue,
        priority=priority,
        schedule_at=at,
        connection=tx.connection.driver_connection,
    )
    configured.defer(**arguments)


def defer_once(tx: Connection, task: str, *, lock: str, queue: str, **arguments: Any) -> None:
    """Defer a job like `defer`, unless a job of this lock waits or runs already."""
    _defer_unless(tx, "status IN ('todo', 'doing')", task, lock=lock, queue=queue, **arguments)


def defer_next(tx: Connection, task: str, *, lock: str, queue: str, **arguments: Any) -> None:
    """Defer a job like `defer`, unless a job of this lock waits already.

    The running job of the lock may have looked before our change: the next one looks after it.
    """
    _defer_unless(tx, "status = 'todo'", task, lock=lock, queue=queue, **arguments)


def _defer_unless(
    tx: Connection, present: str, task: str, *, lock: str, queue: str, **arguments: Any
) -> None:
    """Defer a job unless its lock has one with this condition.

    The condition is a literal, not a parameter: else PostgreSQL does not use the index of live
    jobs.
    """
    take_turns(tx, f"defer {task}")  # the next caller sees the job
    jobs = f"FROM procrastinate_jobs WHERE lock = :lock AND {present}"  # no text from outside
    if not tx.scalar(text(f"SELECT EXISTS (SELECT {jobs})"), {"lock": lock}):
        defer(tx, task, lock=lock, queue=queue, **arguments)


def list_live(tx: Connection, queue: str) -> Mapping[str, bool]:
    """Return the locks of the jobs of this queue, each with whether its job runs, or may run now.

    A job that waits for its next attempt may not.
    """
    live = text(
        "SELECT lock, bool_or(status = 'doing' OR scheduled_at IS NULL OR scheduled_at <= now())"
        " FROM procrastinate_jobs WHERE queue_name = :queue AND status IN ('todo', 'doing')"
        " GROUP BY lock"
    )
    return {row[0]: row[1] for row in tx.execute(live, {"queue": queue}) if row[0] is not None}


def run_now(tx: Connection, lock: str) -> None:
    """Let the jobs of this lock that wait for a retry run now."""
    due = "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE lock = :lock AND status = 'todo'"
    tx.execute(text(due), {"lock": lock})


def run_worker(url: str, context: Mapping[str, Any], queues: Mapping[str, int]) -> None:
    """Run jobs until SIGTERM. Raises CatalogueUnavailable once PostgreSQL goes away.

    `queues` gives the number of jobs of each queue that run at the same time. A job cannot be
    interrupted: if one still runs 6 s after the signal, the process exits with status 0, and
    another worker runs the job again.
    """
    _silence_lost_connections()

    async def run() -> None:
        # Jobs run in threads of the loop, which has too few by default. The executor starts a
        # thread when a job needs one and none is idle.
        threads = ThreadPoolExecutor(sum(queues.values()) + SPARE_THREADS, "jobs")
        asyncio.get_running_loop().set_default_executor(threads)
        connector = PsycopgConnector(
            conninfo=url,
            kwargs=dict(CONNECT_ARGS),
            min_size=1,
            max_size=4,
            timeout=CONNECTED_WITHIN_S,
        )
        with app.replace_connector(connector) as worker_app:
            async with worker_app.open_async():
                await _until_signal(
                    worker_app.run_worker_async(
                        queues=[queue],
                        concurrency=concurrency,
                        additional_context={**context, "job_manager": worker_app.job_manager},
                        delete_jobs="successful",
                        install_signal_handlers=False,
                        fetch_job_polling_interval=LOOK_EVERY_S,
                        shutdown_graceful_timeout=ASKED_TO_END_AFTER_S,
                        update_heartbeat_interval=HEARTBEAT_S,
                        stalled_worker_timeout=STALLED_AFTER_S,
                    )
                    for queue, concurrency in queues.items()
                )

    try:
        asyncio.run(run())
    except (ConnectorException, psycopg.OperationalError) as error:
        raise CatalogueUnavailable(f"PostgreSQL: the job queue: {first_line(error)}") from error


def _silence_lost_connections() -> None:
    """Silence the tracebacks of lost connections in the libraries; `run_worker` raises the error
    too."""
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    for name in ("procrastinate.worker", "procrastinate.worker.worker", "procrastinate.utils"):
        logging.getLogger(name).addFilter(_is_no_lost_connection)


def _is_no_lost_connection(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectorException))


async def _until_signal(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run workers until a signal comes; a worker that ends earlier has lost its connection."""
    workers = [asyncio.ensure_future(one) for one in work]
    ending = asyncio.Event()
    with _signals_call(ending.set):
        signalled = asyncio.ensure_future(ending.wait())
        done, _ = await asyncio.wait({*workers, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if ending.is_set():
            last = threading.Timer(END_WITHIN_S, os._exit, (0,))
            last.daemon = True
            last.start()
        for one in (*workers, signalled):
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if not ending.is_set():
            for one in done:
                await one
            raise CatalogueUnavailable("PostgreSQL: the job queue: the connection is lost")


@contextmanager
def _signals_call(callback: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `callback` in the running loop, for the length of the block."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def retry_stalled(context: JobContext) -> int:
    """Put the jobs of dead workers back in the queue, and return their number.

    Delete a periodic job instead: the next one of its kind comes or waits already, and two jobs of
    one queueing lock must not wait.
    """
    manager = context.additional_context["job_manager"]
    stalled = await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_S)
    for job in stalled:
        if job.queueing_lock is None:
            await manager.retry_job(job)
        else:
            await manager.finish_job(job, Status.ABORTED, delete_job=True)
    return sum(job.queueing_lock is None for job in stalled)
