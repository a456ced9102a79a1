"""Supervisors in the browser: click, hear, whisper, barge, lose the connection, and end."""

import pytest
from playwright.sync_api import Page

from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import parts_left, watch
from tests.service import Service
from tests.web.listening import Listening

pytestmark = pytest.mark.pbx

C, A1, A3, S = CUSTOMER_HZ, AGENT_HZ["2001"], AGENT_HZ["2003"], SUPERVISOR_HZ


def test_who_hears_whom(service: Service, world: World, page: Page) -> None:
    """The page hears both all the while; it is heard as the mode says; its end is told."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1, not_hz=(S,))
    assert page.evaluate("asked") == 0
    watched.part("listen")
    for mode in ("whisper", "barge"):
        one.switch(mode)
        one.assert_hears(C, A1)
        watched.part(mode)
    one.switch("listen")
    watched.part("again")
    watched.hang_up()
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    assert one.state()["cause"] == "call-ended"
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for part in ("listen", "whisper", "again"):
        watched.assert_hears(customer, part, A1)
    watched.assert_hears(customer, "barge", A1, S)
    for part in ("listen", "again"):
        watched.assert_hears(agent, part, C)
    for part in ("whisper", "barge"):
        watched.assert_hears(agent, part, C, S)
    until(lambda: not parts_left(world))


def test_a_lost_connection_comes_back(service: Service, world: World, page: Page) -> None:
    """A page whose connection is cut, or whose media server dies, hears again by itself."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    page.evaluate("cut()")
    page.wait_for_function("connections.filter((connected) => connected).length === 2")
    one.assert_hears(C, A1)
    service.kill_role("media")
    page.wait_for_function("connections.filter((connected) => connected).length === 3")
    one.assert_hears(C, A1)
    assert service.get(f"/spies/{one.id}")["state"] == "live"
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_it_follows_a_transfer(service: Service, world: World, page: Page) -> None:
    """After a blind transfer the page hears the customer and the new agent."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    watched.call.blind_transfer("2003")
    one.assert_hears(C, A3, not_hz=(A1,))
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_wrong_token_opens_nothing(service: Service, world: World, page: Page) -> None:
    """Without its own token the audio of a spy is not there."""
    watched = watch(service, world)
    one = Listening(page, watched)
    other = one.audio_url.partition("token=")[0] + "token=guess"
    code = page.evaluate(
        "url => new Promise((done) => { new WebSocket(url).onclose = ({code}) => done(code); })",
        other,
    )
    assert code == 1006
    one.assert_hears(C, A1)
    watched.hang_up()
    until(lambda: not parts_left(world))
