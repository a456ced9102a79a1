"""Supervisors on calls, and assertions on who hears whom in each part of a call."""

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

# A change has this long to take effect before the next part starts.
EFFECT_S = 0.4
MARGIN_S = 0.1
SHORTEST_BREAK_S = 0.3
OURS = "earwitness-"


class Watched:
    """A call with supervisors, and the named parts of it that a test measures afterwards."""

    def __init__(self, service: Service, world: World, call: Call, call_id: str) -> None:
        self.service = service
        self.world = world
        self.call = call
        self.call_id = call_id
        self._parts: dict[str, tuple[float, float]] = {}

    def spy(self, mode: str, phone: str = "9001", **more: Any) -> "Spy":
        """Start a spy on a supervisor's phone; return it once it is live."""
        spy = self.ask(mode, phone, **more)
        leg = self.world.supervisor(phone)
        self.await_state(spy["id"], "live")
        return Spy(self, spy["id"], leg)

    def ask(self, mode: str, phone: str = "9001", **more: Any) -> Any:
        """Request a spy on a phone; return the API's answer."""
        body = {"mode": mode, "destination": f"PJSIP/{phone}", **more}
        answer = self.service.post(f"/calls/{self.call_id}/spies", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def await_state(self, spy_id: str, state: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Wait until the spy is in this state, and return it."""

        def find() -> dict[str, Any]:
            spy: dict[str, Any] = self.service.get(f"/spies/{spy_id}")
            assert spy["state"] == state, spy
            return spy

        return until(find, timeout_s)

    def part(self, name: str, seconds: float = 1.5) -> None:
        """Let everybody talk, and give this part of the call a name."""
        time.sleep(EFFECT_S)
        began = time.monotonic()
        time.sleep(seconds)
        self._parts[name] = (began, time.monotonic())
        time.sleep(MARGIN_S)

    def span(self, part: str) -> tuple[float, float]:
        """Return the times of a part on the monotonic clock."""
        return self._parts[part]

    def hang_up(self, by: str = "customer") -> None:
        """Let one party hang up, and wait for the end of the call."""
        self.call.leg(by).hang_up()
        self.call.await_end()

    def assert_hears(self, leg: Leg, part: str, *hz: float) -> None:
        """Assert that the party heard these tones in this part, and no other."""
        rate, samples = self.heard(leg, part)
        assert_tones(samples, rate, hz, f"{leg.party} in {part}")

    def level(self, leg: Leg, part: str, hz: float) -> float:
        """Return the level of the tone that the party heard in this part, in dBFS."""
        rate, samples = self.heard(leg, part)
        return level_dbfs(samples, rate, hz)

    def onsets(self, leg: Leg, hz: float) -> list[float]:
        """Return the times at which the party started to hear the tone, on the monotonic clock."""
        rate, (samples,) = read_audio(leg.heard())
        spans = _joined(tone_spans(samples, rate, hz))
        return [_began(leg) + from_s for from_s, _ in spans]

    def breaks(self, leg: Leg, hz: float, since: float) -> list[float]:
        """Return the lengths of the party's breaks in the tone, from a moment to the end."""
        rate, (samples,) = read_audio(leg.heard())
        end_s = samples.shape[-1] / rate
        rest = cut_out(samples, rate, since - _began(leg), end_s - 0.3)
        spans = tone_spans(rest, rate, hz)
        return [b[0] - a[1] for a, b in itertools.pairwise(spans)]

    def heard(self, leg: Leg, part: str) -> tuple[int, Any]:
        """Return the sample rate and the samples that the party heard in this part."""
        rate, (samples,) = read_audio(leg.heard())
        from_s, to_s = (at - _began(leg) for at in self._parts[part])
        return rate, cut_out(samples, rate, from_s, to_s)


class Spy:
    """A supervisor's session, and the leg of the supervisor's phone."""

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
        """Press a key on the phone."""
        self.leg.send_dtmf(key)

    def press_until(self, key: str, mode: str) -> None:
        """Press a key until the mode changes: no key works while nobody watches the PBX."""

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
        """Return the spy as the API shows it."""
        body: dict[str, Any] = self.watched.service.get(f"/spies/{self.id}")
        return body

    def await_end(self) -> dict[str, Any]:
        """Wait until the spy has ended, and return it."""
        return self.watched.await_state(self.id, "ended")


def watch(service: Service, world: World, **how: Any) -> Watched:
    """Let a customer call and an agent answer; return the call."""
    number = next(numbers)
    call = world.inbound(caller=number, **how)
    return Watched(service, world, call, service.live_call(number)["id"])


def watch_outbound(service: Service, world: World) -> Watched:
    """Let an agent call a customer; return the call."""
    number = next(numbers)
    call = world.outbound(agent="2001", number=number)

    def find() -> str | None:
        live = service.get("/calls")["items"]
        return next((one["id"] for one in live if one["callee"]["number"] == number), None)

    return Watched(service, world, call, until(find))


def assert_tones(
    samples: Any,
    rate: int,
    hz: Collection[float],
    who: str,
    absent_dbfs: float = ABSENT_DBFS,
) -> None:
    """Assert that samples have these tones, and no other tone of the lab."""
    for one in hz:
        level = level_dbfs(samples, rate, one)
        assert level > PRESENT_DBFS, f"{who}: {one} Hz is missing ({level:.0f} dBFS)"
    other, level = worst_other_tone(samples, rate, tuple(hz))
    assert level < absent_dbfs, f"{who}: {other} Hz is heard at {level:.0f} dBFS"


def write_tone(path: Path, hz: float, seconds: int = 60) -> Path:
    """Write a file with a tone, for example to give a phone a voice of its own."""
    samples = 0.3 * np.sin(2 * np.pi * hz * np.arange(seconds * 8000) / 8000)
    soundfile.write(path, samples.astype(np.float32), 8000, subtype="PCM_16")
    return path


def _began(leg: Leg) -> float:
    """Return the start of the party's heard file on the monotonic clock, by its end and length."""
    path = leg.heard()
    rate, samples = read_audio(path)
    return on_our_clock(path.stat().st_mtime) - samples.shape[-1] / rate


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans, joined over breaks that are too short for a switch back and forth."""
    joined: list[tuple[float, float]] = []
    for from_s, to_s in spans:
        if joined and from_s - joined[-1][1] < SHORTEST_BREAK_S:
            joined[-1] = (joined[-1][0], to_s)
        else:
            joined.append((from_s, to_s))
    return joined


def parts_left(world: World) -> list[str]:
    """Return the ids of our channels and bridges that are still on the PBX."""
    found = [*world.pbx.ari("GET", "/channels"), *world.pbx.ari("GET", "/bridges")]
    return [one["id"] for one in found if one["id"].startswith(OURS)]
