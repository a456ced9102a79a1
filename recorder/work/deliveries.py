"""Deliver events to webhooks: in order for each, and no receiver waits for another.

A *turn* with one webhook is a job. The webhook's row holds its place among the events and the time
of its next attempt, so after a killed worker another one repeats at most one event. Every worker
runs a thread that looks for webhooks that are behind and have no job: whenever something happens,
and every 2 s. It gives turns fairly: a receiver has few at a time, however many webhooks go there,
and receivers that fail leave half of one worker's places to the others.

Each delivery asks for the present rights of the webhook's owner. The owner gets only events that it
may see now, and its webhook stops once it may have none.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from tenacity import RetryCallState, Retrying, wait_random_exponential

from recorder.background import running_in_background
from recorder.work.addresses import parse_target
from recorder.work.retry import backoff_s
from recorder.work.webhooks import (
    DeliveryOutcome,
    Sender,
    WebhookResponse,
    changes_of,
    classify_response,
    is_wanted,
)
from storage.actors import WORK
from storage.catalogue import events, webhooks
from storage.catalogue.engine import Catalogue, take_turns
from storage.catalogue.events import Notifications
from storage.catalogue.rights import Rights, find_rights
from storage.errors import CatalogueUnavailable, NoSuchWebhook
from storage.records import EventRecord, WebhookRecord
from storage.visibility import sees

log = structlog.get_logger()

READ_AT_ONCE = 100
# After this time a turn ends, so that a waiting webhook gets the place.
TURN_S = 10.0
# Of all workers together: the turns of one receiver, and of the webhooks that fail.
MOST_OF_RECEIVER = 2
MOST_FAILING = 16
# Notifications miss an event that a longer transaction hid, so look without one, too.
LOOK_EVERY_S = 2.0
LOST = "events.lost"
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

    persist = Retrying(
        wait=wait_random_exponential(multiplier=0.5, max=10), before_sleep=log_defect
    )
    seen = 0
    with Notifications(catalogue) as notifications:
        while not closed.is_set():
            persist(give_turns, catalogue)
            seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)
            closed.wait(AT_MOST_EVERY_S)


def give_turns(catalogue: Catalogue, *, ended: UUID | None = None) -> None:
    """Defer the turns of the webhooks that are behind; `ended` is one whose turn ends now."""
    with catalogue.begin() as tx:
        if not webhooks.list_due(tx, datetime.now(UTC)):
            return
        take_turns(tx, "webhooks")  # the next caller sees our jobs
        due, busy = webhooks.list_due(tx, datetime.now(UTC)), webhooks.list_busy(tx)
        running = {id_ for id_, runs in busy.items() if runs and id_ != ended}
        known = webhooks.list_webhooks(tx).items
        due = tuple(one for one in due if one.id not in busy)
        for one in choose_turns(due, [one for one in known if one.id in running]):
            webhooks.defer_turn(tx, one.id)


def choose_turns(
    due: Sequence[WebhookRecord], running: Sequence[WebhookRecord]
) -> list[WebhookRecord]:
    """Return the webhooks that get a turn now, of those that are due. Pure.

    Example: of ten webhooks to one receiver the first two get a turn; a third one gets it when one
    of them has ended.
    """
    taken = Counter(_receiver_of(one) for one in running)
    failing = sum(one.failing_since is not None for one in running)
    chosen = []
    for one in due:
        fails = one.failing_since is not None
        if taken[_receiver_of(one)] >= MOST_OF_RECEIVER or (fails and failing >= MOST_FAILING):
            continue
        chosen.append(one)
        taken[_receiver_of(one)] += 1
        failing += fails
    return chosen


def _receiver_of(webhook: WebhookRecord) -> str:
    try:
        return parse_target(webhook.url).receiver
    except ValueError:  # an older version took this URL; its delivery fails at once
        return webhook.url


def wait_after(_error: BaseException, attempts: int) -> float:
    """Return the seconds until the next turn after a defect; a webhook is never given up."""
    return backoff_s(attempts)


@dataclass(frozen=True)
class Deliverer:
    """The turns of the webhooks, each with a connection of its own."""

    catalogue: Catalogue
    make_sender: Callable[[], Sender]
    uniform: Callable[[float, float], float] = random.uniform

    def take_turn(self, webhook_id: UUID, is_ending: Callable[[], bool]) -> None:
        """Send the next events of one webhook until none is left, one must wait, or the turn is
        over."""
        ends_at = time.monotonic() + TURN_S

        def may_go_on() -> bool:
            return not is_ending() and time.monotonic() < ends_at

        try:
            with self.make_sender() as sender:
                while may_go_on() and self._deliver_some(webhook_id, sender, may_go_on):
                    pass
            give_turns(self.catalogue, ended=webhook_id)
        except NoSuchWebhook:
            return  # it was removed
        except CatalogueUnavailable:
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
            rights = _find_rights(tx, webhook)
        if rights is None or _has_ended(webhook) or _must_wait(webhook):
            return False
        # Each event to send, with the columns that move the webhook past this event.
        wanted: list[tuple[EventRecord, Mapping[str, Any]]] = [
            (event, {"after": event.id}) for event in found if is_wanted(webhook, event.type)
        ]
        if webhook.lost:
            id_ = f"lost-{webhook.after}"
            lost = EventRecord(id_, LOST, datetime.now(UTC), None, {})
            wanted.insert(0, (lost, {"lost": False}))
        for event, passed in wanted:
            if not may_go_on():
                return False
            if event.type != LOST and not sees(rights, event):
                continue
            response = sender.send(webhook.url, secret, event)
            outcome = classify_response(webhook, response, self.uniform)
            changes = changes_of(webhook, outcome, response, datetime.now(UTC), passed)
            with self.catalogue.begin() as tx:
                changed = webhooks.change_webhook(tx, webhook, changes)
                # The rights for the next event are never older than this answer.
                rights = _find_rights(tx, webhook)
            if changed is not None:
                _log_change(webhook, event, outcome, response)
            if changed is None or rights is None or _has_ended(changed):
                return False  # without a change another worker was faster
            if changed.retry_at is not None:  # even if that time has come already
                return False
            webhook = changed
        if found:
            with self.catalogue.begin() as tx:
                webhooks.change_webhook(tx, webhook, {"after": found[-1].id})
        return bool(found)


def stop_unless_permitted(tx: Connection, webhook: WebhookRecord) -> WebhookRecord:
    """Return the webhook, stopped with all of its owner if the owner may have none any more."""
    _find_rights(tx, webhook)
    return webhooks.get_webhook(tx, webhook.id)


def _find_rights(tx: Connection, webhook: WebhookRecord) -> Rights | None:
    """Return the present rights of a webhook's owner; None, and stop it, if it may have none."""
    rights = find_rights(tx, webhook.owner_id)
    cause = webhooks.stop_cause_of(rights)
    if cause is None:
        return rights
    for one in webhooks.stop_webhooks_of(tx, webhook.owner_id, cause=cause, actor=WORK):
        log.warning("webhook.stopped", webhook=str(one.id), reason=cause, by=WORK.name)
    return None


def _has_ended(webhook: WebhookRecord) -> bool:
    return webhook.gone or webhook.stopped is not None


def _must_wait(webhook: WebhookRecord) -> bool:
    return webhook.retry_at is not None and webhook.retry_at > datetime.now(UTC)


def _log_change(
    webhook: WebhookRecord, event: EventRecord, outcome: DeliveryOutcome, response: WebhookResponse
) -> None:
    """Log one line for each change of a webhook's health."""
    details = {"webhook": str(webhook.id), "event_id": event.id, "response": response.summary}
    if outcome.kind == "refused":
        log.warning("event.refused", **details)
    elif outcome.kind == "gone":
        log.warning("webhook.stopped", reason="gone", **details)
    elif outcome.kind == "delivered" and webhook.failing_since is not None:
        log.info("webhook.recovered", **details)
    elif outcome.kind != "delivered" and webhook.failing_since is None:
        log.warning("webhook.failed", **details)
