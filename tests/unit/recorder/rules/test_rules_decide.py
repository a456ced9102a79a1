"""Which rule wins, and what each is told to have answered."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.errors import RuleInvalid
from recorder.rules import Facts, RuleSet, compile_rule
from recorder.rules.decide import is_sampled
from storage.records import Action, RuleRecord

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TALKING = Facts(at=NOON, answered=True, direction="inbound", did="3000", queue="support")


def rule(action: Action = "record", when: str = "", **more: Any) -> RuleRecord:
    """A rule that matches every call; its id is its action where none is given."""
    fields = {"id": action, "version": 1, "name": action, "priority": 100, "origin": "api"}
    return RuleRecord(**{**fields, "when": when, "action": action, **more})


NEVER_MATCHES = rule("force", 'did == "9999"', id="z")


@pytest.mark.parametrize(
    ("rules", "action"),
    [
        ([], "never"),
        ([NEVER_MATCHES], "never"),
        ([rule("record")], "record"),
        ([rule("on_demand", priority=1), rule("record", priority=2)], "record"),
        ([rule("record", priority=1), rule("never", priority=2)], "never"),
        ([rule("record", priority=1), rule("force", priority=2)], "force"),
        ([rule("force", priority=1), rule("never", priority=2)], "force"),
        ([rule("never", priority=1), rule("force", priority=2)], "never"),
        ([rule("force", id="b"), rule("never", id="a")], "never"),
        ([rule("never", enabled=False), rule("on_demand")], "on_demand"),
        ([rule("never", deleted=True), rule("record")], "record"),
        ([rule("never", sample_percent=0), rule("record")], "record"),
    ],
)
def test_precedence(rules: list[RuleRecord], action: str) -> None:
    """Force and never beat all, the first by priority; then record, then on demand."""
    decision = RuleSet(rules).decide(TALKING, "main-1.0")
    assert decision.action == action
    assert (decision.rule.action if decision.rule else "never") == action


def test_the_first_of_equals() -> None:
    """Of rules with one action the first by priority wins, and its terms with it."""
    rules = RuleSet([rule(id="b", priority=2, tags=("b",)), rule(id="a", priority=1, tags=("a",))])
    found = rules.decide(TALKING, "main-1.0").rule
    assert found is not None
    assert found.tags == ("a",)


def test_the_default() -> None:
    """No match: the default, which no rule stands behind."""
    decision = RuleSet([NEVER_MATCHES], default="record").decide(TALKING, "main-1.0")
    assert (decision.action, decision.rule) == ("record", None)
    assert [one.answer for one in decision.answers] == ["not-matched"]


@pytest.mark.parametrize(("begins", "answer"), [("ringing", "matched"), ("answer", "not-yet")])
def test_when_it_begins(begins: str, answer: str) -> None:
    """A rule waits for the answer, unless it begins at ringing; never waits for nothing."""
    ringing = replace(TALKING, answered=False)
    asked = RuleSet([rule(begins=begins)]).decide(ringing, "main-1.0").answers
    assert [one.answer for one in asked] == [answer]
    assert RuleSet([rule("never", begins=begins)]).decide(ringing, "1").rule is not None


def test_a_rule_that_fails_records() -> None:
    """What cannot be answered loses no call, and it is told."""
    broken = rule("on_demand", "10 / duration_s > 1")
    decision = RuleSet([broken]).decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert decision.answers[0].answer == "error"
    assert "zero" in decision.answers[0].detail
    assert RuleSet([broken]).decide(replace(TALKING, answered=False), "1").action == "never"


@pytest.mark.parametrize("size", [59, 101, 250])
def test_many_rules(size: int) -> None:
    """Asked together each rule answers as it does alone, whatever its neighbours do."""
    conditions = (
        'did == "3000" // a comment',
        'did == "9999"',
        "hour == 12",
        "10 / duration_s > 1",
        "nonsense(",
        " || ".join([f'did == "{"9" * 900}"'] * 4),
        "",
    )
    rules = [
        rule(
            "on_demand",
            conditions[place % (3 + place // 60)],
            id=f"{place:03}",
            timezone=("UTC", "Asia/Kolkata")[place % 3 == 2],
        )
        for place in range(size)
    ]
    together = RuleSet(rules).decide(TALKING, "main-1.0").answers
    alone = [RuleSet([one]).decide(TALKING, "main-1.0").answers[0] for one in rules]
    assert list(together) == alone
    answers = {"matched", "not-matched"} | ({"error"} if size > 60 else set())
    assert {one.answer for one in together} == answers


def test_a_rule_that_is_valid_no_more() -> None:
    """A rule that was kept and compiles no more fails alone, when it is asked."""
    rules = RuleSet([rule("on_demand", "nonsense(", id="a"), rule("on_demand", id="b")])
    decision = rules.decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert [one.answer for one in decision.answers] == ["error", "matched"]


def test_a_time_zone_that_is_gone() -> None:
    """So does one whose time zone is known no more: zones come with the machine."""
    rules = RuleSet([rule("never", timezone="Mars/Olympus", id="a"), rule("on_demand", id="b")])
    decision = rules.decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert [one.answer for one in decision.answers] == ["error", "matched"]


def test_named_variables_and_headers() -> None:
    """What a rule names it may read: "" where the channel has none."""
    wanted = rule(when='variables.VIP == "1" && headers["X-Team"] == ""')
    wanted = replace(wanted, variables=("VIP",), headers=("X-Team",))
    rules = RuleSet([wanted])
    assert (rules.variables, rules.headers) == (("VIP",), ("X-Team",))
    assert rules.decide(replace(TALKING, variables={"VIP": "1"}), "1").action == "record"
    assert rules.decide(TALKING, "1").action == "never"


@pytest.mark.parametrize(
    ("at", "zone", "hour", "weekday"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "Europe/Berlin", 1, 7),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "Europe/Berlin", 3, 7),
        (datetime(2026, 10, 25, 0, 59, tzinfo=UTC), "Europe/Berlin", 2, 7),
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), "Europe/Berlin", 2, 7),
        (datetime(2026, 10, 25, 2, 0, tzinfo=UTC), "Europe/Berlin", 3, 7),
        (datetime(2026, 11, 23, 18, 29, tzinfo=UTC), "Asia/Kolkata", 23, 1),
        (datetime(2026, 11, 23, 18, 30, tzinfo=UTC), "Asia/Kolkata", 0, 2),
        (datetime(2026, 11, 1, 8, 30, tzinfo=UTC), "America/Los_Angeles", 1, 7),
        (datetime(2026, 11, 1, 9, 30, tzinfo=UTC), "America/Los_Angeles", 1, 7),
    ],
)
def test_time_zones(at: datetime, zone: str, hour: int, weekday: int) -> None:
    """Hour and weekday are those of the rule's place, over daylight saving too."""
    there = rule(when=f"hour == {hour} && weekday == {weekday}", timezone=zone)
    assert RuleSet([there]).decide(replace(TALKING, at=at), "1").action == "record"


@pytest.mark.parametrize("percent", [0, 1, 25, 50, 99.5, 100])
def test_the_share(percent: float) -> None:
    """Within 1 % of what was asked for, on 100,000 calls."""
    sampled = rule(sample_percent=percent)
    hits = sum(is_sampled(sampled, f"main-{number}.0") for number in range(100_000))
    assert abs(hits / 1000 - percent) < 1
    assert percent not in (0, 100) or hits == percent * 1000


def test_the_share_is_always_the_same() -> None:
    """What was decided once is decided for every process, and for every replay."""
    half = rule(id="half", sample_percent=50)
    chosen = [number for number in range(20) if is_sampled(half, f"main-{number}.0")]
    assert chosen == [0, 1, 3, 4, 5, 8, 9, 16, 17, 19]


texts = st.text(max_size=30)


@settings(max_examples=300)
@given(when=st.text(max_size=60) | st.from_regex(r"(caller|hour|[0-9 ]+|==|&&|\"x\"|[()!.])*"))
def test_no_condition_breaks_anything(when: str) -> None:
    """A condition is refused as a rule that is invalid, or it can be asked."""
    refused = ""
    try:
        compile_rule(rule(when=when))
    except RuleInvalid as error:
        refused = error.field
    assert refused in {"", "when"}
    answer = RuleSet([rule(when=when)]).decide(TALKING, "main-1.0").answers[0].answer
    assert answer in ({"error"} if refused else {"matched", "not-matched", "error"})


@settings(max_examples=200)
@given(caller=texts, queue=texts, variable=texts, duration_s=st.integers(0, 10**30), call_id=texts)
def test_no_call_breaks_anything(
    caller: str, queue: str, variable: str, duration_s: int, call_id: str
) -> None:
    """Whatever a caller sends, every rule answers."""
    wanted = replace(
        rule(when='caller.matches("^1+$") || queue != variables.V || duration_s > 7'),
        variables=("V",),
    )
    facts = Facts(NOON, True, caller=caller, queue=queue, duration_s=duration_s)
    decision = RuleSet([wanted]).decide(replace(facts, variables={"V": variable}), call_id)
    assert decision.answers[0].answer in {"matched", "not-matched"}
