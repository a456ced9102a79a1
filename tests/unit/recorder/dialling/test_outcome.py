"""The causes of dialled calls, from event sequences that were measured on Asterisk 22 and 16."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce

import pytest

from recorder import ari
from recorder.dialling.outcome import Outcome, cause_of, observe, state_of
from storage.records import CallRecord
from tests.channels import AT, channel

PHONE, TRUNK = channel("phone"), channel("trunk")
RINGING = CallRecord("main-phone", "main", "ringing", "outbound", AT)
ENDED = replace(RINGING, state="ended", ended_at=AT)


def state(name: str, at: datetime = AT) -> ari.Event:
    """The agent's phone has a new state."""
    return ari.ChannelStateChange(at, "", replace(PHONE, state=name))


def rung(status: str) -> ari.Event:
    """The PBX rings the agent's phone."""
    return ari.Dial(AT, "", None, PHONE, "", status)


def dialled(status: str) -> ari.Event:
    """The dialplan dials the number."""
    return ari.Dial(AT, "", PHONE, TRUNK, "", status)


def gone(one: ari.Channel, q850: int) -> ari.Event:
    """A channel has ended."""
    return ari.ChannelDestroyed(AT, "", one, q850, "")


ANSWERED = (rung(""), state("Ringing"), rung("RINGING"), state("Up"), rung("ANSWER"), dialled(""))


def fold(*events: ari.Event) -> Outcome:
    """Return the outcome of these events."""
    return reduce(lambda one, event: observe(one, event, PHONE.id), events, Outcome())


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ((dialled("BUSY"), gone(TRUNK, 17), gone(PHONE, 17)), "busy"),
        ((dialled("NOANSWER"), gone(TRUNK, 21), gone(PHONE, 21)), "declined"),
        ((dialled("NOANSWER"), gone(PHONE, 19), gone(TRUNK, 19)), "no-answer"),
        ((dialled("NOANSWER"), gone(PHONE, 1), gone(TRUNK, 1)), "wrong-number"),
        ((dialled("CHANUNAVAIL"), gone(TRUNK, 28), gone(PHONE, 28)), "wrong-number"),
        ((dialled("CHANUNAVAIL"), gone(TRUNK, 3), gone(PHONE, 3)), "unreachable"),
        ((dialled("CHANUNAVAIL"), gone(PHONE, 0)), "unreachable"),
        ((dialled("CONGESTION"), gone(TRUNK, 34), gone(PHONE, 34)), "congestion"),
        ((dialled("CONGESTION"), gone(PHONE, 16)), "congestion"),
        ((dialled("CANCEL"), gone(TRUNK, 16), gone(PHONE, 16)), "cancelled"),
        ((dialled("NOANSWER"), gone(TRUNK, 16), gone(PHONE, 16)), "no-answer"),
        ((dialled("ANSWER"), gone(TRUNK, 16), gone(PHONE, 16)), "ended"),
        # The first trunk has no line, the second rings until the agent gives up, or in vain.
        ((dialled("CONGESTION"), gone(TRUNK, 34), dialled(""), dialled("CANCEL")), "cancelled"),
        ((gone(TRUNK, 34), dialled(""), dialled("NOANSWER"), gone(PHONE, 16)), "no-answer"),
    ],
)
def test_ends_of_the_number(events: tuple[ari.Event, ...], cause: str) -> None:
    """The cause of a channel says more than the status of Dial(), which says who cancelled."""
    outcome = fold(*ANSWERED, *events, gone(PHONE, 16))
    assert cause_of(outcome, ENDED) == cause
    talked = replace(ENDED, talked_at=AT)
    assert cause_of(outcome, talked) == "ended"


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ((rung("BUSY"), gone(PHONE, 17)), "agent-busy"),
        ((rung("NOANSWER"), gone(PHONE, 21)), "agent-declined"),
        ((rung("NOANSWER"), gone(PHONE, 19)), "agent-no-answer"),
        ((rung("NOANSWER"), gone(PHONE, 1)), "agent-unreachable"),
        ((state("Ringing"), rung("RINGING"), gone(PHONE, 19)), "agent-no-answer"),
        ((state("Ringing"), gone(PHONE, 0)), "agent-no-answer"),
        ((rung("CANCEL"), gone(channel("half", technology="Local"), 0), gone(PHONE, 0)),
         "agent-unreachable"),
        ((gone(PHONE, 0),), "agent-unreachable"),
        ((rung("CONGESTION"), gone(PHONE, 0)), "agent-unreachable"),
    ],
)  # fmt: skip
def test_ends_of_the_phone(events: tuple[ari.Event, ...], cause: str) -> None:
    """Before the agent has answered, the cause is the agent's: the number was not dialled."""
    assert cause_of(fold(rung(""), *events), ENDED) == cause


def test_a_number_that_the_dialplan_does_not_know() -> None:
    """A dialplan without the number hangs up the answered phone, and dials nothing."""
    outcome = fold(rung(""), state("Up"), gone(PHONE, 0))
    assert cause_of(outcome, ENDED) == "unreachable"


def test_an_end_that_nobody_saw() -> None:
    """After a crash of the PBX no channel has ended before our eyes."""
    assert cause_of(fold(*ANSWERED), ENDED) == "pbx-lost"
    assert cause_of(Outcome(), replace(ENDED, talked_at=AT)) == "ended"


def test_states() -> None:
    """The phone rings, then the number, then both talk."""
    first, later = AT + timedelta(seconds=1), AT + timedelta(seconds=2)
    assert state_of(fold(rung("")), RINGING) == "requested"
    assert state_of(fold(state("Ringing")), RINGING) == "ringing"
    answered = fold(state("Up", first), state("Up", later))
    assert answered.answered_at == first
    assert state_of(answered, RINGING) == "dialling"
    assert state_of(answered, replace(RINGING, state="up", talked_at=later)) == "up"
    assert state_of(answered, ENDED) == "ended"
    other = ari.ChannelStateChange(AT, "", replace(TRUNK, state="Up"))
    assert fold(other) == Outcome()
