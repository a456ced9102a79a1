"""Recordings at the PBX: start, pause, resume, stop, discard; and keep the PBX in line with them.

All of it needs only ARI's REST interface and the catalogue, so any process may do it: the API for a
person, the watcher for an event. Each change is written to the catalogue first (compare-and-set of
the state); then `settle` brings the PBX in line. If the PBX does not answer, the new state stays,
the caller gets PbxUnavailable, and the watcher settles the recording once the PBX is back.

A pause ends the captures: during a pause no channel of ours listens to the call.
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

# Longer than a settling process needs with a PBX that answers late. Then the next check settles.
LOCK_WITHIN_S = 30.0

# Codecs at 16 kHz or more, as they stand in CHANNEL(audionativeformat).
WIDEBAND = ("g722", "opus", "slin16", "slin24", "slin32", "slin48", "silk", "speex16", "siren")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The section `[recording]` of the configuration: the terms of recordings without a rule."""

    layout: Layout = "dual"
    format: Format = "opus"
    pause: PauseLeaves = "silence"


class Capture:
    """The recordings of live calls.

    Raises NoSuchCall, NoSuchRecording, CallEnded, NothingToRecord, RecordingForbidden,
    RecordingForced, RecordingNotActive, and PbxUnavailable where the PBX does not answer or is not
    configured in this process.
    """

    def __init__(self, catalogue: Catalogue, pbxs: Pbxs, defaults: Defaults | None = None) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._defaults = defaults or Defaults()

    # Requests

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
        """Start a recording of the call, on the terms of `rule` where one is given.

        Where the PBX does not answer, return the recording as `requested`: the watcher starts it as
        soon as possible.

        Example: `capture.start("main-1795424777.0", by="ann", tags=["complaint"])`.
        """
        with self._catalogue.begin() as tx:
            call = calls.get_call(tx, call_id)
            if is_over(call):
                raise CallEnded(f"call {call.id} has ended")
            if not legs_to_capture(call):
                raise NothingToRecord(f"nobody has answered call {call.id} yet")
            decision = decisions.find_decision(tx, call_id)
            # A rule forbids everybody; the default `never` only records nothing by itself.
            if decision is not None and decision.action == "never" and decision.rule is not None:
                name = decision.rule["name"]
                raise RecordingForbidden(f"rule {name!r} forbids recording call {call_id}")
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
            record = _apply_rule(rule, record) if rule is not None else record
            recordings.create_recording(tx, record)
        log.info("recording.requested", recording=str(record.id), call=call.id, by=by)
        try:
            return self.settle(record.id)
        except PbxUnavailable as error:
            log.warning("recording.postponed", recording=str(record.id), error=str(error))
            return record

    def pause(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """Pause the recording; a repeat changes nothing."""
        with self._catalogue.begin() as tx:
            moved = recordings.open_pause(tx, recording_id, at=datetime.now(UTC), by=by)
            _require(moved, tx, recording_id, unless="paused")
        log.info("recording.paused", recording=str(recording_id), by=by)
        return self.settle(recording_id)

    def resume(self, recording_id: UUID, *, by: str) -> RecordingRecord:
        """End the pause of the recording; a repeat changes nothing."""
        with self._catalogue.begin() as tx:
            moved = recordings.close_pause(tx, recording_id, at=datetime.now(UTC))
            _require(moved, tx, recording_id, unless="recording")
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
        """End the recording and delete its audio. Raises RecordingForced, UnderHold."""
        with self._catalogue.begin() as tx:
            _refuse_forced(tx, recording_id)
            if recordings.lock_recording(tx, recording_id).hold is not None:
                raise UnderHold(f"the recording {recording_id} is under a legal hold")
            moved = recordings.move(
                tx, recording_id, to="discarded", ended_at=datetime.now(UTC), reason="on-request"
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

    # Events of the PBX

    def segment_started(self, recording_id: UUID, segment_id: UUID, at: datetime) -> None:
        """Note that a segment's file began, at a time of the PBX's own clock."""
        self._mark_started(recording_id, segment_id, at, segments.RUNNING)

    def segment_ended(self, segment_id: UUID, at: datetime, cause: str) -> None:
        """Note that the PBX has closed a segment's file."""
        with self._catalogue.begin() as tx:
            segments.end_segment(tx, segment_id, at=at, cause=cause)

    # Reconciliation

    def settle(self, recording_id: UUID) -> RecordingRecord:
        """Bring the PBX in line with the recording's state. A repeat changes nothing."""
        with self._catalogue.lock(f"recording {recording_id}", wait_s=LOCK_WITHIN_S):
            recording, call, present, voices = self._read(recording_id)
            is_running = any(segment.state in segments.RUNNING for segment in present)
            if recording.state not in states.LIVE and not is_running:
                return recording
            with self._pbxs.reach(recording.pbx) as ari:
                steps = plan_capture(call, recording, present, voices)
                if steps.check:
                    for segment in steps.check:
                        self._check_segment(ari, segment)
                    recording, call, present, voices = self._read(recording_id)
                    steps = plan_capture(call, recording, present, voices)
                self._carry_out(ari, steps, recording, call)
            return self._read(recording_id)[0]

    def check_running(self, pbx: str, lost_at: datetime | None) -> None:
        """After a time without events, end the segments that Asterisk no longer records.

        Skip `requested` segments: they may be starting now, and `settle` checks them under its
        lock. `lost_at` is the time when the PBX went away, or None if only our connection did.
        """
        with self._catalogue.begin() as tx:
            running = segments.list_running_segments(tx, pbx)
        with self._pbxs.reach(pbx) as ari:
            for segment in (one for one in running if one.state == "recording"):
                if ari.find_live_recording(segment.name) is None:
                    cause = "pbx-lost" if lost_at else "unobserved"
                    self.segment_ended(segment.id, lost_at or datetime.now(UTC), cause)

    def check_snoops(self, pbx: str) -> None:
        """Capture a leg again whose snoop has disappeared without an event.

        A recording that was still queued when its snoop was hung up never begins and never ends,
        so Asterisk sends no event about it.
        """
        with self._catalogue.begin() as tx:
            running = segments.list_running_segments(tx, pbx)
        if not running:
            return
        with self._pbxs.reach(pbx) as ari:  # list channels after segments: a snoop comes first
            present = {channel.id for channel in ari.list_channels(prefix=names.OURS)}
        for segment in running:
            if segment.state == "recording" and names.build_snoop_id(segment.id) not in present:
                log.warning("segment.vanished", segment=str(segment.id))
                self.segment_ended(segment.id, datetime.now(UTC), "unobserved")
                self.settle(segment.recording_id)

    # Steps

    def _read(
        self, recording_id: UUID
    ) -> tuple[RecordingRecord, CallRecord, tuple[SegmentRecord, ...], tuple[str, ...]]:
        """Return the recording, its call, its segments, and the channels of barging supervisors."""
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
            call = calls.get_call(tx, recording.call_id)
            barging = voice_channels(spies.list_spies_of_calls(tx, [call.id]))
            return recording, call, segments.list_segments(tx, recording_id), barging

    def _carry_out(
        self, ari: Ari, steps: CapturePlan, recording: RecordingRecord, call: CallRecord
    ) -> None:
        if steps.started_at is not None:
            with self._catalogue.begin() as tx:
                recordings.begin(tx, recording.id, at=steps.started_at)
        for segment in steps.detach:
            # Hang up and stop: a recording that is still queued ignores the stop, and a snoop
            # without frames stays after the hang-up. Hang up first: the end of the file is an
            # event, and after that event nobody looks for the snoop any more.
            ari.hang_up(names.build_snoop_id(segment.id))
            with suppress(AriConflict):  # it has just ended
                ari.stop_live_recording(segment.name)
            self.segment_ended(segment.id, datetime.now(UTC), "stopped")
        if steps.over:
            with self._catalogue.begin() as tx:
                _end(tx, recording.id, call.ended_at or datetime.now(UTC))
            return
        problems = []
        for leg in steps.attach:
            try:
                self._attach(ari, recording, leg.id, side_of(leg))
            except AriServerError as error:  # capture the other legs first
                problems.append(error)
        if problems:
            raise problems[0]
        for voice in steps.voices:
            if ari.find_channel(voice) is not None:  # a page has to open its microphone first
                self._attach(ari, recording, voice, "both")

    def _attach(self, ari: Ari, recording: RecordingRecord, channel_id: str, side: Side) -> None:
        """Start a new segment: open a snoop on the channel and record it."""
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
        snoop_id = names.build_snoop_id(segment.id)
        try:
            ari.snoop(channel_id, snoop_id=snoop_id, spy="in", app_args=str(segment.id))
            codecs = ari.find_variable(channel_id, "CHANNEL(audionativeformat)") or ""
            # Asterisk's names for WAV at 16 kHz and at 8 kHz.
            wav = "wav16" if any(codec in codecs for codec in WIDEBAND) else "wav"
            in_stasis(lambda: ari.record_channel(snoop_id, name=segment.name, format=wav))
        except (AriNotFound, AriConflict):  # the channel has just hung up
            self._check_segment(ari, segment)
        else:
            # Only from `requested`: the event may have come already, and its time is exact.
            self._mark_started(recording.id, segment.id, datetime.now(UTC), ["requested"])

    def _mark_started(
        self, recording_id: UUID, segment_id: UUID, at: datetime, sources: Sequence[str]
    ) -> None:
        with self._catalogue.begin() as tx:
            segments.move_segment(tx, segment_id, to="recording", sources=sources, started_at=at)
            began = recordings.begin(tx, recording_id, at=at)
        if began:
            log.info("recording.started", recording=str(recording_id))

    def _check_segment(self, ari: Ari, segment: SegmentRecord) -> None:
        """Find out whether Asterisk started a segment whose request was never answered.

        A segment that has not begun cannot begin any more once its snoop is hung up.
        """
        if ari.find_live_recording(segment.name) is not None:
            self.segment_started(segment.recording_id, segment.id, segment.started_at)
            return
        ari.hang_up(names.build_snoop_id(segment.id))
        if ari.find_stored_recording(segment.name) is not None:
            self.segment_ended(segment.id, datetime.now(UTC), "unobserved")
            return
        with self._catalogue.begin() as tx:
            segments.move_segment(
                tx, segment.id, to="lost", sources=["requested"], end_cause="never-began"
            )


def _apply_rule(rule: RuleRecord, record: RecordingRecord) -> RecordingRecord:
    """Return the recording with the terms of the rule; keep those that the rule leaves open."""
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


def _end(tx: Connection, recording_id: UUID, at: datetime) -> RecordingRecord | None:
    """End the recording and hand it to the workers; return None if it had ended before.

    It becomes `aborted` only where all its segments are known to hold nothing.
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


def _refuse_forced(tx: Connection, recording_id: UUID) -> None:
    """Raise RecordingForced where a rule forces this recording until the end of its call."""
    recording = recordings.get_recording(tx, recording_id)
    decision = decisions.find_decision(tx, recording.call_id)
    if decision is None or decision.action != "force" or decision.rule is None:
        return
    if recording.trigger == "rule" and recording.state in states.LIVE:
        raise RecordingForced(f"rule {decision.rule['name']!r} forces this recording")


def _require(
    moved: RecordingRecord | None, tx: Connection, recording_id: UUID, *, unless: str | None = None
) -> None:
    """Raise RecordingNotActive where the recording has not moved, unless it is in this state."""
    if moved is None:
        present = recordings.get_recording(tx, recording_id)
        if present.state != unless:
            raise RecordingNotActive(f"recording {recording_id} is {present.state}")
