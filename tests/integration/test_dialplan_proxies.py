"""Requests of a dialplan through a real nginx, on the address of the PBX."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from served import Service, serving

from lab.front import Front, front
from lab.ports import free_port
from lab.root import ensure_program
from lab.waiting import answers, until
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue

ASKED = "/api/v1/dialplan/record?action=decide&channel=PJSIP/none-1"
# The whole configuration of a proxy that adds no header.
SILENT = """
pid {directory}/pid;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{api_port}; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def service(arguments: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start the API under its own server; a PBX without a token is on this address."""
    told = {**json.loads(arguments), "dialplan_addresses": {"main": ["127.0.0.1"]}}
    with serving(json.dumps(told), tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def nginx(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Start the front that we ship."""
    port = int(service.url.rpartition(":")[2])
    with front(tmp_path_factory.mktemp("front"), port) as built:
        yield built


@pytest.fixture(scope="module")
def secret(catalogue: Catalogue) -> str:
    """Return the token of a dialplan."""
    with catalogue.begin() as tx:
        return tokens.create_token(tx, **tokens.dialplan_fields("main"))[1]


@contextmanager
def silent_proxy(directory: Path, service: Service) -> Iterator[str]:
    """Run a proxy on the PBX's address that adds no header; return its URL."""
    ensure_program("nginx", "nginx-light")
    port, written = free_port(), directory / "silent.conf"
    api_port = service.url.rpartition(":")[2]
    written.write_text(SILENT.format(directory=directory, port=port, api_port=api_port))
    command = ["nginx", "-c", str(written), "-e", str(directory / "errors"), "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/health/live"))
        yield url
    finally:
        process.terminate()
        process.wait(15)


def assert_one_line(answer: requests.Response, status: int) -> None:
    """Raise AssertionError unless the answer is one line of plain text with this status."""
    assert (answer.status_code, len(answer.text.splitlines())) == (status, 1)
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_silent_proxy_is_no_pbx(service: Service, tmp_path: Path) -> None:
    """Straight from the PBX's address a request needs no token; through a proxy there it does."""
    assert_one_line(requests.get(service.url + ASKED, timeout=10), 404)
    with silent_proxy(tmp_path, service) as url:
        for answer in (
            requests.get(url + ASKED, timeout=10),
            requests.post(url + ASKED, timeout=10),
        ):
            assert_one_line(answer, 401)


def test_the_front_passes_tokens_on_and_logs_none(nginx: Front, secret: str) -> None:
    """Through the front a token is needed, in the URL or a header; no log has it."""
    url, session = f"https://localhost:{nginx.port}{ASKED}", requests.Session()
    session.verify, session.trust_env = str(nginx.certificate), False
    assert_one_line(session.get(url, timeout=10), 401)
    assert_one_line(session.get(f"{url}&token={secret}", timeout=10), 404)
    assert_one_line(session.get(url, auth=(secret, ""), timeout=10), 404)
    assert_one_line(session.get(f"{url}&token={secret[:-1]}", timeout=10), 401)
    long = {"name": "x" * 3_000_000, "token": secret}
    assert_one_line(session.post(url, data=long, timeout=30), 413)
    until(lambda: nginx.requests_log.read_text().count("/dialplan/record") >= 5)
    logged = nginx.requests_log.read_text() + nginx.errors_log.read_text()
    assert secret[:-1] not in logged


def test_a_service_that_is_away_is_one_line(service: Service, nginx: Front, secret: str) -> None:
    """A dialplan gets one line, too, while nothing is behind the front; it ends the service."""
    service.process.kill()
    url = f"https://localhost:{nginx.port}{ASKED}&token={secret}"

    def is_away() -> bool:
        return requests.get(url, verify=str(nginx.certificate), timeout=10).status_code == 503

    until(is_away)
    assert_one_line(requests.get(url, verify=str(nginx.certificate), timeout=10), 503)
