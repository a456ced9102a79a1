"""The pages of calls that we set up: click to dial, call-backs, campaigns, the do-not-call list."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.service import Service
from tests.web.browsing import Person

pytestmark = pytest.mark.pbx

PHONE = "2006"  # other modules share the service, and have an agent 2001
# A worker settles a campaign within this time, on a busy machine too.
STEP_MS = 60_000
SCREEN = {"width": 360, "height": 740}


@pytest.fixture
def admin(service: Service, page: Page) -> Person:
    """Return a signed-in administrator, whose browser knows a phone."""
    person = Person(service, page, "admin")
    key = f"earwitness-own-phone:{person.name}"
    page.add_init_script(f"localStorage.setItem({key!r}, 'PJSIP/{PHONE}')")
    person.sign_in()
    return person


def assert_fits(page: Page) -> None:
    """Check that nothing of the page is wider than a narrow screen."""
    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]
    widths = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, seen = page.evaluate(widths)
    assert wide <= seen
    page.set_viewport_size({"width": 1280, "height": 800})


def test_a_number_is_called_by_keyboard(admin: Person, service: Service, world: World) -> None:
    """The phone rings, then the number; the card says each step, on every page, to the end."""
    page, number = admin.page, next(numbers)
    world.far.behave(PHONE, "ring", 0, None)
    expect(page.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    page.locator("#dial-number").focus()
    page.keyboard.type(number)
    page.keyboard.press("Enter")
    card = page.get_by_role("region", name="Your call")
    expect(card).to_contain_text("Your phone rings: answer it")
    expect(card).to_contain_text(f"+{number}")
    admin.assert_accessible()
    world.far.pick_up(PHONE)
    expect(card).to_contain_text("You are talking")
    expect(admin.row(number)).to_contain_text("dialled here")
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    expect(card).to_contain_text("You are talking")
    page.reload()
    expect(card).to_contain_text("You are talking")
    assert_fits(page)
    card.get_by_role("button", name="Hang up").click()
    expect(card).to_contain_text("The call has ended.")
    until(lambda: service.get("/calls")["items"] == [])
    assert admin.faults == []


def test_a_number_that_is_no_number(admin: Person) -> None:
    """The form says in words that nothing is called, and keeps the number."""
    page = admin.page
    page.locator("#dial-number").fill("12")
    page.get_by_role("button", name="Call", exact=True).click()
    form = page.get_by_role("form", name="Call a number")
    expect(form.get_by_role("alert")).to_contain_text("12")
    expect(page.locator("#dial-number")).to_have_value("12")
    expect(page.get_by_role("region", name="Your call")).to_be_hidden()


def test_a_missed_caller_is_called_back(admin: Person, service: Service, world: World) -> None:
    """A caller whom nobody answered is in the list; a call-back waits, shows the time there, and
    can be cancelled."""
    page, caller = admin.page, next(numbers)
    world.far.behave("2001", "ring", 0, None)
    call = world.inbound(caller=caller, answered_by="")
    expect(admin.row(caller).first).to_be_visible()
    call.leg("customer").hang_up()
    missed = page.locator("#missed tr", has_text=caller)
    missed.get_by_role("button", name="Call back").click()
    dialog = page.get_by_role("dialog", name="Call back")
    expect(dialog.get_by_label("Number")).to_have_value(caller)
    dialog.get_by_label("At a time").check()
    expect(dialog).to_contain_text("Time at this number:")
    dialog.get_by_label("Note").fill("wants a refund")
    admin.assert_accessible()
    dialog.get_by_role("button", name="Schedule").click()
    expect(dialog).to_be_hidden()
    promised = page.locator("#callbacks tr", has_text=caller)
    expect(promised).to_contain_text("wants a refund")
    expect(promised.locator("[data-zones]")).to_have_text(re.compile(r"\(.+\)"))
    assert_fits(page)
    promised.get_by_role("button", name="Cancel the call-back").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel the call-back").click()
    expect(promised).to_have_count(0)
    (kept,) = service.get("/callbacks", number=caller)["items"]
    assert (kept["state"], kept["cause"]) == ("cancelled", "by-person")
    assert admin.faults == []


def test_a_campaign_with_a_preview(
    admin: Person, service: Service, world: World, tmp_path: Path
) -> None:
    """A list is sent and its bad line is told; the agent sees a number with its data, and calls."""
    page, number = admin.page, next(numbers)
    file = tmp_path / "list.csv"
    file.write_text(f"number,name,account\n+{number},Alice,4711\nnonsense,Bob,4712\n")
    page.goto(f"{service.url}/campaigns")
    page.get_by_label("Name").fill("Autumn")
    page.get_by_label("Phones of the agents").fill(f"PJSIP/{PHONE}")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Autumn")).to_be_visible()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Send the list").click()
    expect(page.get_by_text("2 lines were read, 1 of them refused.")).to_be_visible()
    expect(page.get_by_role("list", name="Refused lines")).to_contain_text("Line 3: 'nonsense'")
    admin.assert_accessible()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#campaign-state .pill")).to_have_text("running")
    assert_fits(page)
    world.far.behave(PHONE, "answer", 0.1, None)
    page.get_by_role("button", name=f"Ready: {PHONE}").click()
    expect(page.get_by_role("button", name=f"Away: {PHONE}")).to_be_visible()
    _preview(service, admin, number)
    expect(page.locator("#campaign-progress")).to_contain_text("reached 1", timeout=STEP_MS)
    page.get_by_role("link", name="Campaigns", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("Autumn"))).to_contain_text(
        "finished", timeout=STEP_MS
    )
    assert admin.faults == []


def _preview(service: Service, admin: Person, number: str) -> None:
    """Let the agent see the number, call it and hang up."""
    browser = admin.page.context.browser
    assert browser is not None
    agent = Person(service, browser.new_page(), "agent", name=PHONE)
    agent.sign_in("/my-campaigns")
    agent.page.get_by_role("button", name="Show the next number").click()
    expect(agent.page.locator("#my-campaigns")).to_contain_text("Alice")
    expect(agent.page.locator("#my-campaigns")).to_contain_text("4711")
    agent.assert_accessible()
    assert_fits(agent.page)
    agent.page.get_by_role("button", name="Go: call this number").click()
    card = agent.page.get_by_role("region", name="Your call")
    expect(card).to_contain_text("You are talking")
    expect(card).to_contain_text(f"+{number}")
    card.get_by_role("button", name="Hang up").click()
    expect(card).to_contain_text("The call has ended.")
    assert agent.faults == []
    agent.page.context.close()


def test_a_number_that_nobody_may_call(admin: Person, service: Service) -> None:
    """A number of the do-not-call list is refused by a click, until it is removed."""
    page, number = admin.page, next(numbers)
    page.goto(f"{service.url}/do-not-call")
    page.locator("#listed-number").fill(f"+{number}")
    page.locator("#listed-reason").fill("asked on the phone")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row", name=re.compile(re.escape(f"+{number}")))
    expect(row).to_contain_text("asked on the phone")
    admin.assert_accessible()
    assert_fits(page)
    refused = service.post("/calls", {"from": f"PJSIP/{PHONE}", "to": number})
    assert refused.json()["error_id"] == "number-refused"
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    assert admin.faults == []


def test_an_agent_sees_its_own_pages(service: Service, page: Page) -> None:
    """An agent calls from its own phone alone, and other pages say that it may not see them."""
    agent = Person(service, page, "agent", name="2002")
    agent.sign_in()
    phone = page.locator("#dial-phone")
    expect(phone).to_have_value("PJSIP/2002")
    page.get_by_role("link", name="My campaigns").click()
    expect(page.get_by_role("heading", name="No campaign runs for you")).to_be_visible()
    agent.assert_accessible()
    for path in ("/campaigns", "/conferences", "/do-not-call"):
        page.goto(f"{service.url}{path}")
        expect(page.get_by_role("heading", name="You may not see this page")).to_be_visible()
