"""A number outside, to which a supervisor's phone may lead, and proofs that it hears nothing."""

import time
from typing import Any

from lab.ears import level_dbfs, read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ, Leg
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import ABSENT_DBFS
from tests.pbx.watching import Spy, Watched, watch
from tests.service import Service

OUTSIDE = "12025550199"
A1, C = AGENT_HZ["2001"], CUSTOMER_HZ
RINGS_S = 4.0


def begin(service: Service, world: World, supervisors: int) -> tuple[Watched, Spy]:
    """Let 9001, and 9002 as the second supervisor, listen to a call."""
    watched = watch(service, world)
    spy = watched.spy("listen")
    if supervisors == 2:
        watched.spy("listen", "9002")
    watched.part("listen", 0.5)
    return watched, spy


def dials_outside(world: World) -> bool:
    """Return whether the number outside is called now."""
    legs = [one["channelvars"]["LAB_PARTY"] for one in world.far.channels()]
    return legs.count(OUTSIDE) > 0


def assert_heard_nothing(leg: Leg) -> None:
    """Assert that this leg is over, and heard neither the customer nor the agent."""
    leg.await_down()
    rate, (samples,) = read_audio(leg.heard())
    for hz in (C, A1):
        level = level_dbfs(samples, rate, hz)
        assert level < ABSENT_DBFS, f"{leg.party} hears {hz} Hz at {level:.0f} dBFS"


def assert_expelled(watched: Watched, spy: Spy) -> None:
    """Assert that the spy ended with an entry in the audit trail, and that its call goes on."""
    assert spy.await_end()["cause"] == "transferred"
    entries = watched.service.get("/audit", action="spy.transfer", subject=spy.id)["items"]
    assert [(one["actor"], one["outcome"]) for one in entries] == [("test", "refused")]
    until(lambda: not dials_outside(watched.world))
    calls: list[dict[str, Any]] = watched.service.get("/calls")["items"]
    assert [one["id"] for one in calls] == [watched.call_id]
    assert watched.call.is_up()


def try_blind_transfer(watched: Watched, spy: Spy) -> None:
    """Send a blind REFER from the listening phone; assert that the number never rings."""
    world = watched.world
    world.far.behave(OUTSIDE, "answer", RINGS_S, None)
    spy.leg.refer(OUTSIDE)
    for _ in range(10):
        assert not dials_outside(world)
        time.sleep(0.1)
    assert spy.get()["state"] == "live"


def transfer_attended(watched: Watched, spy: Spy) -> Leg:
    """Call the number from the listening phone, then join both calls; return the number's leg."""
    world = watched.world
    world.far.behave(OUTSIDE, "answer", 0.1, None)
    asking = world.far.place(OUTSIDE, "9001", "9001")
    outside = world.far.await_leg(OUTSIDE)
    asking.await_up()
    time.sleep(0.5)
    spy.leg.refer(OUTSIDE, replaces=asking)
    return outside
