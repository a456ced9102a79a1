"""Supervisors' phones that lead out of the house, by ear: nobody outside hears a word."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from lab.ears import level_dbfs, read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ, Leg
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import ABSENT_DBFS
from tests.pbx.watching import Spy, Watched, parts_left, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

OUTSIDE = "12025550199"
A1, C = AGENT_HZ["2001"], CUSTOMER_HZ
RINGS_S = 4.0


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


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


@pytest.mark.parametrize("supervisors", [1, 2])
def test_a_blind_transfer_is_refused(service: Service, world: World, supervisors: int) -> None:
    """Asterisk refuses the REFER of a listening phone: the number never rings, the spy goes on."""
    watched, spy = begin(service, world, supervisors)
    world.far.behave(OUTSIDE, "answer", RINGS_S, None)
    spy.leg.refer(OUTSIDE)
    for _ in range(10):
        assert not dials_outside(world)
        time.sleep(0.1)
    assert spy.get()["state"] == "live"
    watched.part("after", 1.0)
    watched.hang_up()
    watched.assert_hears(spy.leg, "after", C, A1)
    until(lambda: not parts_left(world))


@pytest.mark.parametrize("supervisors", [1, 2])
def test_a_blind_transfer_that_the_pbx_allows(
    service: Service, world: World, supervisors: int
) -> None:
    """Where the PBX dials the number all the same, it is hung up while it rings."""
    watched, spy = begin(service, world, supervisors)
    path = f"/channels/earwitness-phone-{spy.id}/variable"
    world.pbx.ari("POST", path, variable="TRANSFER_CONTEXT", value="agents")
    world.far.behave(OUTSIDE, "answer", RINGS_S, None)
    spy.leg.refer(OUTSIDE)
    assert_expelled(watched, spy)
    time.sleep(RINGS_S)
    assert not dials_outside(world)
    watched.hang_up()
    until(lambda: not parts_left(world))


@pytest.mark.parametrize("supervisors", [1, 2])
def test_an_attended_transfer(service: Service, world: World, supervisors: int) -> None:
    """A second call of the phone is not joined with the call spied on: both its legs end."""
    watched, spy = begin(service, world, supervisors)
    world.far.behave(OUTSIDE, "answer", 0.1, None)
    asking = world.far.place(OUTSIDE, "9001", "9001")
    outside = world.far.await_leg(OUTSIDE)
    asking.await_up()
    time.sleep(0.5)
    spy.leg.refer(OUTSIDE, replaces=asking)
    assert_expelled(watched, spy)
    assert_heard_nothing(outside)
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_phone_that_forwards(service: Service, world: World) -> None:
    """A phone that answers 302 with a number outside is not followed there."""
    watched = watch(service, world)
    world.far.behave(OUTSIDE, "answer", 0.1, None)
    with world.phone("9001", "forward"):
        world.far.forward("9001", OUTSIDE)
        spy = watched.ask("listen")
        ended = watched.await_state(spy["id"], "ended")
    assert ended["live_at"] is None
    for _ in range(5):
        assert not dials_outside(world)
        time.sleep(0.1)
    assert [one["id"] for one in service.get("/calls")["items"]] == [watched.call_id]
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_destinations(service: Service, world: World) -> None:
    """Only a phone that the PBX knows is rung: no trunk, in no spelling of its name."""
    watched = watch(service, world)
    for destination in (
        "PJSIP/trunk",
        f"PJSIP/{OUTSIDE}@trunk",
        f"PJSIP/{OUTSIDE}@tr\\unk",
        f'PJSIP/{OUTSIDE}@tr"unk',
        "PJSIP/9001/sip:me@127.0.0.1",
        f"Local/{OUTSIDE}@agents",
        "SIP/9001",
        "IAX2/9001",
    ):
        body = {"mode": "listen", "destination": destination}
        answer = service.post(f"/calls/{watched.call_id}/spies", body)
        assert (answer.status_code, answer.json()["error_id"]) == (422, "bad-destination")
    for phone in ("2001", "trunk-"):
        body = {"mode": "listen", "destination": f"pjsip/{phone}"}
        answer = service.post(f"/calls/{watched.call_id}/spies", body)
        expected = (409, "phone-in-call") if phone == "2001" else (422, "bad-destination")
        assert (answer.status_code, answer.json()["error_id"]) == expected
    assert watched.ask("listen", "9999")["cause"] == "no-such-destination"
    spy = service.post(
        f"/calls/{watched.call_id}/spies", {"mode": "listen", "destination": "pjsip/9001"}
    ).json()
    assert spy["destination"] == "PJSIP/9001"
    watched.await_state(spy["id"], "live")
    watched.hang_up()
    until(lambda: not parts_left(world))
