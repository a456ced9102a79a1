"""Supervisors on calls, and who hears whom in each part of it."""

import itertools
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from lab.ears import cut_out, level_dbfs, read_audio, tone_spans, worst_other_tone
from lab.far import Leg
from lab.waiting import until
from lab.world import Call, World
from tests.pbx.talks import ABSENT_DBFS, PRESENT_DBFS, numbers, on_our_clock
from tests.service import Service

# A change has this long to take effect before its part begins.
EFFECT_S = 0.4
MARGIN_S = 0.1
SHORTEST_BREAK_S = 0.3
OURS = "earwitness-"


class Watched:
    """A call, the supervisors on it, and the parts of it that are listened to afterwards."""

    def __init__(self, service: Service, world: World, call: Call, call_id: str) -> None:
        self.service = service
        self.world = world
        self.call = call
        self.call_id = call_id
        self._parts: dict[str, tuple[float, float]] = {}

    def spy(self, mode: str, phone: str = "9001", **more: Any) -> "Spy":
        """A supervisor listens on a phone; returns once it is live."""
        spy = self.ask(mode, phone, **more)
        leg = self.world.supervisor(phone)
        self.await_state(spy["id"], "live")
        return Spy(self, spy["id"], leg)

    def ask(self, mode: str, phone: str = "9001", **more: Any) -> Any:
        """Ask for a spy on a phone; the answer."""
        body = {"mode": mode, "destination": f"PJSIP/{phone}", **more}
        answer = self.service.post(f"/calls/{self.call_id}/spies", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def await_state(self, spy_id: str, state: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The spy, once it is in this state."""

        def find() -> dict[str, Any]:
            spy: dict[str, Any] = self.service.get(f"/spies/{spy_id}")
            assert spy["state"] == state, spy
            return spy

        return until(find, timeout_s)

    def part(self, name: str, seconds: float = 1.5) -> None:
        """Let everybody talk: a part of the call that is looked at later."""
        time.sleep(EFFECT_S)
        began = time.monotonic()
        time.sleep(seconds)
        self._parts[name] = (began, time.monotonic())
        time.sleep(MARGIN_S)

    def hang_up(self, by: str = "customer") -> None:
        """The call is over."""
        self.call.leg(by).hang_up()
        self.call.await_end()

    def assert_hears(self, leg: Leg, part: str, *hz: float) -> None:
        """In this part, the party heard these tones and no other."""
        rate, samples = self.heard(leg, part)
        assert_tones(samples, rate, hz, f"{leg.party} in {part}")

    def level(self, leg: Leg, part: str, hz: float) -> float:
        """How loud the party heard the tone in this part, in dBFS."""
        rate, samples = self.heard(leg, part)
        return level_dbfs(samples, rate, hz)

    def onsets(self, leg: Leg, hz: float) -> list[float]:
        """When the party began to hear the tone, on the monotonic clock, each time."""
        rate, (samples,) = read_audio(leg.heard())
        spans = _joined(tone_spans(samples, rate, hz))
        return [_began(leg) + from_s for from_s, _ in spans]

    def breaks(self, leg: Leg, hz: float, since: float) -> list[float]:
        """For how long, from a moment to the end, the party missed the tone, each time."""
        rate, (samples,) = read_audio(leg.heard())
        end_s = samples.shape[-1] / rate
        rest = cut_out(samples, rate, since - _began(leg), end_s - 0.3)
        spans = tone_spans(rest, rate, hz)
        return [b[0] - a[1] for a, b in itertools.pairwise(spans)]

    def heard(self, leg: Leg, part: str) -> tuple[int, Any]:
        """Sample rate and samples of what the party heard in this part."""
        rate, (samples,) = read_audio(leg.heard())
        from_s, to_s = (at - _began(leg) for at in self._parts[part])
        return rate, cut_out(samples, rate, from_s, to_s)


class Spy:
    """A supervisor's session, and the leg of the phone."""

    def __init__(self, watched: Watched, id_: str, leg: Leg) -> None:
        self.watched = watched
        self.id = id_
        self.leg = leg

    def switch(self, mode: str) -> dict[str, Any]:
        """Change the mode."""
        answer = self.watched.service.patch(f"/spies/{self.id}", {"mode": mode})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["mode"] == mode
        return body

    def press(self, key: str) -> None:
        """A key on the phone."""
        self.leg.send_dtmf(key)

    def press_until(self, key: str, mode: str) -> None:
        """Press a key again and again: while nobody watches the PBX, nobody hears of it."""

        def switched() -> bool:
            self.press(key)
            try:
                return until(lambda: self.get()["mode"] == mode, 1.0)
            except TimeoutError:
                return False

        until(switched, 30)

    def await_mode(self, mode: str) -> None:
        """Wait until the spy is in this mode."""
        until(lambda: self.get()["mode"] == mode)

    def get(self) -> dict[str, Any]:
        """The spy as the API tells it."""
        body: dict[str, Any] = self.watched.service.get(f"/spies/{self.id}")
        return body

    def await_end(self) -> dict[str, Any]:
        """The spy, once it has ended."""
        return self.watched.await_state(self.id, "ended")


def watch(service: Service, world: World, **how: Any) -> Watched:
    """A customer calls, an agent answers."""
    number = next(numbers)
    call = world.inbound(caller=number, **how)
    return Watched(service, world, call, service.live_call(number)["id"])


def watch_outbound(service: Service, world: World) -> Watched:
    """An agent calls a customer."""
    number = next(numbers)
    call = world.outbound(agent="2001", number=number)

    def find() -> str | None:
        live = service.get("/calls")["items"]
        return next((one["id"] for one in live if one["callee"]["number"] == number), None)

    return Watched(service, world, call, until(find))


def assert_tones(samples: Any, rate: int, hz: Collection[float], who: str) -> None:
    """These tones are there, and no other of the lab's."""
    for one in hz:
        level = level_dbfs(samples, rate, one)
        assert level > PRESENT_DBFS, f"{who}: {one} Hz is missing ({level:.0f} dBFS)"
    other, level = worst_other_tone(samples, rate, tuple(hz))
    assert level < ABSENT_DBFS, f"{who}: {other} Hz is heard at {level:.0f} dBFS"


def write_tone(path: Path, hz: float) -> Path:
    """A minute of a tone, for a phone that is to be told apart."""
    samples = 0.3 * np.sin(2 * np.pi * hz * np.arange(60 * 8000) / 8000)
    soundfile.write(path, samples.astype(np.float32), 8000, subtype="PCM_16")
    return path


def _began(leg: Leg) -> float:
    """When what the party heard begins, on the monotonic clock: it is written to its end."""
    path = leg.heard()
    rate, samples = read_audio(path)
    return on_our_clock(path.stat().st_mtime) - samples.shape[-1] / rate


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans, without breaks too short for a switch back and forth."""
    joined: list[tuple[float, float]] = []
    for from_s, to_s in spans:
        if joined and from_s - joined[-1][1] < SHORTEST_BREAK_S:
            joined[-1] = (joined[-1][0], to_s)
        else:
            joined.append((from_s, to_s))
    return joined


def parts_left(world: World) -> list[str]:
    """What there still is of ours on the PBX."""
    found = [*world.pbx.ari("GET", "/channels"), *world.pbx.ari("GET", "/bridges")]
    return [one["id"] for one in found if one["id"].startswith(OURS)]
