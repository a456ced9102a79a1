"""The columns of the local hours, in the tables of call-backs and campaigns."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping

from storage.records import Hours, shallow


def gather_hours(row: RowMapping) -> dict[str, Any]:
    """Return the values of a row, with `hours` in place of the columns of the hours."""
    values: dict[str, Any] = dict(row)
    from_hour, to_hour = values.pop("from_hour"), values.pop("to_hour")
    return values | {"hours": Hours(from_hour, to_hour, tuple(values.pop("weekdays")))}


def spread_hours(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row, with the columns of the hours in place of `hours`, if any."""
    other = dict(values)
    hours: Hours | None = other.pop("hours", None)
    return other | shallow(hours) if hours is not None else other
