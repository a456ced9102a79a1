"""List the steps of a call in their order. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recorder.calls.legs import legs_of
from storage.records import CallRecord

What = Literal["rings", "answered", "joins", "holds", "unholds", "transfers", "leaves", "ended"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `who` is a party's number or name, "" for the call itself.

    `to` is the target of a transfer.
    """

    at: datetime
    what: What
    who: str = ""
    party: str = ""
    to: str = ""


def journey_of(call: CallRecord) -> tuple[Step, ...]:
    """Return the steps of the call: ringing, answer, joins, holds, transfers, ends."""
    steps = [Step(call.started_at, "rings")]
    if call.answered_at is not None:
        steps.append(Step(call.answered_at, "answered"))
    for leg in legs_of(call):
        if not leg.party or leg.joined_at is None:
            continue
        who, party = leg.caller_name or leg.number or "", leg.party
        steps.append(Step(leg.joined_at, "joins", who, party))
        for held_at, resumed_at in leg.holds:
            steps.append(Step(held_at, "holds", who, party))
            if resumed_at is not None:
                steps.append(Step(resumed_at, "unholds", who, party))
        if leg.transferred_at is not None:
            steps.append(Step(leg.transferred_at, "transfers", who, party, leg.transferred_to))
        if leg.left_at is not None:
            steps.append(Step(leg.left_at, "leaves", who, party))
    if call.ended_at is not None:
        steps.append(Step(call.ended_at, "ended"))
    return tuple(sorted(steps, key=lambda step: step.at))
