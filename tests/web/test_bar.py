"""The bar of a spy, through failures and changes around it."""

import pytest
from playwright.sync_api import Page, Response, Route, expect

from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import Watched, parts_left, watch, watch_outbound
from tests.service import Service
from tests.web.browsing import INSECURE_HOST, Person, fill_in

pytestmark = pytest.mark.pbx

C, A1 = CUSTOMER_HZ, AGENT_HZ["2001"]
# Let a test cut the page's connection, and make its next connections fail.
CUTTING = """
const Socket = WebSocket;
let away = false;
window.WebSocket = class extends Socket {
  constructor(url) {
    super(away ? url.replace("token=", "token=not-") : url);
    window.last = this;
  }
};
window.cut = () => { away = true; last.close(3001); };
window.mend = () => { away = false; };
window.later = (seconds) => {
  const now = performance.now.bind(performance);
  performance.now = () => now() + 1000 * seconds;
};
"""


@pytest.fixture
def admin(service: Service, page: Page) -> Person:
    """Return a signed-in administrator whose connections the test can cut."""
    page.add_init_script(CUTTING)
    person = Person(service, page, "admin")
    person.sign_in()
    return person


def caller_of(watched: Watched) -> str:
    """Return the number of the customer."""
    call = watched.service.get(f"/calls/{watched.call_id}")
    return str(call["caller"]["number"])


def listen(person: Person, watched: Watched) -> Response:
    """Click on Listen, wait until the bar says Live, and return the service's answer."""
    row = person.row(caller_of(watched))
    with person.page.expect_response("**/spies") as answered:
        row.get_by_role("button", name="Listen").click()
    assert_says(person.page, "Live")
    return answered.value


def assert_says(page: Page, text: str) -> None:
    """Check that the bar shows this text, not only that its HTML contains it."""
    expect(page.locator("#bar")).to_contain_text(text, use_inner_text=True)


def stop(person: Person, world: World, *watched: Watched) -> None:
    """Stop listening, and hang up all calls."""
    person.page.get_by_role("button", name="Stop listening").click()
    expect(person.page.locator("#bar")).to_be_hidden()
    for one in watched:
        one.hang_up()
    until(lambda: not parts_left(world))


def meters(page: Page) -> list[float]:
    """Return the values of the bar's meters."""
    shown = "all => all.map((one) => one.value)"
    found: list[float] = page.locator("#bar meter").evaluate_all(shown)
    return found


def test_the_second_of_two_clicks_counts(admin: Person, service: Service, world: World) -> None:
    """After two quick clicks only the second call sounds, even if its answer comes first."""
    first, second = watch(service, world), watch(service, world)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    admin.page.route("**/spies", hold)
    with admin.page.expect_request("**/spies"):
        admin.row(caller_of(first)).get_by_role("button", name="Listen").click()
    listen(admin, second)
    with admin.page.expect_response(lambda answer: answer.request.method == "DELETE"):
        held[0].continue_()
    assert [spy["call_id"] for spy in service.get("/spies")["items"]] == [second.call_id]
    assert_says(admin.page, f"{caller_of(second)} ⇄ 2001")
    assert_says(admin.page, "Live")
    stop(admin, world, first, second)
    assert admin.faults == []


def test_back_and_forward(admin: Person, service: Service, world: World) -> None:
    """The bar stays and sounds when the browser goes back and forward, or fails to."""
    watched = watch(service, world)
    page = admin.page
    listen(admin, watched)
    page.get_by_role("link", name="Library").click()
    page.wait_for_url("**/library")
    here = page.locator("nav [aria-current]")
    for path, name, go in (("/", "Live", page.go_back), ("/library", "Library", page.go_forward)):
        go()
        expect(here).to_have_text(name)
        expect(page).to_have_url(f"{service.url}{path}")
        expect(page.locator("main")).to_be_focused()
        assert_says(page, "Live")
        admin.assert_sounds((C, A1))
    assert admin.faults == []
    page.route(f"{service.url}/", lambda route: route.abort())
    page.go_back()
    expect(page.get_by_role("alert")).to_contain_text("The service did not answer")
    admin.assert_sounds((C, A1))
    stop(admin, world, watched)


def test_another_page_takes_over(admin: Person, service: Service, world: World) -> None:
    """When another page takes over the spy, the bar says so and goes silent; the spy lives on."""
    watched = watch(service, world)
    spy = listen(admin, watched).json()
    until(lambda: max(meters(admin.page)) > 0.3)
    admin.page.evaluate("url => { window.other = new WebSocket(url); }", spy["audio_url"])
    bar = admin.page.locator("#bar")
    assert_says(admin.page, "Listening continues in another page")
    assert meters(admin.page) == [0, 0, 0]
    expect(bar.get_by_role("radio")).to_have_count(0)
    bar.get_by_role("button", name="Close").click()
    expect(bar).to_be_hidden()
    assert service.get(f"/spies/{spy['id']}")["state"] == "live"
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_lost_connection_is_given_up(admin: Person, service: Service, world: World) -> None:
    """The bar shows the attempts and then the end of a lost connection; one click listens again."""
    watched = watch(service, world)
    listen(admin, watched)
    page, bar = admin.page, admin.page.locator("#bar")
    page.evaluate("cut()")
    assert_says(admin.page, "Reconnecting…")
    page.evaluate("later(31)")
    assert_says(admin.page, "the connection was lost for too long")
    assert meters(page) == [0, 0, 0]
    admin.assert_accessible()
    page.evaluate("mend()")
    bar.get_by_role("button", name="Listen again").click()
    assert_says(admin.page, "Live")
    expect(bar.get_by_role("button", name="Listen again")).to_be_hidden()
    admin.assert_sounds((C, A1))
    stop(admin, world, watched)


def test_a_phone_that_ended_meanwhile(admin: Person, service: Service, world: World) -> None:
    """The bar notices the end of a spy on a phone even if no event arrived."""
    watched = watch(service, world)
    page = admin.page
    page.evaluate("localStorage.setItem('earwitness-phone', 'PJSIP/9001')")
    row = admin.row(caller_of(watched))
    expect(row).to_contain_text("talking")
    page.route("**/api/v1/events", lambda route: route.fulfill(status=502))
    with page.expect_response("**/spies") as answered, page.expect_response("**/events"):
        row.get_by_role("button", name="Listen").click()
    assert_says(page, "Your phone rings")
    world.supervisor("9001")
    service.delete(f"/spies/{answered.value.json()['id']}")
    page.unroute("**/api/v1/events")
    expect(page.get_by_text("Listening has ended (it was stopped)")).to_be_visible()
    expect(page.locator("#bar")).to_be_hidden()
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_without_https(service: Service, world: World, page: Page) -> None:
    """On an insecure page, Listen explains the need for https and starts no spy."""
    person = Person(service, page, "admin")
    page.goto(f"http://{INSECURE_HOST}:{service.port}/sign-in")
    fill_in(page, person.name)
    watched = watch(service, world)
    person.row(caller_of(watched)).get_by_role("button", name="Listen").click()
    expect(page.get_by_role("alert")).to_contain_text("https")
    expect(page.locator("#bar")).to_be_hidden()
    assert service.get("/spies")["items"] == []
    watched.hang_up()


def test_a_call_to_outside(admin: Person, service: Service, world: World) -> None:
    """The bar names the other party of an outbound call, and the agent once."""
    watched = watch_outbound(service, world)
    number = service.get(f"/calls/{watched.call_id}")["callee"]["number"]
    admin.row(number).get_by_role("button", name="Listen").click()
    expect(admin.page.locator("#bar .who")).to_have_text(f"{number} ⇄ 2001")
    stop(admin, world, watched)


def test_on_a_narrow_screen(admin: Person, service: Service, world: World) -> None:
    """The last line of the page and messages stay above the bar, even on a narrow screen."""
    watched = watch(service, world)
    page = admin.page
    page.set_viewport_size({"width": 360, "height": 740})
    listen(admin, watched)
    page.evaluate(
        "import(document.querySelector('script[type=module]').src)"
        ".then(({ toast }) => toast('told', { bad: true }))"
    )
    expect(page.get_by_role("alert")).to_be_visible()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    top = page.locator("#bar").evaluate("it => it.getBoundingClientRect().top")
    last = page.locator("main > section > details")
    for one in (page.get_by_role("alert"), last):
        assert one.evaluate("it => it.getBoundingClientRect().bottom") <= top
    stop(admin, world, watched)


def test_a_phone_after_a_reload(admin: Person, service: Service, world: World) -> None:
    """After a reload the bar shows the spy on the phone, in its mode, until the person stops it."""
    watched = watch(service, world)
    page, bar = admin.page, admin.page.locator("#bar")
    page.evaluate("localStorage.setItem('earwitness-phone', 'PJSIP/9001')")
    with page.expect_response("**/spies") as answered:
        admin.row(caller_of(watched)).get_by_role("button", name="Listen").click()
    spy_id = answered.value.json()["id"]
    assert_says(page, "Live")
    bar.get_by_text("Barge").click()
    until(lambda: service.get(f"/spies/{spy_id}")["mode"] == "barge")
    page.goto(f"{service.url}/library")
    assert_says(page, "Live")
    assert_says(page, f"{caller_of(watched)} ⇄ 2001")
    expect(bar.locator("[value=barge]")).to_be_checked()
    assert bar.get_by_role("meter").count() == 0
    page.route("**/api/v1/spies/*", lambda route: route.abort())
    page.get_by_role("button", name="Stop listening").click()
    expect(page.get_by_role("alert")).to_contain_text("The service did not answer")
    assert_says(page, "Live")
    page.unroute("**/api/v1/spies/*")
    stop(admin, world, watched)
    assert service.get(f"/spies/{spy_id}")["cause"] == "ended"


def test_listening_again_after_a_reload(admin: Person, service: Service, world: World) -> None:
    """The spy of a page ends with it, its row says so, and the next page offers to listen again."""
    watched = watch(service, world)
    page, bar = admin.page, admin.page.locator("#bar")
    row, caller = admin.row(caller_of(watched)), caller_of(watched)
    spy_id = listen(admin, watched).json()["id"]
    expect(row).to_contain_text("(listening)")
    page.reload()
    assert_says(page, "Listening has ended: this page was loaded again")
    assert_says(page, f"{caller} ⇄ 2001")
    admin.assert_accessible()
    expect(row).to_be_visible()
    expect(row).not_to_contain_text("(listening)")
    until(lambda: service.get(f"/spies/{spy_id}")["state"] == "ended", 3)
    page.reload()
    bar.get_by_role("button", name="Listen again").click()
    assert_says(page, "Live")
    admin.assert_sounds((C, A1))
    expect(row).to_contain_text("(listening)")
    page.goto(f"{service.url}/library")
    assert_says(page, "Listening has ended: this page was loaded again")
    bar.get_by_role("button", name="Close").click()
    expect(bar).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    expect(bar).to_be_hidden()
    watched.hang_up()
    until(lambda: not parts_left(world))
    assert admin.faults == []
