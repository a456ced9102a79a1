"""A demonstration: a PBX on which spoken calls come and go, until SIGTERM.

When the PBX is ready, `python -m lab.demo` prints one JSON object as the first line of standard
output: `{"ari_url": …, "username": …, "password": …}`. Everything else goes to standard error.
"""

import itertools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.dialogues import INBOUND, OUTBOUND
from lab.pbx import DID_AGENT, DID_QUEUE
from lab.root import LabError, ensure_program, ensure_root, root_directory
from lab.speech import Parts, Voice, speak_dialogue
from lab.world import Call, World

LINES = 2
PAUSE_S = 6.0
RING_S = 2.0
LEAVE_WITHIN_S = 2.0

VOICES = {
    "2001": Voice("en-us+f3", 165, 55),
    "2002": Voice("en-gb+m3", 160, 35),
    "2003": Voice("en-gb-scotland+f2", 165, 60),
}
CUSTOMERS = (
    ("12025550100", "Alice Adams", Voice("en-us+f4", 170, 65)),
    ("12025550111", "Bob Brown", Voice("en-us+m7", 155, 30)),
    ("12025550122", "Carla Cruz", Voice("en-029+f2", 165, 50)),
    ("12025550133", "David Dean", Voice("en-gb-x-rp+m1", 160, 40)),
)


@dataclass(frozen=True)
class Scene:
    """One demonstration call: a function that places it, and the speech of each side."""

    place: Callable[[World], Call]
    parts: Parts


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        ensure_program("espeak-ng", "espeak-ng")
        with World(ensure_root(root_directory())) as world:
            speech = world.far_asterisk.directory / "speech"
            speech.mkdir()
            pbx = world.pbx
            access = {"ari_url": pbx.ari_url, "username": pbx.username, "password": pbx.password}
            print(json.dumps(access), flush=True)
            lines = [
                threading.Thread(target=_keep_calling, args=(world, scenes, stopping), daemon=True)
                for scenes in (_inbound_scenes(speech), _outbound_scenes(speech))
            ]
            for line in lines:
                line.start()
            stopping.wait()
            world.hang_up_all()
            for line in lines:
                line.join(LEAVE_WITHIN_S)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _keep_calling(world: World, scenes: Iterator[Scene], stopping: threading.Event) -> None:
    """Place one call after the other, with pauses; print a call that fails and go on."""
    while not stopping.wait(PAUSE_S):
        scene = next(scenes)
        try:
            call = scene.place(world)
            call.await_end(scene.parts.duration_s + 10)
        except (AssertionError, TimeoutError, OSError) as error:
            if not stopping.is_set():
                print(f"a demonstration call failed: {error!r}", file=sys.stderr)


def _inbound_scenes(directory: Path) -> Iterator[Scene]:
    """Yield calls of customers in turn, to 2001 directly and to 2001 or 2002 by the queue."""
    ways = itertools.cycle(((DID_AGENT, "2001"), (DID_QUEUE, "2002"), (DID_QUEUE, "2001")))
    for dialogue, customer, way in zip(
        itertools.cycle(INBOUND), itertools.cycle(CUSTOMERS[:3]), ways, strict=False
    ):
        number, name, voice = customer
        did, agent = way
        parts = speak_dialogue(dialogue, VOICES[agent], voice, directory, f"{number}-{agent}")
        place = partial(
            World.inbound,
            did=did,
            caller=number,
            name=name,
            answered_by=agent,
            answer_after_s=RING_S,
            customer_says=parts.customer,
            agent_says=parts.agent,
        )
        yield Scene(place, parts)


def _outbound_scenes(directory: Path) -> Iterator[Scene]:
    """Yield calls of agent 2003 to a customer."""
    number, _, voice = CUSTOMERS[3]
    for dialogue in itertools.cycle(OUTBOUND):
        parts = speak_dialogue(dialogue, VOICES["2003"], voice, directory, number)
        place = partial(
            World.outbound,
            agent="2003",
            number=number,
            answer_after_s=RING_S,
            customer_says=parts.customer,
            agent_says=parts.agent,
        )
        yield Scene(place, parts)


if __name__ == "__main__":
    sys.exit(main())
