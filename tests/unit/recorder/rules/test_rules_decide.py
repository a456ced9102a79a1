"""The rule that wins, and the answer of each rule."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.errors import RuleInvalid
from recorder.rules import Facts, RuleSet, compile_rule
from recorder.rules.decide import RuleAnswer, is_sampled
from storage.records import Action, RuleRecord

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TALKING = Facts(at=NOON, answered=True, direction="inbound", did="3000", queue="support")


def rule(action: Action = "record", when: str = "", **more: Any) -> RuleRecord:
    """Return a rule that matches every call; by default its id is its action."""
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
    """Force and never beat all others, the first by priority; then come record and on demand."""
    decision = RuleSet(rules).decide(TALKING, "main-1.0")
    assert decision.action == action
    assert (decision.rule.action if decision.rule else "never") == action


def test_the_first_of_equals() -> None:
    """The first by priority of several rules with one action wins, with its terms."""
    rules = RuleSet([rule(id="b", priority=2, tags=("b",)), rule(id="a", priority=1, tags=("a",))])
    found = rules.decide(TALKING, "main-1.0").rule
    assert found is not None
    assert found.tags == ("a",)


def test_the_default() -> None:
    """Without a match the default decides, and no rule."""
    decision = RuleSet([NEVER_MATCHES], default="record").decide(TALKING, "main-1.0")
    assert (decision.action, decision.rule) == ("record", None)
    assert decision.reason == "no-rule-matched"
    assert decision.answers == (RuleAnswer("z", 1, "force", "force", "not-matched"),)


def test_the_decision_names_its_rule() -> None:
    """A decision holds the winner, the reason, and the answer of each rule that was evaluated."""
    first, winner = rule("record", id="a", version=3, name="first"), rule("never", id="b")
    decision = RuleSet([winner, first, rule("record", id="c")]).decide(TALKING, "main-1.0")
    assert (decision.action, decision.rule, decision.reason) == ("never", winner, "rule-decided")
    assert decision.answers == (
        RuleAnswer("a", 3, "first", "record", "matched"),
        RuleAnswer("b", 1, "never", "never", "matched"),
    )


@pytest.mark.parametrize(
    ("when", "clock", "duration"),
    [
        ("", False, False),
        ('did == "3000"', False, False),
        ("hour >= 9", True, False),
        ("weekday <= 5", True, False),
        ("duration_s > 30", False, True),
        ("hour >= 9 && duration_s > 30", True, True),
    ],
)
def test_answers_that_change_with_time(when: str, clock: bool, duration: bool) -> None:
    """A rule set says whether any rule reads the clock, or the duration of the call."""
    rules = RuleSet([rule(id="a"), rule(when=when, id="b"), rule(id="c")])
    assert (rules.follows_clock, rules.follows_duration) == (clock, duration)


@pytest.mark.parametrize(
    ("rules", "forbids"),
    [
        ([], False),
        ([rule("record"), rule("force")], False),
        ([rule("record"), rule("never")], True),
        ([rule("never", enabled=False)], False),
        ([rule("never", deleted=True)], False),
    ],
)
def test_rules_that_forbid(rules: list[RuleRecord], forbids: bool) -> None:
    """A rule set says whether any rule may forbid recording; a default that is never does not."""
    assert RuleSet(rules, default="never").forbids is forbids


@pytest.mark.parametrize(
    ("begins", "ringing", "early", "answered"),
    [
        ("ringing", "matched", "matched", "matched"),
        ("media", "not-yet", "matched", "matched"),
        ("answer", "not-yet", "not-yet", "matched"),
    ],
)
def test_when_it_begins(begins: str, ringing: str, early: str, answered: str) -> None:
    """A rule waits for the answer, for early media or for nothing; one that forbids never waits."""
    rules = RuleSet([rule(begins=begins)])
    rang = replace(TALKING, answered=False)
    moments = (rang, replace(rang, media=True), TALKING)
    found = [rules.decide(facts, "main-1.0").answers[0].answer for facts in moments]
    assert found == [ringing, early, answered]
    assert RuleSet([rule("never", begins=begins)]).decide(rang, "1").rule is not None


def test_a_rule_that_fails_records() -> None:
    """A call is recorded where a rule fails, and the answer holds the error."""
    broken = rule("on_demand", "10 / duration_s > 1")
    decision = RuleSet([broken]).decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert decision.answers[0].answer == "error"
    assert "zero" in decision.answers[0].detail
    assert RuleSet([broken]).decide(replace(TALKING, answered=False), "1").action == "never"


@pytest.mark.parametrize("size", [59, 101, 450])
def test_many_rules(size: int) -> None:
    """A rule in a batch gives the same answer as alone, whatever its neighbours do."""
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
            conditions[place % min(3 + place // 60, len(conditions))],
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


def test_a_rule_that_is_no_longer_valid() -> None:
    """A stored rule that no longer compiles fails alone, when it is evaluated."""
    rules = RuleSet([rule("on_demand", "nonsense(", id="a"), rule("on_demand", id="b")])
    decision = rules.decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert [one.answer for one in decision.answers] == ["error", "matched"]


def test_a_time_zone_that_is_gone() -> None:
    """A rule fails alone when the machine no longer knows its time zone."""
    rules = RuleSet([rule("never", timezone="Mars/Olympus", id="a"), rule("on_demand", id="b")])
    decision = rules.decide(TALKING, "main-1.0")
    assert decision.action == "record"
    assert [one.answer for one in decision.answers] == ["error", "matched"]


def test_named_variables_and_headers() -> None:
    """A rule reads the variables and headers that it names; a missing one is ""."""
    wanted = rule(when='variables.VIP == "1" && headers["X-Team"] == ""')
    wanted = wanted.replace(variables=("VIP",), headers=("X-Team",))
    rules = RuleSet([wanted])
    assert (rules.variables, rules.headers) == (("VIP",), ("X-Team",))
    assert rules.decide(replace(TALKING, variables={"VIP": "1"}), "1").action == "record"
    assert rules.decide(TALKING, "1").action == "never"


def test_names_of_all_rules_are_collected() -> None:
    """A rule set lists the variables and headers of all its rules, sorted, each once."""
    first = rule(id="a", variables=("VIP", "TEAM"), headers=("X-B",))
    second = rule(id="b", variables=("VIP",), headers=("X-A", "X-B"))
    ignored = rule(id="c", enabled=False, variables=("OFF",), headers=("X-OFF",))
    rules = RuleSet([first, second, ignored])
    assert (rules.variables, rules.headers) == (("TEAM", "VIP"), ("X-A", "X-B"))


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
    """Hour and weekday are local to the rule's time zone, also when daylight saving changes."""
    there = rule(when=f"hour == {hour} && weekday == {weekday}", timezone=zone)
    assert RuleSet([there]).decide(replace(TALKING, at=at), "1").action == "record"


@pytest.mark.parametrize("percent", [0, 1, 25, 50, 99.5, 100])
def test_the_share(percent: float) -> None:
    """The sample of 100,000 calls is within 1 % of the configured share."""
    sampled = rule(sample_percent=percent)
    hits = sum(is_sampled(sampled, f"main-{number}.0") for number in range(100_000))
    assert abs(hits / 1000 - percent) < 1
    assert percent not in (0, 100) or hits == percent * 1000


def test_the_share_is_always_the_same() -> None:
    """Every process and every replay samples the same calls."""
    half = rule(id="half", sample_percent=50)
    chosen = [number for number in range(20) if is_sampled(half, f"main-{number}.0")]
    assert chosen == [0, 1, 3, 4, 5, 8, 9, 16, 17, 19]
    rules = RuleSet([half])
    answers = [rules.decide(TALKING, f"main-{number}.0").answers[0].answer for number in range(3)]
    assert answers == ["matched", "matched", "sampled-out"]


def test_a_call_id_that_is_not_unicode_is_sampled() -> None:
    """A call id with a lone surrogate is in a full sample, like any other call."""
    assert is_sampled(rule(sample_percent=100), "main-\ud800")


texts = st.text(max_size=30)


@settings(max_examples=300)
@given(when=st.text(max_size=60) | st.from_regex(r"(caller|hour|[0-9 ]+|==|&&|\"x\"|[()!.])*"))
def test_no_condition_breaks_anything(when: str) -> None:
    """A condition is refused as invalid, or it has an answer."""
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
    """Every rule has an answer for every text that a caller sends."""
    wanted = rule(when='caller.matches("^1+$") || queue != variables.V || duration_s > 7')
    wanted = wanted.replace(variables=("V",))
    facts = Facts(NOON, True, caller=caller, queue=queue, duration_s=duration_s)
    decision = RuleSet([wanted]).decide(replace(facts, variables={"V": variable}), call_id)
    assert decision.answers[0].answer in {"matched", "not-matched"}


def test_a_rule_counts_its_own_variables_only() -> None:
    """A condition over all variables answers the same, whichever variables other rules name."""
    counting = rule("record", "variables.size() == 1", id="a", variables=("A",))
    reading = rule("on_demand", 'variables.B == "1"', id="b", variables=("B",))
    answers = RuleSet([counting, reading]).decide(TALKING, "main-1.0").answers
    assert [one.answer for one in answers] == ["matched", "not-matched"]


def test_faults_of_stored_rules() -> None:
    """A rule that is not valid in this version is named with its fault."""
    rules = RuleSet([rule(id="good"), rule("never", "did.matches(caller)", id="bad")])
    assert rules.faults == {"bad": "when: the pattern of matches() must be a text in quotes"}
