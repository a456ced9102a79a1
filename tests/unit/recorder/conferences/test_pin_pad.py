"""The PIN of a conference, as keys come in."""

from hypothesis import given
from hypothesis import strategies as st

from recorder.conferences.pin_pad import PinPad


def press(pad: PinPad, keys: str) -> list[str]:
    """Press keys and return the answers."""
    return [pad.press(key) for key in keys]


def test_the_last_digit_or_the_hash_ends_a_pin() -> None:
    """Both are common on telephones."""
    assert press(PinPad("1234"), "1234") == ["more", "more", "more", "right"]
    assert press(PinPad("1234"), "12#") == ["more", "more", "wrong"]


def test_there_are_three_tries() -> None:
    """The third wrong PIN is the last, and a right one before it enters."""
    assert press(PinPad("12"), "99981") == ["more", "wrong", "more", "wrong", "more"]
    assert press(PinPad("12"), "99" * 3)[-1] == "over"
    assert press(PinPad("12"), "999812")[-1] == "right"


def test_silence_is_a_wrong_pin() -> None:
    """A caller who presses nothing does not wait for ever."""
    pad = PinPad("12")
    assert [pad.end(), pad.end(), pad.end()] == ["wrong", "wrong", "over"]


@given(st.text("0123456789*#", max_size=30))
def test_only_the_pin_enters(keys: str) -> None:
    """Whatever is pressed, nobody enters without the digits of the PIN one after the other."""
    if "right" in press(PinPad("4711"), keys):
        assert "4711" in keys
