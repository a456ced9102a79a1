"""Supervisors' phones that lead out of the house, by ear: nobody outside hears a word."""

import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from lab.ears import read_audio, tone_spans
from lab.far import AGENT_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.outside import (
    A1,
    OUTSIDE,
    RINGS_S,
    C,
    assert_expelled,
    assert_heard_nothing,
    begin,
    dials_outside,
    transfer_attended,
    try_blind_transfer,
)
from tests.pbx.watching import parts_left, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

# A tone that breaks off clicks, and a click has every tone for a moment.
CLICK_S = 0.03


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


@pytest.mark.parametrize("supervisors", [1, 2])
def test_a_blind_transfer_is_refused(service: Service, world: World, supervisors: int) -> None:
    """Asterisk refuses the REFER of a listening phone: the number never rings, the spy goes on."""
    watched, spy = begin(service, world, supervisors)
    try_blind_transfer(watched, spy)
    watched.part("after", 1.0)
    watched.hang_up()
    watched.assert_hears(spy.leg, "after", C, A1)
    until(lambda: not parts_left(world))


@pytest.mark.parametrize("supervisors", [1, 2])
def test_a_blind_transfer_that_the_pbx_allows(
    service: Service, world: World, supervisors: int
) -> None:
    """A number that the PBX dials nevertheless is hung up while it rings."""
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
    outside = transfer_attended(watched, spy)
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


@pytest.mark.parametrize("kind", ["blind", "attended"])
def test_a_call_that_goes_to_another_team(service: Service, world: World, kind: str) -> None:
    """The supervisor of one team does not hear a word of the other team's agent."""
    team = f"team {uuid4()}"
    for name, of in (("2001", team), ("2003", f"not {team}")):
        made = service.post("/tokens", {"name": name, "role": "agent", "team": of})
        assert made.status_code == 201, made.text
    wanted = {"name": f"ann {team}", "role": "supervisor", "team": team}
    watched = watch(service, world)
    watched.service = service.as_holder_of(service.post("/tokens", wanted).json()["token"])
    spy = watched.spy("barge")
    watched.part("first", 1.0)
    if kind == "blind":
        watched.call.blind_transfer()
    else:
        watched.call.attended_transfer()
    spy.leg.await_down()
    time.sleep(0.5)
    assert service.get(f"/spies/{spy.id}")["cause"] == "not-permitted"
    watched.hang_up()
    watched.assert_hears(spy.leg, "first", C, A1)
    for leg, hz in ((spy.leg, AGENT_HZ["2003"]), (watched.call.leg("agent"), SUPERVISOR_HZ)):
        rate, (samples,) = read_audio(leg.heard())
        spans = tone_spans(samples, rate, hz)
        assert [to_s - from_s for from_s, to_s in spans if to_s - from_s > CLICK_S] == []
    until(lambda: not parts_left(world))
