"""A page with a spy in it, and the sound of that page."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from playwright.sync_api import Page

from lab.ears import ALL_HZ, level_dbfs
from lab.far import Leg
from lab.waiting import until
from tests.pbx.talks import ABSENT_DBFS, PRESENT_DBFS
from tests.pbx.watching import Watched
from tests.web.browsing import LEVEL

# Switch off the processing of the microphone, so that the level of its tone can be measured.
HTML = (
    """<!doctype html><script type="module">
import { Spy } from "/static/spy.js";
const media = navigator.mediaDevices;
const ask = media.getUserMedia.bind(media);
window.microphoneRequests = 0;
media.getUserMedia = () => {
  window.microphoneRequests += 1;
  const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  return ask({ audio: off });
};
window.states = [];
window.connections = [];
const sockets = [];
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...all) { super(...all); sockets.push(this); }
};
window.cut = () => sockets.at(-1).close(3001);
window.begin = async (url) => {
  const began = performance.now();
  window.spy = new Spy(url);
  spy.addEventListener("state", ({ detail }) => states.push(detail));
  spy.addEventListener("microphone", ({ detail }) => (window.speaks = Boolean(detail.node)));
  spy.addEventListener("connection", ({ detail }) => connections.push(detail.connected));
  await spy.start();
  window.analyser = new AnalyserNode(spy.context, { fftSize: 16384 });
  spy.output.connect(analyser);
  const probe = new Float32Array(analyser.fftSize); // a shorter array would get the oldest samples
  while (true) {
    analyser.getFloatTimeDomainData(probe);
    const sound = probe.some((sample) => Math.abs(sample) > 0.01);
    if (sound || performance.now() - began > 5000) break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return performance.now() - began;
};
"""
    + LEVEL
    + "window.ready = true;\n</script>"
)


class Listening:
    """A spy in the browser on a watched call."""

    def __init__(self, page: Page, watched: Watched, mode: str = "listen", **more: Any) -> None:
        self.page = page
        self.watched = watched
        service = watched.service
        body = {"mode": mode, "destination": "browser", **more}
        page.route("**/listening", lambda route: route.fulfill(content_type="text/html", body=HTML))
        page.goto(f"{service.url}/listening")
        page.wait_for_function("window.ready")
        asked_at = time.monotonic()
        answer = service.post(f"/calls/{watched.call_id}/spies", body)
        self.asked_s = time.monotonic() - asked_at
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        self.audio_url = answer.json()["audio_url"]
        self.first_sound_s = page.evaluate("url => begin(url)", self.audio_url) / 1000

    def level(self, hz: float) -> float:
        """Return how loud the tone is in the page, in dBFS, over the last quarter of a second."""
        return float(self.page.evaluate("hz => level(hz)", hz))

    def assert_hears(self, *hz: float, not_hz: tuple[float, ...] = ()) -> None:
        """Check that some tones become loud and others absent within a moment."""

        def listen() -> bool:
            levels = {one: self.level(one) for one in (*hz, *not_hz)}
            assert all(levels[one] > -25 for one in hz), levels
            assert all(levels[one] < -60 for one in not_hz), levels
            return True

        until(listen, 15)

    def switch(self, mode: str) -> None:
        """Change the mode, and wait until the page knows it and its microphone is open."""
        answer = self.watched.service.patch(f"/spies/{self.id}", {"mode": mode})
        assert answer.status_code == 200, answer.text
        self.page.wait_for_function("mode => states.at(-1)?.mode === mode", arg=mode)
        if mode != "listen":
            self.await_microphone()

    def await_microphone(self) -> None:
        """Wait until the page sends the sound of its microphone."""
        self.page.wait_for_function("window.speaks")

    def reopened(self, token: str | None = None) -> int:
        """Open the audio once more, with this token or its own, and return the close code."""
        url, _, own = self.audio_url.partition("token=")
        code: int = self.page.evaluate(
            "url => new Promise((done) => { new WebSocket(url).onclose = (e) => done(e.code); })",
            f"{url}token={token or own}",
        )
        return code

    def state(self) -> dict[str, Any]:
        """Return the last state that the page has received."""
        found: dict[str, Any] = self.page.evaluate("states.at(-1)")
        return found


def assert_heard(
    watched: Watched, leg: Leg, part: str, *hz: float, of_hz: Sequence[float] = ALL_HZ
) -> None:
    """Check that in a part of the call the party heard exactly these tones."""
    rate, samples = watched.heard(leg, part)
    assert_sounds(samples, rate, hz, f"{leg.party} in {part}", of_hz)


def assert_sounds(
    samples: Any, rate: int, hz: Sequence[float], what: str, of_hz: Sequence[float] = ALL_HZ
) -> None:
    """Check that exactly these of some tones are present.

    Look at the median over blocks of a quarter of a second: on a busy machine the microphone of a
    browser stumbles, and such a click contains some of every tone.
    """
    blocks = np.array_split(samples, max(1, round(4 * len(samples) / rate)))
    for one in (*hz, *(other for other in of_hz if other not in hz)):
        level = float(np.median([level_dbfs(block, rate, one) for block in blocks]))
        fault = f"{what}: {one} Hz at {level:.0f} dBFS"
        assert level > PRESENT_DBFS if one in hz else level < ABSENT_DBFS, fault
