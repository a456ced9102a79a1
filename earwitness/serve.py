"""`serve`: everything on one machine.

Brings the PostgreSQL and the object store that the configuration does not name, then runs each
role as a process of its own. What ends by itself is started again; when this process ends, however,
the kernel ends them all: whatever they were doing is taken up at the next start.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from earwitness.config import Config
from earwitness.embedded import EmbeddedServer, objects_of, postgres_of
from earwitness.roles import ROLES
from earwitness.signals import until_signal
from earwitness.wiring import Wiring, check_rules
from storage.errors import ConfigurationInvalid, EarwitnessError

log = structlog.get_logger()

END_WITHIN_S = 9.5
ROLES_END_WITHIN_S = 6.5
CHECK_EVERY_S = 0.5
PORT_FREE_WITHIN_S = 3.0
# What lived for a minute is started again at once; what does not waits longer each time.
STEADY_AFTER_S = 60.0
LONGEST_REST_S = 30.0


def serve(path: Path, config: Config) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationInvalid where it cannot start."""
    children: list[Child] = []
    with ExitStack() as stack, until_signal(END_WITHIN_S):
        _require_port("server.port", config.server.host, config.server.port)
        _require_port("media.port", config.media.host, config.media.port)
        _require_directory(config.data.directory)
        check_rules(config.rules)
        servers = _servers(config)
        for server in servers:
            stack.callback(server.stop)
            server.launch()
        stack.callback(_stop_all, children)
        children += [
            Child(role, path) for role in ROLES
        ]  # the sooner calls are followed, the better
        for server in servers:
            server.await_ready()
        log.info("serve.began", url=f"http://{config.server.host}:{config.server.port}")
        _warn(Wiring(config))
        _keep_running(servers, children)
    log.info("serve.ended")


def _servers(config: Config) -> list[EmbeddedServer]:
    """What the configuration leaves to us; the store, which takes longest to start, first."""
    servers: list[EmbeddedServer] = []
    if config.objects.kind == "embedded":
        servers.append(objects_of(config))
    if not config.database.url.get_secret_value():
        servers.append(postgres_of(config))
    return servers


class Child:
    """A role in a process of its own, which the kernel ends with us."""

    def __init__(self, role: str, path: Path) -> None:
        self.name = role
        self._command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(sys.executable, "-m", "earwitness", "--config", str(path), role),
        ]
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.process = subprocess.Popen(self._command)

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None


# What ends by itself


class Part(Protocol):
    """What we keep running."""

    @property
    def name(self) -> str:
        """Who it is, in a log."""

    @property
    def is_alive(self) -> bool:
        """Whether its process has not ended."""

    def start(self) -> None:
        """Start it (again); raises EarwitnessError."""


class Kept:
    """A part that is started again whenever it has ended by itself."""

    def __init__(self, part: Part, ended: str) -> None:
        self._part = part
        self._ended = ended
        self._started_at = time.monotonic()
        self._rest_s = 0.0
        self._due_at: float | None = None

    def check(self, now: float) -> None:
        """Start the part if it has ended and has rested."""
        if self._part.is_alive:
            return
        if self._due_at is None:
            log.error(self._ended, name=self._part.name)
            if now - self._started_at > STEADY_AFTER_S:
                self._rest_s = 0.0
            self._due_at = now + self._rest_s
        if now >= self._due_at:
            self._start(now)

    def _start(self, now: float) -> None:
        self._rest_s = min(max(1.0, 2 * self._rest_s), LONGEST_REST_S)
        self._started_at, self._due_at = now, None
        try:
            self._part.start()
        except EarwitnessError as error:
            log.error("serve.not-started", name=self._part.name, error=str(error))
        else:
            log.info("serve.started-again", name=self._part.name)


def _keep_running(servers: Sequence[EmbeddedServer], children: Sequence[Child]) -> None:
    """Look after all, for ever; roles retry while a server is away."""
    kept = [
        *(Kept(server, "serve.server-ended") for server in servers),
        *(Kept(child, "serve.role-ended") for child in children),
    ]
    addresses = [server.address for server in servers]
    while True:
        time.sleep(CHECK_EVERY_S)
        for one in kept:
            one.check(time.monotonic())
        before, addresses = addresses, [server.address for server in servers]
        if addresses != before:  # somebody took a port in the meantime
            log.warning("serve.server-moved", reason="the roles are started again to follow")
            for child in children:
                child.process.terminate()


# The end


def _stop_all(children: Sequence[Child]) -> None:
    """Let every role end what it is doing, within the time that a stop may take."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + ROLES_END_WITHIN_S
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("serve.role-killed", name=child.name)
            child.process.kill()
            child.process.wait()


# What can be told at the start


def _warn(wiring: Wiring) -> None:
    """What does not keep us from starting, but would keep us from recording, is said at once."""
    from earwitness.doctor import examine_objects, examine_pbx

    findings = examine_objects(wiring.objects)
    findings += [finding for pbx in wiring.config.pbx for finding in examine_pbx(wiring, pbx)]
    for finding in findings:
        if not finding.ok:
            log.error("serve.check-failed", check=finding.name, mend=finding.text)
    if not wiring.config.pbx:
        log.warning("serve.no-pbx", mend="name an Asterisk by a [[pbx]] table in the configuration")


def _require_port(key: str, host: str, port: int) -> None:
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
            f"{key}: cannot listen on {host}:{port}: {error.strerror}"
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
