"""The telephone world of the tests in this directory."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import Asterisk
from lab.root import ensure_root, root_directory
from lab.world import World
from tests.pbx.talks import LOSSLESS_RULE
from tests.service import Service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first the tests without a service, then those that share one, then the others.

    So the shared service starts once, and records no call of a test that does not expect it.
    """
    here = Path(__file__).parent
    places = [at for at, item in enumerate(items) if here in item.path.parents]
    ordered = sorted((items[at] for at in places), key=_needs_service)
    for at, item in zip(places, ordered, strict=True):
        items[at] = item


def _needs_service(item: pytest.Item) -> int:
    assert isinstance(item, pytest.Function)
    if hasattr(item.module, "service"):
        return 2
    return int("service" in item.fixturenames)


@pytest.fixture(scope="session")
def telephones() -> Iterator[World]:
    """Start two real Asterisks, once for all tests."""
    with World(ensure_root(root_directory())) as world:
        yield world


@pytest.fixture
def world(telephones: World) -> Iterator[World]:
    """Return the world without a call in it, and hang up all calls afterwards."""
    yield telephones
    telephones.hang_up_all()


class SharedService:
    """A service that several modules share: it starts for the first and stops for the next kind."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._service: Service | None = None

    def get(self, pbx: Asterisk) -> Service:
        """Return the service that records every conversation; start it if it does not run."""
        if self._service is None:
            self._service = _start(self._stack, pbx, rules=LOSSLESS_RULE, record_all=True)
        return self._service

    def stop(self) -> None:
        """Stop the service. Safe to repeat."""
        self._service = None
        self._stack.close()


@pytest.fixture(scope="session")
def shared_service() -> Iterator[SharedService]:
    """Return the service that modules share."""
    shared = SharedService()
    yield shared
    shared.stop()


@pytest.fixture(scope="module")
def start_service(
    telephones: World, shared_service: SharedService
) -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service of the module's own, following the world's PBX.

    Its arguments are those of `Service`; others are keys of the table `[recording]`.
    """
    with ExitStack() as stack:

        def start(**settings: Any) -> Service:
            shared_service.stop()
            return _start(stack, telephones.pbx, **settings)

        yield start


def _start(stack: ExitStack, pbx: Asterisk, **settings: Any) -> Service:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="earwitness-test-"))
    service = Service(Path(folder), pbx, **settings)
    service.start()
    stack.callback(_stop, service)
    return service


def _stop(service: Service) -> None:
    assert service.stop() == 0


@pytest.fixture(scope="module")
def service(telephones: World, shared_service: SharedService) -> Service:
    """Return the shared service, which records every conversation."""
    return shared_service.get(telephones.pbx)
