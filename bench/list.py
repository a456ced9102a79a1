"""Compare GET /api/v1/recordings?limit=50 of 1,000,000 recordings with a bare Flask view.

Both run under gunicorn with the same settings, with the same query on an embedded PostgreSQL. The
same client processes load them in turn, over kept connections. The bare view opens a transaction,
runs the query and dumps the rows with Flask's own `jsonify`: no token, no checks.
The bar: the API serves at least a third of the bare view's requests per second.
Then searches by number and agent are timed: a frequent and a rare number, and one that nobody has.
Their bar is for PostgreSQL and the reading of 50 rows together.

    python bench/list.py [--rows 1000000] [--seconds 5]
"""

import argparse
import http.client
import multiprocessing
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask, Response, jsonify
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

sys.path.insert(0, str(Path(__file__).parent.parent))

from api.app import ApiSettings, build_app
from api.server import serve
from earwitness.embedded import EmbeddedPostgres
from storage.catalogue import recordings, tokens
from storage.catalogue.engine import Catalogue
from storage.catalogue.recordings import RecordingFilter

BAR = 1 / 3
CLIENTS = 4
ROUNDS = 3
SEARCH_ROUNDS = 21
PATH = "/api/v1/recordings?limit=50"
QUERY = "SELECT * FROM recording ORDER BY id DESC LIMIT 50"

# A recording a minute, the newest last; ids are UUIDv7: their first 48 bits are the time.
FILL = """
INSERT INTO recording (id, call_id, pbx, state, trigger, layout, format, pause_leaves, direction,
    caller_number, caller_name, callee_number, did, queue, agent, started_at, ended_at, duration_s,
    pauses, gaps, parties, tags, note, content_type, channels, sample_rate, size_bytes, sha256,
    object_key)
SELECT id, 'main-' || extract(epoch FROM at)::bigint || '.' || n, 'main', 'stored', 'rule', 'dual',
    'opus', 'silence', 'inbound', (12020000000 + n % 7919)::text, 'Caller ' || n % 997,
    (2000 + n % 50)::text, '3000', 'support', (2000 + n % 50)::text, at,
    at + interval '95 s', 95,
    CASE n % 10 WHEN 0 THEN jsonb_build_array(jsonb_build_object('from_at', to_jsonb(at),
        'to_at', to_jsonb(at + interval '3 s'), 'by', 'bob')) ELSE '[]' END,
    '[]',
    jsonb_build_array(
        jsonb_build_object('party', 'customer', 'number', (12020000000 + n % 7919)::text, 'name',
            'Caller ' || n % 997, 'side', 'left', 'spans', '[[0, 95]]'::jsonb, 'agent', NULL),
        jsonb_build_object('party', 'agent', 'number', (2000 + n % 50)::text, 'name', NULL,
            'side', 'right', 'spans', '[[0, 95]]'::jsonb, 'agent', (2000 + n % 50)::text)),
    ARRAY['support'], NULL, 'audio/ogg', 2, 8000, 380000, md5(n::text) || md5(n::text),
    'main/2026/01/01/' || id || '.opus'
FROM (
    SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000'
        || '8' || substr(md5(n::text), 1, 15))::uuid AS id
    FROM (SELECT n, timestamptz '2025-01-01' + n * interval '1 min' AS at
          FROM generate_series(1, :rows) AS n) AS numbered
) AS dated
"""
FILL_PARTIES = """
INSERT INTO recording_party (recording_id, number, agent)
SELECT id, caller_number, NULL FROM recording
UNION ALL SELECT id, callee_number, agent FROM recording
"""
SEARCHES: Mapping[str, RecordingFilter] = {
    "the number of an agent": RecordingFilter(number="2001"),
    "four digits": RecordingFilter(number="0123"),
    "two digits": RecordingFilter(number="23"),
    "a customer": RecordingFilter(number="12020004321"),
    "nobody's number": RecordingFilter(number="99998888"),
    "an agent": RecordingFilter(agent="2001"),
}
SEARCH_BAR_MS = 20.0


def main() -> None:
    """Fill the database, load both servers, compare; exit with status 1 below the bar."""
    wanted = parse_arguments()
    with TemporaryDirectory(prefix="earwitness-bench-") as directory:
        os.chmod(directory, 0o755)  # PostgreSQL's own account has to pass  # noqa: S103
        with EmbeddedPostgres(Path(directory) / "postgres") as postgres:
            url, token = fill(postgres.url, wanted.rows)
            with serving(build_bare, url) as bare, serving(build_ours, url) as ours:
                rates = measure({"bare": bare, "ours": ours}, token, wanted.seconds)
            slowest_ms = measure_searches(url)
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["bare"])
    for name, each in rates.items():
        print(f"{name}: {', '.join(f'{rate:.0f}' for rate in each)} requests/s")
    print(f"ratio: {ratio:.2f} (bar {BAR:.2f})")
    raise SystemExit(ratio < BAR or slowest_ms > SEARCH_BAR_MS)


def parse_arguments() -> argparse.Namespace:
    """Read the number of rows and the seconds of a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser.parse_args()


def fill(server_url: str, rows: int) -> tuple[str, str]:
    """Make a database `bench` with that many recordings; return its URL and an admin's token."""
    server = make_url(server_url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE bench"))
    engine.dispose()
    url = server.set(drivername="postgresql", database="bench").render_as_string(False)
    catalogue = Catalogue(url)
    catalogue.migrate()
    began = time.perf_counter()
    with catalogue.begin() as tx:
        tx.execute(text(FILL), {"rows": rows})
        tx.execute(text(FILL_PARTIES))
        _, token = tokens.create_token(tx, name="bench", role="admin")
    with catalogue.begin() as tx:
        tx.execute(text("ANALYZE recording, recording_party"))
    catalogue.close()
    print(f"{rows:,} recordings written in {time.perf_counter() - began:.0f} s")
    return url, token


def measure_searches(url: str) -> float:
    """Print how long each search takes; return the slowest median in milliseconds."""
    medians = []
    catalogue = Catalogue(url)
    for name, narrowed in SEARCHES.items():
        took_ms = []
        for _ in range(SEARCH_ROUNDS):
            began = time.perf_counter()
            with catalogue.begin() as tx:
                found = recordings.list_recordings(tx, narrowed, limit=50)
            took_ms.append((time.perf_counter() - began) * 1000)
        medians.append(statistics.median(took_ms))
        print(f"search for {name}: {medians[-1]:.1f} ms, {len(found.items)} found")
    catalogue.close()
    return max(medians)


def build_ours(url: str) -> Flask:
    """Build the API; this list needs neither objects nor the recorder."""
    return build_app(Catalogue(url), None, None, None, ApiSettings())  # type: ignore[arg-type]


def build_bare(url: str) -> Flask:
    """Build a view that returns the rows and does nothing else."""
    app = Flask("bare")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_size=10)

    @app.get("/api/v1/recordings")
    def list_recordings() -> Response:
        with engine.begin() as tx:
            return jsonify([dict(row._mapping) for row in tx.execute(text(QUERY))])

    return app


@contextmanager
def serving(build: object, url: str) -> Iterator[int]:
    """Start a server in its own process; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=run, args=(build, url, port))
    process.start()
    try:
        wait_for(port)
        yield port
    finally:
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join(15)


def run(build: object, url: str, port: int) -> None:
    """Serve; this runs in the server's process."""
    serve(lambda: build(url), "127.0.0.1", port)  # type: ignore[operator]


def wait_for(port: int) -> None:
    """Return when the server listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def measure(ports: dict[str, int], token: str, seconds: float) -> dict[str, list[float]]:
    """Return the requests per second of each server in each round; a first round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ports}
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as clients:
        for number in range(ROUNDS + 1):
            for name, port in ports.items():
                loaded_s = seconds if number else 1.0
                rate = sum(clients.starmap(ask, [(port, token, loaded_s)] * CLIENTS, chunksize=1))
                if number:
                    rates[name].append(rate)
    return rates


def ask(port: int, token: str, seconds: float) -> float:
    """Send requests one after the other, as one client; return their number."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}"}
    answered, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.request("GET", PATH, headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        answered += 1
    return answered / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
