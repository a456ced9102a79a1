"""Compare servers for live audio: asyncio with websockets, gunicorn with threads or with gevent.

Each prototype sends a frame of 640 bytes with its due time to every listener, every 20 ms.
Listeners in another process measure the delay of each frame. Meanwhile 20 requests a second make
the server compute for 5 ms, as an API under load does. Beside asyncio another process answers these
requests, because a process of its own is the idea of that prototype.

    python bench/media_servers.py [--listeners 50] [--seconds 10]
"""

import argparse
import asyncio
import math
import os
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from flask import Flask
from flask_sock import Sock
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from bench.rig.clocks import process_cpu_s, server_cpu_s
from lab.ports import free_port
from lab.waiting import until

FRAME_S = 0.02
SILENCE = bytes(632)
KINDS = ("asyncio", "threads", "gevent")


def compute() -> None:
    """Compute for 5 ms, as a request that makes JSON does."""
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass


def next_frame() -> float:
    """Return when the next frame is due: at the same moment for every listener."""
    return math.ceil(time.monotonic() / FRAME_S) * FRAME_S


# The prototypes, each in a process of its own


def serve_asyncio(port: int) -> None:
    """Serve with one loop and one clock for all listeners."""
    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        await connection.wait_closed()
        connections.discard(connection)

    async def main() -> None:
        async with serve(handle, "127.0.0.1", port, compression=None):
            due = next_frame()
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                frame = struct.pack("d", due) + SILENCE
                await asyncio.gather(
                    *(one.send(frame) for one in tuple(connections)), return_exceptions=True
                )
                due += FRAME_S

    asyncio.run(main())


def build_flask() -> object:
    """Build an app in which each listener holds a thread, or a greenlet, with its own clock."""
    app = Flask("prototype")
    sock = Sock(app)

    @app.get("/work")
    def work() -> str:
        compute()
        return "done"

    @sock.route("/spies/1")
    def hear(socket: object) -> None:
        due = next_frame()
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            socket.send(struct.pack("d", due) + SILENCE)  # type: ignore[attr-defined]
            due += FRAME_S

    return app


def serve_threads(port: int) -> None:
    """Serve by gunicorn with a thread for each listener."""
    run_gunicorn(port, ["--worker-class", "gthread", "--threads", "300"])


def serve_gevent(port: int) -> None:
    """Serve by gunicorn with a greenlet for each listener."""
    run_gunicorn(port, ["--worker-class", "gevent"])


def run_gunicorn(port: int, options: list[str]) -> None:
    """Replace this process by gunicorn."""
    bind = ["--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    target = ["--chdir", str(Path(__file__).parent), "media_servers:build_flask()"]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, *bind, *target])  # noqa: S606


# Measurement


async def listen(port: int, listeners: int, seconds: float) -> list[float]:
    """Return the delay of each frame, in seconds."""
    late: list[float] = []
    end = time.monotonic() + seconds + 1

    async def one() -> None:
        url = f"ws://127.0.0.1:{port}/spies/1"
        async with connect(url, compression=None, proxy=None) as connection:
            while time.monotonic() < end:
                frame = await connection.recv()
                (sent,) = struct.unpack_from("d", frame)
                if time.monotonic() > end - seconds:
                    late.append(time.monotonic() - sent)

    await asyncio.gather(*(one() for _ in range(listeners)))
    return late


@contextmanager
def load(port: int) -> Iterator[None]:
    """Send 20 requests a second while the block runs."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.05):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/work", timeout=5).read()
            except (urllib.error.URLError, OSError):
                return

    threads = [threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def started(kind: str) -> Iterator[int]:
    """Start a prototype, and yield its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, "--serve", kind, "--port", str(port)])
    try:
        until(lambda: answers(port), 20)
        yield port
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether a server answers at this port."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
    return True


def measure(kind: str, listeners: int, seconds: float) -> None:
    """Measure one prototype, and print its line of the table."""
    with started(kind) as port, started("threads") as api:
        before = server_cpu_s("python") - process_cpu_s(os.getpid())
        with load(api if kind == "asyncio" else port):
            late = asyncio.run(listen(port, listeners, seconds))
        used = server_cpu_s("python") - process_cpu_s(os.getpid()) - before
    cuts = statistics.quantiles(late, n=100)
    expected = listeners * seconds / FRAME_S
    print(
        f"{kind:8} median {cuts[49] * 1000:6.1f} ms  p99 {cuts[98] * 1000:7.1f} ms  "
        f"worst {max(late) * 1000:7.1f} ms  frames {100 * len(late) / expected:5.1f} %  "
        f"CPU with its API {100 * used / (seconds + 1):5.1f} % of a core"
    )


def main() -> None:
    """Measure each kind in turn, or serve as one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--serve", choices=KINDS)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.serve:
        globals()[f"serve_{options.serve}"](options.port)
        return
    for kind in KINDS:
        measure(kind, options.listeners, options.seconds)


if __name__ == "__main__":
    main()
