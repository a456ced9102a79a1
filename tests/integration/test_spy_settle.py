"""Spies with real rows, on a PBX in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from api_client import build_call, build_spy
from racing import waits_for_a_lock
from sqlalchemy import delete, text, update
from uuid_utils.compat import uuid7

from lab.waiting import until
from recorder import names
from recorder.ari import AriUnavailable
from recorder.ari.pbxs import Pbxs
from recorder.errors import ModeNotPermitted
from recorder.spy import spies as module
from recorder.spy.intruders import Intruder
from recorder.spy.spies import Spies
from recorder.withdrawal import withdraw
from storage.catalogue import audit, calls, pauses, spies, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable
from storage.records import AfterTransfer, Mode, PeoplePause, SpyRecord
from storage.schema import token
from tests.actors import ADMIN, ANN, ROOT, SUE
from tests.fake_pbx import INSTANCE, FakePbx
from tests.legs import leg

EVERYBODY = {"agent", "customer"}


class World:
    """A PBX in memory with one call, and the spies on it."""

    def __init__(self, catalogue: Catalogue, *, after_transfer: AfterTransfer = "end") -> None:
        self.catalogue = catalogue
        self.name = f"p{uuid7().hex[-12:]}"
        self.pbx = FakePbx("agent", "customer", names.build_listening_channel_id(INSTANCE, "agent"))
        pbxs = Pbxs({self.name: self.pbx})  # type: ignore[dict-item]
        self.spies = Spies(catalogue, pbxs, {}, after_transfer=after_transfer)
        self.team = f"team of {self.name}"
        self.call_id = f"{self.name}-1.0"
        with catalogue.begin() as tx:
            self.owner_id = tokens.create_token(tx, name=self.name, role="admin")[0].id
        legs = (leg("customer", party="customer", name="PJSIP/trunk-1"), leg("agent"))
        self.legs = legs
        self.save_call(channels=legs, agent="2001")

    def save_call(self, **fields: Any) -> None:
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [build_call(id=self.call_id, pbx=self.name, **fields)])

    def add_supervisor(self) -> UUID:
        """Create a supervisor whose team has the agent 2001 alone; return the token."""
        self.move_agent("2001", self.team)
        with self.catalogue.begin() as tx:
            name = f"ann of {self.name}"
            return tokens.create_token(tx, name=name, role="supervisor", team=self.team)[0].id

    def move_agent(self, name: str, team: str) -> None:
        """Put an agent into a team."""
        with self.catalogue.begin() as tx:
            tx.execute(delete(token).where(token.c.name == name))
            tokens.create_token(tx, name=name, role="agent", team=team)

    def add_spy(self, **fields: Any) -> SpyRecord:
        """Write the row of a live spy, with the channels of its supervisor on the PBX."""
        usual: dict[str, Any] = {
            "call_id": self.call_id,
            "pbx": self.name,
            "state": "live",
            "started_at": datetime.now(UTC) - timedelta(minutes=1),
            "owner_id": self.owner_id,
            "seen_at": datetime.now(UTC) if fields.get("destination") == "browser" else None,
        }
        record = build_spy(**usual | fields)
        with self.catalogue.begin() as tx:
            spies.create_spy(tx, record)
        for build in (
            names.build_phone_id,
            names.build_microphone_id,
            names.build_barge_channel_id,
        ):
            self.pbx.channels.add(build(record.id))
        return record

    def audited(self, subject: str) -> list[tuple[str, str, str]]:
        """Return actor, action and outcome of each entry of the audit trail, oldest first."""
        with self.catalogue.begin() as tx:
            found = audit.list_audit(tx, subject=subject, limit=10).items
        return [(one.actor, one.action, one.outcome) for one in reversed(found)]

    def set_mode(self, spy_id: UUID, mode: Mode) -> None:
        """Write a mode as another process does, which has not settled it yet."""
        with self.catalogue.begin() as tx:
            spies.set_mode(tx, spy_id, mode)


@pytest.fixture
def world(catalogue: Catalogue) -> World:
    """A PBX with a call."""
    return World(catalogue)


def once(act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts at its first call."""
    left = [act]

    def hook(_: str) -> None:
        if left:
            left.pop()()

    return hook


def test_a_switch_moves_the_voice(world: World) -> None:
    """Each mode is heard by the legs that it names, and the spans of hearing go on."""
    spy = world.add_spy()
    assert world.spies.settle(spy.id).heard[-1].to_at is None
    assert world.pbx.heard_by(spy.id) == set()
    for mode, legs in (("whisper", {"agent"}), ("barge", EVERYBODY), ("listen", set[str]())):
        world.spies.switch(spy.id, mode, by=SUE)  # type: ignore[arg-type]
        assert world.pbx.heard_by(spy.id) == legs
    ended = world.spies.end(spy.id, by=SUE)
    assert (len(ended.heard), ended.heard[0].to_at) == (1, ended.ended_at)
    assert not any(names.parse_spy_part(id_) for id_ in world.pbx.bridges)


def test_the_pbx_is_at_the_mode_that_settle_returns(world: World) -> None:
    """A mode written while another was settled is settled too, before the page may speak for it."""
    spy = world.add_spy(destination="browser", mode="barge")

    def whisper_again() -> None:
        world.set_mode(spy.id, "whisper")

    world.pbx.look = once(whisper_again)
    joined = world.spies.page_joined(spy.id)
    assert joined.mode == "whisper"
    assert world.pbx.heard_by(spy.id) == {"agent"}


def test_a_spy_that_fails_delays_no_other(world: World) -> None:
    """The check goes on to the next spy, and removes leftovers, when one spy cannot be settled."""
    failing, waiting = world.add_spy(), world.add_spy()
    over = world.add_spy(state="ended", ended_at=datetime.now(UTC), cause="ended")
    leftover, foreign = names.build_phone_id(over.id), names.build_phone_id(UUID(int=99))
    world.pbx.channels.add(foreign)

    def fail(id_: str) -> None:
        if id_ == names.build_phone_id(failing.id):
            raise AriUnavailable("no answer")

    world.pbx.look = fail
    with pytest.MonkeyPatch.context() as patch:
        listed = world.pbx.list_channels

        def list_channels(*, prefix: str) -> list[Any]:
            world.pbx.look = lambda _: None
            return listed(prefix=prefix)

        patch.setattr(world.pbx, "list_channels", list_channels)
        world.spies.check(world.name)
    bridge = world.pbx.bridges[names.build_listening_bridge_id(INSTANCE, "agent")]
    assert names.build_phone_id(waiting.id) in bridge
    assert names.build_phone_id(failing.id) not in bridge
    assert leftover not in world.pbx.channels
    assert foreign in world.pbx.channels, "another instance's"


def test_a_locked_spy_delays_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the lock of a spy, the check settles the others."""
    monkeypatch.setattr(module, "SPY_LOCK_WITHIN_S", 0.1)
    locked, waiting = world.add_spy(), world.add_spy()
    with world.catalogue.lock(f"spy {locked.id}", wait_s=1):
        world.spies.check(world.name)
    bridge = world.pbx.bridges[names.build_listening_bridge_id(INSTANCE, "agent")]
    assert names.build_phone_id(waiting.id) in bridge
    assert names.build_phone_id(locked.id) not in bridge


def test_a_check_ends_spies_without_a_supervisor(world: World) -> None:
    """A phone without a channel has hung up; a page that stays away is lost, since last seen."""
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    phone = world.add_spy()
    page = world.add_spy(destination="browser", seen_at=long_ago)
    world.pbx.hang_up(names.build_phone_id(phone.id))
    world.spies.check(world.name)
    assert world.spies.read(phone.id)[0].cause == "hung-up"
    lost = world.spies.read(page.id)[0]
    assert (lost.cause, lost.ended_at) == ("page-lost", long_ago)


def test_a_spy_meets_its_agent(world: World) -> None:
    """A spy that follows the agent of a call learns who that is once somebody has answered."""
    spy = world.add_spy(follow="agent", mode="whisper")
    assert world.spies.settle(spy.id).agent == "2001"


def test_the_end_of_the_call_ends_its_spy(world: World) -> None:
    """The spy says why it ended, and its channels are hung up."""
    spy = world.add_spy(mode="barge")
    world.spies.settle(spy.id)
    world.save_call(state="ended", channels=(replace(leg("agent"), left_at=datetime.now(UTC)),))
    ended = world.spies.settle(spy.id)
    assert (ended.state, ended.cause) == ("ended", "call-ended")
    assert world.pbx.heard_by(spy.id) == set()
    assert names.build_phone_id(spy.id) not in world.pbx.channels


def test_a_new_snoop_is_settled_for_all_spies(world: World) -> None:
    """Another supervisor who whispers to the target is heard again after the snoop was renewed."""
    one, other = world.add_spy(), world.add_spy(mode="whisper")
    for spy in (one, other):
        world.spies.settle(spy.id)
    world.spies.renew(one.id)
    assert world.pbx.heard_by(other.id) == {"agent"}
    assert names.build_listening_snoop_id(INSTANCE, "agent", ["customer"]) in world.pbx.channels


def test_a_pause_makes_deaf(world: World) -> None:
    """A pause takes the call from listening and whispering supervisors, until its end."""
    listening, whispering, barging = (
        world.add_spy(mode=mode, live_at=datetime.now(UTC))
        for mode in ("listen", "whisper", "barge")
    )
    everybody = [spy.id for spy in (listening, whispering, barging)]
    for spy_id in everybody:
        world.spies.settle(spy_id)
    inside = names.build_listening_bridge_id(INSTANCE, "agent")
    for _ in range(2):
        with world.catalogue.begin() as tx:
            now = datetime.now(UTC)
            pauses.open_pause(tx, PeoplePause(uuid7(), world.name, ("customer",), now, "ann"))
        world.spies.follow_pauses(world.name)
        phones = {id_ for id_ in world.pbx.bridges[inside] if "-phone-" in id_}
        assert phones == {names.build_phone_id(barging.id)}
        heard = {spy_id: world.spies.read(spy_id)[0].heard[-1] for spy_id in everybody}
        assert [spy_id for spy_id, span in heard.items() if span.to_at is None] == [barging.id]
        assert world.pbx.heard_by(whispering.id) == {"agent"}
        world.spies.follow_pauses(world.name)
        with world.catalogue.begin() as tx:
            pauses.close_pauses(tx, world.name, ["customer"], at=datetime.now(UTC))
        world.spies.follow_pauses(world.name)
        assert {names.build_phone_id(id_) for id_ in everybody} <= set(world.pbx.bridges[inside])
        assert all(world.spies.read(spy_id)[0].heard[-1].to_at is None for spy_id in everybody)
    assert len(world.pbx.played) == 4, "one tone for each pause and deaf phone"


def test_a_pause_that_begins_while_a_spy_is_connected(world: World) -> None:
    """Settling notices the pause that another process has written meanwhile."""
    spy = world.add_spy(live_at=datetime.now(UTC))

    def pause() -> None:
        with world.catalogue.begin() as tx:
            now = datetime.now(UTC)
            pauses.open_pause(tx, PeoplePause(uuid7(), world.name, ("customer",), now, "ann"))
        world.spies.follow_pauses(world.name)  # the spy does not hear yet

    world.pbx.look = once(pause)
    world.spies.settle(spy.id)
    assert all(span.to_at for span in world.spies.read(spy.id)[0].heard)
    inside = world.pbx.bridges[names.build_listening_bridge_id(INSTANCE, "agent")]
    assert names.build_phone_id(spy.id) not in inside


def test_nobody_is_deaf_where_listeners_hear_pauses(world: World) -> None:
    """With `pause_listeners = "hear"` a pause changes nothing for supervisors."""
    hearing = Spies(world.catalogue, Pbxs({world.name: world.pbx}), {}, deaf_in_pauses=False)  # type: ignore[dict-item]
    spy = world.add_spy()
    with world.catalogue.begin() as tx:
        now = datetime.now(UTC)
        pauses.open_pause(tx, PeoplePause(uuid7(), world.name, ("customer",), now, "ann"))
    assert hearing.settle(spy.id).heard[-1].to_at is None
    assert not hearing.read(spy.id)[1].deaf
    assert world.spies.read(spy.id)[1].deaf


def test_a_barge_reaches_the_members_of_other_calls(world: World) -> None:
    """The members of a conference have a call each, and hear the barge; a spy follows its agent."""
    spy = world.add_spy(mode="barge")
    other = f"{world.name}-2.0"
    third = leg("third", name="PJSIP/2003-1")
    first = (leg("customer", party="customer", name="PJSIP/trunk-1"), leg("agent"))
    world.save_call(channels=first, agent="2001", joined=(other,))
    with world.catalogue.begin() as tx:
        member = build_call(
            id=other, pbx=world.name, channels=(third,), agent="2003", joined=(world.call_id,)
        )
        calls.save_calls(tx, [member])
    world.pbx.channels.add("third")
    world.spies.settle(spy.id)
    assert world.pbx.heard_by(spy.id) == {"agent", "customer", "third"}
    follower = world.add_spy(follow="agent", agent="2003")
    assert world.spies.settle(follower.id).call_id == other
    assert world.spies.read(follower.id)[1].target == "third"
    with world.catalogue.begin() as tx:
        assert [one.id for one in calls.list_calls_of_agent(tx, world.name, "2003")] == [other]
        assert calls.list_calls_of_agent(tx, world.name, "003") == ()
        gone = replace(member, channels=(replace(third, left_at=datetime.now(UTC)),))
        calls.save_calls(tx, [gone])
        assert calls.list_calls_of_agent(tx, world.name, "2003") == ()


@pytest.mark.parametrize(("key", "mode"), [("5", "whisper"), ("6", "barge"), ("9", "listen")])
def test_keys_switch_the_mode(world: World, key: str, mode: str) -> None:
    """Keys 4, 5 and 6 switch, and other keys do nothing."""
    spy = world.add_spy()
    world.spies.key_pressed(spy.id, key)
    assert world.spies.read(spy.id)[0].mode == mode


def test_a_key_gives_no_right(world: World) -> None:
    """A key does not let a listening supervisor talk without the right; key 0 ends the spy."""
    with world.catalogue.begin() as tx:
        scopes = ["spies.read", "spies.listen"]
        name = f"ears of {world.name}"
        owner, _ = tokens.create_token(tx, name=name, role="service", scopes=scopes)
    spy = world.add_spy(owner_id=owner.id)
    world.spies.key_pressed(spy.id, "6")
    assert world.spies.read(spy.id)[0].mode == "listen"
    world.spies.key_pressed(spy.id, "0")
    assert world.spies.read(spy.id)[0].cause == "ended"


# Intruders


def test_a_check_expels_foreign_channels(world: World) -> None:
    """A foreign channel in a listening bridge is hung up and audited, until none is found."""
    spy = world.add_spy()
    world.spies.settle(spy.id)
    world.pbx.channels.add("foreign")
    world.pbx.bridges[names.build_listening_bridge_id(INSTANCE, "agent")].append("foreign")
    assert world.spies.check(world.name)
    assert "foreign" not in world.pbx.channels
    assert not world.spies.check(world.name)
    assert world.spies.read(spy.id)[0].state == "live"
    assert world.audited("foreign") == [("watch", "spy.transfer", "refused")]


def test_a_transferred_phone_ends_its_spy(world: World) -> None:
    """The spy whose phone was replaced says so, and the supervisor is in the audit trail."""
    spy = world.add_spy(mode="barge")
    world.spies.settle(spy.id)
    world.pbx.channels.add("half")
    world.spies.phone_replaced(world.name, Intruder("half", "Local/1@agents-1;1", spy.id))
    assert "half" not in world.pbx.channels
    assert world.spies.read(spy.id)[0].cause == "transferred"
    assert world.pbx.heard_by(spy.id) == set()
    assert world.audited(str(spy.id)) == [
        (world.name, "spy.transfer", "refused"),
        (world.name, "spy.end", "done"),
    ]


# Rights


@pytest.mark.parametrize(("after_transfer", "state"), [("end", "ended"), ("listen", "live")])
def test_a_call_that_goes_to_another_team(
    catalogue: Catalogue, after_transfer: AfterTransfer, state: str
) -> None:
    """A spy ends, or only listens, when its call goes to an agent whom its owner may not hear."""
    world = World(catalogue, after_transfer=after_transfer)
    spy = world.add_spy(mode="barge", owner_id=world.add_supervisor(), agent="2001")
    world.spies.settle(spy.id)
    assert world.pbx.heard_by(spy.id) == EVERYBODY
    world.save_call(channels=world.legs, agent="2003")
    settled = world.spies.settle(spy.id)
    assert settled.state == state
    assert world.pbx.heard_by(spy.id) == set()
    if state == "ended":
        assert settled.cause == "not-permitted"
        return
    assert (settled.mode, settled.may) == ("listen", ("listen",))
    with pytest.raises(ModeNotPermitted):
        world.spies.switch(spy.id, "whisper", by=ANN)
    world.spies.key_pressed(spy.id, "6")
    assert world.spies.read(spy.id)[0].mode == "listen"
    world.save_call(channels=world.legs, agent="2001")  # the call is back
    assert world.spies.switch(spy.id, "whisper", by=ANN).may == ("listen", "whisper", "barge")
    assert world.pbx.heard_by(spy.id) == {"agent"}


def test_a_spy_follows_its_agent_into_no_other_team(world: World) -> None:
    """When the agent goes to another team, a spy that waits for the agent's next call ends."""
    spy = world.add_spy(follow="agent", owner_id=world.add_supervisor(), agent="agent")
    world.save_call(channels=world.legs, agent="agent")
    world.move_agent("agent", world.team)
    assert world.spies.settle(spy.id).heard
    world.save_call(state="ended", channels=(replace(leg("agent"), left_at=datetime.now(UTC)),))
    assert world.spies.settle(spy.id).state == "live"
    world.move_agent("agent", "another team")
    world.spies.check(world.name)
    assert world.spies.read(spy.id)[0].cause == "not-permitted"


def test_a_lost_mode_is_taken_at_once(world: World) -> None:
    """Nobody hears a supervisor after the right to whisper and barge is withdrawn."""
    owner_id = world.add_supervisor()
    spy = world.add_spy(mode="whisper", owner_id=owner_id, agent="2001")
    world.spies.settle(spy.id)
    with world.catalogue.begin() as tx:
        without = ["spies.whisper", "spies.barge"]
        tx.execute(update(token).where(token.c.id == owner_id).values(without=without))
    world.spies.check(world.name)
    checked = world.spies.read(spy.id)[0]
    assert (checked.state, checked.mode, checked.may) == ("live", "listen", ("listen",))
    assert world.pbx.heard_by(spy.id) == set()


def test_a_check_ends_the_spy_of_a_removed_owner(world: World) -> None:
    """A spy whose token is gone ends at the next check, though nobody ended it."""
    spy = world.add_spy(mode="barge")
    world.spies.settle(spy.id)
    with world.catalogue.begin() as tx:
        tokens.revoke_token(tx, world.owner_id)
    world.spies.check(world.name)
    assert world.spies.read(spy.id)[0].cause == "not-permitted"
    assert world.pbx.heard_by(spy.id) == set()
    assert names.build_phone_id(spy.id) not in world.pbx.channels


def test_a_spy_without_an_owner_ends(world: World) -> None:
    """A spy that an older version started has no owner to ask about, so it ends."""
    spy = world.add_spy(owner_id=None)
    world.spies.check(world.name)
    assert world.spies.read(spy.id)[0].cause == "not-permitted"


def test_a_revocation_waits_for_the_row(world: World) -> None:
    """While a spy is written, its owner cannot be removed: the removal then finds the spy."""

    def revoke() -> None:
        with world.catalogue.begin() as tx:
            tx.execute(text("SET LOCAL lock_timeout = '100ms'"))
            tokens.revoke_token(tx, world.owner_id)

    with world.catalogue.begin() as tx:
        assert tokens.find_owner(tx, world.owner_id, lock=True) is not None
        with pytest.raises(CatalogueUnavailable):
            revoke()


def test_a_row_waits_for_the_revocation(world: World) -> None:
    """A spy whose owner is being removed is refused, and nobody's phone rings."""

    def start() -> SpyRecord:
        return world.spies.start(
            world.call_id,
            mode="listen",
            destination="PJSIP/9001",
            follow="call",
            owner_id=world.owner_id,
            by=ROOT,
        )

    with ThreadPoolExecutor(1) as pool:
        with world.catalogue.begin() as tx:
            tokens.revoke_token(tx, world.owner_id)
            started = pool.submit(start)
            until(lambda: waits_for_a_lock(tx))
        with pytest.raises(ModeNotPermitted):
            started.result(10)
    assert world.pbx.dialled == []
    with world.catalogue.begin() as tx:
        assert spies.list_live_spies(tx, world.name) == ()


def test_a_revocation_after_the_row_ends_the_spy(world: World) -> None:
    """A removal that comes right after the row is written finds the spy, and ends it."""
    spy = world.spies.start(
        world.call_id,
        mode="listen",
        destination="browser",
        follow="call",
        owner_id=world.owner_id,
        by=ROOT,
    )
    with world.catalogue.begin() as tx:
        tokens.revoke_token(tx, world.owner_id)
        withdrawn = withdraw(tx, world.owner_id, by=ADMIN)
    assert withdrawn.spy_ids == (spy.id,)
    assert world.spies.read(spy.id)[0].cause == "not-permitted"


def test_a_session_that_expires_ends_its_spies(world: World) -> None:
    """A spy ends at the first check after its owner's session has expired."""
    spy = world.add_spy()
    world.spies.settle(spy.id)
    with world.catalogue.begin() as tx:
        over = datetime.now(UTC) - timedelta(seconds=1)
        tx.execute(update(token).where(token.c.id == world.owner_id).values(expires_at=over))
    assert world.spies.list_lapsed([spy.id]) == {spy.id}
    world.spies.check(world.name)
    assert world.spies.list_lapsed([spy.id]) == frozenset()
    assert world.spies.read(spy.id)[0].cause == "not-permitted"
