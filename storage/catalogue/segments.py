"""Segments: the files on the PBX that make up a recording."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import states
from storage.records import SegmentRecord
from storage.schema import recording, segment

RUNNING = ("requested", "recording")


def claim_segment(tx: Connection, record: SegmentRecord) -> bool:
    """Create a segment before we request it from Asterisk.

    Return False if this leg already has a running segment from another process.
    """
    statement = insert(segment).values(asdict(record)).on_conflict_do_nothing()
    # RETURNING, because the driver does not report the count of rows of an INSERT.
    return tx.execute(statement.returning(segment.c.id)).one_or_none() is not None


def list_segments(tx: Connection, recording_id: UUID) -> tuple[SegmentRecord, ...]:
    """Return the segments of a recording in the order of their start."""
    query = select(segment).where(segment.c.recording_id == recording_id)
    rows = tx.execute(query.order_by(segment.c.started_at, segment.c.id))
    return tuple(SegmentRecord(**row._mapping) for row in rows)


def map_segments(
    tx: Connection, recording_ids: Collection[UUID]
) -> dict[UUID, tuple[SegmentRecord, ...]]:
    """Return the segments of each of these recordings, in the order of their start."""
    query = select(segment).where(segment.c.recording_id.in_(recording_ids))
    found: dict[UUID, list[SegmentRecord]] = {}
    for row in tx.execute(query.order_by(segment.c.started_at, segment.c.id)):
        found.setdefault(row.recording_id, []).append(SegmentRecord(**row._mapping))
    return {id_: tuple(listed) for id_, listed in found.items()}


def list_running_segments(tx: Connection, pbx: str) -> tuple[SegmentRecord, ...]:
    """Return every segment whose file should be growing on this PBX now."""
    query = (
        select(segment).join(recording).where(recording.c.pbx == pbx, segment.c.state.in_(RUNNING))
    )
    return tuple(SegmentRecord(**row._mapping) for row in tx.execute(query))


def map_captured(
    tx: Connection, recording_ids: Collection[UUID], *, running: bool
) -> dict[UUID, frozenset[str]]:
    """Return for each recording the channels of its segments, or of its running segments."""
    query = select(segment.c.recording_id, segment.c.channel_id).where(
        segment.c.recording_id.in_(recording_ids)
    )
    if running:
        query = query.where(segment.c.state.in_(RUNNING))
    found: dict[UUID, set[str]] = {}
    for recording_id, channel_id in tx.execute(query):
        found.setdefault(recording_id, set()).add(channel_id)
    return {id_: frozenset(channels) for id_, channels in found.items()}


def list_unended_segments(tx: Connection, pbx: str) -> tuple[SegmentRecord, ...]:
    """Return the running segments of ended recordings: a process died between the two changes."""
    query = (
        select(segment)
        .join(recording)
        .where(
            recording.c.pbx == pbx,
            segment.c.state.in_(RUNNING),
            recording.c.state.not_in(states.LIVE),
        )
    )
    return tuple(SegmentRecord(**row._mapping) for row in tx.execute(query))


def find_ended(tx: Connection, segment_ids: Collection[UUID]) -> frozenset[UUID]:
    """Return those of these segments that exist and are no longer running."""
    ended = segment.c.state.not_in(RUNNING)
    return frozenset(tx.scalars(select(segment.c.id).where(segment.c.id.in_(segment_ids), ended)))


def move_segment(
    tx: Connection, segment_id: UUID, *, to: str, sources: Collection[str], **columns: Any
) -> bool:
    """Set the state of a segment, if it is in one of `sources`; else return False."""
    statement = (
        update(segment)
        .where(segment.c.id == segment_id, segment.c.state.in_(sources))
        .values(state=to, **columns)
    )
    return tx.execute(statement).rowcount == 1


def update_segment(tx: Connection, segment_id: UUID, **columns: Any) -> None:
    """Save measurements of a segment's file."""
    tx.execute(update(segment).where(segment.c.id == segment_id).values(**columns))


def end_segment(tx: Connection, segment_id: UUID, *, at: datetime, cause: str) -> bool:
    """Note that the file has stopped growing; only the first note counts.

    Asterisk's own time, which comes with the cause `finished`, replaces the time of our note.
    """
    ended_at = func.greatest(segment.c.started_at, at)
    if move_segment(
        tx, segment_id, to="finished", sources=RUNNING, ended_at=ended_at, end_cause=cause
    ):
        return True
    if cause == "finished":
        seen = case((segment.c.end_cause == "unobserved", cause), else_=segment.c.end_cause)
        tx.execute(
            update(segment)
            .where(
                segment.c.id == segment_id,
                segment.c.state == "finished",
                segment.c.end_cause.in_(("stopped", "unobserved")),
            )
            .values(ended_at=ended_at, end_cause=seen)
        )
    return False
