"""User events are sent for each event of the PBX, from the start of the sender on."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call

from lab.waiting import until
from recorder.ari.errors import AriBadRequest, AriNotFound, AriUnavailable
from recorder.watch.user_events import Outlet, UserEventSender
from storage.catalogue import calls, events, requests
from storage.catalogue.engine import Catalogue
from tests.legs import leg


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


class Manager(Pbx):
    """An Asterisk that notes the channel of each user event; only `ch-2` lives."""

    application = "earwitness"

    def __init__(self) -> None:
        super().__init__()
        self.copied: list[tuple[str, str, Mapping[str, str]]] = []

    def post_user_event(
        self,
        type: str,
        *,
        application: str | None = None,
        source: str = "",
        variables: Mapping[str, str],
    ) -> None:
        """Copy a user event to AMI, if it has a channel that lives."""
        if source and source != "channel:ch-2":
            raise AriBadRequest("422 Event source was not found")
        if source:
            self.copied.append((type, source, variables))


def test_ami_gets_the_events_of_living_channels(catalogue: Catalogue) -> None:
    """AMI gets the events of a live call with a channel of it, on one line for each field."""
    pbx: Any = Manager()
    sender = UserEventSender(catalogue, "main", Outlet(pbx, "main", to_ami=True))
    sender.send_new()
    lives, gone = f"main-{uuid4()}", f"main-{uuid4()}"
    legs = (leg("ch-1"), leg("ch-2"))
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=lives, caller_name="A\r\nB: c", channels=legs)])
        calls.save_calls(tx, [build_call(id=gone, channels=(leg("ch-3"),))])
        events.add_event(tx, "callback.done", {"pbx": "main", "id": "b", "n": "9"})
    until(lambda: _newest(catalogue) == "9")
    sender.send_new()
    ((type_, channel, fields),) = pbx.copied
    assert (type_, channel, fields["id"]) == ("call.up", "channel:ch-2", lives)
    assert "\n" not in "".join(fields.values())


def test_events_repeat_the_words_of_the_program(catalogue: Catalogue) -> None:
    """An event has the words of its most special subject: of a member before its conference."""
    said: list[Mapping[str, str]] = []
    pbx: Any = SimpleNamespace(post_user_event=lambda *_, variables, **__: said.append(variables))
    sender = UserEventSender(catalogue, "main", Outlet(pbx, "main", ["wallboard"]))
    sender.send_new()
    with catalogue.begin() as tx:
        requests.keep_request(tx, "room", "open it")
        requests.keep_request(tx, "ann", "call Ann")
        for about in ({"id": "room"}, {"id": "room", "member_id": "ann"}, {"id": "x"}):
            events.add_event(tx, "conference.changed", {"pbx": "main", "n": "10", **about})
    until(lambda: _newest(catalogue) == "10")
    sender.send_new()
    assert [one.get("request") for one in said] == ["open it", "call Ann", None]


def _newest(catalogue: Catalogue) -> str:
    """Return the number of the newest event that a reader sees."""
    with catalogue.begin() as tx:
        return str(events.list_events(tx, None, 1000)[-1].data["n"])
