"""Conditions that are refused, with the place and how to mend them."""

import pytest

from recorder.errors import RuleInvalid
from recorder.rules import FIELDS, CompiledRule, Facts, compile_rule
from recorder.rules.expression import Bindings, RuleFailed
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
    """The error tells what is wrong, where it stands, and how to mend it."""
    with pytest.raises(RuleInvalid) as caught:
        compiled(when)
    assert (caught.value.field, caught.value.position) == ("when", position)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "\0"])
def test_a_time_zone_that_is_none(zone: str) -> None:
    """A rule's time zone must be known."""
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
    """What CEL can say of the fields of a call, a rule may."""
    assert compiled(when, variables=("VIP",)).fault == ""


def test_a_long_comprehension_ends() -> None:
    """No condition holds up the watcher, however it is nested."""
    numbers = "[" + ",".join(["1"] * 100) + "]"
    when = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, {numbers}.all(d, a == d))))"
    with pytest.raises(RuleFailed, match="budget exceeded"):
        compiled(when).matches(Bindings(Facts(ZERO), "UTC", (), ()))


def test_every_field_has_a_type() -> None:
    """The fields of a call, for the page that lists them."""
    assert set(FIELDS.values()) == {"string", "int", "map(string, string)"}
