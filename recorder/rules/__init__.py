"""Rules: which calls are recorded, and why. Pure.

A rule's condition is an expression of CEL over a call as `Facts` has it. `compile_rule` refuses
what cannot be asked, `RuleSet.decide` asks every rule and says which of them wins.
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
