"""Measure the time from `POST /calls` to the ring of the agent's phone.

The named peer is a bare originate over ARI, of the same phone to the same number. Both take turns,
against one PBX; the ring is the arrival of the INVITE at the far end. The bar: a median of 150 ms.
The ratio shows the cost of the rows, the rights, the number and the audit trail.

    python bench/dial.py [--rounds 40]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab.asterisk import Asterisk
from lab.pbx import OUTBOUND
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import World
from recorder import names
from recorder.ari import Ari, ChannelCreated, Connected, EventStream
from tests.service import Service

BAR_S = 0.15
RINGS_WITHIN_S = 5.0
PHONE, NUMBER = "2001", "12025550123"


def open_ari(asterisk: Asterisk) -> Ari:
    """Return a client of an Asterisk of the lab."""
    return Ari(asterisk.ari_url, asterisk.username, asterisk.password, "bench")


def measure(world: World, events: EventStream, ring: Callable[[], object]) -> float:
    """Return the seconds from the request to the INVITE at the phone; end the call."""
    started = time.perf_counter()
    ring()
    while (item := events.next(RINGS_WITHIN_S)) is not None:
        if isinstance(item, ChannelCreated):
            took = time.perf_counter() - started
            break
    else:
        raise SystemExit("the phone did not ring")
    world.hang_up_all()
    while events.next(0.05) is not None:
        pass
    return took


def run(world: World, service: Service, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each request to the service, and of each bare originate."""
    pbx = open_ari(world.pbx)
    # As the product, so that the two requests to the PBX are alike.
    shown = {"CONNECTEDLINE(name,i)": names.CLICK_TO_DIAL, "CONNECTEDLINE(num,i)": NUMBER}

    def ask_service() -> None:
        answer = service.post("/calls", {"from": f"PJSIP/{PHONE}", "to": NUMBER})
        if answer.status_code != 201:
            raise SystemExit(answer.text)

    def originate() -> None:
        pbx.originate(
            f"PJSIP/{PHONE}",
            channel_id=f"bench-{uuid4()}",
            context=OUTBOUND,
            exten=NUMBER,
            variables=shown,
        )

    world.far.behave(PHONE, "ring", 0, None)
    ours: list[float] = []
    bare: list[float] = []
    with EventStream(open_ari(world.far_asterisk)) as events:
        if not isinstance(events.next(RINGS_WITHIN_S), Connected):
            raise SystemExit("the far end accepts no event socket")
        for _ in range(rounds + 1):
            ours.append(measure(world, events, ask_service))
            until(lambda: service.get("/calls")["items"] == [])
            bare.append(measure(world, events, originate))
            until(lambda: service.get("/calls")["items"] == [])
    return ours[1:], bare[1:]  # the first ones open connections


def main() -> int:
    """Measure; exit with 1 if the median missed the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, World(ensure_root(root_directory())) as world:
        service = Service(Path(folder), world.pbx)
        service.start()
        try:
            ours, bare = run(world, service, options.rounds)
        finally:
            service.stop()
    median, peer = statistics.median(ours), statistics.median(bare)
    print(
        f"POST /calls to the ring: median {1000 * median:.0f} ms, worst {1000 * max(ours):.0f} ms"
        f" of {options.rounds} (bar {1000 * BAR_S:.0f}); bare originate: median"
        f" {1000 * peer:.1f} ms; {median / peer:.1f} times as long"
    )
    return 0 if median < BAR_S else 1


if __name__ == "__main__":
    sys.exit(main())
