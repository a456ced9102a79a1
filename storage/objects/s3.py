"""The object store: what a recording's audio and manifest are kept in. The only home of boto3.

`ObjectStore` is the interface, `S3ObjectStore` speaks it with any S3-compatible store. Every error
of the library is translated here: NoSuchObject, StoreUnavailable (does not answer: try again),
StoreRefused (answers and says no; the message names the key of the configuration to look at) and
ObjectMismatch (the bytes are not the ones that were meant).
"""

import hashlib
import os
import threading
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, Protocol
from urllib.parse import quote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.response import StreamingBody

from storage.errors import (
    EarwitnessError,
    NoSuchObject,
    ObjectMismatch,
    StoreRefused,
    StoreUnavailable,
)
from storage.models import open_session

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# The largest single put, and the size of a part.
PART_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
LONGEST_PRESIGN_S = 7 * 24 * 3600  # a limit of the signature, version 4
# Where the embedded store keeps its indexes, below its data directory.
JOURNALS = ("*.idx", "filerldb2/*/*.log")
CHECK_PREFIX = ".earwitness-check/"
NO_METADATA: Mapping[str, str] = MappingProxyType({})

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 20
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ObjectStoreSettings:
    """Where the store is and who we are there; the fields are those of `[objects]`.

    Empty strings mean the library's defaults: the region's own endpoint, credentials from the
    environment or the machine's role. `journals` is set for the embedded store alone: the
    directory whose journals have to be flushed before a put is safe from a power cut.
    """

    bucket: str
    endpoint_url: str = ""
    public_endpoint_url: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    addressing: Literal["path", "virtual"] = "path"
    object_lock: str = "off"
    encryption: str = "off"
    journals: Path | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a put left in the store; `version_id` is None where the bucket keeps no versions."""

    key: str
    size_bytes: int
    sha256: str
    version_id: str | None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says of an object. Names of metadata are in lower case."""

    size_bytes: int
    etag: str
    content_type: str
    metadata: Mapping[str, str]
    modified_at: datetime
    version_id: str | None


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object, or a range of it, that is being read.

    `size_bytes` is the size of the whole object, `length_bytes` of what `chunks` gives.
    """

    size_bytes: int
    length_bytes: int
    etag: str
    content_type: str
    modified_at: datetime
    _body: StreamingBody = field(repr=False)

    def chunks(self, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The bytes in order, at most `size_bytes` at a time; raises StoreUnavailable."""
        with _translated("reading"):
            yield from self._body.iter_chunks(size_bytes)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried on the store; `text` is a line for a person."""

    name: str
    ok: bool
    text: str


class ObjectStore(Protocol):
    """Keeps objects by key. All methods may raise StoreUnavailable and StoreRefused."""

    def put_file(
        self, key: str, path: Path, *, content_type: str, metadata: Mapping[str, str], sha256: str
    ) -> StoredObject:
        """Store the file at `path`, whose SHA-256 is `sha256` (hex).

        Safe to repeat: where the key holds these bytes already nothing is written; where it holds
        others they are replaced. Raises ObjectMismatch where the file is not what `sha256` says.
        """

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA
    ) -> StoredObject:
        """Store `data`, which fits in memory; safe to repeat as `put_file` is."""

    def verify(self, key: str, *, size_bytes: int, sha256: str) -> None:
        """Read the object back and compare size and SHA-256 (hex) with what was meant.

        Raises ObjectMismatch where they differ and NoSuchObject.
        """

    def head(self, key: str) -> ObjectInfo:
        """What the store says of an object; raises NoSuchObject."""

    def find(self, key: str) -> ObjectInfo | None:
        """What the store says of an object, None where there is none."""

    def open(
        self, key: str, *, first: int = 0, last: int | None = None
    ) -> AbstractContextManager[OpenObject]:
        """Read an object from byte `first` to byte `last`, both included, None is the end.

        Raises NoSuchObject, and ValueError where the object has no byte `first`.
        """

    def get_bytes(self, key: str) -> bytes:
        """A whole small object, such as a manifest; raises NoSuchObject."""

    def presign(
        self, key: str, *, expires_in_s: int, download_name: str | None, content_type: str
    ) -> str:
        """A URL that gives the object to whoever has it, for `expires_in_s` seconds.

        With `download_name` a browser saves it under that name. The object need not exist.
        """

    def delete(self, key: str) -> None:
        """Remove an object and all its versions for good; nothing happens where there is none."""

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with `prefix`, in order, page by page."""

    def check(self) -> list[CheckResult]:
        """Try what the service needs: bucket, write, read, delete. Stops at the first that fails.

        Never raises for what the store does: the failed result says what to mend.
        """


class S3ObjectStore:
    """`ObjectStore` on any S3-compatible store.

    One client is kept per process, made at the first use; threads share it.
    """

    def __init__(self, settings: ObjectStoreSettings) -> None:
        for key in ("object_lock", "encryption"):
            if getattr(settings, key) != "off":
                raise StoreRefused(f'objects.{key}: this version of Earwitness knows only "off".')
        self._settings = settings
        self._bucket = settings.bucket
        self._journals = _Journals(settings.journals) if settings.journals else None
        self._lock = threading.Lock()
        self._clients: dict[tuple[int, str], S3Client] = {}
        self._puts_once = True  # until the store says that it does not know If-None-Match

    # --- writing

    def put_file(
        self, key: str, path: Path, *, content_type: str, metadata: Mapping[str, str], sha256: str
    ) -> StoredObject:
        upload = _Upload(key, path.stat().st_size, sha256, content_type, metadata)
        if upload.size_bytes > PART_BYTES:
            return self._find_same(upload) or self._put_in_parts(upload, path)
        with path.open("rb") as file:
            return self._put(upload, file)

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA
    ) -> StoredObject:
        sha256 = hashlib.sha256(data).hexdigest()
        return self._put(_Upload(key, len(data), sha256, content_type, metadata), BytesIO(data))

    def _put(self, upload: "_Upload", body: BinaryIO) -> StoredObject:
        """Put once; where the key is taken, by other bytes than these, put over it."""
        if not self._puts_once:
            return self._find_same(upload) or self._put_over(upload, body)
        try:
            return self._put_over(upload, body, IfNoneMatch="*")
        except _KeyTaken:
            return self._find_same(upload) or self._put_over(upload, body)
        except _NotImplementedThere:
            self._puts_once = False
            return self._put(upload, body)

    def _put_over(self, upload: "_Upload", body: BinaryIO, **condition: Any) -> StoredObject:
        body.seek(0)
        with _translated(upload.key):
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=upload.key,
                Body=body,
                ContentType=upload.content_type,
                Metadata=upload.user_metadata,
                # Both: with the value alone the algorithm is not sent, and some stores then
                # ignore a wrong sum.
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_checksum(bytes.fromhex(upload.sha256)),
                **condition,
            )
        return self._kept(upload, answer.get("VersionId"))

    def _put_in_parts(self, upload: "_Upload", path: Path) -> StoredObject:
        target: dict[str, Any] = {"Bucket": self._bucket, "Key": upload.key}
        with _translated(upload.key):
            upload_id = self._client.create_multipart_upload(
                **target,
                ContentType=upload.content_type,
                Metadata=upload.user_metadata,
                ChecksumAlgorithm="SHA256",
            )["UploadId"]
            try:
                parts = self._put_parts(upload, path, upload_id)
                answer = self._client.complete_multipart_upload(
                    **target, UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
            except BaseException:
                with suppress(ClientError, BotoCoreError):  # the first error is the one to tell
                    self._client.abort_multipart_upload(**target, UploadId=upload_id)
                raise
        return self._kept(upload, answer.get("VersionId"))

    def _put_parts(
        self, upload: "_Upload", path: Path, upload_id: str
    ) -> list["CompletedPartTypeDef"]:
        """Send the file part by part, each with its sum."""
        whole = hashlib.sha256()
        count = -(-upload.size_bytes // PART_BYTES)
        with path.open("rb") as file:
            parts = [
                self._put_part(upload, upload_id, number, _Part(file, number, whole))
                for number in range(1, count + 1)
            ]
        if whole.hexdigest() != upload.sha256:
            raise ObjectMismatch(f"The file for {upload.key} changed before it was stored.")
        return parts

    def _put_part(
        self, upload: "_Upload", upload_id: str, number: int, part: "_Part"
    ) -> "CompletedPartTypeDef":
        checksum = _checksum(part.digest)
        answer = self._client.upload_part(
            Bucket=self._bucket,
            Key=upload.key,
            UploadId=upload_id,
            PartNumber=number,
            Body=BufferedReader(part, CHUNK_BYTES),
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _find_same(self, upload: "_Upload") -> StoredObject | None:
        """The object that a put before this one left, where it holds the same bytes."""
        found = self.find(upload.key)
        same = (upload.size_bytes, upload.sha256)
        if found is None or (found.size_bytes, found.metadata.get("sha256")) != same:
            return None
        return self._kept(upload, found.version_id)

    def _kept(self, upload: "_Upload", version_id: str | None) -> StoredObject:
        if self._journals is not None:
            self._journals.flush()
        return StoredObject(upload.key, upload.size_bytes, upload.sha256, version_id)

    # --- reading

    def verify(self, key: str, *, size_bytes: int, sha256: str) -> None:
        read_bytes = 0
        digest = hashlib.sha256()
        with self.open(key) as found:
            for chunk in found.chunks():
                read_bytes += len(chunk)
                digest.update(chunk)
        if read_bytes != size_bytes:
            raise ObjectMismatch(f"{key} has {read_bytes} bytes in the store, not {size_bytes}.")
        if digest.hexdigest() != sha256:
            raise ObjectMismatch(f"{key} has other bytes in the store than were written.")

    def head(self, key: str) -> ObjectInfo:
        with _translated(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return ObjectInfo(
            size_bytes=answer["ContentLength"],
            etag=answer["ETag"],
            content_type=answer["ContentType"],
            metadata={name.lower(): value for name, value in answer["Metadata"].items()},
            modified_at=answer["LastModified"],
            version_id=answer.get("VersionId"),
        )

    def find(self, key: str) -> ObjectInfo | None:
        try:
            return self.head(key)
        except NoSuchObject:
            return None

    @contextmanager
    def open(self, key: str, *, first: int = 0, last: int | None = None) -> Iterator[OpenObject]:
        part: dict[str, Any] = {}
        if first or last is not None:
            part["Range"] = f"bytes={first}-{'' if last is None else last}"
        with _translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **part)
        # "bytes 0-9/1234"; a store that ignores Range answers without it, and with all bytes
        content_range = answer.get("ContentRange", "")
        if part and not content_range:
            raise StoreRefused("The object store does not know ranges.")
        with closing(answer["Body"]) as body:
            yield OpenObject(
                size_bytes=int(content_range.rpartition("/")[2] or answer["ContentLength"]),
                length_bytes=answer["ContentLength"],
                etag=answer["ETag"],
                content_type=answer["ContentType"],
                modified_at=answer["LastModified"],
                _body=body,
            )

    def get_bytes(self, key: str) -> bytes:
        with self.open(key) as found:
            return b"".join(found.chunks())

    def presign(
        self, key: str, *, expires_in_s: int, download_name: str | None, content_type: str
    ) -> str:
        if not 1 <= expires_in_s <= LONGEST_PRESIGN_S:
            raise ValueError(f"expires_in_s must be 1 to {LONGEST_PRESIGN_S}")
        params = {"Bucket": self._bucket, "Key": key, "ResponseContentType": content_type}
        if download_name is not None:
            params["ResponseContentDisposition"] = _attachment(download_name)
        with _translated(key):
            return self._public_client.generate_presigned_url(
                "get_object", Params=params, ExpiresIn=expires_in_s
            )

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        with _translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", ()))

    # --- removing

    def delete(self, key: str) -> None:
        """In a bucket with versions a plain delete only hides an object: each version goes."""
        try:
            version_ids = list(self._iter_versions(key))
        except _NotImplementedThere:
            version_ids = [None]
        for version_id in version_ids:
            which: dict[str, Any] = {} if version_id is None else {"VersionId": version_id}
            with _translated(key):
                self._client.delete_object(Bucket=self._bucket, Key=key, **which)

    def _iter_versions(self, key: str) -> Iterator[str | None]:
        with _translated(key):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=key
            )
            for page in pages:
                for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if found["Key"] == key:
                        yield found["VersionId"]

    # --- checking

    def check(self) -> list[CheckResult]:
        key = f"{CHECK_PREFIX}{uuid.uuid4()}"
        data = os.urandom(64)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("bucket", self._check_bucket),
            ("write", lambda: self.put_bytes(key, data, content_type="text/plain")),
            ("read", lambda: self._check_read(key, data)),
            ("delete", lambda: self._check_delete(key)),
        ]
        results: list[CheckResult] = []
        for name, step in steps:
            try:
                step()
            except EarwitnessError as error:
                results.append(CheckResult(name, False, str(error)))
                break
            results.append(CheckResult(name, True, f"bucket {self._bucket}"))
        return results

    def _check_bucket(self) -> None:
        # A list, not a HEAD of the bucket: the answer to a HEAD does not say what is wrong.
        with _translated(""):
            self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)

    def _check_read(self, key: str, data: bytes) -> None:
        if self.get_bytes(key) != data:
            raise ObjectMismatch("The object store gave back other bytes than were written.")

    def _check_delete(self, key: str) -> None:
        self.delete(key)
        if self.find(key) is not None:
            raise StoreRefused("The object store keeps what was deleted.")

    # --- the client

    @property
    def _client(self) -> "S3Client":
        return self._client_for(self._settings.endpoint_url)

    @property
    def _public_client(self) -> "S3Client":
        """Signs for the host that clients see: a presigned URL is bound to it."""
        return self._client_for(self._settings.public_endpoint_url or self._settings.endpoint_url)

    def _client_for(self, endpoint_url: str) -> "S3Client":
        slot = (os.getpid(), endpoint_url)  # a fork must not share its parent's connections
        with self._lock:
            if slot not in self._clients:
                with _translated(""):
                    self._clients[slot] = _build_client(self._settings, endpoint_url)
            return self._clients[slot]


@dataclass(frozen=True, slots=True)
class _Upload:
    """What is to lie under a key."""

    key: str
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]

    @property
    def user_metadata(self) -> dict[str, str]:
        return {**self.metadata, "sha256": self.sha256}


class _Part(RawIOBase):
    """A part of a file as the body of a request, read while it is sent: never whole in memory.

    `digest` is its SHA-256; its bytes are added to the sum of the `whole`, too.
    """

    def __init__(self, file: BinaryIO, number: int, whole: "Hash") -> None:
        self._file = file
        self._first = (number - 1) * PART_BYTES
        self._size = min(PART_BYTES, os.fstat(file.fileno()).st_size - self._first)
        self._at = 0
        own = hashlib.sha256()
        while data := self.read(CHUNK_BYTES):
            own.update(data)
            whole.update(data)
        self.digest = own.digest()
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._first + self._at)
        data = self._file.read(min(len(memoryview(buffer)), self._size - self._at))
        memoryview(buffer)[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


def _build_client(settings: ObjectStoreSettings, endpoint_url: str) -> "S3Client":
    local = (urlsplit(endpoint_url).hostname or "") in {"127.0.0.1", "::1", "localhost"}
    config = Config(
        signature_version="s3v4",  # presigned URLs are of version 2 otherwise, in some regions
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=32,
        s3={"addressing_style": settings.addressing},
        # We send and compare SHA-256 ourselves; sums on top cost time, and old servers refuse them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent="earwitness",  # the library's own is composed twice for each request
        proxies={} if local else None,  # a proxy of the environment does not see our loopback
    )
    return boto3.Session(botocore_session=open_session()).client(
        "s3",
        endpoint_url=endpoint_url or None,
        region_name=settings.region or None,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        config=config,
    )


def _checksum(digest: bytes) -> str:
    return b64encode(digest).decode("ascii")


def _attachment(name: str) -> str:
    """A Content-Disposition that saves under `name` (RFC 6266): plain, and with all its letters."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class _Journals:
    """The embedded store's indexes: it brings the bytes of a put to the disk, but not these.

    They only grow: one that is as long as when it was last synced has nothing new.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._synced: Mapping[Path, tuple[int, int]] = {}

    def flush(self) -> None:
        """Return when all that the store has written there is on the disk."""
        found = (path for pattern in JOURNALS for path in self._directory.glob(pattern))
        self._synced = {path: self._sync(path) for path in found}

    def _sync(self, path: Path) -> tuple[int, int]:
        """Sync a file, unless it is as it was; gives its inode and length of before."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # a journal that was just replaced is synced already
            return 0, 0
        try:
            status = os.fstat(descriptor)
            state = (status.st_ino, status.st_size)
            if state != self._synced.get(path):
                os.fsync(descriptor)
            return state
        finally:
            os.close(descriptor)


# --- errors of the library, in our words


class _KeyTaken(Exception):  # never leaves this file
    """The store holds something under a key that was to be written once."""


class _NotImplementedThere(Exception):  # never leaves this file
    """The store does not know this kind of request."""


_REASONS: Mapping[str, str] = {
    "InvalidAccessKeyId": "it does not know the access key: see objects.access_key_id",
    "SignatureDoesNotMatch": "the secret is not the key's: see objects.secret_access_key",
    "NoSuchBucket": "the bucket does not exist: create it, or see objects.bucket",
    "InvalidBucketName": "no bucket can have this name: see objects.bucket",
    "AccessDenied": "objects.access_key_id has no right to do this in objects.bucket",
    "403": "objects.access_key_id has no right to do this in objects.bucket",
    "AuthorizationHeaderMalformed": "the request was signed for another region: see objects.region",
    "PermanentRedirect": "the bucket is elsewhere: see objects.region and objects.endpoint_url",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_WRONG_SUMS = {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Raise the library's errors as ours; `key` is what the request was about."""
    try:
        yield
    except ClientError as error:
        _raise_answer(error, key)
    except NoCredentialsError as error:
        raise StoreRefused(
            "There are no credentials for the object store: see objects.access_key_id."
        ) from error
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"The object store does not answer ({type(error).__name__}): see objects.endpoint_url."
        ) from error


def _raise_answer(error: ClientError, key: str) -> NoReturn:
    """Raise what the store's refusal means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 412:
        raise _KeyTaken from error
    if status == 501:
        raise _NotImplementedThere from error
    if status == 416:
        raise ValueError(f"{key} has no such range") from error
    if code in _WRONG_SUMS:
        raise ObjectMismatch(f"{key} did not reach the store as it was sent.") from error
    if status == 404 and code != "NoSuchBucket":
        raise NoSuchObject(f"The object store holds nothing under {key}.") from error
    if status >= 500 or status in {408, 409, 429}:
        raise StoreUnavailable(f"The object store cannot do this now ({code}).") from error
    raise StoreRefused(f"The object store refuses: {_REASONS.get(code, code)}.") from error
