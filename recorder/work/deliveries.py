"""Webhooks are told of events: each in their order, and none waits for another.

A turn with one webhook is a job. How far the webhook is, and when it is tried again, stands in its
row: so whoever comes after a worker that was killed sends at worst one event again. The jobs are
asked for by every worker, which looks, whenever something happens and every 2 s, for webhooks
that are behind and have none.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from tenacity import RetryCallState, Retrying, wait_random_exponential

from recorder.work.retry import backoff_s
from recorder.work.webhooks import Reply, Sender, Verdict, changes_of, is_wanted, judge
from storage.catalogue import events, webhooks
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import CatalogueUnavailable, NoSuchWebhook
from storage.records import EventRecord, WebhookRecord

log = structlog.get_logger()

READ_AT_ONCE = 100
# Then it is the turn of one that waits.
TURN_S = 30.0
# Something wakes who looks, but not when a transaction ends that hid what happened after it.
LOOK_EVERY_S = 2.0
# What comes sooner goes along with the next look.
AT_MOST_EVERY_S = 0.2


# Who is behind


@contextlib.contextmanager
def looking(catalogue: Catalogue) -> Iterator[None]:
    """Ask for jobs, in a thread, for the length of the block."""
    closed = threading.Event()
    thread = threading.Thread(target=_look, args=(catalogue, closed), name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join(timeout=2)


def _look(catalogue: Catalogue, closed: threading.Event) -> None:
    persist = Retrying(
        wait=wait_random_exponential(multiplier=0.5, max=10), before_sleep=_tell_defect
    )
    seen = 0
    with Notifications(catalogue) as notifications:
        while not closed.is_set():
            persist(_defer_due, catalogue)
            seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)
            closed.wait(AT_MOST_EVERY_S)


def _defer_due(catalogue: Catalogue) -> None:
    with catalogue.begin() as tx:
        webhooks.defer_due(tx, datetime.now(UTC))


def _tell_defect(state: RetryCallState) -> None:
    """Once; that PostgreSQL is away the worker tells."""
    error = state.outcome.exception() if state.outcome else None
    if state.attempt_number == 1 and not isinstance(error, CatalogueUnavailable):
        log.error("webhook.broken", exc_info=error)


# A turn


class Postponed(Exception):
    """The next event is to be sent in `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"again in {wait_s:.1f} s")
        self.wait_s = wait_s


def wait_after(error: BaseException, attempts: int) -> float:
    """Seconds until the job of a webhook is run again: it is never given up."""
    return error.wait_s if isinstance(error, Postponed) else backoff_s(attempts)


@dataclass(frozen=True)
class Deliverer:
    """Takes the turns."""

    catalogue: Catalogue
    make_sender: Callable[[], Sender]
    uniform: Callable[[float, float], float] = random.uniform

    def take_turn(self, webhook_id: UUID, is_ending: Callable[[], bool]) -> None:
        """Send what one webhook has not been told, as far as time allows.

        Raises Postponed where that is to go on later.
        """
        ends_at = time.monotonic() + TURN_S

        def may_go_on() -> bool:
            return not is_ending() and time.monotonic() < ends_at

        try:
            with self.make_sender() as sender:
                while may_go_on() and self._deliver_some(webhook_id, sender, may_go_on):
                    pass
        except NoSuchWebhook:
            return  # it was removed
        except (CatalogueUnavailable, Postponed):
            raise
        except Exception:
            log.exception("webhook.broken", webhook=str(webhook_id))
            raise

    def _deliver_some(
        self, webhook_id: UUID, sender: Sender, may_go_on: Callable[[], bool]
    ) -> bool:
        """Send the next events; whether there may be more that can be sent now."""
        with self.catalogue.begin() as tx:
            webhook = webhooks.get_webhook(tx, webhook_id)
            secret = webhooks.get_secret(tx, webhook_id)
            found = events.list_events(tx, webhook.after, READ_AT_ONCE)
        if webhook.gone:
            return False
        if _wait_s(webhook) > 0:
            raise Postponed(_wait_s(webhook))
        for event, passed in _steps(webhook, found):
            if not may_go_on():
                return False
            reply = sender.send(webhook.url, secret, event)
            changed = self._note(webhook, event, reply, passed)
            if changed is None or changed.gone:
                return False
            if changed.retry_at is not None:  # though the time may have come already
                raise Postponed(_wait_s(changed))
            webhook = changed
        if found:
            self._change(webhook, {"after": found[-1].id})
        return bool(found)

    def _note(
        self, webhook: WebhookRecord, event: EventRecord, reply: Reply, passed: Mapping[str, Any]
    ) -> WebhookRecord | None:
        """What came of sending it; the webhook as it is then, None where another was faster."""
        verdict = judge(webhook, reply, self.uniform)
        changes = changes_of(webhook, verdict, reply, datetime.now(UTC), passed)
        changed = self._change(webhook, changes)
        if changed is not None:
            _tell(webhook, event, verdict, reply)
        return changed

    def _change(self, webhook: WebhookRecord, changes: Mapping[str, Any]) -> WebhookRecord | None:
        with self.catalogue.begin() as tx:
            return webhooks.change_webhook(tx, webhook, changes)


def _wait_s(webhook: WebhookRecord) -> float:
    """Seconds until it may be told of its next event."""
    now = datetime.now(UTC)
    return max(0.0, ((webhook.retry_at or now) - now).total_seconds())


def _steps(
    webhook: WebhookRecord, found: Sequence[EventRecord]
) -> Iterator[tuple[EventRecord, Mapping[str, Any]]]:
    """What is to be sent, each with the columns that leave it behind."""
    if webhook.lost:
        id_ = f"lost-{webhook.after}"
        yield EventRecord(id_, "events.lost", datetime.now(UTC), None, {}), {"lost": False}
    for event in found:
        if is_wanted(webhook, event.type):
            yield event, {"after": event.id}


def _tell(webhook: WebhookRecord, event: EventRecord, verdict: Verdict, reply: Reply) -> None:
    """One line for each change of how it goes."""
    told = {"webhook": str(webhook.id), "event_id": event.id, "reply": reply.told}
    if verdict.what == "refused":
        log.warning("webhook.refused", **told)
    elif verdict.what == "gone":
        log.warning("webhook.gone", **told)
    elif verdict.what == "delivered" and webhook.failing_since is not None:
        log.info("webhook.recovered", **told)
    elif verdict.what != "delivered" and webhook.failing_since is None:
        log.warning("webhook.failing", **told)
