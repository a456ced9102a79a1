"""Rules: which calls are recorded, and why. Pure, except `book` and `trial`.

The condition of a rule is an expression in CEL over the `Facts` of a call. `compile_rule` refuses
an invalid rule; `RuleSet.decide` evaluates all rules and chooses the winner.
"""

from recorder.rules.decide import RANK, Decision, RuleAnswer, RuleSet
from recorder.rules.expression import FIELDS, CompiledRule, compile_rule
from recorder.rules.facts import HEADER, SOUND, VARIABLE, Facts

__all__ = [
    "FIELDS",
    "HEADER",
    "RANK",
    "SOUND",
    "VARIABLE",
    "CompiledRule",
    "Decision",
    "Facts",
    "RuleAnswer",
    "RuleSet",
    "compile_rule",
]
