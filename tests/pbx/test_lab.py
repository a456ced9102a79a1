"""In the telephone world each party hears the right voices in every kind of call, and no other."""

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from lab.asterisk import Asterisk
from lab.bot import BOT_HZ, Bot
from lab.ears import cut_out, level_dbfs, read_audio, tone_spans, worst_other_tone
from lab.far import AGENT_HZ, CUSTOMER_HZ, OTHER_CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import DID_ANSWERED, DID_BOT, DID_IVR, DID_QUEUE, DID_SECOND, MUSIC_HZ, RING_HZ, ROOM
from lab.waiting import until
from lab.world import How, World

pytestmark = pytest.mark.pbx

SECOND = "13035550100"
SECOND_HZ = OTHER_CUSTOMER_HZ["1303"]
ANN, BEN, CLEO = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
PRESENT_DBFS, ABSENT_DBFS = -25.0, -60.0


def assert_tones(path: Path, *allowed_hz: float, last_s: float | None = None) -> None:
    """Assert that a file, or its last seconds, has these tones and no other."""
    rate, (sound,) = read_audio(path)
    end_s = len(sound) / rate
    part = cut_out(sound, rate, end_s - last_s if last_s else 0, end_s)
    for hz in allowed_hz:
        assert level_dbfs(part, rate, hz) > PRESENT_DBFS, f"{hz} Hz is missing in {path.name}"
    other, level = worst_other_tone(part, rate, allowed_hz)
    assert level < ABSENT_DBFS, f"{other} Hz is heard at {level:.0f} dBFS in {path.name}"


def spans(path: Path, hz: float) -> list[tuple[float, float]]:
    """Return the spans of a tone in a file."""
    rate, (sound,) = read_audio(path)
    return tone_spans(sound, rate, hz)


def extent(path: Path, hz: float) -> tuple[float, float]:
    """Return the first and the last moment of a tone; a late packet may leave a hole between."""
    heard = spans(path, hz)
    return heard[0][0], heard[-1][1]


def longest_pause(path: Path, hz: float) -> tuple[float, float]:
    """Return the longest time between two spans of a tone."""
    heard = spans(path, hz)
    pauses = [(one[1], next_one[0]) for one, next_one in pairwise(heard)]
    return max(pauses, key=lambda pause: pause[1] - pause[0])


def test_inbound(world: World) -> None:
    """Customer and agent hear each other from the first moment, and the PBX knows who calls."""
    call = world.inbound(caller="12025550177", name="Grace Hopper")
    caller = next(c for c in world.pbx.ari("GET", "/channels") if "trunk" in c["name"])["caller"]
    assert caller == {"name": "Grace Hopper", "number": "12025550177"}
    call.talk_for(2)
    call.hang_up()
    assert_tones(call.heard("customer"), ANN)
    assert_tones(call.heard("agent"), CUSTOMER_HZ)
    assert_tones(call.said("agent"), ANN)
    assert spans(call.said("agent"), ANN)[0][0] < 0.15


def test_outbound(world: World) -> None:
    """An agent's call leaves by the trunk, and both hear each other."""
    call = world.outbound(agent="2002", number="12025550199")
    names = sorted(c["name"].split("-")[0] for c in world.pbx.ari("GET", "/channels"))
    assert names == ["PJSIP/2002", "PJSIP/trunk"]
    call.talk_for(1.5)
    call.hang_up(by="agent")
    assert_tones(call.heard("customer"), BEN)
    assert_tones(call.heard("agent"), CUSTOMER_HZ)


def test_internal(world: World) -> None:
    """Two agents hear each other."""
    call = world.internal(agent="2001", to="2002")
    call.talk_for(1.5)
    call.hang_up(by="colleague")
    assert_tones(call.heard("agent"), BEN)
    assert_tones(call.heard("colleague"), ANN)


def test_queue(world: World) -> None:
    """A customer in the queue hears music, then the agent who answers; other phones ring off."""
    call = world.inbound(DID_QUEUE, answered_by="2002", answer_after_s=1.5)
    call.talk_for(1.5)
    call.hang_up()
    music = extent(call.heard("customer"), MUSIC_HZ)
    agent = extent(call.heard("customer"), BEN)
    assert music[1] - music[0] > 1
    assert agent[0] == pytest.approx(music[1], abs=0.2)
    assert_tones(call.heard("customer"), BEN, last_s=1)
    assert_tones(call.heard("agent"), CUSTOMER_HZ)


def test_menu(world: World) -> None:
    """The menu takes a digit and brings the customer to an agent."""
    call = world.inbound(DID_IVR)
    call.send_dtmf("1", by="customer")
    call.agent = world.far.await_leg("2001")
    call.talk_for(1.5)
    call.hang_up()
    assert_tones(call.heard("agent"), CUSTOMER_HZ)
    assert_tones(call.heard("customer"), ANN, last_s=1)


def test_hold(world: World) -> None:
    """While the agent holds, the customer hears music and the agent's phone is silent."""
    call = world.inbound()
    call.talk_for(1)
    call.hold()
    call.talk_for(1.5)
    call.unhold()
    call.talk_for(1)
    call.hang_up()
    music = extent(call.heard("customer"), MUSIC_HZ)
    assert music[1] - music[0] == pytest.approx(1.5, abs=0.3)
    assert longest_pause(call.heard("customer"), ANN) == pytest.approx(music, abs=0.2)
    assert_tones(call.heard("agent"), CUSTOMER_HZ)


@pytest.mark.parametrize("how", ["refer", "dtmf"])
def test_blind_transfer(world: World, how: How) -> None:
    """After a blind transfer the customer hears the new agent alone, and the first one is gone."""
    call = world.inbound()
    call.talk_for(1)
    call.blind_transfer(to="2003", how=how)
    call.talk_for(1.5)
    call.hang_up()
    assert call.agent is not None
    assert call.agent.party == "2003"
    assert_tones(call.heard("customer"), CLEO, last_s=1.2)
    assert_tones(call.heard("2003"), CUSTOMER_HZ)
    assert not spans(call.heard("2001"), CLEO)


@pytest.mark.parametrize("how", ["refer", "dtmf"])
def test_attended_transfer(world: World, how: How) -> None:
    """While the agents talk the customer hears music; then the customer has the second agent."""
    call = world.inbound()
    call.talk_for(1)
    call.attended_transfer(to="2003", how=how, asking_s=1)
    call.talk_for(1.5)
    call.hang_up()
    assert spans(call.heard("2003"), ANN)[0][0] < 0.5
    assert spans(call.heard("customer"), MUSIC_HZ)
    assert_tones(call.heard("customer"), CLEO, last_s=0.8)
    assert_tones(call.heard("2003"), CUSTOMER_HZ, last_s=0.8)


def test_parking(world: World) -> None:
    """A parked customer hears music until another agent takes the call."""
    call = world.inbound()
    slot = call.park()
    call.retrieve(slot, agent="2002")
    call.talk_for(1.5)
    call.hang_up()
    assert spans(call.heard("customer"), MUSIC_HZ)
    assert_tones(call.heard("customer"), BEN, last_s=1)
    assert_tones(call.heard("2002"), CUSTOMER_HZ)


def test_silent_phone(world: World) -> None:
    """A phone that suppresses silence is not heard, and is heard again when it speaks."""
    call = world.inbound()
    call.talk_for(1)
    call.leg("agent").fall_silent()
    call.talk_for(1)
    call.leg("agent").talk()
    call.talk_for(1)
    call.hang_up()
    from_s, to_s = longest_pause(call.heard("customer"), ANN)
    assert to_s - from_s == pytest.approx(1, abs=0.3)


def test_late_answer(world: World) -> None:
    """A test can let a phone answer late."""
    placed = time.monotonic()
    call = world.inbound(answer_after_s=1.5)
    assert time.monotonic() - placed >= 1.5
    assert call.is_up()
    call.hang_up()


def test_busy(world: World) -> None:
    """A busy phone ends the customer's call."""
    with world.phone("2001", "busy"):
        call = world.inbound(answered_by="")
        call.await_end()
    assert not call.is_up()


def test_nobody_answers(world: World) -> None:
    """A phone can ring until the customer gives up."""
    with world.phone("2001", "ring"):
        call = world.inbound(answered_by="")
        until(lambda: any(c["state"] == "Ringing" for c in world.pbx.ari("GET", "/channels")))
        assert not call.is_up()
        call.hang_up()
    until(lambda: not world.pbx.ari("GET", "/channels"))


def test_supervisor(world: World) -> None:
    """A supervisor's phone that the PBX calls answers and speaks its tone."""
    world.pbx.ari(
        "POST", "/channels", endpoint="PJSIP/9001", extension="2001", context="agents", priority=1
    )
    supervisor, agent = world.supervisor("9001"), world.far.await_leg("2001")
    until(lambda: supervisor.is_up() and agent.is_up())
    until(lambda: supervisor.has_heard(1.0) and agent.has_heard(1.0))
    agent.hang_up()
    supervisor.await_down()
    assert_tones(supervisor.said(), SUPERVISOR_HZ)
    assert spans(agent.heard(), SUPERVISOR_HZ)


def test_two_calls_at_once(world: World) -> None:
    """Calls side by side do not hear each other, nor the PBX's ringing."""
    first = world.inbound()
    second = world.outbound(agent="2003")
    first.talk_for(1)
    first.hang_up()
    second.hang_up()
    assert_tones(first.heard("customer"), ANN)
    assert_tones(second.heard("customer"), CLEO)
    assert not spans(first.heard("customer"), RING_HZ)


def test_conference(world: World) -> None:
    """In a room everybody hears everybody else, and members come and go."""
    conference = world.conference("12025550100", SECOND, "2001")
    conference.join("2002")
    time.sleep(1.0)
    legs = dict(conference.members)
    early = conference.leave("2001")
    time.sleep(1.0)
    conference.end()
    assert_tones(early.heard(), CUSTOMER_HZ, SECOND_HZ, BEN, last_s=0.8)
    assert_tones(legs["2002"].heard(), CUSTOMER_HZ, SECOND_HZ, last_s=0.8)
    assert_tones(legs[SECOND].heard(), CUSTOMER_HZ, BEN, last_s=0.8)


def test_merge(world: World) -> None:
    """An agent joins a held colleague and a customer, and is gone."""
    held = world.internal("2001", "2002")
    held.hold()
    call = world.merge(held, world.inbound(caller=SECOND))
    call.talk_for(1.2)
    call.hang_up()
    assert_tones(call.heard("customer"), BEN, last_s=0.8)
    assert_tones(call.heard("agent"), SECOND_HZ, last_s=0.8)


def test_merge_of_two_customers(world: World) -> None:
    """An agent joins two customers, who then hear each other."""
    held = world.inbound()
    held.hold()
    call = world.merge(held, world.inbound(caller=SECOND))
    call.talk_for(1.2)
    call.hang_up()
    assert_tones(call.heard("customer"), CUSTOMER_HZ, last_s=0.8)
    assert_tones(call.heard("colleague"), SECOND_HZ, last_s=0.8)


def test_redirect(world: World) -> None:
    """One leg, or both legs of a call at once, go into a room."""
    first, second = world.inbound(), world.inbound(DID_SECOND, caller=SECOND)
    world.redirect(ROOM, first.leg("agent"), first.leg("customer"))
    world.redirect(ROOM, second.leg("agent"))
    time.sleep(1.5)
    world.hang_up_all()
    assert_tones(first.heard("customer"), ANN, BEN, last_s=0.8)
    assert_tones(second.heard("agent"), ANN, CUSTOMER_HZ, last_s=0.8)


@pytest.mark.parametrize("channel", ["PJSIP/2001", "Local/2001@agents", "Local/2001@agents/n"])
def test_originate(world: World, channel: str) -> None:
    """The PBX calls the agent, and then the customer."""
    call = world.originate(channel, SECOND)
    call.talk_for(1)
    call.hang_up()
    assert_tones(call.heard("customer"), ANN)
    assert_tones(call.heard("agent"), SECOND_HZ, last_s=0.8)


def test_consultation_that_comes_back(world: World) -> None:
    """When the colleague whom the agent asked hangs up, the agent has the customer again."""
    call = world.inbound()
    colleague = call.consult("2003")
    call.talk_for(1)
    colleague.hang_up()
    call.talk_for(2)
    call.hang_up()
    assert_tones(colleague.heard(), ANN)
    assert_tones(call.heard("customer"), ANN, last_s=0.8)


def test_voice_bot(world: World) -> None:
    """A bot takes the call of a customer, and leaves nothing on the PBX."""
    with Bot(world.pbx):
        call = world.inbound(DID_BOT)
        call.leg("customer").await_up()
        call.talk_for(1.5)
        call.hang_up()
        until(lambda: not world.pbx.ari("GET", "/channels"))
    assert_tones(call.heard("customer"), BOT_HZ, last_s=0.8)


def test_early_media(world: World) -> None:
    """A phone can speak before it answers."""
    with world.phone("2001", "progress", answer_after_s=1.5):
        call = world.inbound(DID_ANSWERED, answered_by="")
        call.customer = call.leg("customer").await_up()
        call.agent = world.far.await_leg("2001")
        call.talk_for(0.5)
        call.hang_up()
    assert spans(call.heard("customer"), ANN)[-1][1] > 1.8
    assert spans(call.heard("customer"), ANN)[0][0] < 0.6


def test_forwarding_phone(world: World) -> None:
    """A phone can answer with 302: another phone rings."""
    world.far.forward("2001", "2003")
    call = world.inbound(answered_by="")
    call.agent = world.far.await_leg("2003")
    call.leg("customer").await_up()
    call.talk_for(1)
    call.hang_up()
    world.far.behave("2001", "answer", 0.1, None)
    assert_tones(call.heard("customer"), CLEO)


def test_restart_keeps_files_and_ports(telephones: World) -> None:
    """A killed instance starts again on its ports, with its files; `stop` removes them."""
    asterisk = Asterisk(telephones.pbx.root, "restarted")
    asterisk.start()
    kept = asterisk.recordings / "kept.wav"
    kept.write_bytes(b"RIFF")
    asterisk.kill()
    assert asterisk.pid is None
    asterisk.start()
    assert asterisk.ari("GET", "/asterisk/info")["system"]["version"] in asterisk.cli(
        "core show version"
    )
    assert kept.exists()
    asterisk.stop()
    assert not asterisk.directory.exists()


PARENT = """
import sys, pathlib
from lab.asterisk import Asterisk
from lab.bot import BOT_HZ, Bot
asterisk = Asterisk(pathlib.Path(sys.argv[1]), "orphan")
asterisk.start()
print(asterisk.pid, asterisk.directory, flush=True)
sys.stdin.read()
"""


def test_dies_with_its_parent(telephones: World) -> None:
    """Asterisk ends when its parent is killed, and the next instance removes its files."""
    root = telephones.pbx.root
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    until(lambda: not _is_alive(int(pid)))
    Asterisk(root, "sweeper").stop()
    assert not Path(directory).exists()


def _is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
