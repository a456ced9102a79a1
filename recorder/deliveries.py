"""Webhooks are told of events: each in their order, and none waits for another.

Every worker looks, whenever something happens and every second, for webhooks that are due, and
takes a turn with each in a thread; a lock of PostgreSQL makes it one turn at a time, and goes with
whoever holds it. How far a webhook is, and when it is tried again, stands in its row: so whoever
comes after a worker that was killed sends at worst one event again.

These are not jobs of the queue: a receiver that takes its time must not keep one of the few
workers from finishing recordings.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from recorder.webhooks import Reply, Sender, Verdict, changes_of, is_wanted, judge
from storage.catalogue import events, webhooks
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import CatalogueUnavailable, NoSuchWebhook
from storage.records import EventRecord, WebhookRecord

log = structlog.get_logger()

AT_ONCE = 8
READ_AT_ONCE = 100
TURN_S = 30.0
LOOK_EVERY_S = 1.0
# What comes sooner goes along with the next look.
AT_MOST_EVERY_S = 0.2
AFTER_A_DEFECT_S = 60.0


class Deliveries:
    """Delivers, in threads, from its making to `close`; use it as a context."""

    def __init__(
        self,
        catalogue: Catalogue,
        make_sender: Callable[[], Sender],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._catalogue = catalogue
        self._make_sender = make_sender
        self._uniform = uniform
        self._closed = threading.Event()
        self._turns: dict[UUID, threading.Thread] = {}
        self._thread = threading.Thread(target=self._follow, name="deliveries", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Deliveries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Begin no more; what is being sent may be sent again by another worker."""
        self._closed.set()
        self._thread.join(timeout=2)

    def _follow(self) -> None:
        seen = 0
        with Notifications(self._catalogue) as notifications:
            while not self._closed.is_set():
                self._watched(self._begin_turns)
                seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)
                self._closed.wait(AT_MOST_EVERY_S)

    def _begin_turns(self) -> None:
        with self._catalogue.begin() as tx:
            due = webhooks.list_due(tx, datetime.now(UTC))
        self._turns = {id_: one for id_, one in self._turns.items() if one.is_alive()}
        waiting = [one.id for one in due if one.id not in self._turns]
        for id_ in waiting[: AT_ONCE - len(self._turns)]:
            turn = threading.Thread(target=self._watched, args=(self._turn, id_), daemon=True)
            self._turns[id_] = turn
            turn.start()

    def _watched(self, act: Callable[..., None], *arguments: UUID) -> None:
        """A defect is told, and not repeated at once; that PostgreSQL is away the worker tells."""
        try:
            act(*arguments)
        except (CatalogueUnavailable, NoSuchWebhook):
            return
        except Exception:
            log.exception("webhook.broken", webhook=[str(one) for one in arguments])
            self._closed.wait(AFTER_A_DEFECT_S)

    def _turn(self, webhook_id: UUID) -> None:
        with self._catalogue.try_lock(f"webhook {webhook_id}") as lock:
            if lock is None:
                return
            ends_at = time.monotonic() + TURN_S
            with self._make_sender() as sender:
                while self._deliver_some(webhook_id, sender, ends_at):
                    pass

    def _deliver_some(self, webhook_id: UUID, sender: Sender, ends_at: float) -> bool:
        """Send the next events; whether there may be more that can be sent now."""
        with self._catalogue.begin() as tx:
            webhook = webhooks.get_webhook(tx, webhook_id)
            secret = webhooks.get_secret(tx, webhook_id)
            found = events.list_events(tx, webhook.after, READ_AT_ONCE)
        if webhook.gone or (webhook.retry_at and webhook.retry_at > datetime.now(UTC)):
            return False
        for event, passed in _steps(webhook, found):
            if self._closed.is_set() or time.monotonic() > ends_at:
                return False
            reply = sender.send(webhook.url, secret, event)
            changed = self._note(webhook, event, reply, passed)
            if changed is None or changed.gone or changed.retry_at is not None:
                return False
            webhook = changed
        if found:
            self._change(webhook, {"after": found[-1].id})
        return bool(found)

    def _note(
        self, webhook: WebhookRecord, event: EventRecord, reply: Reply, passed: Mapping[str, Any]
    ) -> WebhookRecord | None:
        """What came of sending it; the webhook as it is then, None where another was faster."""
        verdict = judge(webhook, reply, self._uniform)
        changes = changes_of(webhook, verdict, reply, datetime.now(UTC), passed)
        changed = self._change(webhook, changes)
        if changed is not None:
            _tell(webhook, event, verdict, reply)
        return changed

    def _change(self, webhook: WebhookRecord, changes: Mapping[str, Any]) -> WebhookRecord | None:
        with self._catalogue.begin() as tx:
            return webhooks.change_webhook(tx, webhook, changes)


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
