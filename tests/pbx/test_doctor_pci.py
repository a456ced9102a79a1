"""`doctor --pci` on a running service: a pause leaves no trace, and a trace is found."""

from collections.abc import Callable

import pytest

from earwitness.config import load_config
from earwitness.doctor_pci import Searched, prove_pause
from lab.waiting import until
from lab.world import World
from tests.doctoring import doctor
from tests.service import Service

# The services of all tests here follow one PBX until the end, so each has its own application.
pytestmark = pytest.mark.pbx

PLACES = {
    *("files of the PBX", "files of the workers", "stored object", "manifest", "database"),
    *("event stream", "data directory", "logs", "sound of a page", "sound of a phone"),
    "level meters of a page",
}
SOUND = {"files of the PBX", "files of the workers", "stored object"}
LISTENERS = {"sound of a page", "sound of a phone", "level meters of a page"}


def prove(service: Service, **how: bool) -> dict[str, Searched]:
    """Return the searched places by their names."""
    config = load_config(service.config)
    return {one.place: one for one in prove_pause(config, config.pbx[0], **how)}


def found(places: dict[str, Searched]) -> set[str]:
    """Return the names of the places in which something was found."""
    return {name for name, one in places.items() if one.found is not None}


def test_a_pause_leaves_no_trace(start_service: Callable[..., Service], world: World) -> None:
    """Every place is searched, nothing is found, the status is 0, and the PBX is left clean."""
    service = start_service()
    status, lines = doctor(service.config, "--pci")
    assert status == 0, lines
    searched = [line for line in lines if line.startswith("ok   pbx lab pause, ")]
    assert len(searched) == len(PLACES)
    assert all("nothing found in" in line for line in searched)
    until(lambda: not world.pbx.ari("GET", "/channels"), 20)
    until(lambda: not world.pbx.ari("GET", "/bridges"), 20)


def test_a_call_that_is_not_paused_is_found(
    start_service: Callable[..., Service], world: World
) -> None:
    """Without the pause the marker is found in every file and by every listener."""
    places = prove(start_service(application="not-paused"), pauses=False)
    assert set(places) == PLACES
    assert found(places) == SOUND | LISTENERS


def test_listeners_that_hear_are_found(start_service: Callable[..., Service], world: World) -> None:
    """With `pause_listeners = "hear"` the status is 1: the supervisors received the marker."""
    service = start_service(application="hearing", pause_listeners="hear")
    status, lines = doctor(service.config, "--pci")
    assert status == 1
    wrong = [line for line in lines if line.startswith("FAIL ")]
    assert {line.split(", ")[1].split(":")[0] for line in wrong} == LISTENERS
    assert all('pause_listeners is "hear"' in line for line in wrong)
