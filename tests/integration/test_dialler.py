"""Dialling with real rows, on a PBX in memory: rights, busy phones, repeats, dead processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from uuid_utils.compat import uuid7

from recorder import names
from recorder.ari import AriServerError, AriUnavailable, Endpoint
from recorder.ari.pbxs import Pbxs
from recorder.dialling.dialler import Dialler, DialRequest, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.errors import (
    BadDestination,
    CannotDial,
    NotANumber,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from recorder.recording.terms import DIALLED
from storage.catalogue import audit, calls, dials, do_not_call, events, terms, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import IdempotencyKeyReused, NoSuchDial
from storage.records import DialRecord
from storage.schema import dial
from tests.actors import ANN, ROOT
from tests.fake_phones import FakePhones
from tests.legs import leg

NUMBER = "12025550123"
LONG_AGO = timedelta(minutes=1)


class World:
    """A PBX in memory, an admin, and the dialler."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.name = f"p{uuid7().hex[-12:]}"
        self.pbx = FakePhones()
        fake: Any = self.pbx
        settings = {
            self.name: DialSettings("outbound", trunks=("PJSIP/trunk*",), ring_s=20),
            "silent": DialSettings(),
        }
        self.dialler = Dialler(
            catalogue, Pbxs({self.name: fake}), settings, DialPolicy(refused=("+1303",))
        )
        self.owner_id = self.add_token("root", "admin")

    def add_token(self, name: str, role: str, team: str | None = None) -> UUID:
        """Add a token; return its id."""
        with self.catalogue.begin() as tx:
            secret = tokens.keep_secret(
                tx, tokens.PREFIX, name=name, role=role, team=team, scopes=[]
            )
            found = tokens.find_token(tx, secret)
            assert found is not None
            return found.id

    def request(self, **more: Any) -> DialRequest:
        """Return a request to dial from 2001."""
        return replace(DialRequest(self.name, "PJSIP/2001", NUMBER), **more)

    def dial(self, owner_id: UUID | None = None, **more: Any) -> DialRecord:
        """Dial from 2001."""
        return self.dialler.dial(self.request(**more), by=ROOT, owner_id=owner_id or self.owner_id)

    def read(self, dial_id: UUID) -> DialRecord:
        """Return a dial as the catalogue has it."""
        with self.catalogue.begin() as tx:
            return dials.get_dial(tx, dial_id)

    def call_state(self, record: DialRecord) -> str:
        """Return the state of the call of a dial."""
        with self.catalogue.begin() as tx:
            return calls.get_call(tx, record.call_id).state

    def live(self) -> tuple[DialRecord, ...]:
        """Return the live dials."""
        with self.catalogue.begin() as tx:
            return dials.list_live_dials(tx, self.name)

    def age(self, record: DialRecord) -> None:
        """Let the request be a minute old."""
        past = datetime.now(UTC) - LONG_AGO
        with self.catalogue.begin() as tx:
            tx.execute(update(dial).where(dial.c.id == record.id).values(requested_at=past))


@pytest.fixture
def world(catalogue: Catalogue) -> Iterator[World]:
    """Return a world of its own."""
    yield World(catalogue)
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM do_not_call"))


def test_the_rows_come_before_the_ring(world: World) -> None:
    """The PBX is asked once both rows are there; the phone shows the number, the caller is the
    agent, and no forwarding leads out of the house."""
    seen: list[str] = []
    world.pbx.before_ring = lambda: seen.extend(one.state for one in world.live())
    record = world.dial(record=True, announce="sound:hello", phone="pjsip/2001")
    assert seen == ["requested"]
    assert (record.phone, record.number, record.agent) == ("PJSIP/2001", "+12025550123", "2001")
    assert record.allowed_by == {"prefix": "any"}
    (ring,) = world.pbx.rings
    assert ring["channel_id"] == names.build_person_id(record.id)
    assert (ring["context"], ring["exten"], ring["timeout_s"]) == ("outbound", NUMBER, 20)
    assert ring["variables"] == {
        "FORWARD_CONTEXT": "earwitness-nowhere",
        "CONNECTEDLINE(name,i)": "Click to dial",
        "CONNECTEDLINE(num,i)": NUMBER,
        "CALLERID(num)": "2001",
    }
    with world.catalogue.begin() as tx:
        call = calls.get_call(tx, record.call_id)
        wanted = terms.find_terms(tx, [record.call_id])[record.call_id]
        (entry,) = audit.list_audit(tx, subject=record.call_id, limit=5).items
    assert (call.state, call.direction, call.trigger) == ("ringing", "outbound", "dialled")
    assert (call.caller_number, call.callee_number, call.agent) == ("2001", NUMBER, "2001")
    assert (wanted.id, wanted.action, wanted.announcement) == (DIALLED, "record", "sound:hello")
    assert (entry.actor, entry.action, entry.detail["to"]) == ("root", "call.dial", "+12025550123")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"pbx": "silent"}, CannotDial),
        ({"pbx": "unknown"}, CannotDial),
        ({"number": "abc"}, NotANumber),
        ({"number": "911"}, NumberRefused),
        ({"number": "13035550123"}, NumberRefused),
        ({"number": "19005550123"}, NumberRefused),
        ({"number": "12025550199"}, NumberRefused),  # on the do-not-call list
        ({"phone": "PJSIP/trunk"}, BadDestination),
        ({"phone": "PJSIP/7777"}, BadDestination),
        ({"phone": "SIP/2001"}, BadDestination),
        ({"phone": f"PJSIP/{NUMBER}@trunk"}, BadDestination),
        ({"phone": "Local/2001"}, BadDestination),
    ],
)
def test_refusals(world: World, change: dict[str, str], error: type[Exception]) -> None:
    """A refused request rings nothing and leaves no row."""
    with world.catalogue.begin() as tx:
        do_not_call.add(tx, "+12025550199", "asked us", by="root")
    with pytest.raises(error):
        world.dial(**change)
    assert (world.pbx.rings, world.live()) == ([], ())


def test_the_pbx_that_dials(world: World) -> None:
    """Without a name it is the only PBX with a dial context."""
    assert world.dialler.choose_pbx(None) == world.name
    assert world.dialler.choose_pbx("silent") == "silent"
    with pytest.raises(CannotDial, match="no PBX"):
        world.dialler.choose_pbx("other")
    two = {"a": DialSettings("x"), "b": DialSettings("x")}
    with pytest.raises(CannotDial, match="a, b"):
        Dialler(world.catalogue, Pbxs({}), two, DialPolicy()).choose_pbx(None)


def test_rights(world: World) -> None:
    """An agent dials from its own phone, a supervisor from those of the team, and nobody whose
    token is gone."""
    team = f"team {world.name}"
    agent = world.add_token("2001", "agent", team)
    supervisor = world.add_token("sue", "supervisor", team)
    stranger = world.add_token("2002", "agent", "another team")
    listener = world.add_token("cora", "compliance")
    for owner_id in (stranger, listener, uuid7()):
        with pytest.raises(PhoneNotPermitted):
            world.dial(owner_id)
    with pytest.raises(PhoneNotPermitted):
        world.dial(supervisor, phone="PJSIP/2002")
    for owner_id in (agent, supervisor):
        world.dialler.hang_up(world.dial(owner_id).id)
    assert len(world.pbx.rings) == 2


def test_a_right_that_is_withdrawn_meanwhile(world: World) -> None:
    """The right is asked again in the transaction that writes the dial."""
    owner_id = world.add_token("sue", "supervisor")
    find, fake = world.pbx.find_endpoint, world.pbx

    def find_and_revoke(technology: str, resource: str) -> Endpoint | None:
        with world.catalogue.begin() as tx:
            tokens.revoke_token(tx, owner_id)
        return find(technology, resource)

    fake.find_endpoint = find_and_revoke  # type: ignore[method-assign]
    with pytest.raises(PhoneNotPermitted):
        world.dial(owner_id)
    assert (fake.rings, world.live()) == ([], ())


def test_a_busy_phone(world: World) -> None:
    """A phone with a channel, or with a live dial, is not rung; another phone is."""
    first = world.dial()
    with pytest.raises(PhoneBusy):
        world.dial()
    world.pbx.channels.clear()  # the PBX has no channel yet
    with pytest.raises(PhoneBusy):
        world.dial()
    assert world.dial(phone="PJSIP/2002").phone == "PJSIP/2002"
    world.dialler.hang_up(first.id)
    world.pbx.channels["ordinary call"] = "PJSIP/2001"
    with pytest.raises(PhoneBusy):
        world.dial()


def test_many_requests_at_once_ring_once(world: World) -> None:
    """One of several requests that all see a free phone rings it."""

    def ask(_: int) -> bool:
        try:
            return bool(world.dial())
        except PhoneBusy:
            return False

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(ask, range(6))) == [*[False] * 5, True]
    assert len(world.pbx.rings) == 1


def test_a_repeat_rings_once(world: World) -> None:
    """Requests with one key get one dial, at once, later and after its end, for a day."""
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: world.dial(key=world.name).id, range(6)))
    assert len(set(made)) == len(world.pbx.rings) == 1
    world.dialler.hang_up(made[0])
    assert world.dial(key=world.name).id == made[0]
    with pytest.raises(IdempotencyKeyReused):
        world.dial(key=world.name, number="12025550124")
    assert len(world.pbx.rings) == 1
    with world.catalogue.begin() as tx:
        old = datetime.now(UTC) - timedelta(days=2)
        tx.execute(update(dial).where(dial.c.id == made[0]).values(requested_at=old))
    assert world.dial(key=world.name).id != made[0]


def test_a_pbx_that_refuses(world: World) -> None:
    """A phone that cannot be rung ends the dial and its call."""
    world.pbx.fault = AriServerError("Allocation failed", method="POST", path="/", status=500)
    record = world.dial()
    assert (record.state, record.cause) == ("ended", "agent-unreachable")
    assert world.call_state(record) == "ended"


def test_a_pbx_that_does_not_answer(world: World) -> None:
    """The dial ends, and a repeat with the same key rings once the PBX is back."""
    world.pbx.fault = AriUnavailable("no answer within 5 s")
    with pytest.raises(PbxUnavailable):
        world.dial(key=world.name)
    assert world.live() == ()
    world.pbx.fault = None
    record = world.dial(key=world.name)
    assert (record.state, len(world.pbx.rings)) == ("requested", 1)


def test_a_process_that_dies_before_the_ring(world: World) -> None:
    """The check ends its rows once no answer of the PBX can be under way."""
    world.pbx.fault = KeyboardInterrupt()  # type: ignore[assignment]  # dies here
    with pytest.raises(KeyboardInterrupt):
        world.dial()
    (record,) = world.live()
    world.dialler.check(world.name)
    assert world.live() == (record,)
    world.age(record)
    world.dialler.check(world.name)
    ended = world.read(record.id)
    assert (ended.state, ended.cause, world.call_state(record)) == (
        *("ended", "pbx-unreachable"),
        "ended",
    )
    with world.catalogue.begin() as tx:
        types = [
            one.type
            for one in events.list_events(tx, None, 10_000)
            if one.data["id"] == record.call_id
        ]
    assert types == ["call.ringing", "call.dial-changed", "call.ended"]


def test_the_check_leaves_calls_that_live(world: World) -> None:
    """A phone that rings, and a call that the watcher follows, go on; an ended call ends its
    dial."""
    rings = world.dial()
    follows = world.dial(phone="PJSIP/2002")
    with world.catalogue.begin() as tx:
        call = calls.get_call(tx, follows.call_id)
        calls.save_calls(tx, [replace(call, channels=(leg("2002"),))])
    world.pbx.channels.pop(names.build_person_id(follows.id))
    for record in (rings, follows):
        world.age(record)
    world.dialler.check(world.name)
    assert [one.id for one in world.live()] == [rings.id, follows.id]
    with world.catalogue.begin() as tx:
        calls.save_calls(tx, [replace(call, state="ended", ended_at=datetime.now(UTC))])
    world.dialler.check(world.name)
    assert world.read(follows.id).cause == "pbx-lost"


def test_hanging_up(world: World) -> None:
    """A ringing call is cancelled once; one that talks is hung up, and ends by its events."""
    record = world.dial()
    for _ in range(2):
        ended = world.dialler.hang_up(record.id, by=ANN)
        assert (ended.state, ended.cause) == ("ended", "cancelled")
    assert (world.pbx.channels, world.call_state(record)) == ({}, "ended")
    talks = world.dial()
    with world.catalogue.begin() as tx:
        dials.move_dial(tx, talks.id, to="up", talked_at=datetime.now(UTC))
    assert world.dialler.hang_up(talks.id).state == "up"
    assert world.pbx.channels == {}
    with pytest.raises(NoSuchDial):
        world.dialler.hang_up(uuid7())


def test_a_phone_that_rings_after_its_dial_was_cancelled(world: World) -> None:
    """A person who hangs up while the PBX is asked leaves no phone ringing."""

    def hang_up() -> None:
        world.dialler.hang_up(world.live()[0].id, by=ANN)

    world.pbx.before_ring = hang_up
    record = world.dial()
    assert world.read(record.id).cause == "cancelled"
    assert (len(world.pbx.rings), world.pbx.channels) == (1, {})


def test_an_end_defers_the_next_step(world: World) -> None:
    """The call-back and the campaign of a dial get a job, in the transaction of its end."""
    wanted = {"callback_id": uuid7(), "campaign_id": uuid7()}
    record = world.dial(**wanted, entry_id=uuid7())
    with world.catalogue.begin() as tx:
        assert dials.move_dial(tx, record.id, to="ended", cause="busy") is not None
        assert dials.move_dial(tx, record.id, to="ended", cause="busy") is None
        jobs = tx.execute(
            text("SELECT task_name, args FROM procrastinate_jobs WHERE lock = ANY(:locks)"),
            {"locks": [str(one) for one in wanted.values()]},
        ).all()
    assert sorted(tuple(one) for one in jobs) == [
        ("callback_step", {"callback_id": str(wanted["callback_id"])}),
        ("campaign_step", {"campaign_id": str(wanted["campaign_id"])}),
    ]
