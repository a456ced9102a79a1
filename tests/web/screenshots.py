"""Pictures of every page: `python -m tests.web.screenshots DIRECTORY`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from lab.demo import CUSTOMERS, VOICES
from lab.dialogues import INBOUND
from lab.pbx import DID_IVR, DID_QUEUE
from lab.root import ensure_program, ensure_root, root_directory
from lab.speech import speak_dialogue
from lab.world import World
from tests.service import Service
from tests.web.browsing import CHROMIUM, OPTIONS, Person

RULES = (
    {"name": "Card payments", "when": 'queue == "payments"', "action": "never", "priority": 10},
    {
        "name": "Support, inbound",
        "when": 'direction == "inbound" && did == "3000"',
        "action": "record",
        "retention_days": 365,
        "tags": ["support"],
    },
)


def main(directory: Path) -> None:
    """Take all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    ensure_program("chromium", "chromium")
    ensure_program("espeak-ng", "espeak-ng")
    with World(ensure_root(root_directory())) as world, TemporaryDirectory() as folder:
        service = Service(Path(folder), world.pbx)
        service.start()
        try:
            _take(service, world, directory)
        finally:
            service.stop()


def _take(service: Service, world: World, directory: Path) -> None:
    _furnish(service)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        page = browser.new_page()
        person = Person(service, page, "admin", name="Sam")
        page.goto(f"{service.url}/sign-in")
        person.photograph(directory, "sign-in")
        person.sign_in()
        page.get_by_text("Nobody is talking").wait_for()
        person.photograph(directory, "live-empty")
        recorded = _record(service, world)
        _write_on(service, recorded)
        _photograph_live(service, person, world, directory)
        world.hang_up_all()
        _photograph_conference(service, person, world, directory)
        campaign = _start_campaign(service)
        rule = service.get("/rules")["items"][-1]["id"]
        service.post("/agents", {"number": "2002", "name": "Diego Fernández", "team": "support"})
        user = service.get("/users")["items"][0]["id"]
        shared = service.post(f"/recordings/{recorded}/links").json()["url"]
        for name, address in (
            ("library", f"{service.url}/library?tag=support"),
            ("recording", f"{service.url}/recordings/{recorded}"),
            ("shared", shared),
            ("rules", f"{service.url}/rules"),
            ("rule", f"{service.url}/rules/{rule}"),
            ("campaigns", f"{service.url}/campaigns"),
            ("campaign", f"{service.url}/campaigns/{campaign}"),
            ("do-not-call", f"{service.url}/do-not-call"),
            ("audit", f"{service.url}/audit"),
            ("system", f"{service.url}/system"),
            ("user", f"{service.url}/users/{user}"),
            ("agents", f"{service.url}/agents"),
            ("account", f"{service.url}/account"),
            ("nothing", f"{service.url}/nothing"),
        ):
            page.goto(address)
            person.photograph(directory, name, anew=True)
        browser.close()


def _furnish(service: Service) -> None:
    """Create rules, a token and a webhook, as an administrator does."""
    for rule in RULES:
        service.post("/rules", rule)
    first = service.get("/rules")["items"][0]
    terms = {key: first[key] for key in ("name", "when", "action")}
    changed = {**terms, "priority": 20, "version": first["version"]}
    service.put(f"/rules/{first['id']}", changed)
    service.run("token", "create", "--name", "2001", "--role", "agent", "--team", "support")
    service.post("/webhooks", {"url": "https://crm.example/calls", "types": ["recording.stored"]})


def _record(service: Service, world: World) -> str:
    """Place a spoken call with a pause, and return the id of its recording."""
    said = speak_dialogue(
        INBOUND[0], VOICES["2001"], CUSTOMERS[0][2], world.far_asterisk.directory, "dana"
    )
    call = world.inbound(
        caller="12025550188", name="Dana", customer_says=said.customer, agent_says=said.agent
    )
    recorded: str = service.await_recording(service.live_call("12025550188")["id"])["id"]
    call.talk_for(8.0)
    service.post(f"/recordings/{recorded}/pause")
    call.talk_for(2.0)
    service.post(f"/recordings/{recorded}/resume")
    call.talk_for(8.0)
    call.hang_up()
    service.await_state(recorded, ["stored"])
    return recorded


def _write_on(service: Service, recorded: str) -> None:
    """Write bookmarks, a note, tags and a hold on the recording."""
    for at_s, text in ((3.0, "Tells the order number"), (9.0, "Card details: paused")):
        service.post(f"/recordings/{recorded}/bookmarks", {"at_s": at_s, "text": text})
    note = "Wants the refund to the same card. Call back on Friday."
    service.patch(f"/recordings/{recorded}", {"note": note, "tags": ["support", "refund"]})
    service.put(f"/recordings/{recorded}/hold", {"reason": "Dispute 4711"})


def _photograph_live(service: Service, person: Person, world: World, directory: Path) -> None:
    """Take pictures of calls in every state, of listening, and of a pause."""
    page = person.page
    world.inbound(caller="12025550123", name="Alice")
    world.inbound(did=DID_QUEUE, caller="12025550147", name="Bob", answered_by="2002")
    world.inbound(did=DID_QUEUE, caller="12025550160", name="Carol", answered_by="")
    world.inbound(did=DID_IVR, caller="12025550161", name="Erin", answered_by="")
    room = world.conference("12025550162", "2003")
    room.join("12025550163")
    person.row("12025550123").get_by_role("button", name="Listen").click()
    page.locator("#bar").get_by_text("Live").wait_for()
    page.wait_for_timeout(1500)
    person.photograph(directory, "live")
    recorded = service.await_recording(service.live_call("12025550123")["id"])["id"]
    service.post(f"/recordings/{recorded}/pause")
    page.locator("#bar").get_by_text("The recording is paused").wait_for()
    person.photograph(directory, "live-paused")
    page.reload()
    page.locator("#bar").get_by_text("this page was loaded again").wait_for()
    person.photograph(directory, "live-reloaded")
    page.get_by_role("button", name="Close").click()


def _photograph_conference(service: Service, person: Person, world: World, directory: Path) -> None:
    """Take pictures of a conference: three people talk, one of them is muted."""
    made = service.post("/conferences", {"name": "monday", "record": True, "layout": "tracks"})
    path = f"/conferences/{made.json()['id']}"
    page = person.page
    page.goto(f"{service.url}/conferences")
    for destination in ("PJSIP/2001", "PJSIP/2002", "+12025550164"):
        number = destination[-4:] if destination.startswith("PJSIP") else destination.lstrip("+")
        world.far.behave(number, "answer", 0.1, None)
        member = service.post(f"{path}/members", {"destination": destination}).json()
        page.locator(f"[data-member='{member['id']}']", has_text="in the conference").wait_for()
    service.patch(f"{path}/members/{member['id']}", {"muted": True})
    page.get_by_text("muted", exact=True).wait_for()
    person.photograph(directory, "conferences")
    service.delete(path)


def _start_campaign(service: Service) -> str:
    """Start a campaign whose agents are away, list a number, and return the campaign's id."""
    terms = {"name": "Autumn offer", "mode": "preview", "agents": ["PJSIP/2001", "PJSIP/2002"]}
    campaign: str = service.post("/campaigns", terms).json()["id"]
    lines = ["number,name,consent", "nonsense,Nobody,"]
    lines += [f"+1202555{number:04},Customer {number},by form" for number in range(170, 190)]
    service.put_csv(f"/campaigns/{campaign}/entries", "\n".join(lines))
    service.post(f"/campaigns/{campaign}/start")
    service.post("/do-not-call", {"number": "+12025550199", "reason": "Asked on the phone"})
    return campaign


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.web.screenshots DIRECTORY")
    main(Path(sys.argv[1]))
