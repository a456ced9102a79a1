"""The behaviour of every object store: the embedded SeaweedFS, and the store in memory."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from contract_rig import overwrite_in_s3, sha256

from earwitness.embedded import EmbeddedObjects
from storage.objects.errors import NoSuchObject, ObjectMismatch
from storage.objects.s3 import PART_BYTES
from storage.objects.store import ObjectStore, StoredObject
from tests.memory_store import MemoryStore

AUDIO = "audio/ogg"
# Write bytes under a key behind the back of the store, with any sum in the metadata.
Overwrite = Callable[[str, bytes, str], None]


@pytest.fixture(params=["memory", "s3"])
def made(request: pytest.FixtureRequest) -> tuple[ObjectStore, Overwrite]:
    """A store, and a way to write behind its back."""
    if request.param == "memory":
        memory = MemoryStore()

        def overwrite(key: str, data: bytes, sum_: str) -> None:
            memory.replace(key, data, content_type=AUDIO, metadata={"sha256": sum_})

        return memory, overwrite
    server: EmbeddedObjects = request.getfixturevalue("server")
    return server.open_store(), lambda *what: overwrite_in_s3(server.settings, *what)


@pytest.fixture
def store(made: tuple[ObjectStore, Overwrite]) -> ObjectStore:
    """The store of the test."""
    return made[0]


@pytest.fixture
def overwrite(made: tuple[ObjectStore, Overwrite]) -> Overwrite:
    """The way to write behind its back."""
    return made[1]


def put(store: ObjectStore, key: str, data: bytes, tmp_path: Path, **more: str) -> StoredObject:
    """Put a file with this content and return the result."""
    path = tmp_path / "rendition"
    path.write_bytes(data)
    left = store.put_file(key, path, content_type=AUDIO, metadata=more, sha256=sha256(data))
    assert (left.key, left.size_bytes, left.sha256) == (key, len(data), sha256(data))
    return left


@pytest.mark.parametrize("size_bytes", [0, 1, 100_000, PART_BYTES, PART_BYTES + 1])
def test_every_put_byte_is_read_back(
    store: ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """Every byte comes back, for the empty object, a whole put and one in parts."""
    data = os.urandom(size_bytes)
    put(store, key, data, tmp_path)
    with store.open(key) as found:
        assert found.size_bytes == found.length_bytes == size_bytes
        assert b"".join(found.chunks()) == data
    store.verify(key, size_bytes=size_bytes, sha256=sha256(data))


def test_head_describes_the_object(store: ObjectStore, key: str, tmp_path: Path) -> None:
    """Size, type, metadata in lower case, our own sum and a time come with an object."""
    data = b"some audio"
    put(store, key, data, tmp_path, **{"Recording-Id": "r1", "channels": "2"})
    info = store.head(key)
    assert info.size_bytes == len(data)
    assert info.content_type == AUDIO
    assert info.metadata == {"recording-id": "r1", "channels": "2", "sha256": sha256(data)}
    assert abs(info.modified_at.timestamp() - time.time()) < 60
    assert info.etag


@pytest.mark.parametrize("size_bytes", [9, PART_BYTES + 1])
def test_metadata_holds_any_text(
    store: ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """Every character of a metadata's value comes back: the id of a call may hold any."""
    call_id = "main-größe/50%41  \t\n☎ "
    put(store, key, bytes(size_bytes), tmp_path, **{"call-id": call_id})
    assert store.head(key).metadata["call-id"] == call_id


def test_bytes_are_put_and_got(store: ObjectStore, key: str) -> None:
    """Bytes come back as they went in."""
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
    store: ObjectStore, key: str, first: int, last: int | None, expected: bytes
) -> None:
    """Both ends are included, and the size is always that of the whole object."""
    store.put_bytes(key, b"0123456789", content_type=AUDIO)
    with store.open(key, first=first, last=last) as found:
        assert found.size_bytes == 10
        assert found.length_bytes == len(expected)
        assert b"".join(found.chunks(2)) == expected


def test_a_range_behind_the_end_is_an_error(store: ObjectStore, key: str) -> None:
    """A range after the last byte is a ValueError."""
    store.put_bytes(key, b"0123456789", content_type=AUDIO)
    with pytest.raises(ValueError, match="range"), store.open(key, first=10):
        pytest.fail("a range was opened that does not exist")


def test_a_reader_may_leave_early(store: ObjectStore, key: str) -> None:
    """A listener who goes away in the middle leaves a store that works."""
    data = os.urandom(PART_BYTES)
    store.put_bytes(key, data, content_type=AUDIO)
    for _ in range(40):  # more than the client has connections
        with store.open(key) as found:
            assert next(found.chunks(1024)) == data[:1024]
    assert store.head(key).size_bytes == PART_BYTES


def test_a_missing_object_is_an_error_or_none(store: ObjectStore, key: str) -> None:
    """`get` and `head` raise, `find` gives None."""
    assert store.find(key) is None
    with pytest.raises(NoSuchObject):
        store.head(key)
    with pytest.raises(NoSuchObject):
        store.get_bytes(key)
    with pytest.raises(NoSuchObject):
        store.verify(key, size_bytes=1, sha256=sha256(b"x"))


@pytest.mark.parametrize("size_bytes", [1000, PART_BYTES + 1000])
def test_a_repeated_put_writes_nothing(
    store: ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """A second put of the same bytes succeeds and leaves the object of the first one."""
    data = os.urandom(size_bytes)
    first = put(store, key, data, tmp_path)
    before = store.head(key)
    assert put(store, key, data, tmp_path) == first
    assert store.head(key) == before


def test_other_bytes_under_the_key_are_replaced(
    store: ObjectStore, key: str, tmp_path: Path
) -> None:
    """A recording that is encoded again after a crash replaces what the crash left."""
    put(store, key, b"first", tmp_path)
    put(store, key, b"other", tmp_path)
    assert store.get_bytes(key) == b"other"


@pytest.mark.parametrize("size_bytes", [1000, PART_BYTES + 1000])
def test_a_wrong_sum_is_refused(
    store: ObjectStore, key: str, tmp_path: Path, size_bytes: int
) -> None:
    """A file with another SHA-256 than announced is never stored."""
    path = tmp_path / "rendition"
    path.write_bytes(os.urandom(size_bytes))
    with pytest.raises(ObjectMismatch):
        store.put_file(key, path, content_type=AUDIO, metadata={}, sha256=sha256(b"other"))
    assert store.find(key) is None


@pytest.mark.parametrize("tampered", [b"somE audio", b"some audi", b"some audio "])
def test_verify_detects_tampering(
    store: ObjectStore, overwrite: Overwrite, key: str, tampered: bytes
) -> None:
    """Bytes that were changed, cut or added after the put are noticed on reading back."""
    data = b"some audio"
    store.put_bytes(key, data, content_type=AUDIO)
    store.verify(key, size_bytes=len(data), sha256=sha256(data))
    overwrite(key, tampered, sha256(data))
    with pytest.raises(ObjectMismatch):
        store.verify(key, size_bytes=len(data), sha256=sha256(data))


def test_a_put_replaces_tampered_bytes(
    store: ObjectStore, overwrite: Overwrite, key: str, tmp_path: Path
) -> None:
    """A put does not take an object of another size for its own, whatever sum it claims."""
    data = b"some audio"
    overwrite(key, b"some audi", sha256(data))
    put(store, key, data, tmp_path)
    assert store.get_bytes(key) == data


@pytest.mark.parametrize("expires_in_s", [0, 7 * 24 * 3600 + 1])
def test_an_impossible_expiry_is_refused(store: ObjectStore, key: str, expires_in_s: int) -> None:
    """A URL is valid for one second to seven days."""
    with pytest.raises(ValueError, match="expires_in_s"):
        store.presign(key, expires_in_s=expires_in_s, download_name=None, content_type=AUDIO)


def test_keys_are_listed_in_order(store: ObjectStore) -> None:
    """A list holds every key with the prefix, in order, and no other key."""
    prefix = f"listed/{uuid4()}"
    keys = [f"{prefix}/{number:02}" for number in range(7)]
    for key in reversed(keys):
        store.put_bytes(key, b"x", content_type=AUDIO)
    store.put_bytes(f"{prefix}2", b"x", content_type=AUDIO)
    assert list(store.iter_keys(f"{prefix}/")) == keys
    assert list(store.iter_keys(f"{prefix}/none")) == []


def test_a_delete_spares_its_neighbours(store: ObjectStore, key: str) -> None:
    """A deleted object is gone; an object whose key only starts the same way stays."""
    store.put_bytes(key, b"first", content_type=AUDIO)
    store.put_bytes(key, b"second", content_type=AUDIO)
    store.put_bytes(f"{key}2", b"neighbour", content_type=AUDIO)
    store.delete(key)
    assert store.find(key) is None
    assert store.get_bytes(f"{key}2") == b"neighbour"


def test_a_delete_may_be_repeated(store: ObjectStore, key: str) -> None:
    """A second delete does nothing."""
    store.put_bytes(key, b"audio", content_type=AUDIO)
    store.delete(key)
    store.delete(key)
    assert store.find(key) is None


def test_a_good_store_passes_its_check(store: ObjectStore) -> None:
    """The check tries bucket, write, read and delete, and leaves no object."""
    before = list(store.iter_keys())
    assert [(result.name, result.ok) for result in store.check()] == [
        ("bucket", True),
        ("write", True),
        ("read", True),
        ("delete", True),
    ]
    assert list(store.iter_keys()) == before
