"""Webhooks: the servers that get our events, and the progress of each delivery."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    RowMapping,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from uuid_utils.compat import uuid7

from storage import jobs
from storage.catalogue import audit, events
from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.rights import Rights
from storage.errors import NoSuchWebhook
from storage.permissions import EVENTS_READ, SYSTEM_WRITE
from storage.records import Actor, Slice, StopCause, WebhookRecord, shallow
from storage.schema import webhook

PREFIX = "whsec_"
# A queue of its own: jobs that wait for a receiver delay no others.
QUEUE = "webhooks"
_COLUMNS = [webhook.c[field.name] for field in fields(WebhookRecord)]


def create_webhook(
    tx: Connection, *, url: str, types: Sequence[str], by: str, owner_id: UUID
) -> tuple[WebhookRecord, str]:
    """Create a webhook for the events from now on, and return it with its secret."""
    after = events.newest_event_id(tx)
    made = WebhookRecord(
        uuid7(), url, tuple(types), datetime.now(UTC), by, after, owner_id=owner_id
    )
    secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    tx.execute(insert(webhook).values(shallow(made) | {"types": list(types), "secret": secret}))
    return made, secret


def get_secret(tx: Connection, webhook_id: UUID) -> str:
    """Return the secret that signs the events of a webhook. Raises NoSuchWebhook."""
    secret = tx.scalar(select(webhook.c.secret).where(webhook.c.id == webhook_id))
    if secret is None:
        raise NoSuchWebhook(f"there is no webhook {webhook_id}")
    return str(secret)


def list_webhooks(
    tx: Connection, *, limit: int | None = None, cursor: str | None = None
) -> Slice[WebhookRecord]:
    """Return a slice of the webhooks, oldest first; all without a limit."""
    query = select(*_COLUMNS).order_by(webhook.c.id)
    if cursor is not None:
        (after,) = decode_cursor(cursor, UUID)
        query = query.where(webhook.c.id > after)
    rows = tx.execute(query.limit(one_more(limit))).mappings()
    return slice_of([_record(row) for row in rows], limit, lambda one: (str(one.id),))


def get_webhook(tx: Connection, webhook_id: UUID) -> WebhookRecord:
    """Return the webhook of this id. Raises NoSuchWebhook."""
    row = tx.execute(select(*_COLUMNS).where(webhook.c.id == webhook_id)).mappings().one_or_none()
    if row is None:
        raise NoSuchWebhook(f"there is no webhook {webhook_id}")
    return _record(row)


def delete_webhook(tx: Connection, webhook_id: UUID) -> WebhookRecord:
    """Delete a webhook, and return it. Raises NoSuchWebhook."""
    found = get_webhook(tx, webhook_id)
    tx.execute(delete(webhook).where(webhook.c.id == webhook_id))
    return found


def stop_cause_of(rights: Rights | None) -> StopCause | None:
    """Return why an owner with these rights, None if it is gone, may not have webhooks. Pure."""
    if rights is None:
        return "owner-gone"
    return None if rights.may(SYSTEM_WRITE, EVENTS_READ) else "right-lost"


def stop_webhooks_of(
    tx: Connection, owner_id: UUID | None, *, cause: StopCause, actor: Actor
) -> tuple[WebhookRecord, ...]:
    """Stop and audit the webhooks of an owner that may have none; return those that went on.

    A stopped webhook gets no event ever again, also if its owner gets the right back.
    """
    mine = webhook.c.owner_id.is_not_distinct_from(owner_id)
    lives = webhook.c.stopped.is_(None)
    changed = update(webhook).where(mine, lives).values(stopped=cause, retry_at=None)
    rows = tx.execute(changed.returning(*_COLUMNS)).mappings()
    stopped = tuple(_record(row) for row in rows)
    detail = {"cause": cause}
    audit.add_audits(tx, actor, "webhook.stop", [str(one.id) for one in stopped], detail=detail)
    return stopped


def list_due(tx: Connection, now: datetime) -> tuple[WebhookRecord, ...]:
    """Return the webhooks with an event that may be sent now; the one that waited longest comes
    first."""
    newest = events.parse_event_id(events.newest_event_id(tx))
    may = or_(webhook.c.retry_at.is_(None), webhook.c.retry_at <= now)
    query = select(*_COLUMNS).where(~webhook.c.gone, webhook.c.stopped.is_(None), may)
    since = func.coalesce(webhook.c.retry_at, webhook.c.last_delivered_at, webhook.c.created_at)
    found = (_record(row) for row in tx.execute(query.order_by(since)).mappings())
    return tuple(one for one in found if one.lost or events.parse_event_id(one.after) < newest)


def list_busy(tx: Connection) -> Mapping[UUID, bool]:
    """Return the webhooks with a job, each with whether the job runs, or may run now."""
    return {UUID(id_): runs for id_, runs in jobs.list_live(tx, QUEUE).items()}


def defer_turn(tx: Connection, webhook_id: UUID) -> None:
    """Defer a delivery for the webhook, unless one is waiting already."""
    id_ = str(webhook_id)
    jobs.defer_once(tx, "deliver", lock=id_, queue=QUEUE, webhook_id=id_)


def deliver_now(tx: Connection, known: WebhookRecord) -> None:
    """Deliver the events that wait for a retry now."""
    change_webhook(tx, known, {"retry_at": None})
    jobs.run_now(tx, str(known.id))
    events.wake_readers(tx)


def change_webhook(
    tx: Connection, known: WebhookRecord, columns: Mapping[str, Any]
) -> WebhookRecord | None:
    """Save the result of a delivery. Return None if another process was faster, or deleted the
    webhook."""
    where = (webhook.c.id == known.id, webhook.c.after == known.after)
    changed = update(webhook).where(*where).values(columns).returning(*_COLUMNS)
    row = tx.execute(changed).mappings().one_or_none()
    return _record(row) if row is not None else None


def note_losses(tx: Connection, before: datetime) -> Sequence[UUID]:
    """Mark the webhooks that still need an event from before this time: it is about to be
    dropped."""
    known = list_webhooks(tx).items
    nexts = {one.id: events.list_events(tx, one.after, limit=1) for one in known}
    waiting = [id_ for id_, found in nexts.items() if found and found[0].at < before]
    where = (webhook.c.id.in_(waiting), ~webhook.c.gone)
    noted = update(webhook).where(*where).values(lost=True, rejections=0)
    return tx.scalars(noted.returning(webhook.c.id)).all()


def begin_anew(tx: Connection) -> Sequence[UUID]:
    """Reset the webhooks whose position lies in the future, and return their ids.

    A dump of another cluster leaves such positions. These webhooks get every event from the oldest
    one on, and a note that some are lost. Use it in a transaction that writes no event.
    """
    place = cast(func.split_part(webhook.c.after, "-", 1), BigInteger)
    where = (place >= events.UNBORN, ~webhook.c.gone)
    begun = {"after": events.BEGINNING, "lost": True, "rejections": 0, "retry_at": None}
    noted = update(webhook).where(*where).values(begun)
    return tx.scalars(noted.returning(webhook.c.id)).all()


def _record(row: RowMapping) -> WebhookRecord:
    return WebhookRecord(**{**row, "types": tuple(row["types"])})
