"""The condition of a rule: an expression in CEL, checked before its first evaluation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cel_expr_python import cel

from recorder.errors import RuleInvalid
from recorder.rules.cost import LONGEST_TEXT, LONGEST_VALUE, refuse_expensive
from recorder.rules.facts import HEADER, SOUND, VARIABLE, Facts
from recorder.rules.syntax import Node, iter_nodes, parse_tree
from storage.records import RuleRecord

LONGEST = 4096  # characters of a condition
AT_ONCE = 100  # rules in one batch
LONGEST_S = 2**31  # CEL's integers end; a longer call counts as this long
TEXTS = ("direction", "caller", "callee", "did", "queue", "agent", "team", "pbx", "context")
NUMBERS = ("hour", "weekday", "duration_s")
MAPS = ("variables", "headers")
# The fields of a call with their types.
FIELDS: Mapping[str, str] = {
    **dict.fromkeys(TEXTS, "string"),
    **dict.fromkeys(NUMBERS, "int"),
    **dict.fromkeys(MAPS, "map(string, string)"),
}

_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}
_CALL = cel.NewEnv(variables={name: _TYPES[type_] for name, type_ in FIELDS.items()})
_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
# Facts for a first evaluation: the library plans an expression then, and that takes a while.
EMPTY_CALL = Facts(at=datetime(2000, 1, 1, tzinfo=UTC))
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


class RuleFailed(Exception):
    """The condition has no answer for this call; the message says why."""


class Bindings:
    """The values of one call for conditions in one time zone, with these variables and headers.

    Long values are cut, so that the cost of a condition has a bound.
    """

    def __init__(
        self, facts: Facts, timezone: str, variables: Sequence[str], headers: Sequence[str]
    ) -> None:
        hour, weekday = facts.in_zone(timezone)
        values: dict[str, Any] = {
            name: _clean(getattr(facts, name)[:LONGEST_TEXT]) for name in TEXTS
        }
        values |= {"hour": hour, "weekday": weekday, "duration_s": min(facts.duration_s, LONGEST_S)}
        values["variables"] = _select(facts.variables, variables)
        values["headers"] = _select(facts.headers, headers)
        self.values: Mapping[str, Any] = values
        self.activation = _CALL.Activation(values)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its compiled condition; `fault` says why it has none, or is "".

    `reads_whole_maps` means that the answer depends on all variables or headers that are bound, as
    in `variables.size() > 1`, not only on those with a name in the condition.
    """

    record: RuleRecord
    expression: Any
    fault: str = ""
    reads_whole_maps: bool = False

    def matches(self, bindings: Bindings) -> bool:
        """Whether the condition is true. Raises RuleFailed where it has no answer."""
        if self.fault:
            raise RuleFailed(self.fault)
        try:
            answer = self.expression.eval(bindings.activation).value()
        except Exception as error:  # the library has no error class of its own
            raise RuleFailed(str(error)) from error
        if not isinstance(answer, bool):
            raise RuleFailed(str(answer))
        return answer


class Batch:
    """Rules of one time zone, evaluated as one list: that costs little more than one condition.

    If one condition fails, the list has no value: then each rule is evaluated alone.
    """

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._rules = tuple(rules)
        self._together: Any = None
        if not any(rule.fault for rule in rules):
            # The line break ends a comment in a condition.
            conditions = (f"({rule.record.when.strip() or 'true'}\n)" for rule in rules)
            try:
                self._together = _CALL.compile("[" + ",".join(conditions) + "]")
            except Exception:  # too long as one list; the library has no error class of its own
                self._together = None

    def evaluate(self, bindings: Bindings) -> Sequence[bool | RuleFailed]:
        """Return the answer of each condition; RuleFailed where it has none."""
        if self._together is not None:
            try:
                answers = self._together.eval(bindings.activation).plain_value()
            except Exception:  # one condition fails; the library has no error class of its own
                answers = None
            if isinstance(answers, list) and all(isinstance(one, bool) for one in answers):
                return answers
        found: list[bool | RuleFailed] = []
        for rule in self._rules:
            try:
                found.append(rule.matches(bindings))
            except RuleFailed as error:
                found.append(error)
        return found


def compile_rule(record: RuleRecord) -> CompiledRule:
    """Check a rule and compile its condition. Raises RuleInvalid."""
    try:
        ZoneInfo(record.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RuleInvalid(
            f"there is no time zone {record.timezone!r}",
            field="timezone",
            hint="for example Europe/Berlin",
        ) from error
    _refuse_names("variables", record.variables, VARIABLE)
    _refuse_names("headers", record.headers, HEADER)
    _refuse_names("announcement", [record.announcement or "sound:none"], SOUND)
    expression = _compile(record.when if record.when.strip() else "true")
    tree = parse_tree(expression.serialize())
    reads_whole_maps = _check_reads(tree, record)
    most = {name: len(getattr(record, name)) for name in MAPS}
    refuse_expensive(tree, dict.fromkeys(TEXTS, LONGEST_TEXT), most)
    rule = CompiledRule(record, expression, reads_whole_maps=reads_whole_maps)
    try:
        rule.matches(Bindings(EMPTY_CALL, record.timezone, record.variables, record.headers))
    except RuleFailed as error:
        missing = re.search(r'Key not found in map : "(.*)"', str(error))
        if missing and reads_whole_maps:  # by a name that is computed
            hint = f"add {missing[1]!r} to the rule's variables, or to its headers"
            raise _unnamed(missing[1], None, hint) from error
    return rule


def compile_stored(record: RuleRecord) -> CompiledRule:
    """Compile a rule that was valid when it was stored; if it is not any more, note its fault."""
    try:
        return compile_rule(record)
    except RuleInvalid as error:
        return CompiledRule(record, None, f"{error.field}: {error}")


def _check_reads(tree: Node, record: RuleRecord) -> bool:
    """Check that the rule names each variable and header that it reads by name. Raises RuleInvalid.

    Evaluation does not find every unnamed read: `false && headers.X` ends before it. Return whether
    the condition reads any map as a whole.
    """
    named = {"variables": record.variables, "headers": record.headers}
    is_whole = sum(node.name in MAPS for node in iter_nodes(tree) if node.kind == "name")
    for node in iter_nodes(tree):
        of = node.parts[0] if node.parts else node
        if of.kind != "name" or of.name not in MAPS:
            continue
        name: str | None = None
        if node.kind == "field":
            name = node.name
        elif node.kind == "call" and node.name == "_[_]":
            name = node.parts[1].text
        if name is None:
            continue
        is_whole -= 1
        if name not in named[of.name]:
            raise _unnamed(name, of.position, f"add {name!r} to the rule's {of.name}")
    return is_whole > 0


def _compile(when: str) -> Any:
    if "\0" in when:
        raise RuleInvalid("it contains NUL", field="when", position=when.index("\0"))
    if len(when) > LONGEST:
        raise RuleInvalid(f"it is longer than {LONGEST} characters", field="when", position=LONGEST)
    try:
        expression = _CALL.compile(when)
    except Exception as error:  # the library has no error class of its own
        raise _explain(when, str(error)) from error
    if expression.return_type() != cel.Type.BOOL:
        raise RuleInvalid(
            f"it must be true or false, but has the type {expression.return_type().name().lower()}",
            field="when",
            position=0,
            hint='compare it with a value, for example queue == "support"',
        )
    return expression


def _explain(when: str, text: str) -> RuleInvalid:
    """Return the error for a text of the CEL compiler, with the position and a hint."""
    found = _ERROR.search(text)
    if found is None:
        return RuleInvalid("it cannot be read", field="when")
    line, column, message = int(found[1]), int(found[2]), found[3]
    before = when.split("\n")[: line - 1]
    position = sum(len(one) + 1 for one in before) + column - 1
    hint = ""
    undeclared = _UNDECLARED.search(message)
    if undeclared and when[position : position + 1] == "(":
        hint = f"conditions have no function {undeclared[1]!r}"
    elif undeclared:
        near = get_close_matches(undeclared[1], FIELDS, n=1)
        known = ", ".join(FIELDS)
        hint = f"did you mean {near[0]}?" if near else f"the fields of a call are {known}"
    elif "no matching overload" in message:
        hint = "the two sides are of different kinds"
        if "string" in message and "int" in message:
            hint = 'compare a number with a number, a text with a text: hour == 9, did == "9"'
    elif "token recognition error at: '=" in message:
        hint = "== compares"
    return RuleInvalid(message, field="when", position=position, hint=hint)


def _unnamed(name: str, position: int | None, hint: str) -> RuleInvalid:
    message = f"it reads {name!r}, which the rule does not name"
    return RuleInvalid(message, field="when", position=position, hint=hint)


def _refuse_names(field: str, names: Sequence[str], pattern: str) -> None:
    for name in names:
        if not re.match(pattern, name):
            raise RuleInvalid(f"{name!r} cannot be named here", field=field)


def _select(values: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {_clean(name): _clean(values.get(name, "")[:LONGEST_VALUE]) for name in names}


def _clean(text: str) -> str:
    """Replace the characters that UTF-8 cannot encode: text from the network may hold some."""
    return text.encode(errors="replace").decode()
