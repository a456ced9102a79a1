"""Key sequences that agents press during a call. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# The longest time between two digits of a sequence: the default of Asterisk's own features.
NEXT_WITHIN = timedelta(seconds=2)


@dataclass
class KeySequences:
    """The digits that each channel has pressed, compared with the configured sequences.

    `meanings` maps a sequence to its meaning. Example: `KeySequences({"*1": "toggle"})`.
    """

    meanings: Mapping[str, str]
    _pressed: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def press(self, channel_id: str, digit: str, at: datetime) -> str | None:
        """Return the meaning of the sequence that this digit completes, or None.

        A sequence may follow other digits: `**1` completes `*1`. Digits that came too early for a
        next digit are forgotten on all channels.
        """
        recent = {id_: one for id_, one in self._pressed.items() if at - one[1] <= NEXT_WITHIN}
        before, _ = recent.pop(channel_id, ("", at))
        self._pressed = recent
        pressed = before + digit
        for ending in (pressed[start:] for start in range(len(pressed))):
            if ending in self.meanings:
                return self.meanings[ending]
            if any(sequence.startswith(ending) for sequence in self.meanings):
                self._pressed[channel_id] = (ending, at)
                return None
        return None
