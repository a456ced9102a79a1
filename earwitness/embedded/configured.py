"""The embedded servers, for a configuration that names no others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earwitness import private
from earwitness.config import Config, Objects
from earwitness.embedded.objects import EmbeddedObjects
from earwitness.embedded.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from storage.objects.store import ObjectStore, ObjectStoreSettings


def postgres_of(config: Config) -> EmbeddedPostgres:
    """Return the embedded PostgreSQL of this configuration."""
    return EmbeddedPostgres(config.data.directory / private.POSTGRESQL)


def objects_of(config: Config) -> EmbeddedObjects:
    """Return the embedded object store of this configuration."""
    return EmbeddedObjects(config.data.directory / private.OBJECTS, config.objects.bucket)


def object_store_settings(objects: Objects) -> "ObjectStoreSettings":
    """Return the settings of the store in the `[objects]` table."""
    from storage.objects.store import ObjectStoreSettings

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
    """Yield the URL of the configured database, for a command that runs beside the service.

    Start the embedded one for the length of the block if no service runs it.
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
    """Yield the configured object store, as `embedded_database` yields the database."""
    from storage.objects.s3 import S3ObjectStore

    server = objects_of(config)
    if config.objects.kind == "s3":
        yield S3ObjectStore(object_store_settings(config.objects))
    elif server.is_claimed:
        yield server.open_store()
    else:
        with server:
            yield server.open_store()
