"""The behaviour that only a store over S3 has, tried on the embedded SeaweedFS."""

import os
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
import requests
from contract_rig import raw_client, sha256

from earwitness.embedded import EmbeddedObjects
from storage.errors import EarwitnessError
from storage.objects.errors import ObjectMismatch, StoreRefused, StoreUnavailable
from storage.objects.s3 import CHECK_PREFIX, PART_BYTES, S3ObjectStore
from storage.objects.store import ObjectStoreSettings

AUDIO = "audio/ogg"


@pytest.fixture
def settings(server: EmbeddedObjects) -> ObjectStoreSettings:
    """The address and the key of the SeaweedFS."""
    return server.settings


@pytest.fixture
def store(settings: ObjectStoreSettings) -> S3ObjectStore:
    """A store with a client of its own."""
    return S3ObjectStore(settings)


def count_versions(settings: ObjectStoreSettings, key: str) -> int:
    """Count the versions of a key in the bucket, markers included."""
    client = raw_client(settings)
    answer = client.list_object_versions(Bucket=settings.bucket, Prefix=key)
    return len([*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())])


@pytest.mark.parametrize("size_bytes", [1000, PART_BYTES + 1000])
def test_a_repeated_put_keeps_one_version(
    settings: ObjectStoreSettings, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """A second put of the same bytes, by another client, adds no version."""
    path = tmp_path / "rendition"
    path.write_bytes(os.urandom(size_bytes))
    for _ in range(2):
        S3ObjectStore(settings).put_file(
            key, path, content_type=AUDIO, metadata={}, sha256=sha256(path.read_bytes())
        )
    assert count_versions(settings, key) == 1


class OldStore(BaseHTTPRequestHandler):
    """An S3 server of long ago: it answers 501 to a conditional put, and keeps bytes in memory."""

    objects: ClassVar[dict[str, tuple[bytes, str]]] = {}
    conditional_puts: ClassVar[int] = 0

    def do_PUT(self) -> None:
        """Keep the object."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if "If-None-Match" in self.headers:
            OldStore.conditional_puts += 1
            self.answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return
        self.objects[self.path] = (data, self.headers["x-amz-meta-sha256"])
        self.answer(200)

    def do_GET(self) -> None:
        """Return the object."""
        found = self.objects.get(self.path)
        self.answer(200, *found) if found else self.answer(404)

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes = b"", sum_: str = "") -> None:
        """Send an answer of S3."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", AUDIO)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
        self.send_header("x-amz-meta-sha256", sum_)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_store_without_conditional_puts_serves(settings: ObjectStoreSettings, key: str) -> None:
    """A store that does not know If-None-Match works, and is not asked for it twice."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OldStore) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        store = S3ObjectStore(replace(settings, endpoint_url=url))
        for data in (b"same", b"same", b"new"):
            store.put_bytes(key, data, content_type=AUDIO)
            assert store.get_bytes(key) == data
        server.shutdown()
    assert OldStore.conditional_puts == 1


def test_no_parts_are_left_behind_by_a_failed_put(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str, tmp_path: Path
) -> None:
    """A failed put in parts removes its parts."""
    path = tmp_path / "rendition"
    path.write_bytes(os.urandom(PART_BYTES + 1))
    with pytest.raises(ObjectMismatch):
        store.put_file(key, path, content_type=AUDIO, metadata={}, sha256=sha256(b"other"))
    uploads = raw_client(settings).list_multipart_uploads(Bucket=settings.bucket)
    assert uploads.get("Uploads", []) == []


def test_a_large_file_is_put_in_bounded_memory(
    store: S3ObjectStore, key: str, tmp_path: Path
) -> None:
    """20 MiB go and come whole with no more than three parts' worth held at a time."""
    data = os.urandom(20 * 1024 * 1024)
    path = tmp_path / "rendition"
    path.write_bytes(data)
    wanted = sha256(data)
    del data
    tracemalloc.start()
    store.put_file(key, path, content_type=AUDIO, metadata={}, sha256=wanted)
    store.verify(key, size_bytes=20 * 1024 * 1024, sha256=wanted)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3 * PART_BYTES
    assert store.head(key).metadata["sha256"] == wanted


def test_a_presigned_url_opens_without_credentials(store: S3ObjectStore, key: str) -> None:
    """A presigned URL gives the bytes, ranges included, with the requested type."""
    store.put_bytes(key, b"0123456789", content_type="application/octet-stream")
    url = store.presign(key, expires_in_s=60, download_name=None, content_type=AUDIO)
    whole = requests.get(url, timeout=5)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["Content-Type"] == AUDIO
    part = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=5)
    assert (part.status_code, part.content) == (206, b"234")


def test_a_presigned_url_can_name_the_file(store: S3ObjectStore, key: str) -> None:
    """A browser saves under the given name, whatever letters it has."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    url = store.presign(key, expires_in_s=60, download_name='Zoë "1".opus', content_type=AUDIO)
    answer = requests.get(url, timeout=5)
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Zo_ _1_.opus\"; filename*=UTF-8''Zo%C3%AB%20%221%22.opus"
    )


def test_a_presigned_url_expires(store: S3ObjectStore, key: str) -> None:
    """After its time the URL opens nothing."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    url = store.presign(key, expires_in_s=1, download_name=None, content_type=AUDIO)
    assert until(lambda: requests.get(url, timeout=5).status_code == 403)


def test_a_changed_url_opens_nothing(store: S3ObjectStore, key: str) -> None:
    """A URL opens one object: another key, or no signature, is refused."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    url = store.presign(key, expires_in_s=60, download_name=None, content_type=AUDIO)
    other = f"main/2026/03/01/{uuid4()}.opus"
    store.put_bytes(other, b"secret", content_type=AUDIO)
    assert requests.get(url.replace(key, other), timeout=5).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403


def test_a_presigned_url_carries_the_public_host(settings: ObjectStoreSettings, key: str) -> None:
    """The URL has the public host of the store, if it has one."""
    store = S3ObjectStore(replace(settings, public_endpoint_url="https://audio.example.com"))
    url = store.presign(key, expires_in_s=60, download_name=None, content_type=AUDIO)
    assert url.startswith(f"https://audio.example.com/{settings.bucket}/{key}?")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


def test_virtual_addressing_puts_the_bucket_into_the_host(
    settings: ObjectStoreSettings, key: str
) -> None:
    """`addressing = "virtual"` is for stores that want the bucket in front of their name."""
    store = S3ObjectStore(
        replace(settings, endpoint_url="https://s3.example.com", addressing="virtual")
    )
    url = store.presign(key, expires_in_s=60, download_name=None, content_type=AUDIO)
    assert url.startswith(f"https://{settings.bucket}.s3.example.com/{key}?")


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"access_key_id": "SOMEBODYELSE"}, "objects.access_key_id"),
        ({"secret_access_key": "guessed"}, "objects.secret_access_key"),
        ({"bucket": "not-ours"}, "objects.bucket"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "objects.endpoint_url"),
    ],
)
def test_a_failed_check_names_the_key_to_mend(
    settings: ObjectStoreSettings, change: dict[str, str], mend: str
) -> None:
    """One clear line, with the key of the configuration, and no secret in it."""
    changed = replace(settings, **change)  # type: ignore[arg-type]
    (result,) = S3ObjectStore(changed).check()
    assert (result.name, result.ok) == ("bucket", False)
    assert mend in result.text
    assert "\n" not in result.text
    assert changed.secret_access_key not in result.text


@pytest.mark.parametrize("change", [{"access_key_id": "X"}, {"secret_access_key": "X"}])
def test_wrong_credentials_are_refused_everywhere(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str, change: dict[str, str]
) -> None:
    """Without the right key nothing is read, written, listed or deleted."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    stranger = S3ObjectStore(replace(settings, **change))  # type: ignore[arg-type]
    attempts: list[Callable[[], object]] = [
        lambda: stranger.get_bytes(key),
        lambda: stranger.head(key),
        lambda: stranger.put_bytes(key, b"forged", content_type=AUDIO),
        lambda: list(stranger.iter_keys()),
        lambda: stranger.delete(key),
    ]
    for attempt in attempts:
        with pytest.raises(StoreRefused):
            attempt()
    assert store.get_bytes(key) == b"audio"


def test_missing_credentials_name_their_key(
    settings: ObjectStoreSettings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any credentials the message names the key of the configuration."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    store = S3ObjectStore(replace(settings, access_key_id="", secret_access_key=""))
    with pytest.raises(StoreRefused, match=r"objects\.access_key_id"):
        store.head(key)


def test_an_absent_store_is_noticed_in_bounded_time(settings: ObjectStoreSettings) -> None:
    """A store that is not there, or sends nothing, is given up within half a minute."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        for port in (1, silent.getsockname()[1]):
            absent = replace(settings, endpoint_url=f"http://127.0.0.1:{port}")
            with pytest.raises(StoreUnavailable, match=r"objects\.endpoint_url"):
                S3ObjectStore(absent, read_timeout_s=1).head("a")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("key", ["object_lock", "encryption"])
def test_unsupported_settings_are_refused(settings: ObjectStoreSettings, key: str) -> None:
    """An object lock or an encryption that we do not support is refused."""
    unsupported = replace(settings, **{key: "governance"})  # type: ignore[arg-type]
    with pytest.raises(EarwitnessError, match=f"objects.{key}"):
        S3ObjectStore(unsupported)


def test_the_secret_is_not_shown(settings: ObjectStoreSettings) -> None:
    """The representation of the settings does not show the secret."""
    assert settings.secret_access_key not in repr(settings)


def test_a_put_flushes_the_journals(
    server: EmbeddedObjects, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded store syncs the bytes of a put, and we sync its journals."""
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    server.open_store().put_bytes(key, b"audio", content_type=AUDIO)
    assert any(path.endswith(".idx") for path in synced)
    assert any("filerldb2" in path and path.endswith(".log") for path in synced)


def test_a_killed_store_has_all_that_it_acknowledged(tmp_path: Path) -> None:
    """After SIGKILL right after a put, three times over, every object is there at the next
    start."""
    kept: dict[str, bytes] = {}
    directory = tmp_path / "objects"
    server = EmbeddedObjects(directory)
    for round_ in range(3):
        server.start()
        try:
            store = server.open_store()
            for key, data in kept.items():
                store.verify(key, size_bytes=len(data), sha256=sha256(data))
            for number in range(20):
                key, data = f"round{round_}/{number}", os.urandom(1000 * number)
                store.put_bytes(key, data, content_type=AUDIO)
                kept[key] = data
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        finally:
            server.stop()
    assert len(kept) == 60


def test_keys_are_listed_across_pages(settings: ObjectStoreSettings) -> None:
    """A list is whole and in order, however small its pages are."""
    store = S3ObjectStore(settings, keys_per_page=2)
    prefix = f"listed/{uuid4()}"
    keys = [f"{prefix}/{number:02}" for number in range(7)]
    for key in keys:
        store.put_bytes(key, b"x", content_type=AUDIO)
    assert list(store.iter_keys(f"{prefix}/")) == keys


def test_a_delete_leaves_no_version(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str
) -> None:
    """A deleted object is gone with all its versions, not hidden behind a marker."""
    store.put_bytes(key, b"first", content_type=AUDIO)
    store.put_bytes(key, b"second", content_type=AUDIO)
    store.put_bytes(f"{key}2", b"neighbour", content_type=AUDIO)
    assert count_versions(settings, key) == 3
    store.delete(key)
    assert count_versions(settings, key) == 1


def test_the_check_leaves_no_version(store: S3ObjectStore, settings: ObjectStoreSettings) -> None:
    """The check deletes its object with all its versions."""
    assert all(result.ok for result in store.check())
    assert count_versions(settings, CHECK_PREFIX) == 0


def until(holds: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until `holds`; return False when the time is over."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
    return True
