"""Measure the time from the answer, when the rule becomes true, to the start of the recording.

The calls are real and run through the whole service. Both times are by the PBX's own clock.
The bar: 300 ms.

    python bench/begin.py [--rounds 20]
"""

import argparse
import statistics
import sys
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab.root import ensure_root, root_directory
from lab.world import World
from tests.service import Service

BAR_S = 0.3
RULE = """
[[rule]]
name = "answered"
when = 'direction == "inbound" && agent == "2001"'
action = "record"
"""


def measure(service: Service, world: World, caller: str) -> float:
    """Return the seconds from the answer of one call to the start of its recording."""
    call = world.inbound(caller=caller)
    call_id = service.live_call(caller)["id"]
    recording = service.await_recording(call_id)
    answered = service.get(f"/calls/{call_id}")["answered_at"]
    call.hang_up()
    return (instant(recording["started_at"]) - instant(answered)).total_seconds()


def instant(text: str) -> datetime:
    """Parse a time of the API."""
    return datetime.fromisoformat(text)


def main() -> int:
    """Measure; exit with 1 if a call missed the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, World(ensure_root(root_directory())) as world:
        service = Service(Path(folder), world.pbx, rules=RULE)
        service.start()
        try:
            took = [measure(service, world, f"1202555{n:04}") for n in range(options.rounds)]
        finally:
            service.stop()
    median, worst = statistics.median(took), max(took)
    print(
        f"answer to recording: median {1000 * median:.0f} ms, worst {1000 * worst:.0f} ms "
        f"of {options.rounds} (bar {1000 * BAR_S:.0f})"
    )
    return 0 if worst < BAR_S else 1


if __name__ == "__main__":
    sys.exit(main())
