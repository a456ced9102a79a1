"""After the kill of any process, the recording is stored once, with all its audio."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.ears import read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import Talk, assert_hears, assert_whole, begin, files_of
from tests.service import Service

pytestmark = pytest.mark.pbx

A1 = AGENT_HZ["2001"]


def assert_stored_once(world: World, talk: Talk, *, from_s: float = 0.0) -> dict[str, Any]:
    """Assert that the call's one recording is stored, whole, and that the PBX has no file of it."""
    recording = talk.service.await_state(talk.recording["id"], ["stored"])
    assert [one["id"] for one in talk.service.recordings(talk.call_id)] == [recording["id"]]
    rate, sides = read_audio(talk.service.fetch_audio(recording))
    assert_hears(sides[0], rate, CUSTOMER_HZ)
    assert_hears(sides[1], rate, A1)
    until(lambda: not files_of(world, recording["id"]), 30)
    assert_whole(talk.talked_s - from_s, recording, rate, sides)
    return recording


def test_the_service_is_killed_during_a_call(service: Service, world: World) -> None:
    """The PBX goes on recording, and the next start continues the recording without a gap."""
    talk = begin(service, world)
    talk.talk_until(2)
    service.kill()
    talk.talk_until(4)
    service.start()
    talk.talk_until(talk.age_s + 2)
    talk.hang_up()
    assert_stored_once(world, talk)


def test_a_call_ends_while_the_service_is_dead(service: Service, world: World) -> None:
    """The next start finds the ended call, and its recording has no gap."""
    talk = begin(service, world)
    talk.talk_until(3)
    service.kill()
    talk.hang_up()
    service.start()
    assert_stored_once(world, talk)


def test_the_watcher_is_killed_during_a_transfer(service: Service, world: World) -> None:
    """A leg that joins while nobody watches is captured by the next watcher; the gap is listed."""
    talk = begin(service, world)
    talk.talk_until(2)
    service.kill_role("watch")
    talk.call.blind_transfer(to="2003")
    talk.talk_until(talk.age_s + 1)
    until(lambda: _sides(service, talk) == {"left", "right"}, 60)
    talk.talk_until(talk.age_s + 2)
    talk.hang_up()
    recording = service.await_state(talk.recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(recording))
    assert recording["agent"] == "2003"
    assert_hears(sides[1], rate, A1, AGENT_HZ["2003"])
    assert {gap["cause"] for gap in recording["gaps"]} == {"not-captured"}


def _sides(service: Service, talk: Talk) -> set[str]:
    """Return the sides of the call's channels that a snoop captures now."""
    live = service.get(f"/calls/{talk.call_id}")
    snoops = talk.call.world.pbx.ari("GET", "/channels")
    heard = {one["name"].removeprefix("Snoop/").rpartition("-")[0] for one in snoops}
    party = {"customer": "left", "agent": "right"}
    return {party[one["party"]] for one in live["channels"] if one["id"] in heard}


@pytest.fixture
def frozen() -> Iterator[Callable[[int], None]]:
    """Return a function that stops a process; the end of the test continues every one."""
    stopped: list[int] = []

    def freeze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield freeze
    for pid in stopped:
        _thaw(pid)


def _thaw(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_the_worker_is_killed_during_fetch(
    service: Service, world: World, frozen: Callable[[int], None]
) -> None:
    """The worker dies while it fetches a file from a slow PBX: another worker finishes."""
    talk = begin(service, world)
    talk.talk_until(2)
    (worker,) = service.pids_of("work")
    frozen(worker)
    talk.hang_up()
    service.await_state(talk.recording["id"], ["captured"])
    pbx = world.pbx.pid
    assert pbx is not None
    frozen(pbx)
    _thaw(worker)
    until(lambda: bool(_attempts(service, talk)), 30)
    os.kill(worker, signal.SIGKILL)
    _thaw(pbx)
    assert_stored_once(world, talk)


def test_the_worker_is_killed_during_upload(
    service: Service, world: World, frozen: Callable[[int], None]
) -> None:
    """The worker dies while it uploads to a slow store: another worker finishes."""
    talk = begin(service, world)
    talk.talk_until(2)
    (worker,) = service.pids_of("work")
    (store,) = service.pids_running("weed")
    frozen(store)
    talk.hang_up()
    until(lambda: any(map(_is_encoded, _attempts(service, talk))), 30)
    os.kill(worker, signal.SIGKILL)
    _thaw(store)
    assert_stored_once(world, talk)


def _attempts(service: Service, talk: Talk) -> list[Path]:
    """Return the spool folders of workers that work on the recording."""
    return [*(service.directory / "var/spool").glob(f"{talk.recording['id']}-*")]


def _is_encoded(folder: Path) -> bool:
    """Return whether the rendition exists and no longer grows."""
    sizes = [path.stat().st_size for path in folder.glob("rendition.*")]
    if not sizes or not sizes[0]:
        return False
    time.sleep(0.3)
    return [path.stat().st_size for path in folder.glob("rendition.*")] == sizes


def test_the_pbx_is_killed_during_a_call(service: Service, world: World) -> None:
    """The audio on the PBX's disk is stored, and the rest is listed as a gap."""
    talk = begin(service, world)
    talk.talk_until(6)
    world.pbx.kill()
    died_s = talk.age_s
    world.pbx.start()
    recording = service.await_state(talk.recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(recording))
    assert died_s - 2.5 < recording["duration_s"] <= died_s + 0.3
    assert_hears(sides[0], rate, CUSTOMER_HZ)
    assert_hears(sides[1], rate, A1)
    assert {gap["cause"] for gap in recording["gaps"]} == {"pbx-lost"}
    assert max(gap["to_s"] for gap in recording["gaps"]) == pytest.approx(died_s, abs=0.5)
    assert service.get(f"/calls/{talk.call_id}")["state"] == "ended"


def test_a_snoop_is_hung_up_behind_our_back(service: Service, world: World) -> None:
    """A capture that another program ends on the PBX is started again at once, on the same side."""
    talk = begin(service, world)
    talk.talk_until(2)
    for channel in world.pbx.ari("GET", "/channels"):
        if channel["name"].startswith("Snoop/"):
            world.pbx.ari("DELETE", f"/channels/{channel['id']}")
    until(lambda: _sides(service, talk) == {"left", "right"}, 10)
    talk.talk_until(talk.age_s + 2)
    talk.hang_up()
    recording = service.await_state(talk.recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(recording))
    assert sides.shape[1] / rate == pytest.approx(talk.talked_s, abs=0.3)
    assert_hears(sides[0], rate, CUSTOMER_HZ)
    assert_hears(sides[1], rate, A1)
