"""Past calls replayed with other rules: which are recorded, for how long, and by which rule."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recorder.rules import RuleSet
from recorder.rules.replay import Replay, Replayed
from storage.records import Action, CallRecord, DecisionRecord, LegRecord, RuleRecord, Stay
from tests.legs import ZERO


def rule(action: Action = "record", when: str = "", **more: Any) -> RuleRecord:
    fields = {"id": action, "version": 1, "name": action, "origin": "api", "action": action}
    return RuleRecord(**{**fields, "when": when, **more})


def leg(
    id_: str, *stays: tuple[float, float], party: Any = "agent", bridge: str = "b"
) -> LegRecord:
    """Return a leg that was in a bridge for these spans, in seconds."""
    return LegRecord(
        id_,
        f"PJSIP/{id_}-1",
        "Gone",
        party,
        ZERO,
        joined_at=at(stays[0][0]) if stays else None,
        stays=tuple(Stay(bridge, at(from_s), at(to_s)) for from_s, to_s in stays),
        left_at=at(60),
    )


def at(seconds: float) -> Any:
    return ZERO + timedelta(seconds=seconds)


def call(id_: str, *legs: LegRecord, **more: Any) -> CallRecord:
    """Return a call of a minute, answered after 5 s."""
    made = CallRecord(id_, "main", "ended", "inbound", ZERO, did="3000", channels=legs)
    return replace(made, **{"answered_at": at(5), "ended_at": at(60), **more})


def decided(id_: str, *moments: tuple[float, dict[str, Any]]) -> DecisionRecord:
    """Return a stored decision with the facts of these moments; each was evaluated 1 s late."""
    kept = [
        {"at": at(seconds + 1).isoformat(), "since": at(seconds).isoformat(), "facts": facts}
        for seconds, facts in moments
    ]
    return DecisionRecord(id_, "never", None, "no-rule-matched", tuple(kept))


def replayed(
    rules: list[RuleRecord],
    record: CallRecord,
    *met: CallRecord,
    decisions: tuple[DecisionRecord, ...] = (),
    default: Action = "never",
) -> Replayed:
    calls = {one.id: one for one in (record, *met)}
    stored = {one.call_id: one for one in decisions}
    return Replay(RuleSet(rules, default), calls, stored).replay(record)


TALK = call("a", leg("1", (10, 50), party="customer"), leg("2", (10, 50)))
UNANSWERED = call("u", leg("1", party="customer"), leg("2"), answered_at=None)
EARLY = call(
    "e",
    replace(leg("1", party="customer"), media_at=at(2)),
    replace(leg("2"), media_at=at(2)),
    answered_at=None,
    ended_at=at(12),
)
IN_A_MENU = call("m", leg("1", party="customer"))


@pytest.mark.parametrize(
    ("record", "rules", "default", "expected"),
    [
        (TALK, [rule()], "never", Replayed(True, "record", 50)),
        (TALK, [rule("force")], "never", Replayed(True, "force", 50)),
        (TALK, [], "record", Replayed(True, "default", 50)),
        (TALK, [], "never", Replayed(True)),
        (TALK, [rule("on_demand")], "record", Replayed(True)),
        (TALK, [rule("never")], "record", Replayed(True)),
        (UNANSWERED, [rule()], "record", Replayed(False)),
        (UNANSWERED, [rule(begins="ringing")], "never", Replayed(False)),
        (IN_A_MENU, [rule()], "record", Replayed(False)),
        (EARLY, [rule()], "record", Replayed(False)),
        (EARLY, [rule(begins="media")], "never", Replayed(False, "record", 10)),
        (IN_A_MENU, [rule(begins="media")], "never", Replayed(False)),
        (IN_A_MENU, [rule(begins="ringing")], "never", Replayed(False, "record", 55)),
        (TALK, [rule(begins="ringing")], "never", Replayed(True, "record", 50)),
    ],
)
def test_a_call_without_stored_moments(
    record: CallRecord, rules: list[RuleRecord], default: Action, expected: Replayed
) -> None:
    """A call counts as recorded once two people talk, or from the first sound by a ringing rule."""
    assert replayed(rules, record, default=default) == expected


def test_the_facts_of_each_moment() -> None:
    """A recording starts at the moment at which the facts match, and ends under a `never`."""
    moments = decided(
        "a",
        (0, {"answered": False, "queue": ""}),
        (10, {"answered": True, "queue": ""}),
        (20, {"answered": True, "queue": "support"}),
        (30, {"answered": True, "queue": "secret"}),
    )
    rules = [rule("record", 'queue == "support"'), rule("never", 'queue == "secret"')]
    assert replayed(rules, TALK, decisions=(moments,)) == Replayed(True, "record", 10)


def test_a_rule_that_forbade_before() -> None:
    """A `never` before the start of a recording does not end it."""
    moments = decided("a", (10, {"answered": True}), (20, {"answered": True, "queue": "support"}))
    rules = [rule("record", 'queue == "support"'), rule("never", 'queue == ""')]
    assert replayed(rules, TALK, decisions=(moments,)) == Replayed(True, "record", 40)


def test_talks_of_others_do_not_count() -> None:
    """A call that has left a conference is not recorded by a rule that matches later."""
    gone, stays = call("x", leg("1", (10, 20)), met=("y", "z")), call("y", leg("2", (10, 50)))
    matches = call("z", leg("3", (10, 50)))
    later = decided("z", (10, {"answered": True}), (30, {"answered": True, "queue": "support"}))
    others = decided("x", (10, {"answered": True})), decided("y", (10, {"answered": True}))
    rules = [rule("record", 'queue == "support"')]
    found = replayed(rules, gone, stays, matches, decisions=(later, *others))
    assert found == Replayed(True)


def test_older_moments() -> None:
    """A moment without the PBX's time, or with facts of another version, still counts."""
    moment = {"at": at(10).isoformat(), "facts": {"answered": True, "did": "1", "gone": 5}}
    kept = DecisionRecord("a", "never", None, "no-rule-matched", (moment,))
    assert replayed([rule("record", 'did == "1"')], TALK, decisions=(kept,)).rule == "record"


def test_an_answered_call_without_legs() -> None:
    """A call whose facts say that two people talked counts, even if its bridges are unknown."""
    kept = decided("a", (10, {"answered": True}))
    assert replayed([rule()], call("a"), decisions=(kept,)) == Replayed(True, "record", 50)


def conference() -> tuple[CallRecord, CallRecord, CallRecord]:
    """Return a customer's call and two internal ones that talk in one bridge from 20 to 40 s."""
    calls = [
        call("c", leg("1", (10, 50), party="customer"), did="3000"),
        call("x", leg("2", (20, 50)), did=None, direction="internal"),
        call("y", leg("3", (20, 40)), did=None, direction="internal", started_at=at(-9)),
    ]
    ids = [one.id for one in calls]
    first, second, third = (
        replace(one, met=tuple(id_ for id_ in ids if id_ != one.id)) for one in calls
    )
    return first, second, third


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("record", 'did == "3000"')], "record"),
        ([rule("on_demand", 'did == ""'), rule("record", 'did == "3000"')], "record"),
        ([rule("record", 'did == "3000"'), rule("never", 'direction == "internal"')], None),
        (
            [
                rule("force", 'did == "3000"', priority=1),
                rule("never", 'direction == "internal"', priority=2),
            ],
            "force",
        ),
        ([rule("never", 'did == "3000"'), rule("force", 'did == ""')], None),
        ([rule("on_demand")], None),
    ],
)
def test_joined_conversations(rules: list[RuleRecord], expected: str | None) -> None:
    """The decisions of all calls in a conversation are joined, and hold for each of them."""
    customers, *internal = conference()
    calls = [
        decided("c", (10, {"answered": True, "did": "3000", "direction": "inbound"})),
        decided("x", (20, {"answered": True, "direction": "internal"})),
        decided("y", (20, {"answered": True, "direction": "internal"})),
    ]
    found = [
        replayed(
            rules,
            one,
            *(other for other in (customers, *internal) if other is not one),
            decisions=tuple(calls),
        )
        for one in (customers, *internal)
    ]
    assert [one.rule for one in found] == [expected] * 3
    # The customer's call owns the recording: its seconds count once.
    assert [one.audio_s > 0 for one in found] == [expected is not None, False, False]


def test_a_call_whose_companion_is_unknown() -> None:
    """A call is replayed alone where the calls that it met are not in the catalogue any more."""
    record = replace(TALK, met=("gone",))
    assert replayed([rule()], record) == Replayed(True, "record", 50)
