"""The audit trail of spies."""

from typing import Any

from sqlalchemy import Connection

from storage.catalogue import audit
from storage.records import Actor, SpyRecord


def note(
    tx: Connection, by: Actor, action: str, spy: SpyRecord, outcome: Any = "done", **detail: str
) -> None:
    """Write into the audit trail who did this to the spy, or was refused."""
    facts = {"call_id": spy.call_id, "mode": spy.mode, "destination": spy.destination} | detail
    audit.add_audit(tx, actor=by, action=action, subject=str(spy.id), outcome=outcome, detail=facts)
