"""The desk of programs answers every command, in the words of the program."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.waiting import until
from recorder.ari import AriUnavailable, Channel, ChannelUserevent, Dialplan, Party
from recorder.errors import ProgramsMayNotDial
from recorder.programs.commands import DialCommand
from recorder.programs.programs import CommandOrigin, CommandResult
from recorder.watch.lanes import Lanes
from recorder.watch.programs import ProgramDesk
from storage.records import Actor

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIAL = {"eventname": "earwitness", "action": "dial", "from": "PJSIP/2001", "to": "1202555"}


class Hands:
    """The programs and the outlet of a desk, which note their calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, CommandOrigin]] = []
        self.said: list[tuple[str, Mapping[str, str], list[str]]] = []
        self.may = True
        self.answers = True

    def carry_out(self, command: Any, origin: CommandOrigin) -> CommandResult:
        """Note the command, and refuse it unless it may be carried out."""
        self.asked.append((command, origin))
        if not self.may:
            raise ProgramsMayNotDial("PBX main: the key is not set")
        return CommandResult("requested", {"call_id": "main-x"})

    def post(self, name: str, variables: Mapping[str, str], channel_ids: Any = ()) -> None:
        """Note a user event, if the PBX answers."""
        if not self.answers:
            raise AriUnavailable("no answer within 5 s")
        self.said.append((name, variables, list(channel_ids)))


@pytest.fixture
def hands() -> Hands:
    """Return the parts of a desk."""
    return Hands()


@pytest.fixture
def desk(hands: Any) -> Iterator[ProgramDesk]:
    """Return the desk of the PBX main."""
    desk = ProgramDesk("main", "earwitness", hands, hands, Lanes("test"))
    yield desk
    desk.close()


def sent(channel_id: str | None = None, **fields: str) -> ChannelUserevent:
    """Return a user event of a program, from a channel if one is named."""
    nobody = Party("", "")
    place = Dialplan("", "", "", "")
    of = Channel(channel_id, "Local/a", "Up", nobody, nobody, place, AT) if channel_id else None
    return ChannelUserevent(AT, "", "earwitness", of, {**DIAL, **fields})


def test_a_command_is_accepted(desk: ProgramDesk, hands: Hands) -> None:
    """The answer repeats the words of the program, and names the call."""
    desk.receive(sent("ch-1", request="7"), "main-1")
    command = DialCommand("PJSIP/2001", "1202555")
    assert hands.asked == [
        (command, CommandOrigin("main", Actor("dialplan", "main"), call_id="main-1", request="7"))
    ]
    answer = {"request": "7", "action": "dial", "pbx": "main", "state": "requested"}
    assert hands.said == [("earwitness.accepted", answer | {"call_id": "main-x"}, ["ch-1"])]


def test_a_refusal_says_why(desk: ProgramDesk, hands: Hands) -> None:
    """A refused command, and one that is wrong, is answered with its error and reason."""
    hands.may = False
    desk.receive(sent(request="8"), None)
    desk.receive(sent(to=""), None)
    (_, first, channels), (_, second, _) = hands.said
    assert [name for name, *_ in hands.said] == ["earwitness.refused"] * 2
    assert (first["request"], first["error_id"]) == ("8", "programs-may-not-dial")
    assert (second["error_id"], second["reason"]) == ("bad-command", "to: is missing")
    assert ("request" in second, channels) == (False, [])


def test_an_answer_that_cannot_be_sent_is_no_failure(desk: ProgramDesk, hands: Hands) -> None:
    """A PBX that does not take the answer stops nothing: the command is carried out."""
    hands.answers = False
    desk.receive(sent(), None)
    assert len(hands.asked) == 1


def test_a_command_for_another_instance_is_ignored(desk: ProgramDesk, hands: Hands) -> None:
    """Where several Earwitness follow one PBX, a command may name the one that it means."""
    desk.submit(sent(application="other"), None)
    desk.submit(sent(application="earwitness", request="9"), None)
    until(lambda: len(hands.said) == 1)
    assert [origin.request for _, origin in hands.asked] == ["9"]
