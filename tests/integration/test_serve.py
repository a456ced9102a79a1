"""The program as a user runs it: its messages when it cannot start, and the failures that it
survives."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from earwitness.embedded import EmbeddedObjects, EmbeddedPostgres
from lab.asterisk import Asterisk
from lab.ports import free_port
from lab.root import ensure_root, root_directory
from lab.waiting import until
from storage import jobs
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable
from tests.service import REPOSITORY, Service

PATIENCE_S = 60.0
ENDS_WITHIN_S = 10.0


class Program:
    """A running command of the program, with its log in a file."""

    def __init__(self, config: Path, command: str, name: str = "") -> None:
        self.log = config.with_name(f"{name or command}.log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "earwitness", "--config", str(config), command],
                cwd=REPOSITORY,
                stderr=log,
            )

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of this name so far."""
        return lines_of(self.log, event)

    def await_line(self, event: str) -> dict[str, Any]:
        """Wait for the first log line of this name."""
        return until(lambda: next(iter(self.lines(event)), None), PATIENCE_S)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()
        self._process.wait(5)

    def end(self) -> int:
        """Send SIGTERM and return the exit status; fail if it takes too long."""
        began = time.monotonic()
        self._process.terminate()
        status = self._process.wait(PATIENCE_S)
        assert time.monotonic() - began < ENDS_WITHIN_S, self.log.read_text()[-3000:]
        return status


def lines_of(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of a log with this name, without a line that is still being written."""
    found = []
    for line in log.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if line["event"] == event]


def names_of(log: Path, event: str) -> list[str]:
    """Return the field `name` of these lines."""
    return [line["name"] for line in lines_of(log, event)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "earwitness", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def write(directory: Path, *tables: str) -> Path:
    """Write a configuration with a data directory of its own and these tables."""
    path = directory / "config.toml"
    data = f"[data]\ndirectory = {json.dumps(str(directory / 'var'))}"
    path.write_text("\n".join([data, *tables]))
    return path


def pbx_table(name: str, asterisk: Asterisk, password: str = "") -> str:
    """Build a `[[pbx]]` with an application of its own, by default with the right password."""
    return (
        f'[[pbx]]\nname = "{name}"\nurl = "{asterisk.ari_url}"\nusername = "{asterisk.username}"\n'
        f'password = "{password or asterisk.password}"\napplication = "{name}"'
    )


def objects_table(store: EmbeddedObjects, secret: str = "") -> str:
    """Build an `[objects]` for this store, by default with the right secret."""
    settings = store.settings
    return (
        f'[objects]\nkind = "s3"\nendpoint_url = "{settings.endpoint_url}"\n'
        f'access_key_id = "{settings.access_key_id}"\n'
        f'secret_access_key = "{secret or settings.secret_access_key}"'
    )


def states(url: str) -> dict[str, str]:
    """Return the parts in /health/ready; empty while nobody answers."""
    try:
        answer = requests.get(f"{url}/health/ready", timeout=10)
    except requests.RequestException:
        return {}
    checks = {check["name"]: check["state"] for check in answer.json()["checks"]}
    assert (answer.status_code == 200) == (set(checks.values()) == {"connected"})
    return checks


# Starts that fail


@pytest.mark.parametrize("section", ["server", "media"])
def test_a_taken_port_is_one_line(tmp_path: Path, section: str) -> None:
    """A taken port: one line names the address, file and key; status 2."""
    ports = {"server": free_port(), "media": free_port()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = ports[section] = taken.getsockname()[1]
        config = write(tmp_path, *(f"[{name}]\nport = {used}" for name, used in ports.items()))
        done = run("--config", str(config), "serve")
    address = re.escape(f"{config}: {section}.port: cannot listen on 127.0.0.1:{port}")
    assert re.fullmatch(rf"earwitness: {address}: Address already in use\n", done.stderr)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_unknown_key_is_one_line(tmp_path: Path) -> None:
    """An unknown key: one line names file and key; status 2 for every command."""
    config = write(tmp_path, "[server]\nprot = 9000")
    for command in ("serve", "watch", "doctor"):
        done = run("--config", str(config), command)
        assert done.stderr == f"earwitness: {config}: server.prot: unknown key\n"
        assert (done.returncode, done.stdout) == (2, "")


def test_an_unwritable_directory_is_one_line(tmp_path: Path) -> None:
    """An unwritable directory: one line names file, key and directory; status 2."""
    (tmp_path / "var").touch()
    config = write(tmp_path, f"[server]\nport = {free_port()}\n[media]\nport = {free_port()}")
    done = run("--config", str(config), "serve")
    assert re.fullmatch(
        rf"earwitness: {config}: data\.directory: cannot write to {tmp_path}/var: .+\n", done.stderr
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_role_needs_a_database_and_a_store(tmp_path: Path) -> None:
    """A role without a database and a store: one line; status 2, because only `serve` starts its
    own."""
    config = write(tmp_path)
    for command in ("api", "work"):
        done = run("--config", str(config), command)
        assert done.stderr.startswith(f"earwitness: {config}: database.url: this command needs")
        assert done.stderr.count("\n") == 1
        assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("words", [["swerve"], ["serve", "--loudly"], ["token", "create"]])
def test_wrong_usage_is_status_2(words: list[str]) -> None:
    """An unknown command or option, or a missing one: status 2, and nothing on standard output."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error" in done.stderr


def test_a_missing_configuration_is_status_2(tmp_path: Path) -> None:
    """A typo in --config does not start a service on defaults; status 2."""
    done = run("--config", f"{tmp_path}/confg.toml", "serve")
    assert done.stderr.startswith(f"earwitness: {tmp_path}/confg.toml: no such file")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


# The running service


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    """Start a PBX without calls."""
    with Asterisk(ensure_root(root_directory()), "serve") as one:
        yield one


@pytest.fixture(scope="module")
def service(asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start the whole service on its defaults, with one PBX."""
    one = Service(tmp_path_factory.mktemp("service"), asterisk, dials=False)
    one.start()
    yield one
    began = time.monotonic()
    children = [pid for name in ("weed", "postgres") for pid in one.pids_running(name)]
    assert one.stop() == 0
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert children
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def test_a_new_token_stands_alone_on_standard_output(service: Service) -> None:
    """`token create` prints the token and nothing else, and it opens the API."""
    printed = service.run("token", "create", "--name", "reports", "--role", "compliance")
    assert re.fullmatch(r"\S{20,}\n", printed)
    headers = {"Authorization": f"Bearer {printed.strip()}"}
    assert requests.get(f"{service.url}/api/v1/calls", headers=headers, timeout=10).ok
    again = ("token", "create", "--name", "reports", "--role", "admin")
    refused = run("--config", str(service.config), *again)
    assert refused.returncode == 2
    expected = "earwitness: --name: there is a token or a user 'reports' already"
    assert refused.stderr.splitlines()[-1] == expected


def test_a_token_for_a_dialplan(service: Service) -> None:
    """`token create --for-dialplan` prints a token for the URLs of a PBX; no log has it."""
    secret = service.run("token", "create", "--for-dialplan", "lab").strip()
    host = service.url.removeprefix("http://")
    asked = f"{host}/api/v1/dialplan/record?action=decide&channel=PJSIP/none-1"
    answer = requests.get(f"http://{asked}", auth=(secret, ""), timeout=10)
    assert (answer.status_code, answer.text.split(": ")[1]) == (404, "no-such-call")
    assert requests.get(f"http://{asked}", timeout=10).status_code == 401
    with socket.create_connection(("127.0.0.1", service.port), 10) as malformed:
        malformed.sendall(f"GET /api/v1/dialplan/dial?token={secret}\r\n\r\n".encode())
        assert malformed.recv(1000)
    assert secret not in service.log.read_text()
    for words, said in (
        (["--for-dialplan", "none"], "--for-dialplan none: expected the name of a [[pbx]]: lab"),
        (["--for-dialplan", "lab"], "there is a token or a user 'dialplan lab' already"),
        (["--for-dialplan", "lab", "--role", "admin"], "--for-dialplan stands alone"),
        (["--name", "alone"], "give --name and --role, or --for-dialplan"),
    ):
        refused = run("--config", str(service.config), "token", "create", *words)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_doctor_looks_at_a_service_that_runs(service: Service) -> None:
    """Every check passes beside the service, on its database and store.

    The warnings are about the build of Asterisk on which the tests run, and its modules.
    """
    done = run("--config", str(service.config), "doctor")
    assert done.returncode == 0, done.stdout
    others = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    known = {"warn pbx lab version", "warn pbx lab device states"}
    assert {line.partition(":")[0] for line in others} <= known
    assert "\nok   database: schema " in done.stdout


@pytest.mark.parametrize("program", ["postgres", "weed"])
def test_an_embedded_server_that_dies_comes_back(service: Service, program: str) -> None:
    """After kill -9 of an embedded server the service is soon ready again, with all data."""
    name = {"postgres": "PostgreSQL", "weed": "SeaweedFS"}[program]
    roles = [service.pids_of(role) for role in ("watch", "work")]
    os.kill(min(service.pids_running(program)), signal.SIGKILL)
    until(lambda: name in names_of(service.log, "process.restarted"), PATIENCE_S)
    until(lambda: set(states(service.url).values()) == {"connected"}, PATIENCE_S)
    assert names_of(service.log, "server.ended").count(name) == 1
    assert service.get("/calls") == {"items": [], "next_cursor": None}
    assert [service.pids_of(role) for role in ("watch", "work")] == roles


def test_a_store_that_had_to_move_is_followed(service: Service) -> None:
    """A store whose port was taken restarts on another one, and the roles follow."""
    place = service.directory / "var/objects/place.json"
    port = json.loads(place.read_text())["ports"]["s3"]
    (parent,) = service.pids_of("serve")
    (weed,) = service.pids_running("weed")
    os.kill(parent, signal.SIGSTOP)
    os.kill(weed, signal.SIGKILL)
    try:
        taken = until(lambda: listen(port), PATIENCE_S)
    finally:
        os.kill(parent, signal.SIGCONT)
    with taken:
        until(lambda: bool(lines_of(service.log, "server.moved")), PATIENCE_S)
        until(lambda: set(states(service.url).values()) == {"connected"}, PATIENCE_S)
    assert json.loads(place.read_text())["ports"]["s3"] != port


def listen(port: int) -> socket.socket | None:
    """Listen there; return None while another socket does."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


# Servers that are away


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a store that a user would provide."""

    postgres: EmbeddedPostgres
    objects: EmbeddedObjects

    @property
    def tables(self) -> tuple[str, str]:
        """Build the tables of a configuration with these servers."""
        return f'[database]\nurl = "{self.postgres.url}"', objects_table(self.objects)


@pytest.fixture(scope="module")
def servers(
    objects_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """Start both; the PostgreSQL may be killed."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("servers") / "postgresql") as postgres:
        yield Servers(postgres, objects_server)


def test_outside_faults_are_reported_and_retried(
    servers: Servers, asterisk: Asterisk, tmp_path: Path
) -> None:
    """The service starts even with a wrong password, no PBX, a refusing store and no database.

    One line reports each fault with its remedy, and /health/ready shows it. The service recovers by
    itself, and SIGTERM ends it even so.
    """
    absent = Asterisk(ensure_root(root_directory()), "absent")
    port = free_port()
    config = write(
        tmp_path,
        f"[server]\nport = {port}",
        f"[media]\nport = {free_port()}",
        objects_table(servers.objects, secret="not-the-secret"),
        pbx_table("absent", absent),
        pbx_table("locked", asterisk, password="later-right"),
    )
    url = f"http://127.0.0.1:{port}"
    program = Program(config, "serve")
    try:
        wanted = {"objects": "refused", "pbx.absent": "unreachable", "pbx.locked": "unreachable"}
        until(lambda: states(url) == {"database": "connected", **wanted}, PATIENCE_S)
        until(lambda: len(program.lines("check.failed")) == 3, PATIENCE_S)
        remedies = {line["check"]: line["mend"] for line in program.lines("check.failed")}
        assert "see objects.secret_access_key" in remedies["objects bucket"]
        assert f"pbx.url: {absent.ari_url} does not answer" in remedies["pbx absent reachable"]
        assert "pbx.username, pbx.password:" in remedies["pbx locked reachable"]

        absent.start()
        let_in(asterisk, "later-right")
        until(lambda: states(url).get("pbx.absent") == "connected", PATIENCE_S)
        until(lambda: states(url).get("pbx.locked") == "connected", PATIENCE_S)
        absent.kill()
        until(lambda: states(url).get("pbx.absent") == "unreachable", PATIENCE_S)
        assert program.is_running
        assert program.lines("role.ended") == []
    finally:
        let_in(asterisk, asterisk.password)
        status = program.end()
        absent.stop()
    assert status == 0


def let_in(asterisk: Asterisk, password: str) -> None:
    """Change the password of the user, like an administrator."""
    path = asterisk.directory / "etc/ari.conf"
    changed = re.sub(r"(?m)^password=.*$", f"password={password}", path.read_text())
    asterisk.configure({"ari.conf": changed})
    asterisk.cli("module reload res_ari.so")


def test_an_absent_database_is_waited_for(servers: Servers, tmp_path: Path) -> None:
    """The API answers without the database and says so, like the log; SIGTERM ends the wait."""
    port = free_port()
    config = write(
        tmp_path,
        f"[server]\nport = {port}",
        f"[media]\nport = {free_port()}",
        f'[database]\nurl = "postgresql://nobody@127.0.0.1:{free_port()}/none"',
        objects_table(servers.objects),
    )
    program = Program(config, "serve")
    try:
        until(
            lambda: states(f"http://127.0.0.1:{port}").get("database") == "unavailable", PATIENCE_S
        )
        assert "Connection refused" in program.await_line("database.unavailable")["error"]
        assert program.lines("role.ended") == []
    finally:
        status = program.end()
    assert status == 0


# Roles, each alone


@pytest.fixture(scope="module")
def database(servers: Servers) -> Iterator[Catalogue]:
    """Make the migrated database of the roles."""
    with closing(Catalogue(servers.postgres.url)) as catalogue:
        catalogue.migrate()
        yield catalogue


@pytest.fixture(scope="module")
def roles_config(
    servers: Servers, asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write a configuration with a database, a store and a PBX."""
    directory = tmp_path_factory.mktemp("roles")
    return write(
        directory,
        f"[server]\nport = {free_port()}",
        f"[media]\nport = {free_port()}",
        *servers.tables,
        pbx_table("lab", asterisk),
    )


@pytest.fixture
def roles(roles_config: Path, database: Catalogue) -> Iterator[dict[str, Program]]:
    """Start `api`, `watch` and `work`, each alone, and wait until they work."""
    programs = {role: Program(roles_config, role) for role in ("api", "watch", "work")}
    try:
        until(lambda: set(states(url_of(roles_config)).values()) == {"connected"}, PATIENCE_S)
        until(lambda: is_working(database, since_s=30.0), PATIENCE_S)
        yield programs
    finally:
        for program in programs.values():
            if program.is_running:
                program.kill()


def url_of(config: Path) -> str:
    """Return the URL of a configuration's API."""
    port = re.search(r"port = (\d+)", config.read_text())
    assert port
    return f"http://127.0.0.1:{port[1]}"


def is_working(database: Catalogue, since_s: float) -> bool:
    """Return whether a worker has given a sign of life in the last seconds."""
    query = (
        "SELECT max(last_heartbeat) > now() - make_interval(secs => :s) FROM procrastinate_workers"
    )
    try:
        with database.begin() as tx:
            return bool(tx.execute(text(query), {"s": since_s}).scalar())
    except CatalogueUnavailable:
        return False


def test_roles_outlive_their_database_and_end_in_time(
    servers: Servers, roles: dict[str, Program], roles_config: Path, database: Catalogue
) -> None:
    """After kill -9 of PostgreSQL no role ends, and all work again once it is back."""
    token = run("--config", str(roles_config), "token", "create", "--name", "a", "--role", "admin")
    assert servers.postgres.pid is not None
    os.kill(servers.postgres.pid, signal.SIGKILL)
    until(lambda: states(url_of(roles_config)).get("database") == "unavailable", PATIENCE_S)
    until(lambda: bool(roles["work"].lines("database.unavailable")), PATIENCE_S)
    until(lambda: bool(roles["watch"].lines("watch.interrupted")), PATIENCE_S)
    servers.postgres.start()
    back_at = time.monotonic()
    until(lambda: set(states(url_of(roles_config)).values()) == {"connected"}, PATIENCE_S)
    until(lambda: len(roles["watch"].lines("watch.started")) == 2, PATIENCE_S)
    assert len(roles["watch"].lines("watch.interrupted")) <= 3
    until(lambda: is_working(database, time.monotonic() - back_at), PATIENCE_S)
    headers = {"Authorization": f"Bearer {token.stdout.strip()}"}
    assert requests.get(f"{url_of(roles_config)}/api/v1/calls", headers=headers, timeout=10).ok
    assert all(program.is_running for program in roles.values())
    assert {role: program.end() for role, program in roles.items()} == dict.fromkeys(roles, 0)
    assert "Traceback" not in "".join(program.log.read_text() for program in roles.values())


def test_a_second_watcher_stands_by(roles_config: Path, database: Catalogue) -> None:
    """A second watcher waits, and takes over within 5 s of a kill -9 of the first."""
    first = Program(roles_config, "watch", "first")
    second = None
    try:
        first.await_line("watch.started")
        second = Program(roles_config, "watch", "second")
        second.await_line("watch.put-on-standby")
        assert second.lines("watch.started") == []
        first.kill()
        killed_at = time.monotonic()
        second.await_line("pbx.connected")
        assert time.monotonic() - killed_at < 5
    finally:
        first.kill()
        if second is not None:
            assert second.end() == 0


# A job that sleeps for longer than the end of a process may take.
SLEEPER = """
import sys, time
from storage import jobs
@jobs.app.task(name="sleep")
def sleep(path):
    open(path, "w").close()
    time.sleep(60)
jobs.run_worker(sys.argv[1], {}, {"default": 1})
"""


def test_a_long_job_does_not_keep_a_worker_from_ending(
    servers: Servers, database: Catalogue, tmp_path: Path
) -> None:
    """SIGTERM ends a worker in time although its job cannot be interrupted; the job stays in
    progress."""
    with database.begin() as tx:
        jobs.defer(tx, "sleep", lock="sleep", path=str(tmp_path / "begun"))
    worker = subprocess.Popen([sys.executable, "-c", SLEEPER, servers.postgres.url], cwd=REPOSITORY)
    try:
        until((tmp_path / "begun").exists, PATIENCE_S)
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
    finally:
        worker.kill()
    with database.begin() as tx:
        status = tx.execute(
            text("DELETE FROM procrastinate_jobs WHERE task_name = 'sleep' RETURNING status")
        ).scalar()
    assert status == "doing"
