"""A spy in the browser: listen, whisper, barge, lose the connection, and end."""

import os
import signal
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page

from lab.ears import cut_out, read_audio
from lab.far import AGENT_HZ, CUSTOMER_HZ, SUPERVISOR_HZ
from lab.pbx import MUSIC_HZ
from lab.waiting import until
from lab.world import World
from tests.pbx.watching import parts_left, watch, watch_outbound, write_tone
from tests.service import Service
from tests.web.listening import Listening, assert_heard, assert_sounds

pytestmark = pytest.mark.pbx

C, A1, A3, S = CUSTOMER_HZ, AGENT_HZ["2001"], AGENT_HZ["2003"], SUPERVISOR_HZ
S2 = 1540  # of a second supervisor, on a phone
# Keep the last microphone of the page in `given`.
GIVEN = """
const media = MediaDevices.prototype;
const give = media.getUserMedia;
media.getUserMedia = async function (...all) {
  window.given = await give.apply(this, all);
  return window.given;
};
"""


def test_each_mode_reaches_the_right_parties(service: Service, world: World, page: Page) -> None:
    """The page always hears both parties, and the mode decides who hears the page."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1, not_hz=(S,))
    assert page.evaluate("microphoneRequests") == 0
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
        assert_heard(watched, customer, part, A1)
    assert_heard(watched, customer, "barge", A1, S)
    for part in ("listen", "again"):
        assert_heard(watched, agent, part, C)
    for part in ("whisper", "barge"):
        assert_heard(watched, agent, part, C, S)
    until(lambda: not parts_left(world))


def test_a_sound_card_of_another_rate(service: Service, world: World, page: Page) -> None:
    """The spy works if the sound card has another rate than the frames and the microphone.

    This is so in Firefox, which refuses a microphone in a context of another rate.
    """
    page.add_init_script(
        """
        const Context = AudioContext;
        const open = Context.prototype.createMediaStreamSource;
        Context.prototype.createMediaStreamSource = function (stream) {
          if (this.sampleRate !== 44100) throw new DOMException("", "NotSupportedError");
          return open.call(this, stream);
        };
        window.AudioContext = class extends Context {
          constructor(options) { super({ sampleRate: 44100, ...options }); }
        };
        """
    )
    watched = watch(service, world)
    one = Listening(page, watched, "whisper")
    one.await_microphone()
    one.assert_hears(C, A1, not_hz=(S,))
    watched.part("whisper")
    watched.hang_up()
    assert_heard(watched, watched.call.leg("customer"), "whisper", A1)
    assert_heard(watched, watched.call.leg("agent"), "whisper", C, S)
    until(lambda: not parts_left(world))


def test_a_microphone_that_cannot_be_used(service: Service, world: World, page: Page) -> None:
    """The page releases a microphone that it cannot use, and still hears the call."""
    page.add_init_script(GIVEN)
    page.add_init_script(
        'AudioContext.prototype.createMediaStreamSource = () => { throw new Error("no"); };'
    )
    watched = watch(service, world)
    one = Listening(page, watched, "whisper")
    one.assert_hears(C, A1)
    page.wait_for_function("window.given?.getTracks().every((t) => t.readyState === 'ended')")
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_lost_connection_comes_back(service: Service, world: World, page: Page) -> None:
    """The page hears again by itself after its connection was cut or the media server died."""
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


def test_the_page_follows_a_transfer(service: Service, world: World, page: Page) -> None:
    """After a blind transfer the page hears the customer and the new agent."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    watched.call.blind_transfer("2003")
    one.assert_hears(C, A3, not_hz=(A1,))
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_a_wrong_token_opens_nothing(service: Service, world: World, page: Page) -> None:
    """The audio of a spy opens only with its own token."""
    watched = watch(service, world)
    one = Listening(page, watched)
    assert one.reopened("guess") == 1006
    one.assert_hears(C, A1)
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_outbound_and_recorded(service: Service, world: World, page: Page) -> None:
    """On an outbound call a whisper reaches the agent alone, a barge all and the recording."""
    watched = watch_outbound(service, world)
    recording = service.record(watched.call_id)
    began = time.monotonic()
    one = Listening(page, watched)
    spans = {}
    for mode in ("listen", "whisper", "barge"):
        one.switch(mode)
        one.assert_hears(C, A1, not_hz=(S,))
        from_s = time.monotonic() - began + 0.5
        watched.part(mode)
        spans[mode] = (from_s, time.monotonic() - began)
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for mode, to_customer, to_agent in (("listen", (), ()), ("whisper", (), (S,))):
        assert_heard(watched, customer, mode, A1, *to_customer)
        assert_heard(watched, agent, mode, C, *to_agent)
    assert_heard(watched, customer, "barge", A1, S)
    assert_heard(watched, agent, "barge", C, S)
    kept = service.await_state(recording["id"], ["stored"])
    rate, (left, right) = read_audio(service.fetch_audio(kept))
    for mode, voice in (("listen", ()), ("whisper", ()), ("barge", (S,))):
        assert_sounds(cut_out(left, rate, *spans[mode]), rate, [C, *voice], f"left in {mode}")
        assert_sounds(cut_out(right, rate, *spans[mode]), rate, [A1, *voice], f"right in {mode}")
    until(lambda: not parts_left(world))


def test_hold_and_an_attended_transfer(service: Service, world: World, page: Page) -> None:
    """A whisper continues through hold, and after a transfer only the next agent hears it."""
    watched = watch(service, world)
    one = Listening(page, watched, "whisper")
    one.assert_hears(C, A1)
    watched.call.hold("agent")
    one.assert_hears(C, not_hz=(A1, S))
    watched.part("hold", 1.0)
    watched.call.unhold("agent")
    one.assert_hears(C, A1)
    watched.call.attended_transfer("2003", how="refer")
    one.assert_hears(C, A3, not_hz=(A1, S))
    watched.part("second")
    assert one.state()["state"] == "live"
    watched.hang_up()
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    assert one.state()["cause"] == "call-ended"
    customer, agent = watched.call.leg("customer"), watched.call.leg("2003")
    assert_heard(watched, customer, "hold", MUSIC_HZ)
    assert_heard(watched, customer, "second", A3)
    assert_heard(watched, agent, "second", C, S)
    until(lambda: not parts_left(world))


def test_the_agents_next_call(service: Service, world: World, page: Page) -> None:
    """A page that follows an agent is silent between two calls; after the end its token is void."""
    first = watch(service, world)
    one = Listening(page, first, "whisper", follow="agent")
    one.assert_hears(C, A1)
    first.hang_up()
    one.assert_hears(not_hz=(C, A1, S))
    second = watch(service, world)
    one.assert_hears(C, A1, not_hz=(S,))
    assert one.state()["call_id"] == second.call_id
    second.part("second")
    assert service.delete(f"/spies/{one.id}").json()["cause"] == "ended"
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    assert one.reopened() == 1006
    second.hang_up()
    assert_heard(second, second.call.leg("customer"), "second", A1)
    assert_heard(second, second.call.leg("agent"), "second", C, S)
    spans = service.get(f"/spies/{one.id}")["heard"]
    assert len(spans) == 2
    assert all(span["to"] for span in spans)
    until(lambda: not parts_left(world))


def test_a_revoked_token_ends_the_sound(service: Service, world: World, page: Page) -> None:
    """When a supervisor's token is revoked, the sound ends and cannot be opened again."""
    made = service.post("/tokens", {"name": f"ear-{uuid4()}", "role": "supervisor"}).json()
    watched = watch(service, world)
    watched.service = service.as_holder_of(made["token"])
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    assert service.delete(f"/tokens/{made['id']}").status_code == 204
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    assert one.state()["cause"] == "not-permitted"
    assert one.reopened() == 1006
    assert watched.call.is_up()
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_supervisors_together(service: Service, world: World, page: Page) -> None:
    """Two pages and a phone have their own modes; only who barges is heard by the others."""
    watched = watch(service, world)
    world.far.behave("9002", "answer", 0.1, write_tone(world.far_asterisk.directory / "s2.wav", S2))
    phone = watched.spy("whisper", "9002")
    assert page.context.browser is not None
    second = page.context.browser.new_page()
    one, other = Listening(page, watched, "whisper"), Listening(second, watched)
    ears = [id_ for id_ in parts_left(world) if id_.startswith("earwitness-ear-")]
    assert len(ears) == 1, "one for both pages"
    one.await_microphone()
    for listening in (one, other):
        listening.assert_hears(C, A1, not_hz=(S, S2))
    watched.part("whispers")
    one.switch("barge")
    other.assert_hears(C, A1, S, not_hz=(S2,))
    one.assert_hears(C, A1, not_hz=(S, S2))
    watched.part("a page barges")
    phone.switch("barge")
    one.assert_hears(C, A1, S2, not_hz=(S,))
    other.assert_hears(C, A1, S, S2)
    one.switch("listen")
    one.assert_hears(C, A1, S2, not_hz=(S,))
    other.assert_hears(C, A1, S2, not_hz=(S,))
    watched.part("the phone barges")
    watched.hang_up()
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    for part, leg, voices in (
        ("whispers", customer, ()),
        ("whispers", agent, (S, S2)),
        ("whispers", phone.leg, ()),
        ("a page barges", customer, (S,)),
        ("a page barges", agent, (S, S2)),
        ("a page barges", phone.leg, (S,)),
        ("the phone barges", customer, (S2,)),
        ("the phone barges", agent, (S2,)),
        ("the phone barges", phone.leg, ()),
    ):
        assert_heard(watched, leg, part, *voices, of_hz=(S, S2))
    until(lambda: not parts_left(world))
    world.far.behave("9002", "answer", 0.1, None)


@pytest.fixture
def without_websocket(world: World) -> Iterator[None]:
    """Unload chan_websocket from the PBX for one test."""
    module = "chan_websocket.so"
    world.pbx.cli(f"module unload {module}")
    yield
    world.hang_up_all()
    world.pbx.cli(f"module load {module}")
    assert world.pbx.ari("GET", f"/asterisk/modules/{module}")["status"] == "Running"


@pytest.mark.usefixtures("without_websocket")
def test_over_rtp(service: Service, world: World, page: Page) -> None:
    """On a PBX without chan_websocket a page hears, speaks and reconnects in the same way."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    media = [c["name"] for c in world.pbx.ari("GET", "/channels") if "-ear-" in c["id"]]
    assert [name.partition("/")[0] for name in media] == ["UnicastRTP"]
    for mode in ("whisper", "barge"):
        one.switch(mode)
        one.assert_hears(C, A1, not_hz=(S,))
        watched.part(mode)
    _kill(service, "media")
    page.wait_for_function("connections.filter((connected) => connected).length === 2")
    one.assert_hears(C, A1, not_hz=(S,))
    watched.part("again")
    watched.hang_up()
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    customer, agent = watched.call.leg("customer"), watched.call.leg("agent")
    assert_heard(watched, customer, "whisper", A1)
    for part in ("barge", "again"):
        assert_heard(watched, customer, part, A1, S)
    for part in ("whisper", "barge", "again"):
        assert_heard(watched, agent, part, C, S)
    until(lambda: not parts_left(world))


def test_each_role_is_killed(service: Service, world: World, page: Page) -> None:
    """A barging page continues or comes back whichever role dies, and ends as usual."""
    watched = watch(service, world)
    one = Listening(page, watched, "barge")
    one.assert_hears(C, A1)
    for role in ("api", "watch", "work"):
        _kill(service, role)
        page.wait_for_function("states.at(-1)?.state === 'live'")
        one.assert_hears(C, A1, not_hz=(S,))
    assert page.evaluate("connections") == [True]
    _kill(service, "media")  # the page plays its buffer for a moment
    page.wait_for_function("connections.filter((connected) => connected).length === 2")
    until(lambda: [id_ for id_ in parts_left(world) if id_.startswith("earwitness-seat-")])
    one.assert_hears(C, A1, not_hz=(S,))
    watched.part("after")
    watched.hang_up()
    page.wait_for_function("states.at(-1)?.state === 'ended'")
    assert one.state()["cause"] == "call-ended"
    assert_heard(watched, watched.call.leg("customer"), "after", A1, S)
    assert_heard(watched, watched.call.leg("agent"), "after", C, S)
    until(lambda: not parts_left(world), 20)


def _kill(service: Service, role: str) -> None:
    """Kill a role, and wait until it runs again."""
    before = set(service.pids_of(role))
    service.kill_role(role)
    until(lambda: set(service.pids_of(role)) - before, 30)


def test_an_ended_microphone_channel_is_replaced(
    service: Service, world: World, page: Page
) -> None:
    """If the channel of the microphone ends, a new one is made, and all hear the page again."""
    watched = watch(service, world)
    one = Listening(page, watched, "barge")
    one.await_microphone()
    one.assert_hears(C, A1)
    mic = f"earwitness-mic-{one.id}"
    world.pbx.ari("DELETE", f"/channels/{mic}")
    until(lambda: _is_bridged(world, mic))
    watched.part("after")
    watched.hang_up()
    assert_heard(watched, watched.call.leg("customer"), "after", A1, S)
    assert_heard(watched, watched.call.leg("agent"), "after", C, S)
    until(lambda: not parts_left(world))


def test_a_page_connects_again_before_its_end_is_noticed(
    service: Service, world: World, page: Page
) -> None:
    """All hear a barging page that connects again while its old connection still exists."""
    watched = watch(service, world)
    one = Listening(page, watched, "barge")
    one.await_microphone()
    one.assert_hears(C, A1)
    for _ in range(3):
        page.evaluate("url => { window.speaks = false; begin(url); }", one.audio_url)
        one.await_microphone()
    one.assert_hears(C, A1)
    watched.part("after")
    watched.hang_up()
    assert_heard(watched, watched.call.leg("customer"), "after", A1, S)
    assert_heard(watched, watched.call.leg("agent"), "after", C, S)
    until(lambda: not parts_left(world))


def test_a_media_server_that_stalls(service: Service, world: World, page: Page) -> None:
    """The page gives up a silent connection and opens a new one."""
    watched = watch(service, world)
    one = Listening(page, watched)
    one.assert_hears(C, A1)
    stalled = service.pids_of("media")
    for pid in stalled:
        os.kill(pid, signal.SIGSTOP)
    try:
        page.wait_for_function("connections.at(-1) === false")
    finally:
        for pid in stalled:
            os.kill(pid, signal.SIGCONT)
    page.wait_for_function("connections.at(-1) === true")
    one.assert_hears(C, A1)
    watched.hang_up()
    until(lambda: not parts_left(world))


def test_the_next_microphone_is_opened(service: Service, world: World, page: Page) -> None:
    """If the microphone ends, the page opens the next one, and is heard again."""
    page.add_init_script(GIVEN)
    watched = watch(service, world)
    one = Listening(page, watched, "whisper")
    one.await_microphone()
    page.evaluate(
        """() => {
          const [track] = given.getTracks();
          window.speaks = false;
          track.stop(); // sends no event
          track.dispatchEvent(new Event("ended"));
        }"""
    )
    one.await_microphone()
    assert page.evaluate("microphoneRequests") == 2
    watched.part("after")
    watched.hang_up()
    assert_heard(watched, watched.call.leg("agent"), "after", C, S)
    until(lambda: not parts_left(world))


def _is_bridged(world: World, channel_id: str) -> bool:
    """Say whether the channel exists and is in a bridge."""
    bridges = world.pbx.ari("GET", "/bridges")
    return any(channel_id in one["channels"] for one in bridges)
