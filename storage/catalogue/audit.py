"""The audit trail: who did what to what, and what was refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, insert, select
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, encode_cursor
from storage.records import AuditRecord, Page
from storage.schema import audit

Outcome = Literal["done", "refused"]


def add_audit(
    tx: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    outcome: Outcome,
    detail: Mapping[str, Any],
) -> None:
    """Write down that `actor` did `action` (`spy.start`) to `subject`, or was refused it.

    `subject` is an id; `detail` is JSON-able.
    """
    tx.execute(
        insert(audit).values(
            id=uuid7(),
            at=datetime.now(UTC),
            actor=actor,
            action=action,
            subject=subject,
            outcome=outcome,
            detail=dict(detail),
        )
    )


def list_audit(tx: Connection, *, limit: int, cursor: str | None = None) -> Page[AuditRecord]:
    """A page of the trail, newest first. Raises BadCursor."""
    query = select(audit)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(audit.c.id < before)
    rows = tx.execute(query.order_by(audit.c.id.desc()).limit(limit + 1)).mappings()
    found = tuple(AuditRecord(**row) for row in rows)
    more = len(found) > limit
    return Page(found[:limit], encode_cursor(str(found[limit - 1].id)) if more else None)
