"""Answers to requests with an Idempotency-Key, kept so that a repeat gets the same one."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from storage.errors import IdempotencyKeyReused
from storage.schema import idempotency, token

KEPT_FOR = timedelta(hours=24)
# A request without an answer after this time has died.
ABANDONED_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to a request: HTTP status and JSON body."""

    status: int
    body: Any


def fingerprint(secret: str, method: str, path: str, body: bytes) -> bytes:
    """Return a digest that is equal for equal requests of one principal.

    A body may hold a password. The digest is keyed with the principal's secret, so nobody else can
    test guesses.
    """
    request = b"\0".join((method.encode(), path.encode(), body))
    return hmac.digest(secret.encode(), request, "sha256")


def claim_key(tx: Connection, token_id: UUID, key: str, request: bytes) -> StoredAnswer | None:
    """Claim a key for a request. Return None when it is new: act on the request now.

    Return the stored answer of an earlier request with this key: send it again.
    Example: two equal POSTs with `Idempotency-Key: 42` get one recording and two equal answers.

    Raises IdempotencyKeyReused if the key belongs to another request, or to one still running.
    """
    now = datetime.now(UTC)
    mine = (idempotency.c.token_id == token_id) & (idempotency.c.key == key)
    tx.execute(delete(idempotency).where(mine, _expired(now)))
    claimed = tx.execute(
        insert(idempotency)
        .values(token_id=token_id, key=key, fingerprint=request, created_at=now)
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    ).one_or_none()
    if claimed is not None:
        return None
    row = tx.execute(select(idempotency).where(mine)).one_or_none()
    if row is None:  # its request has just failed and released it
        return claim_key(tx, token_id, key, request)
    if row.fingerprint != request:
        raise IdempotencyKeyReused("this Idempotency-Key was used for a different request")
    if row.status is None:
        raise IdempotencyKeyReused("the request with this Idempotency-Key is still running")
    return StoredAnswer(row.status, row.body)


def keep_answer(tx: Connection, token_id: UUID, key: str, answer: StoredAnswer) -> None:
    """Save the answer to a request."""
    tx.execute(
        update(idempotency)
        .where(idempotency.c.token_id == token_id, idempotency.c.key == key)
        .values(status=answer.status, body=answer.body)
    )


def release_key(tx: Connection, token_id: UUID, key: str) -> None:
    """Free the key of a request that failed, so that a retry may use it."""
    tx.execute(
        delete(idempotency).where(idempotency.c.token_id == token_id, idempotency.c.key == key)
    )


def drop_answers_of(tx: Connection, owner_ids: Collection[UUID]) -> None:
    """Delete the stored answers to these tokens, and to the sessions of these people."""
    sessions = select(token.c.id).where(token.c.user_id.in_(owner_ids))
    theirs = or_(idempotency.c.token_id.in_(owner_ids), idempotency.c.token_id.in_(sessions))
    tx.execute(delete(idempotency).where(theirs, idempotency.c.status.is_not(None)))


def drop_expired(tx: Connection) -> None:
    """Delete the answers that are too old for a repeat."""
    tx.execute(delete(idempotency).where(_expired(datetime.now(UTC))))


def _expired(now: datetime) -> ColumnElement[bool]:
    """Return the condition for an answer that is too old, or will never come."""
    created_at = idempotency.c.created_at
    abandoned = idempotency.c.status.is_(None) & (created_at < now - ABANDONED_AFTER)
    return (created_at < now - KEPT_FOR) | abandoned
