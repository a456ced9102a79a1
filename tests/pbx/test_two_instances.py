"""Two instances on one PBX, each with an application and a catalogue of its own: each leaves alone
the other's captures and spies."""

from collections.abc import Callable

import pytest

from lab.ears import read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import Talk, assert_hears, assert_whole, begin
from tests.pbx.watching import Watched, parts_left
from tests.service import Service

pytestmark = pytest.mark.pbx

LONGEST_BREAK_S = 0.3


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Return the first instance, which records every conversation."""
    return start_service(record_all=True, format="wav")


@pytest.fixture(scope="module")
def second(service: Service, start_service: Callable[..., Service]) -> Service:
    """Return a second instance on the same PBX."""
    return start_service(record_all=True, format="wav", application="second-ear")


def restart_watcher(service: Service) -> None:
    """Kill the watcher, and wait until its successor has listed the PBX."""
    times = connections(service)
    service.kill_role("watch")
    until(lambda: connections(service) > times, 30)


def connections(service: Service) -> int:
    """Return how often a watcher of this service has listed the PBX."""
    return service.log.read_text().count("pbx.connected")


def test_two_instances_share_a_call(service: Service, second: Service, world: World) -> None:
    """Both record and spy on one call, and neither loses a second when a watcher reconnects."""
    talk = begin(service, world)
    other = Talk(second, talk.call, second.live_call(talk.recording["caller"]["number"])["id"])
    whispering = Watched(service, world, talk.call, talk.call_id)
    listening = Watched(second, world, talk.call, other.call_id)
    one, two = whispering.spy("whisper"), listening.spy("listen", "9002")
    since = talk.began + talk.age_s + 0.5
    for instance in (service, second):
        talk.talk_until(talk.age_s + 2)
        parts = set(parts_left(world))
        restart_watcher(instance)
        talk.talk_until(talk.age_s + 6)  # time for a check of each watcher
        assert set(parts_left(world)) == parts, "nothing was removed, and nothing made anew"
    assert one.get()["state"] == two.get()["state"] == "live"
    for each in (talk, other):
        each.talked_s = each.age_s
    talk.call.hang_up("customer")
    for each in (talk, other):
        recording = each.service.await_state(each.recording["id"], ["stored"])
        rate, sides = read_audio(each.service.fetch_audio(recording))
        assert_hears(sides[0], rate, CUSTOMER_HZ)
        assert_hears(sides[1], rate, AGENT_HZ["2001"])
        assert_whole(each.talked_s, recording, rate, sides)
        assert recording["gaps"] == []
    for spy in (one, two):
        assert len(spy.await_end()["heard"]) == 1, "one span: never interrupted"
    talk.call.await_end()
    for leg in (one.leg, two.leg):
        for hz in (CUSTOMER_HZ, AGENT_HZ["2001"]):
            assert [s for s in whispering.breaks(leg, hz, since) if s > LONGEST_BREAK_S] == []
    until(lambda: not parts_left(world), 20)
