"""Rules record calls, forbid it, or let agents decide; the parties hear announcements and beeps."""

import threading
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
from tests.pbx.watching import Watched
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, C = AGENT_HZ["2001"], CUSTOMER_HZ
STARTED_HZ = 1700
PAUSED_HZ = 1850
BEEP_HZ = 1400
ANNOUNCEMENT_HZ = 1550
CLICK_S = 0.03  # the start of another tone

RULES = """
[[rule]]
name = "never these"
when = 'caller.endsWith("99")'
action = "never"

[[rule]]
name = "announced"
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
name = "announced to both"
when = 'caller.endsWith("33")'
action = "record"
announcement = "sound:{announcement}"
announce_to = "both"

[[rule]]
name = "announced in vain"
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
    """Start a service with the rules above; it sends events to an application `wallboard`."""
    sound = telephones.pbx.directory / "announcement.wav"
    tone = 0.25 * np.sin(2 * np.pi * ANNOUNCEMENT_HZ * np.arange(8000) / 8000)
    soundfile.write(sound, tone, 8000, subtype="PCM_16")
    rules = RULES.replace("{announcement}", telephones.pbx.inside(sound.with_suffix("")))
    return start_service(rules=rules, user_events_to=["wallboard"])


def call_from(service: Service, world: World, ending: str, **more: Any) -> tuple[Any, str]:
    """Let a customer call whose number has this ending; return the answered call, and its id."""
    number = str(int(next(numbers)) * 100 + int(ending))
    call = world.inbound(caller=number, **more)
    return call, service.live_call(number)["id"]


def decided(service: Service, call_id: str) -> dict[str, Any]:
    """Wait for the evaluation of the rules after the answer; return the call's decision."""

    def find() -> dict[str, Any] | None:
        decision = service.get(f"/calls/{call_id}")["decision"]
        answered = decision and any(one["facts"]["answered"] for one in decision["moments"])
        return dict(decision) if answered else None

    return until(find)


def hears(path: Path, hz: float) -> bool:
    """Return whether a tone sounds for a tenth of a second in a file."""
    rate, (samples,) = read_audio(path)
    return any(to_s - from_s >= 0.1 for from_s, to_s in tone_spans(samples, rate, hz))


def sounds_s(samples: Any, rate: int, hz: float) -> float:
    """Return the total time of a tone; a late packet leaves 20 ms of silence in it."""
    return sum(to_s - from_s for from_s, to_s in tone_spans(samples, rate, hz))


def test_a_rule_records(service: Service, world: World) -> None:
    """A matching call is recorded on the rule's terms, and shows the reason."""
    call, call_id = call_from(service, world, "77")
    recording = service.await_recording(call_id)
    decision = decided(service, call_id)
    assert (decision["action"], decision["rule"]["name"]) == ("record", "support")
    (rule,) = [one for one in decision["moments"][-1]["asked"] if one["name"] == "support"]
    assert rule["answer"] == "matched"
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
    """Under `never` nothing starts a recording: no rule, no key of the agent, no request."""
    call, call_id = call_from(service, world, "99")
    assert decided(service, call_id)["action"] == "never"
    call.send_dtmf("*1")
    answer = service.post(f"/calls/{call_id}/recordings")
    assert (answer.status_code, answer.json()["error_id"]) == (409, "recording-forbidden")
    call.talk_for(1.0)
    call.hang_up()
    assert service.recordings(call_id) == []


def test_on_demand(service: Service, world: World) -> None:
    """The agent's keys start, pause and stop, with a tone; the customer's keys do nothing."""
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
    call.talk_for(2.0)  # long enough for the tone
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
    assert hears(agent, STARTED_HZ), "the agent hears that it began"
    assert hears(agent, PAUSED_HZ), "and that it is paused"
    assert not hears(customer, STARTED_HZ), "the customer hears nothing of it"
    assert not hears(customer, PAUSED_HZ)


def test_an_announcement(service: Service, world: World) -> None:
    """A recording with an announcement starts after it, and both parties hear the beeps."""
    call, call_id = call_from(service, world, "88")
    recording = service.await_recording(call_id)
    assert service.get(f"/calls/{call_id}")["decision"]["announced"] != []
    call.talk_for(2.5)
    call.hang_up()
    kept = service.await_state(recording["id"], ["stored"])
    assert kept["rule"] == "announced"
    for who in ("customer", "agent"):
        assert hears(call.heard(who), BEEP_HZ), f"the {who} hears the beeps"


def test_an_announcement_that_the_pbx_lacks(service: Service, world: World) -> None:
    """A call is recorded without its announcement, and the decision lists no announced party."""
    call, call_id = call_from(service, world, "29")
    recording = service.await_recording(call_id)
    call.talk_for(1.0)
    call.hang_up()
    service.await_state(recording["id"], ["stored"])
    decision = service.get(f"/calls/{call_id}")["decision"]
    assert (decision["rule"]["name"], decision["announced"]) == ("announced in vain", [])


def test_a_party_that_joins_later_hears_the_announcement(service: Service, world: World) -> None:
    """Both parties hear the announcement once, and so does the agent who takes the call over."""
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
        assert 0.8 < sounds_s(samples, rate, ANNOUNCEMENT_HZ) < 1.2, who


def test_headers_and_variables(service: Service, world: World) -> None:
    """A rule reads headers of the INVITE and variables of the dialplan."""
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
    """A forced rule with `begins = "ringing"` records a caller in a queue; nobody can stop it."""
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
    """When a call comes under `never`, its recording ends and is kept."""
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


def test_no_way_around_a_never(service: Service, world: World) -> None:
    """Neither a supervisor who listens nor requests to record get a forbidden voice into a file.

    Requests come all the time around the transfer to the agent whom nobody may record.
    """
    call, call_id = call_from(service, world, "44")
    service.await_recording(call_id)
    watched = Watched(service, world, call, call_id)
    spy = watched.spy("listen")
    path, over = f"/calls/{call_id}/recordings", threading.Event()

    def request() -> None:
        while not over.wait(0.15):
            service.post(path)

    requests = threading.Thread(target=request)
    requests.start()
    call.talk_for(0.5)
    call.blind_transfer()
    call.talk_for(1.5)
    over.set()
    requests.join()
    assert service.post(path).json()["error_id"] == "recording-forbidden"
    assert spy.get()["state"] == "live"
    call.hang_up()
    made = service.recordings(call_id)
    assert len(made) > 1
    for one in made:
        ended = service.await_state(one["id"], ["stored", "aborted"])
        if ended["state"] == "stored":
            rate, sides = read_audio(service.fetch_audio(ended))
            spans = [span for side in sides for span in tone_spans(side, rate, AGENT_HZ["2003"])]
            heard_s = [to_s - from_s for from_s, to_s in spans]
            assert max(heard_s, default=0.0) < CLICK_S, (ended["gaps"], spans)


def test_other_applications_get_our_events(service: Service, world: World) -> None:
    """A connected application of another program gets our events as user events."""
    pbx = world.pbx
    client = Ari(pbx.ari_url, pbx.username, pbx.password, "wallboard")
    received: list[ChannelUserevent] = []
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
                received.append(event)
            return any(one.eventname == "recording.stored" for one in received)

        until(is_stored)
    of_calls = [one.userevent for one in received if one.eventname.startswith("call.")]
    assert [one["state"] for one in of_calls if one["id"] == call_id][-1] == "ended"
    of_recordings = [one.userevent for one in received if one.eventname.startswith("recording.")]
    assert {one["id"] for one in of_recordings} == {recording["id"]}
    assert of_recordings[-1]["state"] == "stored"
    places = [tuple(map(int, one.userevent["event_id"].split("-"))) for one in received]
    assert places == sorted(set(places))


def test_a_rule_of_the_api(service: Service, world: World) -> None:
    """A new rule applies to the next call; a deleted one does not."""
    rule = {"name": "new", "when": 'caller.endsWith("55")', "action": "record", "priority": 1}
    made = service.post("/rules", rule).json()
    time.sleep(1.0)  # every process uses a change within a second
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


def test_a_dialplan(service: Service, world: World) -> None:
    """A dialplan gets one line for `CURL()`, and its user events take effect."""
    call, call_id = call_from(service, world, "22")
    decided(service, call_id)
    (channel,) = [
        one for one in service.get(f"/calls/{call_id}")["channels"] if one["party"] == "customer"
    ]
    host = service.url.removeprefix("http://")
    paths = f"/api/v1/dialplan/record?channel={channel['name']}&action="
    refused = curl(world, f"http://{host}{paths}stop")
    assert refused.startswith("error: not-authenticated: ")
    url = f"http://{service.dialplan_token()}@{host}{paths}"
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
    """Return the result of the PBX's own `CURL()`."""
    output = world.pbx.cli(f"dialplan eval function CURL({url})")
    return next(line.partition(": ")[2] for line in output.splitlines() if "Result" in line).strip()


def test_drafts_on_past_calls(service: Service, world: World, tmp_path: Path) -> None:
    """`rules test` counts conversations and recorded calls, and those that drafts would record."""
    drafts = tmp_path / "drafts.toml"
    drafts.write_text("[[rule]]\nname = 'all'\naction = 'record'\n")
    lines = service.run("rules", "test", str(drafts)).splitlines()
    ended = service.get("/calls", state="ended")["items"]
    talks = [one for one in ended if any(m["facts"]["answered"] for m in moments_of(one))]
    assert len(talks) > 5
    was_recorded = {one["id"] for one in ended if service.recordings(one["id"])}
    counted = was_recorded | {one["id"] for one in talks}
    assert len(counted) < len(ended)
    assert lines[0].startswith(f"{len(counted)} calls since ")
    assert lines[1].startswith(f"{len(talks)} would have been recorded; ")


def moments_of(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the moments at which the rules were evaluated for the call."""
    return list(call["decision"]["moments"]) if call["decision"] else []


def test_assurance(service: Service, world: World) -> None:
    """A capture that another program ends starts again; only its missing audio is reported."""
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
    """Return the ids of the snoops on the PBX."""
    listed = world.pbx.ari("GET", "/channels")
    return [one["id"] for one in listed if one["name"].startswith("Snoop/")]


def test_a_variable_of_a_leg_that_left(service: Service, world: World) -> None:
    """A variable of an agent's leg still forbids the recording after the agent's transfer."""
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
    time.sleep(1.0)  # every process uses a change within a second
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
    """`never` ends the recordings of a rule and of a person; after it the rule starts another."""
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
    """Return the recordings of a call that record now."""
    return [one for one in service.recordings(call_id) if one["state"] == "recording"]
