"""`serve`: everything on one machine.

Start a PostgreSQL and an object store if the configuration names none, then run each role in a
process of its own. A process that ends is started again. When this process ends, the kernel ends
all others; the next start continues their work.
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
from earwitness.private import close_files
from earwitness.roles import ROLES
from earwitness.signals import until_signal
from earwitness.wiring import Wiring, check_rules
from storage.errors import ConfigurationInvalid, EarwitnessError

log = structlog.get_logger()

END_WITHIN_S = 9.5
ROLES_END_WITHIN_S = 6.5
CHECK_EVERY_S = 0.5
PORT_FREE_WITHIN_S = 3.0
# A process that lived for a minute restarts at once; any other waits longer each time.
STEADY_AFTER_S = 60.0
LONGEST_REST_S = 30.0


def serve(path: Path, config: Config) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationInvalid if it cannot start."""
    children: list[Child] = []
    with ExitStack() as stack, until_signal(END_WITHIN_S):
        _require_port("server.port", config.server.host, config.server.port)
        _require_port("media.port", config.media.host, config.media.port)
        _require_directory(config.data.directory)
        check_rules(config.rules)
        servers: list[EmbeddedServer] = []  # the slowest to start first
        if config.objects.kind == "embedded":
            servers.append(objects_of(config))
        if not config.database.url.get_secret_value():
            servers.append(postgres_of(config))
        for server in servers:
            stack.callback(server.stop)
            server.launch()
        stack.callback(_stop_all, children)
        children += [Child(role, path) for role in ROLES]  # first, because calls are waiting
        for server in servers:
            server.await_ready()
        log.info("serve.started", url=f"http://{config.server.host}:{config.server.port}")
        _warn(Wiring(config))
        _keep_running(servers, children)
    log.info("serve.ended")


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


# Processes that end by themselves


class Part(Protocol):
    """A process that we keep running."""

    @property
    def name(self) -> str:
        """The name for the log."""

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""

    def start(self) -> None:
        """Start the process, also again; raises EarwitnessError."""


class Kept:
    """The restarts of a part that ends by itself."""

    def __init__(self, part: Part, ended: str) -> None:
        self._part = part
        self._ended = ended
        self._started_at = time.monotonic()
        self._rest_s = 0.0
        self._due_at: float | None = None

    def check(self, now: float) -> None:
        """Start the part if it has ended and its delay is over."""
        if self._part.is_alive:
            return
        if self._due_at is None:
            log.error(self._ended, name=self._part.name)
            if now - self._started_at > STEADY_AFTER_S:
                self._rest_s = 0.0
            self._due_at = now + self._rest_s
        if now < self._due_at:
            return
        self._rest_s = min(max(1.0, 2 * self._rest_s), LONGEST_REST_S)
        self._started_at, self._due_at = now, None
        try:
            self._part.start()
        except EarwitnessError as error:
            log.error("process.not-started", name=self._part.name, error=str(error))
        else:
            log.info("process.restarted", name=self._part.name)


def _keep_running(servers: Sequence[EmbeddedServer], children: Sequence[Child]) -> None:
    """Restart servers and roles for ever; roles retry while a server is away."""
    kept = [
        *(Kept(server, "server.ended") for server in servers),
        *(Kept(child, "role.ended") for child in children),
    ]
    addresses = [server.address for server in servers]
    while True:
        time.sleep(CHECK_EVERY_S)
        for one in kept:
            one.check(time.monotonic())
        before, addresses = addresses, [server.address for server in servers]
        if addresses != before:  # another program took a port
            log.warning("server.moved", reason="the roles restart with the new address")
            for child in children:
                child.process.terminate()


# The end


def _stop_all(children: Sequence[Child]) -> None:
    """Stop every role, and kill it if it takes too long."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + ROLES_END_WITHIN_S
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("role.killed", name=child.name)
            child.process.kill()
            child.process.wait()


# Checks at the start


def _warn(wiring: Wiring) -> None:
    """Log each fault that prevents recording although the service starts."""
    from earwitness.doctor import examine_objects, examine_pbx

    findings = examine_objects(wiring.objects)
    findings += [finding for pbx in wiring.config.pbx for finding in examine_pbx(wiring, pbx)]
    for finding in findings:
        if not finding.ok:
            log.error("check.failed", check=finding.name, mend=finding.text)
    if not wiring.config.pbx:
        log.warning("pbx.not-configured", mend="add a [[pbx]] table to the configuration")


def _require_port(key: str, host: str, port: int) -> None:
    """Check that the port is free. Wait a moment for the HTTP workers of a killed service to
    end."""

    def bind() -> None:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))

    attempts = Retrying(
        retry=retry_if_exception_type(OSError),
        stop=stop_after_delay(PORT_FREE_WITHIN_S),
        wait=wait_fixed(0.1),
        reraise=True,
    )
    try:
        attempts(bind)
    except OSError as error:
        raise ConfigurationInvalid(
            f"{key}: cannot listen on {host}:{port}: {error.strerror}"
        ) from error


def _require_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        close_files(directory)
    except OSError as error:
        raise ConfigurationInvalid(
            f"data.directory: cannot write to {directory}: {error.strerror}"
        ) from error
