"""The do-not-call list: numbers in E.164 that none of our calls may reach."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.rows import insert_rows
from storage.errors import NoSuchNumber
from storage.records import DoNotCall, Slice
from storage.schema import do_not_call

_COLUMNS = [do_not_call.c[field.name] for field in fields(DoNotCall)]


def add(tx: Connection, number: str, reason: str, *, by: str) -> DoNotCall:
    """Add a number in E.164, or give a listed one this reason; return its entry."""
    made = {"number": number, "reason": reason, "created_at": datetime.now(UTC), "created_by": by}
    statement = insert(do_not_call).values(made)
    changed = {"reason": statement.excluded.reason}
    kept = statement.on_conflict_do_update(index_elements=["number"], set_=changed)
    return DoNotCall(**tx.execute(kept.returning(*_COLUMNS)).mappings().one())


def add_many(tx: Connection, reasons: Mapping[str, str], *, by: str) -> int:
    """Add numbers in E.164 with their reasons; return how many were not listed yet."""
    if not reasons:
        return 0
    at = datetime.now(UTC)
    rows = [
        {"number": number, "reason": reason, "created_at": at, "created_by": by}
        for number, reason in sorted(reasons.items())  # one order, so that imports cannot deadlock
    ]
    statement = insert_rows(do_not_call, rows).on_conflict_do_nothing()
    return len(tx.execute(statement.returning(do_not_call.c.number)).all())


def drop(tx: Connection, number: str) -> None:
    """Delete a number from the list. Raises NoSuchNumber."""
    if not tx.execute(delete(do_not_call).where(do_not_call.c.number == number)).rowcount:
        raise NoSuchNumber(f"{number} is not on the do-not-call list")


def find(tx: Connection, numbers: Collection[str]) -> Mapping[str, DoNotCall]:
    """Return the entries of those of these numbers that are listed, by number.

    Example: `if do_not_call.find(tx, [number]): raise NumberRefused(…)`.
    """
    if not numbers:
        return {}
    query = select(*_COLUMNS).where(do_not_call.c.number.in_(numbers))
    return {row["number"]: DoNotCall(**row) for row in tx.execute(query).mappings()}


def list_numbers(
    tx: Connection, *, number: str | None = None, limit: int, cursor: str | None = None
) -> Slice[DoNotCall]:
    """Return a slice of the list in the order of the numbers; with `number`, that one alone."""
    query = select(*_COLUMNS)
    if number is not None:
        query = query.where(do_not_call.c.number == number)
    if cursor is not None:
        (after,) = decode_cursor(cursor, str)
        query = query.where(do_not_call.c.number > after)
    rows = tx.execute(query.order_by(do_not_call.c.number).limit(one_more(limit))).mappings()
    return slice_of([DoNotCall(**row) for row in rows], limit, lambda one: (one.number,))
