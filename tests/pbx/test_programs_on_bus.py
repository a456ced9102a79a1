"""Other programs on the PBX dial and hold conferences through us, by events, AMI and CURL()."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.asterisk import PANEL
from lab.waiting import until
from lab.world import World
from recorder.ari import Ari, ChannelUserevent, Connected, EventStream
from tests.pbx.curling import curl, curl_with_header
from tests.pbx.talks import numbers
from tests.service import REPOSITORY, Service

pytestmark = pytest.mark.pbx

APPLICATION = "panel"
WITHIN_S = 30.0
PREMIUM = "19005550123"


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Service]) -> Service:
    """Start a service on a PBX whose programs may dial."""
    return start_service(
        user_events_to=[APPLICATION, "missed"],
        programs={"programs_may_dial": True, "user_events_to_ami": True},
    )


@pytest.fixture
def panel(service: Service, world: World) -> Iterator["Panel"]:
    """Return a program on the PBX that asks and hears by events alone."""
    pbx = world.pbx
    with (
        Ari(pbx.ari_url, pbx.username, pbx.password, APPLICATION) as ari,
        EventStream(ari, subscribe_all=False) as stream,
    ):
        until(lambda: isinstance(stream.next(1.0), Connected))
        yield Panel(ari, stream)


class Panel:
    """A program that asks by user events, and keeps each event that it hears."""

    def __init__(self, ari: Ari, stream: EventStream) -> None:
        self._ari = ari
        self._stream = stream
        self.heard: list[tuple[str, Mapping[str, Any]]] = []

    def ask(self, **fields: str) -> None:
        """Send a command."""
        self._ari.post_user_event("earwitness", application="earwitness", variables=fields)

    def hear(self, name: str, **fields: str) -> Mapping[str, Any]:
        """Wait for an event of this name and with these fields; return all of its fields."""

        def find() -> Mapping[str, Any] | None:
            item = self._stream.next(0.2)
            while item is not None:
                if isinstance(item, ChannelUserevent):
                    self.heard.append((item.eventname, item.userevent))
                item = self._stream.next(0)
            for heard, data in self.heard:
                if heard == name and fields.items() <= data.items():
                    return data
            raise AssertionError(f"no {name} with {fields} in {self.heard}")

        return until(find, WITHIN_S)


def test_a_program_dials_by_events_alone(service: Service, world: World, panel: Panel) -> None:
    """A program asks, hears the answer in its own words, and the progress up to the end."""
    number = next(numbers)
    panel.ask(action="dial", to=number, request="one", **{"from": "PJSIP/2001"})
    accepted = panel.hear("earwitness.accepted", request="one", action="dial")
    call = world.dialled("2001", number)
    panel.hear("call.dial-changed", request="one", dial="up")
    call.hang_up()
    ended = panel.hear("call.dial-changed", request="one", dial="ended")
    assert (ended["id"], ended["cause"]) == (accepted["call_id"], "ended")
    panel.hear("call.ended", request="one", id=accepted["call_id"])
    assert service.get(f"/calls/{accepted['call_id']}")["trigger"] == "dialled"
    assert service.get("/audit", actor_kind="dialplan")["items"] != []


def test_a_program_is_told_of_a_refusal(panel: Panel) -> None:
    """A premium number, a misspelt field and an unknown action are refused, with the reason."""
    dial = {"action": "dial", "from": "PJSIP/2001"}
    panel.ask(**dial, to=PREMIUM, request="two")
    panel.ask(**dial, to="12025550123", recrod="yes", request="three")
    panel.ask(action="dance", request="four")
    panel.ask(action="pause", request="five")
    assert panel.hear("earwitness.refused", request="two")["error_id"] == "number-refused"
    assert panel.hear("earwitness.refused", request="three")["reason"] == "recrod: unknown"
    assert panel.hear("earwitness.refused", request="four")["error_id"] == "bad-command"
    assert panel.hear("earwitness.refused", request="five")["error_id"] == "no-such-call"


def test_a_busy_number_is_told(world: World, panel: Panel) -> None:
    """The end of a call whose number is busy comes with its cause."""
    number = next(numbers)
    with world.phone(number, "busy"):
        panel.ask(action="dial", to=number, request="six", **{"from": "PJSIP/2001"})
        ended = panel.hear("call.dial-changed", request="six", dial="ended")
    assert ended["cause"] == "busy"


def test_a_program_holds_a_conference(service: Service, world: World, panel: Panel) -> None:
    """A program opens a conference, calls two people in, mutes one and ends it, all by events."""
    room = {"action": "conference", "name": "bus"}
    panel.ask(**room, do="open", record="yes", request="seven")
    opened = panel.hear("earwitness.accepted", request="seven")
    panel.hear("conference.opened", request="seven", id=opened["conference_id"])
    number = next(numbers)
    panel.ask(**room, do="add", destination="PJSIP/2001", request="eight")
    panel.ask(**room, do="add", destination=number, request="nine")
    phone = panel.hear("earwitness.accepted", request="eight")
    panel.hear("conference.joined", request="eight", member_id=phone["member_id"])
    panel.hear("conference.joined", request="nine")
    legs = [world.far.await_leg(party) for party in ("2001", number)]
    panel.ask(**room, do="mute", member="PJSIP/2001")
    panel.hear("conference.muted", member_id=phone["member_id"])
    first = _await_recording(service, number)
    panel.ask(**room, do="record", record="no")
    service.await_state(first["id"], ["captured", "stored"])
    panel.ask(**room, do="record", record="yes")
    until(lambda: _await_recording(service, number)["id"] != first["id"], WITHIN_S)
    panel.ask(**room, do="open", request="ten")
    assert panel.hear("earwitness.refused", request="ten")["error_id"] == "conference-name-taken"
    panel.ask(**room, do="end")
    panel.hear("conference.ended", id=opened["conference_id"])
    for leg in legs:
        leg.await_down()


def _await_recording(service: Service, number: str) -> dict[str, Any]:
    """Wait for a running recording of a person with this number; return the newest."""

    def find() -> dict[str, Any]:
        found = service.get("/recordings", number=number, state="recording")["items"]
        assert found, number
        newest: dict[str, Any] = found[0]
        return newest

    return until(find, WITHIN_S)


class Manager:
    """A panel that knows AMI alone: a socket, lines, and blocks of fields."""

    def __init__(self, world: World) -> None:
        self._socket = socket.create_connection(("127.0.0.1", world.pbx.ami_port), timeout=5)
        self._file = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.heard: list[dict[str, str]] = []
        self.send(Action="Login", Username=PANEL, Secret=world.pbx.password)

    def send(self, **fields: str) -> None:
        """Send an action."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._socket.sendall(f"{lines}\r\n".encode())

    def hear(self, **fields: str) -> dict[str, str]:
        """Read on until there was an event with these fields; return it."""
        self._socket.settimeout(WITHIN_S)
        while True:
            for one in self.heard:
                if fields.items() <= one.items():
                    return one
            self.heard.append(self._read())

    def _read(self) -> dict[str, str]:
        block: dict[str, str] = {}
        while (line := self._file.readline().rstrip("\r\n")) or not block:
            name, _, value = line.partition(": ")
            block[name] = value
        return block

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self._socket.close()


@pytest.fixture
def manager(service: Service, world: World) -> Iterator[Manager]:
    """Return a panel that has logged in."""
    manager = Manager(world)
    yield manager
    manager.close()


def test_a_panel_dials_over_ami_alone(world: World, manager: Manager) -> None:
    """A panel on AMI asks through one line of dialplan, and AMI brings the answer and events."""
    number = next(numbers)
    manager.send(
        Action="Originate",
        Channel="Local/ask@earwitness-programs/n",
        Application="Wait",
        Data="5",
        Async="true",
        Variable=f'EARWITNESS="action: dial,from: PJSIP/2001,to: {number},request: 7"',
    )
    accepted = manager.hear(UserEvent="earwitness.accepted", request="7")
    call = world.dialled("2001", number)
    manager.hear(UserEvent="call.dial-changed", request="7", dial="up")
    up = manager.hear(UserEvent="call.up", request="7")
    assert up["id"] == accepted["call_id"]
    call.hang_up()


def test_a_dialplan_dials_by_curl(service: Service, world: World) -> None:
    """`CURL()` of the PBX itself dials, with its token in the URL, and gets one line."""
    number, token = next(numbers), service.dialplan_token()
    said = curl(service, world, "dial", token=token, to=number, **{"from": "PJSIP/2001"})
    assert said.startswith("ok: requested lab-earwitness-dial-")
    world.dialled("2001", number).hang_up()
    refused = curl(service, world, "dial", token=token, to=PREMIUM, **{"from": "PJSIP/2001"})
    assert refused.startswith("error: number-refused: ")


def test_a_dialplan_holds_a_conference_by_curl(service: Service, world: World) -> None:
    """`CURL()` opens a conference, calls a phone in, and ends it; a mistake is one line too.

    Its token is the user of the URL, the password, or a header by CURLOPT; without one nothing is
    done, though the PBX has the address of its configuration.
    """
    token, what = service.dialplan_token(), "conference"
    user, password = f"{token}@", f"pbx:{token}@"

    def ask(do: str, login: str = user, **more: str) -> str:
        return curl(service, world, what, login=login, do=do, name="curled", **more)

    assert ask("open", login="").startswith("error: not-authenticated: ")
    assert ask("add", destination="PJSIP/2002").startswith("error: no-such-conference: ")
    assert ask("open", layout="stereo").startswith("error: bad-command: layout: expected one of ")
    opened = ask("open", login=password)
    assert opened.startswith("ok: open ")
    assert curl_with_header(service, world, token, what, do="lock", name="curled") == opened
    assert ask("unlock") == opened
    assert ask("add", destination="PJSIP/2002").startswith("ok: ")
    leg = world.far.await_leg("2002")
    assert ask("end") == opened.replace("open", "ended")
    leg.await_down()


@contextmanager
def running_example(world: World, folder: Path) -> Iterator[Path]:
    """Run examples/call_back_missed.py for the phone 2001; the file has what it prints."""
    pbx, said = world.pbx, folder / "said.txt"
    example = [sys.executable, "examples/call_back_missed.py"]
    with (
        said.open("w") as output,
        subprocess.Popen(
            [*example, pbx.ari_url, pbx.username, "PJSIP/2001"],
            cwd=REPOSITORY,
            env=os.environ | {"ARI_PASSWORD": pbx.password, "PYTHONPATH": str(REPOSITORY)},
            stdout=output,
        ) as process,
    ):
        try:
            yield said
        finally:
            process.terminate()


def test_the_example_calls_missed_callers_back(
    service: Service, world: World, tmp_path: Path
) -> None:
    """The example rings the agent after a missed call, and prints the progress of the call."""
    number = next(numbers)
    with running_example(world, tmp_path) as said:

        def await_words(words: str) -> None:
            until(lambda: _contains(said, words), WITHIN_S)

        await_words("waiting for missed calls")
        with world.phone("2001", "ring"):
            missed = world.inbound(caller=number, answered_by="").leg("customer")
            world.far.await_ringing("2001")
        missed.hang_up()  # the phone answers the next call
        await_words(f"missed, calling {number} back")
        world.dialled("2001", number).hang_up()
        await_words(": accepted as lab-earwitness-dial-")
        await_words(": up")
        await_words(": ended ended")


def _contains(file: Path, words: str) -> bool:
    text = file.read_text()
    assert words in text, text
    return True
