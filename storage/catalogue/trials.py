"""Trials of draft rules on past calls: their progress, their figures and the calls that change."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from storage import jobs
from storage.catalogue.cursor import decode_cursor, one_more, parse_int4, slice_of
from storage.catalogue.rows import insert_rows
from storage.errors import NoSuchTrial
from storage.records import (
    RuleRecord,
    Slice,
    TrialChange,
    TrialRecord,
    TrialResult,
    shallow,
)
from storage.schema import trial, trial_change

UNFINISHED = ("waiting", "running")
# One trial runs at a time, so that a worker has room for other long jobs.
LOCK = "trial"
_INSTANTS = ("from_at", "to_at")
_CHANGE = (trial_change.c.call_id, trial_change.c.before, trial_change.c.after)


def create_trial(tx: Connection, record: TrialRecord) -> None:
    """Create a trial, and ask a worker to run it; it replaces an unfinished one of its owner."""
    unfinished = (trial.c.owner_id == record.owner_id, trial.c.state.in_(UNFINISHED))
    tx.execute(delete(trial).where(*unfinished))
    _insert(tx, record)
    jobs.defer(tx, "trial", lock=LOCK, queue=jobs.SLOW, trial_id=str(record.id))


def keep_trial(tx: Connection, record: TrialRecord, changes: Sequence[TrialChange]) -> None:
    """Create a trial that is done already, with the calls that change."""
    _insert(tx, record)
    _add_changes(tx, record.id, 0, changes)


def get_trial(tx: Connection, trial_id: UUID) -> TrialRecord:
    """Return the trial of this id. Raises NoSuchTrial."""
    row = tx.execute(select(trial).where(trial.c.id == trial_id)).mappings().one_or_none()
    if row is None:
        raise NoSuchTrial(f"there is no trial {trial_id}")
    return _record(row)


def list_unfinished_of(tx: Connection, owner_id: UUID) -> tuple[TrialRecord, ...]:
    """Return the trials of this owner that wait or run."""
    unfinished = (trial.c.owner_id == owner_id, trial.c.state.in_(UNFINISHED))
    rows = tx.execute(select(trial).where(*unfinished).order_by(trial.c.id)).mappings()
    return tuple(_record(row) for row in rows)


def begin_trial(tx: Connection, trial_id: UUID, total: int) -> None:
    """Set a trial to running, without the progress of an earlier attempt.

    Raises NoSuchTrial if it has ended, or another one has replaced it.
    """
    tx.execute(delete(trial_change).where(trial_change.c.trial_id == trial_id))
    _move(tx, trial_id, state="running", done=0, total=total)


def note_progress(
    tx: Connection, trial_id: UUID, *, done: int, place: int, changes: Sequence[TrialChange]
) -> None:
    """Save how many calls are examined, and add changes, whose first is at this place.

    Raises NoSuchTrial if the trial has ended, or another one has replaced it.
    """
    _move(tx, trial_id, done=done)
    _add_changes(tx, trial_id, place, changes)


def end_trial(tx: Connection, trial_id: UUID, result: TrialResult | None, reason: str = "") -> None:
    """End a trial with its figures, or with the code of the reason for its failure.

    Raises NoSuchTrial like `note_progress`.
    """
    state = "done" if result is not None else "failed"
    ended = {"state": state, "reason": reason or None, "ended_at": datetime.now(UTC)}
    _move(tx, trial_id, **ended, result=_dump_result(result))


def list_changes(
    tx: Connection, trial_id: UUID, *, limit: int, cursor: str | None = None
) -> Slice[TrialChange]:
    """Return a slice of the calls that change, those of the newest calls first."""
    query = select(trial_change.c.place, *_CHANGE).where(trial_change.c.trial_id == trial_id)
    if cursor is not None:
        (after,) = decode_cursor(cursor, parse_int4)
        query = query.where(trial_change.c.place > after)
    rows = tx.execute(query.order_by(trial_change.c.place).limit(one_more(limit))).all()
    page = slice_of(rows, limit, lambda row: (str(row.place),))
    return Slice(tuple(TrialChange(*row[1:]) for row in page.items), page.next_cursor)


def drop_trials(tx: Connection, before: datetime) -> None:
    """Forget the trials that were created before this time."""
    tx.execute(delete(trial).where(trial.c.created_at < before))


def _insert(tx: Connection, record: TrialRecord) -> None:
    drafts = [one.model_dump(mode="json") for one in record.drafts]
    agents = list(record.agents) if record.agents is not None else None
    lists = {"drafts": drafts, "agents": agents, "result": _dump_result(record.result)}
    tx.execute(insert(trial).values(shallow(record) | lists))


def _add_changes(
    tx: Connection, trial_id: UUID, place: int, changes: Sequence[TrialChange]
) -> None:
    rows = [
        {"trial_id": trial_id, "place": at, **shallow(change)}
        for at, change in enumerate(changes, place)
    ]
    if rows:
        tx.execute(insert_rows(trial_change, rows))


def _move(tx: Connection, trial_id: UUID, **columns: Any) -> None:
    """Change columns of an unfinished trial. Raises NoSuchTrial if there is none."""
    unfinished = (trial.c.id == trial_id, trial.c.state.in_(UNFINISHED))
    if tx.execute(update(trial).where(*unfinished).values(columns)).rowcount != 1:
        raise NoSuchTrial(f"there is no unfinished trial {trial_id}")


def _dump_result(result: TrialResult | None) -> Any:
    return to_jsonable_python(shallow(result)) if result is not None else None


def _record(row: RowMapping) -> TrialRecord:
    drafts = tuple(RuleRecord.model_validate(one) for one in row["drafts"])
    agents = tuple(row["agents"]) if row["agents"] is not None else None
    result = _parse_result(row["result"]) if row["result"] is not None else None
    return TrialRecord(**{**row, "drafts": drafts, "agents": agents, "result": result})


def _parse_result(figures: Mapping[str, Any]) -> TrialResult:
    given = {one.name: figures[one.name] for one in fields(TrialResult)}
    instants = {name: datetime.fromisoformat(figures[name]) for name in _INSTANTS}
    return TrialResult(**{**given, **instants})
