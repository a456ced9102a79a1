"""`doctor --media`: a synthetic call through a PBX that measures the audio each party receives.

Customer, agent and supervisor are media channels, and each speaks a tone. They enter a Stasis
application of their own, so that they do not disturb a running service. Their ids follow from the
name of this application: after a killed `doctor` the next one of the same instance finds and
removes its channels, and leaves those of other instances alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from uuid import UUID, uuid5

from tenacity import (
    Retrying,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from earwitness.proof import HEARS, Who, build_frames, find_faults
from recorder import names
from recorder.ari import Ari, AriConflict, AriUnavailable, Connected, EventStream
from recorder.ari.stasis import in_stasis
from recorder.media.channels import MediaChannel, MediaChannels
from recorder.media.pacing import FRAME_S
from recorder.recording.voices import BROWSER
from recorder.spy.listeners import listener_of
from recorder.spy.rig import Rig
from storage.records import Mode, SpyRecord

PHONE = "phone"
# The parties that hear the supervisor in each mode.
REACHES: Mapping[Mode, tuple[Who, ...]] = {
    "listen": (),
    "whisper": ("agent",),
    "barge": ("agent", "customer"),
}
_SPIES = UUID("d0c70000-0000-4000-8000-000000000000")
CONNECTS_WITHIN_S = 5.0
CLEARS_WITHIN_S = 5.0
# Audio from before a switch still arrives for a while.
SETTLES_S = 0.5
LISTENS_S = 1.0


class ProofNames:
    """The ids of the parts of one instance's proof; no real spy has the id of `spy`."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        prefix = f"{names.OURS}doctor-{instance}"
        self.customer, self.agent, self.call = (
            f"{prefix}-{part}" for part in ("customer", "agent", "call")
        )
        self.spy = SpyRecord(
            id=uuid5(_SPIES, instance),
            call_id=self.call,
            pbx="",
            mode="listen",
            destination=PHONE,
            state="live",
            supervisor="doctor",
            follow="channel",
            started_at=datetime(2026, 11, 23, tzinfo=UTC),
            may=tuple(HEARS),
        )

    def list_legs(self, parties: tuple[Who, ...]) -> tuple[str, ...]:
        """Return the channels of these parties."""
        return tuple(self.agent if who == "agent" else self.customer for who in parties)

    def has(self, id_: str) -> bool:
        """Whether this is the id of a channel or bridge of the proof."""
        part = names.parse_spy_part(id_)
        if part is None:
            return id_ in {self.customer, self.agent, self.call}
        if part.instance not in {None, self.instance}:
            return False
        return part.spy_id == self.spy.id or part.channel_id == self.agent


@dataclass(frozen=True, slots=True)
class ProofResult:
    """The faults found in one mode, each as a sentence; () means that the mode works."""

    mode: Mode
    faults: tuple[str, ...]


def prove(ari: Ari) -> tuple[ProofResult, ...]:
    """Spy on a synthetic call in every mode, on a phone and in a browser; takes about 10 s.

    `ari` has an application that no other program uses. Channels and bridges of this proof and of
    earlier ones are removed. Raises AriError.

    Example: `prove(ari)[1].faults == ("with a supervisor's phone the customer hears the supervisor
    (-12 dBFS)",)` when a whisper reaches the customer.
    """
    with EventStream(ari, subscribe_all=False) as events:
        # Channels enter an application only while it has a reader.
        first = events.next(CONNECTS_WITHIN_S)
        if not isinstance(first, Connected):
            raise AriUnavailable(f"no events: {getattr(first, 'reason', 'nothing came in time')}")
        clear(ari)
        try:
            return asyncio.run(_prove(ari))
        finally:
            clear(ari)


def clear(ari: Ari) -> None:
    """Remove the channels and bridges of a proof. Raises AriError; AriUnavailable if one stays."""

    parts = ProofNames(ari.application)

    def clear_once() -> list[str]:
        channels = [one.id for one in ari.list_channels() if parts.has(one.id)]
        for channel_id in channels:
            ari.hang_up(channel_id)
        bridges = [one.id for one in ari.list_bridges() if parts.has(one.id)]
        for bridge_id in bridges:
            with suppress(AriConflict):  # it is going already
                ari.destroy_bridge(bridge_id)
        return channels + bridges

    attempts = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_delay(CLEARS_WITHIN_S),
        wait=wait_fixed(0.05),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    if left := attempts(clear_once):
        raise AriUnavailable(f"does not go away: {', '.join(left)}")


# The call


@dataclass
class Participant:
    """A party of the call with its media channel, and the audio that it has received."""

    who: Who
    channel: MediaChannel
    heard: bytearray = field(default_factory=bytearray)

    async def speak(self) -> None:
        """Send the party's tone without end, each frame when it is due."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for frame in cycle(build_frames(self.who)):
            await self.channel.send(frame)
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def hear(self) -> None:
        """Keep the received audio until the channel ends."""
        async for frame in self.channel:
            self.heard += frame


async def _prove(ari: Ari) -> tuple[ProofResult, ...]:
    """Let customer and agent talk, and spy on them by phone, then from a page."""
    faults: dict[Mode, list[str]] = {mode: [] for mode in HEARS}
    channels, parts = MediaChannels(ari), ProofNames(ari.application)
    async with (
        _participant(channels, parts.customer, "customer") as customer,
        _participant(channels, parts.agent, "agent") as agent,
    ):
        await asyncio.to_thread(ari.create_bridge, bridge_id=parts.call)
        parties = partial(ari.add_to_bridge, parts.call, parts.customer, parts.agent)
        await asyncio.to_thread(in_stasis, parties)
        for destination in (PHONE, BROWSER):
            spy = replace(parts.spy, destination=destination)
            async with _supervisor(ari, channels, spy) as supervisor:
                participants = (customer, agent, supervisor)
                for mode in HEARS:
                    found = await _prove_mode(ari, replace(spy, mode=mode), participants)
                    faults[mode] += [f"with a supervisor's {destination} {one}" for one in found]
    return tuple(ProofResult(mode, tuple(found)) for mode, found in faults.items())


async def _prove_mode(
    ari: Ari, spy: SpyRecord, participants: tuple[Participant, ...]
) -> tuple[str, ...]:
    """Switch to the spy's mode, record the audio of every party, and return the faults."""
    rig, listener, parts = Rig(ari), listener_of(spy), ProofNames(ari.application)
    await asyncio.to_thread(rig.listen, parts.agent, listener)
    await asyncio.to_thread(rig.speak, listener, parts.list_legs(REACHES[spy.mode]))
    await asyncio.sleep(SETTLES_S)
    for participant in participants:
        participant.heard.clear()
    await asyncio.sleep(LISTENS_S)
    return find_faults(spy.mode, {one.who: bytes(one.heard) for one in participants})


@asynccontextmanager
async def _supervisor(
    ari: Ari, channels: MediaChannels, spy: SpyRecord
) -> AsyncIterator[Participant]:
    """Open the one channel of a phone, or the two of a page; yield the channel that hears."""
    listener = listener_of(spy)
    hearing = listener.listening_channel(ari.application, ProofNames(ari.application).agent)
    async with _participant(channels, listener.voice_channel, "supervisor") as talking:
        if hearing == listener.voice_channel:
            yield talking
        else:
            async with _participant(channels, hearing, "supervisor") as listening:
                yield listening
        await asyncio.to_thread(Rig(ari).silence, listener)


@asynccontextmanager
async def _participant(
    channels: MediaChannels, channel_id: str, who: Who
) -> AsyncIterator[Participant]:
    async with channels.open(channel_id) as channel:
        participant = Participant(who, channel)
        running = asyncio.gather(participant.speak(), participant.hear())
        try:
            yield participant
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
