"""The jobs that workers run; each names what it is about, and is safe to run again."""

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

import recorder.work.bulk
from recorder.work.bulk import Bulks
from recorder.work.deliveries import Deliverer, wait_after
from recorder.work.finish import Finisher
from recorder.work.retry import next_wait_s, reason_for
from storage import jobs
from storage.catalogue import bulks, events, failed_jobs, idempotency, webhooks
from storage.catalogue.engine import Catalogue

log = structlog.get_logger()

EVENTS_KEPT_FOR = timedelta(days=3)
EXPORTS_KEPT_FOR = timedelta(days=7)
BULKS_KEPT_FOR = timedelta(days=30)
RESTS_KEPT_FOR = timedelta(days=1)
# How many jobs of each queue a worker runs side by side.
QUEUES = {jobs.RECORDINGS: 2, jobs.SLOW: 2, jobs.CLOCK: 1, webhooks.QUEUE: 8}


@jobs.app.task(name="finish", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def finish(context: jobs.JobContext, recording_id: str) -> None:
    """A captured recording becomes stored, or, where that cannot be, failed."""
    finisher = _finisher(context)
    _attempt(context, recording_id, finisher.finish, finisher.fail)


@jobs.app.task(name="clear", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def clear(context: jobs.JobContext, recording_id: str) -> None:
    """The files of a discarded recording go from the PBX."""
    _attempt(context, recording_id, _finisher(context).clear, _give_up)


@jobs.app.task(name="manifest", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def manifest(context: jobs.JobContext, recording_id: str) -> None:
    """The manifest says what people have written on the recording since."""
    _attempt(context, recording_id, _finisher(context).renew_manifest, _give_up_manifest)


@jobs.app.task(name="bulk", pass_context=True, retry=jobs.RetryBy(recorder.work.bulk.next_wait_s))
def bulk(context: jobs.JobContext, bulk_id: str) -> None:
    """One thing is done to many recordings."""
    many: Bulks = context.additional_context["bulks"]
    _attempt(context, bulk_id, many.work, many.fail, decide=recorder.work.bulk.next_wait_s)


@jobs.app.task(name="deliver", pass_context=True, retry=jobs.RetryBy(wait_after))
def deliver(context: jobs.JobContext, webhook_id: str) -> None:
    """One webhook is told of what has happened."""
    deliverer: Deliverer = context.additional_context["deliverer"]
    deliverer.take_turn(UUID(webhook_id), context.should_abort)


@jobs.app.periodic(cron="41 * * * *")  # hourly
@jobs.app.task(
    name="drop_exports", pass_context=True, queue=jobs.SLOW, queueing_lock="drop_exports"
)
def drop_exports(context: jobs.JobContext, timestamp: int) -> None:
    """The ZIPs of exports are kept for a week."""
    many: Bulks = context.additional_context["bulks"]
    many.drop_exports(datetime.now(UTC) - EXPORTS_KEPT_FOR)


@jobs.app.periodic(cron="* * * * * */5")  # every 5 s: the sixth field is the seconds
@jobs.app.task(  # no lock: a worker that dies in it would keep it, and nobody would look again
    name="retry_stalled", pass_context=True, queue=jobs.CLOCK, queueing_lock="retry_stalled"
)
async def retry_stalled(context: jobs.JobContext, timestamp: int) -> None:
    """The jobs of workers that died are run by others."""
    retried = await jobs.retry_stalled(context)
    if retried:
        log.warning("job.retried", count=retried, reason="its worker died")


@jobs.app.periodic(cron="17 * * * *")  # hourly, and not when everybody else is at it
@jobs.app.task(name="drop_events", pass_context=True, queue=jobs.SLOW, queueing_lock="drop_events")
def drop_events(context: jobs.JobContext, timestamp: int) -> None:
    """Events are kept for three days, for those who resume."""
    catalogue: Catalogue = context.additional_context["catalogue"]
    leave_foreign_events(catalogue)
    before = datetime.now(UTC) - EVENTS_KEPT_FOR
    with catalogue.begin() as tx:
        waited = webhooks.note_losses(tx, before)
        events.drop_events(tx, before)
    _tell_losses(waited)


@jobs.app.periodic(cron="29 * * * *")
@jobs.app.task(name="tidy", pass_context=True, queue=jobs.SLOW, queueing_lock="tidy")
def tidy(context: jobs.JobContext, timestamp: int) -> None:
    """What is of use to nobody any more goes: old answers, old work, the traces of jobs."""
    catalogue: Catalogue = context.additional_context["catalogue"]
    now = datetime.now(UTC)
    with catalogue.begin() as tx:
        idempotency.drop_expired(tx)
        bulks.drop_bulks(tx, now - BULKS_KEPT_FOR)
        failed_jobs.drop_rests(tx, now - RESTS_KEPT_FOR)


def leave_foreign_events(catalogue: Catalogue) -> None:
    """After a dump was restored, go on with what happens now: who reads events is told of it.

    The places of events are numbers of transactions, and another cluster has had others.
    """
    with catalogue.begin() as tx:
        lost = webhooks.begin_anew(tx)
        events.drop_unborn(tx)
    _tell_losses(lost)


def clear_spool(spool: Path, before: datetime) -> None:
    """What was left on this disk before this time by a worker that died goes.

    Its jobs have been done since, maybe on another machine, or begin anew.
    """
    for left in (*spool.glob("*"), *spool.glob("exports/*")):
        if left.name == "exports" or left.stat().st_mtime >= before.timestamp():
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
        log.info("spool.cleared", left=left.name)


def _attempt(
    context: jobs.JobContext,
    id_: str,
    work: Callable[[UUID], None],
    give_up: Callable[[UUID, str], None],
    *,
    decide: Callable[[BaseException, int], float | None] = next_wait_s,
) -> None:
    """One attempt: what fails is left to the queue to retry, unless there is no use in that."""
    try:
        work(UUID(id_))
    except Exception as error:
        wait_s = decide(error, context.job.attempts)
        told = {**context.job.task_kwargs, "attempt": context.job.attempts + 1}
        if wait_s is None:
            log.exception("job.gave-up", **told)
            give_up(UUID(id_), reason_for(error))
        else:
            log.warning("job.postponed", error=str(error), **told)
        raise


def _tell_losses(webhook_ids: Iterable[UUID]) -> None:
    for webhook_id in webhook_ids:
        log.warning("webhook.lost-events", webhook=str(webhook_id))


def _give_up(recording_id: UUID, reason: str) -> None:
    log.error("recording.not-cleared", recording=str(recording_id), reason=reason)


def _give_up_manifest(recording_id: UUID, reason: str) -> None:
    log.error("manifest.not-renewed", recording=str(recording_id), reason=reason)


def _finisher(context: jobs.JobContext) -> Finisher:
    finisher: Any = context.additional_context["finisher"]
    if not isinstance(finisher, Finisher):
        raise TypeError("the worker was started without a finisher")
    return finisher
