"""Work on calls in lanes: what is done with a call comes after what was asked about it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from recorder.errors import PbxUnavailable
from recorder.watch.session import Lanes, Newest, _Session
from storage.records import CallRecord

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Lanes whose work is finished at the end."""
    made = Lanes("test")
    yield made
    made.close()


def call(id_: str, state: str = "ringing") -> CallRecord:
    """A call in this state."""
    return CallRecord(id=id_, pbx="main", state=state, direction="inbound", started_at=AT)


def test_the_newest_of_each_at_once(lanes: Lanes) -> None:
    """While a lane is busy calls gather; each is taken once, as it was last."""
    taken: list[Sequence[CallRecord]] = []
    busy, done = threading.Event(), threading.Event()
    newest = Newest(lanes, taken.append)
    lanes.submit("main-1", busy.wait)
    newest.submit([call("main-1")])
    newest.submit([call("main-1", "up")])
    lanes.submit("main-1", done.set)
    busy.set()
    assert done.wait(5)
    assert [[one.state for one in some] for some in taken] == [["up"]]


def test_what_follows_is_never_forgotten(lanes: Lanes) -> None:
    """A change that comes while a call is asked about is obeyed after it was asked about, too."""
    done_with: list[tuple[str, str]] = []
    asking, changed, done = threading.Event(), threading.Event(), threading.Event()

    def ask(records: Sequence[CallRecord]) -> None:
        done_with.extend(("ask", one.state) for one in records)
        asking.set()
        assert changed.wait(5)

    def obey(records: Sequence[CallRecord]) -> None:
        done_with.extend(("obey", one.state) for one in records)

    asked = Newest(lanes, ask)
    for state in ("ringing", "up"):
        asked.submit([call("main-1", state)])
        lanes.submit_each(obey, [call("main-1", state)])
        assert asking.wait(5)
    changed.set()
    lanes.submit("main-1", done.set)
    assert done.wait(5)
    assert done_with == [("ask", "ringing"), ("obey", "ringing"), ("ask", "up"), ("obey", "up")]


def test_failures_stop_nothing(lanes: Lanes) -> None:
    """What fails is logged, and the lane goes on."""
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError

    lanes.submit("main-1", fail)
    lanes.submit("main-1", done.set)
    assert done.wait(5)


def test_spies_are_checked_until_it_succeeds(monkeypatch: pytest.MonkeyPatch, lanes: Lanes) -> None:
    """Once the last spy has ended, a check that failed is made again, and then no more."""
    monkeypatch.setattr("recorder.watch.session.spies.list_live_spies", lambda *_: ())
    outcomes = iter([PbxUnavailable("no answer"), None])

    def check(_: str) -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    session = _Session.__new__(_Session)
    session._name, session._lanes, session._had_spies = "main", lanes, True
    session._catalogue = SimpleNamespace(begin=nullcontext)  # type: ignore[assignment]
    session._spies = SimpleNamespace(check=check)  # type: ignore[assignment]
    for is_asked in (True, True, False):
        assert session._had_spies is is_asked
        session._check_spies()
        done = threading.Event()
        lanes.submit("main", done.set)
        assert done.wait(5)
    assert next(outcomes, "none") == "none"
