"""Real servers for integration tests: PostgreSQL and SeaweedFS, started once for all of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from api_client import ApiClient, CatalogueCapture, CatalogueSpies
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from api.app import ApiSettings, build_app
from api.services import EXTENSION
from earwitness.embedded import EmbeddedObjects, EmbeddedPostgres
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore

TokenMaker = Callable[..., str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server.

    Not below pytest's own directory: each run of pytest closes that to other accounts, and run by
    root the server has an account of its own.
    """
    with (
        TemporaryDirectory(prefix="earwitness-postgres-") as directory,
        EmbeddedPostgres(Path(directory) / "data") as server,
    ):
        _without_vacuum(server.url)
        yield server


def _without_vacuum(url: str) -> None:
    """An ANALYZE of the server's own holds back, for as long as it runs, the events of all."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET autovacuum = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the module's own, empty."""
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
    """The catalogue in the module's database, at the newest schema."""
    catalogue = Catalogue(database_url)
    catalogue.migrate()
    yield catalogue
    catalogue.close()


@pytest.fixture(scope="session")
def objects_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedObjects]:
    """A SeaweedFS."""
    directory: Path = tmp_path_factory.mktemp("objects") / "data"
    with EmbeddedObjects(directory) as server:
        yield server


@pytest.fixture(scope="session")
def objects(objects_server: EmbeddedObjects) -> S3ObjectStore:
    """The object store in it."""
    return objects_server.open_store()


@pytest.fixture(scope="module")
def told(database_url: str, objects_server: EmbeddedObjects, catalogue: Catalogue) -> str:
    """What a service is told, as JSON."""
    objects = asdict(objects_server.settings)
    return json.dumps({"database_url": database_url, "objects": objects})


@pytest.fixture(scope="module")
def make_token(catalogue: Catalogue) -> TokenMaker:
    """Makes a token; takes what `tokens.create_token` takes, and any name more than once."""

    def make(**wanted: object) -> str:
        with catalogue.begin() as tx:
            return tokens.keep_secret(tx, tokens.PREFIX, **{"scopes": []} | wanted)

    return make


@pytest.fixture(scope="module")
def recorder(catalogue: Catalogue) -> CatalogueCapture:
    """Does in the catalogue what the real recorder does there, and nothing at a PBX."""
    return CatalogueCapture(catalogue)


@pytest.fixture(scope="module")
def client(
    catalogue: Catalogue,
    objects: S3ObjectStore,
    recorder: CatalogueCapture,
    make_token: TokenMaker,
) -> Iterator[ApiClient]:
    """A client of the API with an admin's token; every answer is held against the document."""
    app = build_app(
        catalogue, objects, recorder, CatalogueSpies(catalogue), ApiSettings(pbxs=("main",))
    )
    yield ApiClient(app, make_token(name="root", role="admin"))
    app.extensions[EXTENSION].feed.close()
