"""A person in front of a page, and tools to look at it."""

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
# A name of this machine that browsers do not trust, unlike localhost.
INSECURE_HOST = "earwitness.test"
OPTIONS = (
    "--no-sandbox",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # Some tests make up their page; only a page from the service may connect without this.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
)
PASSWORD = "correct horse battery"
AXE = REPOSITORY / "node_modules/axe-core/axe.min.js"
# Return how loud a tone is in the samples of `analyser`, in dBFS: -120 without an analyser.
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
# Leave the microphone's tone as it is, and put an analyser before the speaker.
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
    """Fill in the form to sign in, and send it."""
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.main")


def in_catalogue(service: Service, query: str, **values: str) -> Any:
    """Run a statement in the service's database, and return its first value."""
    catalogue = Catalogue(postgres_of(load_config(service.config)).url)
    try:
        with catalogue.begin() as tx:
            found = tx.execute(text(query), values)
            return found.scalar() if found.returns_rows else None
    finally:
        catalogue.close()


def assert_accessible(page: Page) -> None:
    """Check that axe finds no fault in the page as it is."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    faults = [
        {"id": one["id"], "nodes": [node["html"][:200] for node in one["nodes"]]}
        for one in found["violations"]
    ]
    assert faults == [], json.dumps(faults, indent=1)


class Person:
    """A user of the service, with a page in a browser."""

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
        page.on("console", lambda line: self._heard(line.type, line.text))
        page.add_init_script(LISTEN + LEVEL)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(text)

    def sign_in(self, path: str = "/") -> None:
        """Sign in, and open the page of this path."""
        session = {"name": self.name, "password": PASSWORD}
        answer = self.page.request.post(
            f"{self._service.url}/sign-in", form=session, max_redirects=0
        )
        assert answer.status == 303, answer.text()
        self.page.goto(f"{self._service.url}{path}")

    def row(self, caller: str) -> Any:
        """Return the row with this text; missed callers and call-backs have lists of their own."""
        return self.page.locator("tr:not(#missed tr, #callbacks tr)", has_text=caller)

    def assert_sounds(self, present: tuple[float, ...], absent: tuple[float, ...] = ()) -> None:
        """Check that tones sound in the page above -35 dBFS, and that others are below -60."""

        def listen() -> bool:
            levels = {hz: self.page.evaluate("hz => level(hz)", hz) for hz in (*present, *absent)}
            assert all(levels[hz] > -35 for hz in present), levels
            assert all(levels[hz] < -60 for hz in absent), levels
            return True

        until(listen)

    def assert_accessible(self) -> None:
        """Check that axe finds no fault in the page as it is."""
        assert_accessible(self.page)

    def photograph(self, folder: Path, name: str, *, anew: bool = False) -> None:
        """Take pictures, wide and narrow, light and dark; `anew` loads the page in each width."""
        for width, height in ((1280, 800), (360, 740)):
            self.page.set_viewport_size({"width": width, "height": height})
            if anew:
                self.page.reload(wait_until="networkidle")
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self.page.wait_for_timeout(300)  # until the canvas is drawn again
                self.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.emulate_media(color_scheme="light")
