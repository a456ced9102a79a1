"""The rights of the owners of streams, read again while the streams run."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from api import present_rights
from api.present_rights import PresentRights, while_permitted
from storage.errors import CatalogueUnavailable

OWNER = uuid4()


class Readings:
    """Stands in for a catalogue; counts the transactions."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def begin(self) -> Iterator["Readings"]:
        """Count one more transaction."""
        self.count += 1
        yield self


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """Return a catalogue in which each owner has the number of the reading as its rights."""
    made = Readings()

    def find(tx: Readings, owner_id: UUID, **_: object) -> str | None:
        return f"{owner_id} {tx.count}"

    monkeypatch.setattr(present_rights, "find_rights", find)
    return made


def test_the_streams_of_an_owner_share_a_reading(readings: Readings) -> None:
    """Many looks at the rights of one owner cost one reading; another owner has its own."""
    rights = PresentRights(readings, read_every_s=60)  # type: ignore[arg-type]
    assert {rights.find(OWNER) for _ in range(200)} == {f"{OWNER} 1"}
    other = uuid4()
    assert rights.find(other) == f"{other} 2"


def test_old_rights_are_read_again(readings: Readings) -> None:
    """Rights that are older than the interval are read again."""
    rights = PresentRights(readings, read_every_s=0)  # type: ignore[arg-type]
    assert [rights.find(OWNER) for _ in range(2)] == [f"{OWNER} 1", f"{OWNER} 2"]


def test_owners_are_forgotten(readings: Readings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owners of streams that are over do not fill the memory, and are read again."""
    monkeypatch.setattr(present_rights, "MOST_KNOWN", 2)
    rights = PresentRights(readings, read_every_s=0)  # type: ignore[arg-type]
    for _ in range(5):
        rights.find(uuid4())
    assert rights.find(OWNER) == f"{OWNER} 6"


def test_bytes_stop_with_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of bytes breaks off at the first chunk after the right is gone."""
    monkeypatch.setattr(present_rights, "LOOK_EVERY_S", 0)
    answers = iter([True, True, False])
    stream = while_permitted(iter([b"1", b"2", b"3", b"4"]), lambda: next(answers))
    assert [next(stream), next(stream)] == [b"1", b"2"]
    with pytest.raises(ConnectionResetError):
        next(stream)


def test_bytes_stop_without_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of bytes breaks off when nobody can say whether the right lasts."""
    monkeypatch.setattr(present_rights, "LOOK_EVERY_S", 0)

    def ask() -> bool:
        raise CatalogueUnavailable("away")

    with pytest.raises(ConnectionResetError):
        list(while_permitted(iter([b"1"]), ask))


def test_a_short_stream_asks_nothing() -> None:
    """The right is asked at intervals, not for each chunk."""
    assert list(while_permitted(iter([b"1", b"2"]), lambda: False)) == [b"1", b"2"]
