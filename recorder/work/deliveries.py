"""Deliver events to webhooks: in order for each, and no webhook waits for another.

A *turn* with one webhook is a job. The webhook's row holds its place among the events and the time
of its next attempt, so after a killed worker another one repeats at most one event. Every worker
runs a thread that looks for webhooks that are behind and have no job: whenever something happens,
and every 2 s.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from tenacity import RetryCallState, Retrying, wait_random_exponential

from recorder.background import running_in_background
from recorder.work.retry import backoff_s
from recorder.work.webhooks import (
    DeliveryOutcome,
    Sender,
    WebhookResponse,
    changes_of,
    classify_response,
    is_wanted,
)
from storage.catalogue import events, webhooks
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import CatalogueUnavailable, NoSuchWebhook
from storage.records import EventRecord, WebhookRecord

log = structlog.get_logger()

READ_AT_ONCE = 100
# After this time a turn ends, so that a waiting webhook gets the thread.
TURN_S = 30.0
# Notifications miss an event that a longer transaction hid, so look without one, too.
LOOK_EVERY_S = 2.0
# All that happens within this time is handled by one look.
AT_MOST_EVERY_S = 0.2


@contextlib.contextmanager
def looking(catalogue: Catalogue) -> Iterator[None]:
    """Look for webhooks that are behind, in a thread, for the length of the block."""
    with running_in_background(partial(_look, catalogue), "webhooks", join_s=2.0):
        yield


def _look(catalogue: Catalogue, closed: threading.Event) -> None:
    def log_defect(state: RetryCallState) -> None:
        # Once. The worker itself logs that PostgreSQL is away.
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1 and not isinstance(error, CatalogueUnavailable):
            log.error("webhook.crashed", exc_info=error)

    def defer_due() -> None:
        with catalogue.begin() as tx:
            webhooks.defer_due(tx, datetime.now(UTC))

    persist = Retrying(
        wait=wait_random_exponential(multiplier=0.5, max=10), before_sleep=log_defect
    )
    seen = 0
    with Notifications(catalogue) as notifications:
        while not closed.is_set():
            persist(defer_due)
            seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)
            closed.wait(AT_MOST_EVERY_S)


class Postponed(Exception):
    """The next event can be sent in `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"again in {wait_s:.1f} s")
        self.wait_s = wait_s


def wait_after(error: BaseException, attempts: int) -> float:
    """Return the seconds until a webhook's next turn; a webhook is never given up."""
    return error.wait_s if isinstance(error, Postponed) else backoff_s(attempts)


@dataclass(frozen=True)
class Deliverer:
    """The turns of the webhooks, each with a connection of its own."""

    catalogue: Catalogue
    make_sender: Callable[[], Sender]
    uniform: Callable[[float, float], float] = random.uniform

    def take_turn(self, webhook_id: UUID, is_ending: Callable[[], bool]) -> None:
        """Send the next events of one webhook until none is left or the turn is over.

        Raises Postponed if the next event must wait.
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
            log.exception("webhook.crashed", webhook=str(webhook_id))
            raise

    def _deliver_some(
        self, webhook_id: UUID, sender: Sender, may_go_on: Callable[[], bool]
    ) -> bool:
        """Send the next events; return whether more may be ready to be sent."""
        with self.catalogue.begin() as tx:
            webhook = webhooks.get_webhook(tx, webhook_id)
            secret = webhooks.get_secret(tx, webhook_id)
            found = events.list_events(tx, webhook.after, READ_AT_ONCE)
        if webhook.gone:
            return False
        if (wait_s := _wait_s(webhook)) > 0:
            raise Postponed(wait_s)
        # Each event to send, with the columns that move the webhook past this event.
        wanted: list[tuple[EventRecord, Mapping[str, Any]]] = [
            (event, {"after": event.id}) for event in found if is_wanted(webhook, event.type)
        ]
        if webhook.lost:
            id_ = f"lost-{webhook.after}"
            lost = EventRecord(id_, "events.lost", datetime.now(UTC), None, {})
            wanted.insert(0, (lost, {"lost": False}))
        for event, passed in wanted:
            if not may_go_on():
                return False
            response = sender.send(webhook.url, secret, event)
            outcome = classify_response(webhook, response, self.uniform)
            changes = changes_of(webhook, outcome, response, datetime.now(UTC), passed)
            changed = self._change(webhook, changes)
            if changed is None:
                return False  # another worker was faster
            _log_change(webhook, event, outcome, response)
            if changed.gone:
                return False
            if changed.retry_at is not None:  # even if that time has come already
                raise Postponed(_wait_s(changed))
            webhook = changed
        if found:
            self._change(webhook, {"after": found[-1].id})
        return bool(found)

    def _change(self, webhook: WebhookRecord, changes: Mapping[str, Any]) -> WebhookRecord | None:
        with self.catalogue.begin() as tx:
            return webhooks.change_webhook(tx, webhook, changes)


def _wait_s(webhook: WebhookRecord) -> float:
    """Return the seconds until the webhook's next event may be sent."""
    now = datetime.now(UTC)
    return max(0.0, ((webhook.retry_at or now) - now).total_seconds())


def _log_change(
    webhook: WebhookRecord, event: EventRecord, outcome: DeliveryOutcome, response: WebhookResponse
) -> None:
    """Log one line for each change of a webhook's health."""
    details = {"webhook": str(webhook.id), "event_id": event.id, "response": response.summary}
    if outcome.kind == "refused":
        log.warning("event.refused", **details)
    elif outcome.kind == "gone":
        log.warning("webhook.stopped", **details)
    elif outcome.kind == "delivered" and webhook.failing_since is not None:
        log.info("webhook.recovered", **details)
    elif outcome.kind != "delivered" and webhook.failing_since is None:
        log.warning("webhook.failed", **details)
