"""The bound of a condition's cost: expensive ones are refused, all others are cheap by count."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import RuleInvalid
from recorder.rules import CompiledRule, Facts, compile_rule
from recorder.rules.cost import weigh_pattern
from recorder.rules.expression import Bindings
from storage.records import RuleRecord
from tests.legs import ZERO

NAMES = tuple(f"V{number}" for number in range(8))
# The library ends an evaluation after this many iterations.
MOST_ITERATIONS = 10_000
MOST_CHARACTERS = 16 * 100_000
# The longest facts that a call can have.
LONGEST = Facts(ZERO, did="9" * 300, variables=dict.fromkeys(NAMES, "v" * 2000))


def compiled(when: str) -> CompiledRule:
    terms = {"id": "r", "version": 1, "name": "r", "action": "record", "origin": "api"}
    return compile_rule(RuleRecord(**terms, when=when, variables=NAMES))  # type: ignore[arg-type]


def numbers(count: int) -> str:
    """Return a list of so many numbers."""
    return f"[{','.join(['1'] * count)}]"


@dataclass(frozen=True)
class Hostile:
    """A condition that loops and doubles texts, with its true counts."""

    when: str
    iterations: int
    characters: int
    instructions: int


@st.composite
def hostile_conditions(draw: st.DrawFn) -> Hostile:
    """Return nested loops over lists, variables and doubled texts, around a comparison."""
    levels = draw(st.lists(st.sampled_from(["list", "map", "text", "grow"]), max_size=9))
    text, length, opened, runs, iterations, instructions = "did", 256, "", 1, 0, 0
    for depth, level in enumerate(levels):
        name = f"x{depth}"
        macro = draw(st.sampled_from(["all", "exists", "exists_one"]))
        count = 1
        if level == "text":
            copies = draw(st.integers(1, 4))
            over = f"[{'+'.join([text] * copies)}]"
            text, length = name, length * copies
        elif level == "grow":
            count = draw(st.integers(1, 120))
            over = f"{numbers(count)}.map(y, y)"
            iterations += runs * count
        elif level == "map":
            over, count = "variables", len(NAMES)
        else:
            count = draw(st.integers(1, 120))
            over = numbers(count)
        opened += f"{over}.{macro}({name}, "
        runs *= count
        iterations += runs
    if draw(st.booleans()):
        repeated = draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
        pattern = "a"
        for times in repeated:
            pattern = f"({pattern}){{{times}}}"
            instructions = max(instructions, 1) * times
        inner = f'{text}.matches("{pattern}")'
    else:
        inner = f"{text} == {text}"
    return Hostile(f"{opened}{inner}{')' * len(levels)}", iterations, length, runs * instructions)


@given(hostile_conditions())
def test_a_hostile_condition_is_refused_or_cheap(hostile: Hostile) -> None:
    """A condition that is accepted never loops, copies or compiles more than the bound."""
    if len(hostile.when) > 4096:
        return
    rule = refusal = None
    try:
        rule = compiled(hostile.when)
    except RuleInvalid as error:
        refusal = error
    if rule is None:
        assert refusal is not None
        assert refusal.position in range(len(hostile.when))
        return
    assert hostile.iterations <= MOST_ITERATIONS
    assert hostile.characters <= MOST_CHARACTERS
    assert hostile.instructions <= 100_000
    # The library raises an error at more iterations than its own bound.
    rule.matches(Bindings(LONGEST, "UTC", NAMES, ()))


LOOP = numbers(100)
VALUES = f"[{', '.join(f'variables.{name}' for name in NAMES)}]"


@pytest.mark.parametrize(
    ("when", "place"),
    [
        # Patterns compiled at each of 10,000 iterations: 28 s.
        (f"{LOOP}.all(a, {LOOP}.all(b, did.matches('(\\\\pL|\\\\pN){{1000}}')))", "(\\\\pL|"),
        (f"{LOOP}.all(a, {LOOP}.all(b, a == b))", None),
        (f"{numbers(400)}.map(a, a).size() == 1", ".map"),
        ("[did+did].all(a, " + "[a+a].all(a, " * 20 + "a == did" + ")" * 21, None),
        ('did.matches("((a{100}){10}){10}")', ".matches"),
        ('did.matches("(?i)[^a-y]{1000}")', ".matches"),
        ('variables.V0.matches("[a-z]{40}")', ".matches"),
        (f"{LOOP}.all(a, variables.V0.contains(variables.V1))", ".all"),
        (f"{LOOP}.all(a, {VALUES} == {VALUES})", ".all"),
        ('did.matches("\\\\pL\\\\pN")', ".matches"),
    ],
)
def test_expensive_conditions_are_refused(when: str, place: str | None) -> None:
    """The error says that the condition costs too much, and where."""
    with pytest.raises(RuleInvalid) as caught:
        compiled(when)
    assert str(caught.value) == "it may take too long for one call"
    assert caught.value.position is not None
    if place is not None:
        assert abs(when.index(place) - caught.value.position) < 10
    assert "fixed texts and numbers" in caught.value.hint


@pytest.mark.parametrize(
    ("when", "position", "message", "hint"),
    [
        ("did.matches(caller)", 12, "the pattern of matches() must be a text in quotes", "(49|43)"),
        ('did.matches("4" + "9")', 16, "the pattern of matches() must be", "(49|43)"),
        ('["4"].exists(p, did.matches(p))', 28, "the pattern of matches() must be", "(49|43)"),
        (
            "google.protobuf.Int64Value{value: 1} == hour",
            0,
            "conditions make no messages like google.protobuf.Int64Value",
            "fixed texts",
        ),
    ],
)
def test_parts_without_a_bound_are_refused(
    when: str, position: int, message: str, hint: str
) -> None:
    """A pattern that is not fixed, or a message, has no bound and is refused at its place."""
    with pytest.raises(RuleInvalid) as caught:
        compiled(when)
    assert caught.value.position == position
    assert str(caught.value).startswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "when",
    [
        'did.matches("^\\\\pL+$")',
        'did.matches("^\\\\+?49") || did.matches("^[0-9]{10}$")',
        'variables.V0.matches("^[0-9a-f]{8}-[0-9a-f]{4}$")',
        "||".join(['did.matches("^49")'] * 150),
        'did in ["' + '","'.join(str(number) for number in range(1000, 1580)) + '"]',
        '["' + '","'.join(str(n) for n in range(100, 600)) + '"].exists(p, did.startsWith(p))',
        f"{numbers(80)}.all(a, {numbers(80)}.all(b, a == b))",
        "variables.all(a, variables.all(b, variables.all(c, a == b || b == c)))",
        f"{numbers(300)}.map(a, a * 2).size() == 300",
        'string(hour) + ":" + string(weekday) == "9:1"',
        'timestamp("2026-01-01T00:00:00Z").getHours() == hour',
        '{"3000": true}[did]',
        'direction == "inbound" ? did == "1" : caller.contains("49")',
    ],
)
def test_usual_conditions_are_accepted(when: str) -> None:
    """Long lists of numbers, many patterns and short loops are cheap enough."""
    assert compiled(when).fault == ""


@pytest.mark.parametrize(
    ("pattern", "other", "times"),
    [
        ("a{10}", "a", 10),
        ("a{3,10}", "a", 10),
        ("a{10,}", "a", 11),
        ("(a{10}){10}", "a", 100),
        ("a{10}{10}", "a", 100),
        ("(ab){10}", "ab", 10),
        ("[a-z]{10}", "[a-z]", 10),
        ("(?:[]a]){10}", "(?:[]a])", 10),
        ("[[:alpha:]x]{10}", "[[:alpha:]x]", 10),
        (r"\d{10}", r"\d", 10),
        (r"\{10}", "aaaa", 1),
        ("a{x}", "aaaa", 1),
        ("a{,5}", "aaaaa", 1),
        ("((a", "a", 1),
        ("a))", "aaa", 1),
        ("[a", "[a]", 1),
        ("a|b", "abc", 1),
        ("a{0}", "a", 1),
    ],
)
def test_the_weight_of_a_pattern(pattern: str, other: str, times: int) -> None:
    """A repetition weighs its part so many times, within groups and classes too."""
    assert weigh_pattern(pattern) == weigh_pattern(other) * times


@pytest.mark.parametrize(
    ("light", "heavy"),
    [("a", "."), ("[a-z]", "[^a-z]"), ("a", "(?i)a"), (r"\d", r"\pL"), ("[a]", r"[\PL]")],
)
def test_some_parts_weigh_more(light: str, heavy: str) -> None:
    """Parts that compile into many instructions weigh much more than a letter."""
    assert weigh_pattern(heavy) > 2 * weigh_pattern(light) or "^" in heavy
    assert weigh_pattern(heavy) > weigh_pattern(light)


def test_case_makes_a_pattern_heavier() -> None:
    """A pattern that ignores case compiles each of its letters into several."""
    assert weigh_pattern("(?i)" + "a" * 50) > 4 * weigh_pattern("a" * 50)


@given(st.text(alphabet="ab.[](){}0123456789,?*+|\\^$-:pP", max_size=60))
def test_any_pattern_has_a_weight(pattern: str) -> None:
    """Every text has a weight, also one that is no valid pattern."""
    assert weigh_pattern(pattern) >= 0
