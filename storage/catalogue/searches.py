"""Saved searches of the library; each person has their own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.errors import NoSuchSearch
from storage.records import SearchRecord, Slice
from storage.schema import saved_search

_COLUMNS = [saved_search.c[name] for name in ("id", "owner_id", "name", "query")]


def save_search(
    tx: Connection, *, owner_id: UUID, name: str, query: Mapping[str, str]
) -> SearchRecord:
    """Save a search under this name; replace an older one of the same name."""
    values = {"id": uuid7(), "owner_id": owner_id, "name": name, "query": dict(query)}
    statement = insert(saved_search).values(values | {"created_at": datetime.now(UTC)})
    changed = statement.on_conflict_do_update(
        index_elements=["owner_id", "name"], set_={"query": statement.excluded.query}
    )
    return SearchRecord(**tx.execute(changed.returning(*_COLUMNS)).mappings().one())


def list_searches(
    tx: Connection, owner_id: UUID, *, limit: int | None = None, cursor: str | None = None
) -> Slice[SearchRecord]:
    """Return a slice of the searches of this owner, by name; all without a limit."""
    query = (
        select(*_COLUMNS).where(saved_search.c.owner_id == owner_id).order_by(saved_search.c.name)
    )
    if cursor is not None:
        (after,) = decode_cursor(cursor, str)
        query = query.where(saved_search.c.name > after)
    rows = tx.execute(query.limit(one_more(limit))).mappings()
    return slice_of([SearchRecord(**row) for row in rows], limit, lambda one: (one.name,))


def get_search(tx: Connection, search_id: UUID, *, owner_id: UUID | None = None) -> SearchRecord:
    """Return the search of this id if it belongs to this owner (None: to anybody).

    Raises NoSuchSearch.
    """
    query = select(*_COLUMNS).where(saved_search.c.id == search_id)
    if owner_id is not None:
        query = query.where(saved_search.c.owner_id == owner_id)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NoSuchSearch(f"you have no search {search_id}")
    return SearchRecord(**row)


def delete_search(tx: Connection, search_id: UUID, *, owner_id: UUID) -> None:
    """Delete a search. Raises NoSuchSearch, also for another owner's."""
    mine = (saved_search.c.id == search_id, saved_search.c.owner_id == owner_id)
    if not tx.execute(delete(saved_search).where(*mine)).rowcount:
        raise NoSuchSearch(f"you have no search {search_id}")


def delete_searches_of(tx: Connection, owner_id: UUID) -> None:
    """Delete all searches of this owner."""
    tx.execute(delete(saved_search).where(saved_search.c.owner_id == owner_id))
