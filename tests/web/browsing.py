"""A person at the web page."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Page
from sqlalchemy import text

from earwitness.config import load_config
from earwitness.embedded import postgres_of
from lab.waiting import until
from storage.catalogue.engine import Catalogue
from tests.service import REPOSITORY, Service

CHROMIUM = "/usr/bin/chromium"
# An address of ours from which a page is not secure, as localhost is.
INSECURE_HOST = "earwitness.test"
OPTIONS = (
    "--no-sandbox",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # The page of some tests comes from nowhere; one that the service sends needs no leave.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
)
PASSWORD = "correct horse battery"
AXE = REPOSITORY / "node_modules/axe-core/axe.min.js"
# How loud a tone is in what `analyser` holds, in dBFS; nothing where there is none.
LEVEL = """
window.level = (hz) => {
  if (!window.analyser) return -120;
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  const rate = analyser.context.sampleRate;
  let [re, im, weight] = [0, 0, 0];
  samples.forEach((sample, n) => {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / samples.length);
    re += window * sample * Math.cos((2 * Math.PI * hz * n) / rate);
    im += window * sample * Math.sin((2 * Math.PI * hz * n) / rate);
    weight += window;
  });
  return 20 * Math.log10(Math.max(1e-6, (2 * Math.hypot(re, im)) / weight));
};
"""
# The microphone's tone has to come through as it is, and what sounds be measured.
LISTEN = """
const media = navigator.mediaDevices;
const ask = media.getUserMedia.bind(media);
const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
media.getUserMedia = () => ask({ audio: off });
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode) {
    if (window.analyser?.context !== this.context) {
      window.analyser = new AnalyserNode(this.context, { fftSize: 16384 });
    }
    connect.call(this, window.analyser);
  }
  return connect.call(this, to, ...more);
};
"""


def fill_in(page: Page, name: str) -> None:
    """The form to sign in, and send it."""
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.main")


def in_catalogue(service: Service, query: str, **values: str) -> Any:
    """What a statement brings, in the service's own database."""
    catalogue = Catalogue(postgres_of(load_config(service.config)).url)
    try:
        with catalogue.begin() as tx:
            found = tx.execute(text(query), values)
            return found.scalar() if found.returns_rows else None
    finally:
        catalogue.close()


def assert_accessible(page: Page) -> None:
    """What axe finds amiss on the page as it is: nothing."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    told = [
        {"id": one["id"], "nodes": [node["html"][:200] for node in one["nodes"]]}
        for one in found["violations"]
    ]
    assert told == [], json.dumps(told, indent=1)


class Person:
    """Somebody who has an account, in a browser of their own."""

    def __init__(
        self, service: Service, page: Page, role: str, team: str | None = None, *, name: str = ""
    ) -> None:
        self.name = name or f"{role}-{uuid4().hex[:6]}"
        self.page = page
        self._service = service
        body = {"name": self.name, "password": PASSWORD, "role": role, "team": team}
        answer = service.post("/users", body)
        assert answer.status_code == 201, answer.text
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda told: self._heard(told.type, told.text))
        page.add_init_script(LISTEN + LEVEL)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(text)

    def sign_in(self, path: str = "/") -> None:
        """Open the page of this path in a new session."""
        session = {"name": self.name, "password": PASSWORD}
        answer = self.page.request.post(
            f"{self._service.url}/sign-in", form=session, max_redirects=0
        )
        assert answer.status == 303, answer.text()
        self.page.goto(f"{self._service.url}{path}")

    def row(self, caller: str) -> Any:
        """The line of the live call of this number."""
        return self.page.locator("tbody tr", has_text=caller)

    def assert_sounds(self, present: tuple[float, ...], absent: tuple[float, ...] = ()) -> None:
        """What one hears in the page now: above -35 dBFS, or below -60."""

        def listen() -> bool:
            levels = {hz: self.page.evaluate("hz => level(hz)", hz) for hz in (*present, *absent)}
            assert all(levels[hz] > -35 for hz in present), levels
            assert all(levels[hz] < -60 for hz in absent), levels
            return True

        until(listen)

    def assert_accessible(self) -> None:
        """As the function of this name."""
        assert_accessible(self.page)

    def photograph(self, folder: Path, name: str, *, anew: bool = False) -> None:
        """Wide and narrow, light and dark; `anew` as if opened on a screen so wide."""
        for width, height in ((1280, 800), (360, 740)):
            self.page.set_viewport_size({"width": width, "height": height})
            if anew:
                self.page.reload(wait_until="networkidle")
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self.page.wait_for_timeout(300)  # what is drawn on a canvas is drawn anew
                self.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.emulate_media(color_scheme="light")
