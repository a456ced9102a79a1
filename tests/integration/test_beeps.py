"""Beeps remind the parties, at the interval of each recording, while it captures."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call, build_recording
from uuid_utils.compat import uuid7

from recorder.recording.beeps import Beeps
from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.records import RecordingState
from tests.legs import leg


class Sounds:
    """Sounds that note the channels that hear them."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    def play_soon(self, channel_ids: Collection[str], _: object) -> None:
        """Note the channels."""
        self.heard.append(list(channel_ids))


def record(
    catalogue: Catalogue, pbx: str, every_s: int, state: RecordingState = "recording"
) -> None:
    """Add a recording of a call with two parties, a phone that rings and a party that left."""
    legs = (leg("c"), leg("a"), leg("r", joined=False, state="Ring"), leg("g", left=True))
    call = build_call(id=f"{pbx}-{uuid4()}", pbx=pbx, channels=legs)
    made = build_recording(id=uuid7(), call_id=call.id, pbx=pbx, state=state)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        recordings.create_recording(tx, replace(made, beep_every_s=every_s))


@pytest.mark.parametrize(
    ("every_s", "state", "beeps"),
    [(15, "recording", 3), (30, "recording", 2), (15, "paused", 0), (0, "recording", 0)],
)
def test_beeps_come_at_their_interval(
    catalogue: Catalogue, every_s: int, state: RecordingState, beeps: int
) -> None:
    """In 30 seconds a recording beeps at once and at each interval; none while it is paused."""
    pbx, now = f"pbx{uuid4().hex}", [100.0]
    sounds: Any = Sounds()
    clock = Beeps(catalogue, sounds, clock=lambda: now[0])
    record(catalogue, pbx, every_s, state)
    for _ in range(31):
        clock.play_due(pbx)
        now[0] += 1
    assert sounds.heard == [["a", "c"]] * beeps
