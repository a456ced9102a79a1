"""Key sequences that agents press during a call, as the words they spell. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# Asterisk's own features wait as long between two digits, where nobody says otherwise.
NEXT_WITHIN = timedelta(seconds=2)


@dataclass
class KeySequences:
    """What has been pressed on each channel, held against sequences such as `*1`.

    `meanings` maps a sequence to what it means.
    """

    meanings: Mapping[str, str]
    _pressed: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def press(self, channel_id: str, digit: str, at: datetime) -> str | None:
        """What the sequence that this digit completes means; None while none is complete."""
        recent = {id_: one for id_, one in self._pressed.items() if at - one[1] <= NEXT_WITHIN}
        before, _ = recent.pop(channel_id, ("", at))
        self._pressed = recent
        for pressed in _endings(before + digit):
            if pressed in self.meanings:
                return self.meanings[pressed]
            if any(sequence.startswith(pressed) for sequence in self.meanings):
                self._pressed[channel_id] = (pressed, at)
                return None
        return None


def _endings(pressed: str) -> list[str]:
    """The longest first: `**1` ends in `*1`."""
    return [pressed[start:] for start in range(len(pressed))]
