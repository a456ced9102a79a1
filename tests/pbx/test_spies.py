"""Supervisors on phones, by ear: every mode, through hold, transfer, queue and crashes."""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from uuid import UUID, uuid4

import pytest

from earwitness.config import load_config
from earwitness.wiring import Wiring
from lab.ears import cut_out, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import DID_IVR, DID_QUEUE, MUSIC_HZ
from lab.waiting import until
from lab.world import Manner, World
from recorder import names
from tests.pbx.talks import ABSENT_DBFS, assert_no_gap, numbers
from tests.pbx.watching import (
    Watched,
    assert_tones,
    parts_left,
    watch,
    watch_outbound,
    write_tone,
)
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
C, S = CUSTOMER_HZ, SUPERVISOR_HZ
S2 = 1540

# The limit for the quickest switch, and for the median on a busy machine.
SWITCHED_WITHIN_S, MOSTLY_WITHIN_S = 0.1, 0.3
FIRST_SOUND_WITHIN_S = 1.0
# A late packet may cost this much, and a busy machine is late now and then. A new bridge or a new
# snoop costs more, each time.
BREAK_S, BROKEN_S, MOST_BREAKS = 0.045, 0.15, 2


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


@pytest.mark.parametrize("begin", [watch, watch_outbound])
def test_each_mode_reaches_the_right_parties(
    service: Service, world: World, begin: Callable[[Service, World], Watched]
) -> None:
    """Listening is silent, a whisper reaches the agent alone, a barge reaches everybody."""
    watched = begin(service, world)
    watched.part("before")
    spy = watched.spy("listen")
    watched.part("listen")
    for name, mode in (("whisper", "whisper"), ("barge", "barge"), ("back", "whisper")):
        spy.switch(mode)
        watched.part(name)
    spy.switch("listen")
    watched.part("again")
    watched.hang_up()
    assert spy.await_end()["cause"] == "call-ended"
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for name in ("before", "listen", "whisper", "back", "again"):
        watched.assert_hears(customer, name, A1)
    watched.assert_hears(customer, "barge", A1, S)
    for name in ("before", "listen", "again"):
        watched.assert_hears(agent, name, C)
    for name in ("whisper", "barge", "back"):
        watched.assert_hears(agent, name, C, S)
    for name in ("listen", "whisper", "barge", "back", "again"):
        watched.assert_hears(spy.leg, name, C, A1)
    until(lambda: not parts_left(world))


def test_keys(service: Service, world: World) -> None:
    """4, 5 and 6 on the supervisor's phone switch, 0 ends; nobody hears the keys."""
    watched = watch(service, world)
    spy = watched.spy("listen")
    for key, mode in (("5", "whisper"), ("6", "barge"), ("4", "listen")):
        spy.press(key)
        spy.await_mode(mode)
        watched.part(mode, 1.0)
    spy.press("0")
    assert spy.await_end()["cause"] == "ended"
    until(lambda: not parts_left(world))
    watched.part("after", 1.0)
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(agent, "whisper", C, S)
    watched.assert_hears(customer, "whisper", A1)
    watched.assert_hears(customer, "barge", A1, S)
    watched.assert_hears(agent, "listen", C)
    watched.assert_hears(agent, "after", C)


def test_a_switch_is_quick_and_seamless(service: Service, world: World) -> None:
    """The agent hears the switch within 100 ms, and nobody's audio breaks meanwhile."""
    watched = watch(service, world)
    spy = watched.spy("listen")
    switched_at, began = [], time.monotonic()
    for _ in range(5):
        time.sleep(0.6)
        switched_at.append(time.monotonic())
        spy.switch("whisper")
        time.sleep(0.6)
        spy.switch("barge")
        time.sleep(0.6)
        spy.switch("listen")
    watched.hang_up()
    heard_at = watched.onsets(watched.call.leg("agent"), S)
    lags = [heard - at for heard, at in zip(heard_at, switched_at, strict=True)]
    assert min(lags) < SWITCHED_WITHIN_S, lags
    assert statistics.median(lags) < MOSTLY_WITHIN_S, lags
    silent = ((spy.leg, C), (spy.leg, A1), (watched.call.leg("customer"), A1))
    for leg, hz in (*silent, (watched.call.leg("agent"), C)):
        breaks = watched.breaks(leg, hz, began)
        assert max(breaks, default=0.0) < BROKEN_S, (leg.party, breaks)
        assert len([one for one in breaks if one >= BREAK_S]) <= MOST_BREAKS, (leg.party, breaks)


def test_the_first_sound(service: Service, world: World) -> None:
    """Once the supervisor answers, the call is heard at once."""
    watched = watch(service, world)
    spy = watched.spy("listen")
    watched.part("listen", 1.0)
    watched.hang_up()
    rate, (samples,) = read_audio(spy.leg.heard())
    assert tone_spans(samples, rate, C)[0][0] < FIRST_SOUND_WITHIN_S


@pytest.mark.parametrize("who", ["customer", "agent", "supervisor"])
def test_every_party_can_end_a_spy(service: Service, world: World, who: str) -> None:
    """A spy says why it ended, and leaves nothing on the PBX."""
    watched = watch(service, world)
    spy = watched.spy("barge")
    if who == "supervisor":
        spy.leg.hang_up()
        assert spy.await_end()["cause"] == "hung-up"
        assert watched.call.is_up()
        until(lambda: not parts_left(world))
    watched.hang_up("customer" if who == "supervisor" else who)
    if who != "supervisor":
        assert spy.await_end()["cause"] == "call-ended"
    spy.leg.await_down()
    until(lambda: not parts_left(world))
    (span,) = spy.get()["heard"]
    assert span["to"] is not None


def test_a_withdrawn_right_ends_the_spy(service: Service, world: World) -> None:
    """A supervisor whose token is revoked is hung up at once, and the call goes on."""
    made = service.post("/tokens", {"name": f"ear-{uuid4()}", "role": "supervisor"}).json()
    watched = watch(service, world)
    watched.service = service.as_holder_of(made["token"])
    spy = watched.spy("listen")
    assert service.delete(f"/tokens/{made['id']}").status_code == 204
    assert service.get(f"/spies/{spy.id}")["cause"] == "not-permitted"
    spy.leg.await_down()
    until(lambda: not parts_left(world))
    assert watched.call.is_up()
    watched.hang_up()


def test_a_phone_that_cannot_be_reached(service: Service, world: World) -> None:
    """A phone that does not take the call ends the spy with its reason; a trunk is refused."""
    watched = watch(service, world)
    manners: dict[str, Manner] = {"busy": "busy", "declined": "decline", "no-answer": "absent"}
    for cause, manner in manners.items():
        with world.phone("9001", manner):
            spy = watched.ask("listen")
            assert watched.await_state(spy["id"], "ended")["cause"] == cause
    unknown = watched.ask("listen", "9999")
    assert watched.await_state(unknown["id"], "ended")["cause"] == "no-such-destination"
    until(lambda: not parts_left(world))
    for destination in ("PJSIP/trunk", "PJSIP/12025550123@trunk", "PJSIP/9001/sip:me@127.0.0.1"):
        body = {"mode": "listen", "destination": destination}
        answer = service.post(f"/calls/{watched.call_id}/spies", body)
        assert (answer.status_code, answer.json()["error_id"]) == (422, "bad-destination")
    assert parts_left(world) == []


def test_a_phone_that_rings(service: Service, world: World) -> None:
    """While the phone rings the spy can be ended, and the phone then rings no more."""
    watched = watch(service, world)
    with world.phone("9001", "ring"):
        ringing = watched.ask("listen")
        assert ringing["state"] == "ringing"
        assert service.delete(f"/spies/{ringing['id']}").json()["state"] == "ended"
        until(lambda: not parts_left(world))


def test_hold(service: Service, world: World) -> None:
    """During hold the supervisor hears the held side, and a barge reaches the customer."""
    watched = watch(service, world)
    spy = watched.spy("barge")
    watched.part("talk")
    watched.call.hold("agent")
    watched.part("hold")
    watched.call.unhold("agent")
    watched.part("after")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(customer, "talk", A1, S)
    watched.assert_hears(customer, "hold", MUSIC_HZ, S)
    watched.assert_hears(spy.leg, "hold", C)
    watched.assert_hears(spy.leg, "after", C, A1)
    watched.assert_hears(customer, "after", A1, S)
    watched.assert_hears(agent, "after", C, S)


@pytest.mark.parametrize(
    ("how", "kind"),
    [("refer", "blind"), ("refer", "attended"), ("dtmf", "blind"), ("dtmf", "attended")],
)
def test_transfer(service: Service, world: World, kind: str, how: str) -> None:
    """A spy follows the call to its next agent, who alone hears the whisper then."""
    watched = watch(service, world)
    spy = watched.spy("whisper")
    watched.part("first")
    transfer = {"blind": watched.call.blind_transfer, "attended": watched.call.attended_transfer}
    transfer[kind](how=how)  # type: ignore[operator]
    time.sleep(1.0)
    watched.part("second")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    assert spy.await_end()["cause"] == "call-ended"
    watched.assert_hears(spy.leg, "first", C, A1)
    watched.assert_hears(spy.leg, "second", C, A3)
    watched.assert_hears(agent, "second", C, S)
    watched.assert_hears(customer, "first", A1)
    watched.assert_hears(customer, "second", A3)
    until(lambda: not parts_left(world))


def test_following_a_channel(service: Service, world: World) -> None:
    """Following a channel, a spy ends when the agent hands the call over, and the call goes on."""
    watched = watch(service, world)
    spy = watched.spy("barge", follow="channel")
    watched.part("first", 1.0)
    watched.call.blind_transfer()
    assert spy.await_end()["cause"] == "channel-gone"
    spy.leg.await_down()
    until(lambda: not parts_left(world))
    watched.part("second", 1.0)
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(customer, "first", A1, S)
    watched.assert_hears(customer, "second", A3)
    watched.assert_hears(agent, "second", C)


@pytest.mark.parametrize(
    ("did", "music", "follow"), [(DID_QUEUE, (MUSIC_HZ,), "call"), (DID_IVR, (), "agent")]
)
def test_a_caller_without_an_agent(
    service: Service, world: World, did: str, music: tuple[int, ...], follow: str
) -> None:
    """In a queue or a menu the caller is heard and hears no whisper; later the agent does."""
    with world.phone("2001", "ring"), world.phone("2002", "ring"):
        watched = watch(service, world, did=did, answered_by="")
        spy = watched.spy("listen", follow=follow)
        spy.switch("whisper")
        watched.call.leg("customer").await_up()
        if did == DID_IVR:
            until(lambda: _has_heard_the_menu(world))
        watched.part("waiting", 1.0)
        if did == DID_IVR:
            watched.call.send_dtmf("1", by="customer")
            until(lambda: _rings(world, "2001"))
        watched.call.agent = world.far.pick_up("2001")
    watched.part("answered", 1.0)
    watched.hang_up()
    if follow == "agent":  # the spy knows its agent now, and waits for the next call
        until(lambda: spy.get()["heard"][-1]["to"])
        assert service.delete(f"/spies/{spy.id}").json()["cause"] == "ended"
    spy.leg.await_down()
    assert spy.await_end()["cause"] == ("call-ended" if follow == "call" else "ended")
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(customer, "waiting", *music)
    watched.assert_hears(spy.leg, "waiting", C, *music)
    watched.assert_hears(customer, "answered", A1)
    watched.assert_hears(agent, "answered", C, S)
    watched.assert_hears(spy.leg, "answered", C, A1)
    until(lambda: not parts_left(world))


def test_the_agents_next_call(service: Service, world: World) -> None:
    """Following an agent, a spy waits for the next call and is on it, until it is ended."""
    first = watch(service, world)
    spy = first.spy("whisper", follow="agent")
    first.part("first", 1.0)
    first.hang_up()
    second = watch(service, world)
    until(lambda: spy.get()["call_id"] == second.call_id)
    second.part("second")
    assert service.delete(f"/spies/{spy.id}").json()["cause"] == "ended"
    second.hang_up()
    agent, customer = second.call.leg("agent"), second.call.leg("customer")
    second.assert_hears(agent, "second", C, S)
    second.assert_hears(customer, "second", A1)
    heard = spy.get()["heard"]
    assert len(heard) == 2
    assert all(span["to"] for span in heard)
    until(lambda: not parts_left(world))


def test_two_supervisors(service: Service, world: World) -> None:
    """They share the listening bridge, keep their modes, and hear each other only in a barge."""
    watched = watch(service, world)
    one = watched.spy("listen")
    tone = write_tone(world.far_asterisk.directory / "s2.wav", S2)
    world.far.behave("9002", "answer", 0.1, tone)
    two = watched.spy("whisper", "9002")
    kinds = ("earwitness-listen-", "earwitness-hear-")
    shared = [id_ for id_ in parts_left(world) if id_.startswith(kinds)]
    assert len(shared) == 2, "one bridge and one snoop"
    watched.part("listen and whisper")
    one.switch("whisper")
    watched.part("both whisper")
    two.switch("barge")
    watched.part("whisper and barge")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    part = "listen and whisper"
    watched.assert_hears(one.leg, part, C, A1)
    watched.assert_hears(two.leg, part, C, A1)
    watched.assert_hears(customer, part, A1)
    watched.assert_hears(agent, part, C, S2)
    assert_absent(watched, one.leg, part, S2)
    part = "both whisper"
    watched.assert_hears(customer, part, A1)
    watched.assert_hears(agent, part, C, S, S2)
    assert_absent(watched, customer, part, S2)
    assert_absent(watched, one.leg, part, S2)
    watched.assert_hears(two.leg, part, C, A1)
    part = "whisper and barge"
    watched.assert_hears(customer, part, A1, S2)
    watched.assert_hears(agent, part, C, S, S2)
    watched.assert_hears(one.leg, part, C, A1, S2)
    watched.assert_hears(two.leg, part, C, A1)
    until(lambda: not parts_left(world))
    world.far.behave("9002", "answer", 0.1, None)


def test_a_new_snoop(service: Service, world: World) -> None:
    """A whisper to the target goes on after the listening snoop was replaced."""
    watched = watch(service, world)
    one = watched.spy("listen")
    tone = write_tone(world.far_asterisk.directory / "s2.wav", S2)
    world.far.behave("9002", "answer", 0.1, tone)
    two = watched.spy("whisper", "9002")
    wiring = Wiring(load_config(service.config))
    with closing(wiring.catalogue):
        wiring.spies.renew(UUID(one.id))
    watched.part("renewed")
    watched.hang_up()
    watched.assert_hears(watched.call.leg("agent"), "renewed", C, S2)
    for phone in (one, two):
        watched.assert_hears(phone.leg, "renewed", C, A1)
    world.far.behave("9002", "answer", 0.1, None)


def test_recordings_are_undisturbed(service: Service, world: World) -> None:
    """Listening and whispering are in no recording; a barge is on both its sides."""
    watched = watch(service, world)
    recording = service.record(watched.call_id)
    began = time.monotonic()
    spy = watched.spy("whisper")
    spans = {}
    for mode in ("whisper", "barge", "listen"):
        spy.switch(mode)
        time.sleep(0.5)
        from_s = time.monotonic() - began
        time.sleep(1.5)
        spans[mode] = (from_s, time.monotonic() - began)
    watched.hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    assert_no_gap(kept)
    rate, (left, right) = read_audio(service.fetch_audio(kept))
    for mode in ("whisper", "listen"):
        assert_tones(cut_out(left, rate, *spans[mode]), rate, [C], f"left in {mode}")
        assert_tones(cut_out(right, rate, *spans[mode]), rate, [A1], f"right in {mode}")
    assert_tones(cut_out(left, rate, *spans["barge"]), rate, [C, S], "left in barge")
    assert_tones(cut_out(right, rate, *spans["barge"]), rate, [A1, S], "right in barge")


@pytest.mark.parametrize("roles", [("watch",), ("api",), ("work", "media")], ids=" and ".join)
def test_a_role_is_killed(service: Service, world: World, roles: tuple[str, ...]) -> None:
    """A spy goes on while a role restarts, and can be switched and ended afterwards."""
    watched = watch(service, world)
    spy = watched.spy("whisper")
    before = {role: set(service.pids_of(role)) for role in roles}
    for role in roles:
        service.kill_role(role)
    for role in roles:
        until(lambda role=role: set(service.pids_of(role)) - before[role], 30)
    until(lambda: _answers(service), 30)
    watched.part("killed")
    spy.press_until("6", "barge")
    watched.part("barge")
    watched.hang_up()
    assert watched.await_state(spy.id, "ended", 20)["cause"] == "call-ended"
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(agent, "killed", C, S)
    watched.assert_hears(customer, "killed", A1)
    watched.assert_hears(customer, "barge", A1, S)
    until(lambda: not parts_left(world), 20)


def test_the_call_ends_while_nobody_watches(service: Service, world: World) -> None:
    """A call that ended while nobody watched ends its spies, and nothing is left."""
    watched = watch(service, world)
    spy = watched.spy("barge")
    service.kill_role("watch")
    watched.hang_up()
    assert watched.await_state(spy.id, "ended", 40)["cause"] == "call-ended"
    spy.leg.await_down()
    until(lambda: not parts_left(world), 20)


def test_the_whole_service_is_killed(service: Service, world: World) -> None:
    """A spy outlives the service, which goes on with it after a restart."""
    watched = watch(service, world)
    spy = watched.spy("whisper")
    service.kill()
    service.start()
    spy.press_until("6", "barge")
    watched.part("barge")
    watched.hang_up()
    assert watched.await_state(spy.id, "ended", 20)["cause"] == "call-ended"
    watched.assert_hears(watched.call.leg("customer"), "barge", A1, S)
    until(lambda: not parts_left(world), 20)


def test_leftovers_of_a_dead_process_are_removed(service: Service, world: World) -> None:
    """Channels and bridges that no spy needs go when the watcher comes back."""
    watched = watch(service, world)
    (leg, *_) = world.pbx.ari("GET", "/channels")
    left = names.build_talking_snoop_id("earwitness", uuid4(), leg["id"], [leg["id"]])
    path = f"/channels/{leg['id']}/snoop/{left}"
    world.pbx.ari("POST", path, app="earwitness", whisper="out", spy="none")
    bridge = names.build_listening_bridge_id("earwitness", leg["id"])
    world.pbx.ari("POST", f"/bridges/{bridge}", type="mixing")
    service.kill_role("watch")
    until(lambda: not parts_left(world), 30)
    assert watched.call.is_up()


def test_the_pbx_restarts(service: Service, world: World) -> None:
    """The spies of a PBX that died end, with that cause."""
    watched = watch(service, world)
    spy = watched.spy("listen")
    world.pbx.kill()
    world.far.hang_up_all()
    world.pbx.start()
    assert watched.await_state(spy.id, "ended", 40)["cause"] == "pbx-lost"
    assert parts_left(world) == []
    number = next(numbers)
    world.inbound(caller=number)
    until(lambda: service.live_call(number), 30)


def assert_absent(watched: Watched, leg: object, part: str, hz: float) -> None:
    """Fail if the leg hears this tone, which is not one of the lab's."""
    assert watched.level(leg, part, hz) < ABSENT_DBFS  # type: ignore[arg-type]


def _has_heard_the_menu(world: World) -> bool:
    """Whether the menu's prompt is over, and the caller is waited for."""
    channels = world.pbx.ari("GET", "/channels")
    return any(one["dialplan"]["app_name"] == "WaitExten" for one in channels)


def _rings(world: World, number: str) -> bool:
    """Whether the phone at this number rings."""
    channels = world.far.channels()
    return any(one["channelvars"]["LAB_PARTY"] == number for one in channels)


def _answers(service: Service) -> bool:
    try:
        service.get("/calls")
    except (OSError, AssertionError):
        return False
    return True
