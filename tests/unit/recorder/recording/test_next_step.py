"""The next step for the people of a call: a table of situations, and rules that hold in each."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.recording.coverage import Scene
from recorder.recording.next_step import NextStep, next_step
from recorder.rules.strength import RECORDS
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

CALL, OTHER = "main-1.0", "main-2.0"
FIRST, SECOND = UUID(int=1), UUID(int=2)
RULE = RuleRecord(id="r", version=1, name="r", when="", action="record", priority=1, origin="api")
ANNOUNCED = RULE.replace(announcement="sound:told")
TO_BOTH = ANNOUNCED.replace(announce_to="both")
FROM_RINGING = RULE.replace(begins="ringing")

CUSTOMER = leg("c", party="customer")
AGENT = leg("a")
TALK = (CUSTOMER, AGENT)
MENU = (leg("c", party="customer", joined=False),)

NOTHING = NextStep("nothing")


def call(legs: tuple[LegRecord, ...] = TALK, id_: str = CALL) -> CallRecord:
    """Return a live call with these legs."""
    return CallRecord(id_, "main", "up", "inbound", ZERO, channels=legs)


def decided(action: Action, rule: RuleRecord | None = RULE, call_id: str = CALL) -> DecisionRecord:
    """Return the saved decision for this action by this rule, or by the default."""
    named = {"id": rule.id, "version": 1, "name": rule.name, "priority": 1} if rule else None
    return DecisionRecord(call_id, action, named, "rule-decided", ())


def recording(
    id_: UUID = FIRST,
    state: RecordingState = "recording",
    trigger: Trigger = "rule",
    call_id: str = CALL,
) -> RecordingRecord:
    """Return a live recording of the call."""
    return RecordingRecord(
        id_, call_id, "main", state, trigger, "dual", "opus", "silence", "inbound"
    )


def step(
    action: Action,
    *recordings: RecordingRecord,
    rule: RuleRecord | None = RULE,
    legs: tuple[LegRecord, ...] = TALK,
    announced: tuple[str, ...] = (),
    announcing: tuple[str, ...] = (),
    stopped: frozenset[str] = frozenset(),
) -> NextStep:
    """Return the next step in this situation."""
    scene = Scene({CALL: call(legs)}, {CALL: decided(action, rule)}, recordings, stopped=stopped)
    return next_step(scene, CALL, {CALL: rule}, announced, announcing)


@pytest.mark.parametrize(
    ("action", "rule", "legs", "expected"),
    [
        ("record", RULE, TALK, "start"),
        ("force", RULE, TALK, "start"),
        ("record", None, TALK, "start"),
        ("record", RULE, MENU, "wait"),
        ("record", None, MENU, "wait"),
        ("record", FROM_RINGING, MENU, "start"),
        ("record", FROM_RINGING, (leg("c", joined=False, state="Ring"),), "wait"),
        ("record", RULE, (CUSTOMER, leg("a", left=True)), "wait"),
        ("on_demand", RULE, TALK, "nothing"),
        ("never", None, TALK, "nothing"),
        ("never", RULE, TALK, "nothing"),
    ],
)
def test_people_without_a_recording(
    action: Action, rule: RuleRecord | None, legs: tuple[LegRecord, ...], expected: str
) -> None:
    """A recording starts with the conversation, or earlier where the rule says so."""
    found = step(action, rule=rule, legs=legs)
    assert found.action == expected
    if expected == "start":
        assert (found.call_id, found.rule) == (CALL, rule)


@pytest.mark.parametrize(
    ("recordings", "stopped", "expected"),
    [
        ((recording(),), (), "nothing"),
        ((recording(state="paused"),), (), "nothing"),
        ((recording(trigger="manual"),), (), "start"),
        ((), (CALL,), "nothing"),
        ((recording(trigger="manual"),), (CALL,), "nothing"),
    ],
)
def test_people_with_recordings(
    recordings: tuple[RecordingRecord, ...], stopped: tuple[str, ...], expected: str
) -> None:
    """One recording of a rule is enough, and none starts after a person stopped it."""
    assert step("record", *recordings, stopped=frozenset(stopped)).action == expected


@pytest.mark.parametrize(
    ("rule", "legs", "announced", "expected"),
    [
        (ANNOUNCED, TALK, (), ("c",)),
        (ANNOUNCED, TALK, ("c",), None),
        (TO_BOTH, TALK, (), ("a", "c")),
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
    found = step("record", rule=rule, legs=legs, announced=announced)
    if expected is None:
        assert found.action == "start"
    else:
        assert found == NextStep("announce", CALL, rule, expected)


def test_a_newcomer_hears_the_announcement_while_the_recording_runs() -> None:
    """A customer hears the announcement after joining later, if the recording is live."""
    legs = (*TALK, leg("d", party="customer"))
    announce = NextStep("announce", CALL, ANNOUNCED, ("d",))
    for state in ("recording", "paused"):
        one = recording(state=state)  # type: ignore[arg-type]
        assert step("record", one, rule=ANNOUNCED, legs=legs, announced=("c",)) == announce
    stopped = frozenset({CALL})
    assert step("record", rule=ANNOUNCED, legs=legs, announced=("c",), stopped=stopped) == NOTHING


def test_a_call_waits_for_its_announcement() -> None:
    """While an announcement plays, nothing starts, and nobody hears a second announcement."""
    for rule in (RULE, ANNOUNCED):
        assert step("record", rule=rule, announcing=(CALL,)).action == "wait"


def test_a_never_ends_all_live_recordings() -> None:
    """A rule's `never` ends every live recording of these people, whoever started it."""
    ours = recording(FIRST, "paused", "manual"), recording(SECOND, "requested")
    found = step("never", *ours)
    assert (found.action, found.recording_ids) == ("settle", (FIRST, SECOND))


def test_the_default_ends_no_recording() -> None:
    """The default ends no recording that a person started."""
    assert step("never", recording(trigger="manual"), rule=None) == NOTHING


def joined(*recordings: RecordingRecord, other: Action, rules: dict[str, Any]) -> NextStep:
    """Return the next step for an agent's call that is joined with a customer's call."""
    agents, customers = call((AGENT,)), call((CUSTOMER,), OTHER)
    decisions = {CALL: decided("record"), OTHER: decided(other, call_id=OTHER)}
    scene = Scene({CALL: agents, OTHER: customers}, decisions, recordings)
    return next_step(scene, CALL, rules, (), ())


def test_the_customers_rule_starts_the_recording_of_joined_calls() -> None:
    """Whichever call changed, the recording starts for the customer's call, on its rule's terms.

    Until the rules were evaluated for that call, the step is to wait.
    """
    rules = {CALL: RULE, OTHER: FROM_RINGING}
    assert joined(other="record", rules=rules) == NextStep("start", OTHER, FROM_RINGING)
    assert joined(other="record", rules={CALL: RULE}).action == "wait"
    assert joined(other="on_demand", rules=rules) == NextStep("start", CALL, RULE)


def test_a_never_of_a_joined_call_ends_the_recordings_of_all() -> None:
    """A recording of either call ends while a rule forbids one of the people."""
    for call_id in (CALL, OTHER):
        found = joined(recording(call_id=call_id), other="never", rules={})
        assert (found.action, found.recording_ids) == ("settle", (FIRST,))


SITUATIONS = st.fixed_dictionaries(
    {
        "rule": st.sampled_from([None, RULE, ANNOUNCED, TO_BOTH, FROM_RINGING]),
        "legs": st.sampled_from([TALK, MENU, (CUSTOMER,), (*TALK, leg("b", left=True))]),
        "announced": st.sampled_from([(), ("c",), ("c", "a")]),
        "announcing": st.sampled_from([(), (CALL,)]),
        "stopped": st.sampled_from([frozenset(), frozenset({CALL})]),
    }
)
RECORDINGS = st.lists(
    st.builds(
        recording,
        st.uuids(),
        st.sampled_from(["requested", "recording", "paused"]),
        st.sampled_from(["rule", "manual"]),
    ),
    max_size=3,
)


@given(st.sampled_from(["force", "record", "on_demand", "never"]), SITUATIONS, RECORDINGS)
def test_each_step_is_allowed_by_its_situation(
    action: Action, situation: dict[str, Any], recordings: list[RecordingRecord]
) -> None:
    """Only a `never` ends; a start needs a `record`, no recording and no announcement."""
    found = step(action, *recordings, **situation)
    forbids = action == "never" and situation["rule"] is not None
    has_one = any(one.trigger == "rule" for one in recordings)
    match found.action:
        case "start":
            assert action in RECORDS
            assert not situation["announcing"]
            assert not has_one
            assert not situation["stopped"]
        case "announce":
            assert action in RECORDS
            assert not situation["announcing"]
            assert set(found.channel_ids) <= {one.id for one in situation["legs"] if one.alive}
            assert not set(found.channel_ids) & set(situation["announced"])
        case "settle":
            assert forbids
            assert set(found.recording_ids) == {one.id for one in recordings}
        case "nothing":
            assert not (forbids and recordings)
            assert action not in RECORDS or has_one or situation["stopped"]
