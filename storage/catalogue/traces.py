"""Search every column of every table for a text, among the rows written since a mark."""

from sqlalchemy import Connection, text

_MARK = text("SELECT pg_current_xact_id()::text")
_TABLES = text(
    "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name)"
    " FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    " AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)


def set_mark(tx: Connection) -> str:
    """Return a mark: every row that is written after this transaction is newer."""
    return str(tx.scalar(_MARK))


def find_traces(tx: Connection, wanted: str, since: str) -> tuple[int, tuple[str, ...]]:
    """Return the number of tables, and those with a row newer than the mark that has the text.

    Bytes are searched too. It reads every table whole, but converts the newer rows alone.
    """
    tables = [str(one) for one in tx.scalars(_TABLES)]
    found = []
    for table in tables:
        # The name comes from PostgreSQL itself, quoted.
        query = text(
            f"SELECT EXISTS (SELECT FROM {table} AS one WHERE"  # noqa: S608
            " age(one.xmin) <= age(CAST(CAST(:since AS xid8) AS xid))"
            " AND (one::text LIKE :wanted OR one::text LIKE :bytes))"
        )
        like, as_hex = f"%{wanted}%", f"%{wanted.encode().hex()}%"
        if tx.scalar(query, {"since": since, "wanted": like, "bytes": as_hex}):
            found.append(table)
    return len(tables), tuple(found)
