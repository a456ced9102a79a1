"""Pauses of people: no recording hears them, whatever becomes of their calls."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Text, cast, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from storage.records import PeoplePause, shallow
from storage.schema import pause

_OPEN = pause.c.to_at.is_(None)


def open_pause(tx: Connection, record: PeoplePause) -> None:
    """Begin a pause."""
    tx.execute(insert(pause).values({**shallow(record), "legs": list(record.legs)}))


def close_pauses(
    tx: Connection, pbx: str, legs: Collection[str], *, at: datetime
) -> tuple[PeoplePause, ...]:
    """End every open pause of one of these people, and return these pauses as they are then."""
    closed = (
        update(pause)
        .where(_OPEN, pause.c.pbx == pbx, _covers(legs))
        .values(to_at=func.greatest(pause.c.from_at, at))
        .returning(pause)
    )
    return tuple(_record(row) for row in tx.execute(closed).mappings())


def list_open_pauses(
    tx: Connection, pbx: str, legs: Collection[str] | None = None
) -> tuple[PeoplePause, ...]:
    """Return the open pauses of a PBX, or those of these people alone, oldest first."""
    query = select(pause).where(_OPEN, pause.c.pbx == pbx).order_by(pause.c.id)
    if legs is not None:
        query = query.where(_covers(legs))
    return tuple(_record(row) for row in tx.execute(query).mappings())


def list_pauses(
    tx: Connection, pbx: str, legs: Collection[str], *, from_at: datetime, to_at: datetime
) -> tuple[PeoplePause, ...]:
    """Return the pauses of these people within a span, ended or not, oldest first."""
    touches = (pause.c.from_at < to_at, or_(_OPEN, pause.c.to_at > from_at))
    query = select(pause).where(pause.c.pbx == pbx, _covers(legs), *touches)
    return tuple(_record(row) for row in tx.execute(query.order_by(pause.c.id)).mappings())


def _covers(legs: Collection[str]) -> Any:
    return pause.c.legs.op("&&", is_comparison=True)(cast(list(legs), ARRAY(Text)))


def _record(row: RowMapping) -> PeoplePause:
    return PeoplePause(**{**row, "legs": tuple(row["legs"])})
