"""What happened to a call, in the order in which it did. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from storage.records import CallRecord

What = Literal["rings", "answered", "joins", "leaves", "ended"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened; `who` is a party's number or name, "" for the call itself."""

    at: datetime
    what: What
    who: str = ""
    party: str = ""


def journey_of(call: CallRecord) -> tuple[Step, ...]:
    """The way of the call through ringing, answer, and those who joined and left."""
    return tuple(sorted(_steps(call), key=lambda step: step.at))


def _steps(call: CallRecord) -> Iterator[Step]:
    yield Step(call.started_at, "rings")
    if call.answered_at is not None:
        yield Step(call.answered_at, "answered")
    for channel in call.channels:
        who = channel.get("caller_name") or channel.get("number") or ""
        party = channel.get("party") or ""
        if party and channel.get("joined_at"):
            yield Step(datetime.fromisoformat(channel["joined_at"]), "joins", who, party)
            if channel.get("left_at"):
                yield Step(datetime.fromisoformat(channel["left_at"]), "leaves", who, party)
    if call.ended_at is not None:
        yield Step(call.ended_at, "ended")
