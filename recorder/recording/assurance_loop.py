"""Compare each call that ended with its recordings, once, and report the audio that is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from recorder.recording.assurance import Meeting, assure
from storage import states
from storage.catalogue import calls, decisions, pauses, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.records import Assurance, RecordingRecord, SegmentRecord

log = structlog.get_logger()

# The last events of a call arrive within this time.
SETTLED_AFTER = timedelta(seconds=2)
# Within this time a worker measures the recordings; then the call is assured without.
MEASURED_WITHIN = timedelta(minutes=1)
AT_ONCE = 100


def assure_ended_calls(catalogue: Catalogue, pbx: str) -> None:
    """Save the assurance of each call that has ended. Log each call that lacks audio.

    A call waits while a call that it met lives, because one recording may hear both. Raises
    CatalogueUnavailable.
    """
    now = datetime.now(UTC)
    with catalogue.begin() as tx:
        ended = decisions.list_unassured(tx, pbx, ended_before=now - SETTLED_AFTER, limit=AT_ONCE)
        if not ended:
            return
        found: dict[str, Assurance] = {}
        for meeting in _read_meetings(tx, pbx, ended):
            met = {meeting.call.id, *meeting.call.met}
            last = max(one.ended_at or now for one in meeting.calls.values() if one.id in met)
            waits = any(
                one.state in states.LIVE or one.state == "captured"
                for one in meeting.recordings
                if one.call_id in met
            )
            if not waits or now - last >= MEASURED_WITHIN:
                found[meeting.call.id] = assure(meeting)
        decisions.save_assurances(tx, found)
    for call_id, assurance in found.items():
        if assurance.cause is not None:
            log.error("recording.missing", call=call_id, **asdict(assurance))


def _read_meetings(tx: Connection, pbx: str, ended: Sequence[str]) -> Iterator[Meeting]:
    """Yield each of these calls with all rows about the calls that it met, and that those met.

    A recording may have gone on with the people of a call that its own call never met.
    """
    known = calls.find_calls(tx, ended)
    for _ in range(2):
        others = {id_ for one in known.values() for id_ in one.met} - known.keys()
        known |= calls.find_calls(tx, others) if others else {}
    made: dict[str, list[RecordingRecord]] = {}
    for recording in recordings.list_recordings_of_calls(tx, list(known)):
        made.setdefault(recording.call_id, []).append(recording)
    decided = {one.call_id: one for one in decisions.list_decisions(tx, known)}
    parts: dict[UUID, tuple[SegmentRecord, ...]] = {
        one.id: segments.list_segments(tx, one.id) for ours in made.values() for one in ours
    }
    for call_id in ended:
        call = known[call_id]
        near = dict.fromkeys((call_id, *call.met))
        near |= dict.fromkeys(id_ for one in call.met if one in known for id_ in known[one].met)
        met = {id_: known[id_] for id_ in near if id_ in known}
        ours = [one for id_ in met for one in made.get(id_, [])]
        legs = [leg.id for one in met.values() for leg in one.channels]
        ended_at = call.ended_at or call.started_at
        yield Meeting(
            call,
            met,
            [decided[id_] for id_ in met if id_ in decided],
            ours,
            [part for one in ours for part in parts[one.id]],
            pauses.list_pauses(tx, pbx, legs, from_at=call.started_at, to_at=ended_at),
        )
