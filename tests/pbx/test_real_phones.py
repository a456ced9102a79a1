"""Telephones that are no Asterisk: their codecs, hold, REFER, conferences, and many at once."""

import itertools
import socket
from collections.abc import Callable, Iterator

import pytest

from lab.phones import CODECS, Baresip, Sipp
from lab.ports import free_port
from lab.root import ensure_root, root_directory
from lab.world import World
from tests.pbx.conversing import A2, LEFT, RIGHT, C, Kept, Scene
from tests.pbx.talks import FOLLOWS_WITHIN_S, numbers
from tests.service import Service

pytestmark = pytest.mark.pbx

PHONE, MANY = "2011", "2012"
DID_PHONE, DID_MANY = "3011", "3012"
PHONE_HZ = 1650
AT_ONCE = 50
LASTS_S = 6.0
# The PBX and SIPp need this long for the answers of so many calls.
ANSWERED_WITHIN_S = 0.5


@pytest.fixture(scope="module")
def telephones() -> Iterator[World]:
    """Start a PBX that knows two real telephones and takes every codec of these tests."""
    ports = {number: free_port(socket.SOCK_DGRAM) for number in (PHONE, MANY)}
    root = ensure_root(root_directory())
    with World(root, ",".join(CODECS), telephones=ports) as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records every conversation."""
    return start_service(record_all=True)


@pytest.fixture
def scene(service: Service, world: World) -> Scene:
    """Return a scene of this module's service."""
    return Scene(service, world)


def phone(world: World, codec: str = "ulaw") -> Baresip:
    """Return the telephone, which speaks this codec alone."""
    return Baresip(world.pbx, PHONE, world.telephones[PHONE], hz=PHONE_HZ, codec=codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec(scene: Scene, codec: str) -> None:
    """The phone is recorded on the right in each codec, the customer on the left."""
    with phone(scene.world, codec):
        scene.world.inbound(DID_PHONE, caller=next(numbers)).leg("customer").await_up()
        scene.await_live()
        used = _codec_of(scene.world)
        scene.part("talk", 1.5)
        outcome = scene.end()
    assert used == f"({codec})"
    outcome.assert_once(C, "talk", side=LEFT)
    outcome.assert_once(PHONE_HZ, "talk", side=RIGHT)


def test_hold_and_refer(scene: Scene) -> None:
    """The customer is recorded throughout, the phone until it transfers the call to a colleague."""
    with phone(scene.world) as telephone:
        number = next(numbers)
        scene.world.inbound(DID_PHONE, caller=number).leg("customer").await_up()
        scene.await_live()
        scene.part("talk")
        telephone.hold()
        scene.part("on hold")
        telephone.resume()
        scene.part("resumed")
        telephone.transfer("2002")
        scene.world.far.await_leg("2002")
        scene.part("transferred", 1.5)
        outcome = scene.end()
    outcome.assert_once(C, "talk", "transferred", side=LEFT)
    outcome.assert_once(PHONE_HZ, "talk", side=RIGHT)
    outcome.assert_not("on hold", PHONE_HZ)
    outcome.assert_once(PHONE_HZ, "resumed", side=RIGHT)
    outcome.assert_once(A2, "transferred", side=RIGHT)
    (kept,) = outcome.kept
    assert kept.recording["agent"] == "2002"
    for one in (number, PHONE, "2002"):
        assert scene.found_by(one) == {kept.recording["id"]}


def test_the_phone_calls_a_customer(scene: Scene) -> None:
    """A call that the phone places is recorded with the customer on the left."""
    number = next(numbers)
    with phone(scene.world, "g722") as telephone:
        telephone.dial(number)
        scene.world.far.await_leg(number)
        scene.await_live()
        scene.part("talk", 1.5)
        outcome = scene.end()
    outcome.assert_once(C, "talk", side=LEFT)
    outcome.assert_once(PHONE_HZ, "talk", side=RIGHT)
    assert scene.found_by(number) == {outcome.kept[0].recording["id"]}


def test_the_phone_in_a_room(scene: Scene) -> None:
    """A wideband phone, a customer and an agent in a room are one recording."""
    with phone(scene.world, "opus") as telephone:
        room = scene.world.conference(next(numbers), "2002")
        telephone.dial(room.room)
        scene.call_of(PHONE)
        scene.part("together", 2.0)
        telephone.hang_up()
        outcome = scene.end()
    outcome.assert_once(C, "together", side=LEFT)
    outcome.assert_once(A2, "together", side=RIGHT)
    outcome.assert_once(PHONE_HZ, "together", side=RIGHT)
    assert len(outcome.kept) == 1


def test_fifty_calls_at_once(scene: Scene) -> None:
    """All of fifty calls at once are stored with both sides; a PBX that cannot keep up makes gaps.

    Gaps tell the seconds that a late start loses.
    """
    callers = list(itertools.islice(numbers, AT_ONCE))
    world = scene.world
    sipp = Sipp(world.pbx, world.telephones[MANY], caller_hz=C, callee_hz=PHONE_HZ)
    sipp.call(DID_MANY, callers, LASTS_S)
    outcome = scene.end()
    assert sorted(one.recording["caller"]["number"] for one in outcome.kept) == callers
    for kept in outcome.kept:
        told_s = sum(gap["to_s"] - gap["from_s"] for gap in kept.recording["gaps"])
        for hz, side in ((C, LEFT), (PHONE_HZ, RIGHT)):
            spoken_s = sum(to_at - from_at for from_at, to_at in kept.spans(hz, side))
            lost_s = LASTS_S - spoken_s - told_s
            assert lost_s < ANSWERED_WITHIN_S + FOLLOWS_WITHIN_S, (lost_s, kept.recording)
    whole = [one for one in outcome.kept if not one.recording["gaps"]]
    assert _missing(scene, whole) == []


def _codec_of(world: World) -> str:
    """Return the codec of the telephone's channel, as Asterisk writes it."""
    channels = world.pbx.ari("GET", "/channels")
    (channel,) = [one for one in channels if one["name"].startswith(f"PJSIP/{PHONE}-")]
    path = f"/channels/{channel['id']}/variable"
    return str(world.pbx.ari("GET", path, variable="CHANNEL(audionativeformat)")["value"])


def _missing(scene: Scene, kept: list[Kept]) -> list[str]:
    calls = {one.recording["call_id"] for one in kept}
    missing = scene.service.get("/assurance")["items"]
    return [one["call_id"] for one in missing if one["call_id"] in calls]
