"""Supervisors who talk while the PBX sends nothing to the parties, by ear, on 22 and 16."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.ears import level_dbfs, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import ABSENT_DBFS, PRESENT_DBFS
from tests.pbx.watching import Spy, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, C, S = AGENT_HZ["2001"], CUSTOMER_HZ, SUPERVISOR_HZ
TONE_HZ, SHORTEST_TONE_S, LONGEST_TONE_S = 1000, 0.25, 0.7
# 0.6 to 0.9 s on a machine without other work.
NOTICED_WITHIN_S = 1.5


@pytest.fixture(scope="module", params=["sid", "bullseye"], ids=["22", "16"])
def telephones(request: pytest.FixtureRequest) -> Iterator[World]:
    """Start a PBX of each version; the far end is the usual one."""
    with World.of_suite(request.param) as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


def await_unheard(spy: Spy, unheard: bool) -> float:
    """Wait until the spy says so; return how long that took."""
    began = time.monotonic()
    until(lambda: spy.get()["unheard"] is unheard, 5.0)
    return time.monotonic() - began


def test_a_whisper_into_silence(service: Service, world: World) -> None:
    """When the customer's phone sends nothing, the supervisor learns that the agent hears nothing.

    When the customer's phone sends again, the agent hears the supervisor.
    """
    watched = watch(service, world)
    spy = watched.spy("whisper")
    watched.part("talk")
    assert not spy.get()["unheard"]
    watched.call.leg("customer").fall_silent()
    assert await_unheard(spy, True) < NOTICED_WITHIN_S
    watched.part("silence", 1.0)
    watched.call.leg("customer").talk()
    await_unheard(spy, False)
    watched.part("again")
    watched.hang_up()
    agent = watched.call.leg("agent")
    watched.assert_hears(agent, "talk", C, S)
    watched.assert_hears(agent, "again", C, S)
    rate, samples = watched.heard(agent, "silence")
    assert level_dbfs(samples, rate, S) < ABSENT_DBFS, "then it need not be told"
    rate, (samples,) = read_audio(spy.leg.heard())
    spans = tone_spans(samples, rate, TONE_HZ, window_s=0.05)
    (tone_s,) = [to_s - from_s for from_s, to_s in spans if to_s - from_s > SHORTEST_TONE_S]
    assert tone_s < LONGEST_TONE_S


def test_a_barge_into_silence(service: Service, world: World) -> None:
    """While at least the customer hears the supervisor, the spy is heard."""
    watched = watch(service, world)
    spy = watched.spy("barge")
    watched.call.leg("customer").fall_silent()
    watched.part("silence", 2.0)
    assert not spy.get()["unheard"]
    spy.switch("whisper")
    assert await_unheard(spy, True) < NOTICED_WITHIN_S
    spy.switch("listen")
    assert not spy.get()["unheard"]
    watched.hang_up()
    customer = watched.call.leg("customer")
    rate, samples = watched.heard(customer, "silence")
    assert level_dbfs(samples, rate, S) > PRESENT_DBFS
