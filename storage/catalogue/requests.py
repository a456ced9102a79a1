"""The words by which programs asked for calls and conferences; events about these repeat them."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from storage.schema import program_request


def keep_request(tx: Connection, subject: str, request: str) -> None:
    """Keep the words of a request for this subject: a call, conference, member or call-back.

    Keep them before the subject has its first event.
    """
    fields = {"request": request, "at": datetime.now(UTC)}
    statement = insert(program_request).values(subject=subject, **fields)
    tx.execute(
        statement.on_conflict_do_update(index_elements=[program_request.c.subject], set_=fields)
    )


def find_requests(tx: Connection, subjects: Collection[str]) -> Mapping[str, str]:
    """Return the words of the requests for these subjects, by subject."""
    query = select(program_request.c.subject, program_request.c.request)
    rows = tx.execute(query.where(program_request.c.subject.in_(subjects)))
    return {row.subject: row.request for row in rows}


def drop_requests(tx: Connection, before: datetime) -> None:
    """Delete the words of older requests."""
    tx.execute(delete(program_request).where(program_request.c.at < before))
