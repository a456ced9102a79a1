"""Calls that are recorded by rules, and on demand; and what the parties hear of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lab.ears import cut_out, level_dbfs, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.pbx import DID_AGENT, DID_QUEUE, DID_VIP
from lab.waiting import until
from lab.world import World
from recorder.ari import Ari, ChannelUserevent, Connected, EventStream
from tests.pbx.talks import ABSENT_DBFS, numbers
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, C = AGENT_HZ["2001"], CUSTOMER_HZ
SOUND_HZ = 1700  # of the sound that confirms a start
PAUSED_HZ = 1850
BEEP_HZ = 1400
TOLD_HZ = 1550

RULES = """
[[rule]]
name = "never these"
when = 'caller.endsWith("99")'
action = "never"

[[rule]]
name = "told"
when = 'direction == "inbound" && caller.endsWith("88")'
action = "record"
announcement = "sound:vm-enter-num-to-call"
beep_every_s = 1

[[rule]]
name = "half of internal"
when = 'direction == "internal"'
action = "record"
sample_percent = 0

[[rule]]
name = "support"
when = 'did == "3000" && caller.endsWith("77") && weekday >= 1'
action = "record"
tags = ["support"]
layout = "mono"
format = "flac"
retention_days = 30

[[rule]]
name = "gold"
when = 'headers["X-Tier"] == "gold" && variables.VIP == "yes"'
headers = ["X-Tier"]
variables = ["VIP"]
action = "record"

[[rule]]
name = "from the ring on"
when = 'caller.endsWith("66") && queue == "support"'
action = "force"
begins = "ringing"

[[rule]]
name = "never with Cleo"
when = 'caller.endsWith("44") && agent == "2003"'
action = "never"

[[rule]]
name = "before Cleo"
when = 'caller.endsWith("44")'
action = "record"

[[rule]]
name = "all told"
when = 'caller.endsWith("33")'
action = "record"
announcement = "sound:{announcement}"
announce_to = "both"

[[rule]]
name = "told in vain"
when = 'caller.endsWith("29")'
action = "record"
announcement = "sound:earwitness/no-such-sound"

[[rule]]
name = "on demand"
when = 'direction == "inbound"'
action = "on_demand"
"""


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service], telephones: World) -> Service:
    """A service with the rules above, whose events an application `wallboard` may have."""
    sound = telephones.pbx.directory / "announcement.wav"
    tone = 0.25 * np.sin(2 * np.pi * TOLD_HZ * np.arange(8000) / 8000)
    soundfile.write(sound, tone, 8000, subtype="PCM_16")
    rules = RULES.replace("{announcement}", telephones.pbx.inside(sound.with_suffix("")))
    return start_service(rules=rules, user_events_to=["wallboard"])


def call_from(service: Service, world: World, ending: str, **more: Any) -> tuple[Any, str]:
    """A customer whose number ends so calls, and an agent answers; the call, and its id."""
    number = str(int(next(numbers)) * 100 + int(ending))
    call = world.inbound(caller=number, **more)
    return call, service.live_call(number)["id"]


def decided(service: Service, call_id: str) -> dict[str, Any]:
    """Why the call is recorded or not, once it was asked about after the answer."""

    def find() -> dict[str, Any] | None:
        decision = service.get(f"/calls/{call_id}")["decision"]
        answered = decision and any(one["facts"]["answered"] for one in decision["moments"])
        return dict(decision) if answered else None

    return until(find)


def hears(path: Path, hz: float) -> bool:
    """Whether a tone was heard for a tenth of a second."""
    rate, (samples,) = read_audio(path)
    return any(to_s - from_s >= 0.1 for from_s, to_s in tone_spans(samples, rate, hz))


def sounds_s(samples: Any, rate: int, hz: float) -> float:
    """For how long a tone sounds, in all: a packet that came late leaves 20 ms of silence."""
    return sum(to_s - from_s for from_s, to_s in tone_spans(samples, rate, hz))


def test_a_rule_records(service: Service, world: World) -> None:
    """A call that matches is recorded on the rule's terms, within 300 ms, and it tells why."""
    call, call_id = call_from(service, world, "77")
    recording = service.await_recording(call_id)
    decision = decided(service, call_id)
    assert (decision["action"], decision["rule"]["name"]) == ("record", "support")
    (asked,) = [one for one in decision["moments"][-1]["asked"] if one["name"] == "support"]
    assert asked["answer"] == "matched"
    assert decision["moments"][-1]["facts"]["did"] == "3000"
    call.talk_for(1.0)
    call.blind_transfer()
    call.talk_for(1.0)
    assert service.get(f"/recordings/{recording['id']}")["state"] == "recording"
    call.hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    terms = ("trigger", "rule", "layout", "tags")
    assert [kept[one] for one in terms] == ["rule", "support", "mono", ["support"]]
    assert kept["media"]["format"] == "flac"
    assert kept["retention"]["expires_at"] is not None
    assert [moment["action"] for moment in decided(service, call_id)["moments"]][-1] == "record"


def test_a_rule_forbids(service: Service, world: World) -> None:
    """Never means never: not by itself, not by the agent's keys, not over the API."""
    call, call_id = call_from(service, world, "99")
    assert decided(service, call_id)["action"] == "never"
    call.send_dtmf("*1")
    answer = service.post(f"/calls/{call_id}/recordings")
    assert (answer.status_code, answer.json()["error_id"]) == (409, "recording-forbidden")
    call.talk_for(1.0)
    call.hang_up()
    assert service.recordings(call_id) == []


def test_on_demand(service: Service, world: World) -> None:
    """The agent's keys start, pause and stop; the customer's do nothing; the agent hears it."""
    call, call_id = call_from(service, world, "11")
    assert decided(service, call_id)["action"] == "on_demand"
    call.send_dtmf("*1", by="customer")
    call.talk_for(1.0)
    assert service.recordings(call_id) == []
    call.send_dtmf("*1")
    recording = service.await_recording(call_id)
    call.talk_for(1.5)
    began = time.monotonic()
    call.send_dtmf("*2")
    service.await_state(recording["id"], ["paused"])
    call.talk_for(2.0)  # the agent has heard it by then
    call.blind_transfer()
    call.talk_for(1.0)
    assert service.get(f"/recordings/{recording['id']}")["state"] == "paused"
    call.send_dtmf("*2")
    service.await_state(recording["id"], ["recording"])
    paused_s = time.monotonic() - began
    call.talk_for(1.0)
    call.send_dtmf("*1")
    kept = service.await_state(recording["id"], ["stored"])
    call.hang_up()
    assert kept["trigger"] == "dtmf"
    (pause,) = kept["pauses"]
    assert pause["by"] == "2001"
    assert pause["to_s"] - pause["from_s"] == pytest.approx(paused_s, abs=1.0)
    rate, sides = read_audio(service.fetch_audio(kept))
    for side in sides:
        silent = cut_out(side, rate, pause["from_s"] + 0.1, pause["to_s"] - 0.1)
        assert level_dbfs(silent, rate, C) < ABSENT_DBFS
    agent, customer = call.left[0].heard(), call.heard("customer")
    assert hears(agent, SOUND_HZ), "the agent hears that it began"
    assert hears(agent, PAUSED_HZ), "and that it is paused"
    assert not hears(customer, SOUND_HZ), "the customer hears nothing of it"
    assert not hears(customer, PAUSED_HZ)


def test_an_announcement(service: Service, world: World) -> None:
    """The customer hears it before the recording begins, and the parties the beeps after it."""
    call, call_id = call_from(service, world, "88")
    recording = service.await_recording(call_id)
    assert service.get(f"/calls/{call_id}")["decision"]["announced"] != []
    call.talk_for(2.5)
    call.hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    assert kept["rule"] == "told"
    for who in ("customer", "agent"):
        assert hears(call.heard(who), BEEP_HZ), f"the {who} hears the beeps"


def test_an_announcement_that_the_pbx_lacks(service: Service, world: World) -> None:
    """The call is recorded, and it is not said that anybody was told."""
    call, call_id = call_from(service, world, "29")
    recording = service.await_recording(call_id)
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(recording["id"], ["stored"])
    decision = service.get(f"/calls/{call_id}")["decision"]
    assert (decision["rule"]["name"], decision["announced"]) == ("told in vain", [])


def test_who_joins_later_is_told(service: Service, world: World) -> None:
    """Both parties hear the announcement, once, and so does the agent who takes the call over."""
    call, call_id = call_from(service, world, "33")
    recording = service.await_recording(call_id)
    call.talk_for(1.0)
    call.blind_transfer()
    until(lambda: len(service.get(f"/calls/{call_id}")["decision"]["announced"]) == 3)
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(recording["id"], ["stored"])
    for who in ("customer", "2001", "2003"):
        rate, (samples,) = read_audio(call.heard(who))
        assert 0.8 < sounds_s(samples, rate, TOLD_HZ) < 1.2, who


def test_headers_and_variables(service: Service, world: World) -> None:
    """A rule reads what came with the INVITE, and what the dialplan has set."""
    for did, tier, action in (
        (DID_VIP, "gold", "record"),
        (DID_VIP, "tin", "on_demand"),
        (DID_AGENT, "gold", "on_demand"),
    ):
        call, call_id = call_from(service, world, "12", did=did, headers={"X-Tier": tier})
        decision = decided(service, call_id)
        assert decision["action"] == action
        assert decision["moments"][-1]["facts"]["headers"] == {"X-Tier": tier}
        call.hang_up()


def test_from_the_ring_on(service: Service, world: World) -> None:
    """A rule that begins at ringing records who waits in a queue; nobody stops it."""
    with world.phone("2001", "ring"), world.phone("2002", "ring"):
        call, call_id = call_from(service, world, "66", did=DID_QUEUE, answered_by="")
        recording = service.await_recording(call_id)
        call.leg("customer").await_up()
        answer = service.post(f"/recordings/{recording['id']}/stop")
        assert (answer.status_code, answer.json()["error_id"]) == (409, "recording-forced")
        time.sleep(1.0)  # alone in the queue
        call.leg("customer").hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    assert sounds_s(sides[0], rate, C) > 0.9


def test_never_in_mid_call(service: Service, world: World) -> None:
    """Where a call comes under a `never`, its recording ends, and what there is of it is kept."""
    call, call_id = call_from(service, world, "44")
    recording = service.await_recording(call_id)
    call.talk_for(1.0)
    call.blind_transfer()
    kept = service.await_state(recording["id"], ["stored"])
    call.talk_for(1.0)
    assert service.get(f"/calls/{call_id}")["decision"]["rule"]["name"] == "never with Cleo"
    assert len(service.recordings(call_id)) == 1
    call.hang_up()
    rate, sides = read_audio(service.fetch_audio(kept))
    assert sounds_s(sides[0], rate, C) > 0.9
    assert all(level_dbfs(side, rate, AGENT_HZ["2003"]) < ABSENT_DBFS for side in sides)


def test_other_applications_are_told(service: Service, world: World) -> None:
    """An application of somebody else sees our events as user events, while it is connected."""
    pbx = world.pbx
    client = Ari(pbx.ari_url, pbx.username, pbx.password, "wallboard")
    told: list[ChannelUserevent] = []
    with client, EventStream(client, subscribe_all=False) as stream:
        assert isinstance(stream.next(5), Connected)
        call, call_id = call_from(service, world, "77")
        recording = service.await_recording(call_id)
        call.talk_for(1.0)
        call.hang_up()
        service.await_state(recording["id"], ["stored"])

        def is_stored() -> bool:
            event = stream.next(1)
            if isinstance(event, ChannelUserevent):
                told.append(event)
            return any(one.eventname == "recording.stored" for one in told)

        until(is_stored)
    of_calls = [one.userevent for one in told if one.eventname.startswith("call.")]
    assert [one["state"] for one in of_calls if one["id"] == call_id][-1] == "ended"
    of_recordings = [one.userevent for one in told if one.eventname.startswith("recording.")]
    assert {one["id"] for one in of_recordings} == {recording["id"]}
    assert of_recordings[-1]["state"] == "stored"
    places = [tuple(map(int, one.userevent["event_id"].split("-"))) for one in told]
    assert places == sorted(set(places))


def test_a_rule_of_the_api(service: Service, world: World) -> None:
    """A rule that was just added counts for the next call; one that was deleted no more."""
    rule = {"name": "new", "when": 'caller.endsWith("55")', "action": "record", "priority": 1}
    made = service.post("/rules", rule).json()
    time.sleep(1.0)  # what a change may take to be known everywhere
    call, call_id = call_from(service, world, "55")
    recording = service.await_recording(call_id)
    assert recording["rule"] == "new"
    assert service.delete(f"/rules/{made['id']}").status_code == 200
    time.sleep(1.0)
    assert service.get(f"/recordings/{recording['id']}")["state"] == "recording"
    call.hang_up()
    call, call_id = call_from(service, world, "55")
    assert decided(service, call_id)["rule"]["name"] == "on demand"
    call.hang_up()


def test_a_dialplan_asks(service: Service, world: World) -> None:
    """`CURL()` on the PBX is answered in one line, and a user event is obeyed."""
    call, call_id = call_from(service, world, "22")
    decided(service, call_id)
    (channel,) = [
        one for one in service.get(f"/calls/{call_id}")["channels"] if one["party"] == "customer"
    ]
    url = f"{service.url}/api/v1/dialplan/record?channel={channel['name']}&action="
    assert curl(world, url + "decide") == "on_demand: rule 'on demand'"
    assert curl(world, url + "start").startswith("ok: recording ")
    recording = service.await_recording(call_id)
    assert recording["trigger"] == "dialplan"
    event = {"application": "earwitness", "source": f"channel:{channel['id']}"}
    body = {"variables": {"action": "pause"}}
    world.pbx.ari("POST", "/events/user/earwitness", body=body, **event)
    service.await_state(recording["id"], ["paused"])
    assert curl(world, url + "stop").startswith("ok: captured ")
    call.hang_up()


def curl(world: World, url: str) -> str:
    """What the PBX's own `CURL()` gives."""
    told = world.pbx.cli(f"dialplan eval function CURL({url})")
    return next(line.partition(": ")[2] for line in told.splitlines() if "Result" in line).strip()


def test_drafts_on_past_calls(service: Service, world: World, tmp_path: Path) -> None:
    """`rules test` tells what drafts would have done with the calls above."""
    drafts = tmp_path / "drafts.toml"
    drafts.write_text("[[rule]]\nname = 'all'\naction = 'record'\n")
    lines = service.run("rules", "test", str(drafts)).splitlines()
    ended = service.get("/calls", state="ended")["items"]
    talks = [one for one in ended if any(m["facts"]["answered"] for m in moments_of(one))]
    assert len(talks) > 5
    assert lines[0].startswith(f"{len(ended)} calls since ")
    assert lines[1].startswith(f"{len(talks)} would have been recorded; ")


def moments_of(call: dict[str, Any]) -> list[dict[str, Any]]:
    """When the rules were asked about the call."""
    return list(call["decision"]["moments"]) if call["decision"] else []


def test_assurance(service: Service, world: World) -> None:
    """What somebody else ends begins again; what is missing is told, and nothing else is."""
    call, call_id = call_from(service, world, "77")
    recording = service.await_recording(call_id)
    call.talk_for(1.0)
    began = time.monotonic()
    while time.monotonic() - began < 3:
        for snoop in snoops(world):
            world.pbx.ari_response("DELETE", f"/channels/{snoop}")
        time.sleep(0.02)
    until(lambda: len(snoops(world)) == 2, 8)
    call.talk_for(1.0)
    call.hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    assert sum(one["to_s"] - one["from_s"] for one in kept["gaps"]) > 1
    (missing,) = until(lambda: service.get("/assurance")["items"] or None, 10)
    assert (missing["call_id"], missing["cause"]) == (call_id, "has-gaps")
    assert missing["expected_s"] - missing["covered_s"] > 1


def snoops(world: World) -> list[str]:
    """The channels that capture."""
    listed = world.pbx.ari("GET", "/channels")
    return [one["id"] for one in listed if one["name"].startswith("Snoop/")]


def test_a_variable_of_a_leg_that_left(service: Service, world: World) -> None:
    """What forbade to record an agent's call forbids it on, once the agent has handed it over."""
    number, into = "12025550999", "into agents"
    for line in ("1,Set(NOREC=1)", f"2,Dial(PJSIP/{number}@trunk,60,T)"):
        world.pbx.cli(f"dialplan add extension {number},{line} {into}")
    when = 'variables["NOREC"] == "1"'
    made = [
        service.post("/rules", rule).json()["id"]
        for rule in (
            {"name": "not these", "when": when, "variables": ["NOREC"], "action": "never"},
            {"name": "all others", "when": 'direction == "outbound"', "action": "record"},
        )
    ]
    time.sleep(1.0)  # what a change may take to be known everywhere
    call = world.outbound(number=number)
    call_id = service.live_call("2001")["id"]
    assert decided(service, call_id)["action"] == "never"
    call.blind_transfer()
    call.talk_for(1.0)
    call.hang_up()
    until(lambda: service.get(f"/calls/{call_id}")["state"] == "ended")
    moments = decided(service, call_id)["moments"]
    assert {one["rule"]["name"] for one in moments} == {"not these"}
    assert moments[-1]["facts"]["agent"] == "2003"
    assert service.recordings(call_id) == []
    world.pbx.cli(f"dialplan remove extension {number}@agents")
    for rule_id in made:
        service.delete(f"/rules/{rule_id}")


def test_never_and_back(service: Service, world: World) -> None:
    """What a rule and a person record ends at a `never`; after it the rule begins another."""
    call, call_id = call_from(service, world, "44")
    before = service.await_recording(call_id)
    by_hand = service.record(call_id)
    call.talk_for(1.0)
    call.blind_transfer("2003")
    for one in (before, by_hand):
        service.await_state(one["id"], ["stored"])
    call.talk_for(1.0)
    call.blind_transfer("2002")
    after = until(lambda: next(iter(running(service, call_id)), None))
    assert after["trigger"] == "rule"
    call.talk_for(2.0)
    assert len(running(service, call_id)) == 1
    call.hang_up()
    kept = service.await_state(after["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    assert sounds_s(sides[0], rate, C) > 1.5
    assert sounds_s(sides[1], rate, AGENT_HZ["2002"]) > 1.5
    assert len(service.recordings(call_id)) == 3


def running(service: Service, call_id: str) -> list[dict[str, Any]]:
    """The recordings of a call that record now."""
    return [one for one in service.recordings(call_id) if one["state"] == "recording"]
