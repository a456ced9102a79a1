"""The oldest Asterisk that is supported: what it does with calls, recordings and spies."""

from collections.abc import Callable, Iterator

import pytest

from lab.ears import cut_out, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import assert_hears, assert_whole, begin
from tests.pbx.watching import Watched, parts_left, watch
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A3 = AGENT_HZ["2001"], AGENT_HZ["2003"]
C, S = CUSTOMER_HZ, SUPERVISOR_HZ
BARGE_S = 1.5


@pytest.fixture(scope="module")
def telephones() -> Iterator[World]:
    """A PBX of version 16; the far end is the usual one."""
    oldest = ensure_root(root_directory("bullseye"), "bullseye")
    with World(oldest, far_root=ensure_root(root_directory())) as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """A service that records every conversation."""
    return start_service(record_all=True)


def test_it_is_version_16(world: World) -> None:
    """The tests of this file are about what they say."""
    version = world.pbx.ari("GET", "/asterisk/info")["system"]["version"]
    assert version.startswith("16.")


def test_a_call_is_recorded(service: Service, world: World) -> None:
    """Both sides are whole, without what was said in a pause, and go on after a transfer."""
    talk = begin(service, world)
    talk.talk_until(2)
    path = f"/recordings/{talk.recording['id']}"
    assert service.post(f"{path}/pause").json()["state"] == "paused"
    talk.talk_until(4)
    assert service.post(f"{path}/resume").json()["state"] == "recording"
    talk.talk_until(6)
    talk.call.blind_transfer(to="2003")
    transferred_s = talk.age_s
    talk.talk_until(transferred_s + 2)
    recording, rate, sides, talked_s = talk.end()
    assert_whole(talked_s, recording, rate, sides)
    for from_s, to_s, agent in ((0.5, 1.8, A1), (4.3, 5.8, A1)):
        assert_hears(cut_out(sides[0], rate, from_s, to_s), rate, C)
        assert_hears(cut_out(sides[1], rate, from_s, to_s), rate, agent)
    assert_hears(cut_out(sides[0], rate, 2.3, 3.8), rate)
    assert_hears(cut_out(sides[1], rate, 2.3, 3.8), rate)
    assert_hears(cut_out(sides[1], rate, transferred_s + 0.5, talked_s - 0.3), rate, A3)
    assert recording["agent"] == "2003"
    assert world.pbx.ari("GET", "/channels") == []


def test_a_supervisor_on_a_phone(service: Service, world: World) -> None:
    """Who hears whom is right in every mode, also after a transfer; a barge alone is recorded."""
    watched = watch(service, world)
    recording = service.await_recording(watched.call_id)
    spy = watched.spy("listen")
    watched.part("listen")
    spy.press("5")
    spy.await_mode("whisper")
    watched.part("whisper")
    spy.switch("barge")
    watched.part("barge", BARGE_S)
    spy.switch("listen")
    watched.call.blind_transfer(to="2003")
    watched.part("transferred")
    spy.switch("whisper")
    watched.part("whisper again")
    watched.hang_up()
    assert spy.await_end()["cause"] == "call-ended"
    until(lambda: not parts_left(world))
    _assert_modes(watched)
    for part, agent_hz in (("listen", A1), ("barge", A1), ("transferred", A3)):
        watched.assert_hears(spy.leg, part, C, agent_hz)
    kept = service.await_state(recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    for side in sides:
        barged_s = sum(to_s - from_s for from_s, to_s in tone_spans(side, rate, S))
        assert BARGE_S < barged_s < BARGE_S + 1.0


def _assert_modes(watched: Watched) -> None:
    """What the customer heard, and the agent who was there at the end."""
    customer, agent = watched.call.leg("customer"), watched.call.leg("2003")
    for part, hz in (("listen", A1), ("whisper", A1), ("transferred", A3), ("whisper again", A3)):
        watched.assert_hears(customer, part, hz)
    watched.assert_hears(customer, "barge", A1, S)
    watched.assert_hears(agent, "transferred", C)
    watched.assert_hears(agent, "whisper again", C, S)
