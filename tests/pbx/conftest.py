"""The telephone world that the tests of this directory call through."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.root import ensure_root, root_directory
from lab.world import World
from tests.service import Service


@pytest.fixture(scope="session")
def telephones() -> Iterator[World]:
    """Two real Asterisks, started once for all tests."""
    with World(ensure_root(root_directory())) as world:
        yield world


@pytest.fixture
def world(telephones: World) -> Iterator[World]:
    """The world without a call in it, and left so."""
    yield telephones
    telephones.hang_up_all()


@pytest.fixture(scope="module")
def service(telephones: World) -> Iterator[Service]:
    """The whole service, following the world's PBX; it records every conversation."""
    with tempfile.TemporaryDirectory(prefix="earwitness-test-") as directory:
        one = Service(Path(directory), telephones.pbx, record_all=True)
        one.start()
        yield one
        assert one.stop() == 0
