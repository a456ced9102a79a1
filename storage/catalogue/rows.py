"""Many rows in one statement."""

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
    """The row that a conflict kept out; a statement's own is made anew each time."""
    return table.alias("excluded").c


def insert_rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """An insert of rows that all have the same columns, at least one, in their order.

    They go as one parameter: of very many short rows, to bind each value takes longest.
    """
    names = list(rows[0])
    shape: ColumnElement[Any] = literal_column(f'NULL::"{table.name}"')
    told = cast(literal(to_json(rows).decode(), Text), JSONB)
    given = func.jsonb_populate_recordset(shape, told).table_valued(
        *(column(name, table.c[name].type) for name in names)
    )
    return insert(table).from_select(names, select(given))
