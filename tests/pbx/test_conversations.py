"""People who hear each other are recorded once, however they came together."""

from typing import Any

import pytest

from lab.bot import BOT_HZ, Bot
from lab.far import OTHER_CUSTOMER_HZ
from lab.pbx import DID_BOT, DID_SECOND, OTHER_ROOM, ROOM
from lab.waiting import until
from lab.world import World
from tests.pbx.conversing import (
    A1,
    A2,
    A3,
    C2,
    LEFT,
    RIGHT,
    C,
    Scene,
    assert_conference,
    assert_merge_while_paused,
    assert_originated,
    assert_pause_keys_pause_all,
    assert_redirected_into_a_room,
    internal_and_customer,
    other_numbers,
)
from tests.pbx.talks import FOLLOWS_WITHIN_S, numbers
from tests.service import Service

pytestmark = pytest.mark.pbx


@pytest.fixture
def scene(service: Service, world: World) -> Scene:
    """Return a scene of the service that records every conversation."""
    return Scene(service, world)


def test_a_customer_and_two_agents_in_a_room(scene: Scene) -> None:
    """A conference is one recording, with everybody in it and found by each one's number."""
    assert_conference(scene, next(numbers), "2001", "2002")


def test_three_agents_in_a_room(scene: Scene) -> None:
    """A conference without a customer is one recording too."""
    assert_conference(scene, "2001", "2002", "2003")


@pytest.mark.parametrize("with_customer", [True, False])
def test_a_redirect_into_a_room(scene: Scene, with_customer: bool) -> None:
    """A recorded agent is sent into a room, with the customer or alone, and is recorded there."""
    assert_redirected_into_a_room(scene, with_customer=with_customer)


def test_members_come_and_go(scene: Scene) -> None:
    """Two customers and two agents in a room: each is recorded once, as long as he is there.

    One is on hold for a time, and nobody is recorded in a pause.
    """
    first, second = next(numbers), next(other_numbers)
    room = scene.world.conference(first, "2001")
    scene.await_live()
    scene.part("two")
    room.join(second)
    room.join("2002")
    scene.part("four")
    room.members["2002"].hold()
    scene.part("one holds")
    room.members["2002"].unhold()
    scene.part("back")
    (live,) = scene.await_live()
    scene.act(live["id"], "pause")
    scene.part("paused")
    scene.act(live["id"], "resume")
    scene.part("resumed")
    room.leave("2001")
    room.leave(first)
    scene.part("two others")
    outcome = scene.end()
    for hz in (C, A1):
        outcome.assert_once(hz, "two", "back")
        outcome.assert_once(hz, "resumed")
        outcome.assert_not("two others", hz)
    for hz in (C2, A2):
        outcome.assert_not("two", hz)
        outcome.assert_once(hz, "four")
        outcome.assert_once(hz, "back")
        outcome.assert_once(hz, "resumed", "two others")
    outcome.assert_once(C2, "four", "back", side=LEFT)
    outcome.assert_not("one holds", A2)
    outcome.assert_not("paused", C, C2, A1, A2)


def test_a_merge_while_paused(scene: Scene) -> None:
    """A pause goes with the people through a merge: nobody is recorded until a resume."""
    assert_merge_while_paused(scene)


def test_the_pause_key_pauses_every_recording(scene: Scene) -> None:
    """The agent's key pauses the rule's recording and the one that a person started."""
    assert_pause_keys_pause_all(scene)


@pytest.mark.parametrize("channel", ["PJSIP/2001", "Local/2001@agents", "Local/2001@agents/n"])
def test_an_originated_call(scene: Scene, channel: str) -> None:
    """Callee, number search and sides are right when the PBX calls the agent first."""
    assert_originated(scene, channel)


def test_a_merge(scene: Scene) -> None:
    """After a merge everybody is recorded once, on the right side, and found by his number.

    The recording that ends and the one that goes on name each other.
    """
    number = next(numbers)
    held, taken = internal_and_customer(scene, number)
    scene.await_live(2)
    scene.part("before")
    merged = scene.world.merge(held, taken)
    scene.part("merged", 2.0)
    (live,) = scene.await_live()
    call = scene.service.get(f"/calls/{live['call_id']}")
    assert (call["did"], call["agent"]) == ("3000", "2002")
    assert merged.is_up()
    outcome = scene.end()
    outcome.assert_once(C, "before", "merged", side=LEFT)
    outcome.assert_once(A1, "before", side=RIGHT)
    outcome.assert_once(A2, "merged", side=RIGHT)
    (kept,) = [one.recording for one in outcome.kept if one.recording["did"]]
    (lost,) = [one.recording for one in outcome.kept if not one.recording["did"]]
    assert (kept["id"], kept["continues"]) == (live["id"], lost["id"])
    assert lost["continued_in"] == kept["id"]
    assert (kept["caller"]["number"], kept["agent"]) == (number, "2002")
    assert _sides(kept) == {number: LEFT, "2001": RIGHT, "2002": RIGHT}
    assert _spans_s(kept, "2002")[0][0] > _spans_s(kept, "2001")[0][0] + 0.5
    for one in (number, "2001", "2002"):
        assert kept["id"] in scene.found_by(one)


def test_a_merge_of_two_customers(scene: Scene) -> None:
    """When an agent joins two customers, both are recorded once, each on a side of its own."""
    held = scene.world.inbound(caller=(first := next(numbers)))
    scene.part("first")
    held.hold()
    taken = scene.world.inbound(caller=(second := next(other_numbers)))
    scene.await_live(2)
    scene.part("second")
    scene.world.merge(held, taken)
    scene.part("merged", 2.0)
    (live,) = scene.await_live()
    outcome = scene.end()
    for hz, part in ((C, "first"), (C2, "second")):
        outcome.assert_once(hz, part, side=LEFT)
        outcome.assert_once(hz, part, "merged")
    for number in (first, second):
        assert live["id"] in scene.found_by(number)


def test_a_merge_and_then_a_split(scene: Scene) -> None:
    """A conversation that was merged and splits into two goes on in two recordings.

    The second customer speaks 2050 Hz: two phones of 2002 talk here, and their 1100 Hz are loud.
    """
    third = OTHER_CUSTOMER_HZ["1404"]
    held, taken = internal_and_customer(scene, next(numbers))
    merged = scene.world.merge(held, taken)
    scene.part("merged")
    other = scene.world.inbound(DID_SECOND, caller="14045550200", answered_by="2002")
    customer, colleague = merged.leg("customer"), merged.leg("agent")
    scene.world.redirect(ROOM, customer, colleague)
    scene.world.redirect(ROOM, other.leg("customer"), other.leg("agent"))
    scene.await_live()
    scene.part("four")
    scene.world.redirect(OTHER_ROOM, customer)
    scene.world.redirect(OTHER_ROOM, colleague)
    scene.part("split", 2.0)
    scene.await_live(2)
    outcome = scene.end()
    for hz in (C, third):
        outcome.assert_once(hz, "four", side=LEFT)
        outcome.assert_once(hz, "split", side=LEFT)
    split = [one for one in outcome.kept if one.spans(C) and one.spans(third)]
    assert len(split) >= 1


def test_two_of_three_leave_for_another_room(scene: Scene) -> None:
    """Two go on being recorded in another room; the third, alone, is not recorded any more."""
    room = scene.world.conference(next(numbers), "2001", "2002")
    (live,) = scene.await_live()
    scene.part("three")
    for leg in room.members.values():
        if leg.party != "2002":
            scene.world.redirect(OTHER_ROOM, leg)
    scene.part("split", 2.0)
    outcome = scene.end()
    outcome.assert_once(C, "three", "split", side=LEFT)
    outcome.assert_once(A1, "three", "split", side=RIGHT)
    outcome.assert_once(A2, "three", side=RIGHT)
    outcome.assert_not("split", A2)
    # On a busy machine the two who are still there are recorded before the second of them leaves.
    assert live["id"] in [one.recording["id"] for one in outcome.kept]


def test_a_consultation_that_comes_back(scene: Scene) -> None:
    """The customer is recorded throughout, and has his agent again after the consultation."""
    call = scene.world.inbound(caller=(number := next(numbers)))
    scene.await_live()
    scene.part("before")
    colleague = call.consult("2003")
    scene.part("asking", 1.5)
    assert scene.service.live_call(number)["agent"] == "2001"
    colleague.hang_up()
    until(lambda: call.leg("agent").is_up())
    scene.part("back", 2.0)
    assert scene.service.live_call(number)["agent"] == "2001"
    outcome = scene.end()
    outcome.assert_once(C, "before", "back", side=LEFT)
    outcome.assert_once(A1, "before", side=RIGHT)
    outcome.assert_once(A1, "back", side=RIGHT)
    assert all(one.recording["agent"] == "2001" for one in outcome.kept if one.recording["did"])
    outcome.assert_not("back", A3)


def test_a_voice_bot(scene: Scene) -> None:
    """A bot behind another application's bridge is recorded on the side of the agents."""
    number = next(numbers)
    with Bot(scene.world.pbx):
        scene.world.inbound(DID_BOT, caller=number).leg("customer").await_up()
        scene.await_live()
        scene.part("talk", 2.0)
        outcome = scene.end()
    outcome.assert_once(C, "talk", side=LEFT)
    outcome.assert_once(BOT_HZ, "talk", side=RIGHT)
    (kept,) = outcome.kept
    assert {one["side"] for one in kept.recording["parties"]} == {LEFT, RIGHT}
    assert scene.found_by(number) == {kept.recording["id"]}


def test_the_watcher_dies_at_the_moment_of_a_merge(scene: Scene) -> None:
    """The recordings hold nothing twice, and list audio lost until the next watcher as a gap."""
    held, taken = internal_and_customer(scene, next(numbers))
    scene.await_live(2)
    scene.part("before")
    watchers = set(scene.service.pids_of("watch"))
    scene.service.kill_role("watch")
    scene.world.merge(held, taken)
    until(lambda: set(scene.service.pids_of("watch")) - watchers, 30)
    scene.await_live()
    scene.part("watched again", 2.0)
    outcome = scene.end()
    for hz in (C, A2):
        outcome.assert_once(hz, "watched again")
    for hz in (C, A2):
        lost = [one for one in outcome.holes(hz, "watched again") if _is_long(one)]
        assert lost == []
    told = [gap for one in outcome.kept for gap in one.recording["gaps"]]
    holes = [one for one in outcome.holes(C, "before", "watched again") if _is_long(one)]
    assert len(told) >= len(holes), (told, holes)


def _is_long(hole: tuple[float, float]) -> bool:
    return hole[1] - hole[0] > FOLLOWS_WITHIN_S


def _sides(recording: dict[str, Any]) -> dict[str, str]:
    return {one["number"]: one["side"] for one in recording["parties"]}


def _spans_s(recording: dict[str, Any], number: str) -> list[tuple[float, float]]:
    (party,) = [one for one in recording["parties"] if one["number"] == number]
    return [(span["from_s"], span["to_s"]) for span in party["spans"]]
