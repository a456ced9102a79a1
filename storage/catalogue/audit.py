"""The audit trail: every action of a person or a token, and every refusal."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, literal_column, select
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, slice_of
from storage.records import Actor, AuditRecord, Outcome, Slice
from storage.schema import audit

# A literal, not a parameter: else PostgreSQL does not use the index of refusals.
_REFUSED = audit.c.outcome == literal_column("'refused'")
HEARD = "recording.heard"
ONE_HEARING = timedelta(minutes=15)


def add_audit(
    tx: Connection,
    *,
    actor: Actor,
    action: str,
    subject: str,
    outcome: Outcome,
    detail: Mapping[str, Any],
) -> None:
    """Add an entry: `actor` did `action` (`spy.start`) to `subject`, or was refused.

    `subject` is an id or a text from outside; NUL characters are removed, because PostgreSQL
    refuses them. `detail` is JSON-able.
    """
    tx.execute(
        insert(audit).values(
            id=uuid7(),
            at=datetime.now(UTC),
            actor_kind=actor.kind,
            actor=actor.name,
            action=action,
            subject=subject.replace("\0", ""),
            outcome=outcome,
            detail=dict(detail),
        )
    )


def add_audits(
    tx: Connection, actor: Actor, action: str, subjects: Iterable[str], *, detail: Mapping[str, Any]
) -> None:
    """Add an entry for each of `subjects`: `actor` did `action` to it."""
    shared = {
        "actor_kind": actor.kind,
        "actor": actor.name,
        "action": action,
        "outcome": "done",
        "detail": dict(detail),
    }
    now = datetime.now(UTC)
    rows = [{**shared, "id": uuid7(), "at": now, "subject": one} for one in subjects]
    if rows:
        tx.execute(insert(audit), rows)


def note_heard(
    tx: Connection, recording_id: UUID, *, actor: Actor, detail: Mapping[str, Any]
) -> None:
    """Add an entry: `actor` heard the recording.

    A player reads audio in parts, so further requests within `ONE_HEARING` belong to the same
    hearing.
    """
    query = select(audit.c.id).where(
        audit.c.subject == str(recording_id),
        audit.c.actor_kind == actor.kind,
        audit.c.actor == actor.name,
        audit.c.action == HEARD,
        audit.c.at > datetime.now(UTC) - ONE_HEARING,
    )
    if tx.scalar(query.limit(1)) is None:
        subject = str(recording_id)
        add_audit(tx, actor=actor, action=HEARD, subject=subject, outcome="done", detail=detail)


def list_heard(tx: Connection, recording_id: UUID, *, limit: int) -> tuple[AuditRecord, ...]:
    """Return the entries of everyone who heard the recording, newest first."""
    query = select(audit).where(audit.c.subject == str(recording_id), audit.c.action == HEARD)
    rows = tx.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings()
    return tuple(AuditRecord(**row) for row in rows)


def list_audit(
    tx: Connection, *, limit: int, cursor: str | None = None, **narrowed: str | None
) -> Slice[AuditRecord]:
    """Return a slice of the trail, newest first, `narrowed` to an actor or its kind, an
    action, a subject or an outcome.

    Raises BadCursor.
    """
    wanted = [audit.c[name] == value for name, value in narrowed.items() if value]
    if narrowed.get("outcome") == "refused":
        wanted.append(_REFUSED)
    query = select(audit).where(*wanted)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(audit.c.id < before)
    rows = tx.execute(query.order_by(audit.c.id.desc()).limit(limit + 1)).mappings()
    return slice_of([AuditRecord(**row) for row in rows], limit, lambda one: (str(one.id),))
