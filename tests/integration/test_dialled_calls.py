"""The watcher follows dialled calls: a session with real rows, and a PBX in memory."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from test_session import Scene
from uuid_utils.compat import uuid7

from recorder import ari, names
from storage.catalogue import calls, dials, events
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, DialRecord
from tests.channels import AT
from tests.channels import channel as build_channel

NUMBER = "12025550123"


def at(seconds: int) -> datetime:
    """Return a moment of the PBX's clock."""
    return AT + timedelta(seconds=seconds)


@dataclass
class Dialled:
    """A dial whose phone is about to ring, and the events of its channels."""

    scene: Scene
    id: UUID = field(default_factory=uuid7)

    def __post_init__(self) -> None:
        linkedid = names.build_person_id(self.id)
        self.call_id = names.build_call_id(self.scene.name, linkedid)
        dialplan = ari.Dialplan("agents", "s", "AppDial2", "")
        self.phone = replace(
            build_channel(linkedid, linkedid),
            name="PJSIP/2001-00000001",
            state="Down",
            caller=ari.Party("2001", "Ann Archer"),
            dialplan=dialplan,
        )
        self.trunk = replace(
            build_channel(f"{self.id}.1", linkedid),
            name="PJSIP/trunk-00000002",
            state="Ringing",
            caller=ari.Party(NUMBER, names.CLICK_TO_DIAL),
            dialplan=ari.Dialplan("dids", NUMBER, "AppDial", ""),
        )
        self.bridge = ari.Bridge("b", "mixing", "simple_bridge", (self.phone.id, self.trunk.id))
        call = CallRecord(
            id=self.call_id,
            pbx=self.scene.name,
            state="ringing",
            direction="outbound",
            started_at=AT,
            caller_number="2001",
            callee_number=NUMBER,
            agent="2001",
            trigger="dialled",
        )
        record = DialRecord(
            id=self.id,
            call_id=self.call_id,
            pbx=self.scene.name,
            phone="PJSIP/2001",
            number=f"+{NUMBER}",
            state="requested",
            created_by="root",
            requested_at=AT,
            agent="2001",
        )
        with self.scene.catalogue.begin() as tx:
            assert dials.create_dial(tx, record)
            calls.save_calls(tx, [call])

    def state(self, name: str, seconds: int) -> ari.Event:
        """The phone has a new state."""
        return ari.ChannelStateChange(at(seconds), "", replace(self.phone, state=name))

    def rung(self) -> tuple[ari.Event, ...]:
        """The phone rings."""
        return ari.ChannelCreated(AT, "", self.phone), self.state("Ringing", 1)

    def answered(self) -> tuple[ari.Event, ...]:
        """The phone answers, and the number rings."""
        dialling = ari.Dial(at(3), "", self.phone, self.trunk, "", "")
        return self.state("Up", 2), ari.ChannelCreated(at(3), "", self.trunk), dialling

    def talks(self) -> tuple[ari.Event, ...]:
        """The number answers."""
        up = replace(self.trunk, state="Up")
        return (
            ari.ChannelStateChange(at(5), "", up),
            ari.ChannelEnteredBridge(at(5), "", self.bridge, up),
            ari.ChannelEnteredBridge(at(5), "", self.bridge, replace(self.phone, state="Up")),
        )

    def ended(self, q850: int = 16) -> tuple[ari.Event, ...]:
        """Both channels end."""
        return tuple(
            ari.ChannelDestroyed(at(9), "", one, q850, "") for one in (self.trunk, self.phone)
        )

    def call(self) -> CallRecord:
        """Return the call as the catalogue has it."""
        with self.scene.catalogue.begin() as tx:
            return calls.get_call(tx, self.call_id)

    def dial(self) -> DialRecord:
        """Return the dial as the catalogue has it."""
        with self.scene.catalogue.begin() as tx:
            return dials.get_dial(tx, self.id)

    def events(self) -> list[str]:
        """Return the types of the events about the state of the call."""
        with self.scene.catalogue.begin() as tx:
            found = events.list_events(tx, None, 10_000)
        types = [one.type for one in found if one.data["id"] == self.call_id]
        return [one for one in types if not one.endswith("changed")]


@pytest.fixture
def scene(catalogue: Catalogue) -> Scene:
    """Return a session of a PBX of its own."""
    return Scene(catalogue)


@pytest.fixture
def dialled(scene: Scene) -> Dialled:
    """Return a dial of this PBX."""
    return Dialled(scene)


def test_a_dialled_call_from_the_ring_to_the_end(scene: Scene, dialled: Dialled) -> None:
    """One call rings until the number answers; its caller is the agent from the first ring on."""
    progress = []
    for step in (dialled.rung(), dialled.answered(), dialled.talks(), dialled.ended()):
        scene.process(*step)
        call = dialled.call()
        progress.append((call.state, dialled.dial().state))
        assert (call.direction, call.trigger, call.agent) == ("outbound", "dialled", "2001")
        assert (call.caller_number, call.callee_number) == ("2001", NUMBER)
        assert {leg.caller_name for leg in call.channels} <= {None, "Ann Archer"}
    assert progress == [
        ("ringing", "ringing"),
        ("ringing", "dialling"),
        ("up", "up"),
        ("ended", "ended"),
    ]
    record = dialled.dial()
    assert (record.answered_at, record.talked_at, record.ended_at) == (at(2), at(5), at(9))
    assert (record.cause, call.answered_at) == ("ended", at(5))
    assert dialled.events() == ["call.ringing", "call.up", "call.ended"]


def test_all_in_one_batch(scene: Scene, dialled: Dialled) -> None:
    """The end and its cause are found even if the whole call is over before anything is saved."""
    busy = ari.Dial(at(4), "", dialled.phone, dialled.trunk, "", "BUSY")
    scene.process(*dialled.rung(), *dialled.answered(), busy, *dialled.ended(17))
    assert (dialled.call().state, dialled.dial().cause) == ("ended", "busy")
    assert dialled.dial().answered_at == at(2)


@pytest.mark.parametrize(("talks", "cause"), [(True, "ended"), (False, "pbx-lost")])
def test_a_crash_of_the_pbx(scene: Scene, dialled: Dialled, talks: bool, cause: str) -> None:
    """A crash ends the dial with the call."""
    scene.pbx.channels = [dialled.phone]
    scene.process(ari.Connected(AT), *dialled.rung(), *dialled.answered())
    if talks:
        scene.process(*dialled.talks())
    scene.process(ari.Disconnected(at(9), "closed", False))
    scene.pbx.channels, scene.pbx.startup_at = [], at(20)
    scene.process(ari.Connected(at(21)))
    assert (dialled.call().state, dialled.dial().state) == ("ended", "ended")
    assert (dialled.dial().cause, dialled.dial().ended_at) == (cause, at(9))


def test_another_watcher_goes_on(scene: Scene, dialled: Dialled) -> None:
    """A watcher that starts while the number rings knows that the agent had answered."""
    scene.process(*dialled.rung(), *dialled.answered())
    after = Scene(scene.catalogue, scene.name, scene.pbx)
    cancelled = ari.Dial(at(4), "", dialled.phone, dialled.trunk, "", "CANCEL")
    after.process(cancelled, *dialled.ended())
    assert (dialled.dial().cause, dialled.call().callee_number) == ("cancelled", NUMBER)


def test_a_watcher_that_comes_after_the_row(scene: Scene, dialled: Dialled) -> None:
    """A dialled call without a channel is no call of the model until its channel is listed."""
    after = Scene(scene.catalogue, scene.name, scene.pbx)
    after.process(ari.Connected(AT))
    assert (dialled.call().state, dialled.dial().state) == ("ringing", "requested")
    up: Any = replace(dialled.phone, state="Up")
    after.pbx.channels = [up]
    after.process(ari.Connected(AT), dialled.state("Up", 2))
    assert (dialled.call().state, dialled.dial().state) == ("ringing", "dialling")


def test_a_phone_that_rings_for_a_cancelled_dial(scene: Scene, dialled: Dialled) -> None:
    """Its dial is over before the PBX rings the phone: it is hung up at once."""
    with scene.catalogue.begin() as tx:
        dials.move_dial(tx, dialled.id, to="ended", cause="cancelled")
    scene.process(*dialled.rung())
    assert scene.pbx.done == [("hang up", dialled.phone.id)]
    scene.process(ari.ChannelDestroyed(at(3), "", dialled.phone, 16, ""))
    assert (dialled.call().state, dialled.dial().cause) == ("ended", "cancelled")


def test_a_transfer_does_not_end_the_dial(scene: Scene, dialled: Dialled) -> None:
    """The dial ends with its call, not with the phone that dialled."""
    scene.process(*dialled.rung(), *dialled.answered(), *dialled.talks())
    scene.process(ari.ChannelDestroyed(at(7), "", dialled.phone, 16, ""))
    assert (dialled.call().state, dialled.dial().state) == ("up", "up")
    assert dialled.call().callee_number == NUMBER
