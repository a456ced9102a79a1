"""The facts of a call."""

from datetime import timedelta
from typing import Any

import pytest

from recorder.rules.facts import Facts, facts_of, past_facts
from storage.records import CallRecord, DecisionRecord
from tests.legs import ZERO, leg


def call(**more: Any) -> CallRecord:
    """Return an answered call of a customer and an agent with every fact set."""
    fields: dict[str, Any] = {
        "id": "main-1.0",
        "pbx": "main",
        "state": "up",
        "direction": "inbound",
        "started_at": ZERO,
        "caller_number": "12025550100",
        "callee_number": "2001",
        "did": "3000",
        "queue": "support",
        "agent": "2001",
        "answered_at": ZERO + timedelta(seconds=5),
        "channels": (leg("c", party="customer", context="from-trunk"), leg("a", context="agents")),
    }
    return CallRecord(**(fields | more))


def test_the_facts_of_a_call() -> None:
    """A rule sees the call's own fields, and the context of its first leg."""
    at = ZERO + timedelta(seconds=90.9)
    assert facts_of(call(), at) == Facts(
        at=at,
        answered=True,
        direction="inbound",
        caller="12025550100",
        callee="2001",
        did="3000",
        queue="support",
        agent="2001",
        pbx="main",
        context="from-trunk",
        duration_s=90,
    )


def test_unknown_facts_are_empty_texts() -> None:
    """A call without numbers, queue, agent or legs has empty texts there."""
    names = ("caller_number", "callee_number", "did", "queue", "agent")
    bare = call(channels=(), **dict.fromkeys(names))
    assert facts_of(bare, ZERO) == Facts(at=ZERO, direction="inbound", pbx="main")


def test_an_ended_call_keeps_its_duration() -> None:
    """The duration of a call ends with it, however late a rule looks."""
    ended = call(ended_at=ZERO + timedelta(seconds=30))
    assert facts_of(ended, ZERO + timedelta(hours=1)).duration_s == 30


def test_past_facts_are_those_of_each_evaluation() -> None:
    """Each past evaluation gives back the facts that it saw."""
    moments = tuple(
        {"at": (ZERO + timedelta(seconds=second)).isoformat(), "facts": {"queue": queue}}
        for second, queue in ((1, ""), (2, "support"))
    )
    decision = DecisionRecord("main-1.0", "record", None, "", moments)
    assert past_facts(call(), decision) == (
        Facts(at=ZERO + timedelta(seconds=1), queue=""),
        Facts(at=ZERO + timedelta(seconds=2), queue="support"),
    )


@pytest.mark.parametrize("decision", [None, DecisionRecord("main-1.0", "never", None, "", ())])
def test_a_call_without_an_evaluation_counts_as_it_was_answered(
    decision: DecisionRecord | None,
) -> None:
    """Without an evaluation the facts are those of the answer; of an unanswered call, the start."""
    (facts,) = past_facts(call(), decision)
    assert facts == facts_of(call(), ZERO + timedelta(seconds=5))
    (facts,) = past_facts(call(answered_at=None), decision)
    assert facts.at == ZERO


def test_facts_of_another_version() -> None:
    """An older evaluation lacks the newest facts, and one of a later version has unknown ones."""
    moment = {"at": ZERO.isoformat(), "facts": {"queue": "support", "unheard_of": 1}}
    (facts,) = past_facts(call(), DecisionRecord("main-1.0", "record", None, "", (moment,)))
    assert facts == Facts(at=ZERO, queue="support", media=False)


def test_early_media_is_a_fact() -> None:
    """A call whose phone sent early media can be heard before the answer."""
    ringing = leg("c", joined=False), leg("a", joined=False)
    early = leg("a", joined=False, media_at=ZERO.isoformat())
    for legs, media in ((ringing, False), ((ringing[0], early), True)):
        facts = facts_of(call(channels=legs), ZERO)
        assert (facts.answered, facts.media) == (False, media)
