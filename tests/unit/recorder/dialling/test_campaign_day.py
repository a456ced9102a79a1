"""A day of a campaign: 500 agents, a million numbers, and a far end that does as it likes."""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID
from zoneinfo import ZoneInfo

from recorder.dialling.campaign_plan import (
    Reservation,
    WaitingEntry,
    count_attempt,
    most_attempts,
    plan_campaign,
)
from storage.records import CampaignRecord, DialCause, DialRecord, Hours

START = datetime(2026, 11, 30, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(seconds=1)
AGENTS = 500
NUMBERS = 1_000_000
FIRST = 12_000_000_000
ZONES: tuple[tuple[str, ...], ...] = (
    ("Europe/Berlin",),
    ("Europe/London",),
    ("America/New_York",),
    ("America/Chicago",),
    ("America/Los_Angeles",),
    ("America/New_York", "America/Chicago"),
    ("Asia/Tokyo",),
    ("Asia/Kolkata",),
    ("Australia/Sydney",),
    ("Europe/Moscow", "Asia/Vladivostok"),
)
CAMPAIGN = CampaignRecord(
    id=UUID(int=1),
    name="a day",
    pbx="main",
    mode="progressive",
    state="running",
    hours=Hours(8, 20),
    retry_after_s=(900, 3600),
    created_at=START,
    created_by="root",
    wrap_up_s=15,
)
# Of 100 attempts so many end like this, and they last so many seconds.
FAR_END: tuple[tuple[int, DialCause, int, int], ...] = (
    (40, "ended", 60, 900),
    (35, "no-answer", 20, 40),
    (13, "busy", 3, 6),
    (5, "wrong-number", 2, 4),
    (3, "declined", 4, 20),
    (2, "cancelled", 4, 20),
    (2, "agent-no-answer", 30, 30),
)
ENDS = [one for one in FAR_END for _ in range(one[0])]


class Group:
    """The waiting entries of some zones: a sorted list, and a heap of those that were dialled."""

    def __init__(self) -> None:
        self.fresh: list[WaitingEntry] = []
        self.again: list[tuple[datetime, int, WaitingEntry]] = []
        self.read: list[WaitingEntry] = []

    def entries(self) -> Iterator[WaitingEntry]:
        """Take entries out by their times, as far as the planner reads."""
        while self.fresh or self.again:
            is_new = not self.again or (self.fresh and self.fresh[-1].next_at < self.again[0][0])
            self.read.append(self.fresh.pop() if is_new else heapq.heappop(self.again)[2])
            yield self.read[-1]

    def put_back(self, used: set[UUID]) -> None:
        """Put back the entries that the planner has read and not used."""
        for entry in self.read:
            if entry.id not in used:
                self.add(entry)
        self.read.clear()

    def add(self, entry: WaitingEntry) -> None:
        """Add an entry that was read or dialled before."""
        heapq.heappush(self.again, (entry.next_at, entry.place, entry))


class Day:
    """A day of the campaign; it checks every reservation against the rules, by means of its own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.groups = {zones: Group() for zones in ZONES}
        for place in reversed(range(NUMBERS)):
            zones = ZONES[place % len(ZONES)]
            entry = WaitingEntry(UUID(int=place), place, f"+{FIRST + place}", zones, START)
            self.groups[zones].fresh.append(entry)
        self.listed = {f"+{FIRST + self.random.randrange(50_000)}" for _ in range(5_000)}
        self.ready = [str(2000 + one) for one in range(AGENTS)]
        self.calls: list[tuple[datetime, int, Reservation, DialRecord]] = []
        self.resting: list[tuple[datetime, str]] = []
        self.dialled: Counter[str] = Counter()
        self.results: Counter[str] = Counter()
        self.in_calls: set[str] = set()
        self.live: set[str] = set()

    def run(self) -> None:
        """Plan and dial until the day is over; then let the last calls end."""
        now = START
        while now < START + DAY:
            wakes_at = self.plan(now)
            times = [heap[0][0] for heap in (self.calls, self.resting) if heap]
            times += [wakes_at] if wakes_at is not None else []
            now = max(now + TICK, min(times, default=START + DAY))
            self.end_calls(now)
        self.end_calls(now + DAY)

    def plan(self, now: datetime) -> datetime | None:
        """Plan once, dial the reservations, and return when to look again."""
        groups = [(zones, group.entries()) for zones, group in self.groups.items()]
        planned = plan_campaign(
            now, CAMPAIGN, self.ready, groups, listed=self.listed, live=self.live
        )
        used = {one.entry.id for one in planned.reservations}
        used |= {one.id for one, _ in planned.refusals}
        for group in self.groups.values():
            group.put_back(used)
        for entry, cause in planned.refusals:
            assert cause == ("do-not-call" if entry.number in self.listed else "no-hours")
            self.results[cause] += 1
        for one in planned.reservations:
            self.dial(now, one)
        del self.ready[: len(planned.reservations)]
        return planned.next_at

    def dial(self, now: datetime, one: Reservation) -> None:
        """Check one reservation, and let the far end do as it likes."""
        assert one.agent not in self.in_calls, "one call for each agent"
        assert one.entry.number not in self.listed
        assert all(is_day(zone, now) for zone in one.entry.zones), (one, now)
        _, cause, least_s, most_s = self.random.choice(ENDS)
        ended_at = now + timedelta(seconds=self.random.randint(least_s, most_s))
        has_agent, talks = not cause.startswith("agent-"), cause == "ended"
        dial = DialRecord(
            id=one.entry.id,
            call_id="",
            pbx="main",
            phone=f"PJSIP/{one.agent}",
            number=one.entry.number,
            state="ended",
            created_by="root",
            requested_at=now,
            answered_at=now if has_agent else None,
            talked_at=now if talks else None,
            ended_at=ended_at,
            cause=cause,
        )
        self.in_calls.add(one.agent)
        self.live.add(one.entry.number)
        self.dialled[one.entry.number] += has_agent
        assert self.dialled[one.entry.number] <= most_attempts(CAMPAIGN)
        heapq.heappush(self.calls, (ended_at, one.entry.place, one, dial))
        assert len(self.calls) == len(self.in_calls) <= AGENTS

    def end_calls(self, now: datetime) -> None:
        """Count the calls that have ended, and get the agents back who have rested."""
        while self.calls and self.calls[0][0] <= now:
            ended_at, _, one, dial = heapq.heappop(self.calls)
            counted = count_attempt(CAMPAIGN, one.entry.attempts, dial)
            self.results[counted.state] += 1
            self.in_calls.discard(one.agent)
            self.live.discard(one.entry.number)
            rests_s = 300 if counted.is_away else counted.rests_s
            heapq.heappush(self.resting, (ended_at + timedelta(seconds=rests_s), one.agent))
            if counted.next_at is not None:
                was = one.entry
                again = WaitingEntry(
                    was.id, was.place, was.number, was.zones, counted.next_at, counted.attempts
                )
                self.groups[was.zones].add(again)
        while self.resting and self.resting[0][0] <= now:
            self.ready.append(heapq.heappop(self.resting)[1])


@cache
def _quarter_is_day(zone: str, quarter: int) -> bool:
    local = datetime.fromtimestamp(quarter * 900, ZoneInfo(zone))
    return 8 <= local.hour < 20 and local.isoweekday() <= 6


def is_day(zone: str, at: datetime) -> bool:
    """Whether it is 8 to 20 there, from Monday to Saturday."""
    return _quarter_is_day(zone, int(at.timestamp()) // 900)


def test_a_day_of_500_agents_and_a_million_numbers_keeps_every_rule() -> None:
    """No agent has two calls, no number is dialled at night, too often, twice at once or listed."""
    day = Day(seed=2026)
    day.run()
    assert sum(day.dialled.values()) > 50_000, "the agents were busy all day"
    assert day.results["done"] > 20_000
    assert day.results["do-not-call"] > 0
    assert not day.in_calls
    left = sum(len(one.fresh) + len(one.again) for one in day.groups.values())
    ended = sum(day.results[one] for one in ("done", "exhausted", "do-not-call", "no-hours"))
    assert left + ended == NUMBERS, "every number waits, or has one result"
