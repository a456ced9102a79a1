"""Threads for the work on calls: in order for one call, side by side for different calls.

    lanes.submit("main-1.0", capture.settle, recording_id)

A *lane* is one thread. The key (a call's id, most often) chooses the lane, so two pieces of work
with the same key never run at the same time, and run in the order in which they were submitted.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any
from uuid import UUID
from zlib import crc32

import structlog

from storage.catalogue import recordings
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import CallRecord

log = structlog.get_logger()

LANES = 8
MOST_RECORDINGS = 50_000

Work = Callable[..., object]
CallsWork = Callable[[Sequence[CallRecord]], object]


class Lanes:
    """A fixed number of threads, each with its own queue of work."""

    def __init__(self, name: str) -> None:
        self._lanes = [ThreadPoolExecutor(1, f"{name}-{number}") for number in range(LANES)]

    def submit(self, key: str, work: Work, *arguments: Any) -> bool:
        """Queue the work on the lane of this key. Return False once the lanes are closed.

        A failure is logged, and the lane goes on with its next work.
        """
        try:
            self._lanes[self.number_of(key)].submit(_run, work, *arguments)
        except RuntimeError:  # `close` was called
            return False
        return True

    def submit_calls(self, work: CallsWork, records: Iterable[CallRecord]) -> None:
        """Queue the work for calls: once for each lane, with all calls of this lane."""
        of_lane: dict[int, list[CallRecord]] = {}
        for record in records:
            of_lane.setdefault(self.number_of(record.id), []).append(record)
        for together in of_lane.values():
            self.submit(together[0].id, work, together)

    @staticmethod
    def number_of(key: str) -> int:
        """Return the number of the lane that does the work of this key."""
        return crc32(key.encode()) % LANES

    def close(self) -> None:
        """Finish the work that is running and drop the queued work."""
        for lane in self._lanes:
            lane.shutdown(wait=True, cancel_futures=True)


def _run(work: Work, *arguments: Any) -> None:
    try:
        work(*arguments)
    except EarwitnessError as error:
        log.warning("watch.postponed", error=str(error))
    except Exception:
        log.exception("watch.failed")


class Coalescer:
    """Calls that wait for one kind of work: only the newest record of each call.

    One run in a lane handles all calls that wait for this lane, so a busy lane catches up. Work
    that must come after this one is submitted with its own records. They may be older than the
    records of this run, never newer.
    """

    def __init__(self, lanes: Lanes, work: CallsWork) -> None:
        self._lanes = lanes
        self._work = work
        self._waiting: dict[str, CallRecord] = {}
        self._lock = threading.Lock()

    def submit(self, records: Iterable[CallRecord]) -> None:
        """Queue the work for these calls, in order with the other work of their lanes."""
        wanted = tuple(records)
        with self._lock:
            self._waiting |= {record.id: record for record in wanted}
        self._lanes.submit_calls(self._run_waiting, wanted)

    def _run_waiting(self, records: Sequence[CallRecord]) -> None:
        lane = self._lanes.number_of(records[0].id)
        with self._lock:
            ids = [call_id for call_id in self._waiting if self._lanes.number_of(call_id) == lane]
            newest = [self._waiting.pop(call_id) for call_id in ids]
        if newest:
            self._work(newest)


def build_recording_keys(catalogue: Catalogue) -> Callable[[UUID], str | None]:
    """Return a function that returns the key of a recording's work: the id of its call.

    It returns None for a recording that our catalogue does not have.

    The rules of a call are evaluated in the same lane, before its recordings are settled.
    """

    @lru_cache(MOST_RECORDINGS)
    def key_of_recording(recording_id: UUID) -> str | None:
        with catalogue.begin() as tx:
            found = recordings.find_recording(tx, recording_id)
        return found.call_id if found is not None else None

    return key_of_recording


class Interval:
    """A clock for work that repeats. Setting the system's clock does not disturb it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = clock()

    def is_due(self) -> bool:
        """Whether the interval has passed since this method last returned True."""
        now = self._clock()
        due = now - self._last >= self._seconds
        if due:
            self._last = now
        return due
