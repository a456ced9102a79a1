"""Call back whoever was missed: ring an agent, dial the caller, and print how it goes.

    python examples/call_back_missed.py http://127.0.0.1:8088 USER PJSIP/2001

The password is in ARI_PASSWORD. This program knows Asterisk alone, and uses nothing but events: it
asks by a user event, and hears by user events. In config.toml of Earwitness:

    [[pbx]]
    user_events_to = ["missed"]
    programs_may_dial = true
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from recorder.ari import Ari, AriNotFound, ChannelUserevent, Connected, Disconnected, EventStream

EARWITNESS = "earwitness"  # the application of Earwitness, as in its config.toml


def is_missed(call: Mapping[str, Any]) -> bool:
    """Return whether an ended call came from outside, and nobody answered it."""
    return call.get("direction") == "inbound" and "answered_at" not in call


def call_back(ari: Ari, phone: str, call: Mapping[str, Any]) -> None:
    """Ask for a call from our phone to the caller; the request is named after the missed call."""
    number = json.loads(call["caller"])["number"]
    if not number:
        say(f"{call['id']}: missed, without a number")
        return
    say(f"{call['id']}: missed, calling {number} back")
    wish = {"action": "dial", "from": phone, "to": number, "request": call["id"]}
    ari.post_user_event("earwitness", application=EARWITNESS, variables=wish)


def react(ari: Ari, phone: str, event: object) -> None:
    """Print the progress of our own requests, and call back after a missed call."""
    match event:
        case ChannelUserevent(eventname="call.ended", userevent=call) if is_missed(call):
            with suppress(AriNotFound):  # Earwitness is not connected to this PBX
                call_back(ari, phone, call)
        case ChannelUserevent(eventname="earwitness.accepted", userevent=answer):
            say(f"{answer.get('request')}: accepted as {answer.get('call_id')}")
        case ChannelUserevent(eventname="earwitness.refused", userevent=answer):
            say(f"{answer.get('request')}: refused, {answer.get('reason')}")
        case ChannelUserevent(eventname="call.dial-changed", userevent=dial) if "request" in dial:
            say(f"{dial['request']}: {dial['dial']} {dial.get('cause', '')}".rstrip())
        case Connected():
            say("waiting for missed calls")
        case Disconnected(reason=reason):
            say(f"disconnected: {reason}")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main(url: str, username: str, phone: str) -> None:
    """Follow our events until somebody presses Ctrl-C."""
    password = os.environ["ARI_PASSWORD"]
    with (
        Ari(url, username, password, "missed") as ari,
        EventStream(ari, subscribe_all=False) as events,
    ):
        while True:
            react(ari, phone, events.next(timeout_s=60))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
