"""Recordings at the PBX: begin, pause, resume, stop, discard; and keep them true to their state.

Everything here needs ARI's REST interface and the catalogue alone, so any process may do it: the
API for a person, the watcher for an event. A change is written down first (compare-and-set of
the state), then `settle` brings the PBX to it. If the PBX does not answer, the state stands, the
caller is told, and the watcher settles the recording when the PBX is back.

A pause ends the captures: while it lasts nothing listens to the call at all.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import Ari, AriConflict, AriNotFound, AriServerError
from recorder.ari.pbxs import Pbxs
from recorder.ari.stasis import in_stasis
from recorder.calls.legs import is_over, legs_to_capture, side_of
from recorder.errors import (
    CallEnded,
    NothingToRecord,
    PbxUnavailable,
    RecordingForbidden,
    RecordingForced,
    RecordingNotActive,
    UnderHold,
)
from recorder.recording.plan import CapturePlan, plan_capture
from recorder.recording.voices import voice_channels
from storage import jobs, states
from storage.catalogue import audit, calls, decisions, recordings, segments, spies
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import PEOPLE
from storage.records import (
    CallRecord,
    DecisionRecord,
    Format,
    Layout,
    PauseLeaves,
    RecordingRecord,
    RuleRecord,
    SegmentRecord,
    Side,
    Trigger,
)

log = structlog.get_logger()

WIDEBAND = ("g722", "opus", "slin16", "slin24", "slin32", "slin48", "silk", "speex16", "siren")


@dataclass(frozen=True, slots=True)
class Defaults:
    """How a call is recorded where nobody says otherwise: `[recording]` of the configuration."""

    layout: Layout = "dual"
    format: Format = "opus"
    pause: PauseLeaves = "silence"


class Capture:
    """What can be done with recordings while their calls live.

    Raises NoSuchCall, NoSuchRecording, CallEnded, NothingToRecord, RecordingForbidden,
    RecordingForced, RecordingNotActive, and PbxUnavailable where the PBX does not answer or is not
    configured in this process.
    """

    def __init__(self, catalogue: Catalogue, pbxs: Pbxs, defaults: Defaults | None = None) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._defaults = defaults or Defaults()

    def start(
        self,
        call_id: str,
        *,
        by: str,
        trigger: Trigger = "manual",
        layout: Layout | None = None,
        format: Format | None = None,
        tags: Sequence[str] = (),
        rule: RuleRecord | None = None,
    ) -> RecordingRecord:
        """Promise to keep the call's audio from now on, and begin; a rule brings its own terms.

        Where the PBX does not answer, the recording is returned as `requested`: the promise is
        written down, and the watcher begins as soon as it can.
        """
        with self._catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            _refuse_unrecordable(call)
            _refuse_forbidden(decisions.find_decision(tx, call_id), call_id)
            record = RecordingRecord(
                id=uuid7(),
                call_id=call.id,
                pbx=call.pbx,
                state="requested",
                trigger=trigger,
                layout=layout or self._defaults.layout,
                format=format or self._defaults.format,
                pause_leaves=self._defaults.pause,
                tags=tuple(tags),
                **{name: getattr(call, name) for name in PEOPLE},
            )
            record = _under(rule, record) if rule is not None else record
            recordings.create_recording(tx, record)
        log.info("recording.requested", recording=str(record.id), call=call.id, by=by)
        try:
            return self.settle(record.id)
        except PbxUnavailable as error:
            log.warning("recording.postponed", recording=str(record.id), error=str(error))
            return record

    def pause(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Stop listening; a repeat is harmless."""
        with self._catalogue.begin() as tx:
            moved = recordings.open_pause(tx, recording_id, at=datetime.now(UTC), by=by)
            _require(moved or _find_in(tx, recording_id, "paused"), tx, recording_id)
        log.info("recording.paused", recording=str(recording_id), by=by)
        return self.settle(recording_id)

    def resume(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Listen again; a repeat is harmless."""
        with self._catalogue.begin() as tx:
            moved = recordings.close_pause(tx, recording_id, at=datetime.now(UTC))
            _require(moved or _find_in(tx, recording_id, "recording"), tx, recording_id)
        log.info("recording.resumed", recording=str(recording_id), by=by)
        return self.settle(recording_id)

    def stop(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End the recording and keep it, while the call goes on. Raises RecordingForced."""
        with self._catalogue.begin() as tx:
            _refuse_forced(tx, recording_id)
            _require(_end(tx, recording_id, datetime.now(UTC)), tx, recording_id)
        log.info("recording.stopped", recording=str(recording_id), by=by)
        return self.settle(recording_id)

    def discard(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End the recording and keep nothing of it. Raises RecordingForced, UnderHold."""
        with self._catalogue.begin() as tx:
            _refuse_forced(tx, recording_id)
            if recordings.lock_recording(tx, recording_id).hold is not None:
                raise UnderHold(f"the recording {recording_id} is under a legal hold")
            now = datetime.now(UTC)
            moved = recordings.move(
                tx, recording_id, to="discarded", ended_at=now, reason="on-request"
            )
            _require(moved, tx, recording_id)
            audit.add_audit(
                tx,
                actor=by,
                action="recording.discard",
                subject=str(recording_id),
                outcome="done",
                detail={},
            )
            jobs.defer(tx, "clear", lock=str(recording_id), recording_id=str(recording_id))
        log.info("recording.discarded", recording=str(recording_id), by=by)
        return self.settle(recording_id)

    def settle(self, recording_id: UUID) -> RecordingRecord:
        """Bring the PBX to what the recording's state says. Harmless to repeat."""
        with self._catalogue.lock(f"recording {recording_id}"):
            recording, call, present, speaking = self._read(recording_id)
            if not states.LIVE & {recording.state} and not _running(present):
                return recording
            with self._pbxs.reach(recording.pbx) as ari:
                steps = plan_capture(call, recording, present, speaking)
                if steps.check:
                    for segment in steps.check:
                        self._ask(ari, segment)
                    recording, call, present, speaking = self._read(recording_id)
                    steps = plan_capture(call, recording, present, speaking)
                self._carry_out(ari, steps, recording, call)
            return self._read(recording_id)[0]

    def segment_ended(self, segment_id: UUID, at: datetime, cause: str) -> None:
        """The PBX said that a segment's file is closed."""
        with self._catalogue.begin() as tx:
            segments.end_segment(tx, segment_id, at=at, cause=cause)

    def segment_started(self, recording_id: UUID, segment_id: UUID, at: datetime) -> None:
        """The PBX said when, on its own clock, a segment's file began."""
        self._started(recording_id, segment_id, at, segments.RUNNING)

    def check_running(self, pbx: str, lost_at: datetime | None) -> None:
        """After a time without events: end the segments that Asterisk no longer records.

        Those that are `requested` may just be beginning: `settle` asks for them, under its lock.
        `lost_at` is when the PBX went away, if it did; None if only we were away.
        """
        with self._catalogue.begin() as tx:
            running = segments.list_running_segments(tx, pbx)
        with self._pbxs.reach(pbx) as ari:
            for segment in (one for one in running if one.state == "recording"):
                if ari.find_live_recording(segment.name) is None:
                    cause = "pbx-lost" if lost_at else "unobserved"
                    self.segment_ended(segment.id, lost_at or datetime.now(UTC), cause)

    def check_snoops(self, pbx: str) -> None:
        """While events come: attach again where a snoop went and no event said so.

        A recording that was queued when its snoop was hung up never begins, and never ends.
        """
        with self._catalogue.begin() as tx:
            running = segments.list_running_segments(tx, pbx)
        if not running:
            return
        with self._pbxs.reach(pbx) as ari:  # after the segments: what they name was there
            present = {channel.id for channel in ari.list_channels(prefix=names.OURS)}
        for segment in running:
            if segment.state == "recording" and names.build_snoop_id(segment.id) not in present:
                log.warning("segment.vanished", segment=str(segment.id))
                self.segment_ended(segment.id, datetime.now(UTC), "unobserved")
                self.settle(segment.recording_id)

    # One step each

    def _read(
        self, recording_id: UUID
    ) -> tuple[RecordingRecord, CallRecord, tuple[SegmentRecord, ...], tuple[str, ...]]:
        """Also the channels of the supervisors whom everybody in the call hears."""
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
            call = calls.get_call(tx, recording.call_id)
            speaking = voice_channels(spies.list_spies_of_calls(tx, [call.id]))
            return recording, call, segments.list_segments(tx, recording_id), speaking

    def _carry_out(
        self, ari: Ari, steps: CapturePlan, recording: RecordingRecord, call: CallRecord
    ) -> None:
        if steps.started_at is not None:
            with self._catalogue.begin() as tx:
                recordings.begin(tx, recording.id, at=steps.started_at)
        for segment in steps.detach:
            self._detach(ari, segment)
        if steps.over:
            with self._catalogue.begin() as tx:
                _end(tx, recording.id, call.ended_at or datetime.now(UTC))
            return
        problems = []
        for leg in steps.attach:
            try:
                self._attach(ari, recording, leg.id, side_of(leg))
            except AriServerError as error:  # the others are heard all the same
                problems.append(error)
        if problems:
            raise problems[0]
        for voice in steps.voices:
            if ari.find_channel(voice) is not None:  # a page has to open its microphone first
                self._attach(ari, recording, voice, "both")

    def _attach(self, ari: Ari, recording: RecordingRecord, channel_id: str, side: Side) -> None:
        segment_id, now = uuid7(), datetime.now(UTC)
        segment = SegmentRecord(
            id=segment_id,
            recording_id=recording.id,
            channel_id=channel_id,
            side=side,
            state="requested",
            name=names.build_recording_name(recording.id, segment_id, now),
            started_at=now,
        )
        with self._catalogue.begin() as tx:
            if not segments.claim_segment(tx, segment):
                return
        try:
            _tap(ari, segment)
        except (AriNotFound, AriConflict):  # the leg hung up under our hands
            self._ask(ari, segment)
        else:
            # The event may have been quicker, and knows the time better.
            self._started(recording.id, segment.id, datetime.now(UTC), ["requested"])

    def _started(
        self, recording_id: UUID, segment_id: UUID, at: datetime, sources: Sequence[str]
    ) -> None:
        with self._catalogue.begin() as tx:
            segments.move_segment(tx, segment_id, to="recording", sources=sources, started_at=at)
            began = recordings.begin(tx, recording_id, at=at)
        if began:
            log.info("recording.recording", recording=str(recording_id))

    def _detach(self, ari: Ari, segment: SegmentRecord) -> None:
        """Both are needed: a recording that is still queued ignores the stop, but not the end of
        its snoop; a snoop without frames lingers, but no longer records. The snoop first: that the
        file is closed is an event, after which nobody would look for the snoop."""
        ari.hang_up(names.build_snoop_id(segment.id))
        with suppress(AriConflict):  # just now it ended
            ari.stop_live_recording(segment.name)
        self.segment_ended(segment.id, datetime.now(UTC), "stopped")

    def _ask(self, ari: Ari, segment: SegmentRecord) -> None:
        """A segment that was asked for by a process that died, or that got no answer: did Asterisk
        begin it? What has not begun cannot begin any more once its snoop is gone."""
        if ari.find_live_recording(segment.name) is not None:
            self.segment_started(segment.recording_id, segment.id, segment.started_at)
            return
        ari.hang_up(names.build_snoop_id(segment.id))
        if ari.find_stored_recording(segment.name) is not None:
            self.segment_ended(segment.id, datetime.now(UTC), "unobserved")
        else:
            self._lose(segment)

    def _lose(self, segment: SegmentRecord) -> None:
        with self._catalogue.begin() as tx:
            segments.move_segment(
                tx, segment.id, to="lost", sources=["requested"], end_cause="never-began"
            )


def _tap(ari: Ari, segment: SegmentRecord) -> None:
    """Make the snoop that hears what the leg says, and record it."""
    snoop_id = names.build_snoop_id(segment.id)
    ari.snoop(segment.channel_id, snoop_id=snoop_id, spy="in", app_args=str(segment.id))
    wav = _format(ari, segment.channel_id)
    in_stasis(lambda: ari.record_channel(snoop_id, name=segment.name, format=wav))


def _format(ari: Ari, channel_id: str) -> str:
    """Asterisk's name for WAV at 16 kHz where the leg talks wideband, at 8 kHz otherwise."""
    native = ari.find_variable(channel_id, "CHANNEL(audionativeformat)") or ""
    return "wav16" if any(codec in native for codec in WIDEBAND) else "wav"


def _end(tx: Connection, recording_id: UUID, at: datetime) -> RecordingRecord | None:
    """The recording is over: what was captured goes to the workers. None if it was over before.

    It is only `aborted` where it is known that nothing was captured.
    """
    perhaps = [one for one in segments.list_segments(tx, recording_id) if one.state != "lost"]
    if perhaps:
        recordings.begin(tx, recording_id, at=perhaps[0].started_at)
    recordings.close_pause(tx, recording_id, at=at)
    moved = recordings.move(tx, recording_id, to="captured", ended_at=at)
    if moved is None:
        return recordings.move(
            tx, recording_id, to="aborted", ended_at=at, reason="nothing-captured"
        )
    jobs.defer(tx, "finish", lock=str(recording_id), recording_id=str(recording_id))
    log.info("recording.captured", recording=str(recording_id))
    return moved


def _refuse_unrecordable(call: CallRecord) -> None:
    if is_over(call):
        raise CallEnded(f"call {call.id} has ended")
    if not legs_to_capture(call):
        raise NothingToRecord(f"nobody has answered call {call.id} yet")


def _under(rule: RuleRecord, record: RecordingRecord) -> RecordingRecord:
    """The recording on the rule's terms; what the rule leaves open stays as it is."""
    return replace(
        record,
        rule=rule.name,
        layout=rule.layout or record.layout,
        format=rule.format or record.format,
        tags=tuple(dict.fromkeys([*rule.tags, *record.tags])),
        retention_days=rule.retention_days,
        announcement=rule.announcement,
        beep_every_s=rule.beep_every_s,
    )


def _refuse_forbidden(decision: DecisionRecord | None, call_id: str) -> None:
    """A rule that says never beats whoever asks; the default does not."""
    if decision is not None and decision.action == "never" and decision.rule is not None:
        raise RecordingForbidden(f"rule {decision.rule['name']!r} forbids to record call {call_id}")


def _refuse_forced(tx: Connection, recording_id: UUID) -> None:
    """What a rule forces nobody ends before the call does."""
    recording = recordings.get_recording(tx, recording_id)
    decision = decisions.find_decision(tx, recording.call_id)
    if decision is None or decision.action != "force" or decision.rule is None:
        return
    if recording.trigger == "rule" and recording.state in states.LIVE:
        raise RecordingForced(f"rule {decision.rule['name']!r} forces this recording")


def _find_in(tx: Connection, recording_id: UUID, state: str) -> RecordingRecord | None:
    record = recordings.find_recording(tx, recording_id)
    return record if record is not None and record.state == state else None


def _require(moved: RecordingRecord | None, tx: Connection, recording_id: UUID) -> None:
    if moved is None:
        present = recordings.get_recording(tx, recording_id)
        raise RecordingNotActive(f"recording {recording_id} is {present.state}")


def _running(present: Sequence[SegmentRecord]) -> bool:
    return any(segment.state in segments.RUNNING for segment in present)
