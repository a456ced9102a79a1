"""The telephone world that the tests of this directory call through."""

from collections.abc import Iterator

import pytest

from lab.root import ensure_root, root_directory
from lab.world import World


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
