"""Click to dial on the oldest supported Asterisk."""

from collections.abc import Callable, Iterator

import pytest

from lab.world import World
from tests.pbx.dialling import PHONE, end_of, talk_spied_and_paused
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
    """Start a service that records no call by a rule."""
    return start_service()


def test_a_dialled_call(service: Service, world: World) -> None:
    """Both voices are recorded from the answer on; ends of the number and the phone have causes."""
    talk_spied_and_paused(service, world, next(numbers))
    number = next(numbers)
    for manner, cause in (("busy", "busy"), ("unallocated", "wrong-number")):
        with world.phone(number, manner):  # type: ignore[arg-type]
            assert end_of(service, world, number) == cause
    world.far.behave(PHONE, "decline", 0, None)
    assert end_of(service, world, number) == "agent-declined"
