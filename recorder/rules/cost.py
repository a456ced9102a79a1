"""The cost of a condition: a bound of the steps of one evaluation, found before the first. Pure.

A *step* is about 15 ns: one node of the tree evaluated, or 16 characters compared or copied. A loop
(`all`, `exists`, `exists_one`, `map`, `filter`) costs its body once for each element, and a text
that is joined to itself costs its new length. So a short condition can be very expensive:

    [did + did].all(a, [a + a].all(b, [b + b].all(c, …)))     doubles the text at each level
    [1, 2, …].all(a, [1, 2, …].all(b, did.matches("…")))      compiles the pattern each time

`refuse_expensive` measures the tree with the largest sizes that a call can have, and names the
innermost place that costs too much.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from recorder.errors import RuleInvalid
from recorder.rules.syntax import Node

MOST_STEPS = 100_000
# The longest values of a call; evaluation cuts longer values.
LONGEST_TEXT = 256
LONGEST_VALUE = 1024
LONGEST_NAME = 80

CHARACTERS_PER_STEP = 16
# The library ends an evaluation at its 10,000th iteration: the bound of steps comes first.
LEAST_PER_ITERATION = 12
# A number or a time as a text.
LONGEST_NUMBER = 64
_ONE_HINT = "compare the fields of a call with fixed texts and numbers"


@dataclass(frozen=True, slots=True)
class Shape:
    """The largest size of a value: characters of a text, or elements with their own shapes."""

    size: int = 1
    element: "Shape | None" = None
    value: "Shape | None" = None

    @property
    def total(self) -> int:
        """The size with that of all elements."""
        inner = sum(one.total for one in (self.element, self.value) if one is not None)
        return self.size * max(inner, 1)

    def joined(self, other: "Shape") -> "Shape":
        """Return the shape of a value that may be either."""
        element = _either(self.element, other.element)
        return Shape(max(self.size, other.size), element, _either(self.value, other.value))

    def added(self, other: "Shape") -> "Shape":
        """Return the shape of both, one after the other."""
        return replace(self.joined(other), size=self.size + other.size)


ONE = Shape()


def refuse_expensive(tree: Node, texts: Mapping[str, int], maps: Mapping[str, int]) -> None:
    """Raise RuleInvalid for a condition whose evaluation may take more than `MOST_STEPS` steps.

    `texts` gives the longest text of each field, `maps` the most entries of each map of texts.
    """
    shapes = {name: Shape(longest) for name, longest in texts.items()}
    key, value = Shape(LONGEST_NAME), Shape(LONGEST_VALUE)
    shapes |= {name: Shape(most, key, value) for name, most in maps.items()}
    _measure(tree, shapes)


def _measure(node: Node, shapes: Mapping[str, Shape]) -> tuple[int, Shape]:
    """Return the steps of a node and the shape of its value. Raises RuleInvalid."""
    if node.kind == "loop":
        steps, shape = _measure_loop(node, shapes)
    else:
        measured = [_measure(part, shapes) for part in node.parts]
        parts = [shape for _, shape in measured]
        own, shape = _measure_one(node, parts, shapes)
        steps = own + sum(one for one, _ in measured)
    if steps > MOST_STEPS:
        hint = _ONE_HINT
        if node.kind == "loop":
            hint = f"the part in it is evaluated for each element; {hint}"
        raise _refusal("it may take too long for one call", node, hint)
    return steps, shape


def _measure_one(node: Node, parts: list[Shape], shapes: Mapping[str, Shape]) -> tuple[int, Shape]:
    """Return the steps of a node without its parts, and the shape of its value."""
    match node.kind:
        case "constant":
            return 1, Shape(len(node.text)) if node.text is not None else ONE
        case "name":
            return 1, shapes.get(node.name, ONE)
        case "field":
            return 1, parts[0].value or ONE
        case "list":
            return 1 + len(parts), Shape(len(parts), _any_of(parts))
        case "map":
            entries = len(parts) // 2
            return 1 + len(parts), Shape(entries, _any_of(parts[::2]), _any_of(parts[1::2]))
        case "message":
            raise _refusal(f"conditions make no messages like {node.name}", node, _ONE_HINT)
    return _measure_call(node, parts)


def _measure_call(node: Node, parts: list[Shape]) -> tuple[int, Shape]:
    """Return the steps of a call without its operands, and the shape of its value.

    A function that is not named here reads its operands once and returns nothing larger.
    """
    steps = 1 + sum(part.total for part in parts) // CHARACTERS_PER_STEP
    shape = ONE
    match node.name, parts:
        case "matches", [text, _]:
            steps = 1 + _measure_pattern(node.parts[-1], text)
        case "contains", [text, part]:
            steps += text.size * part.size // LONGEST_VALUE
        case "@in", [wanted, among]:  # each element of a list is compared, a map is looked up
            compared = 1 + wanted.total // CHARACTERS_PER_STEP
            steps = 1 + compared * (1 if among.value else among.size)
        case "_+_", [first, second]:
            shape = first.added(second)
            steps = 1 + (shape.size if shape.element else shape.size // CHARACTERS_PER_STEP)
        case "_[_]", [of, key]:
            steps = 1 + key.total // CHARACTERS_PER_STEP
            shape = of.value or of.element or ONE
        case "_?_:_", [_, yes, no]:
            steps, shape = 1, yes.joined(no)
        case "dyn", [same]:
            steps, shape = 1, same
        case "_&&_" | "_||_" | "!_" | "size", _:
            steps = 1
        case _:
            shape = Shape(max([LONGEST_NUMBER, *(part.size for part in parts)]))
    return steps, shape


def _measure_loop(node: Node, shapes: Mapping[str, Shape]) -> tuple[int, Shape]:
    """Return the steps of a loop; one that makes a list copies that list at each iteration.

    Each part is measured once: measured twice, nested loops would double the time of this function
    at each level.
    """
    over, first, condition, step, result = node.parts
    range_steps, elements = _measure(over, shapes)
    first_steps, made = _measure(first, shapes)
    element, second, accumulator = node.names
    inner = {**shapes, element: elements.element or ONE, accumulator: made}
    if second:
        inner[second] = elements.value or ONE
    condition_steps, _ = _measure(condition, inner)
    step_steps, grown = _measure(step, inner)
    made = replace(grown, size=made.size + elements.size * max(grown.size - made.size, 0))
    copied = made.size if made.element is not None else 0
    body = max(condition_steps + step_steps, LEAST_PER_ITERATION) + copied
    result_steps, shape = _measure(result, {**inner, accumulator: made})
    return range_steps + first_steps + elements.size * body + result_steps, shape


# The steps to compile one part of a pattern.
_LITERAL, _CLASS, _RANGE, _ANY, _PROPERTY = 20, 100, 25, 200, 70_000
_IGNORING_CASE = 5
# An instruction of a compiled pattern costs its compilation this many steps.
_STEPS_PER_INSTRUCTION = 20
_LARGE_CLASS = re.compile(r"\\[pP]")


def _measure_pattern(pattern: Node, text: Shape) -> int:
    """Return the steps to compile a pattern and to search it in a text, at every evaluation."""
    if pattern.text is None:
        hint = 'for example caller.matches("^(49|43)")'
        raise _refusal("the pattern of matches() must be a text in quotes", pattern, hint)
    # A large class makes many instructions, but a character meets one of them.
    searched = weigh_pattern(_LARGE_CLASS.sub(r"\\d", pattern.text)) // _STEPS_PER_INSTRUCTION
    return weigh_pattern(pattern.text) + text.size * searched // 3


def weigh_pattern(pattern: str) -> int:
    """Return the steps to compile a regular expression of RE2, at most.

    A repetition like `{1000}` compiles its part a thousand times; `\\pL` is a class of hundreds of
    ranges.
    """
    groups: list[int] = [0]  # the sum of each open group
    last = at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "\\":
            escaped = pattern[at : at + 1]
            last = _PROPERTY if escaped in {"p", "P"} else _ANY if escaped.isalpha() else _LITERAL
            at += 1
        elif sign == "[":
            last, at = _weigh_class(pattern, at)
        elif sign == "(":
            groups.append(0)
            last = 0
            continue
        elif sign == ")" and len(groups) > 1:
            last = groups.pop()
        elif sign == "{" and (times := _repetitions(pattern, at)):
            groups[-1] += last * (times - 1)
            last *= times
            at = pattern.index("}", at) + 1
            continue
        else:
            last = _ANY if sign == "." else _LITERAL
        groups[-1] += last
    return sum(groups) * (_IGNORING_CASE if "(?" in pattern else 1)


def _weigh_class(pattern: str, at: int) -> tuple[int, int]:
    """Return the steps of a class `[…]` whose first sign is at `at`, and the place after it."""
    end = at + pattern[at : at + 1].count("^")
    end += pattern[end : end + 1].count("]")  # a ] in the first place is a member
    while end < len(pattern) and pattern[end] != "]":
        named = pattern[end : end + 2] == "[:" and pattern.find(":]", end)
        end = named + 2 if named and named > 0 else end + 2 if pattern[end] == "\\" else end + 1
    inside = pattern[at:end]
    properties = inside.count("\\p") + inside.count("\\P")
    steps = _CLASS + _RANGE * len(inside) + _PROPERTY * properties
    return steps + (_ANY if inside.startswith("^") or "\\" in inside else 0), end + 1


def _repetitions(pattern: str, at: int) -> int:
    """Return the most repetitions of `{2}`, `{2,}` or `{2,5}` after its brace; 0 for others."""
    numbers = pattern[at : pattern.find("}", at)] if "}" in pattern[at:] else ""
    least, comma, most = numbers.partition(",")
    if not (least.isascii() and least.isdigit() and (not most or most.isdigit())):
        return 0
    return max(int(most or least) + (bool(comma) and not most), 1)


def _any_of(shapes: list[Shape]) -> Shape | None:
    found: Shape | None = None
    for shape in shapes:
        found = _either(found, shape)
    return found


def _either(one: Shape | None, other: Shape | None) -> Shape | None:
    return one.joined(other) if one is not None and other is not None else one or other


def _refusal(message: str, node: Node, hint: str) -> RuleInvalid:
    return RuleInvalid(message, field="when", position=node.position, hint=hint)
