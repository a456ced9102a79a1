"""A phone that speaks before it answers (SIP 183) is recorded from then on, if its rule says so."""

from collections.abc import Callable

import pytest

from lab.ears import cut_out, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ
from lab.pbx import DID_AGENT, DID_ANSWERED
from lab.world import World
from tests.pbx.talks import assert_hears, assert_no_gap, numbers
from tests.service import Service

pytestmark = pytest.mark.pbx

A1, C = AGENT_HZ["2001"], CUSTOMER_HZ
EARLY_S = 2.0
STARTS_WITHIN_S = 0.5
RULES = """
[[rule]]
name = "from early media on"
when = 'did == "3006"'
action = "record"
begins = "media"
format = "wav"

[[rule]]
name = "from the answer on"
when = 'did == "3000"'
action = "record"
format = "wav"
"""


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service with the rules above."""
    return start_service(rules=RULES)


@pytest.mark.parametrize(("did", "early_s"), [(DID_ANSWERED, EARLY_S), (DID_AGENT, 0.0)])
def test_early_media_is_recorded(service: Service, world: World, did: str, early_s: float) -> None:
    """Both sides are whole from the 183 on, across the answer; by another rule from the answer."""
    caller = next(numbers)
    with world.phone("2001", "progress", answer_after_s=EARLY_S):
        call = world.inbound(did, caller=caller, answered_by="")
        live = service.live_call(caller)
        call.customer = call.leg("customer").await_up()
        call.agent = world.far.await_leg("2001")
        made = service.await_recording(live["id"])
        call.talk_for(2.0)
        call.hang_up()
    stored = service.await_state(made["id"], ["stored"])
    assert stored["rule"].startswith("from early" if early_s else "from the answer")
    rate, sides = read_audio(service.fetch_audio(stored))
    length_s = sides.shape[1] / rate
    assert early_s + 2.0 - STARTS_WITHIN_S < length_s < early_s + 3.0
    assert_no_gap(stored)
    for side, hz in zip(sides, (C, A1), strict=True):
        assert_hears(cut_out(side, rate, STARTS_WITHIN_S, length_s - 0.3), rate, hz)
        assert tone_spans(side, rate, hz)[0][0] < STARTS_WITHIN_S
    assert service.recordings(live["id"]) == [stored]
