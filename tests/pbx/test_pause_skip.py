"""A service that cuts pauses out, mixes both sides and keeps plain WAV."""

import time
from collections.abc import Callable

import pytest

from lab.ears import read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.world import World
from tests.pbx.talks import assert_hears, assert_no_gap, begin
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A3 = AGENT_HZ["2001"], AGENT_HZ["2003"]


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service with settings that are not the defaults."""
    return start_service(record_all=True, pause="skip", layout="mono", format="wav")


def test_a_pause_is_cut_out(service: Service, world: World) -> None:
    """The paused span takes no time in the file; the metadata have its place."""
    talk = begin(service, world)
    path = f"/recordings/{talk.recording['id']}"
    talk.talk_until(2)
    assert service.post(f"{path}/pause").ok
    talk.talk_until(4)
    assert service.post(f"{path}/resume").ok
    talk.talk_until(6)
    recording, rate, (mixed,), talked_s = talk.end()
    assert len(mixed) / rate == pytest.approx(talked_s - 2, abs=0.3)
    assert_hears(mixed, rate, CUSTOMER_HZ, A1)
    assert recording["duration_s"] == pytest.approx(len(mixed) / rate, abs=0.05)
    assert recording["media"]["channels"] == 1
    assert recording["media"]["content_type"] == "audio/wav"
    (pause,) = recording["pauses"]
    assert (pause["from_s"], pause["to_s"]) == pytest.approx((2.0, 4.0), abs=0.3)


def test_a_pause_travels_through_a_transfer(service: Service, world: World) -> None:
    """After the transfer of a paused call, the new agent is not recorded until the pause ends."""
    talk = begin(service, world)
    path = f"/recordings/{talk.recording['id']}"
    talk.talk_until(2)
    assert service.post(f"{path}/pause").ok
    talk.call.blind_transfer(to="2003")
    time.sleep(1.5)
    assert not [c for c in world.pbx.ari("GET", "/channels") if c["name"].startswith("Snoop/")]
    paused_s = talk.age_s - 2
    assert service.post(f"{path}/resume").ok
    talk.talk_until(talk.age_s + 2)
    recording, rate, (mixed,), talked_s = talk.end()
    assert len(mixed) / rate == pytest.approx(talked_s - paused_s, abs=0.4)
    assert_hears(mixed, rate, CUSTOMER_HZ, A1, A3)
    assert recording["agent"] == "2003"


def test_a_call_that_ends_while_paused(service: Service, world: World) -> None:
    """A hang-up during a pause keeps the audio before it, and the pause has an end."""
    talk = begin(service, world)
    talk.talk_until(2)
    assert service.post(f"/recordings/{talk.recording['id']}/pause").ok
    talk.talk_until(4)
    talk.hang_up()
    recording = service.await_state(talk.recording["id"], ["stored"])
    rate, (mixed,) = read_audio(service.fetch_audio(recording))
    assert len(mixed) / rate == pytest.approx(2.0, abs=0.3)
    assert recording["pauses"][0]["to_s"] is not None
    assert_no_gap(recording)
