"""An object store in memory, for tests that need no server.

It passes the same suite as the real one: `tests/contract/test_object_store.py`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from storage.objects.errors import NoSuchObject, ObjectMismatch
from storage.objects.store import (
    LONGEST_PRESIGN_S,
    NO_METADATA,
    CheckResult,
    ObjectInfo,
    OpenObject,
    StoredObject,
)


@dataclass(frozen=True)
class Kept:
    """The newest version of an object."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]
    modified_at: datetime
    version: int

    @property
    def etag(self) -> str:
        """A text that changes with the bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:32]}"'


class MemoryStore:
    """An `ObjectStore` that forgets everything with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._versions = 0

    def put_file(
        self, key: str, path: Path, *, content_type: str, metadata: Mapping[str, str], sha256: str
    ) -> StoredObject:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectMismatch(f"The file for {key} changed before it was stored.")
        return self.put_bytes(key, data, content_type=content_type, metadata=metadata)

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA
    ) -> StoredObject:
        sha256 = hashlib.sha256(data).hexdigest()
        before = self._kept.get(key)
        if before is None or (before.data, before.metadata.get("sha256")) != (data, sha256):
            named = {name.lower(): value for name, value in metadata.items()} | {"sha256": sha256}
            self.replace(key, data, content_type=content_type, metadata=named)
        return StoredObject(key, len(data), sha256, str(self._kept[key].version))

    def replace(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Write any bytes under a key, like a faulty disk or an intruder."""
        self._versions += 1
        self._kept[key] = Kept(data, content_type, metadata, datetime.now(UTC), self._versions)

    def verify(self, key: str, *, size_bytes: int, sha256: str) -> None:
        data = self._get(key).data
        if (len(data), hashlib.sha256(data).hexdigest()) != (size_bytes, sha256):
            raise ObjectMismatch(f"{key} has other bytes in the store than were written.")

    def head(self, key: str) -> ObjectInfo:
        kept = self._get(key)
        return ObjectInfo(
            len(kept.data),
            kept.etag,
            kept.content_type,
            kept.metadata,
            kept.modified_at,
            str(kept.version),
        )

    def find(self, key: str) -> ObjectInfo | None:
        return self.head(key) if key in self._kept else None

    @contextmanager
    def open(self, key: str, *, first: int = 0, last: int | None = None) -> Iterator[OpenObject]:
        kept = self._get(key)
        if first and first >= len(kept.data):
            raise ValueError(f"{key} has no such range")
        part = kept.data[first : None if last is None else last + 1]

        def read(size_bytes: int) -> Iterator[bytes]:
            for begin in range(0, len(part), size_bytes):
                yield part[begin : begin + size_bytes]

        yield OpenObject(
            len(kept.data), len(part), kept.etag, kept.content_type, kept.modified_at, read
        )

    def get_bytes(self, key: str) -> bytes:
        return self._get(key).data

    def presign(
        self, key: str, *, expires_in_s: int, download_name: str | None, content_type: str
    ) -> str:
        """Return a URL that names the object; it opens nothing, because nobody serves this
        store."""
        if not 1 <= expires_in_s <= LONGEST_PRESIGN_S:
            raise ValueError(f"expires_in_s must be 1 to {LONGEST_PRESIGN_S}")
        named = f"&name={quote(download_name, safe='')}" if download_name is not None else ""
        return f"https://memory.example/{key}?type={quote(content_type, safe='')}{named}"

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self._kept if key.startswith(prefix))

    def check(self) -> list[CheckResult]:
        return [CheckResult(name, True, "memory") for name in ("bucket", "write", "read", "delete")]

    def _get(self, key: str) -> Kept:
        try:
            return self._kept[key]
        except KeyError:
            raise NoSuchObject(f"The object store holds no object {key}.") from None
