"""Conditions of rules: refusals with their position and hint, and accepted conditions."""

from dataclasses import replace

import pytest

from recorder.errors import RuleInvalid
from recorder.rules import FIELDS, CompiledRule, Facts, compile_rule
from recorder.rules.expression import Batch, Bindings, RuleFailed, compile_stored
from storage.records import RuleRecord
from tests.legs import ZERO


def compiled(when: str, **more: object) -> CompiledRule:
    fields = {"id": "r", "version": 1, "name": "r", "priority": 1, "origin": "api"}
    return compile_rule(RuleRecord(**{**fields, "action": "record", "when": when, **more}))  # type: ignore[arg-type]


KNOWN = (
    "the fields of a call are direction, caller, callee, did, queue, agent, team, pbx, context,"
    " hour, weekday, duration_s, variables, headers"
)
KINDS = 'compare a number with a number, a text with a text: hour == 9, did == "9"'
COMPARE = 'compare it with a value, for example queue == "support"'


@pytest.mark.parametrize(
    ("when", "position", "message", "hint"),
    [
        ('directon == "inbound"', 0, "undeclared", "did you mean direction?"),
        ('  directon == "inbound"', 2, "undeclared", "did you mean direction?"),
        ('queue == "a" &&\n directon == "b"', 17, "undeclared", "did you mean direction?"),
        ("directio == 'in'", 0, "undeclared", "did you mean direction?"),
        ("xyzzy", 0, "undeclared", KNOWN),
        ('hour == "9"', 5, "(int, string)", KINDS),
        ("did == 3000", 4, "(string, int)", KINDS),
        ("pbx == true", 4, "(string, bool)", "the two sides are of different kinds"),
        ("duration_s == 1.5", 11, "(int, double)", "the two sides are of different kinds"),
        ("direction ==", 12, "Syntax error", ""),
        ('queue = "x"', 6, "Syntax error", "== compares"),
        ("hour=9", 4, "Syntax error", "== compares"),
        ("caller", 0, "it must be true or false, but has the type string", COMPARE),
        ("hour + 1", 0, "it must be true or false, but has the type int", COMPARE),
        (
            "caller.shout()",
            12,
            "undeclared reference to 'shout'",
            "conditions have no function 'shout'",
        ),
        ("size_of(did) > 1", 7, "undeclared", "conditions have no function 'size_of'"),
        (
            'variables.VIP == "1"',
            0,
            "it reads 'VIP', which the rule does not name",
            "add 'VIP' to the rule's variables",
        ),
        (
            'false && headers["X-A"] == ""',
            9,
            "it reads 'X-A', which the rule does not name",
            "add 'X-A' to the rule's headers",
        ),
        ("has(variables.VIP)", 4, "it reads 'VIP', which", "add 'VIP' to the rule's variables"),
        (
            'variables["V" + "IP"] == "1"',
            None,
            "it reads 'VIP', which",
            "add 'VIP' to the rule's variables, or to its headers",
        ),
        ("true || " * 600 + "true", 4096, "it is longer than 4096 characters", ""),
        ("\ud800", None, "it cannot be read", ""),
        ("a\0b\0c", 1, "it contains NUL", ""),
    ],
)
def test_invalid_rules_are_refused(
    when: str, position: int | None, message: str, hint: str
) -> None:
    """The error names the fault, its position, and a way to mend it."""
    with pytest.raises(RuleInvalid) as caught:
        compiled(when)
    assert (caught.value.field, caught.value.position) == ("when", position)
    said = str(caught.value)
    assert said.startswith(message) if message.startswith("it ") else message in said
    assert caught.value.hint == hint


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
        assert str(caught.value) == f"{name!r} cannot be named here"


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
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """A rule with an unknown time zone is refused."""
    with pytest.raises(RuleInvalid) as caught:
        compiled("", timezone=zone)
    assert (caught.value.field, caught.value.hint) == ("timezone", "for example Europe/Berlin")
    assert str(caught.value) == f"there is no time zone {zone!r}"


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


def test_a_batch_of_loops_answers_alone() -> None:
    """Conditions that together exceed the library's count of iterations keep their answers."""
    numbers = "[" + ",".join(["1"] * 80) + "]"
    rules = [compiled(f"{numbers}.all(a, {numbers}.all(b, a == b))") for _ in range(3)]
    assert Batch(rules).evaluate(Bindings(Facts(ZERO), "UTC", (), ())) == [True] * 3


def test_a_stored_rule_keeps_its_fault() -> None:
    """A stored rule that is not valid any more names its fault, and fails with it."""
    fields = {"id": "r", "version": 1, "name": "r", "priority": 1, "origin": "api"}
    record = RuleRecord(**{**fields, "action": "record", "when": "nonsense("})  # type: ignore[arg-type]
    rule = compile_stored(record)
    assert rule.record is record
    assert rule.fault.startswith("when: ")
    with pytest.raises(RuleFailed, match=r"^when: "):
        rule.matches(Bindings(Facts(ZERO), "UTC", (), ()))


def test_the_longest_condition_is_accepted() -> None:
    """A condition of 4096 characters is accepted."""
    assert compiled(f'did == "{"9" * 4087}"').fault == ""


def test_a_batch_is_evaluated_as_one_list() -> None:
    """The rules of a batch need no expression of their own while none of them fails."""
    conditions = ("", 'did == "1" // a comment', 'did == "2"')
    rules = [replace(compiled(when), expression=None) for when in conditions]
    bindings = Bindings(Facts(ZERO, did="2"), "UTC", (), ())
    assert Batch(rules).evaluate(bindings) == [True, False, True]


@pytest.mark.parametrize("bad", ["10 / duration_s > 1", 'did == "' + "9" * 4000 + '"'])
def test_a_batch_that_fails_is_evaluated_one_by_one(bad: str) -> None:
    """A failing condition, or a list that is too long for CEL, leaves the others their answers."""
    rules = [compiled('did == "2"'), *(compiled(bad) for _ in range(40))]
    first, *others = Batch(rules).evaluate(Bindings(Facts(ZERO, did="2"), "UTC", (), ()))
    assert first is True
    assert {type(one) for one in others} == {RuleFailed if "/" in bad else bool}


def test_bindings_hold_the_named_values_only() -> None:
    """Conditions see exactly the named variables and headers; a missing value is ""."""
    facts = Facts(ZERO, variables={"VIP": "1", "SECRET": "x"}, headers={"X-Team": "\ud800"})
    values = Bindings(facts, "UTC", ["VIP", "TEAM"], ["X-Team"]).values
    assert values["variables"] == {"VIP": "1", "TEAM": ""}
    assert values["headers"] == {"X-Team": "?"}
    assert (values["hour"], values["weekday"]) == (12, 1)


def test_bindings_cut_long_values() -> None:
    """A text of a call has at most 256 characters, a variable or header 1,024."""
    facts = Facts(ZERO, caller="1" * 300, variables={"V": "v" * 2000}, headers={"H": "h" * 2000})
    values = Bindings(facts, "UTC", ["V"], ["H"]).values
    assert values["caller"] == "1" * 256
    assert (values["variables"], values["headers"]) == ({"V": "v" * 1024}, {"H": "h" * 1024})


@pytest.mark.parametrize(
    ("when", "is_whole"),
    [
        ('variables.A == "1"', False),
        ('variables["A"] == "1" && has(headers.B)', False),
        ('direction == "variables"', False),
        ("variables.size() > 1", True),
        ('"A" in headers', True),
        ('variables.A == "1" || did in variables && variables[did] == "1"', True),
        ('variables.exists(name, variables[name] == "1")', True),
    ],
)
def test_conditions_that_read_whole_maps(when: str, is_whole: bool) -> None:
    """A condition reads a whole map unless it names each of its keys."""
    assert compiled(when, variables=("A",), headers=("B",)).reads_whole_maps is is_whole


def test_every_field_has_a_type() -> None:
    """The page of the rules gets a known type for each field of a call."""
    assert set(FIELDS.values()) == {"string", "int", "map(string, string)"}
