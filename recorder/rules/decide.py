"""The decision for a call: which rule wins.

`force` and `never` beat every other action: the first of these rules, by priority, that matches.
Then comes the first `record`, then the first `on_demand`; without any match, the default.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recorder.rules.expression import (
    AT_ONCE,
    EMPTY_CALL,
    Batch,
    Bindings,
    CompiledRule,
    RuleFailed,
    compile_stored,
)
from recorder.rules.facts import Facts
from storage.records import Action, RuleRecord

Answer = Literal["matched", "not-matched", "sampled-out", "not-yet", "error"]
# An action with a lower rank beats one with a higher rank.
RANK: Mapping[Action, int] = {"force": 0, "never": 0, "record": 1, "on_demand": 2}
_HIGHEST = 0
# Conditions of one scope share their bindings: the time zone, the variables and the headers.
_Scope = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """The answer of one rule for one call; `detail` explains an `error`."""

    rule_id: str
    version: int
    name: str
    action: Action
    answer: Answer
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The action for a call; `rule` is the winner, or None where no rule matched."""

    action: Action
    rule: RuleRecord | None
    answers: tuple[RuleAnswer, ...]
    reason: str


class RuleSet:
    """The enabled rules, in the order of their evaluation.

    `variables` and `headers` are all names that rules read. `forbids` says whether any rule may
    forbid recording; `follows_clock` and `follows_duration`, whether an answer may change merely
    because time passes. `faults` says why a rule fails for every call, by its id.

    Example: `RuleSet([rule]).decide(facts, "main-1795424777.0").action`.
    """

    def __init__(self, records: Iterable[RuleRecord], default: Action = "never") -> None:
        enabled = (one for one in records if one.enabled and not one.deleted)
        self._rules = tuple(sorted(enabled, key=lambda one: (one.priority, one.id)))
        self._default = default
        self.variables = tuple(sorted({name for one in self._rules for name in one.variables}))
        self.headers = tuple(sorted({name for one in self._rules for name in one.headers}))
        self.forbids = any(one.action == "never" for one in self._rules)
        self.follows_clock = any(_reads(one, "hour", "weekday") for one in self._rules)
        self.follows_duration = any(_reads(one, "duration_s") for one in self._rules)
        self._unmatched = tuple(_answer(one, "not-matched") for one in self._rules)
        compiled = [compile_stored(rule) for rule in self._rules]
        self.faults = {one.record.id: one.fault for one in compiled if one.fault}
        self._batches = _build_batches(compiled, self.variables, self.headers)
        for _ in self._evaluate(EMPTY_CALL, ""):  # CEL plans at the first evaluation: do it now
            pass

    def decide(self, facts: Facts, call_id: str) -> Decision:
        """Evaluate the rules for a call; the first match with the lowest rank wins."""
        answers: list[RuleAnswer] = []
        winner: tuple[RuleRecord, Action] | None = None
        for rule, answer in self._evaluate(facts, call_id):
            answers.append(answer)
            if answer.answer == "matched":
                action = rule.action
            elif answer.answer == "error" and _begins_now(rule, facts):
                action = "record"  # a rule that fails must not lose a call
            else:
                continue
            if winner is None or RANK[action] < RANK[winner[1]]:
                winner = rule, action
                if RANK[action] == _HIGHEST:
                    break
        if winner is None:
            return Decision(self._default, None, tuple(answers), "no-rule-matched")
        return Decision(winner[1], winner[0], tuple(answers), "rule-decided")

    def _evaluate(self, facts: Facts, call_id: str) -> Iterator[tuple[RuleRecord, RuleAnswer]]:
        """Yield each rule with its answer; evaluate a batch when its first rule is reached."""
        bindings: dict[_Scope, Bindings] = {}
        results: dict[int, bool | RuleFailed] = {}
        for place, rule in enumerate(self._rules):
            if place not in results:
                scope, places, batch = self._batches[place]
                if scope not in bindings:
                    bindings[scope] = Bindings(facts, *scope)
                results.update(zip(places, batch.evaluate(bindings[scope]), strict=True))
            result = results[place]
            if result is False:
                yield rule, self._unmatched[place]
            elif isinstance(result, RuleFailed):
                yield rule, _answer(rule, "error", str(result))
            elif not is_sampled(rule, call_id):
                yield rule, _answer(rule, "sampled-out")
            elif rule.action != "never" and not _begins_now(rule, facts):
                yield rule, _answer(rule, "not-yet")
            else:
                yield rule, _answer(rule, "matched")


def is_sampled(rule: RuleRecord, call_id: str) -> bool:
    """Whether the call is in the rule's sample: the same in every process and every replay."""
    digest = hashlib.sha256(f"{rule.id} {call_id}".encode(errors="replace")).digest()
    return int.from_bytes(digest[:8]) < rule.sample_percent / 100 * 2**64


def _build_batches(
    compiled: Sequence[CompiledRule], variables: tuple[str, ...], headers: tuple[str, ...]
) -> dict[int, tuple[_Scope, Sequence[int], Batch]]:
    """Return for each rule's place its batch: the scope, the places in it, and the batch.

    Rules that read variables and headers by name share all of them. A rule that counts or lists
    them must see its own only: its answer does not depend on other rules.
    """
    scopes: dict[_Scope, list[int]] = {}
    for place, rule in enumerate(compiled):
        # A faulty rule fails before it reads the clock, and its time zone may not exist.
        scope = "UTC" if rule.fault else rule.record.timezone, variables, headers
        if rule.reads_whole_maps:
            scope = rule.record.timezone, rule.record.variables, rule.record.headers
        scopes.setdefault(scope, []).append(place)
    found: dict[int, tuple[_Scope, Sequence[int], Batch]] = {}
    for scope, all_places in scopes.items():
        for first in range(0, len(all_places), AT_ONCE):
            places = all_places[first : first + AT_ONCE]
            batch = Batch([compiled[place] for place in places])
            found |= dict.fromkeys(places, (scope, places, batch))
    return found


def _answer(rule: RuleRecord, answer: Answer, detail: str = "") -> RuleAnswer:
    return RuleAnswer(rule.id, rule.version, rule.name, rule.action, answer, detail)


def _begins_now(rule: RuleRecord, facts: Facts) -> bool:
    """Whether a recording by this rule may begin at this moment of the call."""
    match rule.begins:
        case "ringing":
            return True
        case "media":
            return facts.answered or facts.media
    return facts.answered


def _reads(rule: RuleRecord, *fields: str) -> bool:
    """Whether the condition contains one of these names; a name in a string is harmless."""
    return any(name in rule.when for name in fields)
