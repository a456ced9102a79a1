"""A supervisor in a page while the recording is paused."""

import base64

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from lab.ears import level_dbfs
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import parts_left, watch
from tests.service import Service
from tests.web.browsing import Person
from tests.web.listening import Listening, assert_heard

pytestmark = pytest.mark.pbx

C, A1, S = CUSTOMER_HZ, AGENT_HZ["2001"], SUPERVISOR_HZ
TONE_HZ = 1850
RATE = 16_000
PAUSED = "The recording is paused: you hear nothing until it resumes"
# Keep a copy of every frame of sound that reaches the page: `taken` has all bytes of the call.
TAKING = """
const Socket = WebSocket;
window.taken = [];
window.WebSocket = class extends Socket {
  constructor(...all) {
    super(...all);
    this.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") taken.push(data.slice(0));
    });
  }
};
window.take = () => {
  const bytes = taken.splice(0).flatMap((frame) => [...new Uint8Array(frame)]);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};
"""


def take(page: Page) -> np.ndarray:
    """Return the samples that reached the page since the last time."""
    samples = np.frombuffer(base64.b64decode(page.evaluate("take()")), "<i2")
    return samples.astype(float) / 32768


def levels(samples: np.ndarray) -> dict[float, float]:
    """Return how loud each voice and the tone of a pause are, in dBFS."""
    return {hz: level_dbfs(samples, RATE, hz) for hz in (C, A1, S, TONE_HZ)}


@pytest.mark.parametrize("mode", ["listen", "whisper"])
def test_no_byte_of_a_paused_call_reaches_the_page(
    service: Service, world: World, page: Page, mode: str
) -> None:
    """A page that listens or whispers gets one tone and then nothing; the agent hears a whisper."""
    page.add_init_script(TAKING)
    watched = watch(service, world)
    recording = service.record(watched.call_id)["id"]
    one = Listening(page, watched, mode)
    if mode == "whisper":
        one.await_microphone()
    one.assert_hears(C, A1)
    take(page)
    service.post(f"/recordings/{recording}/pause")
    page.wait_for_function("states.at(-1)?.deaf === true")
    page.wait_for_timeout(500)
    begin = take(page)  # the last of the call, and the tone
    assert levels(begin[-RATE // 10 :])[TONE_HZ] > -35
    assert max(levels(begin[-RATE // 10 :])[hz] for hz in (C, A1, S)) < -60
    watched.part("pause", 2.0)
    assert len(take(page)) == 0
    one.assert_hears(not_hz=(C, A1, S))
    service.post(f"/recordings/{recording}/resume")
    one.assert_hears(C, A1, not_hz=(TONE_HZ,))
    assert one.state()["deaf"] is False
    watched.hang_up()
    assert_heard(watched, watched.call.leg("customer"), "pause", A1)
    voice = (S,) if mode == "whisper" else ()
    assert_heard(watched, watched.call.leg("agent"), "pause", C, *voice)
    until(lambda: not parts_left(world))


def test_who_barges_hears_a_paused_call(service: Service, world: World, page: Page) -> None:
    """A barging page is a party; beside it a listening page hears nothing, nor does it after it
    has stopped barging."""
    page.add_init_script(TAKING)
    watched = watch(service, world)
    recording = service.record(watched.call_id)["id"]
    assert page.context.browser is not None
    second = page.context.browser.new_page()
    barging, other = Listening(page, watched, "barge"), Listening(second, watched)
    barging.await_microphone()
    other.assert_hears(C, A1, S)
    service.post(f"/recordings/{recording}/pause")
    other.page.wait_for_function("states.at(-1)?.deaf === true")
    other.assert_hears(not_hz=(C, A1, S))
    barging.assert_hears(C, A1, not_hz=(S,))
    assert barging.state()["deaf"] is False
    watched.part("pause")
    barging.switch("listen")
    barging.page.wait_for_function("states.at(-1)?.deaf === true")
    barging.page.wait_for_timeout(500)
    take(page)
    watched.part("left")
    assert len(take(page)) == 0
    service.post(f"/recordings/{recording}/resume")
    for one in (barging, other):
        one.assert_hears(C, A1, not_hz=(S,))
    watched.hang_up()
    assert_heard(watched, watched.call.leg("customer"), "pause", A1, S)
    assert_heard(watched, watched.call.leg("customer"), "left", A1)
    until(lambda: not parts_left(world))


def test_a_page_that_comes_in_a_pause(service: Service, world: World, page: Page) -> None:
    """It is deaf from its first moment, and hears after the pause."""
    page.add_init_script(TAKING)
    watched = watch(service, world)
    recording = service.record(watched.call_id)["id"]
    service.post(f"/recordings/{recording}/pause")
    one = Listening(page, watched)
    page.wait_for_function("states.at(-1)?.state === 'live'")
    assert one.state()["deaf"] is True
    page.wait_for_timeout(1000)
    sound = levels(take(page))
    assert max(sound[hz] for hz in (C, A1)) < -60 < sound[TONE_HZ]
    service.post(f"/recordings/{recording}/resume")
    one.assert_hears(C, A1)
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_the_bar_says_why_nothing_is_heard(service: Service, world: World, page: Page) -> None:
    """The bar explains the silence, and its meters rest until the resume."""
    person = Person(service, page, "admin")
    person.sign_in()
    watched = watch(service, world)
    recording = service.record(watched.call_id)["id"]
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    person.row(caller).get_by_role("button", name="Listen").click()
    bar = page.locator("#bar")
    meters = {name: bar.locator(f"meter[name={name}]") for name in ("customer", "agent")}
    until(lambda: all(meter.evaluate("it => it.value") > 0.3 for meter in meters.values()))
    service.post(f"/recordings/{recording}/pause")
    expect(bar.get_by_text(PAUSED)).to_be_visible()
    for meter in meters.values():
        expect(meter).to_have_js_property("value", 0)
    person.assert_accessible()
    service.post(f"/recordings/{recording}/resume")
    expect(bar.get_by_text(PAUSED)).to_be_hidden()
    until(lambda: all(meter.evaluate("it => it.value") > 0.3 for meter in meters.values()))
    bar.get_by_role("button", name="Stop listening").click()
    watched.hang_up()
    until(lambda: not parts_left(world))
    assert person.faults == []


def test_the_bar_says_that_nobody_hears(service: Service, world: World, page: Page) -> None:
    """While the customer's phone sends nothing, the agent hears no whisper, and the bar says so."""
    person = Person(service, page, "admin")
    person.sign_in()
    watched = watch(service, world)
    caller = service.get(f"/calls/{watched.call_id}")["caller"]["number"]
    person.row(caller).get_by_role("button", name="Listen").click()
    bar = page.locator("#bar")
    warning = bar.get_by_text("Nobody hears you")
    person.assert_sounds((C, A1))
    bar.get_by_text("Whisper").click()
    watched.part("heard", 1.0)
    expect(warning).to_be_hidden()
    watched.call.leg("customer").fall_silent()
    expect(warning).to_be_visible()
    person.assert_accessible()
    watched.call.leg("customer").talk()
    expect(warning).to_be_hidden()
    watched.part("again", 1.0)
    bar.get_by_role("button", name="Stop listening").click()
    watched.hang_up()
    for part in ("heard", "again"):
        assert_heard(watched, watched.call.leg("agent"), part, C, S)
    until(lambda: not parts_left(world))
    assert person.faults == []
