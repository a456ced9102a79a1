"""Measure the watcher on a PBX with 10,000 calls and 2,000 events a second, decisions included.

The bench records the events of one real call through a real Asterisk. A simulated PBX
(`bench/rig/simulated.py`) repeats them for very many calls, over a real WebSocket, with the ids and
times of each call. Of the calls, 2,000 are the members of 100 conferences of 20 people, who come
and go, and 50 times a second an attended transfer joins two calls. Another 500 are the members of
50 conferences that Earwitness holds, each of 10 people whom it dialled; five times a second another
member takes the place of one. The watcher records all of them: it opens a snoop on each. The role
`watch` follows these calls in its own process, evaluates 20 rules and writes to a real PostgreSQL.
Measured are the time from the first event of the newest call until its decision can be read, the
watcher's CPU and its peak memory. At the end the calls in the catalogue must be the calls of the
PBX, and each held conference must have one live recording. The bars: 1 second, 1 core, 500 MB.

    python bench/many_calls.py [--calls 10000] [--rate 2000] [--seconds 60] [--conferences 100]
        [--merges 50] [--held 50]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
import websocket
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.clocks import peak_memory_mb, process_cpu_s
from bench.rig.held_rows import joining, seed_conference
from earwitness.config import load_config
from earwitness.embedded import postgres_of
from lab.ports import free_port
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import World
from recorder.ari import Ari
from recorder.watch.session import EVENTS
from storage.catalogue.engine import Catalogue

LAG_BAR_S, CORE_BAR, MEMORY_BAR_MB = 1.0, 1.0, 500.0
SAMPLE_S = 0.2
WARM_UP_S = 20.0  # until the work that finding all calls left is done
FOLLOWED_WITHIN_S = 300.0
REPOSITORY = Path(__file__).resolve().parent.parent
RULES = "".join(
    f"[[rule]]\nname = 'rule {n}'\naction = 'record'\n"
    f'when = \'direction == "inbound" && did == "39{n:02}" && hour >= 8\'\n'
    for n in range(20)
)


def trace() -> dict[str, Any]:
    """Return the events of a real call through a real Asterisk."""
    with World(ensure_root(root_directory())) as world:
        pbx = world.pbx
        ari = Ari(pbx.ari_url, pbx.username, pbx.password, "trace")
        socket = websocket.create_connection(
            ari.events_url(), header=[f"Authorization: {ari.authorization()}"], suppress_origin=True
        )
        ari.set_event_filter(EVENTS)
        ari.subscribe("channel:", "bridge:")
        info = pbx.ari("GET", "/asterisk/info")
        events: list[dict[str, Any]] = []
        call = world.inbound()
        call.talk_for(0.5)
        call.hang_up()
        socket.settimeout(1.0)
        while sum(one["type"] == "ChannelDestroyed" for one in events) < 2:
            events.append(json.loads(socket.recv()))
        socket.close()
    return {"info": info, "events": _in_time(events)}


def _in_time(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each event its time by the PBX's own clock: the bench read them later."""
    at = [datetime.fromisoformat(one["timestamp"]) for one in events]
    return [
        {"after_s": (each - at[0]).total_seconds(), "event": one}
        for each, one in zip(at, events, strict=True)
    ]


def count_recording(catalogue: Catalogue) -> int:
    """Return the number of recordings that run."""
    with catalogue.begin() as tx:
        query = text("SELECT count(*) FROM recording WHERE state = 'recording'")
        return int(tx.scalar(query) or 0)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while this context lasts."""
    process = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def measure(url: str, catalogue: Catalogue, pid: int, seconds: float) -> tuple[list[float], float]:
    """Return the lag of each decision about a new call, in seconds, and the cores in use."""
    requests.post(f"{url}/begin", timeout=5)
    time.sleep(WARM_UP_S)
    cpu_s, began, lags = process_cpu_s(pid), time.monotonic(), []
    while time.monotonic() - began < seconds:
        newest = requests.get(f"{url}/state", timeout=5).json()
        until(lambda id_=newest["newest"]: _is_decided(catalogue, id_), 60)
        lags.append((datetime.now(UTC) - datetime.fromisoformat(newest["began"])).total_seconds())
        time.sleep(SAMPLE_S)
    return lags, (process_cpu_s(pid) - cpu_s) / (time.monotonic() - began)


def _is_decided(catalogue: Catalogue, channel_id: str) -> bool:
    query = text("SELECT count(*) FROM decision WHERE call_id = :id")
    with catalogue.begin() as tx:
        return bool(tx.scalar(query, {"id": f"main-{channel_id}"}))


def count_decided(catalogue: Catalogue) -> int:
    """Return the number of calls with a decision."""
    with catalogue.begin() as tx:
        return int(tx.scalar(text("SELECT count(*) FROM decision")) or 0)


def is_connected(catalogue: Catalogue) -> bool:
    """Whether the watcher has caught up with the PBX."""
    with catalogue.begin() as tx:
        return bool(tx.scalar(text("SELECT count(*) FROM pbx WHERE state = 'connected'")))


def live_calls(catalogue: Catalogue) -> set[str]:
    """Return the ids of the live calls in the catalogue."""
    with catalogue.begin() as tx:
        return set(tx.scalars(text("SELECT id FROM call WHERE state <> 'ended'")))


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--conferences", type=int, default=100)
    parser.add_argument("--merges", type=float, default=50)
    parser.add_argument("--held", type=int, default=50)
    return parser.parse_args()


def main() -> int:
    """Measure, print the figures, and return 0 if all bars are met."""
    options = parse_options()
    with TemporaryDirectory(prefix="earwitness-bench-") as name:
        directory, port = Path(name), free_port()
        directory.chmod(0o755)  # PostgreSQL's own account has to pass
        (directory / "trace.json").write_text(json.dumps(trace()))
        url = f"http://127.0.0.1:{port}"
        config = directory / "config.toml"
        section = f"[data]\ndirectory = {json.dumps(str(directory / 'var'))}\n"
        config.write_text(f'{section}[[pbx]]\nurl = "{url}"\npassword = "none"\n{RULES}')
        loaded = load_config(config)
        loaded.data.directory.mkdir()
        simulated = ("bench/rig/simulated.py", str(directory / "trace.json"), str(port))
        with postgres_of(loaded) as postgres:
            catalogue = Catalogue(postgres.url)
            catalogue.migrate()
            for number in range(options.held):
                seed_conference(catalogue, number)
            watch = ("-m", "earwitness", "--config", str(config), "watch")
            with (
                running(
                    *simulated,
                    str(options.calls),
                    str(options.rate),
                    str(options.conferences),
                    str(options.merges),
                    str(options.held),
                ),
                running(*watch) as process,
            ):
                began = time.monotonic()
                until(lambda: count_decided(catalogue) == options.calls, FOLLOWED_WITHIN_S)
                until(lambda: is_connected(catalogue), FOLLOWED_WITHIN_S)
                print(
                    f"{options.calls} calls found and decided in {time.monotonic() - began:.1f} s",
                    flush=True,
                )
                until(lambda: count_recording(catalogue) == options.held, FOLLOWED_WITHIN_S)
                began = time.monotonic()
                with joining(url, catalogue, options.held):
                    lags, cores = measure(url, catalogue, process.pid, options.seconds)
                sent = requests.get(f"{url}/state", timeout=5).json()["sent"]
                sending_s = time.monotonic() - began
                requests.post(f"{url}/pause", timeout=5)
                until(lambda: _agree(url, catalogue), 30)
                until(lambda: count_recording(catalogue) == options.held, 30)
                captured = requests.get(f"{url}/state", timeout=5).json()["captured"]
                peak = peak_memory_mb(process.pid)
            catalogue.close()
    worst, middle = max(lags), statistics.median(lags)
    per_s = sent / sending_s
    print(
        f"{options.calls} calls, {options.conferences} conferences, {options.held} held ones with "
        f"{captured} people recorded at once, {options.merges:g} merges and "
        f"{per_s:.0f} events a second: decided after {middle:.2f} s in the "
        f"median, {worst:.2f} s at most, of {len(lags)} (bar {LAG_BAR_S:g}); {cores:.2f} of a core "
        f"(bar {CORE_BAR:g}), peak {peak:.0f} MB (bar {MEMORY_BAR_MB:.0f}); in the end the same "
        "calls live in the catalogue as on the PBX"
    )
    return 0 if worst < LAG_BAR_S and cores < CORE_BAR and peak < MEMORY_BAR_MB else 1


def _agree(url: str, catalogue: Catalogue) -> bool:
    """Whether all events are sent and the catalogue has the live calls of the PBX."""
    state = requests.get(f"{url}/state", timeout=5).json()
    return state["due"] == 0 and live_calls(catalogue) == {f"main-{one}" for one in state["live"]}


if __name__ == "__main__":
    sys.exit(main())
