"""Questions about the legs of a call."""

from dataclasses import replace
from datetime import timedelta

import pytest

from recorder.calls.legs import (
    audible_legs,
    endpoint_of,
    ever_joined_legs,
    extension_of,
    have_talked,
    is_over,
    joined_or_created_at,
    legs_of,
    live_legs,
)
from storage.records import CallRecord, LegRecord
from tests.legs import ZERO, leg

JOINED, WAITING, GONE = leg("a"), leg("b", joined=False), leg("c", left=True)
RINGING = leg("r", joined=False, state="Ring")
EARLY = leg("e", joined=False, state="Down", media_at=ZERO.isoformat())
LOCAL = leg("l", name="Local/DAHDI/1@agents-00000001;1")


def call(*legs: LegRecord, state: str = "up") -> CallRecord:
    return CallRecord("main-1.0", "main", state, "inbound", ZERO, channels=legs)  # type: ignore[arg-type]


def test_legs_are_persons() -> None:
    """Each question leaves out the halves of Local channels and keeps the order of the others."""
    mixed = call(LOCAL, GONE, WAITING, JOINED)
    assert legs_of(mixed) == (GONE, WAITING, JOINED)
    assert live_legs(mixed) == (WAITING, JOINED)
    assert ever_joined_legs(mixed) == (GONE, JOINED)


@pytest.mark.parametrize(
    ("legs", "captured"),
    [
        ([JOINED, WAITING], [JOINED, WAITING]),
        ([JOINED, GONE, WAITING], [JOINED]),
        ([JOINED, GONE, EARLY], [JOINED, EARLY]),
        ([WAITING, RINGING], [WAITING]),
        ([WAITING, EARLY], [WAITING, EARLY]),
        ([RINGING, EARLY], [EARLY]),
        ([GONE, WAITING], [WAITING]),
        ([RINGING], []),
        ([LOCAL], []),
    ],
    ids=[
        *("joins", "joined", "transfer", "menu", "menu-early", "early", "one-left", "ringing"),
        "local",
    ],
)
def test_the_audible_legs(legs: list[LegRecord], captured: list[LegRecord]) -> None:
    """Legs that joined or have early media can be heard; before any talk, legs that are up."""
    assert list(audible_legs(call(*legs))) == captured


@pytest.mark.parametrize(
    ("legs", "talked"),
    [
        ([], False),
        ([JOINED], False),
        ([JOINED, WAITING], False),
        ([JOINED, GONE], True),
        ([JOINED, leg("d")], True),
        ([JOINED, LOCAL], False),
    ],
    ids=["nobody", "alone", "waiting", "left", "two", "local"],
)
def test_a_call_has_talked_once_two_have_joined(legs: list[LegRecord], talked: bool) -> None:
    """It counts as talk after one of two has left, and where people of another call were heard."""
    assert have_talked(call(*legs)) is talked
    assert have_talked(replace(call(*legs), talked_at=ZERO))


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
