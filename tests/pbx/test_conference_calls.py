"""Conferences with real calls: taken in without a gap, entered by PIN, with a lobby, mute, hold."""

from collections.abc import Callable, Iterator

import pytest

from lab.waiting import until
from lab.world import World
from recorder.conferences.conferences import Conferences
from tests.actors import TEST
from tests.pbx.conferring import Room, assert_taken_in, conferring
from tests.pbx.conversing import Scene
from tests.pbx.talks import LOSSLESS_RULE, numbers
from tests.service import Service

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records every conversation."""
    return start_service(rules=LOSSLESS_RULE, record_all=True)


@pytest.fixture(scope="module")
def rooms(service: Service) -> Iterator[Conferences]:
    """Return the conferences of the service."""
    with conferring(service) as rooms:
        yield rooms


def test_a_call_is_taken_in_muted_and_held(
    service: Service, world: World, rooms: Conferences
) -> None:
    """A live call goes on in a conference without a missing second, and a colleague joins.

    A muted member is heard by nobody and is in no recording; one on hold hears music alone.
    """
    assert_taken_in(Scene(service, world), rooms)


def test_guests_enter_by_pin_and_wait_for_the_owner(
    service: Service, world: World, rooms: Conferences
) -> None:
    """A wrong PIN does not enter; the right one waits with music until the owner comes.

    The conference ends with its owner.
    """
    room = Room(rooms, name="room8600", pin="4711", owner="2001", record=True)
    customer = world.far.place("8600", "trunk", next(numbers), "Guest")
    customer.await_up()  # we answer once we ask
    customer.send_dtmf("0#4711#")
    room.await_states("waiting")
    until(lambda: customer.has_heard(2.0))
    owner = room.invite("PJSIP/2001", lambda: world.far.await_leg("2001"))
    room.await_states("in", "in")
    until(lambda: any(one.talking for one in room.members()), 20)
    owner.hang_up()
    customer.await_down()
    room.await_states("left", "left")
    assert room.await_end().cause == "owner-left"


def test_whoever_may_not_enter_goes_on_in_the_dialplan(
    service: Service, world: World, rooms: Conferences
) -> None:
    """Nobody enters a conference that does not exist, or is locked: the dialplan hangs up."""
    unknown = world.far.place("8601", "trunk", next(numbers), "Guest")
    unknown.await_down()
    room = Room(rooms, name="room8602", locked=True)
    locked = world.far.place("8602", "trunk", next(numbers), "Guest")
    locked.await_down()
    assert room.members() == ()
    rooms.end(room.id, by=TEST)


def test_a_busy_phone_is_told(service: Service, world: World, rooms: Conferences) -> None:
    """A member whose phone is busy has left with the cause; the conference goes on."""
    room = Room(rooms)
    with world.phone("2003", "busy"):
        rooms.invite(room.id, "PJSIP/2003", by=TEST)
        (member,) = room.await_states("left")
    assert member.cause == "busy"
    rooms.end(room.id, by=TEST)
