"""Lanes: work on one call runs in order, and only the newest record of a call is handled."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from recorder.watch.lanes import Coalescer, Interval, Lanes
from storage.records import CallRecord

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Yield lanes that are closed after the test."""
    made = Lanes("test")
    yield made
    made.close()


def call(id_: str, state: str = "ringing") -> CallRecord:
    """Return a call in this state."""
    return CallRecord(id=id_, pbx="main", state=state, direction="inbound", started_at=AT)


def test_only_the_newest_record_of_a_call_is_handled(lanes: Lanes) -> None:
    """While a lane is busy, a call that is submitted twice waits once, with its newest record."""
    handled: list[Sequence[CallRecord]] = []
    busy, done = threading.Event(), threading.Event()
    coalescer = Coalescer(lanes, handled.append)
    lanes.submit("main-1", busy.wait)
    coalescer.submit([call("main-1")])
    coalescer.submit([call("main-1", "up")])
    lanes.submit("main-1", done.set)
    busy.set()
    assert done.wait(5)
    assert [[one.state for one in records] for records in handled] == [["up"]]


def test_work_that_follows_sees_every_record(lanes: Lanes) -> None:
    """A record that arrives during an evaluation is evaluated, and applied after that."""
    order: list[tuple[str, str]] = []
    evaluating, changed, done = threading.Event(), threading.Event(), threading.Event()

    def evaluate(records: Sequence[CallRecord]) -> None:
        order.extend(("evaluate", one.state) for one in records)
        evaluating.set()
        assert changed.wait(5)

    def apply(records: Sequence[CallRecord]) -> None:
        order.extend(("apply", one.state) for one in records)

    evaluations = Coalescer(lanes, evaluate)
    for state in ("ringing", "up"):
        evaluations.submit([call("main-1", state)])
        lanes.submit_calls(apply, [call("main-1", state)])
        assert evaluating.wait(5)
    changed.set()
    lanes.submit("main-1", done.set)
    assert done.wait(5)
    assert order == [
        ("evaluate", "ringing"),
        ("apply", "ringing"),
        ("evaluate", "up"),
        ("apply", "up"),
    ]


def test_one_submission_for_all_calls_of_a_lane(lanes: Lanes) -> None:
    """The calls of one lane come together, and calls of different lanes apart."""
    handled: list[list[str]] = []
    ids = [f"main-{number}" for number in range(20)]
    lanes.submit_calls(
        lambda records: handled.append([one.id for one in records]), [call(id_) for id_ in ids]
    )
    for number in range(20):
        done = threading.Event()
        lanes.submit(f"main-{number}", done.set)
        assert done.wait(5)
    together = [{Lanes.number_of(id_) for id_ in group} for group in handled]
    assert all(len(numbers) == 1 for numbers in together)
    assert len(handled) == len({Lanes.number_of(id_) for id_ in ids})
    assert sorted(id_ for group in handled for id_ in group) == sorted(ids)


def test_a_failure_stops_no_lane(lanes: Lanes) -> None:
    """After a failure the lane goes on with its next work."""
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError

    lanes.submit("main-1", fail)
    lanes.submit("main-1", done.set)
    assert done.wait(5)


def test_closed_lanes_take_no_work() -> None:
    """After `close` a submission returns False, and its work never runs."""
    lanes, ran = Lanes("test"), threading.Event()
    assert lanes.submit("main-1", lambda: None)
    lanes.close()
    assert not lanes.submit("main-1", ran.set)
    assert not ran.is_set()


def test_an_interval_is_due_once_its_seconds_have_passed() -> None:
    """An interval of 5 seconds, asked every 2 seconds, is due at the third question only."""
    now = [100.0]
    interval = Interval(5.0, clock=lambda: now[0])
    due = []
    for _ in range(6):
        due.append(interval.is_due())
        now[0] += 2.0
    assert due == [False, False, False, True, False, False]
