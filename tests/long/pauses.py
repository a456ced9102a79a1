"""Pause calls again and again while processes of the service are killed, and search for a marker.

In each pause the customer speaks a tone and the agent presses keys. Both may be nowhere afterwards:
not in the PBX's files, the files of the workers, the stored objects, the database, the data
directory, the log or the event stream, and no listening supervisor may have heard the tone. A pause
counts from the answer to its request until the request to resume.

At random moments one role, or the whole service, gets SIGKILL. It takes about 8 minutes for 1,000
pauses on two cores.

    python tests/long/pauses.py [--pauses 1000] [--seconds 0] [--seed N]
"""

import argparse
import asyncio
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from earwitness import marker
from earwitness.config import load_config
from earwitness.doctor_pci import iter_files
from earwitness.wiring import Wiring
from lab.far import CUSTOMER_HZ, Leg
from lab.root import ensure_root, root_directory
from lab.waiting import until
from lab.world import Call, World
from recorder.media.client import hear
from storage.catalogue import traces
from tests.service import Service

LANES = {"2001": "9001", "2002": "9002", "2003": None}  # each agent, and a supervisor's phone
ROLES = {"watch": 3, "work": 2, "api": 2, "media": 2, "serve": 1}  # and how often each is chosen
PAUSES_A_CALL = 20
KEY_MS = 50
MARKS_S, LATE_S, TALKS_S = 0.4, 0.3, 0.4
KILLS_EVERY_S = (2.0, 8.0)
ANSWERS_WITHIN_S = 60.0
FINAL = ("stored", "failed", "aborted", "discarded")


@dataclass
class Tally:
    """Everything that the run counted and found."""

    wanted: int
    until_s: float
    pauses: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    recordings: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def has_time(self) -> bool:
        """Whether the run goes on."""
        return self.pauses < self.wanted and time.monotonic() < self.until_s


class Run:
    """One service on one PBX, its calls, and the places that are searched."""

    def __init__(self, world: World, service: Service, folder: Path, tally: Tally) -> None:
        self.world, self.service, self.tally = world, service, tally
        self.digits = marker.choose_digits()
        self.kept = folder / "kept"
        self.kept.mkdir()
        self.heard: dict[str, Path | bytearray] = {}
        self.events: list[str] = []
        self.over = threading.Event()
        self.searched = 0

    # Requests, repeated until somebody answers

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON of the answer; repeat while the API is away."""

        def answered() -> requests.Response | None:
            with suppress(requests.RequestException):
                answer = self.service.request(method, path, body)
                return answer if answer.status_code < 500 else None
            return None

        answer = until(answered, ANSWERS_WITHIN_S)
        assert answer.ok, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    # Calls

    def run_lane(self, agent: str, phone: str | None) -> None:
        """Hold calls of one agent until the run is over."""
        number = 12025550000 + int(agent) % 10 * 100
        while self.tally.has_time():
            number += 1
            try:
                self._hold_call(agent, phone, str(number))
            except Exception as error:
                self.tally.troubles.append(f"{agent}: {type(error).__name__}: {error}"[:300])

    def _hold_call(self, agent: str, phone: str | None, number: str) -> None:
        call = self.world.outbound(agent=agent, number=number)
        page = threading.Event()
        try:
            call_id, recording_id = until(lambda: self._find_recorded(number), ANSWERS_WITHIN_S)
            self.tally.recordings.append(recording_id)
            leg = self._listen(call_id, phone, page)
            for _ in range(PAUSES_A_CALL):
                if not self.tally.has_time():
                    break
                self._pause(call, recording_id)
        finally:
            page.set()
            call.hang_up()
        if leg is not None:
            leg.await_down(30)
            self.heard[f"phone {phone}, call {call_id}"] = leg.heard()

    def _find_recorded(self, number: str) -> tuple[str, str] | None:
        for call in self.ask("GET", "/calls?limit=200")["items"]:
            if call["callee"]["number"] == number:
                found = self.ask("GET", f"/recordings?call_id={call['id']}")["items"]
                running = [one["id"] for one in found if one["state"] == "recording"]
                return (call["id"], running[0]) if running else None
        return None

    def _listen(self, call_id: str, phone: str | None, over: threading.Event) -> Leg | None:
        """Let a page listen, and a phone if there is one; return the leg of the phone."""
        body = {"mode": "listen", "destination": "browser"}
        url = self.ask("POST", f"/calls/{call_id}/spies", body)["audio_url"]
        frames = self.heard[f"page, call {call_id}"] = bytearray()
        threading.Thread(target=_follow_page, args=(url, frames, over), daemon=True).start()
        if phone is None:
            return None
        self.ask("POST", f"/calls/{call_id}/spies", body | {"destination": f"PJSIP/{phone}"})
        try:
            return self.world.supervisor(phone, 5)
        except TimeoutError:  # a kill came between: this call has no phone
            return None

    def _pause(self, call: Call, recording_id: str) -> None:
        """Pause, speak the marker at once, and resume after the last of it has passed."""
        customer, agent = call.leg("customer"), call.leg("agent")
        time.sleep(TALKS_S)
        self.ask("POST", f"/recordings/{recording_id}/pause")
        customer.speak(marker.MARKER_HZ)
        agent.send_dtmf(self.digits, each_ms=KEY_MS)
        time.sleep(MARKS_S + 2 * KEY_MS / 1000 * len(self.digits))
        customer.speak(CUSTOMER_HZ)
        time.sleep(LATE_S)
        self.ask("POST", f"/recordings/{recording_id}/resume")
        with self.tally.lock:
            self.tally.pauses += 1

    # Faults

    def kill(self, chance: random.Random) -> None:
        """Kill a role, or everything, at random moments."""
        while not self.over.wait(chance.uniform(*KILLS_EVERY_S)):
            if not self.tally.has_time():
                return
            role = chance.choices(list(ROLES), list(ROLES.values()))[0]
            if role == "serve":
                self.service.kill()
                self.service.start()
            else:
                self.service.kill_role(role)
            self.tally.kills[role] += 1

    # Everything that is kept or sent

    def keep_files(self) -> None:
        """Link each new file of the PBX and of the workers, so that it stays after its deletion."""
        places = {"pbx": self.world.pbx.recordings, "spool": self.service.directory / "var/spool"}
        while not self.over.wait(0.05):
            for name, place in places.items():
                for path in iter_files(place):
                    with suppress(OSError):
                        kept = self.kept / f"{name}-{path.stat().st_ino}{path.suffix}"
                        if not kept.exists():
                            os.link(path, kept)

    def follow_events(self) -> None:
        """Keep the event stream; connect again where it was left."""
        while not self.over.is_set():
            with suppress(requests.RequestException), self.service.stream("/events") as stream:
                for line in stream.iter_lines(decode_unicode=True):
                    self.events.append(line)
            time.sleep(0.2)

    def search(self, mark: str) -> None:
        """Search every place, and add each finding to the tally."""
        for recording_id in self.tally.recordings:
            recording = until(lambda id_=recording_id: self._is_over(id_), 180)
            if recording["state"] == "stored":
                self._search_file(f"object {recording_id}", self.service.fetch_audio(recording))
            else:
                self.tally.troubles.append(f"{recording_id} is {recording['state']}")
        self.over.set()
        for path in sorted(self.kept.iterdir()):
            self._search_file(path.name, path)
        for name, heard in self.heard.items():
            if isinstance(heard, Path):
                self._search_file(name, heard)
            else:
                self._note(name, marker.find_in_frames(bytes(heard), self.digits))
                self.searched += 1
        catalogue = Wiring(load_config(self.service.config)).catalogue
        with closing(catalogue), catalogue.begin() as tx:
            for table in traces.find_traces(tx, self.digits, mark)[1]:
                self._note(f"table {table}", "the digits are in it")
        for name, text in (
            ("log", self.service.log.read_text()),
            ("event stream", "\n".join(self.events)),
        ):
            if marker.holds_digits(text, self.digits):
                self._note(name, "the digits are in it")
        for path in iter_files(self.service.directory / "var"):
            with suppress(OSError):
                if path.is_file() and self.digits.encode() in path.read_bytes():
                    self._note(str(path), "the digits are in it")

    def _is_over(self, recording_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self.ask("GET", f"/recordings/{recording_id}")
        return found if found["state"] in FINAL else None

    def _search_file(self, name: str, path: Path) -> None:
        with suppress(ValueError):  # no audio: a manifest, or an empty file
            self._note(name, marker.find_in_file(path, self.digits))
            self.searched += 1

    def _note(self, place: str, found: str | None) -> None:
        if found is not None:
            self.tally.found.append(f"{place}: {found}")


def _follow_page(url: str, frames: bytearray, over: threading.Event) -> None:
    """Hear the call as a page does, and connect again when the connection is lost."""

    async def follow() -> None:
        async for message in hear(url):
            if isinstance(message, bytes):
                frames.extend(message)

    while not over.is_set():
        with suppress(OSError, TimeoutError):
            asyncio.run(follow())
        over.wait(0.3)


@contextmanager
def running(*works: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Run works in threads."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    yield threads


def main() -> int:
    """Run, search, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0, help="stop after this time; 0: never")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    limit = time.monotonic() + (options.seconds or 10**6)
    tally = Tally(options.pauses, limit)
    with TemporaryDirectory() as folder, World(ensure_root(root_directory())) as world:
        service = Service(Path(folder), world.pbx, record_all=True, format="wav")
        service.start()
        catalogue = Wiring(load_config(service.config)).catalogue
        with closing(catalogue), catalogue.begin() as tx:
            mark = traces.set_mark(tx)
        run = Run(world, service, Path(folder), tally)
        chance = random.Random(options.seed)
        lanes = [lambda a=agent, p=phone: run.run_lane(a, p) for agent, phone in LANES.items()]
        try:
            with running(run.keep_files, run.follow_events), running(lambda: run.kill(chance)):
                with running(*lanes) as calls:
                    for thread in calls:
                        thread.join()
                time.sleep(max(KILLS_EVERY_S))  # a last kill may be under way
                until(service.is_ready, ANSWERS_WITHIN_S)
                report(tally, options.seed)
                run.search(mark)
        finally:
            run.over.set()
            service.stop()
    for line in tally.troubles:
        print(f"trouble: {line}")
    print(f"searched {run.searched} sounds; the marker was found in {len(tally.found)} places")
    for line in tally.found:
        print(f"found: {line}")
    return 1 if tally.found else 0


def report(tally: Tally, seed: int) -> None:
    """Print the numbers of the run, before the search, which takes a while."""
    kills = ", ".join(f"{role} {count}" for role, count in sorted(tally.kills.items()))
    print(f"seed {seed}: {tally.pauses} pauses, {len(tally.recordings)} recordings,", end=" ")
    print(f"{sum(tally.kills.values())} kills ({kills})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
