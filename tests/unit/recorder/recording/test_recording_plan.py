"""The steps at the PBX, for every state of a recording and every company in the call."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.recording.coverage import Coverage
from recorder.recording.plan import CapturePlan, plan_capture
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import PeoplePause, RecordingRecord, SegmentRecord
from tests.legs import ZERO

NOT_LIVE = sorted(set(states.NEXT) - states.LIVE)
SEGMENT_STATES = ("requested", "recording", "finished", "lost", "deleted")


def recording(state: str) -> RecordingRecord:
    return RecordingRecord(
        UUID(int=1), "main-1.0", "main", state, "rule", "dual", "opus", "silence", "inbound"
    )


def segment(channel: str, state: str = "recording", from_s: float = 0) -> SegmentRecord:
    began = ZERO + timedelta(seconds=from_s)
    return SegmentRecord(uuid4(), UUID(int=1), channel, "right", state, "name", began)


def attached(steps: CapturePlan) -> list[str]:
    return list(steps.attach)


def pause(*legs: str) -> PeoplePause:
    return PeoplePause(UUID(int=9), "main", legs, ZERO, "ann")


CONVERSATION = Coverage({"a": "left", "b": "right"})
PAUSED = replace(CONVERSATION, pauses=(pause("a"),))
OVER = Coverage(is_over=True)
FORBIDDEN = Coverage(is_forbidden=True)
MERGED = Coverage(continued_in=UUID(int=2))


@pytest.mark.parametrize("state", ["requested", "recording"])
def test_every_leg_of_the_conversation_is_captured(state: str) -> None:
    """A live recording captures each leg that has joined and not left, and no leg twice."""
    steps = plan_capture(CONVERSATION, recording(state), [segment("b")])
    assert attached(steps) == ["a"]
    assert steps.detach == ()
    assert not steps.ends


@pytest.mark.parametrize("state", ["requested", "recording"])
def test_a_barging_supervisor_is_captured(state: str) -> None:
    """A barging supervisor is captured once, until the barging ends."""
    legs = [segment("a"), segment("b")]
    assert plan_capture(CONVERSATION, recording(state), legs, ["phone"]).voices == ("phone",)
    voice = segment("phone")
    steps = plan_capture(CONVERSATION, recording(state), [*legs, voice], ["phone"])
    assert (steps.voices, steps.detach) == ((), ())
    assert plan_capture(CONVERSATION, recording(state), [*legs, voice]).detach == (voice,)


@pytest.mark.parametrize("state", ["paused", *NOT_LIVE])
def test_a_barging_supervisor_is_not_captured_in_any_other_state(state: str) -> None:
    """A pause, or the end of the recording, holds for the supervisor too."""
    assert plan_capture(CONVERSATION, recording(state), [], ["phone"]).voices == ()


@pytest.mark.parametrize("state", ["paused", *NOT_LIVE])
def test_nothing_is_captured_in_any_other_state(state: str) -> None:
    """While a recording is paused or has ended, every running segment ends and none starts."""
    running = [segment("a"), segment("c", "requested")]
    steps = plan_capture(PAUSED if state == "paused" else Coverage(), recording(state), running)
    assert attached(steps) == []
    assert steps.detach == tuple(running)
    assert not steps.ends


@pytest.mark.parametrize("state", ["requested", "recording"])
def test_a_pause_of_its_people_holds_for_a_recording(state: str) -> None:
    """A recording whose people are paused elsewhere captures nobody, not even before its start."""
    running = [segment("a")]
    steps = plan_capture(PAUSED, recording(state), running, ["phone"])
    assert (steps.attach, steps.voices, steps.detach) == ({}, (), tuple(running))
    assert steps.pauses is (state == "recording")


def test_a_recording_goes_on_when_its_people_are_resumed() -> None:
    """A paused recording resumes once no pause holds for its people."""
    assert plan_capture(CONVERSATION, recording("paused"), []).resumes
    assert plan_capture(PAUSED, recording("paused"), []).is_settled


@pytest.mark.parametrize("state", sorted(states.LIVE))
@pytest.mark.parametrize("end", [OVER, FORBIDDEN, MERGED], ids=["over", "forbidden", "merged"])
def test_an_end_ends_the_recording(end: Coverage, state: str) -> None:
    """An end ends a live recording in every state, with its segments and its voices."""
    running = [segment("a"), segment("phone")]
    steps = plan_capture(end, recording(state), running, ["phone", "other"])
    assert steps.ends
    assert steps.detach == tuple(running)
    assert (steps.attach, steps.voices) == ({}, ())


@pytest.mark.parametrize("state", NOT_LIVE)
def test_an_ended_recording_does_not_end_again(state: str) -> None:
    """A recording that has ended needs no further step."""
    assert plan_capture(OVER, recording(state), [segment("a", "finished")]).is_settled


def test_the_segment_of_a_leg_that_left_ends() -> None:
    """After a transfer the segment of the old leg ends, and a segment of the new leg starts."""
    transferred = Coverage({"a": "left", "c": "right"})
    steps = plan_capture(transferred, recording("recording"), [segment("a"), segment("b")])
    assert attached(steps) == ["c"]
    assert [one.channel_id for one in steps.detach] == ["b"]


@pytest.mark.parametrize("state", ["finished", "lost", "deleted"])
def test_a_leg_with_an_ended_segment_is_captured_again(state: str) -> None:
    """A leg gets a new segment when its segment ended behind our back."""
    steps = plan_capture(CONVERSATION, recording("recording"), [segment("a", state), segment("b")])
    assert attached(steps) == ["a"]


def test_a_segment_of_unknown_outcome_is_checked() -> None:
    """A segment whose start was never confirmed is checked, and not captured a second time."""
    unknown = segment("a", "requested")
    steps = plan_capture(CONVERSATION, recording("recording"), [unknown, segment("b")])
    assert steps.check == (unknown,)
    assert steps.attach == {}
    assert not steps.is_settled


def test_a_recording_starts_with_its_first_segment() -> None:
    """A requested recording starts at the start of its first segment that has begun."""
    lost, unknown = segment("a", "lost", 1), segment("b", "requested", 1.5)
    for first, then in (("finished", "recording"), ("recording", "finished")):
        present = [lost, unknown, segment("a", then, 3), segment("c", first, 2)]
        steps = plan_capture(CONVERSATION, recording("requested"), present)
        assert steps.started_at == ZERO + timedelta(seconds=2)
    assert plan_capture(CONVERSATION, recording("requested"), [lost]).started_at is None
    assert plan_capture(CONVERSATION, recording("recording"), present).started_at is None


def answered(steps: CapturePlan, present: list[SegmentRecord], state: str) -> list[SegmentRecord]:
    """Return the segments after the PBX has given this state for the checked segments."""
    return [replace(one, state=state) if one in steps.check else one for one in present]


def carried_out(
    steps: CapturePlan, now: RecordingRecord, present: list[SegmentRecord]
) -> tuple[RecordingRecord, list[SegmentRecord]]:
    """Return the recording and its segments after `Capture.settle` has carried out the steps."""
    after = [replace(one, state="finished") if one in steps.detach else one for one in present]
    if steps.started_at is not None:
        now = replace(now, state="recording")
    if steps.pauses or steps.resumes:
        now = replace(now, state="paused" if steps.pauses else "recording")
    if steps.ends:
        kept = any(one.state != "lost" for one in after)
        return replace(now, state="captured" if kept else "aborted"), after
    if steps.attach:
        now = replace(now, state="recording")
    return now, after + [segment(one) for one in steps.attach]


coverages = st.one_of(
    st.sampled_from([OVER, FORBIDDEN, MERGED, PAUSED, CONVERSATION]),
    st.builds(
        Coverage,
        legs=st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["left", "right"])),
        pauses=st.sampled_from([(), (pause("a"),)]),
    ),
)
segments_strategy = st.lists(
    st.builds(segment, st.sampled_from("abcd"), st.sampled_from(SEGMENT_STATES)),
    max_size=6,
    unique_by=lambda one: one.channel_id if one.state in RUNNING else one.id,
)


@given(
    coverages,
    segments_strategy,
    st.sampled_from(sorted(states.NEXT)),
    st.sampled_from(["recording", "finished", "lost"]),
)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    coverage: Coverage, present: list[SegmentRecord], state: str, said: str
) -> None:
    """From any state, one check and then the steps, once or twice, leave no further step.

    A recording that follows a pause or a resume is planned a second time.
    """
    now = recording(state)
    present = answered(plan_capture(coverage, now, present), present, said)
    for _ in range(2):
        now, present = carried_out(plan_capture(coverage, now, present), now, present)
    assert plan_capture(coverage, now, present).is_settled
    running = [one.channel_id for one in present if one.state in RUNNING]
    assert len(running) == len(set(running))
    assert not running or now.state in {"requested", "recording"}
