"""Measure the cost of a listener beside Asterisk's own ChanSpy(), and many listeners at once.

Ten listeners on one call are measured three times: phones through Asterisk's ChanSpy(), phones
through us, and pages. Their cost is the CPU of Asterisk and of our roles, less the CPU of the call
alone. Then fifty pages (clients that count their frames) and 200 streams of events run together for
a minute: no frame may be lost.

    python bench/listeners.py [--listeners 10] [--seconds 20] [--pages 50] [--streams 200]
"""

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parent.parent))

from api.feed import MOST_OF_OWNER
from api.worker import MOST_OF_ADDRESS
from bench.rig.clocks import process_cpu_s
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import Watched, watch
from tests.service import Service

ROLES = ("media", "watch", "api")
FRAMES_A_SECOND = 50
SETTLES_S = 5.0
TOGETHER_S = 60.0
# Two clocks may differ by this many frames in a minute although no frame is lost.
CLOCKS_DIFFER_BY = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU of Asterisk and of our roles, in cores."""

    asterisk: float
    service: float

    def above(self, alone: "Cost", listeners: int) -> "Cost":
        """Return the cost of one listener."""
        return Cost(
            (self.asterisk - alone.asterisk) / listeners, (self.service - alone.service) / listeners
        )


def main() -> int:
    """Measure all; return 0 if no frame was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--streams", type=int, default=200)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, World(ensure_root(root_directory())) as world:
        service = Service(Path(folder), world.pbx)
        service.start()
        try:
            compare(service, world, options.listeners, options.seconds)
            ok = together(service, world, options.pages, options.streams)
            world.hang_up_all()
        finally:
            service.stop()
    return 0 if ok else 1


def compare(service: Service, world: World, listeners: int, seconds: float) -> None:
    """ChanSpy(), our phones, our pages: CPU of each listener, and the ratios."""
    watched = watch(service, world)
    alone = used(service, world, lambda: time.sleep(seconds), seconds)
    costs = {}
    for name, open_ in (
        ("ChanSpy()", chan_spy),
        ("a phone", phones),
        ("a page", pages),
        ("a page with levels", partial(pages, levels=True)),
    ):
        close = open_(watched, listeners)
        time.sleep(SETTLES_S)
        now = used(service, world, lambda: time.sleep(seconds), seconds)
        costs[name] = now.above(alone, listeners)
        close()
        time.sleep(SETTLES_S)
    spy = costs["ChanSpy()"].asterisk
    for name, cost in costs.items():
        print(
            f"{name}: Asterisk {100 * cost.asterisk:.3f} % of a core a listener"
            f" ({cost.asterisk / spy:.2f} of ChanSpy()'s), service {100 * cost.service:.3f} %",
            flush=True,
        )
    world.hang_up_all()


def used(service: Service, world: World, work: Callable[[], None], seconds: float) -> Cost:
    """CPU while the work lasts."""
    ours = [pid for role in ROLES for pid in service.pids_of(role)]
    asterisk = world.pbx.pid or 0
    before = process_cpu_s(asterisk), sum(process_cpu_s(pid) for pid in ours)
    work()
    after = process_cpu_s(asterisk), sum(process_cpu_s(pid) for pid in ours)
    return Cost((after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds)


def chan_spy(watched: Watched, listeners: int) -> Callable[[], None]:
    """Let phones hear the agent by Asterisk's own application."""
    world = watched.world
    for _ in range(listeners):
        world.pbx.cli("channel originate PJSIP/9001 application ChanSpy PJSIP/2001,q")
    legs = [world.supervisor("9001") for _ in range(listeners)]

    def close() -> None:
        for leg in legs:
            leg.hang_up()

    return close


def phones(watched: Watched, listeners: int) -> Callable[[], None]:
    """Let phones hear the call through us."""
    ids = [watched.spy("listen").id for _ in range(listeners)]
    return lambda: end(watched.service, ids)


def pages(watched: Watched, listeners: int, *, levels: bool = False) -> Callable[[], None]:
    """Connect clients that receive the same messages as a page, on request with levels."""
    ids, urls = ask_for_pages(watched, listeners)
    loop = asyncio.new_event_loop()
    counts = [0] * listeners
    threading.Thread(target=loop.run_forever, daemon=True).start()
    for place, url in enumerate(urls):
        asyncio.run_coroutine_threadsafe(count(url, counts, place, levels=levels), loop)
    until(lambda: all(counts), 20)

    def close() -> None:
        end(watched.service, ids)
        loop.call_soon_threadsafe(loop.stop)

    return close


def ask_for_pages(watched: Watched, number: int) -> tuple[list[str], list[str]]:
    """Start spies in the browser; return their ids and the URLs of their audio."""
    body = {"mode": "listen", "destination": "browser"}
    path = f"/calls/{watched.call_id}/spies"
    spies = [watched.service.post(path, body).json() for _ in range(number)]
    return [spy["id"] for spy in spies], [spy["audio_url"] for spy in spies]


async def count(url: str, counts: list[int], place: int, *, levels: bool = False) -> None:
    """Count the frames that arrive."""
    async with connect(url, compression=None, proxy=None) as connection:
        if levels:
            await connection.send('{"type": "levels"}')
        async for message in connection:
            counts[place] += isinstance(message, bytes)


def end(service: Service, ids: list[str]) -> None:
    """End the spies."""
    for id_ in ids:
        service.delete(f"/spies/{id_}")


def together(service: Service, world: World, pages_: int, streams: int) -> bool:
    """Run many pages and streams of events while calls come and go; return whether all arrived."""
    watched = watch(service, world)
    _, urls = ask_for_pages(watched, pages_)
    tokens = [
        service.run("token", "create", "--name", f"bench-{number}", "--role", "admin").strip()
        for number in range(-(-streams // MOST_OF_OWNER))
    ]
    counts, events = asyncio.run(_together(watched, urls, tokens, streams))
    due = TOGETHER_S * FRAMES_A_SECOND
    fewest = min(counts)
    print(
        f"{pages_} pages and {streams} streams for {TOGETHER_S:.0f} s: {fewest} to {max(counts)}"
        f" frames of {due:.0f} each; the streams had {min(events)} to {max(events)} events"
    )
    return fewest >= due - CLOCKS_DIFFER_BY and min(events) == max(events) > 0


async def _together(
    watched: Watched, urls: list[str], tokens: list[str], streams: int
) -> tuple[list[int], list[int]]:
    counts, events = [0] * len(urls), [0] * streams
    tasks = [asyncio.create_task(count(url, counts, n)) for n, url in enumerate(urls)]
    tasks += [
        asyncio.create_task(_follow(watched.service.port, tokens[n // MOST_OF_OWNER], events, n))
        for n in range(streams)
    ]
    await asyncio.sleep(2 * SETTLES_S)
    events_before = list(events)
    counts_before, began = list(counts), time.monotonic()
    for _ in range(6):  # each call is some events to every stream
        await asyncio.to_thread(_call, watched)
        await asyncio.sleep(2.0)
    await asyncio.sleep(began + TOGETHER_S - time.monotonic())
    counted = [now - before for now, before in zip(counts, counts_before, strict=True)]
    await asyncio.sleep(SETTLES_S)
    streamed = [now - before for now, before in zip(events, events_before, strict=True)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return counted, streamed


def _call(watched: Watched) -> None:
    watch(watched.service, watched.world).call.hang_up()


async def _follow(port: int, token: str, events: list[int], place: int) -> None:
    own = f"127.0.0.{2 + place // MOST_OF_ADDRESS}", 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=own)
    writer.write(
        f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}"
        "\r\n\r\n".encode()
    )
    while line := await reader.readline():
        events[place] += line.startswith(b"event: ")


if __name__ == "__main__":
    sys.exit(main())
