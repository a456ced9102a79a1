"""What the configuration leaves to us: the embedded servers, where it names no others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earwitness.config import Config, Objects
from earwitness.embedded.objects import EmbeddedObjects
from earwitness.embedded.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from storage.objects.s3 import ObjectStore, ObjectStoreSettings


def postgres_of(config: Config) -> EmbeddedPostgres:
    """The embedded PostgreSQL of this configuration."""
    return EmbeddedPostgres(config.data.directory / "postgresql")


def objects_of(config: Config) -> EmbeddedObjects:
    """The embedded object store of this configuration."""
    return EmbeddedObjects(config.data.directory / "objects", config.objects.bucket)


def object_store_settings(objects: Objects) -> "ObjectStoreSettings":
    """The `[objects]` table in the words of the store."""
    from storage.objects.s3 import ObjectStoreSettings

    return ObjectStoreSettings(
        bucket=objects.bucket,
        endpoint_url=objects.endpoint_url,
        public_endpoint_url=objects.public_endpoint_url,
        region=objects.region,
        access_key_id=objects.access_key_id,
        secret_access_key=objects.secret_access_key.get_secret_value(),
        addressing=objects.addressing,
        object_lock=objects.object_lock,
        encryption=objects.encryption,
    )


@contextmanager
def embedded_database(config: Config) -> Iterator[str]:
    """The URL of the database that is configured, for a command beside the service.

    An embedded one that nobody runs is started for as long as this lasts.
    """
    url = config.database.url.get_secret_value()
    server = postgres_of(config)
    if url or server.is_claimed:
        yield url or server.url
        return
    with server:
        yield server.url


@contextmanager
def embedded_objects(config: Config) -> Iterator["ObjectStore"]:
    """The object store that is configured, as `embedded_database` gives the database."""
    from storage.objects.s3 import S3ObjectStore

    server = objects_of(config)
    if config.objects.kind == "s3":
        yield S3ObjectStore(object_store_settings(config.objects))
    elif server.is_claimed:
        yield S3ObjectStore(server.settings)
    else:
        with server:
            yield S3ObjectStore(server.settings)
