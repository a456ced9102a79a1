"""The terms of a request, joined with the decision of the rules."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from recorder.recording.terms import CONFERENCE, DIALLED, apply_terms, trigger_of
from recorder.rules import Decision, Facts
from storage.records import Action, RuleRecord

TALKING = Facts(datetime(2026, 11, 30, 12, tzinfo=UTC), answered=True)
RULE = RuleRecord(id="r", version=1, origin="api", name="support", action="record")
TERMS = RuleRecord(id=DIALLED, version=1, origin="api", name="dialled", action="record")


def decided(action: Action, rule: RuleRecord | None) -> Decision:
    return Decision(action, rule, (), "rule-decided" if rule else "no-rule-matched")


@pytest.mark.parametrize(
    ("action", "has_rule", "is_changed"),
    [
        ("never", False, True),
        ("on_demand", False, True),
        ("record", False, True),
        ("on_demand", True, True),
        ("record", True, False),
        ("force", True, False),
        ("never", True, False),
    ],
)
def test_a_rule_that_decides_comes_before_a_request(
    action: Action, has_rule: bool, is_changed: bool
) -> None:
    """A request records where no rule records or forbids; else the rule keeps its own terms."""
    before = decided(action, RULE.replace(action=action) if has_rule else None)
    after = apply_terms(before, TERMS, TALKING)
    if is_changed:
        assert after == Decision("record", TERMS, (), "request-decided")
    else:
        assert after == before


def test_a_request_waits_until_two_people_talk() -> None:
    """Before the answer, and without a request, the decision of the rules stays."""
    before = decided("never", None)
    assert apply_terms(before, TERMS, replace(TALKING, answered=False)) == before
    assert apply_terms(before, None, TALKING) == before


def test_a_recording_names_the_request_that_wanted_it() -> None:
    """The trigger is `dialled` for a dialled call, `manual` for a conference, else `rule`."""
    rules = [TERMS, TERMS.replace(id=CONFERENCE), RULE, None]
    assert [trigger_of(rule) for rule in rules] == ["dialled", "manual", "rule", "rule"]
