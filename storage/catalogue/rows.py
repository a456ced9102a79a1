"""Inserts of many rows in one statement."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert


@cache
def excluded(table: Table) -> Any:
    """Return the columns of the row that conflicted; cached, because SQLAlchemy builds its own each
    time."""
    return table.alias("excluded").c


def insert_rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """Build an insert of at least one row; all rows have the same columns in the same order.

    Pass the rows as one JSON parameter: for many short rows, binding each value takes most of the
    time.
    """
    names = list(rows[0])
    shape: ColumnElement[Any] = literal_column(f'NULL::"{table.name}"')
    document = cast(literal(to_json(rows).decode(), Text), JSONB)
    given = func.jsonb_populate_recordset(shape, document).table_valued(
        *(column(name, table.c[name].type) for name in names)
    )
    return insert(table).from_select(names, select(given))
