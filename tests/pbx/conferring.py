"""Conferences that tests open beside the service, and the scene of a call that is taken in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from earwitness.config import load_config
from earwitness.wiring import Wiring
from lab.far import Leg
from lab.pbx import MUSIC_HZ
from lab.waiting import until
from recorder.conferences.conferences import Conferences
from storage.records import ConferenceRecord, MemberRecord
from tests.actors import TEST
from tests.pbx.conversing import A1, A2, C, Scene
from tests.pbx.talks import numbers
from tests.pbx.watching import Watched
from tests.service import Service


@contextmanager
def conferring(service: Service) -> Iterator[Conferences]:
    """Yield the conferences of a running service, in a process beside it."""
    wiring = Wiring(load_config(service.config))
    try:
        yield wiring.conferences
    finally:
        wiring.catalogue.close()


class Room:
    """A conference, and the state of its members."""

    def __init__(self, rooms: Conferences, **how: Any) -> None:
        self.rooms = rooms
        self.conference = rooms.open("lab", by=TEST, **how)
        self.id = self.conference.id

    def members(self) -> tuple[MemberRecord, ...]:
        """Return all members."""
        return self.rooms.read(self.id)[1]

    def await_states(self, *states: str) -> tuple[MemberRecord, ...]:
        """Wait until the members have these states, in the order of their coming."""

        def find() -> tuple[MemberRecord, ...]:
            members = self.members()
            found = [(one.state, one.cause) for one in members]
            assert [state for state, _ in found] == list(states), found
            return members

        return until(find, 20)

    def await_end(self) -> ConferenceRecord:
        """Wait until the conference has ended."""

        def find() -> ConferenceRecord:
            conference = self.rooms.read(self.id)[0]
            assert conference.state == "ended"
            return conference

        return until(find, 20)

    def change(self, member_id: UUID, **what: bool) -> None:
        """Mute or hold a member, or undo it."""
        self.rooms.change_member(self.id, member_id, by=TEST, **what)

    def invite(self, destination: str, leg: Callable[[], Leg], **how: Any) -> Leg:
        """Call somebody; return the leg once the phone has answered."""
        self.rooms.invite(self.id, destination, by=TEST, **how)
        return leg()


def take_in(scene: Scene, room: Room) -> Watched:
    """Let a recorded call of a customer with an agent be taken in; return it."""
    number = next(numbers)
    call = scene.world.inbound(caller=number)
    live = scene.service.live_call(number)
    scene.await_live()
    watched = Watched(scene.service, scene.world, call, live["id"])
    watched.part("before")
    scene.parts["before"] = watched.span("before")
    room.rooms.take_in(room.id, live["id"], by=TEST)
    room.await_states("in", "in")
    return watched


def part(scene: Scene, watched: Watched, name: str, seconds: float = 1.5) -> None:
    """Let everybody talk, and name this part for the phones and for the recordings."""
    watched.part(name, seconds)
    scene.parts[name] = watched.span(name)


def assert_taken_in(scene: Scene, rooms: Conferences) -> None:
    """A live call goes on in a conference without a missing second, and a colleague joins.

    A muted member is heard by nobody and is in no recording; one on hold hears music alone.
    """
    room, world = Room(rooms), scene.world
    watched = take_in(scene, room)
    agent, customer = watched.call.leg("agent"), watched.call.leg("customer")
    colleague = room.invite("PJSIP/2002", lambda: world.far.await_leg("2002"))
    members = room.await_states("in", "in", "in")
    part(scene, watched, "three")
    ours = {one.number: one for one in members}
    room.change(ours["2001"].id, muted=True)
    part(scene, watched, "muted")
    room.change(ours["2001"].id, muted=False, on_hold=True)
    part(scene, watched, "held")
    room.change(ours["2001"].id, on_hold=False)
    part(scene, watched, "again")
    rooms.remove_member(room.id, ours["2002"].id, by=TEST)
    colleague.await_down()
    customer.hang_up()
    rooms.end(room.id, by=TEST)
    agent.await_down()
    assert room.await_end().cause == "ended"
    outcome = scene.end()
    outcome.assert_once(C, "before", "again")
    outcome.assert_once(A1, "before", "three")
    outcome.assert_not("muted", A1, last="held")
    outcome.assert_once(A1, "again")
    outcome.assert_once(A2, "three", "again")
    watched.assert_hears(agent, "three", C, A2)
    watched.assert_hears(colleague, "muted", C)
    watched.assert_hears(agent, "muted", C, A2)
    watched.assert_hears(colleague, "held", C)
    assert watched.level(agent, "held", MUSIC_HZ) > -30
    assert max(watched.level(agent, "held", hz) for hz in (C, A2)) < -60
    watched.assert_hears(customer, "again", A1, A2)
