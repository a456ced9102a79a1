"""The API under gunicorn in a process of its own, as a context."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from lab.ports import free_port
from lab.waiting import until

HERE = Path(__file__).parent
SCRIPT = HERE / "api_service.py"
WORKERS = 2


class Service:
    """The server in a process of its own."""

    def __init__(self, port: int, arguments: str, ended: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.ended = ended
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(port), arguments, str(ended)],
            env={**os.environ, "PYTHONPATH": f"{HERE.parent.parent}"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_alive(self) -> bool:
        """Whether the service answers."""
        assert self.process.poll() is None, self.process.communicate()[1]
        try:
            return requests.get(f"{self.url}/health/live", timeout=5).ok
        except requests.RequestException:  # a service listens before it can answer
            return False


@contextmanager
def serving(arguments: str, directory: Path) -> Iterator[Service]:
    """Start a service, and wait until each of its workers answers."""
    for built in directory.glob("built-*"):
        built.unlink()
    service = Service(free_port(), arguments, directory / "ended")
    try:
        until(service.is_alive, 60)
        until(lambda: len([*directory.glob("built-*")]) == WORKERS, 60)
        yield service
    finally:
        service.process.kill()
        service.process.communicate()
