"""Real servers for integration tests, PostgreSQL and SeaweedFS, started once for all."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from api_client import ApiClient, CatalogueCapture, CatalogueSpies, TokenMaker
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from api.app import ApiSettings, build_app
from api.services import EXTENSION
from earwitness.embedded import EmbeddedObjects, EmbeddedPostgres
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL server.

    Use no directory of pytest: each run closes it to other users, and under root the server has a
    user of its own.
    """
    with (
        TemporaryDirectory(prefix="earwitness-postgres-") as directory,
        EmbeddedPostgres(Path(directory) / "data") as server,
    ):
        _without_vacuum(server.url)
        yield server


def _without_vacuum(url: str) -> None:
    """Turn off autovacuum: while an ANALYZE runs, its transaction hides all events."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET autovacuum = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Make an empty database for the module."""
    name = f"test_{uuid4().hex}"
    server = make_url(postgres.url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="module")
def catalogue(database_url: str) -> Iterator[Catalogue]:
    """Open the catalogue in the module's database, migrated."""
    catalogue = Catalogue(database_url)
    catalogue.migrate()
    yield catalogue
    catalogue.close()


@pytest.fixture(scope="session")
def objects_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedObjects]:
    """Start a SeaweedFS."""
    directory: Path = tmp_path_factory.mktemp("objects") / "data"
    with EmbeddedObjects(directory) as server:
        yield server


@pytest.fixture(scope="session")
def objects(objects_server: EmbeddedObjects) -> S3ObjectStore:
    """Open the store in it."""
    return objects_server.open_store()


@pytest.fixture(scope="module")
def arguments(database_url: str, objects_server: EmbeddedObjects, catalogue: Catalogue) -> str:
    """Return the arguments of a service, as JSON."""
    objects = asdict(objects_server.settings)
    return json.dumps({"database_url": database_url, "objects": objects})


@pytest.fixture(scope="module")
def make_token(catalogue: Catalogue) -> TokenMaker:
    """Make a token with the arguments of `tokens.create_token`; a name may repeat."""

    def make(**wanted: object) -> str:
        with catalogue.begin() as tx:
            return tokens.keep_secret(tx, tokens.PREFIX, **{"scopes": []} | wanted)

    return make


@pytest.fixture(scope="module")
def recorder(catalogue: Catalogue) -> CatalogueCapture:
    """Return a recorder that writes into the catalogue and needs no PBX."""
    return CatalogueCapture(catalogue)


@pytest.fixture(scope="module")
def client(
    catalogue: Catalogue,
    objects: S3ObjectStore,
    recorder: CatalogueCapture,
    make_token: TokenMaker,
) -> Iterator[ApiClient]:
    """Return a client of the API with the token of an admin; it checks every answer against the
    OpenAPI document."""
    app = build_app(
        catalogue, objects, recorder, CatalogueSpies(catalogue), ApiSettings(pbxs=("main",))
    )
    yield ApiClient(app, make_token(name="root", role="admin"))
    app.extensions[EXTENSION].feed.close()
