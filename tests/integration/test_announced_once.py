"""A call that is announced gets one recording, even if it is considered again meanwhile."""

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call

from lab.waiting import until
from recorder.recording.announce import Announcer
from recorder.recording.decisions import Decisions
from recorder.recording.fact_reader import FactReader
from recorder.rules.book import RuleBook
from recorder.watch.lanes import Lanes
from storage.catalogue import calls
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, RuleRecord
from tests.legs import leg

RULE = RuleRecord(
    id="r",
    version=1,
    name="told",
    when="",
    action="record",
    priority=1,
    origin="api",
    announcement="sound:told",
)


class Sounds:
    """Sounds that end when the test says so."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.heard: list[str] = []

    def play(self, channel_ids: Collection[str], _: object) -> bool:
        self.heard.extend(channel_ids)
        return self.may_end.wait(10)

    def submit(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()


class Capture:
    """Recordings that start when the test says so."""

    def __init__(self) -> None:
        self.started_in: list[str] = []
        self.may_start = threading.Event()

    def start(self, call_id: str, **_: Any) -> None:
        self.started_in.append(threading.current_thread().name)
        assert self.may_start.wait(10)


@dataclass
class Scene:
    """An answered call, decided to be announced and recorded."""

    catalogue: Catalogue
    call: CallRecord
    sounds: Sounds = field(default_factory=Sounds)
    capture: Capture = field(default_factory=Capture)
    lanes: Lanes = field(default_factory=lambda: Lanes("lane"))

    def __post_init__(self) -> None:
        parts: dict[str, Any] = {"sounds": self.sounds, "capture": self.capture, "client": None}
        self.announcer = Announcer(self.catalogue, parts["sounds"], self.lanes.submit)
        facts = FactReader(self.catalogue, parts["client"])
        book = RuleBook(self.catalogue, (RULE,), "never")
        self.decisions = Decisions(self.catalogue, facts, book, self.announcer, parts["capture"])
        self.decisions.evaluate([self.call])

    def apply(self) -> bool:
        """Take the next step for the call. Return whether nothing is left to do."""
        return self.decisions.apply_decision(self.call)


@pytest.fixture
def scene(catalogue: Catalogue) -> Iterator[Scene]:
    """Yield a scene whose sounds and recordings end with the test."""
    legs = (leg("1", party="customer", bridge_id="b"), leg("2", bridge_id="b"))
    call = build_call(id=f"main-{uuid4()}", state="up", channels=legs)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
    made = Scene(catalogue, call)
    yield made
    made.sounds.may_end.set()
    made.capture.may_start.set()
    made.lanes.close()


def test_an_announced_recording_starts_once(scene: Scene) -> None:
    """A call that is considered while its announcement plays gets one announcement, one start."""
    assert not scene.apply()
    until(lambda: scene.sounds.heard == ["1"])
    assert not scene.apply()
    scene.sounds.may_end.set()
    until(lambda: len(scene.capture.started_in) == 1)
    for _ in range(3):
        assert not scene.apply()
    scene.capture.may_start.set()
    until(lambda: not scene.announcer.is_announcing(scene.call.id))
    assert scene.sounds.heard == ["1"]
    assert len(scene.capture.started_in) == 1


def test_an_announced_recording_starts_in_the_lane_of_its_call(scene: Scene) -> None:
    """The recording starts in the call's lane, after the work that the lane has already."""
    busy = threading.Event()
    scene.lanes.submit(scene.call.id, busy.wait)
    assert not scene.apply()
    scene.sounds.may_end.set()
    until(lambda: scene.sounds.heard == ["1"])
    assert scene.capture.started_in == []
    assert scene.announcer.is_announcing(scene.call.id)
    busy.set()
    until(lambda: len(scene.capture.started_in) == 1)
    number = Lanes.number_of(scene.call.id)
    assert scene.capture.started_in[0].startswith(f"lane-{number}_")


def test_an_announcement_that_outlives_its_lanes_starts_the_recording(scene: Scene) -> None:
    """A watcher that stops during an announcement still starts the recording after it."""
    assert not scene.apply()
    until(lambda: scene.sounds.heard == ["1"])
    scene.lanes.close()
    scene.capture.may_start.set()
    scene.sounds.may_end.set()
    until(lambda: not scene.announcer.is_announcing(scene.call.id))
    assert len(scene.capture.started_in) == 1
