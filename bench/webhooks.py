"""Deliver events to one good receiver while others drip a header line every 2 s.

A worker of the real program delivers. In the first round nobody drips. In the second one the
receivers drip for the first time, in the third one they are known to fail, and in the last one many
webhooks go to one of them. The bar: in each round every event comes within 2 s.

    python bench/webhooks.py [--dripping 8] [--events 20]
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.list import fill
from earwitness.embedded import EmbeddedPostgres
from storage.catalogue import events, tokens, webhooks
from storage.catalogue.engine import Catalogue

LATE_S = 2.0
STARTS_WITHIN_S = 20.0
BETWEEN_S = 0.5


class Good(BaseHTTPRequestHandler):
    """A receiver that accepts each event, and remembers its time."""

    protocol_version = "HTTP/1.1"
    came_at: list[float] = []  # noqa: RUF012

    def do_POST(self) -> None:
        """Accept an event."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.came_at.append(time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    """Run the rounds; exit with status 1 above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dripping", type=int, default=8)
    parser.add_argument("--events", type=int, default=20)
    wanted = parser.parse_args()
    good = ThreadingHTTPServer(("127.0.0.1", 0), Good)
    threading.Thread(target=good.serve_forever, daemon=True).start()
    with TemporaryDirectory(prefix="earwitness-bench-") as directory:
        os.chmod(directory, 0o755)  # PostgreSQL's own account has to pass  # noqa: S103
        with EmbeddedPostgres(Path(directory) / "postgres") as postgres:
            url, _ = fill(postgres.url, 0)
            catalogue = Catalogue(url)
            with working(url, Path(directory)):
                worst_s = run_rounds(catalogue, good.server_port, wanted.dripping, wanted.events)
    raise SystemExit(worst_s > LATE_S)


def run_rounds(catalogue: Catalogue, good: int, dripping: int, count: int) -> float:
    """Print the delays of each round; return the longest one."""
    with catalogue.begin() as tx:
        owner = tokens.create_token(tx, name=f"owner-{uuid4()}", role="admin")[0].id
    add(catalogue, owner, good, ["call.ended"])
    time.sleep(STARTS_WITHIN_S)
    worst_s = measure(catalogue, count, "nobody drips")
    ports = [drip() for _ in range(dripping)]
    for port in ports:
        add(catalogue, owner, port, ["call.up"])
    happen(catalogue, "call.up")
    worst_s = max(worst_s, measure(catalogue, count, f"{dripping} drip for the first time"))
    worst_s = max(worst_s, measure(catalogue, count, f"{dripping} are known to drip"))
    for _ in range(50):
        add(catalogue, owner, ports[0], ["call.up"])
    happen(catalogue, "call.up")
    return max(worst_s, measure(catalogue, count, "50 more webhooks go to one of them"))


def measure(catalogue: Catalogue, count: int, name: str) -> float:
    """Write events one after another; print and return the delays until the good receiver."""
    delays_s = []
    for _ in range(count):
        seen, written_at = len(Good.came_at), time.monotonic()
        happen(catalogue, "call.ended")
        while len(Good.came_at) == seen:
            time.sleep(0.005)
        delays_s.append(Good.came_at[-1] - written_at)
        time.sleep(BETWEEN_S)
    print(f"{name}: median {statistics.median(delays_s):.2f} s, longest {max(delays_s):.2f} s")
    return max(delays_s)


def add(catalogue: Catalogue, owner: UUID, port: int, types: Sequence[str]) -> None:
    """Add a webhook."""
    url = f"http://127.0.0.1:{port}/{uuid4()}"
    with catalogue.begin() as tx:
        webhooks.create_webhook(tx, url=url, types=types, by="bench", owner_id=owner)


def happen(catalogue: Catalogue, type_: str) -> None:
    """Write an event."""
    with catalogue.begin() as tx:
        events.add_event(tx, type_, {"id": str(uuid4())})


def drip() -> int:
    """Start a receiver that never ends its headers; return its port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)

    def talk(connected: socket.socket) -> None:
        with connected, suppress(OSError):
            connected.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                time.sleep(2)
                connected.sendall(b"X-Drop: a\r\n")

    def accept() -> None:
        while True:
            threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listening.getsockname()[1])


@contextmanager
def working(url: str, directory: Path) -> Iterator[None]:
    """Run the role `work`; nothing here needs its object store."""
    config = directory / "config.toml"
    config.write_text(
        f'[data]\ndirectory = "{directory / "var"}"\n[database]\nurl = "{url}"\n'
        '[objects]\nkind = "s3"\nendpoint_url = "http://127.0.0.1:1"\n'
        'access_key_id = "a"\nsecret_access_key = "b"\n'
        "[webhooks]\nallow_private_addresses = true\n"
    )
    command = [sys.executable, "-m", "earwitness", "--config", str(config), "work"]
    with (directory / "work.log").open("wb") as log:
        worker = subprocess.Popen(command, stderr=log, cwd=Path(__file__).parent.parent)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(20)


if __name__ == "__main__":
    main()
