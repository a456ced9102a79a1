"""Recordings at the PBX: start, pause, resume, stop, discard; and keep the PBX in line with them.

All of it needs only ARI's REST interface and the catalogue, so any process may do it: the API for a
person, the watcher for an event. Each change is written to the catalogue first (compare-and-set of
the state); then `settle` brings the PBX in line. If the PBX does not answer, the new state stays,
the caller gets PbxUnavailable, and the watcher settles the recording once the PBX is back.

A recording hears the people of its call in whatever conversation they are, and a pause holds for
people, in whatever recording they are: `recorder/recording/coverage.py` decides both. A pause ends
the captures: during a pause no channel of ours captures these people.
"""

from collections.abc import Callable, Collection, Sequence
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
from recorder.calls.legs import audible_legs, is_over
from recorder.errors import (
    CallEnded,
    NothingToRecord,
    PbxUnavailable,
    RecordingForbidden,
    RecordingForced,
    RecordingNotActive,
    UnderHold,
)
from recorder.recording.coverage import (
    Coverage,
    Scene,
    cover,
    list_heard,
    talk_began_at,
)
from recorder.recording.gate import Gate, read_live_scenes, read_scene
from recorder.recording.plan import CapturePlan, plan_capture
from recorder.recording.presence import last_left_at
from recorder.recording.voices import voice_channels
from storage import jobs, states
from storage.catalogue import audit, pauses, recordings, segments, spies
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import PEOPLE
from storage.errors import LockTimeout
from storage.records import (
    Actor,
    CallRecord,
    EndedBy,
    Format,
    Layout,
    PauseLeaves,
    PeoplePause,
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """A recording with everything that decides about it, as of one moment."""

    recording: RecordingRecord
    scene: Scene
    coverage: Coverage
    segments: tuple[SegmentRecord, ...]
    plan: CapturePlan

    @property
    def has_work(self) -> bool:
        """Whether the recording lives, or a segment of it still runs."""
        runs = any(segment.state in segments.RUNNING for segment in self.segments)
        return self.recording.state in states.LIVE or runs


class Capture:
    """The recordings of live calls. `gate` brings decisions that are as new as the calls.

    `on_pause` gets the PBX of each pause and of each resume, for supervisors who hear the people.

    Raises NoSuchCall, NoSuchRecording, CallEnded, NothingToRecord, RecordingForbidden,
    RecordingForced, RecordingNotActive, and PbxUnavailable where the PBX does not answer or is not
    configured in this process.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        defaults: Defaults | None = None,
        gate: Gate | None = None,
        on_pause: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._defaults = defaults or Defaults()
        self._gate = gate or Gate(catalogue, pbxs)
        self._on_pause = on_pause

    # Requests

    def start(
        self,
        call_id: str,
        *,
        by: Actor,
        trigger: Trigger = "manual",
        layout: Layout | None = None,
        format: Format | None = None,
        tags: Sequence[str] = (),
        rule: RuleRecord | None = None,
        scene: Scene | None = None,
    ) -> RecordingRecord:
        """Start a recording of the call, on the terms of `rule` where one is given.

        `scene` spares the queries where the caller has just read it: the gate before the captures
        reads it again.

        Where the PBX does not answer, return the recording as `requested`: the watcher starts it as
        soon as possible.

        Example: `capture.start("main-1795424777.0", by=Actor("user", "ann"), tags=["complaint"])`.
        """
        scene = scene or self._gate.read_scene(call_id)
        call = scene.calls[call_id]
        if is_over(call):
            raise CallEnded(f"call {call.id} has ended")
        conversations = scene.conversations_with(call_id)
        if not audible_legs(call) and not any(one.is_talk for one in conversations):
            raise NothingToRecord(f"nobody has answered call {call.id} yet")
        if all(scene.forbids(one) for one in conversations):
            raise _forbidden(scene, call_id)
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
        record = replace(record, promised_at=_promised_at(scene, call, record))
        with self._catalogue.begin() as tx:
            recordings.create_recording(tx, record)
        log.info("recording.requested", recording=str(record.id), call=call.id, by=by.name)
        try:
            settled = self.settle(record.id)
        except PbxUnavailable as error:
            log.warning("recording.postponed", recording=str(record.id), error=str(error))
            return record
        if settled.ended_by == "rule":  # a rule forbade it a moment ago
            raise _forbidden(self._gate.read_scene(call_id), call_id)
        return settled

    def pause(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """Pause the people whom the recording hears, in every recording; a repeat changes nothing.

        The pause goes with these people until a resume.
        """
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            recording, scene, people = _read_people(tx, recording_id)
            moved = recordings.open_pause(tx, recording_id, at=now, by=by.name)
            _require(moved, tx, recording_id, unless="paused")
            if moved is not None and people:
                pause = PeoplePause(uuid7(), recording.pbx, tuple(sorted(people)), now, by.name)
                pauses.open_pause(tx, pause)
        if moved is not None:
            log.info("recording.paused", recording=str(recording_id), by=by.name)
        return self._settle_all(recording, scene)

    def resume(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """End the pauses of the people whom the recording hears; a repeat changes nothing."""
        now = datetime.now(UTC)
        with self._catalogue.begin() as tx:
            recording, scene, people = _read_people(tx, recording_id)
            closed = pauses.close_pauses(tx, recording.pbx, people, at=now)
            moved = recordings.close_pause(tx, recording_id, at=now)
            if not closed:  # a recording of paused people may still be `requested`
                _require(moved, tx, recording_id, unless="recording")
        if moved is not None:
            log.info("recording.resumed", recording=str(recording_id), by=by.name)
        return self._settle_all(recording, scene)

    def list_heard(self, call_id: str) -> Collection[RecordingRecord]:
        """Return the live recordings that hear the people of a call, oldest first."""
        with self._catalogue.begin() as tx:
            return list_heard(read_scene(tx, call_id), call_id)

    def stop(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """End the recording and keep it, while the call goes on. Raises RecordingForced."""
        with self._catalogue.begin() as tx:
            _refuse_forced(tx, recording_id)
            _require(_end(tx, recording_id, datetime.now(UTC), "person"), tx, recording_id)
        log.info("recording.stopped", recording=str(recording_id), by=by.name)
        return self.settle(recording_id)

    def discard(self, recording_id: UUID, *, by: Actor) -> RecordingRecord:
        """End the recording and delete its audio. Raises RecordingForced, UnderHold."""
        with self._catalogue.begin() as tx:
            _refuse_forced(tx, recording_id)
            if recordings.lock_recording(tx, recording_id).hold is not None:
                raise UnderHold(f"the recording {recording_id} is under a legal hold")
            moved = recordings.move(
                tx,
                recording_id,
                to="discarded",
                ended_at=datetime.now(UTC),
                ended_by="person",
                reason="on-request",
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
        log.info("recording.discarded", recording=str(recording_id), by=by.name)
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
        """Bring the PBX in line with the recording's state. A repeat changes nothing.

        Where another recording goes on with these people, that one captures them first, and this
        one ends after it: between the two nothing is lost.
        """
        successor: UUID | None = None
        while True:
            with self._catalogue.lock(f"recording {recording_id}", wait_s=LOCK_WITHIN_S):
                seen = self._look(recording_id)
                if not seen.has_work:
                    return seen.recording
                if seen.coverage.continued_in == successor or not seen.plan.ends:
                    return self._bring(seen)
                successor = seen.coverage.continued_in
            if successor is not None:
                self.settle(successor)

    def list_unsettled(self, pbx: str) -> tuple[RecordingRecord, ...]:
        """Return the live recordings of a PBX whose plan has a step left."""
        with self._catalogue.begin() as tx:
            scenes = read_live_scenes(tx, pbx)
            live = [one for scene in scenes for one in scene.recordings]
            present = segments.map_segments(tx, [one.id for one in live])
            speaking = spies.list_live_spies(tx, pbx)
        unsettled = []
        for scene in scenes:
            for one in scene.recordings:
                coverage = cover(scene, one)
                voices = voice_channels(spy for spy in speaking if spy.call_id in coverage.call_ids)
                plan = plan_capture(coverage, one, present.get(one.id, ()), voices)
                if not plan.is_settled:
                    unsettled.append(one)
        return tuple(unsettled)

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
            gone = [
                segment
                for segment in running
                if segment.state == "recording" and names.build_snoop_id(segment.id) not in present
            ]
            # A person who hung up took the snoop along: the event of the file's end is on its way.
            vanished = [one for one in gone if ari.find_channel(one.channel_id) is not None]
        for segment in vanished:
            log.warning("segment.vanished", segment=str(segment.id))
            self.segment_ended(segment.id, datetime.now(UTC), "unobserved")
            self.settle(segment.recording_id)

    # Steps

    def _look(self, recording_id: UUID) -> _Seen:
        """Read a recording and everything that decides about it. The gate comes before the plan."""
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
        is_live = recording.state in states.LIVE
        # Of a recording that has ended, only its segments may have work left.
        scene = self._gate.read_scene(recording.call_id) if is_live else Scene({})
        with self._catalogue.begin() as tx:
            recording = recordings.get_recording(tx, recording_id)
            present = segments.list_segments(tx, recording_id)
            coverage = Coverage(is_over=True)
            if recording.state in states.LIVE:
                coverage = cover(scene, recording)
            barging = spies.list_spies_of_calls(tx, coverage.call_ids) if coverage.legs else ()
        plan = plan_capture(coverage, recording, present, voice_channels(barging))
        return _Seen(recording, scene, coverage, present, plan)

    def _bring(self, seen: _Seen) -> RecordingRecord:
        """Carry out the steps for one recording, under its lock; return it as it is then."""
        recording_id = seen.recording.id
        if seen.plan.pauses or seen.plan.resumes:
            self._follow_pauses(seen)
            seen = self._look(recording_id)
        if seen.plan.ends and seen.coverage.is_forbidden:  # also while the PBX does not answer
            self._end_of_coverage(seen)
            seen = self._look(recording_id)
        with self._pbxs.reach(seen.recording.pbx) as ari:
            if seen.plan.check:
                for segment in seen.plan.check:
                    self._check_segment(ari, segment)
                seen = self._look(recording_id)
            self._carry_out(ari, seen)
        with self._catalogue.begin() as tx:
            return recordings.get_recording(tx, recording_id)

    def _follow_pauses(self, seen: _Seen) -> None:
        """Pause, or resume, a recording whose people were paused, or resumed, elsewhere.

        The pause counts from the moment at which the paused people came, by the PBX's clock.
        """
        recording, met_at = seen.recording, datetime.min.replace(tzinfo=UTC)
        with self._catalogue.begin() as tx:
            if seen.plan.resumes:
                moved = recordings.close_pause(tx, recording.id, at=datetime.now(UTC))
            else:
                pause = min(seen.coverage.pauses, key=lambda one: one.from_at)
                for one in seen.scene.conversations:
                    if not one.leg_ids.isdisjoint(pause.legs):
                        met_at = talk_began_at(one) or met_at
                at = max(pause.from_at, met_at, recording.started_at or pause.from_at)
                moved = recordings.open_pause(tx, recording.id, at=at, by=pause.by)
        if moved is not None:
            event = "recording.resumed" if seen.plan.resumes else "recording.paused"
            log.info(event, recording=str(recording.id), by="people")

    def _settle_all(self, recording: RecordingRecord, scene: Scene) -> RecordingRecord:
        """Settle one recording after a pause or a resume, then the others of its scene.

        A failure of the others costs nothing. Supervisors are always informed.
        """
        try:
            settled = self.settle(recording.id)
            for other in scene.recordings:
                if other.id != recording.id:
                    try:
                        self.settle(other.id)
                    except (PbxUnavailable, LockTimeout) as error:
                        id_ = str(other.id)
                        log.warning("recording.postponed", recording=id_, error=str(error))
            return settled
        finally:
            self._on_pause(recording.pbx)

    def _carry_out(self, ari: Ari, seen: _Seen) -> None:
        plan, recording = seen.plan, seen.recording
        if plan.started_at is not None:
            with self._catalogue.begin() as tx:
                recordings.begin(tx, recording.id, at=plan.started_at)
        for segment in plan.detach:
            # Hang up and stop: a recording that is still queued ignores the stop, and a snoop
            # without frames stays after the hang-up. Hang up first: the end of the file is an
            # event, and after that event nobody looks for the snoop any more.
            ari.hang_up(names.build_snoop_id(segment.id))
            with suppress(AriConflict):  # it has just ended
                ari.stop_live_recording(segment.name)
            self.segment_ended(segment.id, datetime.now(UTC), "stopped")
        if plan.ends:
            self._end_of_coverage(seen)
            return
        problems = []
        for leg_id, side in plan.attach.items():
            try:
                self._attach(ari, recording, leg_id, side)
            except AriServerError as error:  # capture the other legs first
                problems.append(error)
        if problems:
            raise problems[0]
        for voice in plan.voices:
            if ari.find_channel(voice) is not None:  # a page has to open its microphone first
                self._attach(ari, recording, voice, "both")

    def _end_of_coverage(self, seen: _Seen) -> None:
        """End a recording whose call is over, which a rule forbids, or which goes on in another."""
        recording, coverage = seen.recording, seen.coverage
        home = seen.scene.calls.get(recording.call_id)
        ended_at = datetime.now(UTC)
        ended_by: EndedBy = "rule"
        if coverage.continued_in is not None:
            ended_by = "merge"
        elif coverage.is_over:
            ended_by = "call"
            if home is not None and home.ended_at is not None:
                ended_at = last_left_at(home, seen.segments, now=ended_at)
        with self._catalogue.begin() as tx:
            moved = _end(tx, recording.id, ended_at, ended_by, coverage.continued_in)
            if moved is not None and coverage.continued_in is not None:
                recordings.set_continues(tx, coverage.continued_in, recording.id)
        if moved is not None and coverage.continued_in is not None:
            log.info(
                "recording.continued",
                recording=str(recording.id),
                continued_in=str(coverage.continued_in),
            )

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


def _end(
    tx: Connection,
    recording_id: UUID,
    at: datetime,
    by: EndedBy,
    continued_in: UUID | None = None,
) -> RecordingRecord | None:
    """End the recording and hand it to the workers; return None if it had ended before.

    It becomes `aborted` only where all its segments are known to hold nothing.
    """
    end = {"ended_at": at, "ended_by": by, "continued_in": continued_in}
    perhaps = [one for one in segments.list_segments(tx, recording_id) if one.state != "lost"]
    if perhaps:
        recordings.begin(tx, recording_id, at=perhaps[0].started_at)
    recordings.close_pause(tx, recording_id, at=at)
    moved = recordings.move(tx, recording_id, to="captured", **end)
    if moved is None:
        return recordings.move(tx, recording_id, to="aborted", reason="nothing-captured", **end)
    jobs.defer(tx, "finish", lock=str(recording_id), recording_id=str(recording_id))
    log.info("recording.captured", recording=str(recording_id))
    return moved


def _refuse_forced(tx: Connection, recording_id: UUID) -> None:
    """Raise RecordingForced where a rule forces this recording until the end of its call."""
    recording = recordings.get_recording(tx, recording_id)
    if not recording.is_by_decision or recording.state not in states.LIVE:
        return
    scene = read_scene(tx, recording.call_id)
    for conversation in scene.conversations:
        decision = scene.decision_on(conversation)
        if decision is None or decision.action != "force" or decision.rule is None:
            continue
        if scene.find_owner(conversation) == recording:
            raise RecordingForced(f"rule {decision.rule['name']!r} forces this recording")


def _read_people(
    tx: Connection, recording_id: UUID
) -> tuple[RecordingRecord, Scene, frozenset[str]]:
    """Return a recording, its scene, and the legs of everybody in the conversations it hears."""
    recording = recordings.get_recording(tx, recording_id)
    scene = read_scene(tx, recording.call_id)
    heard = cover(scene, recording).legs.keys()
    mine = [
        one
        for one in scene.conversations
        if recording.call_id in one.call_ids or heard & one.leg_ids
    ]
    return recording, scene, frozenset(id_ for one in mine for id_ in one.leg_ids)


def _forbidden(scene: Scene, call_id: str) -> RecordingForbidden:
    """Return the error that names the rule which forbids to record this call."""
    found = (scene.decision_on(one) for one in scene.conversations_with(call_id))
    rules = (one.rule["name"] for one in found if one is not None and one.rule is not None)
    return RecordingForbidden(f"rule {next(rules, '')!r} forbids recording call {call_id}")


def _promised_at(scene: Scene, call: CallRecord, recording: RecordingRecord) -> datetime:
    """Return the moment from which a new recording has to hear everything.

    A rule wants it from the moment of the decision, once two people talk; an announcement comes
    before it. A person wants it from now.
    """
    now = datetime.now(UTC)
    if not recording.is_by_decision or recording.announcement is not None:
        return now
    talks = [talk_began_at(one) for one in scene.conversations_with(call.id)]
    decision = scene.decisions.get(call.id)
    moments = [one for one in talks if one is not None]
    if decision is not None and decision.as_of is not None:
        moments.append(decision.as_of)
    return min(now, max(moments, default=now))


def _require(
    moved: RecordingRecord | None, tx: Connection, recording_id: UUID, *, unless: str | None = None
) -> None:
    """Raise RecordingNotActive where the recording has not moved, unless it is in this state."""
    if moved is None:
        present = recordings.get_recording(tx, recording_id)
        if present.state != unless:
            raise RecordingNotActive(f"recording {recording_id} is {present.state}")
