"""The web page in a browser, on real calls."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.pbx.watching import parts_left, watch
from tests.service import Service
from tests.web.browsing import Person
from tests.web.listening import assert_heard

pytestmark = pytest.mark.pbx

C, A1, S = CUSTOMER_HZ, AGENT_HZ["2001"], SUPERVISOR_HZ


@pytest.fixture
def admin(service: Service, page: Page) -> Person:
    """Somebody who may do all, signed in."""
    person = Person(service, page, "admin")
    person.sign_in()
    return person


def test_a_call_comes_and_goes(admin: Person, world: World) -> None:
    """It appears when it rings, tells who talks with whom, and goes when it ends."""
    page = admin.page
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    row = admin.row(caller)
    expect(row).to_contain_text("2001")
    expect(row).to_contain_text("talking")
    expect(row).to_contain_text("from outside")
    call.hang_up()
    expect(row).to_have_count(0)
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    assert admin.faults == []


def test_listening(admin: Person, service: Service, world: World) -> None:
    """One click and the page sounds; a whisper reaches the agent alone, a barge both; then none."""
    watched = watch(service, world)
    page = admin.page
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    admin.row(caller).get_by_role("button", name="Listen").click()
    admin.assert_sounds((C, A1), absent=(S,))
    expect(page.locator("#bar")).to_contain_text(caller)
    expect(admin.row(caller)).to_contain_text(f"{admin.name} (listens)")
    watched.part("listen")
    page.locator("#bar").get_by_text("Whisper").click()
    expect(admin.row(caller)).to_contain_text("(whispers)")
    time.sleep(0.7)  # the microphone opens
    watched.part("whisper")
    page.locator("#bar").get_by_text("Barge").click()
    expect(admin.row(caller)).to_contain_text("(barges in)")
    watched.part("barge")
    page.get_by_role("button", name="Stop listening").click()
    expect(page.locator("#bar")).to_be_hidden()
    until(lambda: not parts_left(world))
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    assert_heard(watched, customer, "listen", A1)
    assert_heard(watched, agent, "listen", C)
    assert_heard(watched, customer, "whisper", A1)
    assert_heard(watched, agent, "whisper", C, S)
    assert_heard(watched, customer, "barge", A1, S)
    assert admin.faults == []


def test_recording(admin: Person, service: Service, world: World) -> None:
    """Start, pause, resume and stop, on the row."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    call_id = service.live_call(caller)["id"]
    row = admin.row(caller)
    for act, told in (
        ("Record", "records"),
        ("Pause", "paused"),
        ("Resume", "records"),
    ):
        row.get_by_role("button", name=act).click()
        expect(row.locator("[data-part=recording]")).to_have_text(told)
    row.get_by_role("button", name="Stop").click()
    expect(row.get_by_role("button", name="Record")).to_be_visible()
    call.hang_up()
    (made,) = service.recordings(call_id)
    assert len(service.await_state(made["id"], ["stored"])["pauses"]) == 1
    assert admin.faults == []


def test_what_is_refused_is_told(admin: Person, service: Service, world: World) -> None:
    """A click that comes too late says why nothing happens."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    row = admin.row(caller)
    button = row.get_by_role("button", name="Record")
    expect(button).to_be_visible()
    admin.page.route("**/recordings", lambda route: (call.hang_up(), route.continue_())[1])
    button.click()
    expect(admin.page.get_by_role("alert")).to_be_visible()


def test_another_team_sees_nothing(
    service: Service, world: World, page: Page, browser_page: Callable[[], Page]
) -> None:
    """A supervisor sees the calls of the own team, and no row of another's."""
    service.run("token", "create", "--name", "2001", "--role", "agent", "--team", "support")
    theirs = Person(service, page, "supervisor", "support")
    others = Person(service, browser_page(), "supervisor", "sales")
    for one in (theirs, others):
        one.sign_in()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    expect(theirs.row(caller)).to_contain_text("support")
    expect(others.page.get_by_text("Nobody is talking")).to_be_visible()
    assert others.row(caller).count() == 0
    call.hang_up()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(service: Service, world: World, page: Page, scheme: str) -> None:
    """axe finds nothing amiss: the form, the empty page, a call, and the bar while one listens."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    person = Person(service, page, "admin")
    page.goto(f"{service.url}/sign-in")
    person.assert_accessible()
    person.sign_in()
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    person.assert_accessible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    person.row(caller).get_by_role("button", name="Listen").click()
    expect(page.locator("#bar")).to_contain_text("Live")
    person.assert_accessible()
    page.get_by_role("button", name="Stop listening").click()
    call.hang_up()


def test_the_keyboard_alone(service: Service, world: World, page: Page) -> None:
    """Sign in, listen and stop, without a mouse."""
    person = Person(service, page, "admin")
    page.goto(f"{service.url}/")
    page.keyboard.type(person.name)  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    caller = next(numbers)
    call = world.inbound(caller=caller)
    expect(person.row(caller)).to_contain_text("talking")
    for name in ("Listen", "Stop listening"):
        button = page.get_by_role("button", name=name)
        expect(button).to_be_visible()
        for _ in range(30):
            if button.evaluate("it => it === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    expect(page.locator("#bar")).to_be_hidden()
    call.hang_up()
