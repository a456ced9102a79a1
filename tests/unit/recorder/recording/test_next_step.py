"""The next step for a call: a table of situations, and rules that hold in each of them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.recording.next_step import NextStep, has_recording, is_binding, next_step
from recorder.rules import Decision
from storage.records import (
    Action,
    CallRecord,
    DecisionRecord,
    LegRecord,
    RecordingRecord,
    RecordingState,
    RuleRecord,
    Trigger,
)
from tests.legs import ZERO, leg

NOW = ZERO + timedelta(seconds=60)
FIRST, SECOND = UUID(int=1), UUID(int=2)
RULE = RuleRecord(id="r", version=1, name="r", when="", action="record", priority=1, origin="api")
ANNOUNCED = RULE.replace(announcement="sound:told")
TO_BOTH = ANNOUNCED.replace(announce_to="both")
FROM_RINGING = RULE.replace(begins="ringing")

CUSTOMER = leg("c", party="customer")
AGENT = leg("a")
TALK = (CUSTOMER, AGENT)
MENU = (leg("c", party="customer", joined=False),)

NOTHING, START, WAIT = NextStep("nothing"), NextStep("start"), NextStep("wait")


def call(legs: tuple[LegRecord, ...] = TALK) -> CallRecord:
    """Return a live call with these legs."""
    return CallRecord("main-1.0", "main", "up", "inbound", ZERO, channels=legs)


def decide(action: Action, rule: RuleRecord | None = RULE) -> Decision:
    """Return a decision for this action by this rule, or by the default."""
    return Decision(action, rule, (), "r")


def kept(
    *moments: tuple[float, Action], announced: tuple[str, ...] = (), rule: object = "r"
) -> DecisionRecord:
    """Return the saved decision; each moment has its second and its action."""
    return DecisionRecord(
        "main-1.0",
        moments=tuple(
            {
                "at": (ZERO + timedelta(seconds=second)).isoformat(),
                "action": action,
                "rule": {"id": rule},
            }
            for second, action in moments
        ),
        action=moments[-1][1] if moments else "never",
        rule=None,
        reason="r",
        announced=announced,
    )


def recording(
    id_: UUID = FIRST,
    state: RecordingState = "recording",
    trigger: Trigger = "rule",
    ended_s: float | None = None,
) -> RecordingRecord:
    """Return a recording of the call; it ended at this second, if it did."""
    return RecordingRecord(
        id=id_,
        call_id="main-1.0",
        pbx="main",
        state=state,
        trigger=trigger,
        layout="dual",
        format="opus",
        pause_leaves="silence",
        direction="inbound",
        ended_at=ZERO + timedelta(seconds=ended_s) if ended_s is not None else None,
    )


STOPPED_BY_RULE = recording(state="captured", ended_s=25)
STOPPED_BY_PERSON = recording(state="captured", ended_s=15)
FORBIDDEN_ONCE = kept((10, "record"), (20, "never"), (30, "record"))


def step(
    decision: Decision,
    *recordings: RecordingRecord,
    legs: tuple[LegRecord, ...] = TALK,
    saved: DecisionRecord | None = None,
    is_announcing: bool = False,
    now: datetime = NOW,
) -> NextStep:
    """Return the next step in this situation."""
    return next_step(call(legs), decision, saved, recordings, is_announcing=is_announcing, now=now)


@pytest.mark.parametrize(
    ("decision", "legs", "expected"),
    [
        (decide("record"), TALK, START),
        (decide("force"), TALK, START),
        (decide("record", None), TALK, START),
        (decide("record"), MENU, WAIT),
        (decide("record", None), MENU, WAIT),
        (decide("record", FROM_RINGING), MENU, START),
        (decide("record", FROM_RINGING), (leg("c", joined=False, state="Ring"),), WAIT),
        (decide("record"), (CUSTOMER, leg("a", left=True)), WAIT),
        (decide("on_demand"), TALK, NOTHING),
        (decide("never", None), TALK, NOTHING),
        (decide("never"), TALK, NOTHING),
    ],
)
def test_a_call_without_recordings(
    decision: Decision, legs: tuple[LegRecord, ...], expected: NextStep
) -> None:
    """A recording starts with the conversation, or earlier where the rule says so."""
    assert step(decision, legs=legs) == expected


@pytest.mark.parametrize(
    ("recordings", "saved", "expected"),
    [
        ((recording(),), None, NOTHING),
        ((recording(state="paused"),), None, NOTHING),
        ((recording(trigger="manual"),), None, START),
        ((STOPPED_BY_PERSON,), kept((10, "record")), NOTHING),
        ((STOPPED_BY_PERSON,), FORBIDDEN_ONCE, NOTHING),
        ((STOPPED_BY_RULE,), FORBIDDEN_ONCE, START),
        ((STOPPED_BY_RULE, recording(SECOND)), FORBIDDEN_ONCE, NOTHING),
        ((recording(state="failed", ended_s=15),), kept((10, "record")), NOTHING),
    ],
)
def test_a_call_with_recordings(
    recordings: tuple[RecordingRecord, ...], saved: DecisionRecord | None, expected: NextStep
) -> None:
    """One recording of a rule is enough, unless another rule stopped it."""
    assert step(decide("record"), *recordings, saved=saved) == expected
    assert has_recording(recordings, saved) is (expected == NOTHING)


@pytest.mark.parametrize(
    ("rule", "legs", "announced", "expected"),
    [
        (ANNOUNCED, TALK, (), ("c",)),
        (ANNOUNCED, TALK, ("c",), None),
        (TO_BOTH, TALK, (), ("c", "a")),
        (TO_BOTH, TALK, ("c",), ("a",)),
        (TO_BOTH, (*TALK, leg("gone", left=True)), ("c", "a"), None),
        (TO_BOTH, (*TALK, leg("rings", joined=False, state="Ring")), ("c", "a"), None),
        (ANNOUNCED, (AGENT, leg("b")), (), None),
    ],
)
def test_an_announcement_comes_before_the_recording(
    rule: RuleRecord,
    legs: tuple[LegRecord, ...],
    announced: tuple[str, ...],
    expected: tuple[str, ...] | None,
) -> None:
    """The parties that the rule names hear the announcement once, while they are in the call."""
    found = step(decide("record", rule), legs=legs, saved=kept((10, "record"), announced=announced))
    if expected is None:
        assert found == START
    else:
        assert found == NextStep("announce", media="sound:told", channel_ids=expected)


def test_an_announcement_before_the_decision_is_saved() -> None:
    """Without a saved decision, nobody has heard the announcement."""
    announce = NextStep("announce", media="sound:told", channel_ids=("c",))
    assert step(decide("record", ANNOUNCED), saved=None) == announce


def test_a_newcomer_hears_the_announcement_while_the_recording_runs() -> None:
    """A customer hears the announcement after joining later, if the recording is live."""
    legs = (*TALK, leg("d", party="customer"))
    saved, decision = kept((10, "record"), announced=("c",)), decide("record", ANNOUNCED)
    announce = NextStep("announce", media="sound:told", channel_ids=("d",))
    assert step(decision, recording(), legs=legs, saved=saved) == announce
    assert step(decision, recording(state="paused"), legs=legs, saved=saved) == announce
    assert step(decision, STOPPED_BY_PERSON, legs=legs, saved=saved) == NOTHING


def test_a_call_waits_for_its_announcement() -> None:
    """While an announcement plays, nothing starts, and nobody hears a second announcement."""
    for rule in (RULE, ANNOUNCED):
        assert step(decide("record", rule), is_announcing=True) == WAIT
    assert step(decide("never"), is_announcing=True) == WAIT


def test_a_never_stops_all_live_recordings() -> None:
    """A rule's `never` stops every live recording, whoever started it, and no other."""
    found = step(
        decide("never"),
        recording(FIRST, "paused", "manual"),
        recording(SECOND, "requested"),
        recording(UUID(int=3), "captured"),
    )
    assert found == NextStep("stop", recording_ids=(FIRST, SECOND))


def test_the_default_stops_no_recording() -> None:
    """The default ends no recording that a person started."""
    assert step(decide("never", None), recording(trigger="manual")) == NOTHING


@pytest.mark.parametrize(("after_s", "expected"), [(0, WAIT), (2.9, WAIT), (3, NOTHING)])
def test_a_never_is_checked_again_for_three_seconds(after_s: float, expected: NextStep) -> None:
    """A process that saw the decision before may start a recording within three seconds."""
    saved = kept((5, "record"), (10, "record"), (20, "never"))
    now = ZERO + timedelta(seconds=20 + after_s)
    assert step(decide("never"), saved=saved, now=now) == expected


SITUATIONS = st.fixed_dictionaries(
    {
        "decision": st.builds(
            decide,
            st.sampled_from(["force", "record", "on_demand", "never"]),
            st.sampled_from([None, RULE, ANNOUNCED, TO_BOTH, FROM_RINGING]),
        ),
        "legs": st.sampled_from([TALK, MENU, (CUSTOMER,), (*TALK, leg("b", left=True))]),
        "saved": st.sampled_from(
            [None, kept(), kept((10, "record"), announced=("c",)), FORBIDDEN_ONCE]
        ),
        "is_announcing": st.booleans(),
        "now": st.sampled_from([ZERO + timedelta(seconds=second) for second in (0, 21, 60)]),
    }
)
RECORDINGS = st.lists(
    st.builds(
        recording,
        st.uuids(),
        st.sampled_from(["requested", "recording", "paused", "captured", "aborted", "failed"]),
        st.sampled_from(["rule", "manual"]),
        st.sampled_from([None, 15.0, 25.0]),
    ),
    max_size=3,
)


@given(SITUATIONS, RECORDINGS)
def test_each_step_is_allowed_by_its_situation(
    situation: dict[str, Any], recordings: list[RecordingRecord]
) -> None:
    """Only a `never` stops; a start needs a `record`, no recording and no announcement."""
    decision: Decision = situation.pop("decision")
    found = step(decision, *recordings, **situation)
    forbids = decision.action == "never" and decision.rule is not None
    records = decision.action in {"force", "record"}
    live = {one.id for one in recordings if one.state in {"requested", "recording", "paused"}}
    saved: DecisionRecord | None = situation["saved"]
    match found.action:
        case "start":
            assert records
            assert not situation["is_announcing"]
            assert not has_recording(recordings, saved)
        case "announce":
            assert records
            assert not situation["is_announcing"]
            assert set(found.channel_ids) <= {one.id for one in situation["legs"] if one.alive}
            assert not set(found.channel_ids) & set(saved.announced if saved else ())
        case "stop":
            assert forbids
            assert set(found.recording_ids) == live
        case "wait":
            assert is_binding(decision)
        case "nothing":
            assert not (forbids and live)
            assert not records or has_recording(recordings, saved)
