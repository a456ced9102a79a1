"""What every object store has to do, tried on the embedded SeaweedFS, which is a real one."""

import hashlib
import os
import shutil
import signal
import socket
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests

from earwitness.embedded import EmbeddedObjects
from storage.errors import (
    EarwitnessError,
    NoSuchObject,
    ObjectMismatch,
    StoreRefused,
    StoreUnavailable,
)
from storage.objects import s3 as objects
from storage.objects.s3 import PART_BYTES, ObjectStoreSettings, S3ObjectStore

AUDIO = "audio/ogg"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedObjects]:
    """One store for all tests of this file."""
    directory = Path(tempfile.mkdtemp(prefix="earwitness-"))
    with EmbeddedObjects(directory / "objects") as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def settings(server: EmbeddedObjects) -> ObjectStoreSettings:
    """Where the store is."""
    return server.settings


@pytest.fixture
def store(settings: ObjectStoreSettings) -> S3ObjectStore:
    """A store with a client of its own."""
    return S3ObjectStore(settings)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"main/2026/03/01/{uuid4()}.opus"


def sha256(data: bytes) -> str:
    """The sum that the pipeline would hand over."""
    return hashlib.sha256(data).hexdigest()


def put(store: S3ObjectStore, key: str, data: bytes, tmp_path: Path, **more: str) -> str:
    """Put a file with this content; gives the version that was left."""
    path = tmp_path / "rendition"
    path.write_bytes(data)
    left = store.put_file(
        key, path, content_type=AUDIO, metadata=more, sha256=more.pop("sum", sha256(data))
    )
    assert (left.key, left.size_bytes, left.sha256) == (key, len(data), sha256(data))
    return left.version_id or ""


def count_versions(settings: ObjectStoreSettings, key: str) -> int:
    """How many versions, markers included, the bucket keeps of a key."""
    client = raw_client(settings)
    answer = client.list_object_versions(Bucket=settings.bucket, Prefix=key)
    return len([*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())])


def raw_client(settings: ObjectStoreSettings) -> Any:
    """A client of our own making, to look at the store from outside."""
    return boto3.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )


# --- put and read


@pytest.mark.parametrize("size_bytes", [0, 1, 100_000, PART_BYTES, PART_BYTES + 1])
def test_what_is_put_is_read_back(
    store: S3ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """Every byte comes back, for the empty object, a whole put and one in parts."""
    data = os.urandom(size_bytes)
    put(store, key, data, tmp_path)
    with store.open(key) as found:
        assert found.size_bytes == found.length_bytes == size_bytes
        assert b"".join(found.chunks()) == data
    store.verify(key, size_bytes=size_bytes, sha256=sha256(data))


def test_the_head_says_what_was_put(store: S3ObjectStore, key: str, tmp_path: Path) -> None:
    """Size, type, metadata in lower case, our own sum and a time come with an object."""
    data = b"some audio"
    put(store, key, data, tmp_path, **{"Recording-Id": "r1", "channels": "2"})
    info = store.head(key)
    assert info.size_bytes == len(data)
    assert info.content_type == AUDIO
    assert info.metadata == {"recording-id": "r1", "channels": "2", "sha256": sha256(data)}
    assert abs(info.modified_at.timestamp() - time.time()) < 60
    assert info.etag


def test_bytes_are_put_and_got(store: S3ObjectStore, key: str) -> None:
    """A manifest goes in and comes out as bytes."""
    left = store.put_bytes(key, b'{"a":1}', content_type="application/json")
    assert left.sha256 == sha256(b'{"a":1}')
    assert store.get_bytes(key) == b'{"a":1}'


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 0, b"0"),
        (3, 5, b"345"),
        (7, None, b"789"),
        (9, 9, b"9"),
        (5, 500, b"56789"),
    ],
)
def test_a_range_gives_its_bytes(
    store: S3ObjectStore, key: str, first: int, last: int | None, expected: bytes
) -> None:
    """Both ends are included, and the size is always that of the whole object."""
    store.put_bytes(key, b"0123456789", content_type=AUDIO)
    with store.open(key, first=first, last=last) as found:
        assert found.size_bytes == 10
        assert found.length_bytes == len(expected)
        assert b"".join(found.chunks(2)) == expected


def test_a_range_behind_the_end_is_an_error(store: S3ObjectStore, key: str) -> None:
    """An object has no bytes behind its last."""
    store.put_bytes(key, b"0123456789", content_type=AUDIO)
    with pytest.raises(ValueError, match="range"), store.open(key, first=10):
        pytest.fail("a range was opened that does not exist")


def test_a_reader_may_leave_early(store: S3ObjectStore, key: str) -> None:
    """A listener who goes away in the middle leaves a store that works."""
    data = os.urandom(PART_BYTES)
    store.put_bytes(key, data, content_type=AUDIO)
    for _ in range(40):  # more than the client has connections
        with store.open(key) as found:
            assert next(found.chunks(1024)) == data[:1024]
    assert store.head(key).size_bytes == PART_BYTES


def test_what_is_not_there_is_an_error_or_none(store: S3ObjectStore, key: str) -> None:
    """`get` and `head` raise, `find` gives None."""
    assert store.find(key) is None
    with pytest.raises(NoSuchObject):
        store.head(key)
    with pytest.raises(NoSuchObject):
        store.get_bytes(key)
    with pytest.raises(NoSuchObject):
        store.verify(key, size_bytes=1, sha256=sha256(b"x"))


# --- safe to repeat


@pytest.mark.parametrize("size_bytes", [1000, PART_BYTES + 1000])
def test_a_repeated_put_writes_nothing(
    store: S3ObjectStore,
    settings: ObjectStoreSettings,
    key: str,
    tmp_path: Path,
    size_bytes: int,
) -> None:
    """The same bytes under the same key are success, and one version of them is kept."""
    data = os.urandom(size_bytes)
    first = put(store, key, data, tmp_path)
    again = put(S3ObjectStore(settings), key, data, tmp_path)
    assert again == first
    assert count_versions(settings, key) == 1


def test_other_bytes_under_the_key_are_replaced(
    store: S3ObjectStore, key: str, tmp_path: Path
) -> None:
    """A recording that is encoded again after a crash replaces what the crash left."""
    put(store, key, b"first", tmp_path)
    put(store, key, b"other", tmp_path)
    assert store.get_bytes(key) == b"other"


def test_a_store_without_conditional_puts_serves(
    store: S3ObjectStore, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store does not know If-None-Match a put is preceded by a look."""
    monkeypatch.setattr(store, "_puts_once", False)
    first = put(store, key, b"same", tmp_path)
    assert put(store, key, b"same", tmp_path) == first
    put(store, key, b"new", tmp_path)
    assert store.get_bytes(key) == b"new"


# --- wrong bytes


@pytest.mark.parametrize("size_bytes", [1000, PART_BYTES + 1000])
def test_a_wrong_sum_is_refused(
    store: S3ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """A file that is not what its sum says is never stored."""
    path = tmp_path / "rendition"
    path.write_bytes(os.urandom(size_bytes))
    with pytest.raises(ObjectMismatch):
        store.put_file(key, path, content_type=AUDIO, metadata={}, sha256=sha256(b"other"))
    assert store.find(key) is None


def test_no_parts_are_left_behind_by_a_failed_put(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str, tmp_path: Path
) -> None:
    """A put in parts that fails takes its parts with it."""
    path = tmp_path / "rendition"
    path.write_bytes(os.urandom(PART_BYTES + 1))
    with pytest.raises(ObjectMismatch):
        store.put_file(key, path, content_type=AUDIO, metadata={}, sha256=sha256(b"other"))
    uploads = raw_client(settings).list_multipart_uploads(Bucket=settings.bucket)
    assert uploads.get("Uploads", []) == []


@pytest.mark.parametrize("tampered", [b"somE audio", b"some audi", b"some audio "])
def test_verify_detects_tampering(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str, tampered: bytes
) -> None:
    """Bytes that were changed, cut or added after the put are noticed on reading back."""
    data = b"some audio"
    store.put_bytes(key, data, content_type=AUDIO)
    store.verify(key, size_bytes=len(data), sha256=sha256(data))
    raw_client(settings).put_object(
        Bucket=settings.bucket, Key=key, Body=tampered, Metadata={"sha256": sha256(data)}
    )
    with pytest.raises(ObjectMismatch):
        store.verify(key, size_bytes=len(data), sha256=sha256(data))


# --- large objects


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


# --- URLs


def test_a_presigned_url_opens_without_credentials(store: S3ObjectStore, key: str) -> None:
    """Whoever has the URL gets the bytes, ranges included, with the type that was asked for."""
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
    """A URL is for one object: another key, or none of its signature, is refused."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    url = store.presign(key, expires_in_s=60, download_name=None, content_type=AUDIO)
    other = f"main/2026/03/01/{uuid4()}.opus"
    store.put_bytes(other, b"secret", content_type=AUDIO)
    assert requests.get(url.replace(key, other), timeout=5).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403


def test_a_presigned_url_carries_the_public_host(settings: ObjectStoreSettings, key: str) -> None:
    """Where clients see the store under another host, that is the host in the URL."""
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


@pytest.mark.parametrize("expires_in_s", [0, 7 * 24 * 3600 + 1])
def test_an_impossible_expiry_is_refused(store: S3ObjectStore, key: str, expires_in_s: int) -> None:
    """The signature knows one second to seven days."""
    with pytest.raises(ValueError, match="expires_in_s"):
        store.presign(key, expires_in_s=expires_in_s, download_name=None, content_type=AUDIO)


# --- lists and deletes


def test_keys_are_listed_across_pages(
    store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is whole and in order, however small the pages are."""
    prefix = f"listed/{uuid4()}"
    keys = [f"{prefix}/{number:02}" for number in range(7)]
    for key in keys:
        store.put_bytes(key, b"x", content_type=AUDIO)
    client: Any = store._client
    get_paginator = client.get_paginator

    def small_pages(name: str) -> Any:
        paginator = get_paginator(name)
        paginate = paginator.paginate
        monkeypatch.setattr(
            paginator,
            "paginate",
            lambda **words: paginate(**words, PaginationConfig={"PageSize": 2}),
        )
        return paginator

    monkeypatch.setattr(client, "get_paginator", small_pages)
    assert list(store.iter_keys(f"{prefix}/")) == keys
    assert list(store.iter_keys(f"{prefix}/none")) == []


def test_a_delete_leaves_no_version(
    store: S3ObjectStore, settings: ObjectStoreSettings, key: str
) -> None:
    """What is purged is gone, and not only hidden behind a marker; a neighbour stays."""
    store.put_bytes(key, b"first", content_type=AUDIO)
    store.put_bytes(key, b"second", content_type=AUDIO)
    store.put_bytes(f"{key}2", b"neighbour", content_type=AUDIO)
    assert count_versions(settings, key) == 3
    store.delete(key)
    assert store.find(key) is None
    assert count_versions(settings, key) == 1
    assert store.get_bytes(f"{key}2") == b"neighbour"


def test_a_delete_may_be_repeated(store: S3ObjectStore, key: str) -> None:
    """Nothing happens where there is nothing to delete."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    store.delete(key)
    store.delete(key)
    assert store.find(key) is None


# --- what is wrong, and where to mend it


def test_a_good_store_passes_its_check_and_is_left_clean(
    store: S3ObjectStore, settings: ObjectStoreSettings
) -> None:
    """The check tries bucket, write, read and delete, and leaves nothing."""
    results = store.check()
    assert [(result.name, result.ok) for result in results] == [
        ("bucket", True),
        ("write", True),
        ("read", True),
        ("delete", True),
    ]
    assert count_versions(settings, objects.CHECK_PREFIX) == 0


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


def test_missing_credentials_are_told(
    settings: ObjectStoreSettings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no key in the configuration or around it, the message says where one belongs."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    store = S3ObjectStore(replace(settings, access_key_id="", secret_access_key=""))
    with pytest.raises(StoreRefused, match=r"objects\.access_key_id"):
        store.head(key)


def test_an_absent_store_is_told_in_bounded_time(settings: ObjectStoreSettings) -> None:
    """A store that is not there, or says nothing, is given up within half a minute."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        for port in (1, silent.getsockname()[1]):
            patient = replace(settings, endpoint_url=f"http://127.0.0.1:{port}")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(objects, "READ_TIMEOUT_S", 1)
                with pytest.raises(StoreUnavailable, match=r"objects\.endpoint_url"):
                    S3ObjectStore(patient).head("a")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("key", ["object_lock", "encryption"])
def test_what_is_not_built_is_refused(settings: ObjectStoreSettings, key: str) -> None:
    """A lock or an encryption that is asked for and not given would be a false promise."""
    asked = replace(settings, **{key: "governance"})  # type: ignore[arg-type]
    with pytest.raises(EarwitnessError, match=f"objects.{key}"):
        S3ObjectStore(asked)


def test_the_secret_is_not_shown(settings: ObjectStoreSettings) -> None:
    """Settings may be logged."""
    assert settings.secret_access_key not in repr(settings)


# --- crashes


def test_a_put_flushes_the_journals(
    store: S3ObjectStore, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded store syncs the bytes of a put; the names of what was put are synced by us."""
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    store.put_bytes(key, b"audio", content_type=AUDIO)
    assert any(path.endswith(".idx") for path in synced)
    assert any("filerldb2" in path and path.endswith(".log") for path in synced)


def test_a_killed_store_has_all_that_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL right after a put, three times over: every object is there at the next start."""
    kept: dict[str, bytes] = {}
    directory = tmp_path / "objects"
    server = EmbeddedObjects(directory)
    for round_ in range(3):
        server.start()
        try:
            store = S3ObjectStore(server.settings)
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


def until(holds: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until `holds`; False when the time is over."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
    return True
