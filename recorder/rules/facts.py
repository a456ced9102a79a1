"""The facts of a call that rules read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from recorder.calls.legs import has_media, have_talked, legs_of
from storage.records import CallRecord, DecisionRecord

# Names that a rule may use: a channel variable, a SIP header, a sound of the PBX.
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,79}$"
HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}$"
SOUND = r"^(sound|recording):[A-Za-z0-9_./-]{1,190}$"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a call at one moment; an unknown text is "".

    `at` is the moment, an aware datetime; `answered` is true once two people have talked, `media`
    once people can be heard before the answer.
    """

    at: datetime
    answered: bool = False
    media: bool = False
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
        """Return the hour (0 to 23) and the ISO weekday (1 is Monday) in a time zone."""
        there = self.at.astimezone(ZoneInfo(timezone))
        return there.hour, there.isoweekday()


def facts_of(call: CallRecord, at: datetime) -> Facts:
    """Return the facts that the call's record holds: all but team, variables and headers."""
    first = next(iter(legs_of(call)), None)
    until = call.ended_at or at
    return Facts(
        at=at,
        answered=have_talked(call),
        media=has_media(call),
        direction=call.direction,
        caller=call.caller_number or "",
        callee=call.callee_number or "",
        did=call.did or "",
        queue=call.queue or "",
        agent=call.agent or "",
        pbx=call.pbx,
        context=first.context if first is not None else "",
        duration_s=int((until - call.started_at).total_seconds()),
    )


def time_of(moment: Mapping[str, Any]) -> datetime:
    """Return when the facts of a moment became true, by the PBX's clock where it is known."""
    return datetime.fromisoformat(moment.get("since") or moment["at"])


def past_facts(call: CallRecord, decision: DecisionRecord | None) -> tuple[Facts, ...]:
    """Return the facts of each past evaluation of a call, oldest first.

    A call without any evaluation has one entry: its facts when it was answered. An older evaluation
    lacks the newest facts.
    """
    moments = decision.moments if decision is not None else ()
    if not moments:
        return (facts_of(call, call.answered_at or call.started_at),)
    return tuple(_parse_facts(moment) for moment in moments)


def _parse_facts(moment: Mapping[str, Any]) -> Facts:
    given = {name: value for name, value in moment["facts"].items() if name in _NAMES}
    return Facts(**{**given, "at": datetime.fromisoformat(moment["at"])})


_NAMES = frozenset(one.name for one in fields(Facts))
