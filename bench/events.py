"""Read 200 streams of `GET /api/v1/events` on the API's two processes, while events are written.

A call changes its state many times a second, each time in its own transaction, as the watcher does.
One client process reads all streams, and another requests the list of calls all the time. The bars:
every stream gets every event exactly once, and 99 of 100 events come within half a second.

    python bench/events.py [--streams 200] [--rate 20] [--seconds 60]
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from api.feed import MOST_OF_OWNER
from api.worker import MOST_OF_ADDRESS
from bench.list import build_ours, fill, serving
from earwitness.embedded import EmbeddedPostgres
from storage.catalogue import calls, tokens
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord

LATE_S = 0.5
SETTLES_S = 5.0


@dataclass(frozen=True)
class Signals:
    """The number of streams to open, and the signals "all are open" and "close them"."""

    streams: int
    ready: Event
    stop: Event


@dataclass
class Heard:
    """The delay of each received event in seconds, and the ids that each stream received."""

    delays_s: list[float] = field(default_factory=list)
    ids: list[list[str]] = field(default_factory=list)


def main() -> None:
    """Open the streams, write events, compare; exit with status 1 below the bars."""
    wanted = parse_arguments()
    with TemporaryDirectory(prefix="earwitness-bench-") as directory:
        os.chmod(directory, 0o755)  # PostgreSQL's own account has to pass  # noqa: S103
        with EmbeddedPostgres(Path(directory) / "postgres") as postgres:
            url, token = fill(postgres.url, 0)
            owners = make_owners(url, wanted.streams)
            with serving(build_ours, url) as port:
                ok = measure(url, port, token, owners, wanted)
    raise SystemExit(not ok)


def parse_arguments() -> argparse.Namespace:
    """Read the number of streams, the rate of events and the duration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    return parser.parse_args()


def make_owners(url: str, streams: int) -> list[str]:
    """Return a token for each stream; a token has as many streams as an owner may have."""
    catalogue = Catalogue(url)
    with catalogue.begin() as tx:
        made = [
            tokens.create_token(tx, name=f"owner-{number}", role="admin")[1]
            for number in range(-(-streams // MOST_OF_OWNER))
        ]
    catalogue.close()
    return [made[number // MOST_OF_OWNER] for number in range(streams)]


def measure(
    url: str, port: int, token: str, owners: Sequence[str], wanted: argparse.Namespace
) -> bool:
    """Measure and print; return whether the bars are met."""
    context = multiprocessing.get_context("spawn")
    signals = Signals(wanted.streams, context.Event(), context.Event())
    answers: multiprocessing.Queue[Heard] = context.Queue()
    listener = context.Process(target=listen, args=(port, owners, signals, answers))
    listener.start()
    if not signals.ready.wait(120):
        raise TimeoutError("not every stream opened")
    answered_s: list[float] = []
    asking = threading.Thread(target=ask, args=(port, token, signals.stop, answered_s))
    asking.start()
    written = write(url, wanted.rate, wanted.seconds)
    time.sleep(SETTLES_S)
    signals.stop.set()
    heard = answers.get(timeout=60)
    asking.join()
    listener.join()
    return report(heard, written, answered_s)


def report(heard: Heard, written: int, answered_s: list[float]) -> bool:
    """Print the figures; return whether the bars are met."""
    whole = sum(len(ids) == written == len(set(ids)) for ids in heard.ids)
    late = percentile(heard.delays_s, 99)
    print(f"{written} events, {len(heard.ids)} streams: {whole} heard each event once")
    delays = ", ".join(
        f"{name} {value * 1000:.0f} ms"
        for name, value in (
            ("median", statistics.median(heard.delays_s)),
            ("99th percentile", late),
            ("longest", max(heard.delays_s)),
        )
    )
    print(f"from the write to the stream: {delays} (bar: 99th percentile {LATE_S * 1000:.0f} ms)")
    print(
        f"{len(answered_s)} requests beside them: "
        f"median {statistics.median(answered_s) * 1000:.0f} ms,"
        f" 99th percentile {percentile(answered_s, 99) * 1000:.0f} ms"
    )
    return whole == len(heard.ids) and late <= LATE_S


def percentile(values: list[float], percent: int) -> float:
    """Return the value that `percent` of all values do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def write(url: str, rate: float, seconds: float) -> int:
    """Write events at this rate; return their number."""
    catalogue = Catalogue(url)
    usual = CallRecord("main-1.0", "main", "up", "inbound", datetime.now(UTC))
    began, count = time.perf_counter(), 0
    while (due := began + count / rate) < began + seconds:
        time.sleep(max(0.0, due - time.perf_counter()))
        with catalogue.begin() as tx:
            # The event's facts hold the queue: here the time of the write.
            calls.save_calls(tx, [replace(usual, queue=repr(time.time()))])
        count += 1
    catalogue.close()
    return count


def ask(port: int, token: str, stop: Event, took_s: list[float]) -> None:
    """Request the list of calls again and again, as an open page does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not stop.wait(0.05):
        began = time.perf_counter()
        connection.request("GET", "/api/v1/calls", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        took_s.append(time.perf_counter() - began)


def listen(
    port: int, owners: Sequence[str], signals: Signals, answers: "multiprocessing.Queue[Heard]"
) -> None:
    """Hold all streams open until the signal `stop`, then send the received events back.

    This runs in the listeners' process.
    """
    answers.put(asyncio.run(_listen(port, owners, signals)))


async def _listen(port: int, owners: Sequence[str], signals: Signals) -> Heard:
    heard = Heard(ids=[[] for _ in range(signals.streams)])
    reading, writers = [], []
    for number, (ids, token) in enumerate(zip(heard.ids, owners, strict=True)):
        own = f"127.0.0.{2 + number // MOST_OF_ADDRESS}", 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=own)
        writer.write(
            f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}"
            "\r\n\r\n".encode()
        )
        assert b" 200 " in await reader.readline()
        await reader.readuntil(b"retry: ")
        reading.append(asyncio.create_task(_read(reader, heard, ids)))
        writers.append(writer)  # one that nobody holds closes its connection
    signals.ready.set()
    await asyncio.to_thread(signals.stop.wait)
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
    return heard


async def _read(reader: asyncio.StreamReader, heard: Heard, ids: list[str]) -> None:
    while line := await reader.readline():
        if line.startswith(b"data: "):
            event = json.loads(line.removeprefix(b"data: "))
            heard.delays_s.append(time.time() - float(event["data"]["queue"]))
            ids.append(event["data"]["queue"])


if __name__ == "__main__":
    main()
