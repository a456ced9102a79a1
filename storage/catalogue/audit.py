"""The audit trail: who did what to what, and what was refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert
from uuid_utils.compat import uuid7

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
