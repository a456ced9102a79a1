"""Pictures of every page: `python -m tests.web.screenshots DIRECTORY`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from lab.pbx import DID_QUEUE
from lab.root import ensure_program, ensure_root, root_directory
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
    """Take them all."""
    directory.mkdir(parents=True, exist_ok=True)
    ensure_program("chromium", "chromium")
    with World(ensure_root(root_directory())) as world, TemporaryDirectory() as folder:
        service = Service(Path(folder), world.pbx)
        service.start()
        try:
            _take(service, world, directory)
        finally:
            service.stop()


def _take(service: Service, world: World, directory: Path) -> None:
    for rule in RULES:
        service.post("/rules", rule)
    service.run("token", "create", "--name", "2001", "--role", "agent", "--team", "support")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        page = browser.new_page()
        person = Person(service, page, "admin", name="Sam")
        page.goto(f"{service.url}/sign-in")
        person.photograph(directory, "sign-in")
        person.sign_in()
        page.get_by_text("Nobody is talking").wait_for()
        person.photograph(directory, "live-empty")
        first = world.inbound(caller="12025550188", name="Dana")
        recorded = service.await_recording(service.live_call("12025550188")["id"])
        first.talk_for(6.0)
        first.hang_up()
        service.await_state(recorded["id"], ["stored"])
        world.inbound(caller="12025550123", name="Alice")
        world.inbound(did=DID_QUEUE, caller="12025550147", name="Bob", answered_by="2002")
        person.row("12025550123").get_by_role("button", name="Listen").click()
        page.locator("#bar").get_by_text("Live").wait_for()
        page.wait_for_timeout(1500)
        person.photograph(directory, "live")
        page.get_by_role("button", name="Stop listening").click()
        rule = service.get("/rules")["items"][-1]["id"]
        for name, path in (
            ("library", "/library"),
            ("recording", f"/recordings/{recorded['id']}"),
            ("rules", "/rules"),
            ("rule", f"/rules/{rule}"),
            ("system", "/system"),
        ):
            page.goto(f"{service.url}{path}")
            page.wait_for_timeout(800)
            person.photograph(directory, name)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.web.screenshots DIRECTORY")
    main(Path(sys.argv[1]))
