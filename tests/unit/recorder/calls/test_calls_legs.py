"""Questions about the legs of a call."""

from datetime import timedelta

import pytest

from recorder.calls.legs import (
    endpoint_of,
    ever_joined_legs,
    extension_of,
    have_talked,
    is_conversation,
    is_over,
    joined_legs,
    joined_or_created_at,
    legs_of,
    legs_to_capture,
    live_legs,
    side_of,
)
from storage.records import CallRecord, LegRecord
from tests.legs import ZERO, leg

JOINED, WAITING, GONE = leg("a"), leg("b", joined=False), leg("c", left=True)
RINGING = leg("r", joined=False, state="Ring")
LOCAL = leg("l", name="Local/DAHDI/1@agents-00000001;1")


def call(*legs: LegRecord, state: str = "up") -> CallRecord:
    return CallRecord("main-1.0", "main", state, "inbound", ZERO, channels=legs)  # type: ignore[arg-type]


def test_legs_are_persons() -> None:
    """Each question leaves out the halves of Local channels and keeps the order of the others."""
    mixed = call(LOCAL, GONE, WAITING, JOINED)
    assert legs_of(mixed) == (GONE, WAITING, JOINED)
    assert live_legs(mixed) == (WAITING, JOINED)
    assert ever_joined_legs(mixed) == (GONE, JOINED)
    assert joined_legs(mixed) == (JOINED,)


@pytest.mark.parametrize(
    ("legs", "captured"),
    [
        ([JOINED, WAITING], [JOINED]),
        ([WAITING, RINGING], [WAITING]),
        ([GONE, WAITING], [WAITING]),
        ([RINGING], []),
        ([LOCAL], []),
    ],
    ids=["joined", "menu", "one-left", "ringing", "local"],
)
def test_the_legs_to_capture(legs: list[LegRecord], captured: list[LegRecord]) -> None:
    """Legs that joined are captured; before anybody has joined, legs that are up."""
    assert list(legs_to_capture(call(*legs))) == captured


@pytest.mark.parametrize(
    ("legs", "talking", "talked"),
    [
        ([], False, False),
        ([JOINED], False, False),
        ([JOINED, WAITING], False, False),
        ([JOINED, GONE], False, True),
        ([JOINED, leg("d")], True, True),
        ([JOINED, leg("d"), leg("e")], True, True),
        ([JOINED, LOCAL], False, False),
    ],
    ids=["nobody", "alone", "waiting", "left", "two", "three", "local"],
)
def test_two_persons_make_a_conversation(
    legs: list[LegRecord], talking: bool, talked: bool
) -> None:
    """Two joined legs are a conversation; it still counts as talk after one of them has left."""
    assert is_conversation(call(*legs)) is talking
    assert have_talked(call(*legs)) is talked


@pytest.mark.parametrize(
    ("one", "over"),
    [
        (call(JOINED), False),
        (call(JOINED, GONE), False),
        (call(GONE), True),
        (call(LOCAL), True),
        (call(JOINED, state="ended"), True),
    ],
    ids=["live", "one-left", "all-left", "local", "ended"],
)
def test_a_call_is_over_without_live_legs(one: CallRecord, over: bool) -> None:
    """A call is over once it has ended, or once its last person has hung up."""
    assert is_over(one) is over


def test_the_time_of_joining_or_of_creation() -> None:
    """A leg counts from the moment when it joined; before that, from its creation."""
    later = (ZERO + timedelta(seconds=5)).isoformat()
    assert joined_or_created_at(leg("a", joined_at=later)) == ZERO + timedelta(seconds=5)
    assert joined_or_created_at(leg("a", joined=False, created_at=later)) == ZERO + timedelta(
        seconds=5
    )


@pytest.mark.parametrize(
    ("name", "endpoint", "extension"),
    [
        ("PJSIP/2001-0000000a", "PJSIP/2001", "2001"),
        ("PJSIP/branch-7-0000000a", "PJSIP/branch-7", "branch-7"),
        ("DAHDI/i1/2001-0000000a", "DAHDI/i1/2001", "i1/2001"),
        ("PJSIP/2001", "PJSIP/2001", "2001"),
    ],
)
def test_the_endpoint_of_a_leg(name: str, endpoint: str, extension: str) -> None:
    """The endpoint is the channel's name without its serial number, the extension its last part."""
    one = leg("a", name=name)
    assert (endpoint_of(one), extension_of(one)) == (endpoint, extension)


@pytest.mark.parametrize(
    ("party", "side", "heard"),
    [
        ("customer", None, "left"),
        ("agent", None, "right"),
        (None, None, "right"),
        ("agent", "left", "left"),
        ("customer", "right", "right"),
    ],
)
def test_the_side_of_a_leg(party: str | None, side: str | None, heard: str) -> None:
    """A leg keeps the side that it got when it joined; before that, customers are on the left."""
    assert side_of(leg("a", party=party, side=side)) == heard
