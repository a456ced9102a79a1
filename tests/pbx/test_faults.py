"""Protected words are never kept, foreign voices never recorded, bandwidth never lost."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from lab.ears import cut_out, level_dbfs, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import (
    DURATION_WITHIN_S,
    PRESENT_DBFS,
    Talk,
    assert_hears,
    assert_whole,
    begin,
    files_of,
    lossless_numbers,
    numbers,
)
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
SECRET_HZ = SUPERVISOR_HZ  # these calls have no supervisor


# Pauses protect


def says(folder: Path, hz: float, secret_s: tuple[float, float] = (0, 0)) -> Path:
    """Write a minute of a tone, with the secret tone in its place for a while."""
    time_s = np.arange(60 * 8000) / 8000
    spoken_hz = np.where((time_s >= secret_s[0]) & (time_s < secret_s[1]), SECRET_HZ, hz)
    path = folder / f"{hz:g}-{secret_s[0]:g}-{secret_s[1]:g}.wav"
    samples = 0.3 * np.sin(2 * np.pi * spoken_hz * time_s)
    soundfile.write(path, samples.astype(np.float32), 8000, subtype="PCM_16")
    return path


def begin_with_secret(service: Service, world: World, from_s: float, to_s: float) -> Talk:
    """Start a call, recorded without loss, in which both parties speak the secret tone."""
    folder = world.far_asterisk.directory
    customer, agent = (says(folder, hz, (from_s, to_s)) for hz in (CUSTOMER_HZ, A1))
    return begin(
        service, world, caller=next(lossless_numbers), customer_says=customer, agent_says=agent
    )


def pause(talk: Talk) -> Any:
    """Pause the recording; return the response."""
    return talk.service.post(f"/recordings/{talk.recording['id']}/pause")


def resume(talk: Talk) -> None:
    """Resume the recording."""
    answer = talk.service.post(f"/recordings/{talk.recording['id']}/resume")
    assert answer.json()["state"] == "recording", answer.text


def is_listened_to(world: World) -> bool:
    """Return whether any snoop is on the PBX."""
    return any(one["name"].startswith("Snoop/") for one in world.pbx.ari("GET", "/channels"))


def assert_protected(world: World, talk: Talk) -> None:
    """Assert that the file has silence in the one pause, and the voices after it."""
    recording = talk.service.await_state(talk.recording["id"], ["stored"])
    rate, sides = read_audio(talk.service.fetch_audio(recording))
    (span,) = recording["pauses"]
    assert abs(sides.shape[1] / rate - talk.talked_s) < DURATION_WITHIN_S
    for side, hz in zip(sides, (CUSTOMER_HZ, A1), strict=True):
        assert not cut_out(side, rate, span["from_s"], span["to_s"]).any()
        secret = tone_spans(side, rate, SECRET_HZ, threshold_db=-50)
        assert all(from_s > span["to_s"] for from_s, _ in secret), secret
        after = cut_out(side, rate, span["to_s"] + 0.3, talk.talked_s - 0.3)
        assert max(level_dbfs(after, rate, one) for one in (hz, SECRET_HZ)) > PRESENT_DBFS
    until(lambda: not files_of(world, recording["id"]), 30)


@pytest.fixture
def freeze() -> Iterator[Callable[[World], Callable[[], None]]]:
    """Return a function that stops the PBX, and returns a function that continues it.

    The end of the test continues it too.
    """
    stopped: set[int] = set()

    def stop(world: World) -> Callable[[], None]:
        pid = world.pbx.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        stopped.add(pid)
        return lambda: os.kill(pid, signal.SIGCONT)

    yield stop
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def test_a_pause_comes_while_the_pbx_stands_still(
    service: Service, world: World, freeze: Callable[[World], Callable[[], None]]
) -> None:
    """The person gets an error, and the pause takes effect when the PBX continues."""
    talk = begin_with_secret(service, world, 2.5, 10)
    talk.talk_until(1.5)
    thaw = freeze(world)
    refused = pause(talk)
    assert (refused.status_code, refused.json()["error_id"]) == (503, "pbx-unavailable")
    assert service.get(f"/recordings/{talk.recording['id']}")["state"] == "paused"
    thaw()
    until(lambda: not is_listened_to(world), 30)
    talk.talk_until(10.5)
    assert not is_listened_to(world)
    resume(talk)
    talk.talk_until(talk.age_s + 2)
    talk.hang_up()
    assert_protected(world, talk)


def test_the_service_is_killed_while_it_pauses(
    service: Service, world: World, freeze: Callable[[World], Callable[[], None]]
) -> None:
    """A pause is stored but never reaches the PBX: the next start ends the captures.

    The captured words of the pause are in no file.
    """
    talk = begin_with_secret(service, world, 2, 60)
    talk.talk_until(1.5)
    thaw = freeze(world)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(pause, talk)
        path = f"/recordings/{talk.recording['id']}"
        until(lambda: service.get(path)["state"] == "paused")
        service.kill()
        assert isinstance(answer.exception(), requests.ConnectionError)
    thaw()
    talk.talk_until(3.5)
    assert is_listened_to(world)
    service.start()
    until(lambda: not is_listened_to(world), 30)
    assert service.get(path)["state"] == "paused"
    resume(talk)
    talk.talk_until(talk.age_s + 2)
    talk.hang_up()
    assert_protected(world, talk)


# Every recording has its own voices


def test_parked_calls(service: Service, world: World) -> None:
    """Two calls in one parking lot each continue with the agent who takes them, and no other."""
    folder = world.far_asterisk.directory
    first = begin(service, world)
    first.talk_until(1)
    slots = [first.call.park()]
    second = begin(service, world, customer_says=says(folder, SECRET_HZ))
    second.talk_until(1)
    slots.append(second.call.park())
    for talk, slot, agent in zip((first, second), slots, ("2002", "2003"), strict=True):
        talk.talk_until(talk.age_s + 1)
        talk.call.retrieve(slot, agent)
    second.talk_until(second.age_s + 1.5)
    for talk, hz, taker_hz in ((first, CUSTOMER_HZ, A2), (second, SECRET_HZ, A3)):
        _, rate, sides, talked_s = talk.end()
        assert abs(sides.shape[1] / rate - talked_s) < DURATION_WITHIN_S
        assert_hears(sides[0], rate, hz)
        assert_hears(sides[1], rate, A1, taker_hz)
        assert len(service.recordings(talk.call_id)) == 1


def test_a_second_call_of_the_agent(service: Service, world: World) -> None:
    """The agent holds, asks a colleague and comes back: two calls, two recordings, not mixed."""
    talk = begin(service, world)
    talk.talk_until(1)
    talk.call.hold("agent")
    asking = world.far.place("2003", "2001", "2001")
    colleague = world.far.await_leg("2003")
    consultation = Talk(service, talk.call, service.live_call("2001")["id"])
    consultation.talk_until(2)
    asking.await_up().hang_up()
    colleague.await_down()
    talk.call.unhold("agent")
    back_s = talk.age_s
    talk.talk_until(back_s + 1.5)
    recording, rate, sides, talked_s = talk.end()
    assert_whole(talked_s, recording, rate, sides)
    assert_hears(sides[0], rate, CUSTOMER_HZ)
    assert_hears(sides[1], rate, A1)
    assert_hears(cut_out(sides[1], rate, 1.5, back_s - 0.5), rate)
    recording = service.await_state(consultation.recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(recording))
    assert recording["direction"] == "internal"
    assert_hears(sides[0], rate, A1)
    assert_hears(sides[1], rate, A3)


def test_a_caller_in_a_menu(service: Service, world: World) -> None:
    """A menu is recorded only on a person's request, the conversation after it always."""
    number = next(numbers)
    call = world.inbound(did="3002", caller=number)
    live = service.live_call(number)
    until(lambda: service.get(f"/calls/{live['id']}")["state"] == "up")
    started = service.record(live["id"])
    assert service.recordings(live["id"]) == [started]
    menu = Talk(service, call, live["id"])
    menu.talk_until(1.5)
    call.send_dtmf("1", by="customer")
    call.agent = world.far.await_leg("2001")
    answered_s = menu.age_s
    menu.talk_until(answered_s + 2)
    recording, rate, sides, talked_s = menu.end()
    assert_whole(talked_s, recording, rate, sides)
    assert_hears(sides[1], rate, A1)
    assert_hears(cut_out(sides[1], rate, 0, answered_s - 0.5), rate)
    assert level_dbfs(cut_out(sides[0], rate, 0, 1.2), rate, CUSTOMER_HZ) > PRESENT_DBFS
    (by_rule,) = [one for one in service.recordings(live["id"]) if one["trigger"] == "rule"]
    kept = service.await_state(by_rule["id"], ["stored"])
    assert kept["duration_s"] == pytest.approx(talked_s - answered_s, abs=0.5)


# Wideband


@pytest.fixture(scope="module")
def wide() -> Iterator[World]:
    """Start a PBX with G.722 that may pass RTP on unchanged."""
    with World(ensure_root(root_directory()), codecs="g722", native_bridging=True) as world:
        yield world


def test_a_wideband_call(wide: World) -> None:
    """A wideband call is recorded at 16 kHz, whole, with the high tones."""
    high_hz = 5500
    with tempfile.TemporaryDirectory(prefix="earwitness-test-") as folder:
        service = Service(Path(folder), wide.pbx, record_all=True, format="flac")
        service.start()
        path = wide.far_asterisk.directory / "high.wav16"
        time_s = np.arange(20 * 16000) / 16000
        samples = 0.3 * np.sin(2 * np.pi * high_hz * time_s)
        with path.open("wb") as file:
            soundfile.write(file, samples, 16000, format="WAV", subtype="PCM_16")
        try:
            talk = begin(service, wide, customer_says=path)
            talk.talk_until(3)
            recording, rate, sides, talked_s = talk.end()
        finally:
            assert service.stop() == 0
    assert rate == recording["media"]["sample_rate"] == 16000
    assert_whole(talked_s, recording, rate, sides)
    assert level_dbfs(sides[0], rate, high_hz) > PRESENT_DBFS
    assert_hears(sides[1], rate, A1)
