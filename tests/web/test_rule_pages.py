"""The pages of rules, audit and system, in a browser."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from lab.waiting import until
from lab.world import World
from tests.pbx.talks import numbers
from tests.service import Service
from tests.web.browsing import PASSWORD, Person, fill_in, in_catalogue

pytestmark = pytest.mark.pbx


ASK = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, scheduled_at)
VALUES ('default', :task, :id, jsonb_build_object('recording_id', (:id)::text), '2100-01-01')
"""
GIVE_UP = """
UPDATE procrastinate_jobs SET status = 'failed' WHERE lock = :id AND task_name = :task
"""
LEFT = "SELECT count(*) FROM procrastinate_jobs WHERE lock = :id"


def give_up(service: Service, task: str, id_: str) -> None:
    """Leave a job of this task as a worker leaves it after its last attempt."""
    in_catalogue(service, ASK, task=task, id=id_)
    in_catalogue(service, GIVE_UP, task=task, id=id_)


def jobs_left(service: Service, id_: str) -> int:
    """Return how many jobs a recording still has, failed jobs too."""
    return int(in_catalogue(service, LEFT, id=id_))


@pytest.fixture
def admin(service: Service, page: Page) -> Iterator[Person]:
    """Return a signed-in administrator on the page of rules; delete all rules at the end."""
    person = Person(service, page, "admin")
    person.sign_in("/rules")
    yield person
    for rule in service.get("/rules")["items"]:
        service.delete(f"/rules/{rule['id']}")


def in_history(page: Page) -> Any:
    """Return the versions in the editor's history."""
    return page.get_by_role("heading", name="History").locator("..").get_by_role("listitem")


def answer(page: Page, name: str) -> None:
    """Answer the question of the page; its harmless answer must have the focus."""
    dialog = page.get_by_role("alertdialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name=name, exact=True).click()
    expect(dialog).to_be_hidden()


def test_from_a_draft_to_a_recorded_call(admin: Person, service: Service, world: World) -> None:
    """A rule is written, tried, saved, changed and deleted, and records matching calls."""
    page = admin.page
    page.get_by_role("link", name="Write the first rule").click()
    page.get_by_label("Name").fill("support")
    when = page.get_by_label("Condition")
    when.press_sequentially('direction == "inbound" && di')
    page.keyboard.press("Control+Space")
    expect(when).to_have_value('direction == "inbound" && direction')
    when.fill('did == "3000"')
    expect(page.get_by_text("The condition is valid.")).to_be_visible()
    page.get_by_label("Tags").fill("one, two")
    page.get_by_role("button", name="Try on past calls").click()
    expect(page.locator("[data-trial]")).to_contain_text("would have been recorded")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile("/rules/(?!new)"))
    expect(in_history(page)).to_have_count(1)
    assert admin.faults == []
    time.sleep(1.0)  # the service applies a change within a second
    caller = next(numbers)
    call = world.inbound(caller=caller)
    made = service.await_recording(service.live_call(caller)["id"])
    assert (made["rule"], made["tags"]) == ("support", ["one", "two"])
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(made["id"], ["stored"])
    page.get_by_label("Action").select_option(label="never record")
    page.get_by_role("button", name="Save").click()
    expect(in_history(page)).to_have_count(2)
    expect(in_history(page).first).to_contain_text("action: record → never")
    page.evaluate("window.stays = true")
    page.get_by_role("button", name="Delete").click()
    answer(page, "Delete")
    expect(page.get_by_text("There are no rules yet")).to_be_visible()
    assert page.evaluate("window.stays")  # a full load would end the sound


def test_the_editor_shows_a_fault_in_place(admin: Person, service: Service) -> None:
    """The editor shows position, cause and remedy of a fault, and saves nothing."""
    page = admin.page
    page.goto(f"{service.url}/rules/new")
    page.get_by_label("Name").fill("wrong")
    page.get_by_label("Condition").fill('queue = "x"')
    expect(page.locator("[data-told]")).to_contain_text("== compares")
    expect(page.locator("[data-told]")).to_contain_text("      ^")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Condition")).to_have_attribute("aria-invalid", "true")
    assert service.get("/rules")["items"] == []


def test_a_late_answer_is_ignored(admin: Person, service: Service) -> None:
    """The editor ignores the answer to an older text."""
    page = admin.page
    page.goto(f"{service.url}/rules/new")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/rules/test", hold, times=1)
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    with page.expect_request("**/rules/test"):
        page.get_by_label("Name").fill("late")
    page.get_by_label("Condition").fill('queue = "x"')
    expect(page.locator("[data-told]")).to_contain_text("== compares")
    with page.expect_response("**/rules/test"):
        held[0].continue_()
    expect(page.locator("[data-told]")).to_contain_text("== compares")


def test_untouched_terms_are_kept(admin: Person, service: Service) -> None:
    """Untouched terms of a rule stay, and a double click saves one rule."""
    page = admin.page
    terms = {"layout": "mono", "format": "wav", "announce_to": "both", "begins": "ringing"}
    made = service.post("/rules", {"name": "kept", "action": "never", "when": "false", **terms})
    page.goto(f"{service.url}/rules/{made.json()['id']}")
    page.get_by_label("Priority").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(in_history(page)).to_have_count(2)
    now = service.get(f"/rules/{made.json()['id']}")
    assert now == {**made.json(), **{key: now[key] for key in ("version", "changed_at")}} | {
        "priority": 7,
        "changed_by": admin.name,
    }
    page.get_by_label("Sides").select_option(label="as configured")
    page.get_by_role("button", name="Save").click()
    expect(in_history(page).first).to_contain_text("layout: mono → -")
    page.goto(f"{service.url}/rules/new")
    page.get_by_label("Name").fill("once")
    page.get_by_role("button", name="Save").dblclick()
    expect(in_history(page)).to_have_count(1)
    assert [one["name"] for one in service.get("/rules")["items"]] == ["kept", "once"]
    assert admin.faults == []


def test_compliance_cannot_change_rules(service: Service, page: Page) -> None:
    """A compliance officer reads rules but cannot change them, and sees no system page."""
    made = service.post("/rules", {"name": "theirs", "action": "never", "when": "false"}).json()
    officer = Person(service, page, "compliance")
    officer.sign_in(f"/rules/{made['id']}")
    expect(page.get_by_label("Name")).to_be_disabled()
    expect(page.get_by_role("link", name="System")).to_have_count(0)
    page.goto(f"{service.url}/system")
    expect(page.get_by_text("You may not see this page")).to_be_visible()
    service.delete(f"/rules/{made['id']}")


def test_the_system(admin: Person, service: Service) -> None:
    """The system page shows PBX, store, users and missing recordings."""
    page = admin.page
    page.get_by_role("link", name="System").click()
    shown = page.locator("main")
    for words in (
        "Asterisk 22",
        "Object store",
        admin.name,
        "Waiting to be stored",
        "Missing or short recordings",
    ):
        expect(shown).to_contain_text(words)


def test_the_trail(service: Service, page: Page) -> None:
    """A compliance officer reads the audit trail and narrows it."""
    officer = Person(service, page, "compliance")
    officer.sign_in("/audit")
    expect(officer.row("session.begin").first).to_contain_text(officer.name)
    page.get_by_label("Actor", exact=True).fill(officer.name)
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("No entry matches")).to_be_visible()
    page.get_by_role("link", name="The whole trail").click()
    expect(officer.row("session.begin").first).to_be_visible()
    assert officer.faults == []


def test_a_failed_job_is_retried(admin: Person, service: Service, world: World) -> None:
    """A job that was given up is listed with its recording, and one click retries it."""
    caller = next(numbers)
    call = world.inbound(caller=caller)
    made = service.record(service.live_call(caller)["id"])
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(made["id"], ["stored"])
    until(lambda: jobs_left(service, made["id"]) == 0)
    give_up(service, "manifest", made["id"])
    page = admin.page
    page.goto(f"{service.url}/system")
    link = page.locator("#jobs").get_by_role("link", name=made["id"])
    expect(link).to_have_attribute("href", f"/recordings/{made['id']}")
    admin.assert_accessible()
    page.get_by_role("button", name=f"Retry: {made['id']}").click()
    expect(link).to_have_count(0)
    until(lambda: jobs_left(service, made["id"]) == 0)
    trail = service.get("/audit", subject=made["id"], action="job.retry")["items"]
    assert [one["actor"] for one in trail] == [admin.name]
    assert admin.faults == []


def test_manage(admin: Person, service: Service, browser_page: Callable[[], Page]) -> None:
    """An administrator adds and removes a user, and makes and revokes a token."""
    page, name = admin.page, f"ann-{admin.name}"
    page.goto(f"{service.url}/system")
    page.get_by_text("Add a user").click()
    page.get_by_label("Name; for an agent").fill(name)
    page.get_by_label("Password, 12 characters").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(admin.row(name).first).to_be_visible()
    expect(page.get_by_label("Password, 12 characters")).to_have_value("")
    other = browser_page()
    other.goto(f"{service.url}/sign-in")
    fill_in(other, name)
    expect(other.get_by_text("Nobody is talking")).to_be_visible()
    page.get_by_role("button", name=f"Remove {name}").click()
    admin.assert_accessible()
    answer(page, "Cancel")
    expect(page.get_by_role("button", name=f"Remove {name}")).to_be_focused()
    page.get_by_role("button", name=f"Remove {name}").click()
    answer(page, f"Remove {name}")
    expect(page.locator("#users")).not_to_contain_text(name)
    expect(page.get_by_role("heading", name="Users")).to_be_focused()
    other.goto(f"{service.url}/library")
    expect(other.get_by_label("Password")).to_be_visible()
    page.get_by_text("Create a token").click()
    page.locator("#token-name").fill("wallboard")
    page.get_by_role("button", name="Create", exact=True).click()
    made = page.get_by_label("The token", exact=True)
    expect(made).to_have_value(re.compile("^ew_"))
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("The text is selected")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == made.input_value()
    page.get_by_role("button", name="Revoke wallboard").click()
    answer(page, "Revoke wallboard")
    expect(page.locator("#tokens")).not_to_contain_text("wallboard")
    assert admin.faults == []


def test_webhooks(admin: Person, service: Service) -> None:
    """A webhook is added with its secret shown once, tested and removed."""
    page, url = admin.page, "http://hook.invalid/hook"
    page.goto(f"{service.url}/system")
    page.get_by_text("Add a webhook").click()
    form = page.locator("form", has=page.get_by_label("Events, separated by commas"))
    form.get_by_label("Address").fill(url)
    form.get_by_label("Events, separated by commas").fill("calls.*")
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_contain_text("expected a type of event")
    form.get_by_label("Events, separated by commas").fill("call.*, recording.stored")
    form.get_by_label("Address").fill("http://127.0.0.1:9/hook")
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_contain_text("its address is private")
    form.get_by_label("Address").fill(url)
    form.get_by_role("button", name="Add").click()
    expect(page.get_by_label("The secret")).to_have_value(re.compile("^whsec_"))
    expect(page.locator("#webhooks")).to_contain_text("call.*, recording.stored")
    expect(form.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name=f"Test {url}").click()
    expect(page.get_by_text("Answer:")).to_be_visible(timeout=15_000)
    admin.assert_accessible()
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.goto(f"{service.url}/system")
    expect(page.get_by_label("The secret")).to_be_hidden()
    page.get_by_role("button", name=f"Remove {url}").click()
    answer(page, f"Remove {url}")
    expect(page.locator("#webhooks")).to_contain_text("None. Add one")
    assert [one for one in admin.faults if "422" not in one] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rule_pages_are_accessible(admin: Person, service: Service, scheme: str) -> None:
    """axe finds no fault in rules, editor, audit and system, and no page is too wide."""
    page = admin.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    made = service.post("/rules", {"name": "long", "action": "record", "when": "true"}).json()
    editors = ("/rules", "/rules/new", f"/rules/{made['id']}")
    for path in (*editors, "/audit", "/audit?actor=nobody", "/system", "/nothing"):
        page.goto(f"{service.url}{path}")
        admin.assert_accessible()
        for width in (360, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_refresh_keeps_a_later_question(admin: Person, service: Service) -> None:
    """A refresh of the part where an earlier question was asked does not close a later question."""
    page = admin.page
    service.post("/tokens", {"name": "asked", "role": "agent"})
    page.goto(f"{service.url}/system")
    page.get_by_role("button", name=f"Remove {admin.name}").click()
    answer(page, "Cancel")
    page.get_by_role("button", name="Revoke asked").click()
    refresh_part = (
        "part => import(new URL('act.js', document.querySelector('script[type=module]').src))"
        ".then(({ refresh }) => refresh(part))"
    )
    page.evaluate(refresh_part, "#users")
    expect(page.get_by_role("alertdialog")).to_be_visible()
    page.evaluate(refresh_part, "#tokens")
    expect(page.get_by_role("alertdialog")).to_be_hidden()
    page.get_by_role("button", name="Revoke asked").click()
    answer(page, "Revoke asked")
    expect(page.locator("#tokens")).not_to_contain_text("asked")


def test_a_long_trial_shows_its_progress(admin: Person, service: Service) -> None:
    """A trial in the background shows how many calls are examined, and then its result."""
    page = admin.page
    result = dict.fromkeys(("calls", "recorded", "recorded_before", "changed"), 7)
    result |= {"complete": True, "audio_s_per_month": 0, "bytes_per_month": 0}
    trial = {"id": "1", "state": "running", "done": 3, "total": 9, "result": None}
    states = iter([trial, {**trial, "state": "done", "done": 9, "result": result}])
    shown = page.locator("[data-trial]")

    def begin(route: Route) -> None:
        if "default" in (route.request.post_data or ""):  # the checks of the draft have none
            route.fulfill(status=202, json={**trial, "state": "waiting", "done": 0, "total": 0})
        else:
            route.continue_()

    page.route("**/api/v1/rules/test", begin)
    page.route("**/api/v1/rules/trials/1", lambda route: route.fulfill(json=next(states)))
    page.goto(f"{service.url}/rules/new")
    page.get_by_label("Name").fill("tried")
    page.get_by_role("button", name="Try on past calls").click()
    expect(shown).to_have_text("The trial waits for another one…")
    expect(shown).to_have_text("3 of 9 calls examined…")
    expect(shown).to_contain_text("7 would have been recorded")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    assert admin.faults == []


def test_the_longest_name(admin: Person, service: Service) -> None:
    """The editor accepts no longer name than the API does."""
    page = admin.page
    page.goto(f"{service.url}/rules/new")
    page.get_by_label("Name").click()  # waits until the editor is ready
    page.keyboard.insert_text("n" * 201)
    page.get_by_role("button", name="Save").click()
    expect(in_history(page)).to_have_count(1)
    assert [one["name"] for one in service.get("/rules")["items"]] == ["n" * 100]
