"""The terms of recording that a request gave a call, joined with the decision of the rules. Pure.

A request to dial, or a conference, may want its people recorded. A rule comes first: one that
forbids recording forbids this too, and one that records does so on its own terms.
"""

from collections.abc import Mapping
from dataclasses import replace

from recorder.rules import Decision, Facts
from recorder.rules.strength import RECORDS
from storage.records import RuleRecord, Trigger

# The kinds of requests, and the trigger of a recording that one of them wants.
DIALLED, CONFERENCE = "dialled", "conference"
_TRIGGERS: Mapping[str, Trigger] = {DIALLED: "dialled", CONFERENCE: "manual"}


def apply_terms(decision: Decision, terms: RuleRecord | None, facts: Facts) -> Decision:
    """Return the decision with the request's terms, once two people talk and if no rule decides.

    Example: the rules leave a call on demand, and its request wants it recorded: the decision is
    `record`, on the terms of the request.
    """
    rule = decision.rule
    is_decided = rule is not None and (decision.action in RECORDS or decision.action == "never")
    if terms is None or is_decided or not facts.answered:
        return decision
    return replace(decision, action="record", rule=terms, reason="request-decided")


def trigger_of(rule: RuleRecord | None) -> Trigger:
    """Return the trigger of a recording that this rule starts, or the default where it is None."""
    return _TRIGGERS.get(rule.id, "rule") if rule is not None else "rule"
