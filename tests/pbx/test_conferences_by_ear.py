"""Conferences that Earwitness holds, by ear: five people, supervisors, deaths of processes."""

from collections.abc import Callable

import pytest

from lab.ears import read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import MUSIC_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.conversing import Kept, Outcome, Span
from tests.pbx.meetings import Meeting
from tests.pbx.talks import FOLLOWS_WITHIN_S, assert_hears, numbers
from tests.pbx.watching import parts_left
from tests.service import Service

pytestmark = pytest.mark.pbx

C, A1, S = CUSTOMER_HZ, AGENT_HZ["2001"], SUPERVISOR_HZ
A4, A5 = AGENT_HZ["2004"], AGENT_HZ["2005"]
SOFT_CUSTOMER = "15055550200"
# A killed Asterisk has not yet written the last seconds of its files.
TALKED_S, LOST_WITHIN_S = 6.0, 3.5
RULE = """
[[rule]]
name = "customers of a queue"
when = 'did == "3000"'
action = "record"
"""


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records calls to one DID, and conferences as they ask."""
    return start_service(rules=RULE)


def test_a_conference_of_five(service: Service, world: World) -> None:
    """Each hears all others; nobody hears a muted member or one on hold, and no track has them.

    The one on hold hears music. One who is removed is out. Each track holds one voice.
    """
    customer = next(numbers)
    meeting = Meeting(service, world, name="five", record=True, layout="tracks")
    meeting.invite(customer, "2001", SOFT_CUSTOMER, "2004", "2005")
    meeting.part("all")
    meeting.change("2004", muted=True)
    meeting.part("muted")
    meeting.change("2004", muted=False)
    meeting.change("2005", on_hold=True)
    meeting.part("held")
    meeting.change("2005", on_hold=False)
    meeting.part("back")
    gone = meeting.remove("2004")
    meeting.part("removed")
    meeting.end()
    meeting.assert_each_hears("removed")
    meeting.legs["2004"] = gone
    meeting.assert_each_hears("all")
    meeting.assert_each_hears("muted", but=("2004",))
    meeting.assert_each_hears("back")
    held = meeting.legs.pop("2005")
    meeting.assert_each_hears("held")
    meeting.assert_hears(held, "held", MUSIC_HZ)
    (kept,) = meeting.await_recordings()
    legs = {**meeting.legs, "2005": held}
    assert_one_voice_each(service, kept, {number: leg.hz for number, leg in legs.items()})
    for hz, part in ((A4, "muted"), (A5, "held"), (MUSIC_HZ, "held")):
        assert kept.within(hz, *meeting.span(part)) == [], f"{hz} Hz in {part}"
    for leg in legs.values():
        assert kept.within(leg.hz, *meeting.span("all")), f"{leg.hz} Hz is missing"


def assert_one_voice_each(service: Service, kept: Kept, tones: dict[str, int]) -> None:
    """Assert that the recording has a track for each of these numbers, with its tone alone."""
    rate, tracks = read_audio(service.fetch_audio(kept.recording))
    track_of = {one["number"]: one["track"] for one in kept.recording["parties"]}
    assert track_of.keys() == tones.keys()
    assert sorted(track_of.values()) == list(range(len(tracks)))
    for number, track in track_of.items():
        assert_hears(tracks[track], rate, tones[number])


def test_a_supervisor_in_a_conference(service: Service, world: World) -> None:
    """A supervisor hears all; a whisper reaches one member alone, a barge reaches everybody."""
    customer = next(numbers)
    meeting = Meeting(service, world, name="watched", record=True)
    meeting.invite(customer, "2001", "2004")
    spy = meeting.watch("2001").spy("listen")
    meeting.part("listen")
    spy.switch("whisper")
    meeting.part("whisper")
    spy.switch("barge")
    meeting.part("barge")
    meeting.end()
    spy.await_end()
    spy.leg.await_down()
    for part in ("listen", "whisper", "barge"):
        meeting.assert_hears(spy.leg, part, C, A1, A4)
    meeting.assert_each_hears("listen")
    meeting.assert_each_hears("barge", S)
    meeting.assert_hears(meeting.legs.pop("2001"), "whisper", C, A4, S)
    meeting.assert_hears(meeting.legs[customer], "whisper", A1, A4)
    meeting.assert_hears(meeting.legs["2004"], "whisper", C, A1)
    (kept,) = meeting.await_recordings()
    assert kept.within(S, *meeting.span("barge"))
    assert kept.within(S, meeting.span("listen")[0], meeting.span("whisper")[1]) == []
    until(lambda: not parts_left(world))


def test_a_recorded_call_is_taken_into_a_conference(service: Service, world: World) -> None:
    """A customer and his agent come from their call; no second of them is missing."""
    number = next(numbers)
    call = world.inbound(caller=number)
    live = service.live_call(number)
    service.await_recording(live["id"])
    meeting = Meeting(service, world, name="taken", record=True)
    meeting.part("before", 1.0)
    meeting.take_in(live["id"], call.leg("customer"), call.leg("agent"))
    meeting.invite("2004")
    meeting.part("together", 2.0)
    meeting.end()
    meeting.assert_each_hears("together")
    kept = meeting.await_recordings()
    for hz in (C, A1):
        assert long_holes(kept, hz, meeting.span("before")[0], meeting.span("together")[1]) == []
    assert long_holes(kept, A4, *meeting.span("together")) == []


def long_holes(kept: list[Kept], hz: float, from_at: float, to_at: float) -> list[Span]:
    """Return the longer spans in which no recording has this tone."""
    holes = Outcome({"": (from_at, to_at)}, kept).holes(hz, "")
    return [(from_, to) for from_, to in holes if to - from_ > FOLLOWS_WITHIN_S]


def test_our_processes_die_during_a_conference(service: Service, world: World) -> None:
    """People go on talking and being recorded; a member is muted after the restart."""
    meeting = Meeting(service, world, name="orphan", record=True)
    meeting.invite(next(numbers), "2001", "2004")
    meeting.part("before", 1.0)
    before = {role: set(service.pids_of(role)) for role in ("watch", "api")}
    for role in before:
        service.kill_role(role)
    meeting.part("dead", 1.0)
    for role, pids in before.items():
        until(lambda role=role, pids=pids: set(service.pids_of(role)) - pids, 60)
    until(service.is_ready, 60)
    assert meeting.get()["state"] == "open"
    meeting.change("2004", muted=True)
    meeting.part("muted")
    meeting.end()
    for part in ("before", "dead"):
        meeting.assert_each_hears(part)
    meeting.assert_each_hears("muted", but=("2004",))
    kept = meeting.await_recordings()
    told = [gap for one in kept for gap in one.recording["gaps"]]
    for hz in (C, A1):
        holes = long_holes(kept, hz, meeting.span("before")[0], meeting.span("muted")[1])
        assert len(told) >= len(holes), (told, holes)
    assert all(one.within(A4, *meeting.span("muted")) == [] for one in kept)


def test_the_pbx_dies_during_a_conference(service: Service, world: World) -> None:
    """The conference ends, and the recording is kept up to then."""
    meeting = Meeting(service, world, name="lost", record=True)
    meeting.invite(next(numbers), "2001", "2004")
    meeting.part("talk", TALKED_S)
    world.pbx.kill()
    world.pbx.start()
    assert meeting.await_end()["cause"] == "pbx-lost"
    assert all(one["state"] == "left" for one in meeting.get()["members"])
    (kept,) = meeting.await_recordings()
    for hz in (C, A1, A4):
        spans = kept.within(hz, *meeting.span("talk"))
        assert sum(to_at - from_at for from_at, to_at in spans) > TALKED_S - LOST_WITHIN_S
    assert "pbx-lost" in {gap["cause"] for gap in kept.recording["gaps"]}
