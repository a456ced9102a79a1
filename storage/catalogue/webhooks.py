"""Webhooks: servers that are told of events, and how far each has been told."""

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
from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.errors import NoSuchWebhook
from storage.records import Slice, WebhookRecord, shallow
from storage.schema import webhook

PREFIX = "whsec_"
# Jobs that wait for receivers have a queue of their own, and keep no others waiting.
QUEUE = "webhooks"
_COLUMNS = [webhook.c[field.name] for field in fields(WebhookRecord)]


def create_webhook(
    tx: Connection, *, url: str, types: Sequence[str], by: str
) -> tuple[WebhookRecord, str]:
    """A new webhook, which is told what happens from now on, and its secret."""
    after = events.newest_event_id(tx)
    made = WebhookRecord(uuid7(), url, tuple(types), datetime.now(UTC), by, after)
    secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    tx.execute(insert(webhook).values(shallow(made) | {"types": list(types), "secret": secret}))
    return made, secret


def get_secret(tx: Connection, webhook_id: UUID) -> str:
    """What signs its events. Raises NoSuchWebhook."""
    secret = tx.scalar(select(webhook.c.secret).where(webhook.c.id == webhook_id))
    if secret is None:
        raise NoSuchWebhook(f"there is no webhook {webhook_id}")
    return str(secret)


def list_webhooks(
    tx: Connection, *, limit: int | None = None, cursor: str | None = None
) -> Slice[WebhookRecord]:
    """A page of the webhooks, oldest first; every one where there is no limit."""
    query = select(*_COLUMNS).order_by(webhook.c.id)
    if cursor is not None:
        (after,) = decode_cursor(cursor, UUID)
        query = query.where(webhook.c.id > after)
    rows = tx.execute(query.limit(one_more(limit))).mappings()
    return slice_of([_record(row) for row in rows], limit, lambda one: (str(one.id),))


def get_webhook(tx: Connection, webhook_id: UUID) -> WebhookRecord:
    """The one of this id. Raises NoSuchWebhook."""
    row = tx.execute(select(*_COLUMNS).where(webhook.c.id == webhook_id)).mappings().one_or_none()
    if row is None:
        raise NoSuchWebhook(f"there is no webhook {webhook_id}")
    return _record(row)


def delete_webhook(tx: Connection, webhook_id: UUID) -> WebhookRecord:
    """It is told nothing more. Raises NoSuchWebhook."""
    found = get_webhook(tx, webhook_id)
    tx.execute(delete(webhook).where(webhook.c.id == webhook_id))
    return found


def list_due(tx: Connection, now: datetime) -> tuple[WebhookRecord, ...]:
    """Those for which there is something that may be sent now; who waited longest comes first."""
    newest = events.parse_event_id(events.newest_event_id(tx))
    may = or_(webhook.c.retry_at.is_(None), webhook.c.retry_at <= now)
    query = select(*_COLUMNS).where(~webhook.c.gone, may)
    since = func.coalesce(webhook.c.retry_at, webhook.c.last_delivered_at, webhook.c.created_at)
    found = (_record(row) for row in tx.execute(query.order_by(since)).mappings())
    return tuple(one for one in found if one.lost or events.parse_event_id(one.after) < newest)


def defer_due(tx: Connection, now: datetime) -> None:
    """Ask for a turn with each that is due, unless one is coming anyway."""
    for one in list_due(tx, now):
        id_ = str(one.id)
        jobs.defer_once(tx, "deliver", lock=id_, queue=QUEUE, webhook_id=id_)


def hurry_webhook(tx: Connection, known: WebhookRecord) -> None:
    """What it still has to be told waits no longer."""
    change_webhook(tx, known, {"retry_at": None})
    jobs.hurry(tx, str(known.id))


def change_webhook(
    tx: Connection, known: WebhookRecord, columns: Mapping[str, Any]
) -> WebhookRecord | None:
    """Write down how it went; None where another was faster, or the webhook was removed."""
    where = (webhook.c.id == known.id, webhook.c.after == known.after)
    changed = update(webhook).where(*where).values(columns).returning(*_COLUMNS)
    row = tx.execute(changed).mappings().one_or_none()
    return _record(row) if row is not None else None


def note_losses(tx: Connection, before: datetime) -> Sequence[UUID]:
    """The events of before this time are about to be dropped: the webhooks that wait for one."""
    known = list_webhooks(tx).items
    nexts = {one.id: events.list_events(tx, one.after, limit=1) for one in known}
    waiting = [id_ for id_, found in nexts.items() if found and found[0].at < before]
    where = (webhook.c.id.in_(waiting), ~webhook.c.gone)
    noted = update(webhook).where(*where).values(lost=True, rejections=0)
    return tx.scalars(noted.returning(webhook.c.id)).all()


def begin_anew(tx: Connection) -> Sequence[UUID]:
    """Those that have got to a place where nothing has happened yet, by a dump of another cluster.

    They are told from the oldest event on, and that some are lost. For a transaction that writes
    no events.
    """
    place = cast(func.split_part(webhook.c.after, "-", 1), BigInteger)
    where = (place >= events.UNBORN, ~webhook.c.gone)
    begun = {"after": events.BEGINNING, "lost": True, "rejections": 0, "retry_at": None}
    noted = update(webhook).where(*where).values(begun)
    return tx.scalars(noted.returning(webhook.c.id)).all()


def _record(row: RowMapping) -> WebhookRecord:
    return WebhookRecord(**{**row, "types": tuple(row["types"])})
