"""Supervisors on phones while a call is paused, by ear: they hear nothing unless they barge."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from lab.ears import level_dbfs, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ, Leg
from lab.waiting import until
from lab.world import World
from tests.pbx.talks import ABSENT_DBFS
from tests.pbx.watching import Spy, Watched, parts_left, watch, write_tone
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, C, S = AGENT_HZ["2001"], CUSTOMER_HZ, SUPERVISOR_HZ
S2 = 1540
# The tone at the start of a pause.
TONE_HZ, SHORTEST_TONE_S, LONGEST_TONE_S = 660, 0.15, 0.5


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records nothing by itself."""
    return start_service()


def set_paused(watched: Watched, recording: dict[str, Any], action: str) -> None:
    """Pause or resume a recording of the call."""
    answer = watched.service.post(f"/recordings/{recording['id']}/{action}")
    assert answer.status_code == 200, answer.text


def assert_silent(watched: Watched, leg: Leg, part: str) -> None:
    """Assert that the party heard nothing at all in this part."""
    rate, samples = watched.heard(leg, part)
    for hz in (C, A1, S, S2, TONE_HZ):
        assert level_dbfs(samples, rate, hz) < ABSENT_DBFS, f"{hz} Hz in {part}"
    assert abs(samples).max(initial=0.0) < 0.001, part


def tones_at_pauses(spy: Spy) -> list[float]:
    """Return the lengths of the tones that announced a pause."""
    rate, (samples,) = read_audio(spy.leg.heard())
    spans = [b - a for a, b in tone_spans(samples, rate, TONE_HZ) if b - a >= SHORTEST_TONE_S]
    assert all(length < LONGEST_TONE_S for length in spans), spans
    return spans


@pytest.mark.parametrize("mode", ["listen", "whisper"])
def test_a_supervisor_is_deaf_in_a_pause(service: Service, world: World, mode: str) -> None:
    """In a pause a supervisor hears one tone and then nothing; the agent still hears a whisper."""
    watched = watch(service, world)
    recording = service.record(watched.call_id)
    spy = watched.spy(mode)
    watched.part("before")
    set_paused(watched, recording, "pause")
    (span,) = spy.get()["heard"]
    assert span["to"] is not None
    watched.part("pause", 2.0)
    set_paused(watched, recording, "resume")
    watched.part("after")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for part in ("before", "after"):
        watched.assert_hears(spy.leg, part, C, A1)
    assert_silent(watched, spy.leg, "pause")
    for part in ("before", "pause", "after"):
        watched.assert_hears(customer, part, A1)
        watched.assert_hears(agent, part, *([C, S] if mode == "whisper" else [C]))
    assert len(tones_at_pauses(spy)) == 1
    first, second = spy.get()["heard"]
    assert first["to"] < second["from"]
    until(lambda: not parts_left(world))


def test_the_switches_of_a_pause(service: Service, world: World) -> None:
    """A barging supervisor hears in a pause; after a switch to listening no more."""
    watched = watch(service, world)
    recording = service.record(watched.call_id)
    spy = watched.spy("barge")
    set_paused(watched, recording, "pause")
    watched.part("barge")
    spy.switch("listen")
    watched.part("listen")
    spy.switch("barge")
    watched.part("again")
    set_paused(watched, recording, "resume")
    spy.switch("whisper")
    watched.part("whisper")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for part in ("barge", "again"):
        watched.assert_hears(spy.leg, part, C, A1)
        watched.assert_hears(customer, part, A1, S)
        watched.assert_hears(agent, part, C, S)
    assert_silent(watched, spy.leg, "listen")
    watched.assert_hears(spy.leg, "whisper", C, A1)
    watched.assert_hears(agent, "whisper", C, S)
    watched.assert_hears(customer, "whisper", A1)


def test_a_spy_that_starts_in_a_pause(service: Service, world: World) -> None:
    """A supervisor who comes during a pause hears the tone, and the call after the resume."""
    watched = watch(service, world)
    recording = service.record(watched.call_id)
    set_paused(watched, recording, "pause")
    spy = watched.spy("listen")
    assert spy.get()["heard"] == []
    watched.part("pause")
    set_paused(watched, recording, "resume")
    watched.part("after")
    watched.hang_up()
    assert_silent(watched, spy.leg, "pause")
    watched.assert_hears(spy.leg, "after", C, A1)
    assert len(tones_at_pauses(spy)) == 1
    (span,) = spy.get()["heard"]
    assert datetime.fromisoformat(span["from"]) < datetime.fromisoformat(span["to"])


def test_one_of_two_supervisors_barges(service: Service, world: World) -> None:
    """While one supervisor barges into a pause, the other still hears nothing."""
    watched = watch(service, world)
    recording = service.record(watched.call_id)
    one = watched.spy("listen")
    tone = write_tone(world.far_asterisk.directory / "s2.wav", S2)
    world.far.behave("9002", "answer", 0.1, tone)
    two = watched.spy("barge", "9002")
    watched.part("before")
    set_paused(watched, recording, "pause")
    watched.part("pause")
    two.switch("whisper")
    watched.part("both deaf")
    set_paused(watched, recording, "resume")
    watched.part("after")
    watched.hang_up()
    world.far.behave("9002", "answer", 0.1, None)
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    watched.assert_hears(one.leg, "before", C, A1)
    assert watched.level(one.leg, "before", S2) > ABSENT_DBFS
    assert_silent(watched, one.leg, "pause")
    watched.assert_hears(two.leg, "pause", C, A1)
    assert watched.level(customer, "pause", S2) > ABSENT_DBFS
    for spy in (one, two):
        assert_silent(watched, spy.leg, "both deaf")
        watched.assert_hears(spy.leg, "after", C, A1)
    assert watched.level(customer, "both deaf", S2) < ABSENT_DBFS
    assert watched.level(agent, "both deaf", S2) > ABSENT_DBFS
    until(lambda: not parts_left(world))
