"""Say hello over ARI: answer, greet, repeat each key, and say goodbye at #.

    python examples/hello.py http://127.0.0.1:8088 USER      (the password in ARI_PASSWORD)

In extensions.conf:  exten => 100,1,Stasis(hello)
                      same => n,Hangup()
"""

import os
import sys
from contextlib import suppress
from uuid import uuid4

from recorder.ari import (
    Ari,
    AriConflict,
    AriNotFound,
    Connected,
    Disconnected,
    DtmfReceived,
    EventStream,
    Playback,
    PlaybackFinished,
    StasisStart,
)

GOODBYE = "goodbye-"


def greet(ari: Ari, channel_id: str) -> None:
    ari.answer(channel_id)
    ari.play(channel_id, "sound:hello-world", playback_id=str(uuid4()))


def echo(ari: Ari, channel_id: str, digit: str) -> None:
    ari.play(channel_id, f"digits:{digit}", playback_id=str(uuid4()))


def say_goodbye(ari: Ari, channel_id: str) -> None:
    ari.play(channel_id, "sound:vm-goodbye", playback_id=GOODBYE + channel_id)


def react(ari: Ari, event: object) -> None:
    match event:
        case StasisStart(channel=channel):
            greet(ari, channel.id)
        case DtmfReceived(channel=channel, digit="#"):
            say_goodbye(ari, channel.id)
        case DtmfReceived(channel=channel, digit=digit):
            echo(ari, channel.id, digit)
        case PlaybackFinished(playback=Playback(id=id)) if id.startswith(GOODBYE):
            ari.continue_in_dialplan(id.removeprefix(GOODBYE))
        case Connected():
            print("waiting for calls", flush=True)
        case Disconnected(reason=reason):
            print(f"disconnected: {reason}", file=sys.stderr, flush=True)


def main(url: str, username: str) -> None:
    password = os.environ["ARI_PASSWORD"]
    with (
        Ari(url, username, password, "hello") as ari,
        EventStream(ari, subscribe_all=False) as events,
    ):
        while True:
            with suppress(AriNotFound, AriConflict):  # the caller hung up meanwhile
                react(ari, events.next(timeout_s=60))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
