"""The telephone world that the tests of this directory call through."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
def start_service(telephones: World) -> Iterator[Callable[..., Service]]:
    """Starts the whole service with a `[recording]` table, following the world's PBX."""
    with ExitStack() as stack:

        def start(**recording: Any) -> Service:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="earwitness-test-"))
            one = Service(Path(folder), telephones.pbx, **recording)
            one.start()
            stack.callback(_stop, one)
            return one

        yield start


def _stop(service: Service) -> None:
    assert service.stop() == 0


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """A service that records every conversation."""
    return start_service(record_all=True)
