"""Which rule wins.

`force` and `never` beat everything: the first of them, by priority, that matches. Then the first
`record`, then the first `on_demand`; where none matches, the default.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recorder.rules.expression import AT_ONCE, NOBODY, Batch, Bindings, RuleFailed, compile_kept
from recorder.rules.facts import Facts
from storage.records import Action, RuleRecord

Answer = Literal["matched", "not-matched", "sampled-out", "not-yet", "error"]
# In this order an action beats those behind it.
RANK: Mapping[Action, int] = {"force": 0, "never": 0, "record": 1, "on_demand": 2}
_FIRST = 0


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What one rule answered; `detail` says why it could not."""

    rule_id: str
    version: int
    name: str
    action: Action
    answer: Answer
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a call; `rule` is None where no rule matched."""

    action: Action
    rule: RuleRecord | None
    answers: tuple[RuleAnswer, ...]
    reason: str


class RuleSet:
    """The rules of this moment, in the order in which they are asked."""

    def __init__(self, records: Iterable[RuleRecord], default: Action = "never") -> None:
        enabled = (one for one in records if one.enabled and not one.deleted)
        ordered = sorted(enabled, key=lambda one: (one.priority, one.id))
        self._rules = tuple(ordered)
        self._unmatched = tuple(_asked(one, "not-matched") for one in ordered)
        self._batches = _batches(self._rules)
        self._default = default
        self.variables = tuple(sorted({name for one in ordered for name in one.variables}))
        self.headers = tuple(sorted({name for one in ordered for name in one.headers}))
        for _ in self._ask(NOBODY, ""):  # all of it is planned before the first call
            pass
        self.forbids = any(one.action == "never" for one in ordered)
        self.follows_clock = any(_reads(one, "hour", "weekday") for one in ordered)
        self.follows_duration = any(_reads(one, "duration_s") for one in ordered)

    def decide(self, facts: Facts, call_id: str) -> Decision:
        """Ask the rules about a call; of those that match the first of the highest rank wins."""
        answers: list[RuleAnswer] = []
        winner: tuple[int, RuleRecord, Action] | None = None
        for rule, answer in self._ask(facts, call_id):
            answers.append(answer)
            action = _acts(answer, rule, facts)
            if action is not None and (winner is None or RANK[action] < winner[0]):
                winner = (RANK[action], rule, action)
                if winner[0] == _FIRST:
                    break
        if winner is None:
            return Decision(self._default, None, tuple(answers), "no-rule-matched")
        return Decision(winner[2], winner[1], tuple(answers), "rule-decided")

    def _ask(self, facts: Facts, call_id: str) -> Iterator[tuple[RuleRecord, RuleAnswer]]:
        askings: dict[str, Bindings] = {}
        answers: dict[int, bool | RuleFailed] = {}
        for place, rule in enumerate(self._rules):
            if place not in answers:
                zone, places, batch = self._batches[place]
                if zone not in askings:
                    askings[zone] = Bindings(facts, zone, self.variables, self.headers)
                answers.update(zip(places, batch.ask(askings[zone]), strict=True))
            answer = answers[place]
            yield (
                rule,
                (
                    self._unmatched[place]
                    if answer is False
                    else _answer(rule, answer, facts, call_id)
                ),
            )


def is_sampled(rule: RuleRecord, call_id: str) -> bool:
    """Whether the call is in the rule's share: the same on every process and every replay."""
    digest = hashlib.sha256(f"{rule.id} {call_id}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") < rule.sample_percent / 100 * 2**64


def _batches(rules: Sequence[RuleRecord]) -> dict[int, tuple[str, Sequence[int], Batch]]:
    """Of each rule's place: the time zone and places of those asked together, and how."""
    compiled = [compile_kept(rule) for rule in rules]
    zones: dict[str, list[int]] = {}
    for place, rule in enumerate(compiled):
        zones.setdefault("UTC" if rule.fault else rule.record.timezone, []).append(place)
    found: dict[int, tuple[str, Sequence[int], Batch]] = {}
    for zone, all_places in zones.items():
        for first in range(0, len(all_places), AT_ONCE):
            places = all_places[first : first + AT_ONCE]
            batch = Batch([compiled[place] for place in places])
            found |= dict.fromkeys(places, (zone, places, batch))
    return found


def _answer(rule: RuleRecord, said: bool | RuleFailed, facts: Facts, call_id: str) -> RuleAnswer:
    if isinstance(said, RuleFailed):
        return _asked(rule, "error", str(said))
    return _asked(rule, _matched(rule, facts, call_id) if said else "not-matched")


def _asked(rule: RuleRecord, answer: Answer, detail: str = "") -> RuleAnswer:
    return RuleAnswer(rule.id, rule.version, rule.name, rule.action, answer, detail)


def _matched(record: RuleRecord, facts: Facts, call_id: str) -> Answer:
    if not is_sampled(record, call_id):
        return "sampled-out"
    is_early = record.action != "never" and not _has_begun(record, facts)
    return "not-yet" if is_early else "matched"


def _has_begun(record: RuleRecord, facts: Facts) -> bool:
    return facts.answered or record.begins == "ringing"


def _acts(asked: RuleAnswer, record: RuleRecord, facts: Facts) -> Action | None:
    """What the answer asks for: a rule that fails must lose no call."""
    if asked.answer == "error":
        return "record" if _has_begun(record, facts) else None
    return asked.action if asked.answer == "matched" else None


def _reads(rule: RuleRecord, *fields: str) -> bool:
    """Whether its answer may change with one of these; a name in a string does no harm."""
    return any(name in rule.when for name in fields)
