"""Real calls whose channels have ids that a program on the PBX chose."""

from urllib.parse import quote

import pytest

from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.world import Call, World
from tests.pbx.talks import Talk, assert_hears, numbers
from tests.pbx.watching import Watched
from tests.service import Service

pytestmark = pytest.mark.pbx


@pytest.mark.parametrize("channel_id", ["größe ☎/50%41", "a//b,../c", ".."])
def test_a_call_with_any_id_is_recorded_stored_and_spied_on(
    service: Service, world: World, channel_id: str
) -> None:
    """Everything that works on a call works on this one: record, ask, spy, store, play."""
    number = next(numbers)
    world.far.behave("2001", "answer", 0.2, None)
    world.far.behave(number, "answer", 0.2, None)
    world.pbx.ari(
        *("POST", "/channels"),
        endpoint="PJSIP/2001",
        context="agents",
        extension=number,
        priority="1",
        channelId=channel_id,
    )
    call = Call(world, agent=world.far.await_leg("2001"), customer=world.far.await_leg(number))
    call_id = f"lab-{channel_id}"
    path = f"/calls/{quote(call_id, safe='')}"
    talk = Talk(service, call, call_id)
    assert service.get(path)["recordings"] == [talk.recording["id"]]
    watched = Watched(service, world, call, quote(call_id, safe=""))
    spy = watched.spy("listen")
    watched.part("together")
    recording, rate, sides, _ = talk.end()
    watched.assert_hears(spy.leg, "together", CUSTOMER_HZ, AGENT_HZ["2001"])
    assert recording["call_id"] == service.get(path)["id"] == call_id
    for side, hz in zip(sides, (CUSTOMER_HZ, AGENT_HZ["2001"]), strict=True):
        assert_hears(side, rate, hz)
