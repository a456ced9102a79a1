"""Calls that are being recorded, and what must be heard of them afterwards."""

import itertools
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab.ears import level_dbfs, read_audio, worst_other_tone
from lab.world import Call, World
from tests.service import Service

PRESENT_DBFS, ABSENT_DBFS = -25.0, -60.0
DURATION_WITHIN_S = 0.3
# To begin and to follow takes a busy machine so long; what is missing then is told.
FOLLOWS_WITHIN_S = 0.3
numbers = map(str, itertools.count(12025550200))


def on_our_clock(at: float) -> float:
    """A time of day, in seconds since the epoch, on the monotonic clock."""
    return time.monotonic() - (time.time() - at)


class Talk:
    """A call that is being recorded, and the clock of its conversation."""

    def __init__(self, service: Service, call: Call, call_id: str) -> None:
        self.service = service
        self.call = call
        self.call_id = call_id
        self.recording = service.await_recording(call_id)
        self.began = on_our_clock(datetime.fromisoformat(self.recording["started_at"]).timestamp())
        self.talked_s = 0.0

    @property
    def age_s(self) -> float:
        """How long they have been talking."""
        return time.monotonic() - self.began

    def talk_until(self, seconds: float) -> None:
        """Let them talk until the conversation is this old: the one thing that takes its time."""
        time.sleep(max(0.0, seconds - self.age_s))

    def hang_up(self, by: str = "customer") -> None:
        """The conversation is over."""
        self.talked_s = self.age_s
        self.call.hang_up(by)

    def end(self, by: str = "customer") -> tuple[dict[str, Any], int, Any, float]:
        """Hang up; the stored recording, its sample rate, its sides and the talk time."""
        self.hang_up(by)
        recording = self.service.await_state(self.recording["id"], ["stored"])
        rate, sides = read_audio(self.service.fetch_audio(recording))
        return recording, rate, sides, self.talked_s


def begin(service: Service, world: World, **how: Any) -> Talk:
    """A customer calls, an agent answers, and they are recorded."""
    number = next(numbers)
    call = world.inbound(caller=number, **how)
    return Talk(service, call, service.live_call(number)["id"])


def assert_hears(side: Any, rate: int, *hz: float) -> None:
    """These tones are there, and no other of the lab's."""
    for one in hz:
        assert level_dbfs(side, rate, one) > PRESENT_DBFS, f"{one} Hz is missing"
    other, level = worst_other_tone(side, rate, hz)
    assert level < ABSENT_DBFS, f"{other} Hz is heard at {level:.0f} dBFS"


def assert_whole(talked_s: float, recording: dict[str, Any], rate: int, sides: Any) -> None:
    """The recording lasts as long as the talk, and says so."""
    assert abs(sides.shape[1] / rate - talked_s) < DURATION_WITHIN_S
    assert recording["duration_s"] == pytest.approx(sides.shape[1] / rate, abs=0.05)
    assert_no_gap(recording)


def assert_no_gap(recording: dict[str, Any]) -> None:
    """Nothing is missing but what it takes to follow."""
    lengths = [gap["to_s"] - gap["from_s"] for gap in recording["gaps"]]
    assert all(length < FOLLOWS_WITHIN_S for length in lengths), recording["gaps"]


def files_of(world: World, recording_id: str) -> list[Path]:
    """The recording's files on the PBX's disk."""
    return [path for path in world.pbx.recordings.rglob(f"*{recording_id}*") if path.is_file()]
