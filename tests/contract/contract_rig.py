"""Helpers of the suites of the object store."""

import hashlib
from typing import Any

import boto3

from storage.objects.store import ObjectStoreSettings


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the data, in hex."""
    return hashlib.sha256(data).hexdigest()


def raw_client(settings: ObjectStoreSettings) -> Any:
    """Return a client of boto3 that looks at the store from outside."""
    return boto3.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )


def overwrite_in_s3(settings: ObjectStoreSettings, key: str, data: bytes, sum_: str) -> None:
    """Write bytes under a key, with any sum in the metadata."""
    raw_client(settings).put_object(
        Bucket=settings.bucket, Key=key, Body=data, Metadata={"sha256": sum_}
    )
