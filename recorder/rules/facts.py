"""A call as a rule sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

# What a rule may name: a channel variable, a SIP header, a sound of the PBX.
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,79}$"
HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}$"
SOUND = r"^(sound|recording):[A-Za-z0-9_./-]{1,190}$"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call at one moment; a text that is not known is "".

    `at` is that moment, an aware datetime; `answered` says whether two people have talked.
    """

    at: datetime
    answered: bool = False
    direction: str = ""
    caller: str = ""
    callee: str = ""
    did: str = ""
    queue: str = ""
    agent: str = ""
    team: str = ""
    pbx: str = ""
    context: str = ""
    duration_s: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def in_zone(self, timezone: str) -> tuple[int, int]:
        """The hour (0 to 23) and the ISO weekday (1 is Monday) there."""
        there = self.at.astimezone(ZoneInfo(timezone))
        return there.hour, there.isoweekday()
