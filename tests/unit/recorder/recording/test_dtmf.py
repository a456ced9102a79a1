"""The key sequences of agents."""

from datetime import timedelta

import pytest

from recorder.recording.dtmf import KeySequences
from tests.legs import ZERO

MEANINGS = {"*1": "toggle", "*2": "pause", "77": "other"}


@pytest.mark.parametrize(
    ("pressed", "meant"),
    [
        ("*1", ["toggle"]),
        ("*2", ["pause"]),
        ("**1", ["toggle"]),
        ("*3*1", ["toggle"]),
        ("1", []),
        ("5*14*2", ["toggle", "pause"]),
        ("777", ["other"]),
        ("*1*1", ["toggle", "toggle"]),
        ("#", []),
    ],
)
def test_the_meaning_of_keys(pressed: str, meant: list[str]) -> None:
    """A sequence counts after any other digits, and each digit counts once."""
    keys = KeySequences(MEANINGS)
    answers = [keys.press("a", digit, ZERO) for digit in pressed]
    assert [answer for answer in answers if answer] == meant


def test_channels_do_not_share_digits() -> None:
    """A digit of one party never completes the sequence of another party."""
    keys = KeySequences(MEANINGS)
    assert keys.press("a", "*", ZERO) is None
    assert keys.press("b", "1", ZERO) is None
    assert keys.press("a", "1", ZERO) == "toggle"


@pytest.mark.parametrize(
    ("after_s", "meant"), [(0, "toggle"), (1.9, "toggle"), (2, "toggle"), (2.1, None)]
)
def test_the_time_between_two_digits(after_s: float, meant: str | None) -> None:
    """The next digit of a sequence counts for two seconds."""
    keys = KeySequences(MEANINGS)
    keys.press("a", "*", ZERO)
    assert keys.press("a", "1", ZERO + timedelta(seconds=after_s)) == meant


def test_the_time_counts_from_the_last_digit() -> None:
    """Each digit of a longer sequence starts the two seconds again."""
    keys = KeySequences({"*12": "toggle"})
    keys.press("a", "*", ZERO)
    keys.press("a", "1", ZERO + timedelta(seconds=1.5))
    assert keys.press("a", "2", ZERO + timedelta(seconds=3)) == "toggle"


def test_late_digits_are_forgotten() -> None:
    """Digits without a next digit in time are forgotten on all channels."""
    keys, late = KeySequences(MEANINGS), ZERO + timedelta(seconds=2.1)
    keys.press("a", "*", ZERO)
    keys.press("b", "*", ZERO)
    assert keys.press("a", "1", late) is None
    assert keys == KeySequences(MEANINGS)
