"""User events are sent for each event of the PBX, from the start of the sender on."""

from collections.abc import Mapping
from typing import Any

import pytest

from lab.waiting import until
from recorder.ari.errors import AriNotFound, AriUnavailable
from recorder.watch.user_events import Outlet, UserEventSender
from storage.catalogue import events
from storage.catalogue.engine import Catalogue


class Pbx:
    """An Asterisk on which the application `wallboard` is connected."""

    def __init__(self) -> None:
        self.answers = True
        self.sent: list[tuple[str, str]] = []

    def post_user_event(self, type: str, *, application: str, variables: Mapping[str, str]) -> None:
        """Send a user event, if this Asterisk answers and knows the application."""
        if not self.answers:
            raise AriUnavailable("no answer within 5 s")
        if application != "wallboard":
            raise AriNotFound("no such application")
        self.sent.append((type, variables["n"]))


def add(catalogue: Catalogue, n: str, pbx: str = "main") -> None:
    """Add an event of a PBX."""
    with catalogue.begin() as tx:
        events.add_event(tx, "call.up", {"pbx": pbx, "n": n})


def test_each_event_of_the_pbx_is_sent_once(catalogue: Catalogue) -> None:
    """Every later event of the PBX reaches each connected application in order, failures aside."""
    pbx: Any = Pbx()
    outlet = Outlet(pbx, "main", ["unconnected", "wallboard"])
    sender = UserEventSender(catalogue, "main", outlet)
    add(catalogue, "before")
    until(lambda: _newest(catalogue) == "before")
    sender.send_new()
    add(catalogue, "other", pbx="second")
    add(catalogue, "1")
    add(catalogue, "2")
    until(lambda: _newest(catalogue) == "2")
    pbx.answers = False
    for _ in range(2):
        with pytest.raises(AriUnavailable):
            sender.send_new()
    pbx.answers = True
    sender.send_new()
    add(catalogue, "3")
    until(lambda: _newest(catalogue) == "3")
    sender.send_new()
    sender.send_new()
    assert pbx.sent == [("call.up", "1"), ("call.up", "2"), ("call.up", "3")]


def _newest(catalogue: Catalogue) -> str:
    """Return the number of the newest event that a reader sees."""
    with catalogue.begin() as tx:
        return str(events.list_events(tx, None, 1000)[-1].data["n"])
