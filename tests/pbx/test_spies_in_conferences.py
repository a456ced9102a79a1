"""Supervisors in conversations of several calls, by ear: conference, consultation, hold, merge."""

import time
from collections.abc import Callable

import pytest

from lab.ears import read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import MUSIC_HZ
from lab.waiting import until
from lab.world import Call, World
from tests.pbx.talks import numbers
from tests.pbx.watching import Watched, parts_left, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
C, S = CUSTOMER_HZ, SUPERVISOR_HZ
BARGE_S = 1.5


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


def watch_member(service: Service, world: World, number: str) -> Watched:
    """Watch the call of one member of a conference."""
    return Watched(service, world, Call(world), service.live_call(number)["id"])


def test_a_barge_in_a_conference(service: Service, world: World) -> None:
    """A barge reaches every member, whoever comes and goes; a whisper the spied agent alone."""
    customer = next(numbers)
    room = world.conference(customer, "2001", "2002")
    watched = watch_member(service, world, "2001")
    spy = watched.spy("barge")
    watched.part("barge")
    spy.switch("whisper")
    watched.part("whisper")
    spy.switch("barge")
    room.join("2003")
    watched.part("joined")
    gone = room.leave("2002")
    time.sleep(0.5)
    watched.part("left")
    legs = {**room.members, "2002": gone}
    room.end()
    until(lambda: not parts_left(world))
    tones = {customer: C, "2001": A1, "2002": A2, "2003": A3}

    def assert_each_hears(part: str, *members: str, voiced: set[str]) -> None:
        for member in members:
            others = [tones[one] for one in members if one != member]
            voice = [S] if member in voiced else []
            watched.assert_hears(legs[member], part, *others, *voice)
        watched.assert_hears(spy.leg, part, *(tones[one] for one in members))

    everybody = {customer, "2001", "2002", "2003"}
    assert_each_hears("barge", customer, "2001", "2002", voiced=everybody)
    assert_each_hears("whisper", customer, "2001", "2002", voiced={"2001"})
    assert_each_hears("joined", customer, "2001", "2002", "2003", voiced=everybody)
    assert_each_hears("left", customer, "2001", "2003", voiced=everybody)


def test_a_barge_in_a_recorded_conference(service: Service, world: World) -> None:
    """The recording of one member hears the barge on another member's call, and no whisper."""
    customer = next(numbers)
    room = world.conference(customer, "2001", "2002")
    recording = service.record(service.live_call(customer)["id"])
    watched = watch_member(service, world, "2001")
    spy = watched.spy("whisper")
    watched.part("whisper")
    spy.switch("barge")
    watched.part("barge", BARGE_S)
    spy.switch("listen")
    watched.part("listen", 0.5)
    room.end()
    kept = service.await_state(recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    for side in sides:
        barged_s = sum(to_s - from_s for from_s, to_s in tone_spans(side, rate, S))
        assert BARGE_S < barged_s < BARGE_S + 2.0
    until(lambda: not parts_left(world))


def test_a_barge_during_a_consultation(service: Service, world: World) -> None:
    """The customer who waits hears music alone, and the supervisor hears agent and colleague."""
    watched = watch(service, world)
    spy = watched.spy("barge")
    colleague = watched.call.consult("2003")
    time.sleep(0.5)
    watched.part("consultation")
    colleague.hang_up()
    time.sleep(0.5)
    watched.part("back")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(customer, "consultation", MUSIC_HZ)
    watched.assert_hears(agent, "consultation", A3, S)
    watched.assert_hears(colleague, "consultation", A1, S)
    watched.assert_hears(spy.leg, "consultation", A1, A3)
    watched.assert_hears(customer, "back", A1, S)
    watched.assert_hears(agent, "back", C, S)
    watched.assert_hears(spy.leg, "back", C, A1)
    until(lambda: not parts_left(world))


def test_following_an_agent_who_holds_one_call_and_talks_on_another(
    service: Service, world: World
) -> None:
    """The spy goes where the agent talks, and comes back to the call that was on hold."""
    watched = watch(service, world)
    spy = watched.spy("barge", follow="agent")
    watched.call.hold("agent")
    second = world.internal("2001", "2002")
    until(lambda: spy.get()["call_id"] != watched.call_id)
    watched.part("second")
    second.hang_up("colleague")
    watched.call.unhold("agent")
    until(lambda: spy.get()["call_id"] == watched.call_id)
    watched.part("first")
    assert service.delete(f"/spies/{spy.id}").json()["cause"] == "ended"
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(spy.leg, "second", A1, A2)
    watched.assert_hears(second.leg("agent"), "second", A2, S)
    watched.assert_hears(second.leg("colleague"), "second", A1, S)
    watched.assert_hears(customer, "second", MUSIC_HZ)
    watched.assert_hears(spy.leg, "first", C, A1)
    watched.assert_hears(customer, "first", A1, S)
    watched.assert_hears(agent, "first", C, S)
    until(lambda: not parts_left(world))


@pytest.mark.parametrize("spied", ["customer", "internal"])
def test_a_merge(service: Service, world: World, spied: str) -> None:
    """When two calls become one conversation, the spies of both hear it and are heard in it."""
    held = world.internal("2001", "2002")
    held.hold("agent")
    internal = Watched(service, world, held, service.live_call("2001")["id"])
    customers = watch(service, world)
    watched = customers if spied == "customer" else internal
    spy = watched.spy("barge")
    merged = world.merge(held, customers.call)
    time.sleep(1.0)
    watched.part("barge")
    spy.switch("whisper")
    watched.part("whisper")
    merged.hang_up("customer")
    until(lambda: not parts_left(world))
    customer, agent = merged.leg("customer"), merged.leg("agent")
    for part in ("barge", "whisper"):
        watched.assert_hears(spy.leg, part, C, A2)
        watched.assert_hears(agent, part, C, S)
    watched.assert_hears(customer, "barge", A2, S)
    watched.assert_hears(customer, "whisper", A2)
