"""Measure the delay of a call's audio in a page, and the delay of a switch to whisper.

It uses a real call through a real Asterisk, the whole service, and a headless Chromium. The
customer sends bursts of tone. The benchmark notes when a burst passes on loopback, and when it
leaves the spy's worklet: a second worklet behind that one notes it, on the same clock. A switch
takes from PATCH to the first packet to the agent with the page's microphone in it.

The bars: wire to worklet 120 ms in the median, 200 ms at the 95th percentile; a switch 100 ms.

    python bench/latency.py [--marks 80] [--switches 20]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab.far import SUPERVISOR_HZ
from lab.root import ensure_program, ensure_root, root_directory
from lab.wire import Wire
from lab.world import World
from tests.pbx.watching import watch
from tests.service import Service
from tests.web.browsing import CHROMIUM, OPTIONS
from tests.web.listening import Listening

RATE, MICROPHONE_RATE = 8000, 48_000
MARK_HZ, MARK_S = 1000, 0.1
MEDIAN_BAR_S, LATE_BAR_S, SWITCH_BAR_S = 0.120, 0.200, 0.100
MARK_EVERY_S, SWITCH_EVERY_S = 0.7, 2.0
# A page hears a new call within this time.
BEFORE_S = 10.0
# A mark in the page this long after a mark on the wire can still be the same.
TOGETHER_S = 0.5

PROBE = """
registerProcessor("probe", class extends AudioWorkletProcessor {
  quietSince = 0;
  process([input]) {
    const samples = input[0] ?? [];
    for (let n = 0; n < samples.length; n += 1) {
      if (Math.abs(samples[n]) < 0.05) continue;
      const at = currentTime + n / sampleRate;
      if (at - this.quietSince > 0.3) this.port.postMessage(Date.now());
      this.quietSince = at;
    }
    return true;
  }
});
"""
ATTACH = """async (source) => {
  window.marks = [];
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  await spy.context.audioWorklet.addModule(url);
  window.probe = new AudioWorkletNode(spy.context, "probe", { numberOfOutputs: 0 });
  probe.port.onmessage = ({ data }) => marks.push(data);
  spy.output.connect(probe);
}"""


def main() -> int:
    """Measure both; return 0 if the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--marks", type=int, default=80)
    parser.add_argument("--switches", type=int, default=20)
    options = parser.parse_args()
    ensure_program("chromium", "chromium")
    with (
        TemporaryDirectory() as name,
        World(ensure_root(root_directory())) as world,
        sync_playwright() as playwright,
    ):
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*OPTIONS, f"--use-file-for-fake-audio-capture={write_microphone(folder)}"],
        )
        service = Service(folder, world.pbx)
        service.start()
        try:
            marks, silence, marked_s = write_marks(world.far_asterisk.directory, options)
            ends_s = time.monotonic() + marked_s
            watched = watch(service, world, customer_says=marks, agent_says=silence)
            page = browser.new_page()
            listening = Listening(page, watched)
            ok = report_age(measure_age(page, options.marks))
            time.sleep(
                max(0.0, ends_s + BEFORE_S - time.monotonic())
            )  # a mark has some of any tone
            ok = report_switch(measure_switch(listening, options.switches)) and ok
            world.hang_up_all()
        finally:
            service.stop()
            browser.close()
    return 0 if ok else 1


def measure_age(page: Page, marks: int) -> list[float]:
    """Return the seconds from the wire to the worklet's output, for each mark."""
    page.evaluate(ATTACH, PROBE)
    with Wire() as wire:
        page.wait_for_timeout(marks * MARK_EVERY_S * 1000)
    to_wall_s = time.time() - time.monotonic()
    passed = [at + to_wall_s for at in wire.onsets(MARK_HZ)]
    sounded = [at / 1000 for at in page.evaluate("marks")]
    ages = []
    for at in passed:
        later = [one - at for one in sounded if 0 <= one - at < TOGETHER_S]
        ages += later[:1]
    print(f"{len(passed)} marks on the wire, {len(ages)} of them in the page")
    if len(ages) < 0.95 * len(passed):
        raise AssertionError("marks are missing in the page")
    return ages


def measure_switch(listening: Listening, switches: int) -> list[float]:
    """Return the seconds from PATCH to the first packet to the agent with the page's voice."""
    asked_at = []
    with Wire() as wire:
        for _ in range(switches):
            asked_at.append(time.monotonic())
            listening.switch("whisper")
            time.sleep(0.8)
            listening.switch("listen")
            time.sleep(0.6)
    heard_at = wire.onsets(SUPERVISOR_HZ)
    found = []
    for at in asked_at:
        later = [one - at for one in heard_at if 0 <= one - at < 1.4]
        found += later[:1]
    if len(found) < switches:
        raise AssertionError(f"{switches - len(found)} whispers were never heard")
    return found


def report_age(ages: list[float]) -> bool:
    """Print the delays; return whether they meet the bars."""
    median, late = statistics.median(ages), percentile(ages, 95)
    print(
        f"wire to worklet: median {1000 * median:.0f} ms (bar {1000 * MEDIAN_BAR_S:.0f}),"
        f" 95th percentile {1000 * late:.0f} ms (bar {1000 * LATE_BAR_S:.0f}),"
        f" longest {1000 * max(ages):.0f} ms"
    )
    return median < MEDIAN_BAR_S and late < LATE_BAR_S


def report_switch(took: list[float]) -> bool:
    """Print the switches; return whether they meet the bar."""
    median = statistics.median(took)
    print(
        f"listen to whisper, the microphone opened anew: median {1000 * median:.0f} ms"
        f" (bar {1000 * SWITCH_BAR_S:.0f}), longest {1000 * max(took):.0f} ms"
    )
    return median < SWITCH_BAR_S


def percentile(values: list[float], percent: int) -> float:
    """Return the value that so many percent of all do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def write_marks(folder: Path, options: argparse.Namespace) -> tuple[Path, Path, float]:
    """Write bursts of tone with silence after them, and a silent file of the same length.

    Return both files, and how many seconds the bursts take. Their distances are uneven, so that
    each mark in the page has one mark on the wire.
    """
    marked_s = options.marks * MARK_EVERY_S + BEFORE_S
    spacing = np.random.default_rng(7).uniform(0.55, 0.75, int(marked_s / 0.75))
    silent_s = 2 * BEFORE_S + options.switches * SWITCH_EVERY_S
    samples = np.zeros(int((marked_s + silent_s) * RATE), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * MARK_HZ * np.arange(int(MARK_S * RATE)) / RATE)
    for at in np.cumsum(spacing):
        start = int(at * RATE)
        samples[start : start + len(tone)] = tone
    paths = folder / "marks.wav", folder / "silence.wav"
    soundfile.write(paths[0], samples, RATE, subtype="PCM_16")
    soundfile.write(paths[1], np.zeros_like(samples), RATE, subtype="PCM_16")
    return *paths, marked_s


def write_microphone(folder: Path) -> Path:
    """Write an endless tone, which the browser uses as its microphone."""
    path = folder / "microphone.wav"
    beat = np.arange(10 * MICROPHONE_RATE) / MICROPHONE_RATE
    tone = 0.25 * np.sin(2 * np.pi * SUPERVISOR_HZ * beat)
    soundfile.write(path, tone, MICROPHONE_RATE, subtype="PCM_16")
    return path


if __name__ == "__main__":
    sys.exit(main())
