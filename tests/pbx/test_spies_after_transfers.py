"""The voice of a barging supervisor after a transfer, by ear.

Debian's build of Asterisk 22 drops frames from what a snoop sees after a transfer, until the last
snoop has left the party. The snoop of a recording stays, so there the voice may be lost; see
docs/asterisk.md. Asterisk 16 has no such fault.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import parts_left, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A3 = AGENT_HZ["2001"], AGENT_HZ["2003"]
C, S = CUSTOMER_HZ, SUPERVISOR_HZ
# Whether audio was lost depended on the sequence numbers of a call.
CALLS = 3


@pytest.fixture(scope="module")
def telephones(request: pytest.FixtureRequest) -> Iterator[World]:
    """Start a PBX of this version; the far end is the usual one."""
    with World.of_suite(request.param) as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


@pytest.mark.parametrize(
    ("telephones", "is_recorded"),
    [("sid", False), ("bullseye", False), ("bullseye", True)],
    indirect=["telephones"],
    ids=["22", "16", "16-recorded"],
)
@pytest.mark.parametrize("kind", ["blind", "attended"])
def test_a_barge_is_heard_after_a_transfer(
    service: Service, world: World, kind: str, is_recorded: bool
) -> None:
    """Customer and next agent hear the supervisor who barged before the transfer."""
    for _ in range(CALLS):
        watched = watch(service, world)
        if is_recorded:
            service.record(watched.call_id)
        spy = watched.spy("barge")
        watched.part("first")
        if kind == "blind":
            watched.call.blind_transfer()
        else:
            watched.call.attended_transfer()
        time.sleep(1.0)
        watched.part("second")
        watched.hang_up()
        customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
        watched.assert_hears(customer, "first", A1, S)
        watched.assert_hears(customer, "second", A3, S)
        watched.assert_hears(agent, "second", C, S)
        watched.assert_hears(spy.leg, "second", C, A3)
        until(lambda: not parts_left(world))
