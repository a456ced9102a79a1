"""`S3ObjectStore`: an object store of any vendor, over S3. The only home of boto3.

Every error of the library becomes one of `errors.py` here: NoSuchObject, StoreUnavailable (the
store does not answer: retry later), StoreRefused (the store answers no; the message names the
setting to correct) and ObjectMismatch (the store received other bytes than we sent).
"""

import hashlib
import os
import threading
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn
from urllib.parse import quote, unquote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.response import StreamingBody

from storage.errors import EarwitnessError
from storage.objects.errors import NoSuchObject, ObjectMismatch, StoreRefused, StoreUnavailable
from storage.objects.models import open_session
from storage.objects.store import (
    CHUNK_BYTES,
    LONGEST_PRESIGN_S,
    NO_METADATA,
    CheckResult,
    ObjectInfo,
    ObjectStoreSettings,
    OpenObject,
    StoredObject,
)

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# The largest single put, and the size of a part.
PART_BYTES = 8 * 1024 * 1024
KEYS_PER_PAGE = 1000  # the most that S3 lists at once
CHECK_PREFIX = ".earwitness-check/"

_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 20
ATTEMPTS = 3


class S3ObjectStore:
    """An `ObjectStore` on any S3-compatible store.

    Each process keeps one client, made at its first use; threads share it. `after_put` runs after
    every put, before its success is reported: the embedded store needs it (see `Journals`).
    """

    def __init__(
        self,
        settings: ObjectStoreSettings,
        *,
        after_put: Callable[[], None] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        keys_per_page: int = KEYS_PER_PAGE,
    ) -> None:
        for key in ("object_lock", "encryption"):
            if getattr(settings, key) != "off":
                raise StoreRefused(f'objects.{key}: this version of Earwitness knows only "off".')
        self.settings = settings
        self._bucket = settings.bucket
        self._after_put = after_put
        self._read_timeout_s = read_timeout_s
        self._keys_per_page = keys_per_page
        self._lock = threading.Lock()
        self._clients: dict[tuple[int, str], S3Client] = {}
        self._puts_once = True  # until the store answers that it does not know If-None-Match

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
        """Put if the key is free; replace other bytes that it holds."""
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
        return self._report(upload, answer.get("VersionId"))

    def _put_in_parts(self, upload: "_Upload", path: Path) -> StoredObject:
        """Send the file part by part, each with its sum; nothing is left of a put that fails."""
        target: dict[str, Any] = {"Bucket": self._bucket, "Key": upload.key}
        with _translated(upload.key), path.open("rb") as file:
            upload_id = self._client.create_multipart_upload(
                **target,
                ContentType=upload.content_type,
                Metadata=upload.user_metadata,
                ChecksumAlgorithm="SHA256",
            )["UploadId"]
            parts: list[CompletedPartTypeDef] = []
            whole = hashlib.sha256()
            try:
                for number in range(1, 1 + -(-upload.size_bytes // PART_BYTES)):
                    part = _Part(file, number, whole)
                    checksum = _checksum(part.digest)
                    sent = self._client.upload_part(
                        **target,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=BufferedReader(part, CHUNK_BYTES),
                        ChecksumAlgorithm="SHA256",
                        ChecksumSHA256=checksum,
                    )
                    parts.append(
                        {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}
                    )
                if whole.hexdigest() != upload.sha256:
                    raise ObjectMismatch(f"The file for {upload.key} changed before it was stored.")
                answer = self._client.complete_multipart_upload(
                    **target, UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
            except BaseException:
                with suppress(ClientError, BotoCoreError):  # the first error is the one to raise
                    self._client.abort_multipart_upload(**target, UploadId=upload_id)
                raise
        return self._report(upload, answer.get("VersionId"))

    def _find_same(self, upload: "_Upload") -> StoredObject | None:
        """Return the object that an earlier put left, if it holds the same bytes."""
        found = self.find(upload.key)
        same = (upload.size_bytes, upload.sha256)
        if found is None or (found.size_bytes, found.metadata.get("sha256")) != same:
            return None
        return self._report(upload, found.version_id)

    def _report(self, upload: "_Upload", version_id: str | None) -> StoredObject:
        """Return the result of a put, once `after_put` has run."""
        if self._after_put is not None:
            self._after_put()
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
            metadata={name.lower(): unquote(value) for name, value in answer["Metadata"].items()},
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
                read=partial(_read_body, body),
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
                Bucket=self._bucket,
                Prefix=prefix,
                PaginationConfig={"PageSize": self._keys_per_page},
            )
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", ()))

    # --- removing

    def delete(self, key: str) -> None:
        # In a bucket with versions a plain delete only hides an object.
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

        def find_bucket() -> None:
            # A list, not a HEAD of the bucket: the answer to a HEAD does not name the fault.
            with _translated(""):
                self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)

        def read() -> None:
            if self.get_bytes(key) != data:
                raise ObjectMismatch("The object store returned other bytes than were written.")

        def delete() -> None:
            self.delete(key)
            if self.find(key) is not None:
                raise StoreRefused("The object store keeps an object that was deleted.")

        steps: list[tuple[str, Callable[[], object]]] = [
            ("bucket", find_bucket),
            ("write", lambda: self.put_bytes(key, data, content_type="text/plain")),
            ("read", read),
            ("delete", delete),
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

    # --- the client

    @property
    def _client(self) -> "S3Client":
        return self._client_for(self.settings.endpoint_url)

    @property
    def _public_client(self) -> "S3Client":
        """The client that signs URLs: a presigned URL works only for the host that it names."""
        return self._client_for(self.settings.public_endpoint_url or self.settings.endpoint_url)

    def _client_for(self, endpoint_url: str) -> "S3Client":
        slot = (
            os.getpid(),
            endpoint_url,
        )  # a fork must not share its parent's connections
        with self._lock:
            if slot not in self._clients:
                with _translated(""):
                    self._clients[slot] = _build_client(
                        self.settings, endpoint_url, self._read_timeout_s
                    )
            return self._clients[slot]


@dataclass(frozen=True, slots=True)
class _Upload:
    """The object to store under a key."""

    key: str
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]

    @property
    def user_metadata(self) -> dict[str, str]:
        """The metadata for the headers of a request, whose values are visible ASCII.

        Any other character is percent-encoded, and so is `%`, so that `head` can decode it.
        """
        values = {**self.metadata, "sha256": self.sha256}
        return {name: quote(value, safe=_VISIBLE) for name, value in values.items()}


class _Part(RawIOBase):
    """A part of a file as the body of a request, read in blocks while boto3 sends it.

    `digest` is the SHA-256 of the part. The constructor adds the bytes to the sum of the `whole`
    file as well.
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


def _build_client(
    settings: ObjectStoreSettings, endpoint_url: str, read_timeout_s: float
) -> "S3Client":
    local = (urlsplit(endpoint_url).hostname or "") in {"127.0.0.1", "::1", "localhost"}
    config = Config(
        signature_version="s3v4",  # presigned URLs are of version 2 otherwise, in some regions
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=32,
        s3={"addressing_style": settings.addressing},
        # We send and compare SHA-256 ourselves. More sums cost time, and old servers refuse them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent="earwitness",  # the library composes its own twice for each request
        proxies={} if local else None,  # a proxy from the environment cannot reach our loopback
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
    """Build a Content-Disposition that saves under `name` (RFC 6266), in ASCII and in UTF-8."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _read_body(body: StreamingBody, size_bytes: int) -> Iterator[bytes]:
    with _translated("reading"):
        yield from body.iter_chunks(size_bytes)


# --- errors of the library, in our words


class _KeyTaken(Exception):  # never leaves this file
    """The store already holds an object under this key."""


class _NotImplementedThere(Exception):  # never leaves this file
    """The store does not support this kind of request."""


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
    """Raise our errors in place of the library's; `key` is the key of the request."""
    try:
        yield
    except ClientError as error:
        _raise_answer(error, key)
    except NoCredentialsError as error:
        raise StoreRefused(
            "There are no credentials for the object store: see objects.access_key_id."
        ) from error
    except ParamValidationError as error:  # the library sent nothing: the fault is ours
        if "bucket name" in str(error):
            raise StoreRefused(_refusal("InvalidBucketName")) from error
        raise ValueError(f"the request for {key!r} cannot be sent to a store") from error
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"The object store does not answer ({type(error).__name__}): see objects.endpoint_url."
        ) from error


def _raise_answer(error: ClientError, key: str) -> NoReturn:
    """Raise our error for an answer that refuses a request."""
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
        raise NoSuchObject(f"The object store holds no object {key}.") from error
    if status >= 500 or status in {408, 409, 429}:
        raise StoreUnavailable(f"The object store cannot do this now ({code}).") from error
    raise StoreRefused(_refusal(code)) from error


def _refusal(code: str) -> str:
    return f"The object store refuses: {_REASONS.get(code, code)}."
