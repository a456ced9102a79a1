"""Two media channels on a real PBX hear each other, over either transport."""

import asyncio
from array import array
from math import pi, sin

import numpy as np
import pytest

from lab.ears import level_dbfs
from lab.waiting import until
from lab.world import World
from recorder.ari import Ari, AriConflict, EventStream
from recorder.media.channels import MediaChannel, Transport, find_transport, open_media_channel
from recorder.media.pacing import FRAME_S
from tests.pbx.talks import PRESENT_DBFS

pytestmark = pytest.mark.pbx

HZ = 880
RATE = 16_000
FRAMES = 75


@pytest.fixture
def ari(world: World) -> Ari:
    """Return an ARI client with an application of its own."""
    pbx = world.pbx
    return Ari(pbx.ari_url, pbx.username, pbx.password, "media")


def tone(frame: int) -> bytes:
    """Return 20 ms of the tone."""
    at = range(320 * frame, 320 * frame + 320)
    return array("h", (int(8192 * sin(2 * pi * HZ * n / RATE)) for n in at)).tobytes()


async def talk(ari: Ari, says: Transport, hears: Transport) -> tuple[bytes, bool]:
    """Return the audio that the second channel received, and whether the first one is gone."""
    async with (
        open_media_channel(ari, "earwitness-says", transport=says) as one,
        open_media_channel(ari, "earwitness-hears", transport=hears) as other,
    ):
        await asyncio.to_thread(ari.create_bridge, bridge_id="earwitness-media")
        await join(ari, one, other)
        hearing = asyncio.create_task(collect(other))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(FRAMES):
            await one.send(tone(n))
            await asyncio.sleep(max(0.0, began + (n + 1) * FRAME_S - loop.time()))
        await asyncio.sleep(0.3)  # the last frames are on their way
        await asyncio.to_thread(ari.hang_up, other.channel_id)
        async with asyncio.timeout(10):
            heard = await hearing
        await asyncio.to_thread(ari.destroy_bridge, "earwitness-media")
    # Asterisk takes a moment to hang up who hears no frame.
    is_gone = await asyncio.to_thread(until, lambda: ari.find_channel(one.channel_id) is None)
    return heard, is_gone


async def join(ari: Ari, *channels: MediaChannel) -> None:
    """Add the channels to the bridge as soon as they are in the application."""
    for _ in range(200):
        try:
            ids = [one.channel_id for one in channels]
            return await asyncio.to_thread(ari.add_to_bridge, "earwitness-media", *ids)
        except Exception as error:
            if getattr(error, "status", None) not in (409, 422):
                raise
            await asyncio.sleep(0.005)
    raise AriConflict("never in the application")


async def collect(channel: MediaChannel) -> bytes:
    """Return all audio that the channel receives until it ends."""
    return b"".join([frame async for frame in channel])


@pytest.mark.parametrize("says", ["websocket", "rtp"])
@pytest.mark.parametrize("hears", ["websocket", "rtp"])
def test_one_channel_hears_the_other(ari: Ari, says: Transport, hears: Transport) -> None:
    """The tone arrives whole, iteration ends with the channel, and nothing is left."""
    with EventStream(ari):
        assert find_transport(ari) == "websocket"
        heard, gone = asyncio.run(talk(ari, says, hears))
    samples = np.frombuffer(heard, "<i2") / 32768
    assert len(samples) >= (FRAMES - 5) * 320
    assert level_dbfs(samples[RATE // 2 : RATE], RATE, HZ) > PRESENT_DBFS
    assert gone
