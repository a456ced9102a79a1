"""Measure the time from hang-up to `stored`, on a real call through the whole service.

The service runs like a user's (`serve`: watcher, worker, API, embedded PostgreSQL and object
store). Two phones play speech for the given time. The figure is the time from the hang-up of one
phone until the API shows the recording as stored. The bar: under 3 s after a call of 5 minutes, on
an idle machine. This is wall time: other programs lengthen it.

    python bench/hangup.py [--seconds 300]
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.sound import speak
from lab.root import ensure_root, root_directory
from lab.world import World
from tests.service import Service

BAR_S = 3.0
SPARE_S = 30  # a phone hangs up by itself at the end of its speech
CALLER = "12025550100"


def main() -> None:
    """Call, talk, hang up and wait; exit with 1 above the bar."""
    wanted = parse_arguments()
    with World(ensure_root(root_directory())) as world, TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # for PostgreSQL's own account
        service = Service(directory, world.pbx, record_all=True)
        service.start()
        try:
            waited_s, recording = measure(world, service, wanted.seconds)
        finally:
            service.stop()
    result = f"call of {recording['duration_s']:.1f} s: stored {waited_s:.2f} s after hang-up"
    print(f"{result} (bar {BAR_S:g})")
    raise SystemExit(waited_s >= BAR_S)


def parse_arguments() -> argparse.Namespace:
    """Return the length of the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    return parser.parse_args()


def measure(world: World, service: Service, seconds: float) -> tuple[float, dict[str, object]]:
    """Return the seconds from hang-up to stored, and the recording."""
    speech = world.far_asterisk.directory / "speech"
    speech.mkdir()
    sides = speak(speech, seconds + SPARE_S)
    call = world.inbound(caller=CALLER, customer_says=sides.left, agent_says=sides.right)
    recording = service.await_recording(service.live_call(CALLER)["id"])
    call.talk_for(seconds)
    began = time.monotonic()
    call.hang_up("customer")
    stored = service.await_state(recording["id"], ["stored"])
    return time.monotonic() - began, stored


if __name__ == "__main__":
    main()
