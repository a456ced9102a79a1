"""Foreign channels in the place of a supervisor's phone, or in a bridge of a spy."""

from dataclasses import replace
from uuid import UUID

import pytest

from recorder import ari, names
from recorder.spy.intruders import Intruder, expel, find_far_ends, find_intruder, list_intruders
from tests.channels import AT, channel
from tests.fake_pbx import INSTANCE, FakePbx

SPY_ID = UUID(int=7)
PHONE = names.build_phone_id(SPY_ID)
LISTENING = names.build_listening_bridge_id(INSTANCE, "agent")
TALKING = names.build_talking_bridge_id(SPY_ID)
HALF = replace(channel("half"), name="Local/12025550199@agents-00000001;1")


def bridge(id_: str, *channel_ids: str) -> ari.Bridge:
    """Return a bridge with these channels."""
    return ari.Bridge(id_, "mixing", "", channel_ids)


@pytest.mark.parametrize(
    ("event", "spy_id"),
    [
        (ari.StasisStart(AT, INSTANCE, HALF, (), channel(PHONE)), SPY_ID),
        (ari.StasisStart(AT, INSTANCE, HALF, (PHONE,)), SPY_ID),
        (ari.ChannelEnteredBridge(AT, INSTANCE, bridge(LISTENING, "half"), HALF), None),
        (ari.ChannelEnteredBridge(AT, INSTANCE, bridge(TALKING, "half"), HALF), SPY_ID),
    ],
)
def test_an_event_announces_an_intruder(event: ari.Event, spy_id: UUID | None) -> None:
    """A channel is an intruder in the place of a phone, and in a bridge of ours."""
    assert find_intruder(event, INSTANCE) == Intruder("half", HALF.name, spy_id)


@pytest.mark.parametrize(
    "item",
    [
        ari.Connected(AT),
        ari.StasisStart(AT, INSTANCE, channel(PHONE), (PHONE,)),
        ari.StasisStart(AT, INSTANCE, channel("caller"), ()),
        ari.StasisStart(AT, INSTANCE, channel("caller"), ("from the dialplan",)),
        ari.StasisStart(AT, INSTANCE, channel("b"), (), channel("a")),
        ari.ChannelEnteredBridge(AT, INSTANCE, bridge(LISTENING, PHONE), channel(PHONE)),
        ari.ChannelEnteredBridge(AT, INSTANCE, bridge("a call", "half"), HALF),
        ari.ChannelEnteredBridge(
            AT, INSTANCE, bridge(names.build_listening_bridge_id("other", "agent")), HALF
        ),
    ],
)
def test_other_events_announce_none(item: ari.Event | ari.Connected) -> None:
    """Our phones, callers from the dialplan, and the bridges of others are left alone."""
    assert find_intruder(item, INSTANCE) is None


def test_the_far_ends_of_a_local_channel() -> None:
    """The other half, and those who share a bridge with it, are the way to the outside."""
    far = replace(channel("far"), name="Local/12025550199@agents-00000001;2")
    channels = [HALF, far, channel("trunk"), replace(channel("x"), name="Local/1@a-00000002;2")]
    bridges = [bridge("a call", "agent", "customer"), bridge("outside", "far", "trunk")]
    intruder = Intruder("half", HALF.name)
    assert find_far_ends(intruder, channels, bridges) == ["far", "trunk"]
    assert find_far_ends(intruder, channels, bridges[:1]) == ["far"]
    assert find_far_ends(intruder, [HALF], bridges) == []
    assert find_far_ends(Intruder("p", "PJSIP/2003-00000001"), channels, bridges) == []


def test_a_listing_finds_intruders() -> None:
    """A foreign channel in our bridge, and a Local channel that stayed in our application."""
    pbx = FakePbx("foreign", "left", "caller", PHONE)
    pbx.names["left"] = "Local/1@agents-00000001;1"
    pbx.in_stasis = {"left", "caller", PHONE}
    pbx.bridges = {LISTENING: [PHONE, "foreign"], "a call": ["caller"]}
    found = list_intruders(pbx)  # type: ignore[arg-type]
    assert [one.channel_id for one in found] == ["foreign", "left"]


def test_an_expulsion_hangs_up_the_whole_way() -> None:
    """The intruder, its other half and the outside leg are hung up, and nobody else."""
    pbx = FakePbx("half", "far", "trunk", "agent", PHONE)
    pbx.names |= {"half": HALF.name, "far": "Local/12025550199@agents-00000001;2"}
    pbx.bridges = {LISTENING: ["half", PHONE], "outside": ["far", "trunk"], "a call": ["agent"]}
    expel(pbx, Intruder("half", HALF.name))  # type: ignore[arg-type]
    assert pbx.channels == {"agent", PHONE}
