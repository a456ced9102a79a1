"""The keys that a caller presses for the PIN of a conference. Pure."""

from dataclasses import dataclass
from typing import Literal

TRIES = 3
END_KEY = "#"

PinAnswer = Literal["more", "right", "wrong", "over"]


@dataclass(slots=True)
class PinPad:
    """Collects the digits of one caller: `#` ends a PIN, and so does its last digit.

    Example: with the PIN 1234 the keys 1, 2, 3, 4 answer `more` three times, then `right`.
    """

    pin: str
    tries: int = TRIES
    typed: str = ""

    def press(self, digit: str) -> PinAnswer:
        """Add a key; return `over` after the last wrong PIN."""
        if digit != END_KEY:
            self.typed += digit
            if len(self.typed) < len(self.pin):
                return "more"
        return self.end()

    def end(self) -> PinAnswer:
        """Compare the digits that were typed, for example after a time without any."""
        typed, self.typed = self.typed, ""
        if typed == self.pin:
            return "right"
        self.tries -= 1
        return "wrong" if self.tries else "over"
