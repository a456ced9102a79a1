"""A SeaweedFS for the suites of the object store."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from earwitness.embedded import EmbeddedObjects


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedObjects]:
    """One SeaweedFS for all tests."""
    directory = Path(tempfile.mkdtemp(prefix="earwitness-"))
    with EmbeddedObjects(directory / "objects") as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"main/2026/03/01/{uuid4()}.opus"
