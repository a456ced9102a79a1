"""The members of conferences whom nobody hears, muted or on hold: now, and at any time before.

The column `quiet` of a member is a list of pairs [from, to] in RFC 3339; the last `to` is null
while it lasts.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column, or_, select

from storage.schema import conference, conference_member

QuietSpan = tuple[datetime, datetime | None]

# Literals, not parameters: else PostgreSQL does not use the indexes of these rows.
_IS_QUIET = (conference_member.c.state != literal_column("'left'")) & or_(
    conference_member.c.muted, conference_member.c.on_hold
)
_WAS_QUIET = conference_member.c.quiet != literal_column("'[]'")


def find_quiet(tx: Connection, pbx: str, channel_ids: Collection[str]) -> frozenset[str]:
    """Return those of these channels of a PBX whose members nobody hears now."""
    query = _on_pbx(pbx, conference_member.c.channel_id)
    return frozenset(
        tx.scalars(query.where(conference_member.c.channel_id.in_(channel_ids), _IS_QUIET))
    )


def list_quiet(tx: Connection, pbx: str) -> frozenset[str]:
    """Return the channels of all members on a PBX whom nobody hears now."""
    return frozenset(tx.scalars(_on_pbx(pbx, conference_member.c.channel_id).where(_IS_QUIET)))


def map_quiet_spans(
    tx: Connection, pbx: str, channel_ids: Collection[str]
) -> Mapping[str, tuple[QuietSpan, ...]]:
    """Return the spans in which nobody heard these channels of a PBX; only channels with a span.

    A member who has left is quiet until then.
    """
    columns = (
        conference_member.c.channel_id,
        conference_member.c.quiet,
        conference_member.c.left_at,
    )
    query = _on_pbx(pbx, *columns).where(
        conference_member.c.channel_id.in_(channel_ids), _WAS_QUIET
    )
    found: dict[str, tuple[QuietSpan, ...]] = {}
    for row in tx.execute(query):
        spans = tuple(
            (datetime.fromisoformat(begin), datetime.fromisoformat(end) if end else row.left_at)
            for begin, end in row.quiet
        )
        found[row.channel_id] = (*found.get(row.channel_id, ()), *spans)
    return found


def _on_pbx(pbx: str, *columns: ColumnElement[Any]) -> Select[Any]:
    """Build a query for these columns of the members on a PBX."""
    of_member = conference.c.id == conference_member.c.conference_id
    return select(*columns).join(conference, of_member).where(conference.c.pbx == pbx)
