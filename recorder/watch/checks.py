"""The checks that repeat without an event: recordings, pauses, spies, dials, beeps, ended calls.

An event can be lost, and a process can die between two steps. Each check therefore compares the
catalogue with the PBX, and submits the work that is left to the lanes.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from recorder.dialling.dialler import Dialler
from recorder.recording.assurance_loop import assure_ended_calls
from recorder.recording.beeps import Beeps
from recorder.recording.capture import Capture
from recorder.spy.spies import Spies
from recorder.watch.lanes import Lanes
from storage.catalogue import pauses, recordings, segments, spies
from storage.catalogue.engine import Catalogue
from storage.records import Actor, RecordingRecord

RESUMER = Actor("system", "resume_after_s")


class Checks:
    """The repeated checks of one PBX. `is_alive` is true for a channel that has not hung up."""

    def __init__(
        self,
        *,
        pbx: str,
        catalogue: Catalogue,
        lanes: Lanes,
        key_of_recording: Callable[[UUID], str | None],
        capture: Capture,
        spies: Spies,
        dialler: Dialler,
        beeps: Beeps,
        is_alive: Callable[[str], bool],
        resume_after_s: int,
    ) -> None:
        self._pbx = pbx
        self._catalogue = catalogue
        self._lanes = lanes
        self._key_of_recording = key_of_recording
        self._capture = capture
        self._spies = spies
        self._dialler = dialler
        self._beeps = beeps
        self._is_alive = is_alive
        self._resume_after = timedelta(seconds=resume_after_s)
        self._may_have_spies = True  # a process before us may have left some

    def check_recordings(self) -> None:
        """Settle each recording that differs from its plan, and end forgotten pauses."""
        self._lanes.submit(self._pbx, self._capture.check_snoops, self._pbx)
        self._lanes.submit(self._pbx, self._settle_unsettled)
        self._lanes.submit(self._pbx, self._end_pauses)

    def _settle_unsettled(self) -> None:
        unsettled = [(one.id, one.call_id) for one in self._capture.list_unsettled(self._pbx)]
        with self._catalogue.begin() as tx:
            live = recordings.list_live_recordings(tx, self._pbx)
            unended = segments.list_unended_segments(tx, self._pbx)
        for recording_id in {segment.recording_id for segment in unended}:
            key = self._key_of_recording(recording_id) or str(recording_id)
            unsettled.append((recording_id, key))
        for recording_id, key in unsettled:
            self._lanes.submit(key, self._capture.settle, recording_id)
        for recording in live:
            if self._is_forgotten(recording):
                self._lanes.submit(recording.call_id, self._resume_forgotten, recording.id)

    def _end_pauses(self) -> None:
        """End the pauses of people who have all hung up, or whose time is over."""
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            for pause in pauses.list_open_pauses(tx, self._pbx):
                is_over = bool(self._resume_after) and now - pause.from_at >= self._resume_after
                if is_over or not any(self._is_alive(leg) for leg in pause.legs):
                    pauses.close_pauses(tx, self._pbx, pause.legs, at=now)

    def check_spies(self) -> None:
        """Check the spies while there are any, and until one check after the last succeeds.

        The process that ends a spy may die before it has hung up the spy's channels.
        """
        with self._catalogue.begin() as tx:
            has_spies = bool(spies.list_live_spies(tx, self._pbx))
        self._may_have_spies = self._may_have_spies or has_spies
        if not self._may_have_spies:
            return

        def check() -> None:
            had_intruders = self._spies.check(self._pbx)
            self._may_have_spies = has_spies or had_intruders

        self._lanes.submit(self._pbx, check)

    def check_dials(self) -> None:
        """End the dialled calls whose process died before it could ring a phone."""
        self._lanes.submit(self._pbx, self._dialler.check, self._pbx)

    def play_beeps(self) -> None:
        """Play the beeps that are due."""
        self._lanes.submit(self._pbx, self._beeps.play_due, self._pbx)

    def assure_ended_calls(self) -> None:
        """Compare the calls that ended with their recordings."""
        self._lanes.submit(self._pbx, assure_ended_calls, self._catalogue, self._pbx)

    def _resume_forgotten(self, recording_id: UUID) -> None:
        """Resume the recording, unless somebody has resumed it, or paused it again, meanwhile."""
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
        if self._is_forgotten(recording):
            self._capture.resume(recording_id, by=RESUMER)

    def _is_forgotten(self, recording: RecordingRecord) -> bool:
        """Whether the recording has been paused for longer than `resume_after_s` allows."""
        if recording.state != "paused" or not self._resume_after:
            return False
        return datetime.now(UTC) - recording.pauses[-1].from_at >= self._resume_after
