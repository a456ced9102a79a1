"""Plan the next attempt of a call-back, or its end. Pure.

    due ──▶ the agent's phone rings ──▶ the number rings ──▶ two people talk: done
                 │ busy, no answer            │ busy, no answer, …
                 ▼                            ▼
         soon again, for a day        after the next wait of the plan, then failed

An attempt is used up when the number was dialled, or when a person has cancelled the dial. An agent
who is busy costs the customer none.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from recorder.dialling.hours import next_open
from storage.records import CallbackRecord, CallbackState, DialRecord

# The agent's phone, or the customer, is in another call: look again after this time.
AGAIN_AFTER = timedelta(seconds=60)
# A call-back whose agent is never free fails at last.
GIVE_UP_AFTER = timedelta(days=1)
# Another attempt would end alike.
FINAL = frozenset({"wrong-number", "not-permitted"})
# These causes, without an answer of the agent, came before the number was dialled.
BEFORE_THE_NUMBER = ("agent-", "pbx-", "not-")
NEVER_OPEN = "no-open-hours"
OUTSIDE_HOURS = "outside-hours"


@dataclass(frozen=True, slots=True)
class Wait:
    """The call-back waits until `next_at` for an attempt that is due since `due_at`."""

    next_at: datetime
    due_at: datetime
    attempts: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class End:
    """The call-back ends in this state, for this cause."""

    state: CallbackState
    cause: str | None = None
    attempts: int | None = None


def plan_at(
    record: CallbackRecord, zones: Collection[str], at: datetime, *, cause: str | None = None
) -> Wait | End:
    """Plan the next attempt at this time, or at the next open time after it.

    Outside the hours the cause becomes `outside-hours`, unless there is one.
    """
    opens_at = next_open(record.hours, zones, at)
    if opens_at is None:
        return End("failed", NEVER_OPEN)
    if opens_at > at and cause is None:
        cause = OUTSIDE_HOURS
    return Wait(opens_at, opens_at, record.attempts, cause)


def plan_again(
    record: CallbackRecord, zones: Collection[str], now: datetime, cause: str
) -> Wait | End:
    """Plan the same attempt again in a short while, because somebody was not free.

    After a day it fails with this cause.
    """
    due_at = record.due_at or record.at
    if now - due_at >= GIVE_UP_AFTER:
        return End("failed", cause)
    opens_at = next_open(record.hours, zones, now + AGAIN_AFTER)
    if opens_at is None:
        return End("failed", NEVER_OPEN)
    return Wait(opens_at, due_at, record.attempts, cause)


def plan_after(
    record: CallbackRecord, dial: DialRecord, zones: Collection[str], now: datetime
) -> Wait | End:
    """Plan what follows this dial, which has ended."""
    if dial.talked_at is not None or dial.cause == "ended":  # a person may hang up at once
        return End("done", attempts=record.attempts + 1)
    cause, is_used = str(dial.cause), _is_used_up(dial)
    used = record.attempts + is_used
    if cause in FINAL or used > len(record.retry_after_s):
        return End("failed", cause, attempts=used)
    if not is_used:
        return plan_again(record, zones, now, cause)
    wait = timedelta(seconds=record.retry_after_s[used - 1])
    opens_at = next_open(record.hours, zones, now + wait)
    if opens_at is None:
        return End("failed", NEVER_OPEN, attempts=used)
    return Wait(opens_at, opens_at, used, cause)


def _is_used_up(dial: DialRecord) -> bool:
    """Whether the number was dialled, or a person has cancelled the dial."""
    return dial.answered_at is not None or not str(dial.cause).startswith(BEFORE_THE_NUMBER)
