"""Conferences and their members: rows, states, and the spans in which nobody hears a member."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    exists,
    insert,
    literal_column,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.exc import IntegrityError

from storage import states
from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.events import NewEvent
from storage.errors import ConferenceNameTaken, NoSuchConference, NoSuchMember
from storage.records import ConferenceRecord, ConferenceState, MemberRecord, MemberState, Slice
from storage.schema import call, conference, conference_member

# Literals, not parameters: else PostgreSQL does not use the indexes of open rows.
_OPEN = conference.c.state == literal_column("'open'")
_LIVES = conference_member.c.state != literal_column("'left'")


@dataclass(frozen=True, slots=True)
class Talking:
    """A member has begun or stopped to talk."""

    member_id: UUID
    talking: bool


# Conferences


def create_conference(tx: Connection, record: ConferenceRecord) -> None:
    """Open a conference. Raises ConferenceNameTaken where the PBX has an open one of this name."""
    try:
        with tx.begin_nested():
            tx.execute(insert(conference).values(**asdict(record)))
    except IntegrityError as error:
        raise ConferenceNameTaken(f"an open conference is named {record.name!r}") from error
    _tell(tx, "conference.opened", record)


def find_conference(
    tx: Connection, conference_id: UUID, *, lock: bool = False
) -> ConferenceRecord | None:
    """Return the conference of this id, or None. With `lock` nobody else changes it meanwhile."""
    return _find(tx, conference.c.id == conference_id, lock=lock)


def get_conference(
    tx: Connection,
    conference_id: UUID,
    *,
    agents: Collection[str] | None = None,
    owner_id: UUID | None = None,
    lock: bool = False,
) -> ConferenceRecord:
    """Return the conference of this id.

    Raises NoSuchConference, also if `owner_id` did not open it and no call of `agents` is in it;
    `agents` None is all.
    """
    seen = _seen_by(agents, owner_id)
    record = _find(tx, conference.c.id == conference_id, *seen, lock=lock)
    if record is None:
        raise NoSuchConference(f"there is no conference {conference_id}")
    return record


def find_open_conference(tx: Connection, pbx: str, name: str) -> ConferenceRecord | None:
    """Return the open conference of this name, or None."""
    return _find(tx, conference.c.pbx == pbx, conference.c.name == name, _OPEN)


def list_conferences(
    tx: Connection,
    *,
    states: Collection[ConferenceState],
    limit: int,
    cursor: str | None = None,
    agents: Collection[str] | None = None,
    owner_id: UUID | None = None,
) -> Slice[ConferenceRecord]:
    """Return a slice of the conferences in these states, newest first, seen as `get_conference`."""
    query = select(conference).where(conference.c.state.in_(states), *_seen_by(agents, owner_id))
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(conference.c.id < before)
    query = query.order_by(conference.c.id.desc()).limit(limit + 1)
    records = [_conference(row) for row in tx.execute(query).mappings()]
    return slice_of(records, limit, lambda one: (str(one.id),))


def list_open_conferences(tx: Connection, pbx: str) -> tuple[ConferenceRecord, ...]:
    """Return every open conference of this PBX, oldest first."""
    query = select(conference).where(conference.c.pbx == pbx, _OPEN).order_by(conference.c.id)
    return tuple(_conference(row) for row in tx.execute(query).mappings())


def list_live_conferences(tx: Connection, pbx: str) -> tuple[ConferenceRecord, ...]:
    """Return every conference of this PBX that is open or has a member who has not left."""
    live = union(
        select(conference.c.id).where(conference.c.pbx == pbx, _OPEN),
        select(conference_member.c.conference_id).where(_LIVES),
    )
    query = select(conference).where(conference.c.pbx == pbx, conference.c.id.in_(live))
    rows = tx.execute(query.order_by(conference.c.id)).mappings()
    return tuple(_conference(row) for row in rows)


def find_known_conferences(tx: Connection, ids: Collection[UUID]) -> frozenset[UUID]:
    """Return those of these ids that belong to a conference of ours, open or ended."""
    return frozenset(tx.scalars(select(conference.c.id).where(conference.c.id.in_(ids))))


def end_conference(
    tx: Connection, conference_id: UUID, *, at: datetime, cause: str
) -> ConferenceRecord | None:
    """End an open conference. Return None if it has ended: of two callers one gets None."""
    fields = {"state": "ended", "ended_at": at, "cause": cause}
    record = _change(tx, conference_id, _OPEN, **fields)
    if record is not None:
        _tell(tx, "conference.ended", record)
    return record


def set_locked(tx: Connection, conference_id: UUID, *, locked: bool) -> ConferenceRecord | None:
    """Lock or unlock a conference; harmless to repeat. Return None if it has ended."""
    return _switch(tx, conference_id, conference.c.locked, on=locked)


def set_recorded(tx: Connection, conference_id: UUID, *, recorded: bool) -> ConferenceRecord | None:
    """Record a conference from now on, or no longer; harmless to repeat. None if it has ended."""
    return _switch(tx, conference_id, conference.c.record, on=recorded)


# Members


def create_member(tx: Connection, record: MemberRecord) -> None:
    """Create a member in the state `requested`, before we send any request to the PBX."""
    row = asdict(record) | {"quiet": _dump_quiet(record.quiet)}
    tx.execute(insert(conference_member).values(**row))


def find_member(tx: Connection, member_id: UUID) -> MemberRecord | None:
    """Return the member of this id, or None."""
    return _find_member(tx, conference_member.c.id == member_id)


def get_member(tx: Connection, conference_id: UUID, member_id: UUID) -> MemberRecord:
    """Return a member of a conference. Raises NoSuchMember."""
    of_conference = conference_member.c.conference_id == conference_id
    record = _find_member(tx, conference_member.c.id == member_id, of_conference)
    if record is None:
        raise NoSuchMember(f"conference {conference_id} has no member {member_id}")
    return record


def find_live_members(
    tx: Connection, pbx: str, channel_ids: Collection[str]
) -> tuple[MemberRecord, ...]:
    """Return the members of these channels of a PBX who have not left.

    Two PBXs may give one id to two channels.
    """
    on_pbx = conference_member.c.conference_id == conference.c.id
    query = select(conference_member).join(conference, on_pbx)
    query = query.where(
        conference.c.pbx == pbx, conference_member.c.channel_id.in_(channel_ids), _LIVES
    )
    return tuple(_member(row) for row in tx.execute(query).mappings())


def list_members(
    tx: Connection, conference_ids: Collection[UUID], *, live_only: bool = False
) -> tuple[MemberRecord, ...]:
    """Return the members of these conferences in the order in which they were asked for."""
    query = select(conference_member).where(conference_member.c.conference_id.in_(conference_ids))
    if live_only:
        query = query.where(_LIVES)
    query = query.order_by(conference_member.c.id)
    return tuple(_member(row) for row in tx.execute(query).mappings())


def list_live_members(tx: Connection, pbx: str) -> tuple[MemberRecord, ...]:
    """Return every member on this PBX who has not left, of ended conferences too."""
    of_pbx = conference_member.c.conference_id == conference.c.id
    query = select(conference_member).join(conference, of_pbx)
    query = query.where(conference.c.pbx == pbx, _LIVES).order_by(conference_member.c.id)
    return tuple(_member(row) for row in tx.execute(query).mappings())


def move_member(
    tx: Connection, member_id: UUID, *, to: MemberState, at: datetime, cause: str | None = None
) -> MemberRecord | None:
    """Move a member to a state, if its present state leads there; else return None.

    Compare-and-set: of two callers who move the same member, one gets None. `to="left"` needs a
    `cause`, and closes the open span in which nobody heard the member.
    """
    before = _find_member(tx, conference_member.c.id == member_id, lock=True)
    if before is None or before.state not in states.sources_of(states.MEMBER_NEXT, to):
        return None
    fields: dict[str, Any] = {"state": to}
    if to == "in":
        fields["joined_at"] = at
    if to == "left":
        fields |= {"left_at": at, "cause": cause, "talking": False}
        fields["quiet"] = _dump_quiet(_closed(before.quiet, at))
    record = _change_member(tx, member_id, **fields)
    _tell_member(tx, _EVENT_OF[to], record)
    return record


def change_member(
    tx: Connection,
    member_id: UUID,
    *,
    at: datetime,
    muted: bool | None = None,
    on_hold: bool | None = None,
) -> MemberRecord | None:
    """Mute a member or put it on hold, or undo that; harmless to repeat.

    The span in which nobody hears the member opens and closes in the same transaction. Return None
    if the member has left.
    """
    before = _find_member(tx, conference_member.c.id == member_id, _LIVES, lock=True)
    if before is None:
        return None
    is_muted = before.muted if muted is None else muted
    is_on_hold = before.on_hold if on_hold is None else on_hold
    if (is_muted, is_on_hold) == (before.muted, before.on_hold):
        return before
    quiet = before.quiet
    if is_muted or is_on_hold:
        is_open = bool(quiet) and quiet[-1][1] is None
        quiet = quiet if is_open else (*quiet, (at, None))
    else:
        quiet = _closed(quiet, at)
    is_talking = before.talking and not (is_muted or is_on_hold)
    fields: dict[str, Any] = {"muted": is_muted, "on_hold": is_on_hold, "talking": is_talking}
    record = _change_member(tx, member_id, **fields, quiet=_dump_quiet(quiet))
    if is_muted != before.muted:
        _tell_member(tx, "conference.muted" if is_muted else "conference.unmuted", record)
    if is_on_hold != before.on_hold:
        _tell_member(tx, "conference.held" if is_on_hold else "conference.resumed", record)
    return record


def set_call(tx: Connection, member_id: UUID, call_id: str) -> None:
    """Set the call of a member, which is known once its channel is in a call."""
    tx.execute(
        update(conference_member).where(conference_member.c.id == member_id).values(call_id=call_id)
    )


def set_talking(tx: Connection, changes: Collection[Talking]) -> None:
    """Note who talks; a member who has left talks no more. Each change is one event."""
    changed: dict[UUID, MemberRecord] = {}
    for talking in (True, False):
        ids = [one.member_id for one in changes if one.talking is talking]
        statement = (
            update(conference_member)
            .where(conference_member.c.id.in_(ids), _LIVES)
            .where(conference_member.c.talking.is_(not talking))
            .values(talking=talking)
            .returning(conference_member)
        )
        if ids:
            changed |= {row["id"]: _member(row) for row in tx.execute(statement).mappings()}
    in_order = [changed[one.member_id] for one in changes if one.member_id in changed]
    _tell_members(tx, "conference.talking", in_order)


_EVENT_OF: Mapping[str, str] = {
    "ringing": "conference.ringing",
    "waiting": "conference.waiting",
    "in": "conference.joined",
    "left": "conference.left",
}


def _closed(
    quiet: tuple[tuple[datetime, datetime | None], ...], at: datetime
) -> tuple[tuple[datetime, datetime | None], ...]:
    if not quiet or quiet[-1][1] is not None:
        return quiet
    from_at = quiet[-1][0]
    return (*quiet[:-1], (from_at, max(from_at, at)))


def _find(
    tx: Connection, *conditions: ColumnElement[bool], lock: bool = False
) -> ConferenceRecord | None:
    query = select(conference).where(*conditions)
    if lock:
        query = query.with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return _conference(row) if row is not None else None


def _change(
    tx: Connection, conference_id: UUID, condition: ColumnElement[bool], **columns: Any
) -> ConferenceRecord | None:
    """Change the conference if the condition holds; else return None."""
    statement = update(conference).where(conference.c.id == conference_id, condition)
    returned = tx.execute(statement.values(**columns).returning(conference))
    row = returned.mappings().one_or_none()
    return _conference(row) if row is not None else None


def _switch(
    tx: Connection, conference_id: UUID, column: Column[bool], *, on: bool
) -> ConferenceRecord | None:
    """Switch a setting of an open conference; return None if it has ended."""
    changed = _change(tx, conference_id, _OPEN & column.is_(not on), **{column.name: on})
    if changed is None:
        return _find(tx, conference.c.id == conference_id, _OPEN)
    _tell(tx, "conference.changed", changed)
    return changed


def _find_member(
    tx: Connection, *conditions: ColumnElement[bool], lock: bool = False
) -> MemberRecord | None:
    query = select(conference_member).where(*conditions).order_by(conference_member.c.id.desc())
    if lock:
        query = query.with_for_update()
    row = tx.execute(query.limit(1)).mappings().one_or_none()
    return _member(row) if row is not None else None


def _change_member(tx: Connection, member_id: UUID, **columns: Any) -> MemberRecord:
    statement = update(conference_member).where(conference_member.c.id == member_id)
    returned = tx.execute(statement.values(**columns).returning(conference_member))
    return _member(returned.mappings().one())


def _seen_by(
    agents: Collection[str] | None, owner_id: UUID | None
) -> tuple[ColumnElement[bool], ...]:
    """Build the conditions for conferences that a person opened, or in which these agents are."""
    if agents is None:
        return ()
    is_in = and_(
        conference_member.c.conference_id == conference.c.id,
        call.c.id == conference_member.c.call_id,
        call.c.agent.in_(agents),
    )
    own = [conference.c.owner_id == owner_id] if owner_id is not None else []
    return (or_(*own, exists().where(is_in)),)


def _tell(tx: Connection, type_: str, record: ConferenceRecord) -> None:
    events.add_event(tx, type_, _facts(record), owner_id=record.owner_id)


def _tell_member(tx: Connection, type_: str, record: MemberRecord) -> None:
    _tell_members(tx, type_, [record])


def _tell_members(tx: Connection, type_: str, members: Collection[MemberRecord]) -> None:
    """Add an event of this type about each of these members."""
    if not members:
        return
    of = conference.c.id.in_({one.conference_id for one in members})
    rooms = {row["id"]: row for row in tx.execute(select(conference).where(of)).mappings()}
    agents = select(call.c.id, call.c.agent).where(call.c.id.in_({one.call_id for one in members}))
    agent_of = {row.id: row.agent for row in tx.execute(agents)}
    events.add_events(
        tx,
        [
            NewEvent(
                type_,
                _member_facts(one, rooms[one.conference_id]),
                agent_of.get(one.call_id),
                rooms[one.conference_id]["owner_id"],
            )
            for one in members
        ],
    )


def _member_facts(record: MemberRecord, of: RowMapping) -> dict[str, Any]:
    """Build the data of an event about a member: it has `member_id`, a conference's has none."""
    names = (
        *("state", "role", "destination", "number", "name", "call_id", "channel_id"),
        *("muted", "on_hold", "talking", "cause"),
    )
    data = {"id": str(record.conference_id), "member_id": str(record.id)}
    data |= {name: getattr(record, name) for name in names}
    return data | {"pbx": of["pbx"], "conference": of["name"], "created_by": of["created_by"]}


def _facts(record: ConferenceRecord) -> dict[str, Any]:
    """Build the data of an event about a conference; the PIN is in no event."""
    names = (
        *("pbx", "name", "state", "record", "layout", "owner", "locked", "announce"),
        *("created_by", "cause"),
    )
    return {"id": str(record.id)} | {name: getattr(record, name) for name in names}


def _conference(row: RowMapping) -> ConferenceRecord:
    return ConferenceRecord(**row)


def _member(row: RowMapping) -> MemberRecord:
    return MemberRecord(**{**row, "quiet": tuple(_parse_span(one) for one in row["quiet"])})


def _parse_span(span: Collection[str | None]) -> tuple[datetime, datetime | None]:
    from_at, to_at = span
    return datetime.fromisoformat(str(from_at)), datetime.fromisoformat(to_at) if to_at else None


def _dump_quiet(
    quiet: tuple[tuple[datetime, datetime | None], ...],
) -> list[list[str | None]]:
    return [[from_at.isoformat(), to_at.isoformat() if to_at else None] for from_at, to_at in quiet]
