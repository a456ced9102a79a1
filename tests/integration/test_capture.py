"""Recordings at a PBX that fails at chosen moments, which no real PBX does on request.

The catalogue is a real PostgreSQL. `Pbx` stands for the client of one Asterisk: it does what
Asterisk does with a channel, its snoops and their files, raises the same errors, and lets a test
act in the middle of a request.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from api_client import build_call
from captured import Pbx
from sqlalchemy import text

from lab.waiting import until
from recorder import names
from recorder.ari import AriConflict, AriServerError, AriUnavailable, stasis
from recorder.ari.pbxs import Pbxs
from recorder.errors import CallEnded, NothingToRecord, PbxUnavailable, RecordingNotActive
from recorder.recording.capture import Capture
from storage.catalogue import audit, calls, pauses, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, LegRecord, RecordingRecord, SegmentRecord
from tests.actors import ANN, SUE
from tests.legs import leg


def no_answer() -> None:
    """Fail as if the request, or only its answer, was lost."""
    raise AriUnavailable("the connection was closed before the whole answer came")


@dataclass(frozen=True)
class Scene:
    """A conversation between a customer and an agent on a PBX, and a process that records it."""

    catalogue: Catalogue
    pbx: Pbx
    call: CallRecord
    capture: Capture

    def save(self, *legs: LegRecord, state: str = "up") -> None:
        """Save the call as the watcher does."""
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [build_call(id=self.call.id, state=state, channels=legs)])

    def end(self) -> None:
        """End every channel and save the ended call."""
        for channel_id in list(self.pbx.channels):
            self.pbx.end(channel_id)
        gone = (replace(one, left_at=one.created_at) for one in self.call.channels)
        self.save(*gone, state="ended")

    def start(self) -> RecordingRecord:
        """Start a recording of the call."""
        return self.capture.start(self.call.id, by=ANN)

    def another_process(self) -> Capture:
        """Return the capture of another process on the same PBX."""
        return Capture(self.catalogue, Pbxs({"main": self.pbx}))  # type: ignore[dict-item]

    def recording(self) -> RecordingRecord:
        """Return the only recording of the call."""
        with self.catalogue.begin() as tx:
            (found,) = recordings.list_recordings_of_calls(tx, [self.call.id])
        return found

    def parts(self) -> tuple[SegmentRecord, ...]:
        """Return its segments."""
        with self.catalogue.begin() as tx:
            return segments.list_segments(tx, self.recording().id)

    def jobs(self) -> list[str]:
        """Return the jobs that wait for a worker."""
        query = text("SELECT task_name FROM procrastinate_jobs WHERE args->>'recording_id' = :id")
        with self.catalogue.begin() as tx:
            return list(tx.execute(query, {"id": str(self.recording().id)}).scalars())

    def assert_captures(self, *legs: str) -> None:
        """Assert that one snoop captures each leg, and that catalogue and PBX agree."""
        assert self.recording().state == "recording"
        running = [one for one in self.parts() if one.state in segments.RUNNING]
        assert {one.state for one in running} == {"recording"}
        assert {one.name for one in running} == set(self.pbx.live)
        assert {names.build_snoop_id(one.id) for one in running} == set(self.pbx.snoops)
        assert self.pbx.heard() == sorted(legs)

    def assert_captures_nothing(self) -> bool:
        """Assert that neither the PBX nor the catalogue has a capture."""
        assert self.pbx.live == self.pbx.snoops == {}
        assert not [one for one in self.parts() if one.state in segments.RUNNING]
        return True

    def assert_paused(self) -> None:
        """Assert that every capture ends soon and the pause is open."""
        until(self.assert_captures_nothing)
        paused = self.recording()
        assert paused.state == "paused"
        assert [(one.to_at, one.by) for one in paused.pauses] == [(None, "sue")]


@pytest.fixture
def scene(catalogue: Catalogue) -> Scene:
    legs = (leg("customer", party="customer"), leg("agent"))
    with catalogue.begin() as tx:  # these channels were paused in another test
        pauses.close_pauses(tx, "main", ["customer", "agent"], at=datetime.now(UTC))
    call = build_call(id=f"main-{uuid4()}", channels=legs)
    pbx = Pbx({"customer", "agent"})
    scene = Scene(catalogue, pbx, call, Capture(catalogue, Pbxs({"main": pbx})))  # type: ignore[dict-item]
    scene.save(*legs)
    return scene


def test_both_legs_are_captured(scene: Scene) -> None:
    """One snoop records each leg, and another settle changes nothing."""
    recording = scene.start()
    assert recording.state == "recording"
    scene.capture.settle(recording.id)
    scene.assert_captures("agent", "customer")
    assert sorted(scene.pbx.made) == ["agent", "customer"]


# A leg that has hung up


def test_a_recording_without_legs_is_aborted(scene: Scene) -> None:
    """A recording without any leg stays `requested`, and is `aborted` at the end of the call."""
    scene.pbx.channels.clear()
    recording = scene.start()
    assert recording.state == "requested"
    assert {one.state for one in scene.parts()} == {"lost"}
    scene.end()
    ended = scene.capture.settle(recording.id)
    assert (ended.state, ended.reason) == ("aborted", "nothing-captured")
    assert ended.ended_at is not None
    assert scene.jobs() == []


def test_one_leg_is_gone(scene: Scene) -> None:
    """The other leg is recorded and kept."""
    scene.pbx.channels.discard("customer")
    recording = scene.start()
    assert recording.state == "recording"
    assert scene.pbx.heard() == ["agent"]
    scene.end()
    assert scene.capture.settle(recording.id).state == "captured"
    assert scene.jobs() == ["finish"]


def test_a_snoop_vanishes(scene: Scene) -> None:
    """A leg whose snoop was hung up without an event is captured again."""
    scene.start()
    (snoop_id,) = [one for one, of in scene.pbx.snoops.items() if of == "agent"]
    scene.pbx.end(snoop_id)
    scene.capture.check_snoops("main")
    parts = {one.channel_id: one for one in scene.parts() if one.state in segments.RUNNING}
    assert parts.keys() == {"agent", "customer"}
    assert {one.name for one in parts.values()} <= scene.pbx.live.keys()
    assert [one.end_cause for one in scene.parts() if one.end_cause] == ["unobserved"]


def test_a_snoop_goes_with_its_leg(scene: Scene) -> None:
    """A leg that hung up before the check waits for the event of its end, which has its time."""
    scene.start()
    scene.pbx.end("agent")
    scene.capture.check_snoops("main")
    (part,) = [one for one in scene.parts() if one.channel_id == "agent"]
    assert (part.state, part.end_cause) == ("recording", None)


def test_one_leg_is_refused(scene: Scene) -> None:
    """The other leg is captured at once, and both legs are once the PBX has recovered."""

    def fail() -> None:
        raise AriServerError("Failed to create")

    scene.pbx.before["snoop"] = fail
    recording = scene.start()
    assert len(scene.pbx.heard()) == 1
    scene.capture.settle(recording.id)
    scene.assert_captures("agent", "customer")


def test_a_snoop_that_cannot_be_recorded_does_not_stay(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snoop that never enters our application is hung up."""

    def conflict() -> None:
        scene.pbx.before["record"] = conflict
        raise AriConflict("Channel not in Stasis application")

    monkeypatch.setattr(stasis, "DEADLINE_S", 0.05)
    scene.pbx.before["record"] = conflict
    recording = scene.start()
    assert recording.state == "requested"
    assert scene.pbx.snoops == {}
    assert {one.state for one in scene.parts()} == {"lost"}


# Answers that never came


@pytest.mark.parametrize(
    "request_", ["snoop", "variable", "record"], ids=["snoop", "format", "record"]
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_request_without_an_answer(scene: Scene, request_: str, moment: str) -> None:
    """The next settle checks the segment, and adopts or replaces it: a leg never has two."""
    getattr(scene.pbx, moment)[request_] = no_answer
    recording = scene.start()
    assert recording.state == "requested"
    assert [one.state for one in scene.parts()] == ["requested"]
    assert scene.capture.settle(recording.id).state == "recording"
    scene.assert_captures("agent", "customer")
    adopted = (request_, moment) == ("record", "after")
    lost = [one for one in scene.parts() if one.state == "lost"]
    assert len(lost) == (0 if adopted else 1)


def test_audio_that_began_unseen_is_kept(scene: Scene) -> None:
    """Audio is kept where the answer was lost and the call ended before the next check."""
    scene.pbx.after["record"] = no_answer
    recording = scene.start()
    scene.end()
    ended = scene.capture.settle(recording.id)
    assert ended.state == "captured"
    (part,) = scene.parts()
    assert (part.state, part.end_cause) == ("finished", "unobserved")
    assert scene.pbx.stored == {part.name}
    assert scene.jobs() == ["finish"]


def test_a_stop_before_the_start_is_confirmed(scene: Scene) -> None:
    """A stop keeps a segment of unknown outcome, and the worker checks it."""
    scene.pbx.after["record"] = no_answer
    recording = scene.start()
    assert scene.capture.stop(recording.id, by=ANN).state == "captured"
    scene.assert_captures_nothing()
    (part,) = scene.parts()
    assert (part.state, part.end_cause) == ("finished", "stopped")
    assert scene.pbx.stored == {part.name}
    assert scene.jobs() == ["finish"]


def test_the_event_confirms_a_start(scene: Scene) -> None:
    """RecordingStarted starts segment and recording, at the PBX's own time."""
    scene.pbx.after["record"] = no_answer
    recording = scene.start()
    (part,) = scene.parts()
    scene.capture.segment_started(recording.id, part.id, scene.call.started_at)
    assert scene.recording().state == "recording"
    (part,) = scene.parts()
    assert (part.state, part.started_at) == ("recording", scene.call.started_at)


def test_an_unreachable_pbx_postpones(scene: Scene) -> None:
    """A recording is requested while the PBX is away, and starts once it is back."""
    scene.pbx.reachable = False
    recording = scene.start()
    assert recording.state == "requested"
    with pytest.raises(PbxUnavailable):
        scene.capture.settle(recording.id)
    scene.pbx.reachable = True
    scene.capture.settle(recording.id)
    scene.assert_captures("agent", "customer")


def test_a_pbx_of_another_process(scene: Scene) -> None:
    """A process that does not know the PBX leaves the start to one that does."""
    recording = Capture(scene.catalogue, Pbxs({})).start(scene.call.id, by=ANN)
    assert recording.state == "requested"
    assert scene.recording().state == "requested"


@pytest.mark.parametrize(
    ("state", "only_leg", "error"),
    [
        ("ended", leg("a", left=True), CallEnded),
        ("up", leg("a", left=True), CallEnded),
        ("ringing", leg("a", joined=False, state="Ring"), NothingToRecord),
    ],
    ids=["ended", "nobody-left", "ringing"],
)
def test_a_call_that_cannot_be_recorded(
    scene: Scene, state: str, only_leg: LegRecord, error: type[Exception]
) -> None:
    """A call without anybody to record is refused, and no recording is created."""
    scene.save(only_leg, state=state)
    with pytest.raises(error):
        scene.start()
    with scene.catalogue.begin() as tx:
        assert recordings.list_recordings_of_calls(tx, [scene.call.id]) == ()


# Several processes


def test_two_processes_settle_at_once(scene: Scene) -> None:
    """Four processes that settle a recording at once open one snoop for each leg."""
    scene.pbx.reachable = False
    recording = scene.start()
    scene.pbx.reachable = True
    together = threading.Barrier(4, timeout=20)

    def settle(_: int) -> str:
        own = scene.another_process()
        together.wait()
        return own.settle(recording.id).state

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(settle, range(4))) == {"recording"}
    scene.assert_captures("agent", "customer")
    assert sorted(scene.pbx.made) == ["agent", "customer"]


def test_a_check_skips_a_starting_segment(scene: Scene) -> None:
    """A check between a snoop and its recording does not capture the leg twice."""
    scene.pbx.before["record"] = lambda: scene.capture.check_running("main", None)
    recording = scene.start()
    scene.capture.settle(recording.id)
    scene.assert_captures("agent", "customer")
    assert sorted(scene.pbx.made) == ["agent", "customer"]


@dataclass
class PauseMeanwhile:
    """A request of another process to pause the recording; it returns once the state is saved."""

    scene: Scene
    pool: ThreadPoolExecutor
    answers: list[Future[RecordingRecord]] = field(default_factory=list)

    def __call__(self) -> None:
        pause = self.scene.another_process().pause
        self.answers.append(self.pool.submit(pause, self.scene.recording().id, by=SUE))
        until(lambda: self.scene.recording().state == "paused")

    def assert_answered(self) -> None:
        """Assert that the other process got a paused recording."""
        assert [one.result(timeout=20).state for one in self.answers] == ["paused"]


@pytest.fixture
def pause_meanwhile(scene: Scene) -> Iterator[PauseMeanwhile]:
    with ThreadPoolExecutor(1) as pool:
        yield PauseMeanwhile(scene, pool)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("request_", ["snoop", "record"])
def test_a_pause_comes_while_a_leg_is_attached(
    scene: Scene, pause_meanwhile: PauseMeanwhile, request_: str, moment: str
) -> None:
    """A pause during the capture of a new leg ends all captures."""
    recording = scene.start()
    scene.pbx.channels.add("colleague")
    scene.save(*scene.call.channels, leg("colleague"))
    getattr(scene.pbx, moment)[request_] = pause_meanwhile
    scene.capture.settle(recording.id)
    scene.assert_paused()
    pause_meanwhile.assert_answered()
    scene.capture.resume(recording.id, by=SUE)
    scene.assert_captures("agent", "colleague", "customer")


def test_a_pause_comes_between_the_first_two_legs(
    scene: Scene, pause_meanwhile: PauseMeanwhile
) -> None:
    """The capture of the second leg does not undo a pause that came after the first."""

    def before_the_second() -> None:
        scene.pbx.before["snoop"] = pause_meanwhile

    scene.pbx.after["snoop"] = before_the_second
    assert scene.start().state == "paused"
    scene.assert_paused()
    pause_meanwhile.assert_answered()


# Requests while the PBX is away


def test_a_pause_while_the_pbx_is_away(scene: Scene) -> None:
    """A pause raises PbxUnavailable, stays in the catalogue, and ends the captures later."""
    recording = scene.start()
    scene.pbx.reachable = False
    with pytest.raises(PbxUnavailable):
        scene.capture.pause(recording.id, by=SUE)
    paused = scene.recording()
    assert (paused.state, len(paused.pauses)) == ("paused", 1)
    scene.pbx.reachable = True
    assert scene.capture.pause(recording.id, by=SUE).pauses == paused.pauses
    scene.assert_paused()


@pytest.mark.parametrize(
    ("action", "state", "task"), [("stop", "captured", "finish"), ("discard", "discarded", "clear")]
)
def test_an_end_while_the_pbx_is_away(scene: Scene, action: str, state: str, task: str) -> None:
    """The recording ends for good, with one job, and its captures end later."""
    recording = scene.start()
    scene.pbx.reachable = False
    with pytest.raises(PbxUnavailable):
        getattr(scene.capture, action)(recording.id, by=SUE)
    assert scene.recording().state == state
    with pytest.raises(RecordingNotActive):
        getattr(scene.capture, action)(recording.id, by=SUE)
    scene.pbx.reachable = True
    scene.capture.settle(recording.id)
    scene.assert_captures_nothing()
    assert scene.jobs() == [task]


def test_a_call_that_ends_in_a_pause_closes_it(scene: Scene) -> None:
    """The end of a call captures a paused recording and closes its pause."""
    recording = scene.start()
    scene.capture.pause(recording.id, by=SUE)
    scene.end()
    ended = scene.capture.settle(recording.id)
    assert ended.state == "captured"
    assert [one.to_at is not None for one in ended.pauses] == [True]
    assert scene.jobs() == ["finish"]


def test_the_trail_names_the_person_who_discarded(scene: Scene) -> None:
    """A discard keeps no audio and no name in its reason: the audit trail has the person."""
    recording = scene.capture.start(scene.call.id, by=ANN)
    discarded = scene.capture.discard(recording.id, by=SUE)
    with scene.catalogue.begin() as tx:
        trail = audit.list_audit(tx, limit=9, subject=str(recording.id)).items
    assert discarded.reason == "on-request"
    assert [(one.actor, one.action, one.outcome) for one in trail] == [
        ("sue", "recording.discard", "done")
    ]
