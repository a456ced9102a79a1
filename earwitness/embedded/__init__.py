"""PostgreSQL and SeaweedFS of our own, for one machine on its defaults.

Both come in wheels (the extra `embedded`) and run as children of this process: they listen where
nobody else can reach them, die with us, and survive being killed at any moment. Each owns one
directory, which one running Earwitness uses at a time.
"""

from earwitness.embedded.configured import (
    embedded_database,
    embedded_objects,
    object_store_settings,
    objects_of,
    postgres_of,
)
from earwitness.embedded.objects import EmbeddedObjects
from earwitness.embedded.postgres import EmbeddedPostgres
from earwitness.embedded.server import EmbeddedServer

__all__ = [
    "EmbeddedObjects",
    "EmbeddedPostgres",
    "EmbeddedServer",
    "embedded_database",
    "embedded_objects",
    "object_store_settings",
    "objects_of",
    "postgres_of",
]
