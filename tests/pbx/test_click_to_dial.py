"""Click to dial: a phone rings, then the number; the parties, the recording and the causes."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.ears import read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.pbx import OUTBOUND
from lab.waiting import until
from lab.world import World
from tests.pbx.dialling import PHONE, await_dial, dial, end_of, talk_spied_and_paused
from tests.pbx.talks import numbers
from tests.pbx.watching import write_tone
from tests.service import REPOSITORY, Service

pytestmark = pytest.mark.pbx

A, C = AGENT_HZ[PHONE], CUSTOMER_HZ
ANNOUNCEMENT_HZ = 1640
RING_S = 5
FORBIDDEN = "14045550123"
RULES = """
[[rule]]
name = "never these"
when = 'callee == "14045550123"'
action = "never"
"""


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service that records no call by a rule."""
    return start_service(rules=RULES, dialling={"ring_s": RING_S})


@pytest.fixture(autouse=True)
def _phone_answers(world: World) -> None:
    """Let the agent's phone answer at once, unless a test says otherwise."""
    world.far.behave(PHONE, "answer", 0.1, None)


def test_the_agent_hears_ringing_then_the_customer(service: Service, world: World) -> None:
    """A dialled call has both voices from the answer on, is paused and spied on like any other."""
    ended = talk_spied_and_paused(service, world, next(numbers))
    assert ended["dial"]["phone"] == "PJSIP/2001"
    assert ended["dial"]["answered_at"] < ended["dial"]["talked_at"] == ended["answered_at"]
    entry = service.get("/audit", subject=ended["id"])["items"][-1]
    assert (entry["action"], entry["outcome"]) == ("call.dial", "done")


@pytest.mark.parametrize(
    ("manner", "cause"),
    [
        ("busy", "busy"),
        ("decline", "declined"),
        ("absent", "no-answer"),
        ("unallocated", "wrong-number"),
    ],
)
def test_a_number_that_does_not_answer(
    service: Service, world: World, manner: Any, cause: str
) -> None:
    """Each end has its cause, by the answer of the number."""
    number = next(numbers)
    world.far.behave(number, manner, 0, None)
    assert end_of(service, world, number) == cause


@pytest.mark.parametrize(
    ("manner", "cause"),
    [
        ("busy", "agent-busy"),
        ("decline", "agent-declined"),
        ("unallocated", "agent-unreachable"),
        ("ring", "agent-no-answer"),
    ],
)
def test_a_phone_that_does_not_answer(
    service: Service, world: World, manner: Any, cause: str
) -> None:
    """The number is not dialled, and the cause says why."""
    world.far.behave(PHONE, manner, 0, None)
    number = next(numbers)
    assert end_of(service, world, number) == cause
    assert [c for c in world.far.channels() if c["channelvars"]["LAB_PARTY"] == number] == []


def test_a_phone_that_forwards_its_calls(service: Service, world: World) -> None:
    """No forwarding leads the call of an agent out of the house."""
    number = next(numbers)
    world.far.forward(PHONE, number)
    assert end_of(service, world, next(numbers)) == "agent-unreachable"


def test_an_agent_hangs_up_while_the_number_rings(service: Service, world: World) -> None:
    """The call is cancelled, by the agent's phone or over HTTP, and stops ringing at the number."""
    number = next(numbers)
    world.far.behave(number, "ring", 0, None)
    call = dial(service, number)
    agent, ringing = world.far.await_leg(PHONE), world.far.await_ringing(number)
    agent.hang_up()
    ringing.await_down()
    assert await_dial(service, call["id"], state="ended")["dial"]["cause"] == "cancelled"
    until(lambda: not world.pbx.ari("GET", "/channels"))
    second = dial(service, number)
    ringing = world.far.await_ringing(number)
    assert service.delete(f"/calls/{second['id']}").json()["dial"]["cause"] == "cancelled"
    ringing.await_down()
    until(lambda: service.get(f"/calls/{second['id']}")["state"] == "ended")


def test_a_phone_in_a_call_is_not_rung(service: Service, world: World) -> None:
    """A phone in a call is refused, and of many requests at once one rings it."""
    number = next(numbers)
    wanted = {"from": "PJSIP/2001", "to": number}
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: service.post("/calls", wanted), range(6)))
    assert sorted(one.status_code for one in answers) == [201, *[409] * 5]
    refused = next(one for one in answers if one.status_code == 409)
    assert refused.json()["error_id"] == "phone-busy"
    world.far.await_leg(number)
    assert service.post("/calls", wanted).json()["error_id"] == "phone-busy"
    legs = [one["channelvars"]["LAB_PARTY"] for one in world.far.channels()]
    assert sorted(legs) == sorted([number, PHONE])


def test_a_repeat_with_the_same_key_rings_once(service: Service, world: World) -> None:
    """Repeats at once and after the answer get the same call, and ring no phone."""
    number = next(numbers)
    wanted = {"from": "PJSIP/2001", "to": number}

    def ask(_: int) -> tuple[int, Any]:
        answer = service.post("/calls", wanted, headers={"Idempotency-Key": "twice"})
        return answer.status_code, answer.json().get("id") or answer.json()["error_id"]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(4)))
    call_ids = {what for status, what in answers if status == 201}
    assert len(call_ids) == 1, answers
    assert {what for status, what in answers if status != 201} <= {"idempotency-key-reused"}
    world.far.await_leg(number)
    assert ask(0) == (201, *call_ids)
    world.hang_up_all()
    await_dial(service, *call_ids, state="ended")
    assert ask(0) == (201, *call_ids)
    time.sleep(0.5)
    assert world.far.channels() == []


def test_a_rule_that_forbids_wins(service: Service, world: World) -> None:
    """A call whose rule says never is not recorded, although the request wants it."""
    call = dial(service, FORBIDDEN, record=True)
    world.far.await_leg(FORBIDDEN)
    await_dial(service, call["id"], state="up")
    until(lambda: service.get(f"/calls/{call['id']}")["decision"]["action"] == "never")
    time.sleep(1.0)
    assert service.recordings(call["id"]) == []


def test_an_announcement_comes_first(service: Service, world: World) -> None:
    """The customer hears the announcement of the request, then the recording starts."""
    wav = write_tone(world.pbx.directory / "dialled.wav", ANNOUNCEMENT_HZ, seconds=1)
    sound = world.pbx.inside(wav.with_suffix(""))
    number = next(numbers)
    call = dial(service, number, record=True, announce=f"sound:{sound}")
    customer = world.far.await_leg(number)
    recording = service.await_recording(call["id"])
    time.sleep(1.0)
    customer.hang_up()
    rate, (heard,) = read_audio(customer.heard())
    assert tone_spans(heard, rate, ANNOUNCEMENT_HZ)
    kept = service.await_state(recording["id"], ["stored"])
    rate, sides = read_audio(service.fetch_audio(kept))
    assert not any(tone_spans(side, rate, ANNOUNCEMENT_HZ) for side in sides)
    assert tone_spans(sides[0], rate, C)
    assert tone_spans(sides[1], rate, A)


def test_the_house_has_a_number(service: Service, world: World) -> None:
    """The customer sees the number that the documented dialplan sets, never his own."""
    number, house = next(numbers), "12025550000"
    for priority, application in enumerate(documented_dialplan(), 1):
        line = f"{number},{priority},{application}"
        world.pbx.cli(f"dialplan add extension {line} into {OUTBOUND}")
    world.far.behave(number, "ring", 0, None)
    call = dial(service, number)
    assert world.far.await_ringing(number).shown()["number"] == house
    assert service.get(f"/calls/{call['id']}")["caller"]["number"] == PHONE


def documented_dialplan() -> list[str]:
    """Return the applications of the example in docs/dialling.md, in order."""
    text = (REPOSITORY / "docs/dialling.md").read_text(encoding="utf-8")
    example = text.partition("[earwitness-out]\n")[2].partition("```")[0]
    found = re.findall(r"^(?:exten => \S+?,1,| same => n,)(.+)$", example, re.MULTILINE)
    assert len(found) == 3, found
    return found


def test_the_watcher_dies_while_the_number_rings(service: Service, world: World) -> None:
    """The next watcher finds the call, its answer and its end."""
    number = next(numbers)
    world.far.behave(number, "ring", 0, None)
    call_id = dial(service, number, record=True)["id"]
    world.far.await_ringing(number)
    await_dial(service, call_id, state="dialling")
    service.kill_role("watch")
    customer = world.far.pick_up(number)
    until(lambda: service.get(f"/calls/{call_id}")["dial"]["state"] == "up", 30)
    service.await_recording(call_id)
    customer.hang_up()
    ended = await_dial(service, call_id, state="ended", cause="ended")
    assert (ended["caller"]["number"], ended["callee"]["number"]) == (PHONE, number)


def test_the_pbx_is_killed_in_a_call(service: Service, world: World) -> None:
    """The call ends with the PBX, and the phone can be rung again."""
    number = next(numbers)
    call_id = dial(service, number)["id"]
    world.far.await_leg(number)
    await_dial(service, call_id, state="up")
    service.kill_role("api")  # nothing of the call depends on it
    world.pbx.kill()
    world.far.hang_up_all()
    world.pbx.start()
    until(lambda: service.is_ready() and service.get("/calls")["items"] == [], 60)
    ended = await_dial(service, call_id, state="ended", cause="ended")
    assert ended["state"] == "ended"
    until(lambda: service.post("/calls", {"from": "PJSIP/2001", "to": number}).ok, 30)
    world.far.await_leg(number)
