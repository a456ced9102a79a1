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
    """Wait for the caller's next playback to end, and return its sound."""
    target = f"channel:{channel_id}"
    started = take(events, PlaybackStarted, lambda event: event.playback.target_uri == target)
    take(events, PlaybackFinished, lambda event: event.playback.id == started.playback.id)
    return started.playback.media_uri


def test_hello(asterisk: Asterisk, hello: subprocess.Popen[str]) -> None:
    """A caller hears a greeting, its keys and, after #, a goodbye; then the dialplan continues."""
    with client(asterisk) as ari, EventStream(ari) as events:
        take(events, Connected)
        callee_id = call_hello(ari, "caller")
        assert played(events, callee_id) == "sound:hello-world"
        for key in "4*":
            ari.send_dtmf("caller", key)
            assert played(events, callee_id) == f"digits:{key}"
        ari.send_dtmf("caller", "#")
        assert played(events, callee_id) == "sound:vm-goodbye"
        after = take(events, ChannelDialplan, lambda event: event.channel.id == callee_id)
        assert (after.app_name, after.channel.dialplan.exten) == ("Goto", "hello")
        assert hello.poll() is None
        ari.hang_up("caller")


def test_hello_survives_a_hangup_during_the_greeting(
    asterisk: Asterisk, hello: subprocess.Popen[str]
) -> None:
    """After a caller who hangs up during the greeting, the next caller is greeted."""
    with client(asterisk) as ari, EventStream(ari) as events:
        take(events, Connected)
        call_hello(ari, "hasty")
        take(events, StasisStart, lambda event: event.channel.id == "hasty")
        ari.send_dtmf("hasty", "1")
        assert ari.hang_up("hasty")
        assert played(events, call_hello(ari, "patient")) == "sound:hello-world"
        assert hello.poll() is None
        ari.hang_up("patient")


def call_hello(ari: Ari, caller_id: str) -> str:
    """Call the example from a channel of ours; return the id of the example's channel."""
    ari.originate("Local/hello@lab/n", channel_id=caller_id)
    return f"{caller_id};2"
