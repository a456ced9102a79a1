"""The job queue: Procrastinate, in the same PostgreSQL as the catalogue. Its only home.

A job is deferred on the connection of a running transaction, so it exists exactly if the state
change that asks for it does.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from procrastinate import (
    App,
    BaseRetryStrategy,
    JobContext,
    PsycopgConnector,
    RetryDecision,
    SyncPsycopgConnector,
)
from procrastinate.jobs import Job
from sqlalchemy import Connection

__all__ = ["HEARTBEAT_S", "JobContext", "RetryBy", "app", "defer", "retry_stalled", "run_worker"]

HEARTBEAT_S = 3.0
STALLED_AFTER_S = 12.0

# Tasks register here; jobs are only ever deferred on a connection that is handed over.
app = App(connector=SyncPsycopgConnector())


class RetryBy(BaseRetryStrategy):
    """Retry as a pure function of error and count decides: seconds to wait, or None to give up."""

    def __init__(self, decide: Callable[[BaseException, int], float | None]) -> None:
        self._decide = decide

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """What Procrastinate asks after a task has raised."""
        wait_s = self._decide(exception, job.attempts)
        if wait_s is None:
            return None
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=wait_s))


def defer(tx: Connection, task: str, *, lock: str, **arguments: Any) -> None:
    """Ask for a job as part of the transaction; jobs of one `lock` never run side by side."""
    app.configure_task(task, lock=lock, connection=tx.connection.driver_connection).defer(
        **arguments
    )


def run_worker(url: str, context: Mapping[str, Any], *, concurrency: int) -> None:
    """Run jobs until SIGTERM; a job that is still running after 8 s is left to another worker."""
    logging.getLogger("procrastinate").setLevel(logging.WARNING)

    async def run() -> None:
        connector = PsycopgConnector(conninfo=url, min_size=1, max_size=4)
        with app.replace_connector(connector) as worker_app:
            async with worker_app.open_async():
                await worker_app.run_worker_async(
                    concurrency=concurrency,
                    additional_context={**context, "job_manager": worker_app.job_manager},
                    delete_jobs="successful",
                    update_heartbeat_interval=HEARTBEAT_S,
                    stalled_worker_timeout=STALLED_AFTER_S,
                    shutdown_graceful_timeout=8,
                )

    asyncio.run(run())


async def retry_stalled(context: JobContext) -> int:
    """Put the jobs of workers that died back in the queue; the number of them."""
    manager = context.additional_context["job_manager"]
    stalled = await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_S)
    for job in stalled:
        await manager.retry_job(job)
    return len(list(stalled))
