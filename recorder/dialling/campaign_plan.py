"""The planner of campaigns: which agent calls which number now, and why that is allowed. Pure.

An agent is reserved before a number is dialled, and the agent's phone rings first. So there are
never more customers than agents who wait for them, and nobody is abandoned.

The waiting entries come in groups, one for each set of time zones, because the hours are the same
for a whole group. Each group is in the order of the times; the planner reads no more of it than it
needs. So its work depends on the number of agents, not on the length of the list.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from recorder.dialling.hours import describe_permission, floor_to_quarter, next_open
from storage.records import CampaignRecord, DialRecord, EntryState

# A number that is in another call of ours now is looked at again after this time.
BUSY_AGAIN = timedelta(seconds=15)
# These results of an attempt are final: the number is wrong, or its owner does not want the call.
FINAL_CAUSES = frozenset({"wrong-number", "declined"})
# An agent whose phone ended a call like this is not at the desk.
AWAY_CAUSES = frozenset({"agent-no-answer", "agent-declined", "agent-unreachable"})
# An agent who was busy rests for so long, and an entry waits so long after a fault of ours.
BUSY_RESTS_S = 15
FAULT_WAIT = timedelta(seconds=60)


class WaitingEntry(NamedTuple):
    """An entry of a campaign that waits for its next attempt; `number` is in E.164."""

    id: UUID
    place: int
    number: str
    zones: tuple[str, ...]
    next_at: datetime
    attempts: int = 0
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """An agent and the entry that the agent calls next; `allowed_by` goes into the dialled call."""

    agent: str
    entry: WaitingEntry
    allowed_by: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The next steps of a campaign. `refusals` are entries that are never dialled, with the cause.

    `next_at` is the time at which to plan again although nobody becomes ready; None if there is
    none.
    """

    reservations: tuple[Reservation, ...]
    refusals: tuple[tuple[WaitingEntry, str], ...]
    next_at: datetime | None


def plan_campaign(
    now: datetime,
    campaign: CampaignRecord,
    ready: Sequence[str],
    groups: Iterable[tuple[tuple[str, ...], Iterable[WaitingEntry]]],
    *,
    listed: Collection[str] = (),
    live: Collection[str] = (),
) -> Plan:
    """Plan the next calls of these ready agents, the first of them first.

    `groups` are the zones of each group, and its entries by `next_at` and `place`. `listed` holds
    the numbers that must not be called, `live` those that are in a call of ours.

    Example: with one ready agent and two due numbers, one of them where it is night, the plan has
    one reservation, and `next_at` is the morning of the other one.
    """
    agents = list(dict.fromkeys(ready))
    reservations: list[Reservation] = []
    refusals: list[tuple[WaitingEntry, str]] = []
    wake_ups: list[datetime] = []
    taken = set(live)
    open_groups = []
    quarter = floor_to_quarter(now)
    for zones, entries in groups:
        opens_at = _next_open(campaign.hours, zones, quarter)
        if opens_at == quarter:
            open_groups.append(iter(entries))
        elif opens_at is not None:
            wake_ups.append(opens_at)
        else:
            refusals += [(entry, "no-hours") for entry in entries]
    for entry in _by_time(open_groups):
        if len(reservations) == len(agents):
            break
        if entry.next_at > now:
            wake_ups.append(entry.next_at)
            break
        cause = refusal_of(entry, campaign, listed)
        if cause is not None:
            refusals.append((entry, cause))
        elif entry.number in taken:
            wake_ups.append(now + BUSY_AGAIN)
        else:
            taken.add(entry.number)
            allowed_by = _describe(now, campaign, entry)
            reservations.append(Reservation(agents[len(reservations)], entry, allowed_by))
    return Plan(tuple(reservations), tuple(refusals), min(wake_ups, default=None))


def refusal_of(
    entry: WaitingEntry, campaign: CampaignRecord, listed: Collection[str]
) -> str | None:
    """Return the cause for which an entry is never dialled (again), or None."""
    if entry.number in listed:
        return "do-not-call"
    return "exhausted" if entry.attempts >= most_attempts(campaign) else None


def most_attempts(campaign: CampaignRecord) -> int:
    """Return how often a number is dialled at most: once, and once after each wait of the plan."""
    return 1 + len(campaign.retry_after_s)


def _describe(now: datetime, campaign: CampaignRecord, entry: WaitingEntry) -> dict[str, Any]:
    waits = campaign.retry_after_s
    why = describe_permission(
        campaign.hours, entry.zones, now, attempts=entry.attempts, waits=waits
    )
    return {**why, "consent": entry.consent}


@dataclass(frozen=True, slots=True)
class Counted:
    """An entry after a dialled call, and its agent: away, or ready again after `rests_s`."""

    state: EntryState
    attempts: int
    next_at: datetime | None
    cause: str
    is_away: bool = False
    rests_s: int = 0


def count_attempt(campaign: CampaignRecord, attempts: int, dial: DialRecord) -> Counted:
    """Return an entry with this number of attempts as it is after an ended dialled call.

    An attempt counts once the number was dialled, which is after the agent's answer. An agent who
    does not answer uses up no attempt, and is away.
    """
    ended_at = dial.ended_at or dial.requested_at
    cause: str = dial.cause or "ended"
    if cause in AWAY_CAUSES:
        return Counted("waiting", attempts, ended_at, cause, is_away=True)
    if cause == "agent-busy":
        return Counted("waiting", attempts, ended_at, cause, rests_s=BUSY_RESTS_S)
    if not _was_dialled(dial):
        return Counted("waiting", attempts, ended_at + FAULT_WAIT, cause, rests_s=BUSY_RESTS_S)
    attempts += 1
    if dial.talked_at is not None or cause == "ended":  # a person may hang up at once
        return Counted("done", attempts, None, cause, rests_s=campaign.wrap_up_s)
    if cause in FINAL_CAUSES or attempts >= most_attempts(campaign):
        return Counted("exhausted", attempts, None, cause)
    wait = timedelta(seconds=campaign.retry_after_s[attempts - 1])
    return Counted("waiting", attempts, ended_at + wait, cause)


def _was_dialled(dial: DialRecord) -> bool:
    """Whether the number may have been dialled; it is safer to count a call too many."""
    if dial.talked_at is not None:
        return True
    if dial.cause in ("not-permitted", "pbx-unreachable"):
        return False
    return dial.answered_at is not None or dial.cause not in ("cancelled", "pbx-lost")


# The hours change on quarter hours alone, so a busy campaign asks the same for minutes.
_next_open = lru_cache(maxsize=4096)(next_open)


def _by_time(groups: Sequence[Iterator[WaitingEntry]]) -> Iterator[WaitingEntry]:
    """Iterate over the entries of all groups by their times, then by their places."""
    return heapq.merge(*groups, key=_time_and_place)


def _time_and_place(entry: WaitingEntry) -> tuple[datetime, int]:
    return entry.next_at, entry.place
