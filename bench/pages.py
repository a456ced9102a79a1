"""Measure the pages in a browser: the library over a million recordings, and 500 live calls.

The first paint of the library is compared with the sign-in form, which reads nothing from the
database. Both are opened in turns, each in a fresh browser context without a cache. Then 500 calls
are live, 50 of them change every second, and 20 viewers look: Chromium, and 19 streams that read
like it. The benchmark prints the CPU of the service's workers and of the browser's page, in parts
of a core. The bars: 300 ms; 20 % of a core each.

    python bench/pages.py [--rows 1000000] [--seconds 30]
"""

import argparse
import http.client
import itertools
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.list import build_ours, fill, serving
from bench.rig.clocks import process_cpu_s
from earwitness.embedded import EmbeddedPostgres
from lab.root import ensure_program
from storage.catalogue import calls, users
from storage.catalogue.engine import Catalogue
from storage.passwords import hash_password
from storage.records import CallRecord
from tests.web.browsing import CHROMIUM, OPTIONS, PASSWORD, fill_in

PAINT_BAR_MS, CORE_BAR = 300.0, 0.20
ROUNDS = 10
LIVE, CHANGES_PER_S, VIEWERS = 500, 50, 20
SETTLES_S = 3.0
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def main() -> None:
    """Fill the database and measure; exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    ensure_program("chromium", "chromium")
    with TemporaryDirectory(prefix="earwitness-bench-") as directory:
        os.chmod(directory, 0o755)  # PostgreSQL's own account has to pass  # noqa: S103
        with EmbeddedPostgres(Path(directory) / "postgres") as postgres:
            url, token = fill(postgres.url, options.rows)
            catalogue = Catalogue(url)
            with catalogue.begin() as tx:
                users.create_user(
                    tx,
                    name="viewer",
                    role="admin",
                    team=None,
                    password_hash=hash_password(PASSWORD),
                )
            with serving(build_ours, url) as port, sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
                good = measure_paint(browser, f"http://127.0.0.1:{port}")
                good &= measure_live_page(browser, port, token, catalogue, options.seconds)
                browser.close()
            catalogue.close()
    raise SystemExit(not good)


def sign_in(page: Page, base: str) -> None:
    """Sign in over the form."""
    page.goto(f"{base}/sign-in")
    fill_in(page, "viewer")
    page.wait_for_url(f"{base}/")


def measure_paint(browser: Browser, base: str) -> bool:
    """Print how soon the library is painted; return whether the bar is met."""
    first = browser.new_context()
    sign_in(first.new_page(), base)
    state = first.storage_state()
    first.close()
    seen: dict[str, list[float]] = {"/sign-in": [], "/library": []}
    for _ in range(ROUNDS + 1):  # the first of each warms up and does not count
        for path, painted in seen.items():
            context = browser.new_context(storage_state=state)
            page = context.new_page()
            page.goto(f"{base}{path}")
            painted.append(_await_paint(page))
            context.close()
    form, library = (statistics.median(each[1:]) for each in seen.values())
    worst = max(seen["/library"][1:])
    print(
        f"first paint of the library: median {library:.0f} ms, worst {worst:.0f} ms (bar"
        f" {PAINT_BAR_MS:.0f}); {library / form:.2f} times that of the form to sign in"
    )
    return library < PAINT_BAR_MS


def _await_paint(page: Page) -> float:
    deadline = time.monotonic() + 10
    while (at := page.evaluate(PAINTED)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError("nothing was painted")
        time.sleep(0.02)
    return float(at)


def measure_live_page(
    browser: Browser, port: int, token: str, catalogue: Catalogue, seconds: float
) -> bool:
    """Print the CPU of service and browser; return whether the bars are met."""
    now = datetime.now(UTC)
    usual = CallRecord("main-0.0", "main", "up", "inbound", now, answered_at=now)
    live = [
        replace(usual, id=f"main-{n}.0", caller_number=f"1202555{n:04}", agent=str(2000 + n))
        for n in range(LIVE)
    ]
    with catalogue.begin() as tx:
        calls.save_calls(tx, live)
    page = browser.new_page()
    sign_in(page, f"http://127.0.0.1:{port}")
    page.locator("tbody tr").nth(LIVE - 1).wait_for(state="attached")
    with viewing(port, token, VIEWERS - 1):
        time.sleep(SETTLES_S)
        idle = _measure(page, seconds / 3, lambda: None)
        before, numbers = _written(catalogue), itertools.count()
        busy = _measure(page, seconds, lambda: change(catalogue, live, numbers))
        rate = (_written(catalogue) - before) / busy[2]
    for name, (service, tab, _) in {
        "nothing happens": idle,
        f"{rate:.0f} changes/s": busy,
    }.items():
        print(
            f"{LIVE} calls, {VIEWERS} viewers, {name}: service {service:.0%} of a core, page"
            f" {tab:.0%} (bar {CORE_BAR:.0%} each)"
        )
    return max(busy[:2]) < CORE_BAR and rate > 0.9 * CHANGES_PER_S


def _written(catalogue: Catalogue) -> int:
    """Return the number of events in the database."""
    with catalogue.begin() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM event")) or 0)


def _measure(page: Page, seconds: float, act: object) -> tuple[float, float, float]:
    """Call `act` each second; return the parts of a core that service and page took.

    The third value is the measured time in seconds.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    service, tab, began = _service_cpu_s(), _tab_cpu_s(session), time.monotonic()
    second = 0
    while (due := began + second) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        act()  # type: ignore[operator]
        second += 1
    took = time.monotonic() - began
    return (_service_cpu_s() - service) / took, (_tab_cpu_s(session) - tab) / took, took


def change(catalogue: Catalogue, live: list[CallRecord], numbers: Iterator[int]) -> None:
    """Change 50 calls, spread over a second, every call in its turn, each time to another queue."""
    began = time.monotonic()
    for n, number in zip(range(CHANGES_PER_S), numbers, strict=False):
        time.sleep(max(0.0, began + 0.9 * n / CHANGES_PER_S - time.monotonic()))
        one = live[number * 7 % LIVE]
        queue = f"queue {number % 5} {number // LIVE % 2}"
        with catalogue.begin() as tx:
            calls.save_calls(tx, [replace(one, queue=queue)])


def _service_cpu_s() -> float:
    """Return the CPU seconds of the spawned server and its workers."""
    (server,) = multiprocessing.active_children()
    workers = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return sum(process_cpu_s(pid) for pid in (server.pid or 0, *map(int, workers)))


def _tab_cpu_s(session: object) -> float:
    """Return the CPU seconds of the page's process, by the browser's own clock."""
    answer = session.send("Performance.getMetrics")  # type: ignore[attr-defined]
    return float(next(one["value"] for one in answer["metrics"] if one["name"] == "ProcessTime"))


@contextmanager
def viewing(port: int, token: str, count: int) -> Iterator[None]:
    """Keep streams open that are read to their end, as pages read them."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_read, args=(port, token, stop), daemon=True) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


def _read(port: int, token: str, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    while not stop.is_set() and answer.readline():
        pass


if __name__ == "__main__":
    main()
