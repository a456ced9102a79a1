"""The session of one web page: its WebSocket, its channels, and the mode of its spy.

Frames of 20 ms (16-bit little-endian PCM, mono, 16 kHz, 640 bytes) go both ways as binary messages.
Text messages are JSON:

    to the page     {"type": "state", "state": "live", "mode": "whisper", …}   after each change
                    {"type": "levels", "agent": -21.3, "customer": -90.0}      ten times a second
                    {"type": "alive"}                                          every few seconds
    from the page   {"type": "levels"}                    asks for the levels, in dBFS
                    {"type": "mode", "mode": "whisper"}   answers a state: the frames after it
                                                          belong to this mode, and to no other

A binary message holds whole frames, and a text message is a JSON object: the connection of a page
that sends anything else is closed with a reason. An object of another type is ignored.

While the people of its conversation are paused, a page that listens or whispers is deaf: no sound
of the call goes to it, only a short tone at the start, and the state says `"deaf": true`.

A page that receives nothing at all for some seconds has lost its connection.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from recorder import names
from recorder.ari import AriError
from recorder.media.channels import MediaChannels
from recorder.media.held import BargeChannel, ListeningChannel, ListeningChannels, Microphone
from recorder.media.level import SILENCE_DBFS
from recorder.media.messages import cut_frames, parse_object
from recorder.media.modes import ModeGate
from recorder.media.pacing import FRAME_BYTES, FRAME_S, Pace
from recorder.media.tone import build_tone
from recorder.spy.plan import SpyPlan
from recorder.spy.spies import Spies
from storage import states
from storage.errors import EarwitnessError
from storage.records import Mode, SpyRecord

log = structlog.get_logger()

# A slow page skips old audio: of the frames that it has not taken yet, it gets the newest.
UNSENT_FRAMES = 10
ALIVE_EVERY_S = 4.0
LOOK_AGAIN_S = 5.0
RETRY_S = 0.5
# How long a new page waits until the channels of the page before it are gone.
GONE_WITHIN_S = 5.0
# Sound that was spoken in a pause may arrive this long after its end.
LATE_SOUND_S = 0.3
REPLACED = 4000  # the close code when another page opens the same spy
# A page that becomes deaf gets these levels and this tone.
RESTING = {"type": "levels", "agent": SILENCE_DBFS, "customer": SILENCE_DBFS}
TONE = build_tone()
MALFORMED = 1007  # the close code after a message that is no frame and no JSON object


class PageSession:
    """One connected page, and its spy as last read."""

    def __init__(
        self,
        connection: ServerConnection,
        spy: SpyRecord,
        *,
        spies: Spies,
        channels: MediaChannels,
        listening: ListeningChannels,
    ) -> None:
        self.spy = spy
        self.gate = ModeGate(spy.mode)
        self._connection = connection
        self._spies = spies
        self._channels = channels
        self._listening_channels = listening
        self._unsent: deque[bytes] = deque(maxlen=UNSENT_FRAMES)
        self._levels: str | None = None
        self._wants_levels = False
        self._party: str | None = None
        self._present: frozenset[str] = frozenset()  # the channels in its conversation
        self._is_deaf = False
        self._is_unsure = False  # whether the page may have become deaf: the plan is not read yet
        self._hears_from = 0.0
        self._toning: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._look = asyncio.Event()
        self._must_settle = True
        self._sent_state: dict[str, Any] = {}
        self._listening: ListeningChannel | None = None
        self._barging: BargeChannel | None = None
        self._microphone: Microphone | None = None
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Serve the page until it goes or the spy ends, then close its channels."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._send(), self._send_alive(), self._receive(), self._follow_row())
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
            if self._toning is not None:
                self._toning.cancel()
            await self._stop_listening()
            await self._stop_barging()
            if self._microphone is not None:
                await self._microphone.close()

    async def replace(self) -> None:
        """Close this page because another page opens its spy, and wait for its channels to go.

        The channels of the other page will have the same ids.
        """
        await self._connection.close(REPLACED, "opened in another page")
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_WITHIN_S):
                await self._gone.wait()

    def mark_gone(self) -> None:
        """Mark that no channel of the page is left."""
        self._gone.set()

    # Audio and levels for the page

    def hear(self, frame: bytes) -> None:
        """Queue a frame for the page, unless it is deaf; a slow page loses the oldest frame."""
        if self._is_deaf or self._is_unsure or time.monotonic() < self._hears_from:
            return
        self._unsent.append(frame)
        self._news.set()

    def hear_shared(self, frame: bytes) -> None:
        """Queue a frame of the listening channel, unless the page hears its barge channel."""
        if self._barging is None or not self._barging.hears:
            self.hear(frame)

    def show_levels(self, levels: Mapping[names.Way, float]) -> None:
        """Queue the levels of both sides, if the page asked for levels; only the newest is sent."""
        if self._wants_levels and not self._is_deaf:
            sides = ("customer", "agent") if self._party == "customer" else ("agent", "customer")
            named = {
                side: round(levels[way], 1) for side, way in zip(sides, names.WAYS, strict=True)
            }
            self._levels = json.dumps({"type": "levels", **named})
            self._news.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unsent:
                await self._connection.send(self._unsent.popleft())
            levels, self._levels = self._levels, None
            if levels is not None:
                await self._connection.send(levels)
            await self._send_state()

    async def _send_alive(self) -> None:
        """Prove every few seconds that the connection works, even when the call is silent."""
        while True:
            await self._connection.send(json.dumps({"type": "alive"}))
            await asyncio.sleep(ALIVE_EVERY_S)

    # Messages from the page

    async def _receive(self) -> None:
        """Handle each message, and close the connection at the first malformed one."""
        pace = Pace()
        async for message in self._connection:
            if isinstance(message, str):
                fields = parse_object(message)
                if fields is None:
                    await self._refuse("a text message must be a JSON object")
                    return
                self._handle_fields(fields)
                continue
            frames = cut_frames(message)
            if frames is None:
                await self._refuse(f"a binary message must hold frames of {FRAME_BYTES} bytes")
                return
            for frame in frames:
                await self._speak(frame, pace)

    async def _speak(self, frame: bytes, pace: Pace) -> None:
        """Send a frame of the microphone on while the gate is open, and drop it otherwise."""
        microphone = self._microphone if self.gate.may_send() else None
        if microphone is not None and pace.admits(time.monotonic()):
            await microphone.send(frame)
            if self._barging is not None and self.gate.reaches_listeners():
                await self._barging.send(frame)

    def _handle_fields(self, fields: Mapping[str, Any]) -> None:
        """Handle a text message; ignore one that is not in the module's list."""
        match fields:
            case {"type": "levels"} if not self._wants_levels:
                self._wants_levels = True
                self.wake()
            case {"type": "mode", "mode": str(mode)}:
                self.gate.acknowledged = mode

    async def _refuse(self, reason: str) -> None:
        log.warning("page.malformed", spy=str(self.spy.id), reason=reason)
        await self._connection.close(MALFORMED, reason)

    # The spy's row

    def wake(self) -> None:
        """Compare the spy with its row soon: something may have changed."""
        self._look.set()

    def settle_again(self) -> None:
        """Settle the PBX soon: a channel of ours is new, or gone."""
        self._must_settle = True
        self.wake()

    def apply_mode(self, mode: Mode) -> None:
        """Close the gate at once to speech for another mode, then compare the spy with its row.

        A page that stops barging may be deaf from then on, so it hears nothing until its plan is
        read.
        """
        if self.gate.written == "barge" != mode:
            self._is_unsure = True
            self._unsent.clear()
        self.gate.write(mode)
        self.wake()

    def needs_plan(self, mode: Mode, paused: Collection[str]) -> bool:
        """Whether the page may hear too much or too little until its plan is read.

        `mode` is the mode in the spy's row, `paused` are the channels of paused people.
        """
        is_paused = mode != "barge" and not self._present.isdisjoint(paused)
        stops_barging = self.gate.written == "barge" != mode
        return self._is_unsure or stops_barging or is_paused is not self._is_deaf

    def apply_plan(self, plan: SpyPlan) -> None:
        """Let the page hear its conversation or be deaf, as the plan says.

        This does not wait for the PBX. Sound that was queued before a pause is dropped too.
        """
        self._present = frozenset(filter(None, [plan.target, *plan.company]))
        self._is_unsure = False
        if plan.deaf == self._is_deaf:
            return
        self._is_deaf = plan.deaf
        self._unsent.clear()
        if plan.deaf:
            self._levels = json.dumps(RESTING) if self._wants_levels else None
            self._toning = asyncio.create_task(self._play_tone())
        else:
            self._hears_from = time.monotonic() + LATE_SOUND_S
        self._news.set()

    async def _play_tone(self) -> None:
        """Send the tone at the pace of sound: a page drops frames that come all at once."""
        with suppress(ConnectionClosed):
            for frame in TONE:
                await self._connection.send(frame)
                await asyncio.sleep(FRAME_S)

    async def _follow_row(self) -> None:
        while self.spy.state in states.SPY_LIVE:
            self._look.clear()
            try:
                await self._match_row()
            except (EarwitnessError, AriError) as error:
                log.warning("page.postponed", spy=str(self.spy.id), error=str(error))
                self._must_settle = True
            await self._send_state()
            if self.spy.state in states.SPY_LIVE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if self._must_settle else LOOK_AGAIN_S):
                        await self._look.wait()
        await self._connection.close(1000, "the spy has ended")

    async def _match_row(self) -> None:
        """Open or close our channels to match the spy's row, then settle the PBX."""
        spy, plan = await asyncio.to_thread(self._spies.read, self.spy.id)
        must_settle = spy.mode != self.gate.on_pbx or spy.call_id != self.spy.call_id
        self.spy = spy
        self.gate.write(spy.mode)
        self.apply_plan(plan)
        if spy.mode != self.gate.on_pbx and self._microphone is not None:
            await self._microphone.flush()
        if spy.state == "ended":
            return
        await self._send_state()  # the page opens its microphone meanwhile; nobody hears it yet
        self._party = plan.party
        must_settle |= await self._listen_to(plan.target)
        if self._wants_levels and self._listening is not None:
            self._listening.measure()
        if spy.mode != "listen" and (self._microphone is None or self._microphone.is_over):
            microphone_id = names.build_microphone_id(spy.id)  # stays open until the page goes
            self._microphone = Microphone(self._channels, microphone_id, on_end=self.wake)
            await self._microphone.opened()
            must_settle = True
        if spy.mode != "barge":
            await self._stop_barging()
        elif self._barging is None or self._barging.is_over:
            self._barging = BargeChannel(
                self._channels,
                names.build_barge_channel_id(spy.id),
                on_frame=self.hear,
                on_end=self.wake,
            )
            await self._barging.opened()
            must_settle = True
        if must_settle or self._must_settle:
            self._must_settle = False
            self.spy = await asyncio.to_thread(self._spies.page_joined, spy.id)
            if self.spy.mode == spy.mode == self.gate.written:
                self.gate.on_pbx = spy.mode
            else:  # the mode changed meanwhile, and the PBX may be on its way to another
                self.gate.on_pbx = None
                self.apply_mode(self.spy.mode)

    async def _listen_to(self, target: str | None) -> bool:
        """Listen to this channel; return whether anything changed."""
        listening = self._listening
        if listening is not None and listening.target == target and not listening.is_over:
            return False
        await self._stop_listening()
        if target is not None:
            self._listening = self._listening_channels.join(self.spy.pbx, target, self)
            await self._listening.opened()
        return listening is not None or target is not None

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await self._listening_channels.leave(self.spy.pbx, listening, self)

    async def _stop_barging(self) -> None:
        barging, self._barging = self._barging, None
        if barging is not None:
            await barging.close()

    async def _send_state(self) -> None:
        spy = self.spy
        state = {
            "type": "state",
            "state": spy.state,
            "mode": spy.mode,
            "call_id": spy.call_id,
            "cause": spy.cause,
            "deaf": self._is_deaf,
            "unheard": spy.unheard,
        }
        if state != self._sent_state:
            self._sent_state = state
            await self._connection.send(json.dumps(state))
