"""Recorded calls, and assertions on their recordings."""

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
# A busy machine needs this long to start or continue a capture (0.36 s were seen at load 12); the
# gap is listed then.
FOLLOWS_WITHIN_S = 0.5
numbers = map(str, itertools.count(12025550200))
# Callers whose calls the shared service records sample by sample.
lossless_numbers = map(str, itertools.count(12025559000))
LOSSLESS_RULE = """
[[rule]]
name = "without loss"
when = 'caller.startsWith("12025559")'
action = "record"
format = "wav"
"""


def on_our_clock(at: float) -> float:
    """Return a time of day, in seconds since the epoch, on the monotonic clock."""
    return time.monotonic() - (time.time() - at)


class Talk:
    """A recorded call, and the clock of its conversation."""

    def __init__(self, service: Service, call: Call, call_id: str) -> None:
        self.service = service
        self.call = call
        self.call_id = call_id
        self.recording = service.await_recording(call_id)
        self.began = on_our_clock(datetime.fromisoformat(self.recording["started_at"]).timestamp())
        self.talked_s = 0.0

    @property
    def age_s(self) -> float:
        """Return the age of the conversation."""
        return time.monotonic() - self.began

    def talk_until(self, seconds: float) -> None:
        """Let the parties talk until the conversation is this old: only this cannot be faster."""
        time.sleep(max(0.0, seconds - self.age_s))

    def hang_up(self, by: str = "customer") -> None:
        """Hang up, and store the length of the conversation."""
        self.talked_s = self.age_s
        self.call.hang_up(by)

    def end(self, by: str = "customer") -> tuple[dict[str, Any], int, Any, float]:
        """Hang up; return the stored recording, its sample rate, its sides and the talk time."""
        self.hang_up(by)
        recording = self.service.await_state(self.recording["id"], ["stored"])
        rate, sides = read_audio(self.service.fetch_audio(recording))
        return recording, rate, sides, self.talked_s


def begin(service: Service, world: World, *, caller: str = "", **how: Any) -> Talk:
    """Let a customer call and an agent answer; return when the call is recorded."""
    number = caller or next(numbers)
    call = world.inbound(caller=number, **how)
    return Talk(service, call, service.live_call(number)["id"])


def assert_hears(side: Any, rate: int, *hz: float) -> None:
    """Assert that a side has these tones, and no other tone of the lab."""
    for one in hz:
        assert level_dbfs(side, rate, one) > PRESENT_DBFS, f"{one} Hz is missing"
    other, level = worst_other_tone(side, rate, hz)
    assert level < ABSENT_DBFS, f"{other} Hz is heard at {level:.0f} dBFS"


def assert_whole(talked_s: float, recording: dict[str, Any], rate: int, sides: Any) -> None:
    """Assert that the recording is as long as the talk, and that its metadata agree."""
    assert abs(sides.shape[1] / rate - talked_s) < DURATION_WITHIN_S
    assert recording["duration_s"] == pytest.approx(sides.shape[1] / rate, abs=0.05)
    assert_no_gap(recording)


def assert_no_gap(recording: dict[str, Any]) -> None:
    """Assert that no gap is longer than the time to start or continue a capture."""
    lengths = [gap["to_s"] - gap["from_s"] for gap in recording["gaps"]]
    assert all(length < FOLLOWS_WITHIN_S for length in lengths), recording["gaps"]


def files_of(world: World, recording_id: str) -> list[Path]:
    """Return the recording's files on the PBX's disk."""
    return [path for path in world.pbx.recordings.rglob(f"*{recording_id}*") if path.is_file()]
