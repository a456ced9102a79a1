"""The role `media`: pages connect here by WebSocket, hear calls, and talk into them.

    PBX ──ear, one for each channel listened to──▶ every page that listens to it
    page ──microphone, in whisper and barge──▶ its own mic channel ──▶ PBX
    page ◀──in barge, instead of the ear──▶ its own seat ◀──▶ PBX

The other listeners hear who barges. So would the page itself by the ear, late: on its seat, a
participant like any other, it hears all but itself.

Frames of 20 ms, 16-bit little-endian PCM, mono, 16 kHz (640 bytes), go both ways as binary
messages; text messages are JSON and tell the page the state of its spy. A page that sends
`{"type": "levels"}` is told ten times a second how loud agent and customer are, each alone, in
dBFS: `{"type": "levels", "agent": -21.3, "customer": -90.0}`. One that answers each state with
`{"type": "mode", "mode": "whisper"}` says for which mode the frames behind it are meant, and is
heard in no other. Every few seconds a page is told `{"type": "alive"}`: when nothing at all comes
any more, its connection is lost.

The catalogue says what each page should have; notifications of changes wake us, and nothing is lost
but time when one is missed. All that lives on the PBX by our sockets ends with this process; pages
come back.
"""

import asyncio
import json
import signal
import socket
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from recorder import names
from recorder.ari import Ari, AriError
from recorder.media.channels import Leg, Transport, find_transport, open_leg
from recorder.media.level import Level
from recorder.media.pacing import FRAME_BYTES, Arrears, Framer, Pace
from recorder.spy.plan import SpyPlan, is_meant
from storage import states
from storage.catalogue import events
from storage.catalogue import spies as rows
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import EarwitnessError
from storage.records import EventRecord, Mode, SpyRecord

log = structlog.get_logger()

T = TypeVar("T")

# A page that reads slowly hears what is new; what it did not take in time is gone.
UNSENT_FRAMES = 10
SOCKET_BYTES = 16 * FRAME_BYTES
LONGEST_MESSAGE = 50 * FRAME_BYTES
# A bridge gives every channel in it a frame each 20 ms.
SILENT_S = 0.1
SEEN_EVERY_S = 5.0
ALIVE_EVERY_S = 4.0
LEVELS_EVERY_S = 0.1
LOOK_EVERY_S = 1.0
EVENTS_AT_ONCE = 1000
# How long the token of a page that was never there is good.
FIRST_WITHIN = timedelta(seconds=60)
THREADS = 16
# How long a page waits for the channels of the one that it replaces to go.
GONE_WITHIN_S = 5.0
REPLACED = 4000  # the close code of a page whose spy was opened in another one


class Spies(Protocol):
    """What we need of `recorder.spy.spies.Spies`."""

    def page_joined(self, spy_id: UUID) -> SpyRecord:
        """The page is connected, and its channels are made: bring the PBX to it."""

    def page_left(self, spy_id: UUID) -> None:
        """The page is gone."""

    def plan_of(self, spy_id: UUID) -> SpyPlan:
        """What to listen to now."""

    def renew(self, spy_id: UUID) -> None:
        """Listen to it through a new snoop."""


def serve(
    spies: Spies, catalogue: Catalogue, pbxs: Mapping[str, Ari], host: str, port: int
) -> None:
    """Run until SIGTERM or SIGINT; then hang up what is ours."""
    asyncio.run(_until_signal(spies, catalogue, pbxs, host, port))


async def _until_signal(
    spies: Spies, catalogue: Catalogue, pbxs: Mapping[str, Ari], host: str, port: int
) -> None:
    """The loop has to take the signals: an exception raised in a callback would be swallowed."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(spies, catalogue, pbxs, host, port, stop=stop)


async def run(
    spies: Spies,
    catalogue: Catalogue,
    pbxs: Mapping[str, Ari],
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
) -> None:
    """Run until `stop` is set."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "media"))
    media = MediaServer(spies, catalogue, pbxs)
    async with AsyncExitStack() as stack:
        notifications = stack.enter_context(Notifications(catalogue))
        await stack.enter_async_context(media.listen(host, port))
        for work in (media.follow(notifications), media.note_pages()):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        log.info("media.began", host=host, port=port)
        await stop.wait()
    log.info("media.ended")


class Place:
    """A media channel among the listeners to a channel, for as long as it is not closed."""

    def __init__(self, server: "MediaServer", pbx: str, channel_id: str) -> None:
        self.is_over = False
        self._server = server
        self._pbx = pbx
        self._channel_id = channel_id
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def opened(self) -> None:
        """Wait until the channel is there. Raises AriError."""
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        was_open = False
        try:
            async with self._server.leg(self._pbx, self._channel_id) as leg:
                self._opened.set_result(None)
                was_open = True
                await self._use(leg)
        except AriError as error:
            log.warning("media.no-channel", channel=self._channel_id, error=str(error))
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # told to whoever waits; nobody has to
        finally:
            self.is_over = True
            self._opened.cancel()
            if was_open:  # of a failure whoever waits is told, and tries again after a while
                self._tell()

    async def _use(self, leg: Leg) -> None:
        """Hear until the channel ends."""
        raise NotImplementedError

    def _tell(self) -> None:
        """It is over: whoever needs it may want another."""
        raise NotImplementedError


class Ear(Place):
    """What is heard of one channel, for every page that listens to it."""

    def __init__(self, server: "MediaServer", pbx: str, target: str) -> None:
        super().__init__(server, pbx, names.build_listening_channel_id(target))
        self.target = target
        self.pages: set[Page] = set()
        self._gauges: dict[names.Way, Gauge] = {}
        self._showing: asyncio.Task[None] | None = None

    def show_levels(self) -> None:
        """Measure each side alone, for the pages that want to see it; harmless to repeat."""
        if self.is_over:
            return
        for way in names.WAYS:
            if way not in self._gauges or self._gauges[way].is_over:
                self._gauges[way] = Gauge(self._server, self._pbx, self, way)
        if self._showing is None:
            self._showing = asyncio.create_task(self._show())

    def settle_pages(self) -> None:
        """What is on the PBX has changed: bring it together."""
        for page in self.pages:
            page.settle_again()

    def _tell(self) -> None:
        for page in self.pages:
            page.look_again()

    async def _use(self, leg: Leg) -> None:
        arrears = Arrears()
        try:
            async for frame in leg:
                for page in self.pages:
                    page.hear_ear(frame)
                if arrears.count(time.monotonic()):
                    await self._renew()
        finally:
            self.is_over = True  # nothing is measured any more
            if self._showing is not None:
                self._showing.cancel()
            for gauge in self._gauges.values():
                await gauge.close()

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(LEVELS_EVERY_S)
            levels = {way: gauge.level.read() for way, gauge in self._gauges.items()}
            for page in self.pages:
                page.show_levels(levels)

    async def _renew(self) -> None:
        """A snoop's delay only grows; a new snoop has none."""
        log.info("media.snoop-renewed", pbx=self._pbx, channel=self.target)
        page = next(iter(self.pages), None)
        if page is not None:
            with suppress(EarwitnessError):  # the page's next look, or the watcher's, mends it
                await asyncio.to_thread(self._server.spies.renew, page.spy.id)


class Gauge(Place):
    """Measures what a channel says, or what it hears, alone."""

    def __init__(self, server: "MediaServer", pbx: str, ear: Ear, way: names.Way) -> None:
        super().__init__(server, pbx, names.build_meter_channel_id(way, ear.target))
        self.level = Level()
        self._ear = ear

    def _tell(self) -> None:
        self._ear.settle_pages()

    async def _use(self, leg: Leg) -> None:
        self._ear.settle_pages()
        async for frame in leg:
            self.level.take(frame)


class Mouth(Place):
    """A place at which one page is heard."""

    def __init__(self, server: "MediaServer", page: "Page", channel_id: str) -> None:
        super().__init__(server, page.spy.pbx, channel_id)
        self._page = page
        self._leg: Leg | None = None

    async def say(self, frame: bytes) -> None:
        """A frame for the others."""
        if self._leg is not None and not self.is_over:
            await self._leg.send(frame)

    async def flush(self) -> None:
        """Drop what was sent and is not yet said."""
        if self._leg is not None and not self.is_over:
            await self._leg.flush()

    def _tell(self) -> None:
        self._page.look_again()

    async def _use(self, leg: Leg) -> None:
        self._leg = leg
        async for frame in leg:
            self._hear(frame)

    def _hear(self, frame: bytes) -> None:
        """A frame of the bridge that it is in."""


class Mic(Mouth):
    """What a page says in whisper and barge; it hears nothing."""

    def __init__(self, server: "MediaServer", page: "Page") -> None:
        super().__init__(server, page, names.build_microphone_id(page.spy.id))


class Seat(Mouth):
    """The place of one page that barges: there it hears, and the others hear it."""

    def __init__(self, server: "MediaServer", page: "Page") -> None:
        super().__init__(server, page, names.build_barge_channel_id(page.spy.id))
        self._heard_at = -SILENT_S

    @property
    def hears(self) -> bool:
        """Whether it is in the PBX's bridge by now."""
        return time.monotonic() - self._heard_at < SILENT_S

    def _hear(self, frame: bytes) -> None:
        self._heard_at = time.monotonic()
        self._page.hear(frame)


class Page:
    """One connected page, and its spy as it was last seen."""

    def __init__(self, server: "MediaServer", connection: ServerConnection, spy: SpyRecord) -> None:
        self.spy = spy
        self._server = server
        self._connection = connection
        self._unsent: deque[bytes] = deque(maxlen=UNSENT_FRAMES)
        self._levels: str | None = None
        self._wants_levels = False
        self._party: str | None = None
        self._news = asyncio.Event()
        self._look = asyncio.Event()
        self._must_settle = True
        self._told: dict[str, Any] = {}
        self._written = spy.mode
        self._rigged: Mode | None = None  # the mode to which the PBX was brought
        self._answered: object = None  # by the page, where it does
        self._ear: Ear | None = None
        self._seat: Seat | None = None
        self._mic: Mic | None = None
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Until the page goes, or the spy ends."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._send(), self._receive(), self._follow(), self._live())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionClosed:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._leave_ear()
            await self._leave_seat()
            if self._mic is not None:
                await self._mic.close()

    def hear(self, frame: bytes) -> None:
        """A frame for the page; the oldest goes where it is slow."""
        self._unsent.append(frame)
        self._news.set()

    def hear_ear(self, frame: bytes) -> None:
        """A frame of the ear, which counts where nothing comes by the seat."""
        if self._seat is None or not self._seat.hears:
            self.hear(frame)

    def show_levels(self, levels: Mapping[names.Way, float]) -> None:
        """How loud it is what the target says, and what it hears; only the newest is told."""
        if self._wants_levels:
            sides = ("customer", "agent") if self._party == "customer" else ("agent", "customer")
            named = {
                side: round(levels[way], 1) for side, way in zip(sides, names.WAYS, strict=True)
            }
            self._levels = json.dumps({"type": "levels", **named})
            self._news.set()

    def settle_again(self) -> None:
        """Something of ours on the PBX is new, or gone."""
        self._must_settle = True
        self.look_again()

    def look_again(self) -> None:
        """Something of the spy may have changed."""
        self._look.set()

    def learn(self, mode: Mode) -> None:
        """The spy has this mode by now: nothing that was said for another goes on."""
        self._write(mode)
        self.look_again()

    def _write(self, mode: Mode) -> None:
        """Note it; where another was on its way from `listen`, the PBX may be at that one now."""
        if self._rigged == "listen" != self._written != mode:
            self._rigged = None
        self._written = mode

    async def replace(self) -> None:
        """The same spy was opened in another page, whose channels have the ids of this one's."""
        await self._connection.close(REPLACED, "opened in another page")
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_WITHIN_S):
                await self._gone.wait()

    def leave(self) -> None:
        """Nothing of it is left."""
        self._gone.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unsent:
                await self._connection.send(self._unsent.popleft())
            levels, self._levels = self._levels, None
            if levels is not None:
                await self._connection.send(levels)

    async def _live(self) -> None:
        """Let the page know that it is connected, though there may be nothing to hear."""
        while True:
            await self._connection.send(json.dumps({"type": "alive"}))
            await asyncio.sleep(ALIVE_EVERY_S)

    async def _receive(self) -> None:
        """The microphone; what is for nobody now is dropped, whatever the page does."""
        framer, pace = Framer(), Pace()
        async for message in self._connection:
            if isinstance(message, str):
                self._asked(message)
                continue
            for frame in framer.cut(message):
                meant = is_meant(self._written, self._rigged, self._answered)
                if meant and self._mic is not None and pace.admits(time.monotonic()):
                    await self._mic.say(frame)
                    if self._seat is not None and self._rigged == "barge":
                        await self._seat.say(frame)

    def _asked(self, message: str) -> None:
        """What a page can say; of anything else no notice is taken."""
        with suppress(ValueError):
            match json.loads(message):
                case {"type": "levels"}:
                    self._wants_levels = True
                    self.look_again()
                case {"type": "mode", "mode": mode}:
                    self._answered = mode

    # What the catalogue says

    async def _follow(self) -> None:
        while self.spy.state in states.SPY_LIVE:
            self._look.clear()
            try:
                await self._be_as_written()
            except (EarwitnessError, AriError) as error:
                log.warning("media.postponed", spy=str(self.spy.id), error=str(error))
                self._must_settle = True
            await self._tell()
            if self.spy.state != "ended":
                with suppress(TimeoutError):
                    async with asyncio.timeout(SEEN_EVERY_S if not self._must_settle else 0.5):
                        await self._look.wait()
        await self._connection.close(1000, "the spy has ended")

    async def _be_as_written(self) -> None:
        """Bring our channels, then the PBX, to what is written of the spy."""
        spy, plan = await asyncio.to_thread(self._read)
        changed = spy.mode != self._rigged or spy.call_id != self.spy.call_id
        self.spy = spy
        self._write(spy.mode)
        if spy.mode != self._rigged and self._mic is not None:
            await self._mic.flush()
        if spy.state == "ended":
            return
        await self._tell()  # so that the page opens its microphone meanwhile; nobody hears it yet
        self._party = plan.party
        moved = await self._listen_to(plan.target)
        if self._wants_levels and self._ear is not None:
            self._ear.show_levels()
        opened = spy.mode != "listen" and await self._open_mic()
        sat = await self._sit()
        if moved or opened or sat or changed or self._must_settle:
            self._must_settle = False
            self.spy = await asyncio.to_thread(self._server.spies.page_joined, spy.id)
            if self.spy.mode == spy.mode:
                self._rigged = spy.mode
            else:  # it was written meanwhile
                self.learn(self.spy.mode)

    def _read(self) -> tuple[SpyRecord, SpyPlan]:
        with self._server.catalogue.begin() as tx:
            spy = rows.get_spy(tx, self.spy.id)
        return spy, self._server.spies.plan_of(spy.id)

    async def _listen_to(self, target: str | None) -> bool:
        """Whether there was anything to change."""
        if self._ear is not None and self._ear.target == target and not self._ear.is_over:
            return False
        had_none = self._ear is None
        await self._leave_ear()
        if target is not None:
            self._ear = self._server.ear(self.spy.pbx, target)
            self._ear.pages.add(self)
            await self._ear.opened()
        return not (had_none and target is None)

    async def _leave_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.pages.discard(self)
            await self._server.drop_ear(self.spy.pbx, ear)

    async def _sit(self) -> bool:
        """Take a seat, or leave it; whether one was taken."""
        if self.spy.mode != "barge":
            await self._leave_seat()
            return False
        if self._seat is not None and not self._seat.is_over:
            return False
        self._seat = Seat(self._server, self)
        await self._seat.opened()
        return True

    async def _leave_seat(self) -> None:
        seat, self._seat = self._seat, None
        if seat is not None:
            await seat.close()

    async def _open_mic(self) -> bool:
        """Make the microphone's channel where it is missing; it stays until the page goes."""
        if self._mic is not None and not self._mic.is_over:
            return False
        self._mic = Mic(self._server, self)
        await self._mic.opened()
        return True

    async def _tell(self) -> None:
        spy = self.spy
        state = {
            "type": "state",
            "state": spy.state,
            "mode": spy.mode,
            "call_id": spy.call_id,
            "cause": spy.cause,
        }
        if state != self._told:
            self._told = state
            await self._connection.send(json.dumps(state))


class MediaServer:
    """The pages that are connected, and the ears that they share."""

    def __init__(self, spies: Spies, catalogue: Catalogue, pbxs: Mapping[str, Ari]) -> None:
        self.spies = spies
        self.catalogue = catalogue
        self.pbxs = pbxs
        self._loop = asyncio.get_running_loop()
        self._pages: dict[UUID, Page] = {}
        self._ears: dict[tuple[str, str], Ear] = {}

    def listen(self, host: str, port: int) -> AbstractAsyncContextManager[Any]:
        """The WebSocket server, as a context."""
        return serve_websockets(
            self._handle,
            host,
            port,
            process_request=self._admit,
            compression=None,
            max_size=LONGEST_MESSAGE,
            write_limit=4 * FRAME_BYTES,
            ping_interval=10,
            ping_timeout=10,
            close_timeout=1,
            server_header=None,
        )

    def ear(self, pbx: str, target: str) -> Ear:
        """The ear of this channel, made where it is missing."""
        ear = self._ears.get((pbx, target))
        if ear is None or ear.is_over:
            ear = self._ears[pbx, target] = Ear(self, pbx, target)
        return ear

    async def drop_ear(self, pbx: str, ear: Ear) -> None:
        """Hang up where nobody listens any more."""
        if not ear.pages:
            if self._ears.get((pbx, ear.target)) is ear:
                del self._ears[pbx, ear.target]
            await ear.close()

    def leg(self, pbx: str, channel_id: str) -> "_FreshLeg":
        """A media channel of this id; one that a process before us left behind goes first."""
        return _FreshLeg(self.pbxs[pbx], channel_id)

    # Coming and going

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path == "/health/live":
            return connection.respond(HTTPStatus.OK, "live\n")
        try:
            spy = await asyncio.to_thread(self._find, request.path)
        except EarwitnessError as error:
            log.warning("media.unavailable", error=str(error))
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "try again\n")
        if spy is None or spy.pbx not in self.pbxs:
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such spy\n")
        connection.spy = spy  # type: ignore[attr-defined]
        return None

    def _find(self, address: str) -> SpyRecord | None:
        """The spy that path and token of the address open together."""
        parts = urlsplit(address)
        token = parse_qs(parts.query).get("token", [""])[0]
        with self.catalogue.begin() as tx:
            spy = rows.find_spy_by_token(tx, token) if token else None
        if spy is None or parts.path.rpartition("/spies/")[2] != str(spy.id):
            return None
        late = datetime.now(UTC) - spy.started_at > FIRST_WITHIN
        return None if late and spy.seen_at is None else spy

    async def _handle(self, connection: ServerConnection) -> None:
        spy: SpyRecord = connection.spy  # type: ignore[attr-defined]
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        page, before = Page(self, connection, spy), self._pages.get(spy.id)
        self._pages[spy.id] = page
        try:
            if before is not None:
                await before.replace()
            log.info("media.page-joined", spy=str(spy.id))
            await page.run()
        finally:
            page.leave()
            log.info("media.page-left", spy=str(spy.id))
            if self._pages.get(spy.id) is page:
                del self._pages[spy.id]
                await _quietly(asyncio.to_thread(self.spies.page_left, spy.id))

    # What goes on by itself

    async def follow(self, notifications: Notifications) -> None:
        """Let pages look where something of their spy or its call has changed."""
        seen, after = 0, None
        while True:
            seen = await asyncio.to_thread(notifications.wait, seen, timeout_s=LOOK_EVERY_S)
            pages = tuple(self._pages.values())
            after = await _quietly(asyncio.to_thread(self._wake, pages, after)) or after

    def _wake(self, pages: tuple[Page, ...], after: str | None) -> str:
        """Read once for all pages; the newest event that was seen.

        Of a spy its row is read too: an event is only seen when no older transaction runs.
        """
        with self.catalogue.begin() as tx:
            newest = events.newest_event_id(tx)
            happened = events.list_events(tx, after, EVENTS_AT_ONCE) if after and pages else ()
            written = {
                spy.id: spy
                for pbx in {page.spy.pbx for page in pages}
                for spy in rows.list_live_spies(tx, pbx)
            }
        changed = [one for one in happened if one.type.startswith("call.")]
        for page in pages:
            spy = written.get(page.spy.id)
            if spy is None:
                self._loop.call_soon_threadsafe(page.look_again)
            elif _differs(spy, page.spy) or _is_concerned(spy, changed):
                self._loop.call_soon_threadsafe(page.learn, spy.mode)
        return happened[-1].id if happened else newest

    async def note_pages(self) -> None:
        """Write down, every few seconds, which pages are connected."""
        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            if self._pages:
                await _quietly(asyncio.to_thread(self._touch, tuple(self._pages)))

    def _touch(self, spy_ids: tuple[UUID, ...]) -> None:
        with self.catalogue.begin() as tx:
            for spy_id in spy_ids:
                rows.touch_spy(tx, spy_id, datetime.now(UTC))


class _FreshLeg:
    """`open_leg`, after what has the id has gone."""

    def __init__(self, ari: Ari, channel_id: str) -> None:
        self._ari = ari
        self._channel_id = channel_id
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Leg:
        transport = await asyncio.to_thread(self._make_way)
        leg = open_leg(self._ari, self._channel_id, transport=transport)
        return await self._stack.enter_async_context(leg)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _make_way(self) -> Transport:
        self._ari.hang_up(self._channel_id)
        return find_transport(self._ari)


def _differs(spy: SpyRecord, known: SpyRecord) -> bool:
    """Whether the page has to be told, or be given other channels."""
    return (spy.state, spy.mode, spy.call_id) != (known.state, known.mode, known.call_id)


def _is_concerned(spy: SpyRecord, changed: Iterable[EventRecord]) -> bool:
    """Whether one of these calls is the spy's, or may become it."""
    return any(
        one.data.get("id") == spy.call_id
        or (spy.follow == "agent" and one.agent == spy.agent)
        or spy.follow == "channel"
        for one in changed
    )


async def _quietly(work: Awaitable[T]) -> T | None:
    """What fails is done again soon, by us or by the watcher."""
    try:
        return await work
    except EarwitnessError as error:
        log.warning("media.postponed", error=str(error))
    except Exception:
        log.exception("media.failed")
    return None
