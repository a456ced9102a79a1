"""Measure the time from POST to the first sound in a page, and fifty listeners on one call.

It uses a real call, the whole service, and a headless Chromium whose page loads the module anew
each time. Then listeners in Python count their frames.

    python bench/listen.py [--rounds 10] [--listeners 50] [--seconds 20]
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.clocks import process_cpu_s
from lab.root import ensure_program, ensure_root, root_directory
from lab.world import World
from tests.pbx.watching import Watched, watch
from tests.service import Service
from tests.web.listening import Listening

FRAMES_A_SECOND = 50
FIRST_SOUND_BAR_S = 0.4


def first_sounds(watched: Watched, rounds: int) -> list[float]:
    """Return the seconds from POST to sound in a new page, which calls `start()` at once."""
    ensure_program("chromium", "chromium")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--autoplay-policy=no-user-gesture-required",
                "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
            ],
        )
        for _ in range(rounds):
            page = browser.new_page()
            one = Listening(page, watched)
            found.append(one.asked_s + one.first_sound_s)
            watched.service.delete(f"/spies/{one.id}")
            page.close()
        browser.close()
    return found


def share(watched: Watched, listeners: int, seconds: float) -> tuple[float, float, float]:
    """Return the share of frames that arrived, and the CPU of `media` and Asterisk a listener."""
    service, body = watched.service, {"mode": "listen", "destination": "browser"}
    urls = [
        service.post(f"/calls/{watched.call_id}/spies", body).json()["audio_url"]
        for _ in range(listeners)
    ]
    (media,) = service.pids_of("media")
    pids = (media, watched.world.pbx.pid or 0)
    frames, used = asyncio.run(_listen(urls, seconds, pids))
    due = listeners * seconds * FRAMES_A_SECOND
    return frames / due, used[0] / seconds / listeners, used[1] / seconds / listeners


async def _listen(
    urls: list[str], seconds: float, pids: tuple[int, int]
) -> tuple[int, tuple[float, float]]:
    counted = 0
    counting = False

    async def one(url: str) -> None:
        nonlocal counted
        async with connect(url, compression=None, proxy=None) as connection:
            async for message in connection:
                counted += counting and isinstance(message, bytes)

    tasks = [asyncio.create_task(one(url)) for url in urls]
    await asyncio.sleep(5)
    counting, before, began = True, [process_cpu_s(pid) for pid in pids], time.monotonic()
    await asyncio.sleep(seconds - (time.monotonic() - began))
    counting = False
    used = [process_cpu_s(pid) - first for pid, first in zip(pids, before, strict=True)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return counted, (used[0], used[1])


def main() -> int:
    """Measure both; return 0 if the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--listeners", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, World(ensure_root(root_directory())) as world:
        service = Service(Path(folder), world.pbx)
        service.start()
        try:
            watched = watch(service, world)
            found = first_sounds(watched, options.rounds)
            median, worst = statistics.median(found), max(found)
            print(f"POST to first sound: median {median:.3f} s, worst {worst:.3f} s", flush=True)
            came, media, asterisk = share(watched, options.listeners, options.seconds)
            print(
                f"{options.listeners} listeners: {100 * came:.2f} % of the frames; CPU for each: "
                f"media {100 * media:.3f} %, Asterisk {100 * asterisk:.3f} % of a core"
            )
            world.hang_up_all()
        finally:
            service.stop()
    return 0 if median < FIRST_SOUND_BAR_S else 1


if __name__ == "__main__":
    sys.exit(main())
