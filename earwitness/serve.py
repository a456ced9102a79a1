"""`serve`: everything on one machine.

Brings the PostgreSQL and the object store that the configuration does not name, then runs each
role as a process of its own. A role that ends is started again; when this process ends, however,
the kernel ends them all: whatever they were doing is taken up at the next start.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from earwitness.config import Config
from earwitness.embedded import objects_of, postgres_of
from earwitness.roles import ROLES, migrate
from earwitness.wiring import Parts
from storage.errors import ConfigurationInvalid

log = structlog.get_logger()

STOP_WITHIN_S = 9.0
CHECK_EVERY_S = 0.5
PORT_FREE_WITHIN_S = 3.0
# A role that lived for a minute is started again at once, one that lived for a second after 30 s.
REST_FOR = 30.0
LONGEST_REST_S = 30.0


def serve(path: Path, config: Config) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationInvalid where it cannot start."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _require_port(config.server.host, config.server.port)
    _require_directory(config.data.directory)
    with ExitStack() as stack:
        if not config.database.url.get_secret_value():
            stack.enter_context(postgres_of(config))
        if config.objects.kind == "embedded":
            stack.enter_context(objects_of(config))
        parts = Parts(config)
        migrate(parts)
        _warn(parts)
        children = {role: stack.enter_context(_child(role, path)) for role in ROLES}
        log.info("serve.began", url=f"http://{config.server.host}:{config.server.port}")
        while not stop.wait(CHECK_EVERY_S):
            for child in children.values():
                child.start_again_if_ended()
        log.info("serve.ends")
        _stop_all(children)


class Child:
    """A role in a process of its own, which the kernel ends with us."""

    def __init__(self, role: str, path: Path) -> None:
        self.role = role
        self._command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(sys.executable, "-m", "earwitness", "--config", str(path), role),
        ]
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._command)
        self._started_at = time.monotonic()
        self._ended_at: float | None = None

    def start_again_if_ended(self) -> None:
        """A role that ended by itself did so by mistake; one that never lives long waits longer."""
        now = time.monotonic()
        if self.process.poll() is None:
            return
        if self._ended_at is None:
            log.error("serve.role-ended", role=self.role, status=self.process.returncode)
            self._ended_at = now
        if now - self._ended_at >= min(LONGEST_REST_S, REST_FOR / (now - self._started_at)):
            self._start()

    def kill(self) -> None:
        """End at once; harmless for one that has ended."""
        self.process.kill()
        self.process.wait()


@contextmanager
def _child(role: str, path: Path) -> Iterator[Child]:
    child = Child(role, path)
    try:
        yield child
    finally:
        child.kill()


def _stop_all(children: Mapping[str, Child]) -> None:
    """Let every role end what it is doing, within the time that a stop may take."""
    for child in children.values():
        child.process.terminate()
    deadline = time.monotonic() + STOP_WITHIN_S
    for child in children.values():
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("serve.role-killed", role=child.role)


def _warn(parts: Parts) -> None:
    """What does not keep us from starting, but would keep us from recording, is said at once."""
    from earwitness.doctor import examine_objects, examine_pbx

    findings = examine_objects(parts.objects)
    findings += [finding for pbx in parts.config.pbx for finding in examine_pbx(parts, pbx)]
    for finding in findings:
        if not finding.ok:
            log.error("serve.check-failed", check=finding.name, mend=finding.text)
    if not parts.config.pbx:
        log.warning("serve.no-pbx", mend="name an Asterisk by a [[pbx]] table in the configuration")


def _require_port(host: str, port: int) -> None:
    """Waits a moment: the HTTP workers of a service that was killed need one to notice."""
    attempts = Retrying(
        retry=retry_if_exception_type(OSError),
        stop=stop_after_delay(PORT_FREE_WITHIN_S),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    try:
        attempts(_bind, host, port)
    except OSError as error:
        raise ConfigurationInvalid(
            f"server.port: cannot listen on {host}:{port}: {error.strerror}"
        ) from error


def _bind(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _require_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationInvalid(
            f"data.directory: cannot write to {directory}: {error.strerror}"
        ) from error
