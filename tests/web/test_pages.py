"""The live page in a browser, on real calls."""

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, Route, expect

from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.pbx.watching import parts_left, watch
from tests.service import Service
from tests.web.browsing import PASSWORD, Person, fill_in
from tests.web.listening import assert_heard

pytestmark = pytest.mark.pbx

# Hide the tab, or show it again.
SEEN = """
(seen) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !seen });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""
C, A1, S = CUSTOMER_HZ, AGENT_HZ["2001"], SUPERVISOR_HZ


@pytest.fixture
def admin(service: Service, page: Page) -> Person:
    """Return a signed-in administrator."""
    person = Person(service, page, "admin")
    person.sign_in()
    return person


def test_a_call_comes_and_goes(admin: Person, service: Service, world: World) -> None:
    """A call appears with its parties, and goes when it ends; a hidden tab follows nothing."""
    page = admin.page
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    row = admin.row(caller)
    expect(row).to_contain_text("2001")
    expect(row).to_contain_text("talking")
    expect(row).to_contain_text("incoming")
    page.evaluate(SEEN, False)
    call.hang_up()
    until(lambda: service.get("/calls")["items"] == [])
    expect(row).to_have_count(1)  # the hidden tab follows nothing
    page.evaluate(SEEN, True)
    expect(row).to_have_count(0)
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    assert admin.faults == []


def test_listening(admin: Person, service: Service, world: World) -> None:
    """One click sounds; only the agent hears a whisper, both parties hear a barge."""
    watched = watch(service, world)
    page = admin.page
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    admin.row(caller).get_by_role("button", name="Listen").click()
    admin.assert_sounds((C, A1), absent=(S,))
    expect(page.locator("#bar")).to_contain_text(caller)
    expect(admin.row(caller)).to_contain_text(f"{admin.name} (listening)")
    page.get_by_label("Number, name or agent").fill(caller)
    page.evaluate("window.stays = true")
    page.keyboard.press("Enter")
    watched.part("listen")
    page.locator("#bar").get_by_text("Whisper").click()
    expect(admin.row(caller)).to_contain_text("(whispering)")
    says = page.locator("#bar meter[name=say]")
    until(lambda: says.evaluate("it => it.value") > 0.3)
    watched.part("whisper")
    page.locator("#bar").get_by_text("Barge").click()
    expect(admin.row(caller)).to_contain_text("(barging in)")
    watched.part("barge")
    page.get_by_role("button", name="Stop listening").click()
    expect(page.locator("#bar")).to_be_hidden()
    assert page.evaluate("window.stays"), "to seek calls left the page"
    until(lambda: not parts_left(world))
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    assert_heard(watched, customer, "listen", A1)
    assert_heard(watched, agent, "listen", C)
    assert_heard(watched, customer, "whisper", A1)
    assert_heard(watched, agent, "whisper", C, S)
    assert_heard(watched, customer, "barge", A1, S)
    assert admin.faults == []


@pytest.mark.parametrize("silent", ["customer", "agent"])
def test_levels(
    admin: Person, service: Service, world: World, silent: Literal["customer", "agent"]
) -> None:
    """The meter of a silent side stays at zero while the other moves."""
    nothing = world.far_asterisk.directory / "nothing.wav"
    soundfile.write(nothing, np.zeros(60 * 8000), 8000, subtype="PCM_16")
    said = {f"{silent}_says": nothing}
    watched = watch(service, world, **said)
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    admin.row(caller).get_by_role("button", name="Listen").click()
    meters = {
        name: admin.page.locator(f"#bar meter[name={name}]") for name in ("customer", "agent")
    }
    (speaking,) = meters.keys() - {silent}
    until(lambda: meters[speaking].evaluate("it => it.value") > 0.3)
    values = [
        (meters[speaking].evaluate("it => it.value"), meters[silent].evaluate("it => it.value"))
        for _ in range(20)
    ]
    assert min(value for value, _ in values) > 0.3, values
    assert max(value for _, value in values) == 0, values
    admin.page.get_by_role("button", name="Stop listening").click()
    until(lambda: not parts_left(world))
    watched.hang_up()
    assert admin.faults == []


def test_levels_after_a_transfer(admin: Person, service: Service, world: World) -> None:
    """Both meters move after a transfer, and after the media server died."""
    watched = watch(service, world)
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    admin.row(caller).get_by_role("button", name="Listen").click()
    meters = [admin.page.locator(f"#bar meter[name={name}]") for name in ("customer", "agent")]

    def move() -> bool:
        for meter in meters:  # so that an old value proves nothing
            meter.evaluate("it => { it.value = 0; }")
        until(lambda: all(meter.evaluate("it => it.value") > 0.3 for meter in meters), 30)
        return True

    assert move()
    watched.call.blind_transfer("2003")
    admin.assert_sounds((C, AGENT_HZ["2003"]), absent=(A1,))
    expect(admin.page.locator("#bar")).to_contain_text(f"{caller} ⇄ 2003")
    assert move()
    service.kill_role("media")
    assert move()
    admin.page.get_by_role("button", name="Stop listening").click()
    until(lambda: not parts_left(world))
    watched.hang_up()


def test_recording(admin: Person, service: Service, world: World) -> None:
    """The buttons of a row start, pause, resume and stop a recording."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    call_id = service.live_call(caller)["id"]
    row = admin.row(caller)
    for act, shown in (
        ("Record", "recording"),
        ("Pause", "paused"),
        ("Resume", "recording"),
    ):
        row.get_by_role("button", name=act).click()
        expect(row.locator("[data-part=recording]")).to_have_text(shown)
    row.get_by_role("button", name="Stop").click()
    expect(row.get_by_role("button", name="Record")).to_be_visible()
    call.hang_up()
    (made,) = service.recordings(call_id)
    assert len(service.await_state(made["id"], ["stored"])["pauses"]) == 1
    assert admin.faults == []


def test_a_refused_click_shows_the_reason(admin: Person, service: Service, world: World) -> None:
    """A click that comes too late shows the reason for its refusal."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    call_id = service.live_call(caller)["id"]
    row = admin.row(caller)
    button = row.get_by_role("button", name="Record")
    expect(button).to_be_visible()

    def come_late(route: Route) -> None:
        call.hang_up()
        until(lambda: service.get(f"/calls/{call_id}")["state"] == "ended")
        route.continue_()

    admin.page.route("**/recordings", come_late)
    button.click()
    expect(admin.page.get_by_role("alert")).to_be_visible()


def test_a_page_that_fails_to_load(admin: Person, service: Service, world: World) -> None:
    """If another page fails to load, the live page says so and keeps running."""
    page = admin.page
    page.route("**/library", lambda route: route.fulfill(status=500))
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("alert")).to_contain_text("The service did not answer")
    caller = next(numbers)
    call = world.inbound(caller=caller)
    expect(admin.row(caller)).to_contain_text("talking")
    call.hang_up()
    expect(admin.row(caller)).to_have_count(0)


def test_the_service_is_killed(admin: Person, service: Service, world: World) -> None:
    """The page says that it may be old, reconnects, and shows the calls of the meantime."""
    page = admin.page
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    service.kill_role("api")
    expect(page.get_by_text("Connection lost")).to_be_visible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    expect(admin.row(caller)).to_contain_text("talking")
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    call.hang_up()
    expect(admin.row(caller)).to_have_count(0)


def test_a_list_that_fails_to_load(admin: Person, service: Service, world: World) -> None:
    """The page says that it may be old, and asks again until the list arrives."""
    page = admin.page
    page.route("**/api/v1/calls?limit=200", lambda route: route.fulfill(status=503))
    page.reload()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    assert service.live_call(caller)
    expect(page.get_by_text("Connection lost")).to_be_visible()
    page.unroute("**/api/v1/calls?limit=200")
    expect(admin.row(caller)).to_contain_text("talking")
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    call.hang_up()
    expect(admin.row(caller)).to_have_count(0)


def test_a_page_that_was_left_opens_no_stream(admin: Person) -> None:
    """After the person has left the page, no stream is opened for it."""
    page = admin.page
    streams: list[Route] = []
    held: list[Route] = []

    def refuse(route: Route) -> None:
        streams.append(route)
        route.fulfill(status=502)

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v1/events", refuse)
    page.route("**/api/v1/calls?limit=1", hold)
    with page.expect_request("**/api/v1/calls?limit=1"):
        page.reload()
    page.get_by_role("link", name="Library").click()
    expect(page.locator("[data-module=live]")).to_have_count(0)
    before = len(streams)
    with page.expect_response("**/api/v1/calls?limit=1"):
        held[0].continue_()
    for _ in range(5):  # a request for a stream would come before these
        assert page.evaluate("fetch('/health/live').then(({ ok }) => ok)")
    assert len(streams) == before


def test_no_row_moves_under_the_pointer(admin: Person, service: Service, world: World) -> None:
    """The newest call is on top, but no row comes or goes while the pointer is on one."""
    page = admin.page
    callers = [next(numbers) for _ in range(3)]
    calls = [world.inbound(caller=caller) for caller in callers[:2]]
    page.reload()
    rows = page.locator("tr[data-call]")
    for place, caller in enumerate(reversed(callers[:2])):
        expect(rows.nth(place)).to_contain_text(caller)
    old, new = rows.nth(1).bounding_box(), admin.row(callers[2])
    assert old is not None
    page.mouse.move(old["x"] + 5, old["y"] + 5)
    calls[1].hang_up()
    expect(rows.first).to_contain_text("ended")
    expect(rows.first.get_by_role("button")).to_have_count(0)
    calls.append(world.inbound(caller=callers[2]))
    shown_until = time.monotonic() + 3

    def point() -> bool:
        page.mouse.move(old["x"] + 5 + time.monotonic() % 1, old["y"] + 5)
        return time.monotonic() > shown_until

    until(point)
    assert rows.nth(1).bounding_box() == old
    page.mouse.move(0, 0)
    expect(rows.first).to_contain_text(callers[2])
    expect(rows).to_have_count(2)
    for call in (calls[0], calls[2]):
        call.hang_up()
    expect(new).to_have_count(0)
    assert admin.faults == []


def test_a_call_leaves_the_team(
    service: Service, world: World, page: Page, browser_page: Callable[[], Page]
) -> None:
    """A call that leaves the team disappears, and takes no listener along."""
    for agent, team in (("2001", "billing"), ("2003", "sales")):
        service.run("token", "create", "--name", agent, "--role", "agent", "--team", team)
    listens = Person(service, page, "supervisor", "billing")
    looks = Person(service, browser_page(), "supervisor", "billing")
    watched = watch(service, world)
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    for one in (listens, looks):
        one.sign_in()
        expect(one.row(caller)).to_contain_text("talking")
    with page.expect_response(f"**/calls/{watched.call_id}"):  # from here on the bar follows events
        listens.row(caller).get_by_role("button", name="Listen").click()
    listens.assert_sounds((C, A1))
    watched.call.blind_transfer("2003")
    expect(page.get_by_text("Listening has ended (you may not listen any more)")).to_be_visible()
    expect(page.locator("#bar")).to_be_hidden()
    for one in (listens, looks):
        expect(one.row(caller)).to_have_count(0)
    watched.hang_up()
    assert listens.faults == []


def test_another_team_sees_nothing(
    service: Service, world: World, page: Page, browser_page: Callable[[], Page]
) -> None:
    """A supervisor sees only the calls of their own team."""
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


def test_an_agent(service: Service, world: World, page: Page) -> None:
    """An agent sees only their own calls, without buttons to listen or record."""
    agent = Person(service, page, "agent", name="2001")
    agent.sign_in()
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    own = next(numbers)
    calls = [world.inbound(caller=own), world.internal("2002", "2003")]
    expect(agent.row(own)).to_contain_text("talking")
    until(lambda: len(service.get("/calls")["items"]) == 2)
    expect(page.locator("tr[data-call]")).to_have_count(1)
    expect(agent.row(own).get_by_role("button")).to_have_count(0)
    for call, by in zip(calls, ("customer", "agent"), strict=True):
        call.hang_up(by)
    expect(agent.row(own)).to_have_count(0)
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    assert agent.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_live_pages_are_accessible(service: Service, world: World, page: Page, scheme: str) -> None:
    """axe finds no fault in the form, the empty page, a call, and the bar."""
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
    expect(page.locator("#bar")).to_contain_text("Live", use_inner_text=True)
    person.assert_accessible()
    page.get_by_role("button", name="Stop listening").click()
    call.hang_up()


def test_the_keyboard_alone(service: Service, world: World, page: Page) -> None:
    """A person from the command line signs in, listens and stops without a mouse."""
    name = f"keys-{next(numbers)}"
    service.run("user", "create", name, "--role", "admin", typed=PASSWORD)
    page.goto(f"{service.url}/")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    caller = next(numbers)
    call = world.inbound(caller=caller)
    expect(page.locator("tr[data-call]", has_text=caller)).to_contain_text("talking")
    for label in ("Listen", "Stop listening"):
        button = page.get_by_role("button", name=label)
        expect(button).to_be_visible()
        for _ in range(30):
            if button.evaluate("it => it === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    expect(page.locator("#bar")).to_be_hidden()
    call.hang_up()


def test_the_microphone_is_checked(admin: Person) -> None:
    """A check shows the level of the microphone, and then releases it."""
    page = admin.page
    page.get_by_text("Your phone and microphone").click()
    button = page.get_by_role("button", name="Check the microphone")
    button.click()
    meter = page.get_by_label("Your microphone")
    until(lambda: meter.evaluate("it => it.value") > 0.3)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert admin.faults == []


def test_a_microphone_that_is_granted_too_late(admin: Person) -> None:
    """A microphone that is granted after the person left the page is released."""
    page = admin.page
    page.evaluate(
        """() => {
          const ask = navigator.mediaDevices.getUserMedia;
          const granted = new Promise((grant) => { window.grant = grant; });
          navigator.mediaDevices.getUserMedia = async (...all) => {
            await granted;
            window.given = await ask(...all);
            return window.given;
          };
        }"""
    )
    page.get_by_text("Your phone and microphone").click()
    page.get_by_role("button", name="Check the microphone").click()
    page.get_by_role("link", name="Library").click()
    expect(page.locator("[data-module=live]")).to_have_count(0)
    page.evaluate("grant()")
    given = "window.given?.getTracks().map((track) => track.readyState)"
    until(lambda: page.evaluate(given) == ["ended"])
    assert admin.faults == []


def test_the_phone_instead(admin: Person, service: Service, world: World) -> None:
    """If the person names a phone, that phone rings, and the bar works the same."""
    watched = watch(service, world)
    page = admin.page
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    page.get_by_text("Your phone and microphone").click()
    page.get_by_label("My phone").fill("PJSIP/9001")
    page.get_by_label("My phone").press("Tab")
    admin.row(caller).get_by_role("button", name="Listen").click()
    leg = world.supervisor("9001")
    expect(page.locator("#bar")).to_contain_text("Live", use_inner_text=True)
    watched.part("listen")
    page.get_by_role("button", name="Stop listening").click()
    until(lambda: not parts_left(world))
    watched.hang_up()
    assert_heard(watched, leg, "listen", C, A1)


def test_signing_out_everywhere(
    service: Service, page: Page, browser_page: Callable[[], Page]
) -> None:
    """Signing out everywhere ends the session in another browser too."""
    here = Person(service, page, "compliance")
    here.sign_in("/library")
    there = browser_page()
    there.goto(f"{service.url}/sign-in")
    fill_in(there, here.name)
    there.wait_for_url(f"{service.url}/")
    expect(there.get_by_text("Nobody is talking")).to_be_visible()  # its stream is open
    page.get_by_text(here.name).click()
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url("**/sign-in")
    request = "fetch('/api/v1/calls').then(({ status }) => status)"
    assert there.evaluate(request) == 401, "and no window for a password stops the page"
    there.get_by_role("link", name="Library").click()
    there.wait_for_url("**/sign-in**")


def test_single_sign_on(service: Service, page: Page) -> None:
    """Single sign-on leads over the provider's form to the wanted page, and out again."""
    person = Person(service, page, "admin")
    page.goto(f"{service.url}/library?tag=vip")
    person.assert_accessible()
    page.get_by_role("link", name="Sign in with Acme").click()
    page.get_by_label("User").fill("sam")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{service.url}/library?tag=vip")
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_text("Nobody is talking")).to_be_visible()
    page.locator("header summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in")
    assert person.faults == []


def test_from_right_to_left(service: Service, world: World, page: Page) -> None:
    """A browser that asks for Arabic gets an accessible page from right to left."""
    page.set_extra_http_headers({"Accept-Language": "ar"})
    person = Person(service, page, "admin")
    person.sign_in()
    assert page.evaluate("document.documentElement.dir") == "rtl"
    expect(page.get_by_text("لا أحد يتحدث")).to_be_visible()
    person.assert_accessible()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    row = person.row(caller)
    expect(row).to_contain_text("جارية")
    row.get_by_role("button", name="استماع").click()
    person.assert_sounds((C, A1))
    person.assert_accessible()
    page.locator("#bar").get_by_role("button").click()
    call.hang_up()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert person.faults == []
