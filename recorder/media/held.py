"""Media channels that the server holds open for its pages.

    PBX ──listening channel, one for each channel spied on──▶ every page that listens to it
    page ──microphone, in whisper and barge──▶ PBX
    page ◀──barge channel, in place of the listening channel──▶ PBX

Other supervisors hear a barging page. So would the page itself through the listening channel, late.
On its barge channel it is a participant of the bridge, and hears everybody but itself.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import structlog

from recorder import names
from recorder.ari import AriError
from recorder.media.channels import MediaChannel, MediaChannels
from recorder.media.level import Level
from recorder.media.pacing import Arrears
from storage.errors import EarwitnessError
from storage.records import SpyRecord

log = structlog.get_logger()

# A bridge gives every channel in it a frame each 20 ms.
SILENT_S = 0.1
LEVELS_EVERY_S = 0.1


class AudioReceiver(Protocol):
    """A page, from the side of the channels that feed it."""

    spy: SpyRecord

    def hear_shared(self, frame: bytes) -> None:
        """Take a frame of the listening channel."""

    def show_levels(self, levels: Mapping[names.Way, float]) -> None:
        """Take new levels of both ways, in dBFS."""

    def settle_again(self) -> None:
        """Settle the PBX again: a channel of ours is new, or gone."""

    def wake(self) -> None:
        """Compare the spy with its row soon."""


class HeldChannel:
    """A media channel that stays open until it ends or is closed."""

    def __init__(
        self, channels: MediaChannels, channel_id: str, on_end: Callable[[], None]
    ) -> None:
        self.is_over = False
        self._channels = channels
        self._channel_id = channel_id
        self._on_end = on_end
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def opened(self) -> None:
        """Wait until the channel is open. Raises AriError."""
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        was_open = False
        try:
            async with self._channels.open(self._channel_id) as channel:
                self._opened.set_result(None)
                was_open = True
                await self._use(channel)
        except AriError as error:
            log.warning("media-channel.failed", channel=self._channel_id, error=str(error))
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # reads it, so that asyncio logs no unread exception
        finally:
            self.is_over = True
            self._opened.cancel()
            if was_open:  # a failure to open reaches the page through `opened`, and it retries
                self._on_end()

    async def _use(self, channel: MediaChannel) -> None:
        """Read the channel until it ends."""
        raise NotImplementedError


class Meter(HeldChannel):
    """The level of one way of a channel: "in" is its voice, "out" the audio sent to it."""

    def __init__(
        self, channels: MediaChannels, target: str, way: names.Way, settle: Callable[[], None]
    ) -> None:
        super().__init__(
            channels, names.build_meter_channel_id(channels.instance, way, target), on_end=settle
        )
        self.level = Level()
        self._settle = settle

    async def _use(self, channel: MediaChannel) -> None:
        self._settle()
        async for frame in channel:
            self.level.add(frame)


class ListeningChannel(HeldChannel):
    """The audio of one channel, shared by every page that listens to it."""

    def __init__(
        self, channels: MediaChannels, target: str, renew: Callable[[UUID], object]
    ) -> None:
        channel_id = names.build_listening_channel_id(channels.instance, target)
        super().__init__(channels, channel_id, on_end=self._wake)
        self.target = target
        self.pages: set[AudioReceiver] = set()
        self._renew = renew
        self._meters: dict[names.Way, Meter] = {}
        self._showing: asyncio.Task[None] | None = None

    def measure(self) -> None:
        """Open the meters for the pages that show levels; harmless to repeat."""
        if self.is_over:
            return
        for way in names.WAYS:
            if way not in self._meters or self._meters[way].is_over:
                self._meters[way] = Meter(self._channels, self.target, way, self._settle_pages)
        if self._showing is None:
            self._showing = asyncio.create_task(self._show_levels())

    def _settle_pages(self) -> None:
        for page in self.pages:
            page.settle_again()

    def _wake(self) -> None:
        for page in self.pages:
            page.wake()

    async def _use(self, channel: MediaChannel) -> None:
        arrears = Arrears()
        try:
            async for frame in channel:
                for page in self.pages:
                    page.hear_shared(frame)
                if arrears.count(time.monotonic()) and self.pages:
                    # The delay of a snoop only grows; a new snoop has none.
                    log.info("snoop.renewed", channel=self.target)
                    spy_id = next(iter(self.pages)).spy.id
                    with suppress(EarwitnessError):  # the next look of the page mends it
                        await asyncio.to_thread(self._renew, spy_id)
        finally:
            self.is_over = True  # so that nobody opens a meter again
            if self._showing is not None:
                self._showing.cancel()
            for meter in self._meters.values():
                await meter.close()

    async def _show_levels(self) -> None:
        while True:
            await asyncio.sleep(LEVELS_EVERY_S)
            levels = {way: meter.level.read() for way, meter in self._meters.items()}
            for page in self.pages:
                page.show_levels(levels)


class ListeningChannels:
    """The listening channels of all PBXs: one for each channel that pages listen to."""

    def __init__(
        self, channels: Mapping[str, MediaChannels], renew: Callable[[UUID], object]
    ) -> None:
        self._channels = channels
        self._renew = renew
        self._held: dict[tuple[str, str], ListeningChannel] = {}

    def join(self, pbx: str, target: str, page: AudioReceiver) -> ListeningChannel:
        """Return the listening channel of `target`, with this page among its listeners."""
        held = self._held.get((pbx, target))
        if held is None or held.is_over:
            held = ListeningChannel(self._channels[pbx], target, self._renew)
            self._held[pbx, target] = held
        held.pages.add(page)
        return held

    async def leave(self, pbx: str, held: ListeningChannel, page: AudioReceiver) -> None:
        """Remove the page, and hang up after the last one."""
        held.pages.discard(page)
        if not held.pages:
            if self._held.get((pbx, held.target)) is held:
                del self._held[pbx, held.target]
            await held.close()


class Microphone(HeldChannel):
    """The voice of one page in whisper and barge. No audio comes back."""

    def __init__(
        self, channels: MediaChannels, channel_id: str, on_end: Callable[[], None]
    ) -> None:
        super().__init__(channels, channel_id, on_end)
        self._channel: MediaChannel | None = None

    async def send(self, frame: bytes) -> None:
        """Send a frame, while the channel is open."""
        if self._channel is not None and not self.is_over:
            await self._channel.send(frame)

    async def flush(self) -> None:
        """Drop frames that Asterisk has received and not yet played."""
        if self._channel is not None and not self.is_over:
            await self._channel.flush()

    async def _use(self, channel: MediaChannel) -> None:
        self._channel = channel
        async for frame in channel:
            self._receive(frame)

    def _receive(self, frame: bytes) -> None:
        """Drop the frame: a microphone does not listen."""


class BargeChannel(Microphone):
    """The channel of one barging page in the listening bridge: it sends and hears there."""

    def __init__(
        self,
        channels: MediaChannels,
        channel_id: str,
        *,
        on_frame: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(channels, channel_id, on_end)
        self._on_frame = on_frame
        self._heard_at = -SILENT_S

    @property
    def hears(self) -> bool:
        """Whether frames arrive, that is, whether the channel is in the bridge on the PBX."""
        return time.monotonic() - self._heard_at < SILENT_S

    def _receive(self, frame: bytes) -> None:
        self._heard_at = time.monotonic()
        self._on_frame(frame)
