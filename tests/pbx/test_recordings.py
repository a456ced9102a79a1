"""Real calls through a real Asterisk: what is stored holds the right voice, side and time."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.ears import level_dbfs, read_audio, tone_spans, worst_other_tone
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.world import Call, World
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
PRESENT_DBFS, ABSENT_DBFS = -25.0, -60.0
SIDES_WITHIN_S, DURATION_WITHIN_S = 0.02, 0.3
_numbers = itertools.count(12025550200)


@pytest.fixture(scope="module")
def service(telephones: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service; it records every conversation."""
    one = Service(tmp_path_factory.mktemp("service"), telephones.pbx, record_all=True)
    one.start()
    yield one
    assert one.stop() == 0


class Talk:
    """A call that is being recorded, and the clock of its conversation."""

    def __init__(self, service: Service, call: Call, call_id: str) -> None:
        self.service = service
        self.call = call
        self.call_id = call_id
        self.recording = service.await_recording(call_id)
        self.began = time.monotonic()

    def talk_until(self, seconds: float) -> None:
        """Let them talk until the conversation is this old."""
        time.sleep(max(0.0, self.began + seconds - time.monotonic()))

    def end(self, by: str = "customer") -> tuple[dict[str, Any], int, Any, float]:
        """Hang up; the stored recording, its sample rate, its sides and the talk time."""
        talked_s = time.monotonic() - self.began
        self.call.hang_up(by)
        recording = self.service.await_state(self.recording["id"], ["stored"])
        rate, sides = read_audio(self.service.fetch_audio(recording))
        return recording, rate, sides, talked_s


def begin(service: Service, world: World, **how: Any) -> Talk:
    number = str(next(_numbers))
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
    assert recording["gaps"] == []


def bounds(side: Any, rate: int, hz: float) -> tuple[float, float]:
    """When a tone is first and last heard."""
    spans = tone_spans(side, rate, hz)
    return spans[0][0], spans[-1][1]


def test_inbound(service: Service, world: World) -> None:
    """The customer is on the left, the agent on the right, from the first to the last word."""
    talk = begin(service, world)
    talk.talk_until(6)
    recording, rate, sides, talked_s = talk.end()
    assert_whole(talked_s, recording, rate, sides)
    assert_hears(sides[0], rate, CUSTOMER_HZ)
    assert_hears(sides[1], rate, A1)
    left, right = bounds(sides[0], rate, CUSTOMER_HZ), bounds(sides[1], rate, A1)
    assert left[1] - left[0] > 5.5
    assert right[1] - right[0] > 5.5
    assert recording["direction"] == "inbound"
    assert recording["did"] == "3000"
    assert recording["agent"] == "2001"
    assert recording["media"]["channels"] == 2
