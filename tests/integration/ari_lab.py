"""The shared part of the ARI client's tests: an Asterisk with Local channels, and waiting."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lab.asterisk import Asterisk
from lab.pbx import endpoint, transport
from lab.root import ensure_root, root_directory
from lab.waiting import until
from recorder.ari import Ari, Connected, Disconnected, Event, EventStream

Item = Event | Connected | Disconnected
Wanted = TypeVar("Wanted", bound=Item)

APPLICATION = "test"

DIALPLAN = """
[lab]
exten => tone,1,Answer()
 same => n,Playtones(440/100000)
 same => n,Wait(600)
exten => wait,1,Answer()
 same => n,Wait(600)
exten => ours,1,Stasis(test,one,two)
 same => n,Goto(wait,1)
exten => hello,1,Stasis(hello)
 same => n,Goto(wait,1)
"""

READ_ONLY_USER = """
[reader]
type=user
read_only=yes
password=reader
"""


@contextmanager
def running_asterisk() -> Iterator[Asterisk]:
    """Yield a running Asterisk with the dialplan above and a second, read-only user."""
    asterisk = Asterisk(ensure_root(root_directory()), "ari", channelvars=["CHANNEL(linkedid)"])
    users = (asterisk.directory / "etc/ari.conf").read_text()
    phones = transport(asterisk.sip_port, "username")
    phones += endpoint("2001", "sip:2001@127.0.0.1:9", "lab", "ulaw")
    phones += "[2002]\ntype = endpoint\n"  # nobody has registered
    asterisk.configure(
        {
            "extensions.conf": DIALPLAN,
            "ari.conf": users + READ_ONLY_USER,
            "pjsip.conf": phones,
        }
    )
    with asterisk:
        yield asterisk


def client(asterisk: Asterisk, application: str = APPLICATION, timeout_s: float = 5.0) -> Ari:
    """Return a client of the user with all rights."""
    return Ari(
        asterisk.ari_url, asterisk.username, asterisk.password, application, timeout_s=timeout_s
    )


def hang_up_all(asterisk: Asterisk) -> None:
    """Hang up all channels before the next test."""
    with client(asterisk) as ari:
        for channel in ari.list_channels():
            ari.hang_up(channel.id)
        until(lambda: ari.list_channels() == [])


def take(
    events: EventStream,
    kind: type[Wanted],
    matches: Callable[[Wanted], bool] = lambda item: True,
    timeout_s: float = 5.0,
) -> Wanted:
    """Return the next matching item of this kind, and skip the items before it."""
    deadline = time.monotonic() + timeout_s
    passed: list[Item | None] = []
    while (left_s := deadline - time.monotonic()) > 0:
        item = events.next(timeout_s=left_s)
        if isinstance(item, kind) and matches(item):
            return item
        passed.append(item)
    raise AssertionError(f"no such {kind.__name__} within {timeout_s:g} s, but {passed}")
