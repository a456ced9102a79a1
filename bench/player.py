"""Measure how soon a two-hour recording sounds in a real browser, from the embedded store.

A worker finishes the recording, as in production. Then, in turns and each in a fresh browser
context without a cache, the benchmark opens the page, presses Play as soon as the button is
enabled, and jumps to the last minute. For comparison a bare `<audio>` element plays the object's
presigned URL. Three times to sound are printed: from opening the page, from Play, and from the
jump. The bar: a second each.

    python bench/player.py [--length 7200] [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.sound import speak
from bench.rig.works import REPOSITORY, Works
from lab.ports import free_port
from lab.root import ensure_program
from lab.waiting import answers, until
from storage.catalogue import recordings, tokens, users
from storage.catalogue.recordings import RecordingFilter
from storage.passwords import hash_password
from tests.web.browsing import CHROMIUM, OPTIONS, PASSWORD, fill_in

BAR_MS = 1000
FROM_END_S = 60
# Wait until the audio plays on from a position; return the milliseconds.
PLAYS = """
async ([from, began]) => {
  const audio = document.querySelector("audio");
  while (audio.seeking || audio.currentTime < from + 0.05) {
    if (performance.now() - began > 20000) throw new Error("nothing is heard");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - began;
}
"""
BARE = """
(url) => {
  const began = performance.now();
  const audio = document.createElement("audio");
  document.body.append(audio);
  audio.src = url;
  audio.play();
  return began;
}
"""
PRESS = """
() => {
  const began = performance.now();
  document.querySelector("[data-play]").click();
  return began;
}
"""
JUMP = """
(at) => {
  const began = performance.now();
  document.querySelector("audio").currentTime = at;
  return began;
}
"""


def main() -> None:
    """Measure; exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=float, default=7200.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ensure_program("chromium", "chromium")
    with Works.running() as works:
        with works.worker():
            works.finish(speak(works.directory, options.length), 1)
        with works.catalogue.begin() as tx:
            (record,) = recordings.list_recordings(tx, RecordingFilter(), limit=1).items
            _, token = tokens.create_token(tx, name="bench", role="admin")
            users.create_user(
                tx, name="viewer", role="admin", team=None, password_hash=hash_password(PASSWORD)
            )
        with serving(works) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
            state = sign_in(browser, base)
            url = f"{base}/recordings/{record.id}"
            found = measure(browser, state, url, presigned(base, str(record.id), token), options)
            browser.close()
    raise SystemExit(not report(found))


def measure(
    browser: Browser, state: object, shown: str, bare: str, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the milliseconds of each round, by the name of the measurement."""
    found: dict[str, list[float]] = {}
    jump = options.length - FROM_END_S
    for _ in range(options.rounds):
        with fresh(browser, state) as page:
            page.goto(shown, wait_until="commit")
            page.get_by_role("button", name="Play").click()
            note(found, "the page: from the way to it", page.evaluate(PLAYS, [0, 0]))
        with fresh(browser, state) as page:
            page.goto(shown)
            page.locator("[data-spans] i").first.wait_for(state="attached")
            pressed = (
                "() => { document.querySelector('[data-play]').click(); return performance.now(); }"
            )
            began = page.evaluate(pressed)
            note(found, "the page: from Play", page.evaluate(PLAYS, [0, began]))
            began = page.evaluate(JUMP, jump)
            note(found, "the page: from the jump", page.evaluate(PLAYS, [jump, began]))
        with fresh(browser, state) as page:
            page.goto(f"{shown}/nothing")
            began = page.evaluate(BARE, bare)
            note(found, "bare: from Play", page.evaluate(PLAYS, [0, began]))
            began = page.evaluate(JUMP, jump)
            note(found, "bare: from the jump", page.evaluate(PLAYS, [jump, began]))
    return found


def report(found: dict[str, list[float]]) -> bool:
    """Print the results; return whether all are within the bar."""
    medians = {what: statistics.median(each) for what, each in found.items()}
    for what, each in found.items():
        print(f"{what}: median {medians[what]:.0f} ms, worst {max(each):.0f} ms (bar {BAR_MS})")
    for what in ("from Play", "from the jump"):
        print(f"{what}: {medians[f'the page: {what}'] / medians[f'bare: {what}']:.2f} times bare")
    return max(max(each) for what, each in found.items() if what.startswith("the page")) < BAR_MS


def note(found: dict[str, list[float]], what: str, ms: float) -> None:
    """Add one measurement."""
    found.setdefault(what, []).append(ms)


@contextmanager
def fresh(browser: Browser, state: object) -> Iterator[Page]:
    """Open a page in a browser context without a cache."""
    context: BrowserContext = browser.new_context(
        storage_state=state,  # type: ignore[arg-type]
        bypass_csp=True,  # only the bare element needs this: our page plays from the service
    )
    yield context.new_page()
    context.close()


def sign_in(browser: Browser, base: str) -> object:
    """Sign in once, and return the session."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base}/sign-in")
    fill_in(page, "viewer")
    page.wait_for_url(f"{base}/")
    state = context.storage_state()
    context.close()
    return state


def presigned(base: str, id_: str, token: str) -> str:
    """Return the presigned URL of the object."""
    answered = requests.get(
        f"{base}/api/v1/recordings/{id_}/audio",
        headers={"Authorization": f"Bearer {token}"},
        allow_redirects=False,
        timeout=10,
    )
    return answered.headers["Location"]


@contextmanager
def serving(works: Works) -> Iterator[str]:
    """Start the role `api`, and return its address."""
    port = free_port()
    with (works.directory / "api.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "earwitness", "--config", str(works.config), "api"],
            cwd=REPOSITORY,
            stderr=log,
            env={**os.environ, "EARWITNESS_SERVER__PORT": str(port)},
        )
    base = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{base}/health/live"), 30)
        yield base
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
