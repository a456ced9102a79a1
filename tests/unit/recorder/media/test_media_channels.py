"""Media channels whose PBX is none."""

import asyncio
from types import SimpleNamespace

import pytest

from recorder.media import channels as legs
from recorder.media.channels import RtpLeg, WebSocketLeg


@pytest.mark.parametrize("transport", ["websocket", "rtp"])
def test_a_quiet_leg_asks_whether_it_is_there(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """A channel that is silent goes on; one that ended, though nothing said so, has ended."""
    monkeypatch.setattr(legs, "QUIET_S", 0.001)
    answers = [SimpleNamespace(), SimpleNamespace(), None]
    ari = SimpleNamespace(find_channel=lambda _: answers.pop(0))

    async def hear() -> list[bytes]:
        leg = (
            RtpLeg("quiet", ari)  # type: ignore[arg-type]
            if transport == "rtp"
            else WebSocketLeg("quiet", ari, SimpleNamespace())  # type: ignore[arg-type]
        )
        async with asyncio.timeout(5):
            return [frame async for frame in leg]

    assert asyncio.run(hear()) == []
    assert answers == []
