"""The other end of the media server: a program that hears a call as a page does."""

import json
from collections.abc import AsyncIterator

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

OPEN_WITHIN_S = 5.0


async def hear(url: str) -> AsyncIterator[bytes | str]:
    """Yield everything that a page receives at this `audio_url`: frames, and texts with levels.

    It ends when the server closes the connection. Raises OSError where the server refuses or fails.
    """
    try:
        async with connect(url, open_timeout=OPEN_WITHIN_S, compression=None, proxy=None) as socket:
            await socket.send(json.dumps({"type": "levels"}))
            async for message in socket:
                yield message
    except WebSocketException as error:
        raise ConnectionError(f"the media server failed: {error}") from error
