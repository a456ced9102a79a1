"""The role `media`: web pages connect here by WebSocket to hear calls, and to talk.

The spy's row says which channels a page should have. Notifications of changes wake the page; a lost
notification costs time and nothing else, because pages look again every few seconds. When this
process ends, so do its channels on the PBX, and pages reconnect.
"""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.http11 import Request, Response

from recorder.ari import Ari
from recorder.media.channels import MediaChannels
from recorder.media.held import ListeningChannels
from recorder.media.pacing import FRAME_BYTES
from recorder.media.page import PageSession
from recorder.spy.spies import Spies
from storage.catalogue import events, pauses
from storage.catalogue import spies as rows
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import EarwitnessError
from storage.records import EventRecord, SpyRecord

log = structlog.get_logger()

T = TypeVar("T")

SOCKET_BYTES = 16 * FRAME_BYTES
# A page sends single frames and short texts; a longer message closes the connection (1009).
LONGEST_MESSAGE = 16 * FRAME_BYTES
SEEN_EVERY_S = 5.0
# A page is closed within 5 s after the right of its supervisor is gone.
RIGHTS_EVERY_S = 2.5
LOOK_EVERY_S = 1.0
EVENTS_AT_ONCE = 1000
# How long a token is valid before a page has used it.
FIRST_WITHIN = timedelta(seconds=60)
THREADS = 16


def serve(
    spies: Spies, catalogue: Catalogue, pbxs: Mapping[str, Ari], host: str, port: int
) -> None:
    """Run until SIGTERM or SIGINT, then hang up our channels."""

    async def run_until_signal() -> None:
        # The loop must handle the signals: an exception raised in a callback would be swallowed.
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(spies, catalogue, pbxs, host, port, stop=stop)

    asyncio.run(run_until_signal())


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
        for work in (media.follow(notifications), media.touch_spies(), media.check_rights()):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        log.info("media.started", host=host, port=port)
        await stop.wait()
    log.info("media.stopped")


class MediaServer:
    """The connected pages, by spy, and the channels that they share."""

    def __init__(self, spies: Spies, catalogue: Catalogue, pbxs: Mapping[str, Ari]) -> None:
        self.pages: dict[UUID, PageSession] = {}
        self._spies = spies
        self._catalogue = catalogue
        self._channels = {name: MediaChannels(ari) for name, ari in pbxs.items()}
        self._listening = ListeningChannels(self._channels, spies.renew)
        self._loop = asyncio.get_running_loop()

    def listen(self, host: str, port: int) -> AbstractAsyncContextManager[Any]:
        """Return the WebSocket server, as a context manager."""
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

    def open_session(self, connection: ServerConnection, spy: SpyRecord) -> PageSession:
        """Make the session of a page, which `pages` then holds in place of an earlier one."""
        self.pages[spy.id] = PageSession(
            connection,
            spy,
            spies=self._spies,
            channels=self._channels[spy.pbx],
            listening=self._listening,
        )
        return self.pages[spy.id]

    # Connections

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a health check, and admit a page whose path and token open a spy together."""
        try:
            address = urlsplit(request.path)
        except ValueError:
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such spy\n")
        if address.path == "/health/live":
            return connection.respond(HTTPStatus.OK, "live\n")
        token = parse_qs(address.query).get("token", [""])[0]

        def find_spy() -> SpyRecord | None:
            with self._catalogue.begin() as tx:
                found = rows.find_spy_by_token(tx, token) if token else None
            is_lapsed = found is not None and self._spies.list_lapsed([found.id])
            return None if is_lapsed else found

        try:
            spy = await asyncio.to_thread(find_spy)
        except EarwitnessError as error:
            log.warning("page.refused", error=str(error))
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "try again\n")
        if (
            spy is None
            or spy.pbx not in self._channels
            or address.path.rpartition("/spies/")[2] != str(spy.id)
            or (spy.seen_at is None and datetime.now(UTC) - spy.started_at > FIRST_WITHIN)
        ):
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such spy\n")
        connection.spy = spy  # type: ignore[attr-defined]
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        spy: SpyRecord = connection.spy  # type: ignore[attr-defined]
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        before = self.pages.get(spy.id)
        page = self.open_session(connection, spy)
        try:
            if before is not None:
                await before.replace()
            log.info("page.joined", spy=str(spy.id))
            await page.run()
        finally:
            page.mark_gone()
            log.info("page.left", spy=str(spy.id))
            if self.pages.get(spy.id) is page:
                del self.pages[spy.id]
                await _log_failure(asyncio.to_thread(self._spies.page_left, spy.id))

    # Background work

    async def follow(self, notifications: Notifications) -> None:
        """Wake the pages whose spy or call has changed."""
        seen, after = 0, None
        while True:
            seen = await asyncio.to_thread(notifications.wait, seen, timeout_s=LOOK_EVERY_S)
            pages = tuple(self.pages.values())
            after = await _log_failure(asyncio.to_thread(self._wake, pages, after)) or after

    def _wake(self, pages: tuple[PageSession, ...], after: str | None) -> str:
        """Read the catalogue once for all pages; return the id of the newest event read.

        The spies' rows are read too, because they show a change earlier: an event stays hidden
        while an older transaction runs.
        """
        with self._catalogue.begin() as tx:
            newest = events.newest_event_id(tx)
            happened = events.list_events(tx, after, EVENTS_AT_ONCE) if after and pages else ()
            written = {
                spy.id: spy
                for pbx in {page.spy.pbx for page in pages}
                for spy in rows.list_live_spies(tx, pbx)
            }
            paused = {
                pbx: frozenset(
                    leg for pause in pauses.list_open_pauses(tx, pbx) for leg in pause.legs
                )
                for pbx in {page.spy.pbx for page in pages}
            }
        changed = [event for event in happened if event.type.startswith("call.")]
        urgent: list[PageSession] = []
        for page in pages:
            spy, known, pbx = written.get(page.spy.id), page.spy, page.spy.pbx
            is_changed = spy is None or _look_of(spy) != _look_of(known) or concerns(spy, changed)
            if spy is None:
                self._loop.call_soon_threadsafe(page.wake)
            elif is_changed:
                self._loop.call_soon_threadsafe(page.apply_mode, spy.mode)
            if (is_changed and paused[pbx]) or page.needs_plan((spy or known).mode, paused[pbx]):
                urgent.append(page)
        for page in urgent:
            self._read_plan(page)
        return happened[-1].id if happened else newest

    def _read_plan(self, page: PageSession) -> None:
        """Apply a pause to a page at once: the page itself may be waiting for the PBX."""
        try:
            _, plan = self._spies.read(page.spy.id)
        except EarwitnessError as error:
            log.warning("page.postponed", spy=str(page.spy.id), error=str(error))
        else:
            self._loop.call_soon_threadsafe(page.apply_plan, plan)
        self._loop.call_soon_threadsafe(page.wake)

    async def touch_spies(self) -> None:
        """Write into the spies' rows, every few seconds, that their pages are connected."""

        def touch(spy_ids: tuple[UUID, ...]) -> None:
            with self._catalogue.begin() as tx:
                for spy_id in spy_ids:
                    rows.touch_spy(tx, spy_id, datetime.now(UTC))

        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            if self.pages:
                await _log_failure(asyncio.to_thread(touch, tuple(self.pages)))

    async def check_rights(self) -> None:
        """Settle, every few seconds, the spies whose supervisors have lost the right to them."""
        while True:
            await asyncio.sleep(RIGHTS_EVERY_S)
            if not self.pages:
                continue
            checking = asyncio.to_thread(self._spies.list_lapsed, tuple(self.pages))
            for spy_id in await _log_failure(checking) or ():
                if spy_id in self.pages:
                    self.pages[spy_id].settle_again()


def concerns(spy: SpyRecord, changed: Iterable[EventRecord]) -> bool:
    """Return whether one of these changed calls is the spy's, or may become the spy's."""
    return any(
        event.data.get("id") == spy.call_id
        or spy.call_id in (event.data.get("joined") or ())
        or (spy.follow == "agent" and event.agent == spy.agent)
        or spy.follow == "channel"
        for event in changed
    )


def _look_of(spy: SpyRecord) -> tuple[object, ...]:
    """Return the fields whose change a page shows or follows."""
    return spy.state, spy.mode, spy.call_id, spy.unheard


async def _log_failure(work: Awaitable[T]) -> T | None:
    """Await the work, and log a failure: the next round, or the watcher, repeats the work."""
    try:
        return await work
    except EarwitnessError as error:
        log.warning("media.postponed", error=str(error))
    except Exception:
        log.exception("media.failed")
    return None
