"""examples/hello.py, called by a real Local channel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ari_lab import client, running_asterisk, take

from lab.asterisk import Asterisk
from recorder.ari import (
    Ari,
    ChannelDialplan,
    Connected,
    EventStream,
    PlaybackFinished,
    PlaybackStarted,
    StasisStart,
)

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    with running_asterisk() as asterisk:
        yield asterisk


@pytest.fixture
def hello(asterisk: Asterisk) -> Iterator[subprocess.Popen[str]]:
    """The example, connected and waiting for calls."""
    with subprocess.Popen(
        [sys.executable, "examples/hello.py", asterisk.ari_url, asterisk.username],
        cwd=REPOSITORY,
        env=os.environ | {"ARI_PASSWORD": asterisk.password, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting for calls\n"
        yield process
        process.terminate()


def played(events: EventStream, channel_id: str) -> str:
    """What the caller hears next, once it has heard it whole."""
    target = f"channel:{channel_id}"
    started = take(events, PlaybackStarted, lambda event: event.playback.target_uri == target)
    take(events, PlaybackFinished, lambda event: event.playback.id == started.playback.id)
    return started.playback.media_uri


def test_hello(asterisk: Asterisk, hello: subprocess.Popen[str]) -> None:
    """A caller is greeted, hears its keys and, after #, goodbye; then the dialplan goes on."""
    with client(asterisk) as ari, EventStream(ari) as events:
        take(events, Connected)
        caller_id = "caller"
        ari.originate("Local/hello@lab/n", channel_id=caller_id)
        take(events, StasisStart, lambda event: event.channel.id == caller_id)
        callee = next(one for one in ari.list_channels() if one.id != caller_id)
        assert played(events, callee.id) == "sound:hello-world"
        for key in "4*":
            ari.send_dtmf(caller_id, key)
            assert played(events, callee.id) == f"digits:{key}"
        ari.send_dtmf(caller_id, "#")
        assert played(events, callee.id) == "sound:vm-goodbye"
        after = take(events, ChannelDialplan, lambda event: event.channel.id == callee.id)
        assert (after.app_name, after.channel.dialplan.exten) == ("Goto", "hello")
        assert hello.poll() is None
        ari.hang_up(caller_id)


def test_hello_survives_a_caller_who_hangs_up(
    asterisk: Asterisk, hello: subprocess.Popen[str]
) -> None:
    """A caller who hangs up in the middle of the greeting leaves the next one served."""
    with client(asterisk) as ari, EventStream(ari) as events:
        take(events, Connected)
        for caller_id in ("hasty", "patient"):
            ari.originate("Local/hello@lab/n", channel_id=caller_id)
            take(events, PlaybackStarted)
            hang_up_in_the_middle_of(ari, caller_id)
        assert hello.poll() is None


def hang_up_in_the_middle_of(ari: Ari, caller_id: str) -> None:
    ari.send_dtmf(caller_id, "1")
    assert ari.hang_up(caller_id)
