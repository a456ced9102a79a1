"""Connections to PostgreSQL, locks, and the migration of a database to this version."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.errors import LockNotAvailable
from pydantic_core import from_json
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import CatalogueUnavailable, LockTimeout

MIGRATIONS = Path(__file__).parent.parent / "migrations"
# A revision is a number, and the name of its file begins with it.
NEWEST = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
# Any constant will do, as long as every process uses the same one.
MIGRATION_LOCK = 0x6561727769746E73
# A thread waits this long for a connection of the pool.
FREE_WITHIN_S = 30.0
# The pool of locks keeps this many connections, and opens more when it needs them.
LOCKS_KEPT = 4
# A connection that was idle for longer is tested before its next use.
TESTED_AFTER_S = 1.0
# Each side notices within seconds, not hours, that the other has died; then the locks of a dead
# machine are free. We notice first, before PostgreSQL gives our locks to others.
CONNECT_ARGS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": "earwitness",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# SET statements, because PgBouncer passes them on. A Unix socket ignores those about TCP.
_SETTINGS = """
SET TIME ZONE 'UTC';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 15000;
"""


# The timeout holds for this statement alone: the connection keeps nothing of it.
_LOCK = text(
    "WITH deadline AS MATERIALIZED (SELECT set_config('lock_timeout', :wait, true))"
    " SELECT pg_advisory_lock(hashtextextended(:name, 0)) FROM deadline"
)


class Catalogue:
    """The connections to PostgreSQL; safe to share between threads.

    Every method raises CatalogueUnavailable if PostgreSQL cannot be reached. The pool keeps
    `pool_size` connections for transactions, and opens as many more while these are in use.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._engine = self._pool(pool_size, max_overflow=pool_size, pool_timeout=FREE_WITHIN_S)
        # A thread with a lock takes a second lock, and transactions. In a pool with a limit all
        # threads could hold one connection and wait for another: this pool has no limit.
        self._locks = self._pool(LOCKS_KEPT, max_overflow=-1, isolation_level="AUTOCOMMIT")
        self._is_migrated = False

    def _pool(self, size: int, **options: Any) -> Engine:
        kept = {"pool_size": size, "connect_args": dict(CONNECT_ARGS)}
        # Names and secrets in a statement must not get into the log with a traceback.
        pool = create_engine(
            self._url, hide_parameters=True, json_deserializer=from_json, **kept, **options
        )
        event.listen(pool, "connect", _set_up)
        event.listen(pool, "checkin", _note_use)
        event.listen(pool, "checkout", partial(_test_idle, pool))
        return pool

    def __repr__(self) -> str:
        return f"Catalogue({self._url.render_as_string(hide_password=True)})"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, rolled back by an error."""
        with _unavailable(), self._engine.begin() as tx:
            yield tx

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Hold a lock for the length of the block: one holder among all processes.

        Raises LockTimeout where another holder keeps it for longer than `wait_s`. PostgreSQL
        releases the lock with its connection, so a process that dies holds nothing.

        Example: `with catalogue.lock("listen main", wait_s=10):`
        """
        key = {"name": f"earwitness {name}"}
        with _unavailable(), self._locks.connect() as connection:
            try:
                connection.execute(_LOCK, key | {"wait": f"{math.ceil(wait_s * 1000)}ms"})
            except OperationalError as error:
                if isinstance(error.orig, LockNotAvailable):
                    raise LockTimeout(f"the lock {name!r} is held for over {wait_s:g} s") from error
                raise
            try:
                yield
            finally:
                connection.execute(
                    text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key
                )

    @contextmanager
    def try_lock(self, name: str) -> Iterator["Lock | None"]:
        """Hold a lock like `lock`, without waiting: yield None if another process holds it."""
        key = {"name": f"earwitness {name}"}
        with _unavailable(), self._locks.connect() as connection:
            query = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            if not connection.scalar(query, key):
                yield None
                return
            try:
                yield Lock(connection)
            finally:
                connection.invalidate()  # closing the connection always releases the lock

    @property
    def url(self) -> str:
        """The address of PostgreSQL for libpq, with the password."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def connect_alone(self) -> psycopg.Connection[Any]:
        """Open a connection outside the pool, in autocommit; the caller closes it.

        Raises psycopg.Error.
        """
        connection = psycopg.connect(self.url, autocommit=True, **CONNECT_ARGS)
        _set_up(connection)
        return connection

    def migrate(self) -> None:
        """Bring the schema to this version; processes that start together take turns."""
        if self.is_migrated():
            return
        from alembic import command  # noqa: PLC0415  8 MB that a migrated database does not need
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        with self.begin() as tx:
            tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = tx
            command.upgrade(config, "head")

    def is_migrated(self) -> bool:
        """Return whether the schema has this version, or a newer one, which keeps all that we use.

        Remember a positive answer, and then do not ask the database again.
        """
        if not self._is_migrated:
            present, needed = self.schema_versions()
            self._is_migrated = present is not None and present >= needed
        return self._is_migrated

    def schema_versions(self) -> tuple[str | None, str]:
        """Return the schema version of the database and the version that this program needs."""
        with self.begin() as tx:
            migrated = tx.scalar(text("SELECT to_regclass('alembic_version')")) is not None
            present = migrated and tx.scalar(text("SELECT version_num FROM alembic_version"))
        return present or None, NEWEST

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()
        self._locks.dispose()


class Lock:
    """A lock that this process holds as long as its connection lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def verify(self) -> None:
        """Raise CatalogueUnavailable if the connection, and the lock with it, is lost."""
        with _unavailable():
            self._connection.execute(text("SELECT 1"))


def _set_up(connection: psycopg.Connection[Any], _: object = None) -> None:
    """Use UTC in this session, and let PostgreSQL notice within seconds when this client has
    died."""
    connection.execute(_SETTINGS)
    connection.commit()


def _note_use(_connection: object, entry: ConnectionPoolEntry) -> None:
    entry.info["used_at"] = time.monotonic()


def _test_idle(
    pool: Engine, connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object
) -> None:
    """Replace a connection that died while it was idle; a test at each use costs a round trip."""
    if time.monotonic() - entry.info.get("used_at", math.inf) < TESTED_AFTER_S:
        return
    try:
        pool.dialect.do_ping(connection)
    except pool.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error  # the pool connects anew


@contextmanager
def _unavailable() -> Iterator[None]:
    """Raise CatalogueUnavailable if PostgreSQL is away, or if the pool has no free connection."""
    try:
        yield
    except (OperationalError, InterfaceError, NoneFree) as error:
        raise CatalogueUnavailable(f"PostgreSQL: {first_line(error)}") from error


def take_turns(tx: Connection, name: str) -> None:
    """Wait until no other transaction has this name, and keep it until the end of this one.

    Whoever waits here then sees what the others have written.
    """
    mutex = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
    tx.execute(mutex, {"name": f"earwitness {name}"})


def first_line(error: Exception) -> str:
    """Return the first line of PostgreSQL's own error, whichever library has wrapped it."""
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
