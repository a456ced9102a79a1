"""What the rules said of each call, and why."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, RowMapping, Text, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from storage.records import DecisionRecord
from storage.schema import decision

# What another statement writes.
KEPT = ("call_id", "announced")


def save_decision(tx: Connection, record: DecisionRecord) -> None:
    """Keep it as it is now, in the place of what was kept before."""
    values = asdict(record)
    values["moments"], values["announced"] = list(record.moments), list(record.announced)
    statement = insert(decision).values(values)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[decision.c.call_id],
            set_={name: statement.excluded[name] for name in values if name not in KEPT},
        )
    )


def add_announced(tx: Connection, call_id: str, channel_ids: Iterable[str]) -> None:
    """The parties on these channels have heard that they are recorded."""
    told = func.array_cat(decision.c.announced, cast(list(channel_ids), ARRAY(Text)))
    tx.execute(update(decision).where(decision.c.call_id == call_id).values(announced=told))


def find_decision(tx: Connection, call_id: str) -> DecisionRecord | None:
    """What was said of this call; None where the rules were never asked."""
    return next(iter(list_decisions(tx, [call_id])), None)


def list_decisions(tx: Connection, call_ids: Iterable[str]) -> tuple[DecisionRecord, ...]:
    """What was said of these calls."""
    query = select(decision).where(decision.c.call_id.in_(list(call_ids)))
    return tuple(_record(row) for row in tx.execute(query).mappings())


def _record(row: RowMapping) -> DecisionRecord:
    lists = {"moments": tuple(row["moments"]), "announced": tuple(row["announced"])}
    return DecisionRecord(**{**row, **lists})
