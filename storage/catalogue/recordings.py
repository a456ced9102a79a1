"""Recordings: their rows, their states, and the search among millions."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore

from storage import states
from storage.catalogue import events
from storage.catalogue.cursor import decode_cursor, slice_of
from storage.catalogue.rows import insert_rows
from storage.errors import NoSuchRecording
from storage.records import (
    Bookmark,
    Gap,
    Hold,
    Pause,
    RecordingParty,
    RecordingRecord,
    RecordingState,
    Slice,
    shallow,
)
from storage.schema import (
    SEARCHED_NAMES,
    SEARCHED_WORDS,
    TAIL_DIGITS,
    Instant,
    call_terms,
    lost_object,
    people,
    recording,
    recording_party,
)

PEOPLE = tuple(column.name for column in people())
# The columns that people change, in any state of the recording.
ANNOTATIONS = ("tags", "note", "bookmarks", "retention_days", "hold")
# A search sorts the recordings of so many parties; more are read in their order.
SORTED_PARTIES = 1000
_NO_SORT = text("SET LOCAL enable_sort = off")
_SORT = text("SET LOCAL enable_sort = on")
_NO_MERGE = text("SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off")


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """The conditions of a list of recordings; None means no condition.

    `number` is the end of the number of any party, `agent` is any agent among the parties; `words`
    must all occur in the note or the names; `agents` are the agents whose recordings the caller may
    see. Without `remarks` the caller may not read remarks: the words must occur in the names, and
    the records have no remarks.
    """

    call_id: str | None = None
    number: str | None = None
    agent: str | None = None
    queue: str | None = None
    did: str | None = None
    direction: str | None = None
    tag: str | None = None
    rule: str | None = None
    state: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    words: str | None = None
    agents: Collection[str] | None = None
    remarks: bool = True


def create_recording(tx: Connection, record: RecordingRecord) -> None:
    """Create a recording in the state `requested`."""
    tx.execute(insert(recording).values(_row(record)))
    _insert_searched(tx, [(record.id, *found) for found in _searched(record)])
    _add_event(tx, record)


def find_recording(tx: Connection, recording_id: UUID) -> RecordingRecord | None:
    """Return the recording of this id, or None."""
    query = select(recording).where(recording.c.id == recording_id)
    row = tx.execute(query).mappings().one_or_none()
    return _record(row) if row is not None else None


def get_recording(
    tx: Connection, recording_id: UUID, *, agents: Collection[str] | None = None
) -> RecordingRecord:
    """Return the recording of this id. Raises NoSuchRecording, also if its agent is not one of
    `agents`."""
    record = find_recording(tx, recording_id)
    if record is None or (agents is not None and record.agent not in agents):
        raise NoSuchRecording(f"there is no recording {recording_id}")
    return record


def list_recordings(
    tx: Connection, narrowed: RecordingFilter, *, limit: int, cursor: str | None = None
) -> Slice[RecordingRecord]:
    """Return a slice of the recordings, newest first."""
    before = decode_cursor(cursor, UUID)[0] if cursor is not None else None
    query = _search(tx, select(recording), narrowed, before).limit(limit + 1)
    records = [_record(row) for row in tx.execute(query).mappings()]
    if not narrowed.remarks:
        records = [one.without_remarks() for one in records]
    return slice_of(records, limit, lambda one: (str(one.id),))


def list_of_ids(tx: Connection, ids: Collection[UUID]) -> dict[UUID, RecordingRecord]:
    """Return the recordings of these ids that exist, by id."""
    rows = tx.execute(select(recording).where(recording.c.id.in_(ids))).mappings()
    return {row["id"]: _record(row) for row in rows}


def list_ids(
    tx: Connection, narrowed: RecordingFilter, *, limit: int, among: Collection[UUID] | None = None
) -> tuple[UUID, ...]:
    """Return the ids of at most `limit` recordings, newest first; `among` restricts the search to
    these ids."""
    query = _search(tx, select(recording.c.id), narrowed)
    if among is not None:
        query = query.where(recording.c.id.in_(among))
    return tuple(tx.scalars(query.limit(limit)))


def list_recordings_of_calls(
    tx: Connection, call_ids: Collection[str], *, in_states: Collection[str] | None = None
) -> tuple[RecordingRecord, ...]:
    """Return the recordings of these calls, oldest first."""
    query = select(recording).where(recording.c.call_id.in_(call_ids))
    if in_states is not None:
        query = query.where(recording.c.state.in_(in_states))
    rows = tx.execute(query.order_by(recording.c.id)).mappings()
    return tuple(_record(row) for row in rows)


def list_live_recordings(tx: Connection, pbx: str) -> tuple[RecordingRecord, ...]:
    """Return every recording of this PBX that is still live, oldest first."""
    query = select(recording).where(recording.c.pbx == pbx, recording.c.state.in_(states.LIVE))
    return tuple(_record(row) for row in tx.execute(query.order_by(recording.c.id)).mappings())


def map_stopped_by_person(tx: Connection, call_ids: Collection[str]) -> dict[UUID, str]:
    """Return the recordings of these calls that a decision started and a person ended, with their
    calls. A request for one of the calls that came after the end counts more than the end."""
    query = select(recording.c.id, recording.c.call_id).where(
        recording.c.call_id.in_(call_ids),
        or_(recording.c.trigger.in_(("rule", "dialled")), recording.c.rule.is_not(None)),
        recording.c.ended_by == "person",
        ~exists().where(
            call_terms.c.call_id.in_(call_ids), call_terms.c.set_at > recording.c.ended_at
        ),
    )
    return {row.id: row.call_id for row in tx.execute(query)}


def set_continues(tx: Connection, recording_id: UUID, ended_id: UUID) -> None:
    """Note that a recording goes on where another one ended, because their people met."""
    tx.execute(update(recording).where(recording.c.id == recording_id).values(continues=ended_id))


def count_newest_by_state(tx: Connection, newest: int) -> dict[str, int]:
    """Count the newest recordings by state; to count all of them takes too long."""
    states_of_newest = (
        select(recording.c.state).order_by(recording.c.id.desc()).limit(newest).subquery()
    )
    state = states_of_newest.c.state
    rows = tx.execute(select(state, func.count()).group_by(state))
    return dict(rows.all())


def move(
    tx: Connection, recording_id: UUID, *, to: RecordingState, **columns: Any
) -> RecordingRecord | None:
    """Move a recording to a state, if its present state leads there; else return None.

    Compare-and-set: of two callers who move the same recording, one gets None. `columns` may have
    `parties`, as RecordingParty.
    """
    sources = states.sources_of(states.NEXT, to)
    return _change(tx, recording_id, sources, state=to, **columns)


def begin(tx: Connection, recording_id: UUID, *, at: datetime) -> bool:
    """Move requested → recording. Return False in any other state, so that this never ends a
    pause."""
    changed = _change(tx, recording_id, ["requested"], state="recording", started_at=at)
    return changed is not None


def open_pause(
    tx: Connection, recording_id: UUID, *, at: datetime, by: str
) -> RecordingRecord | None:
    """Move recording → paused and open a pause. Return None in any other state."""
    pause = [{"from_at": at.isoformat(), "to_at": None, "by": by}]
    return move(
        tx, recording_id, to="paused", pauses=recording.c.pauses.op("||")(cast(pause, JSONB))
    )


def close_pause(tx: Connection, recording_id: UUID, *, at: datetime) -> RecordingRecord | None:
    """Move paused → recording and close the pause. Return None in any other state."""
    from_at = recording.c.pauses.op("#>>")(text("'{-1,from_at}'"))
    to_at = func.greatest(cast(from_at, Instant), at, type_=Instant)  # never before its start
    closed = func.jsonb_set(recording.c.pauses, text("'{-1,to_at}'"), func.to_jsonb(to_at))
    return _change(tx, recording_id, ["paused"], state="recording", pauses=closed)


def revive(tx: Connection, recording_id: UUID) -> RecordingRecord | None:
    """Move failed → captured, because a person retries its job. Return None in any other state."""
    return _change(tx, recording_id, ["failed"], state="captured", reason=None)


def lock_recording(
    tx: Connection, recording_id: UUID, *, agents: Collection[str] | None = None
) -> RecordingRecord:
    """Return the recording like `get_recording`, and lock its row until the transaction ends."""
    tx.execute(select(recording.c.id).where(recording.c.id == recording_id).with_for_update())
    return get_recording(tx, recording_id, agents=agents)


def annotate(tx: Connection, before: RecordingRecord, record: RecordingRecord) -> None:
    """Save the tags, note, bookmarks, retention and hold that people wrote, and nothing else.

    Lock the recording first. The event names the changed fields.
    """
    row = _row(record)
    written = {name: row[name] for name in ANNOTATIONS}
    tx.execute(update(recording).where(recording.c.id == record.id).values(written))
    changed = [name for name in ANNOTATIONS if getattr(before, name) != getattr(record, name)]
    _add_event(tx, record, "changed", changed=changed)


def set_parties(tx: Connection, recording_id: UUID, parties: Iterable[RecordingParty]) -> None:
    """Save everyone whom the recording hears; a search finds it by each of them."""
    changed = (
        update(recording)
        .where(recording.c.id == recording_id)
        .values(parties=dump_parties(parties))
        .returning(recording)
    )
    row = tx.execute(changed).mappings().one_or_none()
    if row is not None:
        _replace_searched(tx, _record(row))


def update_people(tx: Connection, call_id: str, people: Mapping[str, Any]) -> None:
    """Copy the parties of the call to its running recordings.

    A search still finds these by their former parties too. A client that sees recordings by agent
    gets an event for each one that moves to another agent.
    """
    runs = (recording.c.call_id == call_id, recording.c.state.in_(states.LIVE))
    before = select(recording.c.id, recording.c.agent).where(*runs).with_for_update().cte("before")
    changed = (
        update(recording)
        .where(recording.c.id == before.c.id)
        .values({name: people[name] for name in PEOPLE})
        .returning(*recording.columns, before.c.agent.label("agent_before"))
    )
    records = []
    for row in tx.execute(changed).mappings().all():
        fields = dict(row)
        agent_before = fields.pop("agent_before")
        records.append(_record(fields))
        if agent_before != fields["agent"]:
            _add_event(tx, records[-1], "changed")
    _add_searched(tx, records)


def note_lost(tx: Connection, recording_id: UUID, object_key: str) -> bool:
    """Write down that the store no longer holds a file of the recording, and send an event.

    Return False if that is known already.
    """
    row = {"object_key": object_key, "recording_id": recording_id}
    added = insert_or_ignore(lost_object).values(row).on_conflict_do_nothing()
    if tx.scalar(added.returning(lost_object.c.object_key)) is None:
        return False
    _add_event(tx, get_recording(tx, recording_id), "object-lost")
    return True


def note_found(tx: Connection, object_key: str) -> None:
    """Forget that the store had lost this file: somebody has restored it."""
    tx.execute(delete(lost_object).where(lost_object.c.object_key == object_key))


def count_lost(tx: Connection) -> int:
    """Count the files of recordings that the store was found not to hold."""
    return tx.scalar(select(func.count()).select_from(lost_object)) or 0


def mean_bytes_per_second(tx: Connection) -> float | None:
    """Return the mean size of a second in the store, over the newest thousand; None if there are
    none."""
    newest = (
        select(recording.c.size_bytes, recording.c.duration_s)
        .where(recording.c.state == "stored", recording.c.duration_s > 0)
        .order_by(recording.c.id.desc())
        .limit(1000)
        .subquery()
    )
    return tx.scalar(select(func.sum(newest.c.size_bytes) / func.sum(newest.c.duration_s)))


def _change(
    tx: Connection, recording_id: UUID, sources: Collection[str], *, state: str, **columns: Any
) -> RecordingRecord | None:
    """Change the recording if it is in one of `sources` and no hold forbids the change; else return
    None."""
    may_be_gone = [recording.c.hold.is_(None)] if state in states.DELETED else []
    if "parties" in columns:
        columns["parties"] = dump_parties(columns["parties"])
    statement = (
        update(recording)
        .where(recording.c.id == recording_id, recording.c.state.in_(sources), *may_be_gone)
        .values(state=state, **columns)
        .returning(recording)
    )
    row = tx.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    record = _record(row)
    if "parties" in columns:
        _replace_searched(tx, record)
    _add_event(tx, record)
    return record


def _replace_searched(tx: Connection, record: RecordingRecord) -> None:
    """Let a search find this recording by its present parties alone."""
    tx.execute(delete(recording_party).where(recording_party.c.recording_id == record.id))
    _insert_searched(tx, [(record.id, *found) for found in _searched(record)])


def _add_searched(tx: Connection, records: Collection[RecordingRecord]) -> None:
    """Let a search find these recordings by their present parties, too.

    The rows of these recordings are locked, so nobody else adds the same.
    """
    if not records:
        return
    wanted = {(one.id, *found) for one in records for found in _searched(one)}
    columns = recording_party.c
    known = select(columns.recording_id, columns.number, columns.agent)
    rows = tx.execute(known.where(columns.recording_id.in_({one.id for one in records})))
    _insert_searched(tx, wanted - {tuple(row) for row in rows})


def _insert_searched(tx: Connection, rows: Iterable[tuple[UUID, str | None, str | None]]) -> None:
    named = [{"recording_id": one[0], "number": one[1], "agent": one[2]} for one in rows]
    if named:
        tx.execute(insert_rows(recording_party, named))


def _searched(record: RecordingRecord) -> set[tuple[str | None, str | None]]:
    """Return the number and agent of each party by which a search finds the recording."""
    found = {(one.number, one.agent) for one in record.parties}
    agents = {agent for _, agent in found} | {record.agent}
    for number in (record.caller_number, record.callee_number):
        found.add((number, number if number in agents else None))
    if record.agent not in {agent for _, agent in found}:
        found.add((None, record.agent))
    return found - {(None, None)}


def _add_event(
    tx: Connection, record: RecordingRecord, what: str | None = None, **more: Any
) -> None:
    names = ("call_id", "pbx", "state", "agent", "reason")
    facts = {"id": str(record.id)} | {name: getattr(record, name) for name in names} | more
    events.add_event(tx, f"recording.{what or record.state}", facts, agent=record.agent)


def _search(
    tx: Connection, query: Select[Any], narrowed: RecordingFilter, before: UUID | None = None
) -> Select[Any]:
    """Narrow a query to the recordings that pass the filter and precede `before`, newest first."""
    parties: list[Callable[[FromClause], ColumnElement[bool]]] = []
    if (number := narrowed.number) is not None:
        ends = _ends_frequent if _is_frequent(tx, number) else _ends_rare
        parties.append(partial(ends, number))
    if (agent := narrowed.agent) is not None:
        parties.append(lambda party: party.c.agent == literal(agent, literal_execute=True))
    for condition in parties:
        party = recording_party.alias()
        query = query.join(party, party.c.recording_id == recording.c.id).where(condition(party))
        if before is not None:
            query = query.where(party.c.recording_id < before)
    if before is not None:
        query = query.where(recording.c.id < before)
    if parties:  # two parties of a recording may match
        query = query.ext(distinct_on(recording.c.id))
        # An index by party holds the recordings' ids in order: read from the newest to the limit.
        # PostgreSQL would sometimes read all recordings beside it, as if parties were spread evenly
        # over the years.
        tx.execute(_NO_MERGE)
    return query.where(*_conditions(narrowed)).order_by(recording.c.id.desc())


def _is_frequent(tx: Connection, digits: str) -> bool:
    """Return whether more parties have such a number than we want to sort.

    Count in the order of the index: in any other order PostgreSQL may read much of the table.
    """
    rows: Select[Any] = select(literal_column("1")).where(_ends_rare(digits, recording_party))
    ordered = rows.order_by(text("reverse(number) USING ~<~"))
    tx.execute(_NO_SORT)
    one_more = tx.scalar(ordered.offset(SORTED_PARTIES).limit(1))
    tx.execute(_SORT)
    return one_more is not None


def _ends_rare(digits: str, party: FromClause) -> ColumnElement[bool]:
    """Build the condition on the end of a number for the index of whole numbers."""
    pattern = literal(f"{_quoted(digits[::-1])}%", literal_execute=True)
    return func.reverse(party.c.number).like(pattern)


def _ends_frequent(digits: str, party: FromClause) -> ColumnElement[bool]:
    """Build the same condition for an index in the order of the recordings."""
    ends = party.c.number.like(literal(f"%{_quoted(digits)}", literal_execute=True))
    if len(digits) < TAIL_DIGITS:
        return ends
    tail = func.left(func.reverse(party.c.number), literal_column(str(TAIL_DIGITS)))
    same_tail = tail == literal(digits[::-1][:TAIL_DIGITS], literal_execute=True)
    return same_tail & ends if len(digits) > TAIL_DIGITS else same_tail


def _quoted(text: str) -> str:
    """Quote the characters that LIKE reads as patterns."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _conditions(narrowed: RecordingFilter) -> list[ColumnElement[bool]]:
    columns = recording.c
    exact = ("call_id", "queue", "did", "direction", "rule", "state")
    conditions: list[ColumnElement[bool]] = [
        columns[name] == getattr(narrowed, name)
        for name in exact
        if getattr(narrowed, name) is not None
    ]
    if narrowed.tag is not None:
        conditions.append(columns.tags.contains([narrowed.tag]))
    if narrowed.words is not None:
        # The index has the words of notes too; without remarks only those of names may decide.
        searched = (SEARCHED_WORDS,) if narrowed.remarks else (SEARCHED_WORDS, SEARCHED_NAMES)
        words = func.plainto_tsquery(literal_column("'simple'"), narrowed.words)
        conditions += [literal_column(one).op("@@", is_comparison=True)(words) for one in searched]
    if narrowed.agents is not None:
        conditions.append(columns.agent.in_(narrowed.agents))
    ranges = (
        (narrowed.from_at, columns.started_at.__ge__),
        (narrowed.to_at, columns.started_at.__lt__),
        (narrowed.min_duration_s, columns.duration_s.__ge__),
        (narrowed.max_duration_s, columns.duration_s.__le__),
    )
    return conditions + [compare(value) for value, compare in ranges if value is not None]


def dump_parties(parties: Iterable[RecordingParty]) -> list[dict[str, Any]]:
    """Write parties as the column `parties` holds them."""
    return [{**shallow(one), "spans": [list(span) for span in one.spans]} for one in parties]


def _party(entry: Mapping[str, Any]) -> RecordingParty:
    spans = tuple((from_s, to_s) for from_s, to_s in entry["spans"])
    return RecordingParty(**{**entry, "spans": spans})


def _row(record: RecordingRecord) -> dict[str, Any]:
    hold = record.hold
    return {
        **asdict(record),
        "tags": list(record.tags),
        "pauses": [
            {
                "from_at": pause.from_at.isoformat(),
                "to_at": pause.to_at.isoformat() if pause.to_at else None,
                "by": pause.by,
            }
            for pause in record.pauses
        ],
        "gaps": [asdict(gap) for gap in record.gaps],
        "parties": dump_parties(record.parties),
        "bookmarks": [{**asdict(one), "id": str(one.id)} for one in record.bookmarks],
        "hold": asdict(hold) | {"at": hold.at.isoformat()} if hold else None,
    }


def _record(row: RowMapping | Mapping[str, Any]) -> RecordingRecord:
    hold = row["hold"]
    return RecordingRecord(
        **{
            **row,
            "tags": tuple(row["tags"]),
            "pauses": tuple(
                Pause(
                    datetime.fromisoformat(pause["from_at"]),
                    datetime.fromisoformat(pause["to_at"]) if pause["to_at"] else None,
                    pause["by"],
                )
                for pause in row["pauses"]
            ),
            "gaps": tuple(Gap(**gap) for gap in row["gaps"]),
            "parties": tuple(_party(one) for one in row["parties"]),
            "bookmarks": tuple(
                Bookmark(**{**one, "id": UUID(one["id"])}) for one in row["bookmarks"]
            ),
            "hold": Hold(**{**hold, "at": datetime.fromisoformat(hold["at"])}) if hold else None,
        }
    )
