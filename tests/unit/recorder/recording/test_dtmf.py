"""The keys that agents press, as words."""

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
def test_what_is_meant(pressed: str, meant: list[str]) -> None:
    """A sequence counts wherever it stands, and its digits serve once."""
    keys = KeySequences(MEANINGS)
    answers = [keys.press("a", digit, ZERO) for digit in pressed]
    assert [answer for answer in answers if answer] == meant


def test_channels_are_told_apart() -> None:
    """What one party begins another does not complete."""
    keys = KeySequences(MEANINGS)
    assert keys.press("a", "*", ZERO) is None
    assert keys.press("b", "1", ZERO) is None
    assert keys.press("a", "1", ZERO) == "toggle"


def test_late_digits() -> None:
    """A digit that comes too late begins anew; what was too late for all is not kept."""
    keys, late = KeySequences(MEANINGS), ZERO + timedelta(seconds=2.1)
    keys.press("a", "*", ZERO)
    keys.press("b", "*", ZERO)
    assert keys.press("a", "1", late) is None
    assert keys == KeySequences(MEANINGS)
