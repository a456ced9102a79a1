"""Conditions of rules: refusals with their position and hint, and accepted conditions."""

import pytest

from recorder.errors import RuleInvalid
from recorder.rules import FIELDS, CompiledRule, Facts, compile_rule
from recorder.rules.expression import Bindings, RuleFailed, compile_stored
from storage.records import RuleRecord
from tests.legs import ZERO


def compiled(when: str, **more: object) -> CompiledRule:
    fields = {"id": "r", "version": 1, "name": "r", "priority": 1, "origin": "api"}
    return compile_rule(RuleRecord(**{**fields, "action": "record", "when": when, **more}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("when", "position", "message", "hint"),
    [
        ('directon == "inbound"', 0, "undeclared", "did you mean direction?"),
        ('queue == "a" &&\n directon == "b"', 17, "undeclared", "did you mean direction?"),
        ("xyzzy", 0, "undeclared", "the fields of a call are direction, caller"),
        ('hour == "9"', 5, "(int, string)", "hour == 9"),
        ("did == 3000", 4, "(string, int)", 'did == "9"'),
        ("direction ==", 12, "Syntax error", ""),
        ('queue = "x"', 6, "Syntax error", "== compares"),
        ("caller", 0, "true or false, and is a string", "compare it"),
        ("hour + 1", 0, "true or false, and is a int", "compare it"),
        ("caller.shout()", 12, "undeclared reference to 'shout'", ""),
        (
            'variables.VIP == "1"',
            0,
            "'VIP', which the rule does not name",
            "to the rule's variables",
        ),
        ('false && headers["X-A"] == ""', 9, "'X-A', which", "to the rule's headers"),
        ("has(variables.VIP)", 4, "'VIP', which", "add 'VIP'"),
        ('variables["V" + "IP"] == "1"', None, "'VIP', which", "add 'VIP'"),
        ("true || " * 600 + "true", 4096, "longer than 4096", ""),
        ("\ud800", None, "cannot be read", ""),
    ],
)
def test_refused(when: str, position: int | None, message: str, hint: str) -> None:
    """The error names the fault, its position, and a way to mend it."""
    with pytest.raises(RuleInvalid) as caught:
        compiled(when)
    assert (caught.value.field, caught.value.position) == ("when", position)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("variables", ("VIP", "_a1", "A" * 80), ("", "1A", "A-B", "SHELL(id)", "A" * 81, "\u00e9")),
        ("headers", ("X-Team", "!#$%&'*+.^_`|~-9"), ("", "X Team", "X:Y", "A" * 81, "X\nY")),
    ],
)
def test_names(field: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """A rule names channel variables and SIP headers by their own alphabets only."""
    assert compiled("", **{field: good}).fault == ""
    for name in bad:
        with pytest.raises(RuleInvalid) as caught:
            compiled("", **{field: (name,)})
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("announcement", "is_good"),
    [
        (None, True),
        ("sound:custom/recorded", True),
        ("recording:notice", True),
        ("http://elsewhere/x.wav", False),
        ("sound:", False),
        ("sound:a b", False),
    ],
)
def test_announcements(announcement: str | None, is_good: bool) -> None:
    """An announcement is a sound or a recording of the PBX."""
    if is_good:
        assert compiled("", announcement=announcement).record.announcement == announcement
        return
    with pytest.raises(RuleInvalid) as caught:
        compiled("", announcement=announcement)
    assert caught.value.field == "announcement"


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "\0"])
def test_a_time_zone_that_is_none(zone: str) -> None:
    """A rule with an unknown time zone is refused."""
    with pytest.raises(RuleInvalid) as caught:
        compiled("", timezone=zone)
    assert caught.value.field == "timezone"


@pytest.mark.parametrize(
    "when",
    [
        "",
        "  ",
        "true",
        'direction == "inbound" && did == "3000"',
        'queue in ["support", "sales"] && hour >= 9 && hour < 17 && weekday <= 5',
        'caller.startsWith("1202") || caller.matches("^\\\\+?49")',
        "duration_s > 30",
        'has(variables.VIP) && variables.VIP == "1"',
        'variables.exists(name, variables[name] == "1") || variables.size() == 0',
        "[" * 12 + "1" + "]" * 12 + ".size() == 1",
    ],
)
def test_accepted(when: str) -> None:
    """A rule may use all of CEL on the fields of a call."""
    assert compiled(when, variables=("VIP",)).fault == ""


def test_a_long_comprehension_ends() -> None:
    """A nested comprehension fails at its budget, before it delays the watcher."""
    numbers = "[" + ",".join(["1"] * 100) + "]"
    when = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, {numbers}.all(d, a == d))))"
    with pytest.raises(RuleFailed, match="budget exceeded"):
        compiled(when).matches(Bindings(Facts(ZERO), "UTC", (), ()))


def test_a_stored_rule_keeps_its_fault() -> None:
    """A stored rule that is not valid any more names its fault, and fails with it."""
    fields = {"id": "r", "version": 1, "name": "r", "priority": 1, "origin": "api"}
    record = RuleRecord(**{**fields, "action": "record", "when": "nonsense("})  # type: ignore[arg-type]
    rule = compile_stored(record)
    assert rule.fault.startswith("when: ")
    with pytest.raises(RuleFailed, match=r"^when: "):
        rule.matches(Bindings(Facts(ZERO), "UTC", (), ()))


def test_bindings_hold_the_named_values_only() -> None:
    """Conditions see exactly the named variables and headers; a missing value is ""."""
    facts = Facts(ZERO, variables={"VIP": "1", "SECRET": "x"}, headers={"X-Team": "\ud800"})
    values = Bindings(facts, "UTC", ["VIP", "TEAM"], ["X-Team"]).values
    assert values["variables"] == {"VIP": "1", "TEAM": ""}
    assert values["headers"] == {"X-Team": "?"}
    assert (values["hour"], values["weekday"]) == (12, 1)


def test_every_field_has_a_type() -> None:
    """The page of the rules gets a known type for each field of a call."""
    assert set(FIELDS.values()) == {"string", "int", "map(string, string)"}
