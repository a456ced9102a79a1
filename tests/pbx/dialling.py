"""Calls that the service dials, with the legs of the agent's phone and of the number."""

import time
from collections.abc import Mapping
from typing import Any

from lab.ears import cut_out, read_audio, tone_spans
from lab.far import AGENT_HZ, Leg, hz_of
from lab.pbx import RING_HZ
from lab.waiting import until
from lab.world import Call, World
from tests.pbx.talks import assert_hears
from tests.pbx.watching import Watched
from tests.service import Service

PHONE = "2001"
A = AGENT_HZ[PHONE]
RINGS_S = 1.5


def dial(service: Service, to: str, **more: Any) -> dict[str, Any]:
    """Let the agent dial a number; return the call."""
    answer = service.post("/calls", {"from": f"PJSIP/{PHONE}", "to": to, **more})
    assert answer.status_code == 201, answer.text
    call: dict[str, Any] = answer.json()
    assert answer.headers["Location"].endswith(f"/api/v1/calls/{call['id']}")
    return call


def await_dial(service: Service, call_id: str, **wanted: str) -> dict[str, Any]:
    """Wait until the progress of the call has these fields; return the call."""

    def find() -> dict[str, Any]:
        call: dict[str, Any] = service.get(f"/calls/{call_id}")
        assert call["dial"] == {**call["dial"], **wanted}, call["dial"]
        return call

    return until(find)


def end_of(service: Service, world: World, to: str, **more: Any) -> str:
    """Let the agent dial a number, and return the cause of the end."""
    call = dial(service, to, **more)
    cause: str = await_dial(service, call["id"], state="ended")["dial"]["cause"]
    until(lambda: not world.pbx.ari("GET", "/channels"))
    return cause


def talk_spied_and_paused(service: Service, world: World, to: str) -> Mapping[str, Any]:
    """Dial a number, hear the ringing, talk, pause, spy; assert who hears whom.

    Return the ended call.
    """
    number = f"+{to}"
    world.far.behave(PHONE, "ring", 0, None)
    with world.phone(to, "answer", RINGS_S):
        call_id = dial(service, to, record=True)["id"]
        shown = world.far.await_ringing(PHONE).shown()
        assert shown == {"name": "Click to dial", "number": to}
        ringing = await_dial(service, call_id, state="ringing", number=number)
        assert (ringing["state"], ringing["trigger"], ringing["direction"]) == (
            *("ringing", "dialled"),
            "outbound",
        )
        agent = world.far.pick_up(PHONE)
        picked_up = time.monotonic()
        customer_sees = world.far.await_ringing(to).shown()
        assert await_dial(service, call_id, state="dialling")["state"] == "ringing"
        customer = world.far.await_leg(to)
        rang_s = time.monotonic() - picked_up
    up = await_dial(service, call_id, state="up")
    assert customer_sees["number"] == PHONE  # the dialplan of the lab sets no other
    assert (up["caller"]["number"], up["callee"]["number"], up["agent"]) == (PHONE, to, PHONE)
    assert [one["id"] for one in service.get("/calls")["items"]] == [call_id]
    recording = service.await_recording(call_id)
    assert recording["trigger"] == "dialled"
    watched = Watched(service, world, Call(world, customer, agent), call_id)
    watched.part("talk")
    spy = watched.spy("listen")
    watched.part("spied")
    assert service.post(f"/recordings/{recording['id']}/pause").json()["state"] == "paused"
    watched.part("paused", 1.0)
    watched.hang_up()
    spy.await_end()
    ended = await_dial(service, call_id, state="ended", cause="ended")
    for part in ("talk", "spied", "paused"):
        watched.assert_hears(agent, part, hz_of(to))
        watched.assert_hears(customer, part, A)
    watched.assert_hears(spy.leg, "spied", hz_of(to), A)
    watched.assert_hears(spy.leg, "paused")
    _assert_ringing_heard(agent, rang_s)
    _assert_recorded(service, recording["id"], to)
    return ended


def _assert_ringing_heard(agent: Leg, rang_s: float) -> None:
    """Assert that the agent heard the number ring, and nothing of it after the answer."""
    rate, (heard,) = read_audio(agent.heard())
    spans = tone_spans(heard, rate, RING_HZ)
    assert spans, "no ringing"
    assert spans[-1][1] < rang_s + 0.5, spans


def _assert_recorded(service: Service, recording_id: str, to: str) -> None:
    """Assert that the recording has both voices from the answer to the pause, and no ringing."""
    kept = service.await_state(recording_id, ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    pause_s = kept["pauses"][0]["from_s"]
    for side, hz in zip(sides, (hz_of(to), A), strict=True):
        assert_hears(cut_out(side, rate, 0.3, pause_s - 0.3), rate, hz)
        (first, *_) = tone_spans(side, rate, hz)
        assert first[0] < 0.5, first
    assert kept["direction"] == "outbound"
    assert [one["name"] for one in kept["parties"] if one["party"] == "customer"] == [None]
