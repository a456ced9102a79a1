"""Measure GET /api/v1/calls from one address while strangers at other addresses open many sockets.

The strangers (`lab/strangers.py`) send unfinished headers, slow bodies and huge headers, read
nothing of long answers and of event streams, and send pipelined requests: each kind alone, and then
all together. Without `--front` they meet the API itself, with `--front` an nginx with
`deploy/nginx/nginx.conf` before it.

The bar, behind the front: with 2,000 sockets the 99th percentile is under 1 s.

    python bench/front.py [--front] [--sockets 2000] [--addresses 1] [--seconds 20]
"""

import argparse
import logging
import multiprocessing
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from flask import Flask

sys.path.insert(0, str(Path(__file__).parent.parent))

from api.app import ApiSettings, build_app
from api.server import serve
from earwitness.embedded import EmbeddedPostgres
from lab.front import front
from lab.ports import free_port
from lab.strangers import HABITS, Strangers, Target, ask, attacking
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue

BAR_S = 1.0
OWN_ADDRESS = "127.0.0.2"
EVERY_S = 0.1
SETTLED_AFTER_S = 8.0
FAILED_S = 10.0


def main() -> None:
    """Measure without strangers, with each habit alone, and with all; exit with 1 above the bar."""
    wanted = parse_arguments()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="earwitness-bench-")))
        directory.chmod(0o755)  # PostgreSQL's own account has to pass
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        token = make_token(postgres.url)
        port = stack.enter_context(serving(postgres.url, proxies=int(wanted.front)))
        target = Target(port, token=token)
        if wanted.front:
            target = Target(stack.enter_context(front(directory, port)).port, True, token)
        report("nobody", target, [], replace(wanted, sockets=0))
        for name in wanted.only:
            report(name, target, [name], wanted)
        worst_s = report("all", target, [*HABITS], wanted)
    raise SystemExit(wanted.front and worst_s > BAR_S)


@dataclass(frozen=True)
class Wanted:
    """The arguments of the command line."""

    front: bool
    sockets: int
    addresses: int
    seconds: float
    only: Sequence[str]


def parse_arguments() -> Wanted:
    """Read the number of sockets and of addresses, and the seconds of each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front", action="store_true")
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--addresses", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", nargs="*", choices=[*HABITS], default=[*HABITS])
    return Wanted(**vars(parser.parse_args()))


def report(name: str, target: Target, habits: Sequence[str], wanted: Wanted) -> float:
    """Attack with these habits, print the times of our own requests, and return the 99th."""
    ready, over = multiprocessing.Event(), multiprocessing.Event()
    strangers = multiprocessing.Process(target=attack, args=(target, habits, wanted, (ready, over)))
    strangers.start()
    try:
        ready.wait(60)
        took_s = measure(target, wanted.seconds)
    finally:
        over.set()
        strangers.join(30)
    late_s = statistics.quantiles(took_s, n=100)[98]
    failed = sum(one >= FAILED_S for one in took_s)
    print(
        f"{name}: p50 {statistics.median(took_s) * 1000:.0f} ms, p99 {late_s * 1000:.0f} ms,"
        f" {failed} of {len(took_s)} failed",
        flush=True,
    )
    return late_s


def attack(
    target: Target, habits: Sequence[str], wanted: Wanted, signals: tuple[Event, Event]
) -> None:
    """Attack until the second signal; this runs in a process of its own, beside the measurement."""
    ready, over = signals
    if not wanted.sockets:
        ready.set()
        return
    strangers = Strangers(
        target,
        wanted.sockets,
        habits=[HABITS[name] for name in habits],
        addresses=[f"127.0.1.{number + 1}" for number in range(wanted.addresses)],
    )
    with attacking(strangers):
        time.sleep(SETTLED_AFTER_S)
        ready.set()
        over.wait()


def measure(target: Target, seconds: float) -> list[float]:
    """Return how long our own requests took; each has a connection of its own."""
    took_s = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(took_s) < 2:
        began = time.monotonic()
        is_answered = ask(target, "/api/v1/calls", address=OWN_ADDRESS, timeout_s=FAILED_S) == 200
        took = time.monotonic() - began
        took_s.append(took if is_answered else max(took, FAILED_S))
        time.sleep(max(0.0, EVERY_S - took))
    return took_s


def make_token(url: str) -> str:
    """Make the tables, and return an admin's token."""
    catalogue = Catalogue(url)
    catalogue.migrate()
    with catalogue.begin() as tx:
        _, secret = tokens.create_token(tx, name="bench", role="admin")
    catalogue.close()
    return secret


@contextmanager
def serving(url: str, *, proxies: int) -> Iterator[int]:
    """Serve the API in a process of its own; yield its port."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(url, port, proxies))
    process.start()
    try:
        deadline = time.monotonic() + 60
        while ask(Target(port), "/health/live") != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield port
    finally:
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join(15)


def run(url: str, port: int, proxies: int) -> None:
    """Serve; the list of calls needs neither objects nor the recorder."""

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    settings = ApiSettings(proxies=proxies)

    def build() -> Flask:
        return build_app(Catalogue(url), None, None, None, settings)  # type: ignore[arg-type]

    serve(build, "127.0.0.1", port, proxies=proxies)


if __name__ == "__main__":
    main()
