"""What has to change at the PBX, for every state of a recording and whoever is in the call."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.calls.legs import side_of
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
    """A recording that runs wants each leg that joined and is there, and no leg twice."""
    steps = plan_capture(CONVERSATION, recording(state), [segment("b")])
    assert attached(steps) == ["a"]
    assert steps.detach == ()
    assert not steps.over


@pytest.mark.parametrize("state", ["requested", "recording"])
def test_who_barges_is_captured(state: str) -> None:
    """A supervisor whom all hear is captured once, and no longer when that is over."""
    legs = [segment("a"), segment("b")]
    assert plan_capture(CONVERSATION, recording(state), legs, ["phone"]).voices == ("phone",)
    voice = segment("phone")
    steps = plan_capture(CONVERSATION, recording(state), [*legs, voice], ["phone"])
    assert (steps.voices, steps.detach) == ((), ())
    assert plan_capture(CONVERSATION, recording(state), [*legs, voice]).detach == (voice,)


@pytest.mark.parametrize("state", ["paused", *NOT_LIVE])
def test_who_barges_is_not_captured_in_any_other_state(state: str) -> None:
    """A pause is a pause for the supervisor too."""
    assert plan_capture(CONVERSATION, recording(state), [], ["phone"]).voices == ()


@pytest.mark.parametrize("state", ["paused", *NOT_LIVE])
def test_nothing_is_captured_in_any_other_state(state: str) -> None:
    """Paused or ended, whatever still runs is ended and nothing is begun."""
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
def test_who_is_captured(legs: list[LegRecord], wanted: list[str], state: str) -> None:
    """Only persons who are there: those who joined, or, before anybody has, those who are up."""
    assert attached(plan_capture(call(*legs), recording(state), [])) == wanted


@pytest.mark.parametrize("state", sorted(states.LIVE))
@pytest.mark.parametrize(
    "ended",
    [call(leg("a", left=True), state="ended"), call(leg("a", left=True), leg("b", left=True))],
    ids=["ended", "empty"],
)
def test_a_call_that_is_over_ends_its_recording(ended: CallRecord, state: str) -> None:
    """Whatever the state, paused too; what still runs is ended."""
    steps = plan_capture(ended, recording(state), [segment("a")])
    assert steps.over
    assert [one.channel_id for one in steps.detach] == ["a"]


@pytest.mark.parametrize("state", NOT_LIVE)
def test_an_ended_recording_does_not_end_again(state: str) -> None:
    """Once it has come to its end there is nothing to do."""
    assert plan_capture(
        call(state="ended"), recording(state), [segment("a", "finished")]
    ).is_settled


def test_a_leg_that_left_is_let_go() -> None:
    """After a transfer the segment of the leg that left is ended, and the new leg begun."""
    transferred = call(leg("a"), leg("b", left=True), leg("c"))
    steps = plan_capture(transferred, recording("recording"), [segment("a"), segment("b")])
    assert attached(steps) == ["c"]
    assert [one.channel_id for one in steps.detach] == ["b"]


@pytest.mark.parametrize("state", ["finished", "lost", "deleted"])
def test_a_leg_whose_segment_ended_is_captured_again(state: str) -> None:
    """A capture that somebody ended behind our back is taken up."""
    steps = plan_capture(CONVERSATION, recording("recording"), [segment("a", state), segment("b")])
    assert attached(steps) == ["a"]


def test_a_segment_of_unknown_outcome_is_asked_for() -> None:
    """A process died, or got no answer: nothing is settled before the PBX was asked."""
    asked = segment("a", "requested")
    steps = plan_capture(CONVERSATION, recording("recording"), [asked, segment("b")])
    assert steps.check == (asked,)
    assert steps.attach == ()
    assert not steps.is_settled


def test_a_recording_whose_segment_began_has_begun() -> None:
    """It is never taken for one that has no audio: it began with its first segment."""
    present = [segment("a", "lost", 1), segment("a", "finished", 2), segment("b", from_s=3)]
    steps = plan_capture(CONVERSATION, recording("requested"), present)
    assert steps.started_at == ZERO + timedelta(seconds=2)
    assert plan_capture(CONVERSATION, recording("recording"), present).started_at is None


@pytest.mark.parametrize(
    ("party", "side", "heard"),
    [
        ("customer", None, "left"),
        ("agent", None, "right"),
        ("agent", "left", "left"),
        ("customer", "right", "right"),
    ],
)
def test_sides(party: str, side: str | None, heard: str) -> None:
    """A leg keeps the side that it got on joining; before, customers are on the left."""
    (one,) = plan_capture(
        call(leg("a", joined=side is not None, party=party, side=side)), recording("recording"), []
    ).attach
    assert side_of(one) == heard


def answered(steps: CapturePlan, present: list[SegmentRecord], state: str) -> list[SegmentRecord]:
    """The segments once the PBX has said what became of those that it was asked for."""
    return [replace(one, state=state) if one in steps.check else one for one in present]


def carried_out(
    steps: CapturePlan, now: RecordingRecord, present: list[SegmentRecord]
) -> tuple[RecordingRecord, list[SegmentRecord]]:
    """What `Capture.settle` leaves."""
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
    """From any mess, asking first and then acting once brings recording and PBX together."""
    mess = call(*legs)
    present = answered(plan_capture(mess, recording(state), present), present, said)
    now, present = carried_out(
        plan_capture(mess, recording(state), present), recording(state), present
    )
    assert plan_capture(mess, now, present).is_settled
    running = [one.channel_id for one in present if one.state in RUNNING]
    assert len(running) == len(set(running))
    assert not running or now.state in {"requested", "recording"}
