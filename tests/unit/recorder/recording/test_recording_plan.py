"""The steps at the PBX, for every state of a recording and every company in the call."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.recording.plan import CapturePlan, plan_capture
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import CallRecord, LegRecord, RecordingRecord, SegmentRecord
from tests.legs import ZERO, leg

NOT_LIVE = sorted(set(states.NEXT) - states.LIVE)
SEGMENT_STATES = ("requested", "recording", "finished", "lost", "deleted")


def call(*legs: LegRecord, state: str = "up") -> CallRecord:
    return CallRecord("main-1.0", "main", state, "inbound", ZERO, channels=legs)


def recording(state: str) -> RecordingRecord:
    return RecordingRecord(
        UUID(int=1), "main-1.0", "main", state, "rule", "dual", "opus", "silence", "inbound"
    )


def segment(channel: str, state: str = "recording", from_s: float = 0) -> SegmentRecord:
    began = ZERO + timedelta(seconds=from_s)
    return SegmentRecord(uuid4(), UUID(int=1), channel, "right", state, "name", began)


def attached(steps: CapturePlan) -> list[str]:
    return [one.id for one in steps.attach]


CONVERSATION = call(leg("a", party="customer", side="left"), leg("b"))


@pytest.mark.parametrize("state", ["requested", "recording"])
def test_every_leg_of_the_conversation_is_captured(state: str) -> None:
    """A live recording captures each leg that has joined and not left, and no leg twice."""
    steps = plan_capture(CONVERSATION, recording(state), [segment("b")])
    assert attached(steps) == ["a"]
    assert steps.detach == ()
    assert not steps.over


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
    running = [segment("a"), segment("b", "requested")]
    steps = plan_capture(CONVERSATION, recording(state), running)
    assert attached(steps) == []
    assert steps.detach == tuple(running)
    assert not steps.over


@pytest.mark.parametrize("state", ["requested", "recording"])
@pytest.mark.parametrize(
    ("legs", "wanted"),
    [
        ([leg("a", joined=False)], ["a"]),
        ([leg("a", joined=False, state="Ring")], []),
        ([leg("a", joined=False), leg("b", joined=False, state="Ringing")], ["a"]),
        ([leg("a"), leg("b", joined=False)], ["a"]),
        ([leg("a"), leg("b", left=True)], ["a"]),
        ([leg("a"), leg("l", name="Local/1@x-1;1")], ["a"]),
    ],
    ids=["menu", "not-up", "ringing", "not-joined", "left", "local"],
)
def test_the_captured_persons(legs: list[LegRecord], wanted: list[str], state: str) -> None:
    """Persons who joined are captured; before anybody has joined, persons who are up."""
    assert attached(plan_capture(call(*legs), recording(state), [])) == wanted


@pytest.mark.parametrize("state", sorted(states.LIVE))
@pytest.mark.parametrize(
    "ended",
    [call(leg("a", left=True), state="ended"), call(leg("a", left=True), leg("b", left=True))],
    ids=["ended", "empty"],
)
def test_a_call_that_is_over_ends_its_recording(ended: CallRecord, state: str) -> None:
    """The end of a call ends a live recording in every state, with its segments and its voices."""
    running = [segment("a"), segment("phone")]
    steps = plan_capture(ended, recording(state), running, ["phone", "other"])
    assert steps.over
    assert steps.detach == tuple(running)
    assert (steps.attach, steps.voices) == ((), ())


@pytest.mark.parametrize("state", sorted(states.LIVE))
def test_an_ended_call_is_captured_no_more(state: str) -> None:
    """A call that has ended gets no capture, even where its record still has a live leg."""
    steps = plan_capture(call(leg("a"), state="ended"), recording(state), [segment("b")])
    assert (attached(steps), steps.over) == ([], True)


@pytest.mark.parametrize("state", NOT_LIVE)
def test_an_ended_recording_does_not_end_again(state: str) -> None:
    """A recording that has ended needs no further step."""
    assert plan_capture(
        call(state="ended"), recording(state), [segment("a", "finished")]
    ).is_settled


def test_the_segment_of_a_leg_that_left_ends() -> None:
    """After a transfer the segment of the old leg ends, and a segment of the new leg starts."""
    transferred = call(leg("a"), leg("b", left=True), leg("c"))
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
    assert steps.attach == ()
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
    if steps.over:
        kept = any(one.state != "lost" for one in after)
        return replace(now, state="captured" if kept else "aborted"), after
    if steps.attach:
        now = replace(now, state="recording")
    return now, after + [segment(one.id) for one in steps.attach]


legs_strategy = st.lists(
    st.builds(
        leg,
        st.sampled_from("abcd"),
        joined=st.booleans(),
        left=st.booleans(),
        state=st.sampled_from(["Up", "Ring", "Ringing"]),
        party=st.sampled_from(["customer", "agent"]),
    ),
    max_size=4,
    unique_by=lambda one: one.id,
)
segments_strategy = st.lists(
    st.builds(segment, st.sampled_from("abcd"), st.sampled_from(SEGMENT_STATES)),
    max_size=6,
    unique_by=lambda one: one.channel_id if one.state in RUNNING else one.id,
)


@given(
    legs_strategy,
    segments_strategy,
    st.sampled_from(sorted(states.NEXT)),
    st.sampled_from(["recording", "finished", "lost"]),
)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    legs: list[LegRecord], present: list[SegmentRecord], state: str, said: str
) -> None:
    """From any state, one check and then one run of the steps leave no further step."""
    mess = call(*legs)
    present = answered(plan_capture(mess, recording(state), present), present, said)
    now, present = carried_out(
        plan_capture(mess, recording(state), present), recording(state), present
    )
    assert plan_capture(mess, now, present).is_settled
    running = [one.channel_id for one in present if one.state in RUNNING]
    assert len(running) == len(set(running))
    assert not running or now.state in {"requested", "recording"}
