"""The condition of a rule: CEL, checked against the fields of a call before it is ever asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cel_expr_python import cel

from recorder.errors import RuleInvalid
from recorder.rules.facts import HEADER, SOUND, VARIABLE, Facts
from storage.records import RuleRecord

LONGEST = 4096  # characters
AT_ONCE = 100  # rules
LONGEST_S = 2**31  # of any call
TEXTS = ("direction", "caller", "callee", "did", "queue", "agent", "team", "pbx", "context")
NUMBERS = ("hour", "weekday", "duration_s")
MAPS = ("variables", "headers")
# The fields of a call, and the type of each.
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
# A call of no name at all: the library plans at the first question, and that takes a while.
NOBODY = Facts(at=datetime(2000, 1, 1, tzinfo=UTC))
# variables["VIP"], or headers.VIP
_READS = re.compile(
    r"""\b(variables|headers)\s*(?:\[\s*(["'])([^"']*)\2\s*\]|\.\s*(\w+)\b(?!\s*\())"""
)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


class RuleFailed(Exception):
    """The condition could not be answered for this call; the message says why."""


class Bindings:
    """One call in one time zone, as conditions that name these variables and headers see it."""

    def __init__(
        self, facts: Facts, timezone: str, variables: Sequence[str], headers: Sequence[str]
    ) -> None:
        hour, weekday = facts.in_zone(timezone)
        values: dict[str, Any] = {name: _clean(getattr(facts, name)) for name in TEXTS}
        values |= {"hour": hour, "weekday": weekday, "duration_s": min(facts.duration_s, LONGEST_S)}
        values["variables"] = _named(facts.variables, variables)
        values["headers"] = _named(facts.headers, headers)
        self.values: Mapping[str, Any] = values
        self.activation = _CALL.Activation(values)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that can be asked; `fault` is why it cannot, though it is kept, or ""."""

    record: RuleRecord
    expression: Any
    fault: str = ""

    def matches(self, asking: Bindings) -> bool:
        """Whether the condition holds. Raises RuleFailed where that cannot be said."""
        if self.fault:
            raise RuleFailed(self.fault)
        try:
            answer = self.expression.eval(asking.activation).value()
        except Exception as error:  # whatever the library raises, the call is recorded
            raise RuleFailed(str(error)) from error
        if not isinstance(answer, bool):
            raise RuleFailed(str(answer))
        return answer


class Batch:
    """Rules of one time zone, asked together: a list of conditions costs little more than one.

    One that cannot be answered leaves the whole list without an answer: then each is asked alone.
    """

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._rules = tuple(rules)
        self._together = _compile_together(self._rules)

    def ask(self, asking: Bindings) -> Sequence[bool | RuleFailed]:
        """What each condition says; RuleFailed where that cannot be said."""
        return self._ask_together(asking) or [_ask_alone(rule, asking) for rule in self._rules]

    def _ask_together(self, asking: Bindings) -> Sequence[bool] | None:
        if self._together is None:
            return None
        try:
            answers = self._together.eval(asking.activation).plain_value()
        except Exception:  # whatever the library raises, each is asked alone
            return None
        is_whole = isinstance(answers, list) and len(answers) == len(self._rules)
        return answers if is_whole and all(isinstance(one, bool) for one in answers) else None


def _compile_together(rules: Sequence[CompiledRule]) -> Any:
    """The list of the conditions; None where it cannot be made: it has a fault, or is too long."""
    if any(rule.fault for rule in rules):
        return None
    conditions = (rule.record.when.strip() or "true" for rule in rules)
    try:  # a comment ends with its line
        return _CALL.compile("[" + ",".join(f"({one}\n)" for one in conditions) + "]")
    except Exception:  # the library's are of no class of its own
        return None


def _ask_alone(rule: CompiledRule, asking: Bindings) -> bool | RuleFailed:
    try:
        return rule.matches(asking)
    except RuleFailed as error:
        return error


def compile_rule(record: RuleRecord) -> CompiledRule:
    """The rule, ready to be asked. Raises RuleInvalid."""
    _refuse_zone(record.timezone)
    _refuse_names("variables", record.variables, VARIABLE)
    _refuse_names("headers", record.headers, HEADER)
    _refuse_names("announcement", [record.announcement or "sound:none"], SOUND)
    expression = _compile(record.when.strip() or "true")
    _refuse_unnamed(record)
    rule = CompiledRule(record, expression)
    _try(rule)
    return rule


def compile_kept(record: RuleRecord) -> CompiledRule:
    """As `compile_rule`, of a rule that was good when it was kept: it fails when it is asked."""
    try:
        return compile_rule(record)
    except RuleInvalid as error:
        return CompiledRule(record, None, f"{error.field}: {error}")


def _compile(when: str) -> Any:
    if "\0" in when:
        raise RuleInvalid("it contains NUL", field="when", position=when.index("\0"))
    if len(when) > LONGEST:
        raise RuleInvalid(f"it is longer than {LONGEST} characters", field="when", position=LONGEST)
    try:
        expression = _CALL.compile(when)
    except Exception as error:  # the library's are of no class of its own
        raise _invalid(when, str(error)) from error
    if expression.return_type() != cel.Type.BOOL:
        raise RuleInvalid(
            f"it must be true or false, and is a {expression.return_type().name().lower()}",
            field="when",
            position=0,
            hint='compare it with something, as in queue == "support"',
        )
    return expression


def _try(rule: CompiledRule) -> None:
    """Ask it once: that finds what can only be found so, and plans."""
    try:
        rule.matches(
            Bindings(NOBODY, rule.record.timezone, rule.record.variables, rule.record.headers)
        )
    except RuleFailed as error:
        missing = re.search(r'Key not found in map : "(.*)"', str(error))
        if missing:
            raise RuleInvalid(
                f"it reads {missing[1]!r}, which the rule does not name",
                field="when",
                hint=f"add {missing[1]!r} to the rule's variables, or to its headers",
            ) from error


def _invalid(when: str, told: str) -> RuleInvalid:
    found = _ERROR.search(told)
    if found is None:
        return RuleInvalid("it cannot be read", field="when")
    line, column, message = int(found[1]), int(found[2]), found[3]
    before = when.split("\n")[: line - 1]
    position = sum(len(one) + 1 for one in before) + column - 1
    return RuleInvalid(message, field="when", position=position, hint=_hint(message))


def _hint(message: str) -> str:
    if undeclared := _UNDECLARED.search(message):
        near = get_close_matches(undeclared[1], FIELDS, n=1)
        known = ", ".join(FIELDS)
        return f"did you mean {near[0]}?" if near else f"the fields of a call are {known}"
    if "no matching overload" in message:
        if "string" in message and "int" in message:
            return 'a number is compared with a number, a text with a text: hour == 9, did == "9"'
        return "the two sides are of different kinds"
    if "token recognition error at: '= " in message or "'='" in message:
        return "== compares"
    return ""


def _refuse_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RuleInvalid(
            f"there is no time zone {name!r}", field="timezone", hint="such as Europe/Berlin"
        ) from error


def _refuse_names(field: str, names: Sequence[str], pattern: str) -> None:
    for name in names:
        if not re.match(pattern, name):
            raise RuleInvalid(f"{name!r} cannot be named here", field=field)


def _refuse_unnamed(record: RuleRecord) -> None:
    """Also what the first question would not come to, as behind `false &&`."""
    named = {"variables": record.variables, "headers": record.headers}
    for found in _READS.finditer(record.when):
        of, name = found[1], found[3] or found[4]
        if name not in named[of]:
            raise RuleInvalid(
                f"it reads {name!r}, which the rule does not name",
                field="when",
                position=found.start(),
                hint=f"add {name!r} to the rule's {of}",
            )


def _named(values: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {_clean(name): _clean(values.get(name, "")) for name in names}


def _clean(text: str) -> str:
    """Text that can be encoded: what comes off the wire need not be."""
    return text.encode("utf-8", "replace").decode()
