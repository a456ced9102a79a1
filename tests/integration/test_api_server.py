"""The real HTTP server: its processes, its end, and the headers that it trusts."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from api_client import store_audio
from served import HERE, Service, serving

from api.turns import AT_ONCE
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore

AUDIO = os.urandom(1 << 20) * 24


@pytest.fixture(scope="module")
def service(arguments: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service for the tests that do not end it."""
    with serving(arguments, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def mortal(arguments: str, tmp_path: Path) -> Iterator[Service]:
    """Start a service for a test that ends it."""
    with serving(arguments, tmp_path) as service:
        yield service


@pytest.fixture(scope="module")
def admin(make_token: Callable[..., str]) -> requests.Session:
    """Return a client with an admin's token."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {make_token(name='root', role='admin')}"
    return session


@pytest.fixture(scope="module")
def path(catalogue: Catalogue, objects: S3ObjectStore) -> str:
    """Return the stream of a recording of 24 MiB."""
    key = "main/2026/11/23/01a209c6-75ff-71d9-992e-ee478d697433.wav"
    recording = store_audio(catalogue, objects, key, AUDIO)
    return f"/api/v1/recordings/{recording.id}/audio?stream=1"


def resident_bytes(parent: int) -> int:
    """Return the memory of the service's largest process."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    statuses = (Path(f"/proc/{child}/status").read_text() for child in children)
    return max(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) for status in statuses) * 1024


def test_a_slow_client_does_not_delay_the_end(
    mortal: Service, admin: requests.Session, path: str
) -> None:
    """SIGTERM ends the server in time, with status 0, and the clean-up runs once."""
    stream = admin.get(mortal.url + path, stream=True, timeout=30)
    assert stream.raw.read(1000) == AUDIO[:1000]
    began = time.monotonic()
    mortal.process.terminate()
    assert mortal.process.wait(10) == 0
    assert time.monotonic() - began < 10
    assert mortal.ended.exists()
    stream.close()


def test_an_idle_server_ends_at_once(mortal: Service) -> None:
    """An idle server ends on SIGTERM without waiting."""
    began = time.monotonic()
    mortal.process.terminate()
    assert mortal.process.wait(10) == 0
    assert time.monotonic() - began < 4


def test_a_stream_takes_bounded_memory(
    service: Service, admin: requests.Session, path: str
) -> None:
    """Streaming 24 MiB takes much less memory."""
    admin.get(service.url + path, headers={"Range": "bytes=0-99"}, timeout=30)
    before = resident_bytes(service.process.pid)
    assert admin.get(service.url + path, timeout=60).content == AUDIO
    assert resident_bytes(service.process.pid) - before < 12 * 1024 * 1024


def test_metrics_are_of_all_processes(service: Service, admin: requests.Session) -> None:
    """A scrape counts the requests of all processes."""
    for _ in range(20):  # a connection each, so that both processes get some
        requests.get(f"{service.url}/health/live", headers={"Connection": "close"}, timeout=5)
    text = admin.get(f"{service.url}/metrics", timeout=5).text
    counted = re.findall(r'requests_total\{method="GET",route="/health/live".*\} (\d+)', text)
    assert int(counted[0]) >= 20
    assert "earwitness_http_request_duration_seconds_bucket" in text


@pytest.mark.parametrize(
    "framing", ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n64\r\n{"]
)
def test_slow_bodies_do_not_delay_others(
    service: Service, admin: requests.Session, make_token: Callable[..., str], framing: str
) -> None:
    """Slow bodies do not delay other requests, and are answered in the end."""
    token = make_token(name="slow", role="admin")
    head = f"POST /api/v1/searches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    port = int(service.url.rpartition(":")[2])
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            for _ in range(4 * AT_ONCE)
        ]
        for one in slow:
            one.sendall(f"{head}{framing}".encode())
        for _ in range(10):
            answered = admin.get(f"{service.url}/api/v1/calls", timeout=5)
            assert answered.status_code == 200
        assert {one.recv(12) for one in slow} == {b"HTTP/1.1 408"}


def test_forwarded_headers_are_ignored(service: Service, admin: requests.Session) -> None:
    """Links lead to the requested address, whatever the headers."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    started = admin.get(f"{service.url}/api/v1/recordings", headers=headers, timeout=5).json()
    assert "https" not in json.dumps(started)
    assert "evil" not in json.dumps(started)


def test_a_taken_port_is_one_line(service: Service, arguments: str, tmp_path: Path) -> None:
    """A second server names the key to change, and ends with status 2."""
    port = int(service.url.rpartition(":")[2])
    second = Service(port, arguments, tmp_path / "other")
    _, complaint = second.process.communicate(timeout=30)
    assert second.process.returncode == 2
    assert complaint == f"server.port: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_factory_that_fails_ends_the_server(tmp_path: Path) -> None:
    """A worker that cannot build its application ends the server."""
    program = (
        "from api.server import serve\n"
        "def build(): raise SystemError('broken')\n"
        "serve(build, '127.0.0.1', 0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=HERE.parent.parent,
    )
    assert ended.returncode == 3
    assert "broken" in ended.stderr
