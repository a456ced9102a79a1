"""The states of calls on the live page: true, whatever joins or parts them."""

import re

import pytest
from playwright.sync_api import Page, expect

from lab.pbx import DID_IVR, DID_QUEUE
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.service import Service
from tests.web.browsing import Person

pytestmark = pytest.mark.pbx


@pytest.fixture
def admin(service: Service, page: Page) -> Person:
    """Return a signed-in administrator."""
    person = Person(service, page, "admin")
    person.sign_in()
    return person


def assert_says(person: Person, caller: str, state: str, more: str = "") -> None:
    """Check the state in the row of a caller, and the line below it."""
    row = person.row(caller).first
    expect(row.locator("[data-part=state]")).to_have_text(state)
    expect(row.locator("[data-part=more]")).to_have_text(more)


def test_a_menu_and_a_queue(admin: Person, service: Service, world: World) -> None:
    """A caller in a menu or a queue does not talk; the places in the queue move up."""
    menu, first, second = next(numbers), next(numbers), next(numbers)
    for phone in ("2001", "2002"):
        world.far.behave(phone, "ring", 0, None)
    world.inbound(DID_IVR, menu, answered_by="")
    assert_says(admin, menu, "in a menu")
    one = world.inbound(DID_QUEUE, first, answered_by="")
    assert_says(admin, first, "waiting", "number 1 in the queue")
    other = world.inbound(DID_QUEUE, second, answered_by="")
    assert_says(admin, second, "waiting", "number 2 in the queue")
    call = service.live_call(second)
    assert call["waiting"]["position"] == 2
    assert (call["state"], call["talking"]) == ("up", False)
    waited = admin.row(second).locator("[data-part=waited]")
    before = waited.inner_text()
    until(lambda: waited.inner_text() > before)
    admin.assert_accessible()
    one.leg("customer").hang_up()
    assert_says(admin, second, "waiting", "number 1 in the queue")
    other.leg("customer").hang_up()
    expect(admin.row(second)).to_have_count(0)
    world.hang_up_all()
    assert admin.faults == []


def test_hold_and_an_attended_transfer(admin: Person, service: Service, world: World) -> None:
    """A held customer is on hold; joined calls name each other; no row moves."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    assert_says(admin, caller, "talking")
    box = admin.row(caller).first.bounding_box()
    call.hold("agent")
    assert_says(admin, caller, "on hold")
    call.unhold("agent")
    assert_says(admin, caller, "talking")
    call.attended_transfer("2003")
    row = admin.row(caller).first
    expect(row.locator("[data-part=more]")).to_have_text(re.compile("^with "))
    assert_says(admin, caller, "talking", row.locator("[data-part=more]").inner_text())
    after = row.bounding_box()
    assert box is not None
    assert after is not None
    assert after["height"] == box["height"]
    joined = service.live_call(caller)["joined"]
    assert joined
    assert all(service.get(f"/calls/{one}")["talking"] for one in joined)
    call.hang_up()
    expect(admin.row(caller)).to_have_count(0)
    assert admin.faults == []


def test_a_conference(admin: Person, service: Service, world: World) -> None:
    """Each member's row counts the people, and names the calls of the others."""
    caller = next(numbers)
    room = world.conference(caller)
    assert_says(admin, caller, "in a menu")
    room.join("2001")
    row = admin.row(caller).first
    expect(row.locator("[data-part=state]")).to_have_text("talking")
    room.join("2002")
    expect(row.locator("[data-part=state]")).to_have_text("conference (3)")
    expect(row.locator("[data-part=more]")).to_have_text(re.compile("^with .+, .+"))
    assert len(service.live_call(caller)["joined"]) == 2
    room.leave("2002")
    expect(row.locator("[data-part=state]")).to_have_text("talking")
    room.end()
    expect(row).to_have_count(0)
    assert admin.faults == []
