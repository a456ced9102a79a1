"""Another user of the machine reads nothing of a running service, and connects to no socket."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from api_client import NOW, build_recording

from earwitness.embedded import EmbeddedObjects, EmbeddedPostgres
from lab.ports import free_port
from lab.waiting import answers, until
from storage.catalogue import recordings
from storage.catalogue.engine import Catalogue
from storage.objects.keys import ObjectKey
from tests.service import REPOSITORY

PATIENCE_S = 90.0
AUDIO = b"audio" * 1000
# Try every path that is read from standard input, and print those that opened.
PROBE = """
import os, socket, stat, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)  # this is nobody
for path in sys.stdin.read().split("\\0"):
    try:
        if not path:
            continue
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
        elif stat.S_ISSOCK(mode):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path, "rb").close()
    except OSError:
        continue
    print(path)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


class Served:
    """`serve` without a PBX, on its own directory, with the usual umask of a shell."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "var"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.config = directory / "config.toml"
        self.config.write_text(
            f"[server]\nport = {self.url.rpartition(':')[2]}\n[media]\nport = {free_port()}\n"
            f"[data]\ndirectory = {json.dumps(str(self.data))}\n"
        )
        self.log = directory / "serve.log"
        self.open_file = directory / "open"
        self.postgres = EmbeddedPostgres(self.data / "postgresql")
        self.objects = EmbeddedObjects(self.data / "objects")

    def run(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command of the program."""
        command = [sys.executable, "-m", "earwitness", "--config", str(self.config), *arguments]
        return subprocess.Popen(command, cwd=REPOSITORY, text=True, umask=0o022, **options)

    def ask(self, method: str, path: str, token: str = "", **body: Any) -> Any:
        """Send a request, and return its answer."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(
            method, f"{self.url}/api/v1{path}", headers=headers, json=body or None, timeout=30
        )
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Run the service on the directory of an earlier version, whose files everybody could read."""
    with tempfile.TemporaryDirectory(prefix="earwitness-private-") as made:
        directory = Path(made)
        service = Served(directory)
        old = service.data / "spool/exports/old.zip"
        old.parent.mkdir(parents=True)
        old.write_text("an export of an earlier version")
        # Everybody may enter, as below /var/lib; directories of pytest are closed themselves.
        for path in (directory, service.data, service.data / "spool", old.parent):
            path.chmod(0o755)
        old.chmod(0o644)
        service.open_file.touch(0o644)
        assert probe([old, service.open_file]) == {str(old), str(service.open_file)}
        with service.log.open("wb") as log:
            process = service.run("serve", stderr=log)
        try:
            until(lambda: answers(f"{service.url}/health/ready"), PATIENCE_S)
            yield service
        finally:
            process.terminate()
            process.wait(30)


def store_recording(served: Served) -> UUID:
    """Store a recording with its audio and a manifest, as a worker does."""
    record = build_recording(state="stored", agent="2001", duration_s=1.0)
    key = ObjectKey.of("main", NOW, record.id, "opus")
    store = served.objects.open_store()
    store.put_bytes(str(key), AUDIO, content_type="audio/ogg", metadata={})
    store.put_bytes(str(key.manifest), b"{}", content_type="application/json", metadata={})
    record = replace(
        record,
        object_key=str(key),
        content_type="audio/ogg",
        size_bytes=len(AUDIO),
        sha256=hashlib.sha256(AUDIO).hexdigest(),
    )
    with closing(Catalogue(served.postgres.url)) as catalogue, catalogue.begin() as tx:
        recordings.create_recording(tx, record)
    return record.id


def sockets_outside(served: Served) -> list[Path]:
    """Return the sockets of the store that are not below the data directory."""
    ports = json.loads((served.data / "objects/place.json").read_text())["ports"]
    found = (Path("/tmp").glob(f"seaweedfs-*-{port}.sock") for port in ports.values())  # noqa: S108
    return [path for paths in found for path in paths]


def probe(paths: Iterable[Path]) -> set[str]:
    """Return the paths that another user of this machine can open, list, or connect to."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input="\0".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


def test_another_user_reads_nothing(served: Served) -> None:
    """After a recording, an export and a link, another user opens no file and no socket."""
    command = served.run(
        "token", "create", "--name", "it", "--role", "admin", stdout=subprocess.PIPE
    )
    token = command.communicate(timeout=PATIENCE_S)[0].strip()
    recording_id = store_recording(served)
    bulk = served.ask("POST", "/bulk", token, action="export", ids=[str(recording_id)])
    until(lambda: served.ask("GET", f"/bulk/{bulk['id']}", token)["state"] == "done", PATIENCE_S)
    shared = served.ask("POST", f"/recordings/{recording_id}/links", token, expires_in_s=60)
    assert requests.get(shared["url"], timeout=30).ok

    paths = [*served.data.rglob("*"), *sockets_outside(served)]
    assert len([path for path in paths if path.is_socket()]) > 2
    assert served.data / "spool/exports/old.zip" in paths
    assert probe([*paths, served.open_file]) == {str(served.open_file)}
    # Nothing that this version makes is open, also where its directory protects it. SeaweedFS sets
    # the mode of its .vif files by itself.
    old = served.data / "spool/exports"
    new = {path for path in served.data.rglob("*") if path.exists()} - {old, *old.iterdir()}
    is_open = {path for path in new if path.stat().st_mode & 0o066}
    assert {path for path in is_open if path.suffix != ".vif"} == set()
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert {line["event"] for line in lines} & {"file.open", "file.closed"} == {"file.closed"}
