"""The library and the player in a browser, on recordings of real calls."""

import re
from collections.abc import Callable
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, Route, expect

from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.service import Service
from tests.web.browsing import LEVEL, LISTEN, Person, assert_accessible, in_catalogue

pytestmark = pytest.mark.pbx

C, A1 = CUSTOMER_HZ, AGENT_HZ["2001"]
# Send a key event to the page.
PRESS = """
(key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { ...key, bubbles: true }))
"""
COPY = """
INSERT INTO recording
SELECT (jsonb_populate_record(recording, jsonb_build_object(
    'id', gen_random_uuid(), 'state', 'aborted', 'object_key', null, 'agent', null,
    'caller_number', '999'
))).* FROM recording, generate_series(1, 60) WHERE id = (:id)::uuid
"""
BULK = """
INSERT INTO bulk (id, action, arguments, recordings, state, created_by, created_at, owner_id)
SELECT gen_random_uuid(), 'tag', '{}', ARRAY[(:id)::uuid], 'running', name, now(), id
FROM "user" WHERE name = :by
"""


@pytest.fixture(scope="module")
def recorded(service: Service, telephones: World) -> tuple[str, str]:
    """Return a stored recording of ten seconds with a pause, and its caller's number."""
    caller = next(numbers)
    call = telephones.inbound(caller=caller)
    call_id = service.live_call(caller)["id"]
    made = service.record(call_id, tags=["complaint"])
    call.talk_for(8.0)
    service.post(f"/recordings/{made['id']}/pause")
    call.talk_for(1.0)
    service.post(f"/recordings/{made['id']}/resume")
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(made["id"], ["stored"])
    return made["id"], caller


@pytest.fixture
def officer(service: Service, page: Page) -> Person:
    """Return a signed-in compliance officer."""
    person = Person(service, page, "compliance")
    person.sign_in("/library")
    return person


def test_find_a_recording(officer: Person, recorded: tuple[str, str]) -> None:
    """The library finds by last digits and tag, and the address keeps the search."""
    page, (recording_id, caller) = officer.page, recorded
    page.get_by_label("Number").fill(caller[-4:])
    page.get_by_label("Tag", exact=True).fill("complaint")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url(re.compile(rf"/library\?.*number={caller[-4:]}"))
    expect(officer.row(caller)).to_contain_text("stored")
    page.reload()
    expect(page.get_by_label("Number")).to_have_value(caller[-4:])
    expect(officer.row(caller)).to_have_count(1)
    page.get_by_label("Tag", exact=True).fill("praise")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("No recording matches")).to_be_visible()
    page.get_by_role("link", name="All recordings").click()
    officer.row(caller).get_by_role("link").click()
    page.wait_for_url(f"**/recordings/{recording_id}")
    assert officer.faults == []


def test_play_a_recording(officer: Person, service: Service, recorded: tuple[str, str]) -> None:
    """The recording plays, jumps to a chosen position, and plays one side alone."""
    page, (recording_id, _) = officer.page, recorded
    page.goto(f"{service.url}/recordings/{recording_id}")
    page.get_by_role("button", name="Play").click()
    for side, present, absent in (("Agent", (A1,), (C,)), ("Customer", (C,), (A1,))):
        page.get_by_label("Hear", exact=True).select_option(label=side)
        page.get_by_label("Position").fill("1")
        officer.assert_sounds(present, absent)
    page.get_by_label("Hear", exact=True).select_option(label="Both")
    officer.assert_sounds((C, A1))
    page.get_by_label("Position").fill("6")
    expect(page.locator("[data-now]")).to_have_text(re.compile("0:0[67]"))
    page.get_by_role("link", name="Library").click()
    until(lambda: page.evaluate("analyser.context.state") == "closed")
    assert officer.faults == []


def test_the_page_shows_reason_and_hash(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """The page shows the course of the call, the reason of the recording, and the object's hash."""
    page, (recording_id, caller) = officer.page, recorded
    page.goto(f"{service.url}/recordings/{recording_id}")
    shown = page.locator("main")
    for words in (caller, "is answered", "A person pressed Record.", "complaint", "paused, 0:01"):
        expect(shown).to_contain_text(words)
    expect(page.locator("[data-spans] i.pause")).to_have_count(1)
    expect(shown).to_contain_text(service.get(f"/recordings/{recording_id}")["media"]["sha256"])
    drawn = "document.querySelector('#wave div').shadowRoot.querySelector('canvas').toDataURL()"
    light = page.evaluate(drawn)
    page.emulate_media(color_scheme="dark")
    until(lambda: page.evaluate(drawn) != light)


def test_opening_is_not_hearing(
    service: Service, page: Page, recorded: tuple[str, str], browser_page: Callable[[], Page]
) -> None:
    """A person who opens a recording has not heard it; a person who plays it has."""
    looker, hearer = (
        Person(service, one, "compliance", name=f"{name}-{recorded[1]}")
        for one, name in ((page, "looker"), (browser_page(), "hearer"))
    )
    path = f"/recordings/{recorded[0]}"
    for person in (looker, hearer):
        person.sign_in(path)
        person.page.get_by_label("Position").fill("6")
        expect(person.page.locator("[data-now]")).to_have_text("0:06")
    hearer.page.get_by_role("button", name="Play").click()
    expect(hearer.page.locator("[data-now]")).to_have_text(re.compile("0:(0[7-9]|1)"))
    page.reload()
    heard = page.locator("section", has_text="Heard by")
    expect(heard).to_contain_text(hearer.name)
    expect(heard).not_to_contain_text(looker.name)


def test_the_journey_of_the_call(officer: Person, service: Service, telephones: World) -> None:
    """The page lists hold and transfer in their order."""
    caller = next(numbers)
    call = telephones.inbound(caller=caller)
    made = service.record(service.live_call(caller)["id"])
    call.hold("agent")
    call.talk_for(1.0)
    call.unhold("agent")
    call.blind_transfer("2003")
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(made["id"], ["stored"])
    officer.page.goto(f"{service.url}/recordings/{made['id']}")
    shown = officer.page.locator("section", has_text="Steps of the call").get_by_role("listitem")
    steps = " ".join(shown.all_inner_texts())
    way = (
        "is answered",
        "puts the call on hold",
        "resumes the call",
        "transfers the call to 2003",
        "Cleo Costa",
    )
    assert re.search(".*".join(way) + ".*joins.*ends", steps, re.DOTALL), steps
    assert officer.faults == []


def test_the_keys(officer: Person, service: Service, recorded: tuple[str, str]) -> None:
    """Space plays and pauses, arrows jump five seconds, letters work in every layout."""
    page, (recording_id, _) = officer.page, recorded
    page.goto(f"{service.url}/recordings/{recording_id}")
    expect(page.locator("[data-spans] i").first).to_be_attached()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-now]")).to_have_text("0:05")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-now]")).to_have_text("0:00")
    for does in ("Pause", "Play"):
        page.keyboard.press(" ")
        expect(page.get_by_role("button", name=does, exact=True)).to_be_visible()
    skip = page.get_by_role("button", name="Skip silence")
    for key, then in (("س", "true"), ("S", "false")):
        page.evaluate(PRESS, {"key": key, "code": "KeyS"})
        expect(skip).to_have_attribute("aria-pressed", then)
    page.locator("header summary").focus()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    page.evaluate(PRESS, {"key": "لا", "code": "KeyB"})
    expect(page.get_by_label("Bookmark at this place")).to_be_focused()


def _abort(route: Route) -> None:
    route.abort()


def _refuse(route: Route) -> None:
    route.fulfill(status=502)


def test_a_form_reports_a_missing_answer(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """A form reports that the service did not answer, until a later attempt succeeds."""
    page, (recording_id, _) = officer.page, recorded
    page.goto(f"{service.url}/recordings/{recording_id}")
    form = page.locator("#written form")
    for fail in (_abort, _refuse):
        page.route(f"**/api/v1/recordings/{recording_id}", fail, times=1)
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_role("alert")).to_have_text(re.compile("The service did not answer"))
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(form.get_by_role("alert")).to_be_hidden()


def open_without(page: Page, module: str, url: str) -> list[Route]:
    """Open a page but hold back one of its modules; return the held requests."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/static/*/{module}", hold)
    with page.expect_request(f"**/static/*/{module}"):
        page.goto(url)
    return held


def test_a_form_is_sent_early(officer: Person, service: Service, recorded: tuple[str, str]) -> None:
    """A form that is sent before its module has loaded is still sent by the module."""
    page = officer.page
    held = open_without(page, "act.js", f"{service.url}/recordings/{recorded[0]}")
    form = page.locator("#written form")
    form.get_by_label("Note").fill("early")
    form.get_by_role("button", name="Save").click()
    for route in held:
        route.continue_()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert "early" not in page.url
    assert service.get(f"/recordings/{recorded[0]}")["note"] == "early"
    assert officer.faults == []


def test_early_controls_wait_for_their_module(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """Controls wait for their module; if it fails to load, the page says so."""
    page = officer.page
    held = open_without(page, "player.js", f"{service.url}/recordings/{recorded[0]}")
    hear = page.get_by_label("Hear", exact=True)
    for control in (hear, page.get_by_role("button", name="Play"), page.get_by_label("Bookmark")):
        expect(control).to_be_disabled()
    for route in held:
        route.continue_()
    hear.select_option(label="Customer")
    page.get_by_role("button", name="Play").click()
    officer.assert_sounds((C,), (A1,))
    page.unroute("**/static/*/player.js")
    page.route("**/static/*/player.js", _abort)
    page.reload()
    expect(page.get_by_text("The service did not answer")).to_be_visible()
    expect(hear).to_be_disabled()


def test_the_player_from_right_to_left(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """In Arabic the slider and the waveform still run from left to right."""
    officer.page.set_extra_http_headers({"Accept-Language": "ar"})
    officer.page.goto(f"{service.url}/recordings/{recorded[0]}")
    direction = "selector => getComputedStyle(document.querySelector(selector)).direction"
    directions = [officer.page.evaluate(direction, name) for name in ("#page", "#seek", "#wave")]
    assert directions == ["rtl", "ltr", "ltr"]


def test_a_missing_recording_is_an_error_page(officer: Person, recorded: tuple[str, str]) -> None:
    """A link to a missing recording shows an error page without leaving the app."""
    page = officer.page
    page.evaluate("""() => {
      window.stays = true;
      const link = document.querySelector("tr[data-id] a");
      const away = { href: "/recordings/gone", textContent: "gone" };
      const gone = Object.assign(link.cloneNode(), away);
      document.querySelector("#page").append(gone);
      htmx.process(gone);
    }""")
    page.route("**/recordings/gone", _refuse, times=1)
    page.get_by_role("link", name="gone").click()
    expect(page.get_by_text("The service did not answer")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="gone").click()
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    expect(page.get_by_text("The service did not answer")).to_have_count(0)
    assert page.evaluate("window.stays")


def test_more_rows_load_by_click(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """If the next rows fail to load on scrolling, a click loads them."""
    page = officer.page
    in_catalogue(service, COPY, id=recorded[0])
    try:
        page.route("**/library?cursor=*", _refuse, times=1)
        page.goto(f"{service.url}/library")
        rows, more = page.locator("tr[data-id]"), page.get_by_role("link", name="More recordings")
        expect(rows).to_have_count(50)
        more.scroll_into_view_if_needed()
        expect(page.get_by_text("The service did not answer")).to_be_visible()
        more.click()
        expect(rows).to_have_count(int(in_catalogue(service, "SELECT count(*) FROM recording")))
        expect(more).to_have_count(0)
    finally:
        in_catalogue(service, "DELETE FROM recording WHERE caller_number = '999'")


def test_a_bulk_job_is_followed(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """The page keeps looking at a bulk job after a look has failed."""
    page = officer.page
    in_catalogue(service, BULK, id=recorded[0], by=officer.name)
    page.goto(f"{service.url}/library")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.route("**/library", _refuse, times=2)
    expect(page.get_by_text("The service did not answer")).to_have_count(1)
    in_catalogue(service, "UPDATE bulk SET state = 'done' WHERE created_by = :by", by=officer.name)
    expect(page.locator("#bulks")).to_contain_text("done")


def test_bookmark_and_share(
    officer: Person,
    service: Service,
    browser_page: Callable[[], Page],
    recorded: tuple[str, str],
) -> None:
    """A bookmark keeps its position; a link plays until it is revoked."""
    page, (recording_id, caller) = officer.page, recorded
    page.goto(f"{service.url}/recordings/{recording_id}")
    page.get_by_label("Position").fill("4")
    expect(page.get_by_label("Bookmark at this place")).to_be_enabled()
    page.keyboard.press("b")
    page.keyboard.type("the order")
    page.keyboard.press("Enter")
    place = page.get_by_role("button", name="0:04")
    expect(page.locator("[data-bookmarks] i")).to_have_count(1)
    page.get_by_label("Position").fill("0")
    place.click()
    expect(page.locator("[data-now]")).to_have_text("0:04")
    page.get_by_role("button", name="Create a link").click()
    expect(page.get_by_label("The link", exact=True)).to_have_value(re.compile("/shared/"))
    other = browser_page()
    other.add_init_script(LISTEN + LEVEL)
    other.goto(page.get_by_label("The link", exact=True).input_value())
    expect(other.locator("main")).not_to_contain_text(caller)
    other.get_by_label("Hear", exact=True).select_option(label="Customer")
    other.get_by_role("button", name="Play").click()
    until(lambda: other.evaluate("hz => level(hz)", C) > -35)
    assert_accessible(other)
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#links")).to_contain_text("revoked")
    other.reload()
    expect(other.get_by_text("is no longer valid")).to_be_visible()
    page.reload()
    expect(page.locator("main")).to_contain_text("shared link 0")
    assert officer.faults == []


def test_export(officer: Person, recorded: tuple[str, str]) -> None:
    """Picked recordings are exported in the background as a ZIP with audio, manifest and index."""
    page, (recording_id, caller) = officer.page, recorded
    page.get_by_label("Number").fill(caller)
    page.get_by_role("button", name="Find").click()
    page.get_by_label("Name of this search").fill("mine")
    page.get_by_role("button", name="Save the search").click()
    expect(page.get_by_role("link", name="mine")).to_be_visible()
    export = page.get_by_role("button", name="Export")
    expect(export).to_be_disabled()
    officer.row(caller).get_by_role("checkbox").check()
    export.click()
    expect(page).to_have_url(re.compile("number="))
    download = page.get_by_role("link", name="Download")
    with page.expect_download() as begun:
        download.click()
    with ZipFile(begun.value.path()) as packed:
        names = {f"{recording_id}.opus", f"{recording_id}.json", "index.csv"}
        assert set(packed.namelist()) == names
        assert packed.testzip() is None
    page.goto(page.url.partition("?")[0])
    page.get_by_role("link", name="mine").click()
    expect(officer.row(caller)).to_have_count(1)
    assert officer.faults == []


def test_tag_and_hold_all_results(officer: Person, recorded: tuple[str, str]) -> None:
    """All results of a search get a tag and a hold in the background, and the list shows both."""
    page, (_, caller) = officer.page, recorded
    page.get_by_label("Number").fill(caller)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("link", name="All recordings")).to_be_visible()
    for field, text, act in (
        ("Tags, separated by commas", "audited", "Tag"),
        ("Reason for the hold", "case 12", "Hold"),
    ):
        page.get_by_label("All results of this search").check()
        page.get_by_label(field).fill(text)
        page.get_by_role("button", name=act, exact=True).click()
        expect(page.locator("#bulks > div").first).to_contain_text(act)
        expect(page.locator("#bulks > div").first).to_contain_text("done")
    expect(officer.row(caller)).to_contain_text("audited")
    expect(officer.row(caller)).to_contain_text("under hold")
    officer.assert_accessible()
    assert officer.faults == []


def test_playing_continues_on_other_pages(service: Service, world: World, page: Page) -> None:
    """The sound continues while the person moves through the pages."""
    person = Person(service, page, "admin")
    person.sign_in()
    caller = next(numbers)
    call = world.inbound(caller=caller)
    person.row(caller).get_by_role("button", name="Listen").click()
    person.assert_sounds((C, A1))
    page.get_by_role("link", name="Library").click()
    page.wait_for_url("**/library")
    expect(page.locator("#bar")).to_contain_text(caller)
    person.assert_sounds((C, A1))
    page.get_by_role("link", name="Live").click()
    expect(person.row(caller)).to_contain_text("(listening)")
    page.get_by_role("button", name="Stop listening").click()
    call.hang_up()
    assert person.faults == []


@pytest.mark.parametrize("search", ["from=nonsense", "min_duration_s=-1", "cursor=x", "zone=Mars"])
def test_an_invalid_search_is_reported(officer: Person, service: Service, search: str) -> None:
    """The page reports an invalid search, and keeps its fields."""
    officer.page.goto(f"{service.url}/library?{search}&agent=2001")
    expect(officer.page.get_by_role("alert")).to_be_visible()
    expect(officer.page.get_by_role("textbox", name="Agent")).to_have_value("2001")


def test_another_teams_recording_is_hidden(
    service: Service, page: Page, browser_page: Callable[[], Page], recorded: tuple[str, str]
) -> None:
    """A supervisor can neither list nor open a recording of another team."""
    other = Person(service, page, "supervisor", "nobody")
    other.sign_in("/library")
    expect(page.get_by_text("There are no recordings yet")).to_be_visible()
    page.goto(f"{service.url}/recordings/{recorded[0]}")
    expect(page.get_by_text("There is no such recording")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_library_and_player_are_accessible(
    officer: Person, service: Service, recorded: tuple[str, str], scheme: str
) -> None:
    """axe finds no fault in the library and the player, and no page is too wide."""
    page = officer.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    for path in ("/library", "/library?number=00000000", f"/recordings/{recorded[0]}"):
        page.goto(f"{service.url}{path}")
        officer.assert_accessible()
        for width in (360, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_bookmark_at_the_end(
    officer: Person, service: Service, recorded: tuple[str, str]
) -> None:
    """The very end can be bookmarked, whatever the length is in tenths of a second."""
    page, (recording_id, _) = officer.page, recorded
    lasts = "UPDATE recording SET duration_s = duration_s + :by WHERE id = (:id)::uuid"
    length = service.get(f"/recordings/{recording_id}")["duration_s"]
    shorter = round(
        length - int(length) + 0.04, 3
    )  # ends at .96 s, so the nearest tenth is beyond the end
    in_catalogue(service, lasts, by=f"-{shorter}", id=recording_id)
    try:
        page.goto(f"{service.url}/recordings/{recording_id}")
        end = "audio => (audio.currentTime = audio.parentElement.dataset.length)"
        page.locator("audio").evaluate(end)
        page.get_by_label("Bookmark at this place").fill("the end")
        page.keyboard.press("Enter")
        expect(page.get_by_text("the end", exact=True)).to_be_visible()
    finally:
        in_catalogue(service, lasts, by=f"{shorter}", id=recording_id)
