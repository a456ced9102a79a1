"""Terms of recording that a request gave a call: the one that dialled it, or a conference's."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, delete, select
from sqlalchemy.dialects.postgresql import insert

from storage.catalogue.calls import LIVES
from storage.records import RuleRecord, RuleTerms
from storage.schema import call, call_terms


def set_terms(tx: Connection, call_id: str, rule_id: str, terms: RuleTerms) -> None:
    """Set the terms of a call. `rule_id` names the kind of request in decisions and traces.

    The call need not have a row yet.
    """
    dumped = terms.model_dump(mode="json")
    fields = {"rule_id": rule_id, "terms": dumped, "set_at": datetime.now(UTC)}
    statement = insert(call_terms).values(call_id=call_id, **fields)
    tx.execute(statement.on_conflict_do_update(index_elements=[call_terms.c.call_id], set_=fields))


def drop_terms(tx: Connection, call_id: str) -> None:
    """Forget the terms of a call; harmless to repeat."""
    tx.execute(delete(call_terms).where(call_terms.c.call_id == call_id))


def find_terms(tx: Connection, call_ids: Collection[str]) -> Mapping[str, RuleRecord]:
    """Return the terms of these calls as rules, by the id of the call.

    Their `changed_at` tells a repeated request from the one before.
    """
    return _parse(tx.execute(select(call_terms).where(call_terms.c.call_id.in_(call_ids))))


def list_live_terms(tx: Connection, pbx: str) -> Mapping[str, RuleRecord]:
    """Return the terms of the live calls of a PBX as rules, by the id of the call."""
    query = select(call_terms).join(call, call.c.id == call_terms.c.call_id)
    return _parse(tx.execute(query.where(call.c.pbx == pbx, LIVES)))


def _parse(rows: CursorResult[Any]) -> Mapping[str, RuleRecord]:
    return {
        row.call_id: RuleRecord(
            **row.terms, id=row.rule_id, version=1, origin="api", changed_at=row.set_at
        )
        for row in rows
    }
