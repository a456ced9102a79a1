"""The members of conferences whom nobody hears, muted or on hold: now, and at any time before.

The column `quiet` of a member is a list of pairs [from, to] in RFC 3339; the last `to` is null
while it lasts.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from storage.schema import conference, conference_member

QuietSpan = tuple[datetime, datetime | None]

_IS_QUIET = or_(conference_member.c.muted, conference_member.c.on_hold)


def find_quiet(tx: Connection, pbx: str, channel_ids: Collection[str]) -> frozenset[str]:
    """Return those of these channels of a PBX whose members nobody hears now."""
    query = (
        select(conference_member.c.channel_id)
        .join(conference, conference.c.id == conference_member.c.conference_id)
        .where(
            conference.c.pbx == pbx,
            conference_member.c.channel_id.in_(channel_ids),
            conference_member.c.state != "left",
            _IS_QUIET,
        )
    )
    return frozenset(tx.scalars(query))


def list_quiet(tx: Connection, pbx: str) -> frozenset[str]:
    """Return the channels of all members on a PBX whom nobody hears now."""
    query = (
        select(conference_member.c.channel_id)
        .join(conference, conference.c.id == conference_member.c.conference_id)
        .where(conference.c.pbx == pbx, conference_member.c.state != "left", _IS_QUIET)
    )
    return frozenset(tx.scalars(query))


def map_quiet_spans(
    tx: Connection, pbx: str, channel_ids: Collection[str]
) -> Mapping[str, tuple[QuietSpan, ...]]:
    """Return the spans in which nobody heard these channels of a PBX; only channels with a span.

    A member who has left is quiet until then.
    """
    query = (
        select(
            conference_member.c.channel_id, conference_member.c.quiet, conference_member.c.left_at
        )
        .join(conference, conference.c.id == conference_member.c.conference_id)
        .where(
            conference.c.pbx == pbx,
            conference_member.c.channel_id.in_(channel_ids),
            func.jsonb_array_length(conference_member.c.quiet) > 0,
        )
    )
    found: dict[str, tuple[QuietSpan, ...]] = {}
    for row in tx.execute(query):
        spans = tuple(
            (datetime.fromisoformat(begin), datetime.fromisoformat(end) if end else row.left_at)
            for begin, end in row.quiet
        )
        found[row.channel_id] = (*found.get(row.channel_id, ()), *spans)
    return found
