"""The object store as the rest of Earwitness sees it: one interface and its values.

`S3ObjectStore` in `s3.py` implements it for every S3-compatible store, `tests/memory_store.py` in
memory; both pass the same suite, `tests/contract/test_object_store.py`. The errors are in
`errors.py`, the keys in `keys.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

CHUNK_BYTES = 256 * 1024
LONGEST_PRESIGN_S = 7 * 24 * 3600  # a limit of the signature, version 4
NO_METADATA: Mapping[str, str] = MappingProxyType({})

Addressing = Literal["path", "virtual"]


@dataclass(frozen=True, slots=True)
class ObjectStoreSettings:
    """The address of a store and our credentials there: the fields of `[objects]`.

    An empty string means the library's default: the region's own endpoint, and credentials from
    the environment or from the machine's role.
    """

    bucket: str
    endpoint_url: str = ""
    public_endpoint_url: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    addressing: Addressing = "path"
    object_lock: str = "off"
    encryption: str = "off"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The result of a put; `version_id` is None where the bucket keeps no versions."""

    key: str
    size_bytes: int
    sha256: str
    version_id: str | None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The facts that a store gives about an object. Names of metadata are in lower case."""

    size_bytes: int
    etag: str
    content_type: str
    metadata: Mapping[str, str]
    modified_at: datetime
    version_id: str | None


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object, or a range of it, that is being read.

    `size_bytes` is the size of the whole object, `length_bytes` the size of the range. `read`
    gives the bytes of the range in blocks of at most the given size; use `chunks`.
    """

    size_bytes: int
    length_bytes: int
    etag: str
    content_type: str
    modified_at: datetime
    read: Callable[[int], Iterator[bytes]] = field(repr=False)

    def chunks(self, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the bytes in order, at most `size_bytes` at a time; raises StoreUnavailable."""
        return self.read(size_bytes)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one test of the store; `text` is a line for a person."""

    name: str
    ok: bool
    text: str


class ObjectStore(Protocol):
    """A store of objects by key. Every method may raise StoreUnavailable and StoreRefused."""

    def put_file(
        self, key: str, path: Path, *, content_type: str, metadata: Mapping[str, str], sha256: str
    ) -> StoredObject:
        """Store the file at `path`, whose SHA-256 is `sha256` (hex).

        Safe to repeat: a key that holds these bytes already is left alone, other bytes are
        replaced. Raises ObjectMismatch where the file has another SHA-256.

        Example: `store.put_file("main/2026/11/29/ID.ogg", path, content_type="audio/ogg",
        metadata={"channels": "2"}, sha256=digest)`.
        """

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA
    ) -> StoredObject:
        """Store `data`, which fits in memory; safe to repeat like `put_file`."""

    def verify(self, key: str, *, size_bytes: int, sha256: str) -> None:
        """Read the object back and compare its size and SHA-256 (hex) with the expected values.

        Raises ObjectMismatch where they differ, and NoSuchObject.
        """

    def head(self, key: str) -> ObjectInfo:
        """Return the facts about an object; raises NoSuchObject."""

    def find(self, key: str) -> ObjectInfo | None:
        """Return the facts about an object, or None where there is none."""

    def open(
        self, key: str, *, first: int = 0, last: int | None = None
    ) -> AbstractContextManager[OpenObject]:
        """Read an object from byte `first` to byte `last`, both included; None is the end.

        Raises NoSuchObject, and ValueError where the object has no byte `first`.

        Example: `with store.open(key, first=0, last=9) as found: b"".join(found.chunks())` gives
        the first ten bytes.
        """

    def get_bytes(self, key: str) -> bytes:
        """Return a whole small object, such as a manifest; raises NoSuchObject."""

    def presign(
        self, key: str, *, expires_in_s: int, download_name: str | None, content_type: str
    ) -> str:
        """Return a URL that opens the object without credentials, for `expires_in_s` seconds.

        With `download_name` a browser saves the file under that name. The object need not exist.
        Raises ValueError for a time outside 1 s to 7 days.
        """

    def delete(self, key: str) -> None:
        """Delete an object and all its versions for good; do nothing where there is none."""

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        """Yield every key that starts with `prefix`, in order, page by page."""

    def check(self) -> list[CheckResult]:
        """Test everything that the service needs: bucket, write, read, delete.

        Stop at the first test that fails. A fault of the store never raises: the failed result
        names the setting to correct.
        """
