"""`doctor --pci`: a synthetic call through the running service that proves that a pause is deaf.

Two media channels are the parties of a call. The service records it, and two supervisors listen: a
page through the media server, and a media channel in the place of a phone. In a pause the parties
speak a marker: a tone, and digits as keys sound. Then everything that was kept or sent is searched:

    the PBX's files, the files of the workers, the object and its manifest      for the sound
    the database, the events of the API, the data directory, the logs           for the digits
    the sound and the levels that the supervisors received                      for both

ARI cannot let a channel press keys, so nobody presses one here; `tests/long/pauses.py` lets a real
SIP phone press them.
"""

import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

from uuid_utils.compat import uuid7

from earwitness import marker
from earwitness.config import Config, Pbx
from earwitness.wiring import Wiring
from recorder import names
from recorder.ari import Ari, AriError, AriNotFound, Connected, EventStream
from recorder.ari.stasis import in_stasis
from recorder.media.channels import MediaChannel, MediaChannels
from recorder.media.client import hear
from recorder.media.pacing import FRAME_BYTES, FRAME_S
from storage.catalogue import segments, spies, tokens, traces
from storage.errors import EarwitnessError
from storage.objects.keys import parse_key
from storage.records import SpyRecord

T = TypeVar("T")

CUSTOMER_HZ, AGENT_HZ = 440, 880
PRESENT_DBFS = -25.0
RESTING_DBFS = -60.0
NOWHERE = "Local/nobody@earwitness-nowhere"
FOLLOWS_WITHIN_S = 10.0
STORED_WITHIN_S = 60.0
SETTLES_S, TALKS_S, MARKS_S = 0.6, 1.5, 2.5
FINAL = ("stored", "failed", "aborted", "discarded")
SILENCE = (bytes(FRAME_BYTES),)


@dataclass(frozen=True, slots=True)
class Searched:
    """A place that was searched: what of the marker is in it, or how much was searched."""

    place: str
    found: str | None
    extent: str


class NotProved(Exception):
    """The proof could not be made; the message says why."""


def prove_pause(
    config: Config, pbx: Pbx, *, logs: Iterable[Path] = (), pauses: bool = True
) -> tuple[Searched, ...]:
    """Speak a marker in a pause and search for it; takes about 20 s.

    Without `pauses` the recording is not paused: everything must then be found. `logs` are more
    log files to search. Raises NotProved.
    """
    wiring = Wiring(config)
    ari = Ari(
        pbx.url, pbx.username, pbx.password.get_secret_value(), f"{pbx.application}-doctor-pci"
    )
    try:
        with closing(wiring.catalogue), closing(ari), _Service.open(wiring) as service:
            proof = _Proof(wiring, pbx, ari, service, logs=tuple(logs), pauses=pauses)
            with EventStream(ari, subscribe_all=False) as events:
                if not isinstance(events.next(FOLLOWS_WITHIN_S), Connected):
                    raise NotProved(f"{pbx.url} sends no events")
                return proof.run()
    except (AriError, EarwitnessError, OSError, HTTPException) as error:
        raise NotProved(str(error)) from error


# The service


class _Service:
    """The running service, over HTTP, with a token for as long as the proof takes."""

    def __init__(self, url: str, secret: str, token_id: UUID) -> None:
        self._url, self._secret, self.token_id = url, secret, token_id
        self.events: list[str] = []

    @classmethod
    @contextmanager
    def open(cls, wiring: Wiring) -> Iterator[Self]:
        server = wiring.config.server
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
        name = f"doctor {uuid7()}"
        with wiring.catalogue.begin() as tx:
            made, secret = tokens.create_token(tx, name=name, role="admin")
        service = cls(f"http://{host}:{server.port}/api/v1", secret, made.id)
        try:
            threading.Thread(target=service.follow_events, daemon=True).start()
            yield service
        finally:
            with wiring.catalogue.begin() as tx:
                tokens.revoke_token(tx, made.id)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request and return the JSON of the answer. Raises NotProved for a refusal."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = self._request(method, path, data)
        try:
            with urlopen(request, timeout=15) as response:  # noqa: S310  # our own address
                answer = response.read()
        except HTTPError as error:
            with suppress(ValueError):
                raise NotProved(f"{method} {path}: {json.load(error)['detail']}") from error
            raise NotProved(f"{method} {path}: {error.code}") from error
        except OSError as error:
            raise NotProved(f"the service does not answer at {self._url}: {error}") from error
        return json.loads(answer) if answer else None

    def find(self, path: str) -> Any:
        """Return the JSON at a path; None where there is nothing."""
        try:
            return self.send("GET", path)
        except NotProved as error:
            if isinstance(error.__cause__, HTTPError) and error.__cause__.code == 404:
                return None
            raise

    def follow_events(self) -> None:
        """Keep every line of the event stream until the token is revoked."""
        with suppress(OSError, HTTPException):
            stream = urlopen(self._request("GET", "/events", None), timeout=60)  # noqa: S310
            for line in stream:
                self.events.append(line.decode())

    def _request(self, method: str, path: str, data: bytes | None) -> Request:
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        return Request(f"{self._url}{path}", data, headers, method=method)  # noqa: S310


# The people of the call


@dataclass
class _Voice:
    """A media channel that speaks frames, again and again, and keeps the sound that it hears."""

    channel: MediaChannel
    says: tuple[bytes, ...] = SILENCE
    heard: bytearray = field(default_factory=bytearray)

    async def speak(self) -> None:
        loop, at = asyncio.get_running_loop(), 0
        due = loop.time()
        while True:
            await self.channel.send(self.says[at % len(self.says)])
            at += 1
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def hear(self) -> None:
        async for frame in self.channel:
            self.heard += frame


@asynccontextmanager
async def _voice(channels: MediaChannels, channel_id: str) -> AsyncIterator[_Voice]:
    async with channels.open(channel_id) as channel:
        voice = _Voice(channel)
        running = asyncio.gather(voice.speak(), voice.hear())
        try:
            yield voice
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@dataclass
class _Page:
    """A supervisor's page: the sound and the texts that it received."""

    heard: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    fault: str | None = None

    async def follow(self, url: str) -> None:
        try:
            async for message in hear(url):
                if isinstance(message, str):
                    self.texts.append(message)
                else:
                    self.heard += message
        except OSError as error:
            self.fault = str(error)


# The proof


class _Proof:
    """One call, one pause, and the search after it."""

    def __init__(
        self,
        wiring: Wiring,
        pbx: Pbx,
        ari: Ari,
        service: _Service,
        *,
        logs: tuple[Path, ...],
        pauses: bool,
    ) -> None:
        self._wiring, self._pbx, self._ari, self._service = wiring, pbx, ari, service
        self._pauses = pauses
        self._digits = marker.choose_digits()
        self._logs = [(path, path.stat().st_size) for path in (*logs, *_logs_of_service())]
        self._began = time.time()
        with wiring.catalogue.begin() as tx:
            self._mark = traces.set_mark(tx)
        prefix = f"doctor-{pbx.application}"
        self._customer, self._agent = f"{prefix}-customer", f"{prefix}-agent"
        self._line, self._bridge = f"{prefix}-line", f"{prefix}-call"
        self._page, self._phone_heard = _Page(), b""
        self._levels: list[str] = []

    def run(self) -> tuple[Searched, ...]:
        """Hold the call, then search."""
        data = self._wiring.config.data.directory
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="doctor-pci-", dir=data) as folder:
            files = Path(folder)
            self._clear()
            try:
                call_id = asyncio.run(self._hold_call(files))
            finally:
                self._clear()
            found = self._await_stored(call_id, files)
            return tuple(self._search(found, files))

    def _clear(self) -> None:
        for channel_id in (self._customer, self._agent, self._line):
            self._ari.hang_up(channel_id)
        with suppress(AriNotFound):
            self._ari.destroy_bridge(self._bridge)

    # The call

    async def _hold_call(self, files: Path) -> str:
        """Let the parties talk, pause, speak the marker, resume; return the id of the call."""
        channels, ours = MediaChannels(self._ari), self._wiring.pbxs[self._pbx.name]
        async with (
            _voice(channels, self._customer) as customer,
            _voice(channels, self._agent) as agent,
        ):

            def talk() -> None:
                customer.says = marker.cut_frames(marker.build_tone(CUSTOMER_HZ))
                agent.says = marker.cut_frames(marker.build_tone(AGENT_HZ))

            talk()
            call_id = await asyncio.to_thread(self._connect)
            recording_id = await asyncio.to_thread(self._record, call_id)
            spy_id, page = await asyncio.to_thread(self._let_supervisors_listen, call_id)
            following = asyncio.create_task(self._page.follow(page))
            async with _voice(MediaChannels(ours), names.build_phone_id(spy_id)) as phone:
                await self._await_heard(phone, {"page": 0, "phone": 0})
                await asyncio.sleep(TALKS_S)
                if self._pauses:
                    await self._control(recording_id, "pause")
                await asyncio.sleep(SETTLES_S)
                before = len(self._page.texts)
                tone = marker.build_tone(marker.MARKER_HZ)
                customer.says = marker.cut_frames(tone)
                agent.says = marker.cut_frames(marker.build_digits(self._digits))
                await asyncio.sleep(MARKS_S)
                customer.says = agent.says = SILENCE
                await asyncio.sleep(SETTLES_S)
                self._levels = self._page.texts[before:]
                if self._pauses:
                    await self._control(recording_id, "resume")
                resumed = {"page": len(self._page.heard), "phone": len(phone.heard)}
                talk()
                await asyncio.sleep(TALKS_S)
                await self._await_heard(phone, resumed)
                customer.says = agent.says = SILENCE
                # A second pause closes the files, which the PBX keeps while the recording lasts.
                await self._control(recording_id, "pause")
                await asyncio.to_thread(self._fetch_files, call_id, files)
                await self._control(recording_id, "stop")
                self._phone_heard = bytes(phone.heard)
            if self._page.fault is not None:
                raise NotProved(f"the page lost its connection: {self._page.fault}")
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            return call_id

    def _connect(self) -> str:
        """Bring the parties together, and return the id that the service gives their call.

        Media channels alone are no call. A Local channel that leads nowhere makes it one.
        """
        ari = self._ari
        ari.create_bridge(bridge_id=self._bridge)
        in_stasis(lambda: ari.add_to_bridge(self._bridge, self._customer, self._agent))
        ari.create_channel(NOWHERE, channel_id=self._line)
        in_stasis(lambda: ari.add_to_bridge(self._bridge, self._line))

        call_id = names.build_call_id(self._pbx.name, self._line)

        def is_seen() -> bool:
            call = self._service.find(f"/calls/{call_id}")
            channels = {one["id"] for one in call["channels"]} if call is not None else set()
            return {self._customer, self._agent} <= channels

        _await(is_seen, "the service does not see the synthetic call: does it run?")
        ari.hang_up(self._line)
        return call_id

    def _record(self, call_id: str) -> str:
        asked = self._service.send("POST", f"/calls/{call_id}/recordings", {"tags": ["doctor"]})
        path = f"/recordings/{asked['id']}"
        is_running = lambda: self._service.send("GET", path)["state"] == "recording"  # noqa: E731
        _await(is_running, "the synthetic call is not recorded")
        return str(asked["id"])

    def _let_supervisors_listen(self, call_id: str) -> tuple[UUID, str]:
        """Return the spy of a phone that is about to answer, and the address of the page."""
        body = {"mode": "listen", "destination": "browser"}
        page = self._service.send("POST", f"/calls/{call_id}/spies", body)
        spy = SpyRecord(
            id=uuid7(),
            call_id=call_id,
            pbx=self._pbx.name,
            mode="listen",
            destination="PJSIP/doctor",
            state="ringing",
            supervisor="doctor",
            follow="call",
            started_at=datetime.now(UTC),
            may=("listen",),
            owner_id=self._service.token_id,
        )
        with self._wiring.catalogue.begin() as tx:
            spies.create_spy(tx, spy)
        return spy.id, str(page["audio_url"])

    async def _await_heard(self, phone: _Voice, since: Mapping[str, int]) -> None:
        """Wait until both supervisors hear the call, in the sound after these bytes.

        The silence of a supervisor who lost the call would prove nothing.
        """
        deadline = time.monotonic() + FOLLOWS_WITHIN_S
        hearers = {"page": self._page.heard, "phone": phone.heard}
        while hearers:
            for name, heard in tuple(hearers.items()):
                rest = bytes(heard[since[name] :])
                if rest and marker.level_of(rest, CUSTOMER_HZ) > PRESENT_DBFS:
                    del hearers[name]
            if hearers and time.monotonic() > deadline:
                raise NotProved(f"the supervisor's {' and '.join(hearers)} cannot hear the call")
            await asyncio.sleep(0.1)

    async def _control(self, recording_id: str, action: str) -> None:
        path = f"/recordings/{recording_id}/{action}"
        await asyncio.to_thread(self._service.send, "POST", path)

    def _fetch_files(self, call_id: str, files: Path) -> None:
        """Copy the PBX's files of the call, as far as they are still there."""
        ari = self._wiring.pbxs[self._pbx.name]
        for recording in self._recordings(call_id):
            with self._wiring.catalogue.begin() as tx:
                present = segments.list_segments(tx, UUID(recording["id"]))
            for segment in present:
                with (files / f"pbx-{segment.id}.wav").open("wb") as target, suppress(AriNotFound):
                    ari.fetch_stored_recording(segment.name, target)

    def _recordings(self, call_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._service.send("GET", f"/recordings?call_id={call_id}")[
            "items"
        ]
        return found

    def _await_stored(self, call_id: str, files: Path) -> list[dict[str, Any]]:
        """Wait for the end of the call's recordings, and keep the files of the workers."""
        spool = self._wiring.spool

        def is_over() -> list[dict[str, Any]] | None:
            _keep_files(spool, files)
            found = self._recordings(call_id)
            return found if all(one["state"] in FINAL for one in found) else None

        found = _await(is_over, "the recording is not stored in time", STORED_WITHIN_S)
        if [one for one in found if one["state"] != "stored"]:
            raise NotProved("the synthetic call could not be stored")
        return found

    # The search

    def _search(self, found: list[dict[str, Any]], files: Path) -> Iterator[Searched]:
        for recording in found:
            self._fetch_object(recording, files)
        objects = sorted(files.glob("object-*"))
        if not any(_has_voice(path) for path in objects):
            raise NotProved("the stored recording holds nothing of the call: nothing to prove")
        for place, pattern in (
            ("files of the PBX", "pbx-*"),
            ("files of the workers", "spool-*"),
            ("stored object", "object-*"),
        ):
            yield self._search_files(place, sorted(files.glob(pattern)))
        yield self._search_texts("manifest", [one.read_text() for one in files.glob("manifest-*")])
        yield self._search_database()
        yield self._search_texts("event stream", ["".join(self._service.events)])
        yield self._search_data(files)
        yield self._search_logs()
        yield self._search_sound("sound of a page", bytes(self._page.heard))
        yield self._search_sound("sound of a phone", self._phone_heard)
        yield self._search_levels()

    def _fetch_object(self, recording: Mapping[str, Any], files: Path) -> None:
        key = recording["media"]["key"]
        with (
            self._wiring.objects.open(key) as stored,
            (files / f"object-{recording['id']}{Path(key).suffix}").open("wb") as target,
        ):
            for chunk in stored.chunks():
                target.write(chunk)
        manifest = self._wiring.objects.get_bytes(str(parse_key(key).manifest))
        (files / f"manifest-{recording['id']}.json").write_bytes(manifest)

    def _search_files(self, place: str, paths: list[Path]) -> Searched:
        searched = 0
        for path in paths:
            with suppress(ValueError):  # no audio: a manifest, or an empty file
                if found := marker.find_in_file(path, self._digits):
                    return Searched(place, found, "")
                searched += 1
        return Searched(place, None, _count(searched, "sound file"))

    def _search_texts(self, place: str, texts: list[str]) -> Searched:
        found = any(marker.holds_digits(one, self._digits) for one in texts)
        size = sum(map(len, texts))
        return Searched(place, "the digits are in it" if found else None, f"{size} characters")

    def _search_database(self) -> Searched:
        with self._wiring.catalogue.begin() as tx:
            count, found = traces.find_traces(tx, self._digits, self._mark)
        text = f"the digits are in {', '.join(found)}" if found else None
        return Searched("database", text, _count(count, "table"))

    def _search_data(self, files: Path) -> Searched:
        """Search the bytes of every file of our directory that changed since the start."""
        wanted, count = self._digits.encode(), 0
        for path in iter_files(self._wiring.config.data.directory):
            with suppress(OSError):
                if files in path.parents or not path.is_file():  # a socket cannot be read
                    continue
                if path.stat().st_mtime >= self._began - 1:
                    count += 1
                    if wanted in path.read_bytes():
                        return Searched("data directory", f"the digits are in {path}", "")
        return Searched("data directory", None, _count(count, "changed file"))

    def _search_logs(self) -> Searched:
        texts = []
        for path, size in self._logs:
            with path.open("rb") as file:
                file.seek(size)
                texts.append(file.read().decode(errors="replace"))
        searched = self._search_texts("logs", texts)
        if not texts:
            return Searched("logs", None, "no log file found: name it with --log")
        return searched

    def _search_sound(self, place: str, heard: bytes) -> Searched:
        seconds = len(heard) / FRAME_BYTES * FRAME_S
        return Searched(place, marker.find_in_frames(heard, self._digits), f"{seconds:.0f} s")

    def _search_levels(self) -> Searched:
        levels = list(marker.iter_levels(self._levels))
        loudest = max(levels, default=RESTING_DBFS)
        found = f"they moved in the pause: {loudest:.0f} dBFS" if loudest > RESTING_DBFS else None
        return Searched("level meters of a page", found, _count(len(levels), "level"))


def _await(find: Callable[[], T | None], otherwise: str, within_s: float = 0) -> T:
    """Return the first true result. Raises NotProved after the deadline."""
    deadline = time.monotonic() + (within_s or FOLLOWS_WITHIN_S)
    while not (result := find()):
        if time.monotonic() > deadline:
            raise NotProved(otherwise)
        time.sleep(0.05)
    return result


def _keep_files(spool: Path, files: Path) -> None:
    """Link each file that a worker has written, so that it stays after the worker deletes it."""
    for path in iter_files(spool):
        with suppress(OSError):
            kept = files / f"spool-{path.stat().st_ino}{path.suffix}"
            if not kept.exists():
                os.link(path, kept)


def iter_files(directory: Path) -> Iterator[Path]:
    """Yield every file below a directory; skip the folders that vanish meanwhile."""
    for folder, _, files in os.walk(directory):
        yield from (Path(folder, name) for name in files)


def _has_voice(path: Path) -> bool:
    try:
        return marker.has_tone(path, CUSTOMER_HZ, PRESENT_DBFS)
    except ValueError:
        return False


def _logs_of_service() -> list[Path]:
    """Return the files to which running processes of ours write their logs, on this machine."""
    found: set[Path] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            is_ours = b"earwitness" in words and int(process.name) != os.getpid()
            target = (process / "fd/2").resolve() if is_ours else None
            if target is not None and target.is_file():
                found.add(target)
    return sorted(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
