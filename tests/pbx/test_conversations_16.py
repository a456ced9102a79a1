"""Conversations on the oldest supported Asterisk: rooms, merges, keys, held conferences."""

from collections.abc import Callable, Iterator

import pytest

from lab.world import World
from tests.pbx.conversing import (
    A2,
    LEFT,
    RIGHT,
    C,
    Scene,
    assert_conference,
    assert_merge_while_paused,
    assert_originated,
    assert_pause_keys_pause_all,
    assert_redirected_into_a_room,
    assert_spied_merge,
    internal_and_customer,
)
from tests.pbx.meetings import Meeting
from tests.pbx.talks import numbers
from tests.service import Service

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module")
def telephones() -> Iterator[World]:
    """Start a PBX of version 16; the far end is the usual one."""
    with World.of_suite("bullseye") as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records every conversation."""
    return start_service(record_all=True)


@pytest.fixture
def scene(service: Service, world: World) -> Scene:
    """Return a scene of this module's service."""
    return Scene(service, world)


def test_a_room_on_16(scene: Scene) -> None:
    """A customer and two agents in a room are one recording."""
    assert_conference(scene, next(numbers), "2001", "2002")


def test_a_redirect_on_16(scene: Scene) -> None:
    """A customer and his agent are sent into a room, and are recorded with the people there."""
    assert_redirected_into_a_room(scene, with_customer=True)


def test_a_merge_while_paused_on_16(scene: Scene) -> None:
    """Nobody is recorded until a resume."""
    assert_merge_while_paused(scene)


def test_the_pause_key_on_16(scene: Scene) -> None:
    """The agent's key pauses both recordings."""
    assert_pause_keys_pause_all(scene)


@pytest.mark.parametrize("channel", ["PJSIP/2001", "Local/2001@agents/n"])
def test_an_originated_call_on_16(scene: Scene, channel: str) -> None:
    """Callee, number search and sides are right when the PBX calls the agent first."""
    assert_originated(scene, channel)


def test_a_merge_on_16(scene: Scene) -> None:
    """After a merge everybody is recorded once, on the right side, with the customer's DID."""
    number = next(numbers)
    held, taken = internal_and_customer(scene, number)
    scene.await_live(2)
    scene.part("before")
    scene.world.merge(held, taken)
    scene.part("merged", 1.5)
    (live,) = scene.await_live()
    assert scene.service.get(f"/calls/{live['call_id']}")["did"] == "3000"
    outcome = scene.end()
    outcome.assert_once(C, "before", "merged", side=LEFT)
    outcome.assert_once(A2, "merged", side=RIGHT)
    assert live["id"] in scene.found_by("2002")


@pytest.mark.parametrize("side", ["held", "taken"])
def test_a_merge_with_a_spy_on_16(scene: Scene, side: str) -> None:
    """A supervisor who listens to one of two calls hears both parties from the merge on."""
    assert_spied_merge(scene, side, None, (C, A2))


def test_a_held_conference_on_16(scene: Scene) -> None:
    """A customer and two agents whom we call hear each other, and nobody hears a muted one."""
    meeting = Meeting(scene.service, scene.world, name="sixteen", record=True)
    meeting.invite(next(numbers), "2001", "2004")
    meeting.part("all")
    meeting.change("2004", muted=True)
    meeting.part("muted")
    meeting.end()
    meeting.assert_each_hears("all")
    meeting.assert_each_hears("muted", but=("2004",))
    (kept,) = meeting.await_recordings()
    for leg in meeting.legs.values():
        assert kept.within(leg.hz, *meeting.span("all")), f"{leg.hz} Hz is missing"
    assert kept.within(meeting.legs["2004"].hz, *meeting.span("muted")) == []
