"""The audit trail of spies, and the end of a supervisor's spies when the right is withdrawn."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection

from storage.catalogue import audit, spies
from storage.records import Actor, SpyRecord

log = structlog.get_logger()


def note(
    tx: Connection, by: Actor, action: str, spy: SpyRecord, outcome: Any = "done", **detail: str
) -> None:
    """Write into the audit trail who did this to the spy, or was refused."""
    facts = {"call_id": spy.call_id, "mode": spy.mode, "destination": spy.destination} | detail
    audit.add_audit(tx, actor=by, action=action, subject=str(spy.id), outcome=outcome, detail=facts)


def dismiss(tx: Connection, supervisor: str, *, by: Actor) -> Sequence[UUID]:
    """End all spies of a supervisor in the transaction that withdraws the right; return their ids.

    Afterwards `Spies.take_down` settles the PBX; without it the watcher does.
    """
    return _dismiss(tx, spies.list_live_spies_of(tx, supervisor), by=by)


def dismiss_owned(tx: Connection, owner_id: UUID, *, by: Actor) -> Sequence[UUID]:
    """End all spies of a token or session, like `dismiss`."""
    return _dismiss(tx, spies.list_live_spies_of_owner(tx, owner_id), by=by)


def _dismiss(tx: Connection, live: Sequence[SpyRecord], *, by: Actor) -> Sequence[UUID]:
    cause, dismissed = "not-permitted", []
    for one in live:
        moved = spies.move_spy(tx, one.id, to="ended", ended_at=datetime.now(UTC), cause=cause)
        if moved is not None:
            note(tx, by, "spy.end", moved, cause=cause)
            log.info("spy.ended", spy=str(one.id), cause=cause, by=by.name)
            dismissed.append(one.id)
    return dismissed
