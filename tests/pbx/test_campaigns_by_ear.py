"""A campaign of 200 numbers and ten agents, while the PBX is slow.

At no moment the far end sees more legs of customers than legs of agents that are up: each number is
dialled for an agent who has answered already.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lab.pbx import AGENTS
from lab.waiting import until
from lab.world import World
from recorder.background import running_in_background
from tests.service import Service

pytestmark = pytest.mark.pbx

# How the far end behaves by the first seven digits, and how many numbers of each there are.
ANSWERED, BUSY, ABSENT, UNKNOWN = "556", "557", "558", "559"
COUNTS = {ANSWERED: 110, BUSY: 45, ABSENT: 25, UNKNOWN: 10}
LISTED = 5
NIGHT = [f"+8133224{1000 + one}" for one in range(5)]
ENDS = {ANSWERED: "ended", BUSY: "busy", ABSENT: "no-answer", UNKNOWN: "wrong-number"}
PULSES = 12


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that may dial at any hour."""
    return start_service(dialling={"ring_s": 10})


def area_in_the_day() -> tuple[str, int]:
    """Return an area code where it is no later than nine in the evening, and the hour there."""
    zones = (ZoneInfo(f"America/{city}") for city in ("New_York", "Los_Angeles"))
    east, west = (datetime.now(zone).hour for zone in zones)
    return ("202", east) if east <= 20 else ("213", west)


class Watcher:
    """Lists the legs at the far end, as often as it can, and finds customers without an agent.

    The list is not of one moment: while it is made, legs end. So a customer counts who is in two
    lists, and an agent who is up in one of these two.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.looks = 0
        self.most = 0
        self.faults: list[tuple[set[str], set[str]]] = []

    def run(self, over: threading.Event) -> None:
        """Look until the event is set."""
        before: tuple[set[str], set[str]] = (set(), set())
        while not over.wait(0.02):
            with suppress(OSError):  # the machine is too busy to answer
                now = self._look()
                customers, agents = now[0] & before[0], now[1] | before[1]
                self.looks += 1
                self.most = max(self.most, len(customers))
                if len(customers) > len(agents):
                    self.faults.append((customers, agents))
                before = now

    def _look(self) -> tuple[set[str], set[str]]:
        """Return the legs of customers, and the legs of agents that are up."""
        customers: set[str] = set()
        agents: set[str] = set()
        for channel in self._world.far.channels():
            party = channel["channelvars"]["LAB_PARTY"]
            if party not in AGENTS:
                customers |= {channel["id"]} if party else set()
            elif channel["state"] == "Up":
                agents.add(channel["id"])
        return customers, agents


def slow(world: World) -> AbstractContextManager[None]:
    """Freeze the PBX again and again for the first part of the block."""

    def pulse(over: threading.Event) -> None:
        for _ in range(PULSES):
            pid = world.pbx.pid
            if over.wait(0.6) or pid is None:
                return
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.4)
            os.kill(pid, signal.SIGCONT)

    return running_in_background(pulse, "slow")


def test_a_campaign_of_200_numbers(service: Service, world: World) -> None:
    """Every number has the right end; hours and list are kept, and nobody waits for an agent."""
    area, hour = area_in_the_day()
    for exchange, manner in ((BUSY, "busy"), (ABSENT, "absent"), (UNKNOWN, "unallocated")):
        world.far.behave_all(f"1{area}{exchange}", manner)
    world.far.behave_all(f"1{area}{ANSWERED}", "answer", stay_s=0.3)
    for agent in AGENTS:
        world.far.behave(agent, "answer", 0.1, None)
    numbers = {
        f"+1{area}{exchange}{1000 + one}": ENDS[exchange]
        for one in range(max(COUNTS.values()))
        for exchange, count in COUNTS.items()
        if one < count
    }
    listed = [f"+1{area}{ANSWERED}{2000 + one}" for one in range(LISTED)]
    for number in listed:
        assert service.post("/do-not-call", {"number": number, "reason": "asked"}).ok
    campaign = create(service, hour)
    path = f"/campaigns/{campaign['id']}"
    told = send_list(service, path, [*listed, *NIGHT, *numbers])
    assert (told["lines"], told["refused"]) == (200, 0)
    for agent in AGENTS:
        assert service.put(f"{path}/agents/{agent}", {"ready": True}).ok
    watcher = Watcher(world)
    with running_in_background(watcher.run, "watcher", join_s=30.0):
        assert service.post(f"{path}/start", {}).ok
        with slow(world):
            until(lambda: left(service, path) == len(NIGHT), 240)
    entries = list_entries(service, path)
    assert {one["number"]: one["cause"] for one in entries if one["number"] in numbers} == numbers
    for one in entries:
        expected = "done" if one["cause"] == "ended" else "exhausted"
        if one["number"] in numbers:
            assert (one["state"], one["attempts"]) == (expected, 1), one
    by_number = {one["number"]: one for one in entries}
    assert {by_number[one]["cause"] for one in listed} == {"do-not-call"}
    assert {by_number[one]["state"] for one in NIGHT} == {"waiting"}
    assert {by_number[one]["attempts"] for one in (*NIGHT, *listed)} == {0}
    assert watcher.faults == []
    assert watcher.looks > 50
    assert watcher.most > 1, "several agents talk at once"
    assert service.post(f"{path}/stop", {}).json()["state"] == "stopped"
    results = service.request("GET", f"{path}/results.csv").text.splitlines()
    assert len(results) == 201
    assert "do_not_call_checked_at" in next(one for one in results if ",busy," in one)


def test_the_members_of_a_queue_are_its_agents(service: Service, world: World) -> None:
    """A campaign of a queue dials with the phones that are members of the queue."""
    area, hour = area_in_the_day()
    world.far.behave_all(f"1{area}{ANSWERED}", "answer", stay_s=0.3)
    campaign = create(service, hour, agents=[], queue="support")
    path = f"/campaigns/{campaign['id']}"
    send_list(service, path, [f"+1{area}{ANSWERED}3000"])
    assert service.post(f"{path}/start", {}).ok
    until(lambda: service.get(path)["state"] == "done", 30)
    assert {one["phone"] for one in service.get(path)["agents"]} == {"PJSIP/2001", "PJSIP/2002"}
    assert [one["cause"] for one in list_entries(service, path)] == ["ended"]


def create(service: Service, hour: int, **more: Any) -> Any:
    """Create a campaign within three hours of the numbers' day, which are night in Tokyo."""
    hours = {"from_hour": hour, "to_hour": hour + 3, "weekdays": [1, 2, 3, 4, 5, 6, 7]}
    wanted = {
        "name": "two hundred",
        "mode": "progressive",
        "agents": [f"PJSIP/{agent}" for agent in AGENTS],
        "hours": hours,
        "retry_after_s": [],
        "wrap_up_s": 0,
        **more,
    }
    answer = service.post("/campaigns", wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


def send_list(service: Service, path: str, numbers: list[str]) -> Any:
    """Send the list as CSV, and return the answer."""
    lines = "".join(f"{number},consent of {number}\n" for number in numbers)
    answer = service.put_csv(f"{path}/entries", f"number,consent\n{lines}")
    assert answer.ok, answer.text
    return answer.json()


def left(service: Service, path: str) -> int:
    """Return how many entries have no end yet."""
    states = service.get(f"{path}/progress")["states"]
    return sum(states.get(one, 0) for one in ("waiting", "reserved", "dialling"))


def list_entries(service: Service, path: str) -> list[dict[str, Any]]:
    """Return every entry."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        part = service.get(f"{path}/entries", limit=200, **cursor)
        found += part["items"]
        if part["next_cursor"] is None:
            return found
        cursor = {"cursor": part["next_cursor"]}
