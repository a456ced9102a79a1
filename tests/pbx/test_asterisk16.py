"""Calls, recordings and spies on the oldest supported Asterisk."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.ears import cut_out, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ, Leg
from lab.pbx import MUSIC_HZ
from lab.waiting import until
from lab.world import Call, World
from tests.pbx import outside
from tests.pbx.conferring import assert_taken_in, conferring
from tests.pbx.conversing import Scene
from tests.pbx.curling import curl, curl_with_header
from tests.pbx.talks import assert_hears, assert_whole, begin, numbers
from tests.pbx.watching import Watched, parts_left, watch, write_tone
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
C, S = CUSTOMER_HZ, SUPERVISOR_HZ
S2 = 1540
BARGE_S = 1.5


@pytest.fixture(scope="module")
def telephones() -> Iterator[World]:
    """Start a PBX of version 16; the far end is the usual one."""
    with World.of_suite("bullseye") as world:
        yield world


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records every conversation."""
    return start_service(record_all=True)


def test_it_is_version_16(world: World) -> None:
    """The PBX of this file's tests is version 16."""
    version = world.pbx.ari("GET", "/asterisk/info")["system"]["version"]
    assert version.startswith("16.")


def test_a_call_is_recorded(service: Service, world: World) -> None:
    """Both sides are whole, continue after a transfer, and have no word of the pause."""
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
    """Every party hears the right voices in each mode, on hold and after a transfer.

    A barging supervisor is in the recording.
    """
    watched = watch(service, world)
    recording = service.await_recording(watched.call_id)
    spy = watched.spy("listen")
    watched.part("listen")
    spy.press("5")
    spy.await_mode("whisper")
    watched.part("whisper")
    spy.switch("barge")
    watched.part("barge", BARGE_S)
    spy.press("4")
    spy.await_mode("listen")
    first = watched.call.leg("agent")
    watched.call.blind_transfer(to="2003")
    first.await_down()
    watched.call.hold()
    watched.part("hold", 1.0)
    watched.call.unhold()
    watched.part("transferred")
    spy.switch("whisper")
    watched.part("whisper again")
    watched.hang_up()
    assert spy.await_end()["cause"] == "call-ended"
    until(lambda: not parts_left(world))
    _assert_modes(watched)
    for part, *hz in (("listen", C), ("whisper", C, S), ("barge", C, S)):
        watched.assert_hears(first, part, *hz)
    for part, agent_hz in (("listen", A1), ("barge", A1), ("transferred", A3)):
        watched.assert_hears(spy.leg, part, C, agent_hz)
    watched.assert_hears(spy.leg, "hold", C)
    kept = service.await_state(recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    for side in sides:
        barged_s = sum(to_s - from_s for from_s, to_s in tone_spans(side, rate, S))
        assert BARGE_S < barged_s < BARGE_S + 2.0


def test_a_pause_of_a_conference(service: Service, world: World) -> None:
    """A pause of one member's recording makes the supervisor of another member deaf.

    A barge reaches all members, and the supervisor then hears them all.
    """
    caller = next(numbers)
    room = world.conference(caller, "2001", "2002")
    customers, agents = (service.live_call(one)["id"] for one in (caller, "2001"))
    recording = service.await_recording(customers)
    watched = Watched(service, world, Call(world), agents)
    spy = watched.spy("listen")
    watched.part("listen")
    path = f"/recordings/{recording['id']}"
    assert service.post(f"{path}/pause").json()["state"] == "paused"
    watched.part("pause")
    spy.switch("barge")
    watched.part("barge")
    assert service.post(f"{path}/resume").json()["state"] == "recording"
    spy.switch("whisper")
    watched.part("whisper")
    legs = dict(room.members)
    room.end()
    until(lambda: not parts_left(world))
    for part in ("listen", "barge", "whisper"):
        watched.assert_hears(spy.leg, part, C, A1, A2)
    watched.assert_hears(spy.leg, "pause")
    watched.assert_hears(legs[caller], "barge", A1, A2, S)
    watched.assert_hears(legs["2002"], "barge", C, A1, S)
    watched.assert_hears(legs["2001"], "whisper", C, A2, S)
    watched.assert_hears(legs[caller], "whisper", A1, A2)


def test_two_supervisors(service: Service, world: World) -> None:
    """One supervisor follows the call and one the agent, also when the watcher dies."""
    world.far.behave("9002", "answer", 0.1, write_tone(world.far_asterisk.directory / "s2.wav", S2))
    first = watch(service, world)
    of_agent, of_call = first.spy("listen", "9002", follow="agent"), first.spy("whisper")
    first.part("apart")
    before = set(service.pids_of("watch"))
    service.kill_role("watch")
    until(lambda: set(service.pids_of("watch")) - before, 30)
    of_call.press_until("6", "barge")
    first.part("barge")
    first.call.attended_transfer(to="2003")
    time.sleep(1.0)
    first.part("handed over")
    first.hang_up()
    assert of_call.await_end()["cause"] == "call-ended"
    _assert_together(first, of_call.leg)
    second = watch(service, world)
    until(lambda: of_agent.get()["call_id"] == second.call_id)
    of_agent.switch("whisper")
    second.part("next")
    assert service.delete(f"/spies/{of_agent.id}").json()["cause"] == "ended"
    second.hang_up()
    first.assert_hears(of_agent.leg, "apart", C, A1)
    first.assert_hears(of_agent.leg, "barge", C, A1, S)
    second.assert_hears(of_agent.leg, "next", C, A1)
    second.assert_hears(second.call.leg("agent"), "next", C, S2)
    second.assert_hears(second.call.leg("customer"), "next", A1)
    until(lambda: not parts_left(world))
    world.far.behave("9002", "answer", 0.1, None)


def _assert_together(watched: Watched, supervisor: Leg) -> None:
    """Assert the voices of each part, with two supervisors and after the transfer with one."""
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for part, agent_hz in (("apart", A1), ("barge", A1), ("handed over", A3)):
        watched.assert_hears(supervisor, part, C, agent_hz)
    watched.assert_hears(customer, "apart", A1)
    watched.assert_hears(customer, "barge", A1, S)
    watched.assert_hears(customer, "handed over", A3, S)
    watched.assert_hears(agent, "handed over", C, S)


def _assert_modes(watched: Watched) -> None:
    """Assert the voices that the customer and the last agent heard in each part."""
    customer, agent = watched.call.leg("customer"), watched.call.leg("2003")
    for part, hz in (("listen", A1), ("whisper", A1), ("transferred", A3), ("whisper again", A3)):
        watched.assert_hears(customer, part, hz)
    watched.assert_hears(customer, "barge", A1, S)
    watched.assert_hears(customer, "hold", MUSIC_HZ)
    watched.assert_hears(agent, "transferred", C)
    watched.assert_hears(agent, "whisper again", C, S)


def test_a_supervisors_phone_leads_nowhere(service: Service, world: World) -> None:
    """A blind transfer of a listening phone is refused, and an attended one is hung up at once."""
    watched, spy = outside.begin(service, world, 1)
    outside.try_blind_transfer(watched, spy)
    stranger = outside.transfer_attended(watched, spy)
    outside.assert_expelled(watched, spy)
    outside.assert_heard_nothing(stranger)
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_call_is_taken_into_a_conference(service: Service, world: World) -> None:
    """A live call goes on in a conference without a missing second, and a colleague joins."""
    with conferring(service) as rooms:
        assert_taken_in(Scene(service, world), rooms)


def test_a_dialplan_asks_by_curl(service: Service, world: World) -> None:
    """The token of a dialplan works as user, password or parameter of the URL, and in a header."""
    token, room = service.dialplan_token(), {"name": "curled"}
    assert curl(service, world, "conference", do="open", **room).startswith("error: not-auth")
    opened = curl(service, world, "conference", login=f"{token}@", do="open", **room)
    assert opened.startswith("ok: open ")
    locked = curl_with_header(service, world, token, "conference", do="lock", **room)
    assert locked == opened
    login = f"pbx:{token}@"
    assert curl(service, world, "conference", login=login, do="unlock", **room) == opened
    ended = curl(service, world, "conference", token=token, do="end", **room)
    assert ended == opened.replace("open", "ended")
