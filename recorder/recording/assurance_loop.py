"""Compare each call that ended with its recordings, once, and report the audio that is missing."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import structlog

from recorder.recording.assurance import assure
from storage import states
from storage.catalogue import calls, decisions, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.records import Assurance, RecordingRecord

log = structlog.get_logger()

# The last events of a call arrive within this time.
SETTLED_AFTER = timedelta(seconds=2)
# Within this time a worker measures the recordings; then the call is assured without.
MEASURED_WITHIN = timedelta(minutes=1)
AT_ONCE = 100


def assure_ended_calls(catalogue: Catalogue, pbx: str) -> None:
    """Save the assurance of each call that has ended. Log each call that lacks audio.

    Raises CatalogueUnavailable.
    """
    now = datetime.now(UTC)
    with catalogue.begin() as tx:
        ended = decisions.list_unassured(tx, pbx, ended_before=now - SETTLED_AFTER, limit=AT_ONCE)
        if not ended:
            return
        known = calls.find_calls(tx, ended)
        made: dict[str, list[RecordingRecord]] = {}
        for recording in recordings.list_recordings_of_calls(tx, ended):
            made.setdefault(recording.call_id, []).append(recording)
        found: dict[str, Assurance] = {}
        for decision in decisions.list_decisions(tx, ended):
            call, ours = known[decision.call_id], made.get(decision.call_id, [])
            unmeasured = any(one.state in states.LIVE or one.state == "captured" for one in ours)
            if unmeasured and now - (call.ended_at or now) < MEASURED_WITHIN:
                continue
            parts = [part for one in ours for part in segments.list_segments(tx, one.id)]
            found[call.id] = assure(call, decision, ours, parts)
        decisions.save_assurances(tx, found)
    for call_id, assurance in found.items():
        if assurance.cause is not None:
            log.error("recording.missing", call=call_id, **asdict(assurance))
