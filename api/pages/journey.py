"""List the steps of a call in their order. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recorder.calls.legs import legs_of
from storage.records import CallRecord, LegRecord

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
    return tuple(sorted(_steps(call), key=lambda step: step.at))


def _steps(call: CallRecord) -> Iterator[Step]:
    yield Step(call.started_at, "rings")
    if call.answered_at is not None:
        yield Step(call.answered_at, "answered")
    for leg in legs_of(call):
        if leg.party and leg.joined_at is not None:
            yield from _steps_of(leg, leg.joined_at)
    if call.ended_at is not None:
        yield Step(call.ended_at, "ended")


def _steps_of(leg: LegRecord, joined_at: datetime) -> Iterator[Step]:
    who, party = leg.caller_name or leg.number or "", leg.party or ""
    yield Step(joined_at, "joins", who, party)
    for begun, ended in leg.holds:
        yield Step(begun, "holds", who, party)
        if ended is not None:
            yield Step(ended, "unholds", who, party)
    if leg.transferred_at is not None:
        yield Step(leg.transferred_at, "transfers", who, party, leg.transferred_to)
    if leg.left_at is not None:
        yield Step(leg.left_at, "leaves", who, party)
