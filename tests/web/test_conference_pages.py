"""The page of the conferences, with real phones in them."""

import pytest
from playwright.sync_api import Locator, Page, expect

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


def member(page: Page, name: str) -> Locator:
    """Return the line of the member of this name or number."""
    return page.locator("[data-member]", has_text=name)


def test_a_conference_from_its_start_to_its_end(
    admin: Person, service: Service, world: World
) -> None:
    """Members come and speak; a person mutes, holds, removes and locks, and then ends it."""
    page, number = admin.page, next(numbers)
    for phone in ("2001", "2002", number):
        world.far.behave(phone, "answer", 0.1, None)
    page.goto(f"{service.url}/conferences")
    expect(page.get_by_role("heading", name="No conference is open")).to_be_visible()
    page.get_by_label("Name, without spaces (optional)").fill("monday")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_role("heading", name="monday")).to_be_visible()
    for destination, name in (("PJSIP/2001", "2001"), ("PJSIP/2002", "2002"), (number, number)):
        page.get_by_label("Phone or number to call in").fill(destination)
        page.get_by_role("button", name="Call in").click()
        expect(member(page, name)).to_contain_text("in the conference")
    expect(page.locator("[data-speaks]:visible").first).to_be_visible()
    admin.assert_accessible()
    _act_on_members(page)
    page.get_by_role("button", name="Lock: monday").click()
    expect(page.get_by_role("button", name="Unlock: monday")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="End: monday").click()
    page.get_by_role("alertdialog").get_by_role("button", name="End: monday").click()
    expect(page.get_by_role("heading", name="No conference is open")).to_be_visible()
    until(lambda: not service.get("/calls")["items"])
    assert admin.faults == []


def _act_on_members(page: Page) -> None:
    """Mute, hold and remove by the buttons; each keeps the focus for the next press."""
    mute = page.get_by_role("button", name="Mute: 2001")
    mute.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Unmute: 2001")).to_be_focused()
    expect(member(page, "2001")).to_contain_text("muted")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Mute: 2001", exact=True)).to_be_focused()
    page.get_by_role("button", name="Hold: 2002").click()
    expect(member(page, "2002")).to_contain_text("on hold")
    page.get_by_role("button", name="Resume: 2002").click()
    expect(member(page, "2002")).not_to_contain_text("on hold")
    page.get_by_role("button", name="Remove: 2002").click()
    expect(member(page, "2002")).to_have_count(0)


def test_a_live_call_is_taken_in(admin: Person, service: Service, world: World) -> None:
    """Both people of a call on the live page talk in a new conference then."""
    page, caller = admin.page, next(numbers)
    call = world.inbound(caller=caller)
    admin.row(caller).get_by_role("button", name="Take into a conference").click()
    dialog = page.get_by_role("dialog", name="Take into a conference")
    expect(dialog.get_by_label("Conference")).to_have_value("")
    admin.assert_accessible()
    dialog.get_by_role("button", name="Take in").click()
    expect(page.get_by_text("Both people are in the conference")).to_be_visible()
    page.get_by_role("link", name="Conferences").click()
    for name in (caller, "2001"):
        expect(member(page, name)).to_contain_text("in the conference")
    for party in ("customer", "agent"):
        call.leg(party).hang_up()
    expect(page.get_by_role("heading", name="No conference is open")).to_be_visible()
    until(lambda: not service.get("/conferences")["items"])
    assert admin.faults == []
