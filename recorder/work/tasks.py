"""The jobs of the workers. Each takes an id and is safe to repeat."""

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

import recorder.work.bulk
import recorder.work.trials
from recorder.dialling.callbacks import Callbacks
from recorder.dialling.campaigns import Campaigns
from recorder.work.bulk import Bulks
from recorder.work.deliveries import Deliverer, wait_after
from recorder.work.finish import Finisher
from recorder.work.retry import next_wait_s, reason_for
from recorder.work.trials import Trials
from storage import jobs
from storage.catalogue import (
    bulks,
    callbacks,
    campaigns,
    events,
    failed_jobs,
    idempotency,
    requests,
    trials,
    webhooks,
)
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError

log = structlog.get_logger()

EVENTS_KEPT_FOR = timedelta(days=3)
EXPORTS_KEPT_FOR = timedelta(days=7)
BULKS_KEPT_FOR = timedelta(days=30)
TRIALS_KEPT_FOR = timedelta(days=7)
RESTS_KEPT_FOR = timedelta(days=1)
REQUESTS_KEPT_FOR = timedelta(days=30)
# How many jobs of each queue a worker runs side by side.
QUEUES = {
    jobs.RECORDINGS: 2,
    jobs.SLOW: 2,
    jobs.DIALLING: 4,
    jobs.CLOCK: 1,
    webhooks.QUEUE: 32,  # most of them wait for a receiver
}


@jobs.app.task(name="finish", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def finish(context: jobs.JobContext, recording_id: str) -> None:
    """Bring a captured recording to `stored`, or to `failed` if that is impossible."""
    finisher = _finisher(context)
    _attempt(context, recording_id, finisher.finish, finisher.fail)


@jobs.app.task(name="clear", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def clear(context: jobs.JobContext, recording_id: str) -> None:
    """Delete the files of a discarded recording on the PBX."""

    def give_up(recording_id: UUID, reason: str) -> None:
        log.error("recording.not-cleared", recording=str(recording_id), reason=reason)

    _attempt(context, recording_id, _finisher(context).clear, give_up)


@jobs.app.task(name="manifest", pass_context=True, retry=jobs.RetryBy(next_wait_s))
def manifest(context: jobs.JobContext, recording_id: str) -> None:
    """Sign the manifest again, with the tags, notes and holds that were written since."""

    def give_up(recording_id: UUID, reason: str) -> None:
        log.error("manifest.not-renewed", recording=str(recording_id), reason=reason)

    _attempt(context, recording_id, _finisher(context).renew_manifest, give_up)


@jobs.app.task(name="bulk", pass_context=True, retry=jobs.RetryBy(recorder.work.bulk.next_wait_s))
def bulk(context: jobs.JobContext, bulk_id: str) -> None:
    """Do one action on many recordings."""
    many: Bulks = context.additional_context["bulks"]
    _attempt(context, bulk_id, many.work, many.fail, decide=recorder.work.bulk.next_wait_s)


@jobs.app.task(
    name="trial", pass_context=True, retry=jobs.RetryBy(recorder.work.trials.next_wait_s)
)
def trial(context: jobs.JobContext, trial_id: str) -> None:
    """Try draft rules on past calls."""
    many: Trials = context.additional_context["trials"]
    _attempt(context, trial_id, many.work, many.fail, decide=recorder.work.trials.next_wait_s)


@jobs.app.task(name="deliver", pass_context=True, retry=jobs.RetryBy(wait_after))
def deliver(context: jobs.JobContext, webhook_id: str) -> None:
    """Deliver events to one webhook."""
    deliverer: Deliverer = context.additional_context["deliverer"]
    deliverer.take_turn(UUID(webhook_id), context.should_abort)


@jobs.app.task(name=callbacks.TASK, pass_context=True, retry=jobs.RetryBy(next_wait_s))
def callback_step(context: jobs.JobContext, callback_id: str) -> None:
    """Dial a call-back that is due, or plan what follows its dial."""
    promised: Callbacks = context.additional_context["callbacks"]
    _attempt(context, callback_id, promised.step, promised.fail)


@jobs.app.periodic(cron="* * * * * */30")  # every 30 s
@jobs.app.task(
    name="sweep_callbacks", pass_context=True, queue=jobs.DIALLING, queueing_lock="sweep_callbacks"
)
def sweep_callbacks(context: jobs.JobContext, timestamp: int) -> None:
    """Find call-backs whose job was lost, and customers who have called in."""
    promised: Callbacks = context.additional_context["callbacks"]
    promised.sweep()


@jobs.app.task(name=campaigns.STEP, pass_context=True)
def campaign_step(context: jobs.JobContext, campaign_id: str) -> None:
    """Bring one campaign forward; after a fault the next sweep repeats it."""
    many: Campaigns = context.additional_context["campaigns"]
    try:
        many.step(UUID(campaign_id))
    except EarwitnessError as error:
        log.warning("campaign.postponed", campaign=campaign_id, error=str(error))
    except Exception:  # a failed job for each sweep would hide the others
        log.exception("campaign.crashed", campaign=campaign_id)


@jobs.app.periodic(cron="* * * * * */5")  # every 5 s: the sixth field is the seconds
@jobs.app.task(
    name="sweep_campaigns", pass_context=True, queue=jobs.DIALLING, queueing_lock="sweep_campaigns"
)
def sweep_campaigns(context: jobs.JobContext, timestamp: int) -> None:
    """Ask for a step of each running campaign, in case that its event was lost."""
    many: Campaigns = context.additional_context["campaigns"]
    many.sweep()


@jobs.app.periodic(cron="41 * * * *")  # hourly
@jobs.app.task(
    name="drop_exports", pass_context=True, queue=jobs.SLOW, queueing_lock="drop_exports"
)
def drop_exports(context: jobs.JobContext, timestamp: int) -> None:
    """Delete the ZIPs of exports after a week."""
    many: Bulks = context.additional_context["bulks"]
    many.drop_exports(datetime.now(UTC) - EXPORTS_KEPT_FOR)


@jobs.app.periodic(cron="* * * * * */5")  # every 5 s: the sixth field is the seconds
@jobs.app.task(  # no lock: a worker that dies in this job would keep the lock for ever
    name="retry_stalled", pass_context=True, queue=jobs.CLOCK, queueing_lock="retry_stalled"
)
async def retry_stalled(context: jobs.JobContext, timestamp: int) -> None:
    """Give the jobs of dead workers to other workers."""
    retried = await jobs.retry_stalled(context)
    if retried:
        log.warning("job.retried", count=retried, reason="its worker died")


@jobs.app.periodic(cron="17 * * * *")  # hourly, away from the full hour
@jobs.app.task(name="drop_events", pass_context=True, queue=jobs.SLOW, queueing_lock="drop_events")
def drop_events(context: jobs.JobContext, timestamp: int) -> None:
    """Delete events after three days; until then a client can resume from them."""
    catalogue: Catalogue = context.additional_context["catalogue"]
    drop_foreign_events(catalogue)
    before = datetime.now(UTC) - EVENTS_KEPT_FOR
    with catalogue.begin() as tx:
        lost = webhooks.note_losses(tx, before)
        events.drop_events(tx, before)
    _log_losses(lost)


@jobs.app.periodic(cron="29 * * * *")
@jobs.app.task(name="tidy", pass_context=True, queue=jobs.SLOW, queueing_lock="tidy")
def tidy(context: jobs.JobContext, timestamp: int) -> None:
    """Delete expired idempotency keys, old bulks and trials, and the traces of old jobs."""
    catalogue: Catalogue = context.additional_context["catalogue"]
    now = datetime.now(UTC)
    with catalogue.begin() as tx:
        idempotency.drop_expired(tx)
        bulks.drop_bulks(tx, now - BULKS_KEPT_FOR)
        trials.drop_trials(tx, now - TRIALS_KEPT_FOR)
        failed_jobs.drop_rests(tx, now - RESTS_KEPT_FOR)
        requests.drop_requests(tx, now - REQUESTS_KEPT_FOR)


def drop_foreign_events(catalogue: Catalogue) -> None:
    """Drop the events of a restored dump, and let webhooks start from now with `events.lost`.

    An event's place is a transaction number, and another PostgreSQL cluster numbers differently.
    """
    with catalogue.begin() as tx:
        lost = webhooks.begin_anew(tx)
        events.drop_unborn(tx)
    _log_losses(lost)


def clear_spool(spool: Path, before: datetime) -> None:
    """Delete files that a dead worker left in the spool before this time.

    Its jobs have been done since, perhaps on another machine, or start from the beginning.
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
    """Work once on the job; log a failure, give up if a retry is of no use, and raise it again."""
    try:
        work(UUID(id_))
    except Exception as error:
        wait_s = decide(error, context.job.attempts)
        details = {**context.job.task_kwargs, "attempt": context.job.attempts + 1}
        if wait_s is None:
            log.exception("job.abandoned", **details)
            give_up(UUID(id_), reason_for(error))
        else:
            log.warning("job.postponed", error=str(error), **details)
        raise


def _log_losses(webhook_ids: Iterable[UUID]) -> None:
    for webhook_id in webhook_ids:
        log.warning("webhook.events-lost", webhook=str(webhook_id))


def _finisher(context: jobs.JobContext) -> Finisher:
    finisher: Any = context.additional_context["finisher"]
    if not isinstance(finisher, Finisher):
        raise TypeError("the worker was started without a finisher")
    return finisher
