"""Call-backs with real phones: the agent rings when it is time, and the customer once."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from earwitness.config import load_config
from earwitness.embedded import postgres_of
from lab.ears import read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.waiting import until
from lab.world import World
from storage.catalogue import callbacks
from storage.catalogue.engine import Catalogue
from tests.pbx.talks import numbers
from tests.service import Service

pytestmark = pytest.mark.pbx

AGENT = "2001"
# A worker that was killed is back within this time, on a busy machine too.
SOON_S = 60.0


@pytest.fixture
def catalogue(service: Service) -> Iterator[Catalogue]:
    """Open the catalogue of the service, to change the time of an attempt."""
    with closing(Catalogue(postgres_of(load_config(service.config)).url)) as opened:
        yield opened


def promise(service: Service, number: str, **more: Any) -> dict[str, Any]:
    """Make a call-back by the agent's phone, and return it."""
    answer = service.post("/callbacks", {"from": f"PJSIP/{AGENT}", "to": number, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def await_state(service: Service, made: dict[str, Any], state: str, cause: str | None) -> Any:
    """Wait until the call-back is in this state for this cause, and return it."""

    def find() -> Any:
        found = service.get(f"/callbacks/{made['id']}")
        assert (found["state"], found["cause"]) == (state, cause), found
        return found

    return until(find, SOON_S)


def bring_forward(catalogue: Catalogue, made: dict[str, Any]) -> None:
    """Let the next attempt of a call-back that waits be due now."""
    with catalogue.begin() as tx:
        moved = callbacks.move_callback(
            tx, UUID(made["id"]), to="waiting", next_at=datetime.now(UTC)
        )
    assert moved is not None


def test_a_busy_customer_is_called_again(
    service: Service, world: World, catalogue: Catalogue
) -> None:
    """The phone rings at the time, although the worker dies; the second attempt reaches the
    customer, and both hear each other."""
    number = next(numbers)
    world.far.behave(AGENT, "answer", 0.1, None)
    world.far.behave(number, "busy", 0, None)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    made = promise(service, number, at=soon.isoformat(), retry_after_s=[60])
    service.kill_role("work")
    waiting = await_state(service, made, "waiting", "busy")
    assert waiting["attempts"] == 1
    (first,) = waiting["dials"]
    assert datetime.fromisoformat(first["requested_at"]) >= soon
    until(lambda: not world.pbx.ari("GET", "/channels"))
    world.far.behave(number, "answer", 0.1, None)
    bring_forward(catalogue, made)
    call = world.dialled(AGENT, number)
    call.talk_for(1.5)
    call.hang_up()
    done = await_state(service, made, "done", None)
    assert (done["attempts"], len(done["dials"])) == (2, 2)
    for who, hz in (("agent", CUSTOMER_HZ), ("customer", AGENT_HZ[AGENT])):
        rate, (heard,) = read_audio(call.heard(who))
        heard_s = sum(to_s - from_s for from_s, to_s in tone_spans(heard, rate, hz))
        assert heard_s > 0.7, (who, heard_s)
    service.post("/do-not-call", {"number": number, "reason": "asked us not to"})
    refused = service.post("/callbacks", {"from": f"PJSIP/{AGENT}", "to": number})
    assert refused.json()["error_id"] == "number-refused"


def test_a_customer_who_calls_in_is_not_called(
    service: Service, world: World, catalogue: Catalogue
) -> None:
    """While the customer is in a call nobody rings; after the next call the promise is kept."""
    number = next(numbers)
    call = world.inbound(caller=number)
    service.live_call(number)
    made = promise(service, number)
    await_state(service, made, "waiting", "in-call")
    call.hang_up()
    until(lambda: not [one for one in service.get("/calls")["items"] if _is_of(one, number)])
    again = world.inbound(caller=number)
    until(lambda: service.live_call(number)["talking"])
    bring_forward(catalogue, made)
    cancelled = await_state(service, made, "cancelled", "called-in")
    assert cancelled["dials"] == []
    again.hang_up()


def _is_of(call: dict[str, Any], number: str) -> bool:
    return bool(call["caller"]["number"] == number)
