"""Recordings, pauses and decisions of calls that are joined, against PostgreSQL."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call
from captured import Pbx

from recorder.ari.pbxs import Pbxs
from recorder.errors import RecordingForbidden, RecordingForced, RecordingNotActive
from recorder.recording.capture import Capture
from recorder.recording.coverage import find_starter
from recorder.recording.demand import OnDemand
from recorder.recording.gate import Gate, read_scene
from recorder.rules.book import RuleBook
from storage.actors import RULES, key_actor
from storage.catalogue import calls, decisions, pauses, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.records import Action, CallRecord, DecisionRecord, RecordingRecord, RuleRecord, Trigger
from tests.actors import ANN, SUE
from tests.legs import leg

RULE = RuleRecord(
    id="all", version=1, name="all", when="", action="record", priority=100, origin="config"
)
NEVER = RULE.replace(id="no", name="no payments", when='queue == "payments"', action="never")


@dataclass
class World:
    """A customer's call and an older internal call, each of two people, and not yet joined."""

    catalogue: Catalogue
    pbx: Pbx
    capture: Capture
    customers: CallRecord
    internal: CallRecord

    def save(self, *records: CallRecord) -> None:
        """Save calls as the watcher does."""
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, records)

    def decide(self, call: CallRecord, action: Action, *, as_of: datetime | None = None) -> None:
        """Save a decision by a rule, as the watcher does."""
        named = {"id": "r", "version": 1, "name": action, "priority": 100}
        made = DecisionRecord(call.id, action, named, "rule-decided", (), as_of=as_of)
        with self.catalogue.begin() as tx:
            decisions.save_decisions(tx, [made])

    def start(self, call: CallRecord, trigger: Trigger = "rule") -> RecordingRecord:
        """Start a recording of a call."""
        return self.capture.start(call.id, by=RULES, trigger=trigger)

    def merge(self) -> None:
        """Join the calls: the agent of each has left, the two others are in one bridge."""
        bridge, at = f"m{uuid4()}", datetime.now(UTC).isoformat()
        both, joined = (self.customers, self.internal), []
        for call, other in (both, both[::-1]):
            stays, leaves = call.channels
            self.pbx.end(leaves.id)
            now = leg(stays.id, party=stays.party, bridge_id=bridge, stays=[[bridge, at, None]])
            legs = (now, leg(leaves.id, left=True))
            joined.append(replace(call, channels=legs, joined=(other.id,), met=(other.id,)))
        self.customers, self.internal = joined
        self.save(*joined)

    def split(self) -> None:
        """Part the calls again, each person to a bridge of its own."""
        self.customers, self.internal = (
            replace(
                call,
                joined=(),
                channels=tuple(replace(one, bridge_id=one.id) for one in call.channels[:1]),
            )
            for call in (self.customers, self.internal)
        )
        self.save(self.customers, self.internal)

    def find(self, call: CallRecord) -> list[RecordingRecord]:
        """Return the recordings of a call, oldest first."""
        with self.catalogue.begin() as tx:
            return list(recordings.list_recordings_of_calls(tx, [call.id]))

    def people(self) -> list[str]:
        """Return the people who are recorded now: b and a1 inside; c, the customer, and a2."""
        return sorted(one.partition("-")[0] for one in self.pbx.heard())


@pytest.fixture
def world(catalogue: Catalogue) -> World:
    """Return a world whose calls have a decision to be recorded."""
    tag, at = uuid4().hex[:8], datetime(2026, 11, 30, 12, tzinfo=UTC)
    internal = build_call(
        id=f"main-x{tag}",
        started_at=at,
        direction="internal",
        channels=(leg(f"b-{tag}", bridge_id=f"i{tag}"), leg(f"a1-{tag}", bridge_id=f"i{tag}")),
    )
    customers = build_call(
        id=f"main-y{tag}",
        started_at=at + timedelta(seconds=5),
        channels=(
            leg(f"c-{tag}", party="customer", bridge_id=f"o{tag}"),
            leg(f"a2-{tag}", bridge_id=f"o{tag}"),
        ),
    )
    pbx = Pbx({one.id for call in (internal, customers) for one in call.channels})
    clients: Any = {"main": pbx}
    made = World(catalogue, pbx, Capture(catalogue, Pbxs(clients)), customers, internal)
    made.save(internal, customers)
    for call in (internal, customers):
        made.decide(call, "record")
    return made


def test_two_recordings_become_one(world: World) -> None:
    """The customer's recording takes over the people of the other before that one ends."""
    theirs, ours = world.start(world.internal), world.start(world.customers)
    world.merge()
    ended = world.capture.settle(theirs.id)
    assert (ended.state, ended.ended_by, ended.continued_in) == ("captured", "merge", ours.id)
    with world.catalogue.begin() as tx:
        leg_id = world.internal.channels[0].id
        (before,) = (
            one for one in segments.list_segments(tx, theirs.id) if one.channel_id == leg_id
        )
        (after,) = (one for one in segments.list_segments(tx, ours.id) if one.channel_id == leg_id)
    assert before.ended_at is not None
    assert after.started_at < before.ended_at
    (goes_on,) = world.find(world.customers)
    assert (goes_on.state, goes_on.continues) == ("recording", theirs.id)
    assert world.people() == ["b", "c"]


@pytest.mark.parametrize("paused", ["customers", "internal"])
def test_a_pause_goes_with_its_people(world: World, paused: str) -> None:
    """After a merge nobody is captured until a resume, which reaches the one that goes on."""
    made = {"internal": world.start(world.internal), "customers": world.start(world.customers)}
    before = datetime.now(UTC)
    world.capture.pause(made[paused].id, by=ANN)
    world.merge()
    for one in made.values():
        world.capture.settle(one.id)
    assert world.people() == []
    (ours,) = world.find(world.customers)
    assert (ours.state, ours.pauses[-1].by) == ("paused", "ann")
    assert ours.pauses[-1].from_at >= before
    world.capture.resume(ours.id, by=SUE)
    assert world.people() == ["b", "c"]
    with world.catalogue.begin() as tx:
        legs = [one.id for one in world.customers.channels + world.internal.channels]
        assert pauses.list_open_pauses(tx, "main", legs) == ()


def test_the_check_finds_what_is_not_as_planned(world: World) -> None:
    """A check finds each recording whose people have met others, or were paused elsewhere."""

    def unsettled() -> set[Any]:
        mine = {one.id for one in (theirs, ours)}
        return {one.id for one in world.capture.list_unsettled("main")} & mine

    theirs, ours = world.start(world.internal), world.start(world.customers)
    assert unsettled() == set()
    world.merge()
    assert unsettled() == {theirs.id, ours.id}
    world.capture.settle(theirs.id)
    assert unsettled() == set()
    gone = replace(world.customers, state="ended", joined=())
    legs = tuple(replace(one, left_at=one.created_at, bridge_id=None) for one in gone.channels)
    world.save(replace(gone, channels=legs))
    assert unsettled() == {ours.id}
    world.capture.settle(ours.id)
    assert unsettled() == set()


def test_a_pause_leaves_those_who_part(world: World) -> None:
    """A recording that was paused for somebody else goes on when that person is gone."""
    manual, ours = world.start(world.internal, "manual"), world.start(world.customers)
    world.capture.pause(ours.id, by=ANN)
    world.merge()
    assert world.capture.settle(manual.id).state == "paused"
    world.split()
    assert world.capture.settle(manual.id).state == "recording"
    assert world.people() == ["b"]
    assert world.capture.settle(ours.id).state == "paused"


def test_a_recording_that_starts_in_a_pause(world: World) -> None:
    """A recording of paused people captures nothing until a resume, which it may get itself."""
    manual = world.start(world.customers, "manual")
    world.capture.pause(manual.id, by=ANN)
    world.capture.stop(manual.id, by=ANN)
    ours = world.start(world.customers)
    assert (ours.state, world.people()) == ("requested", [])
    assert world.capture.resume(ours.id, by=SUE).state == "recording"
    assert world.people() == ["a2", "c"]


def test_each_part_of_a_split_is_recorded(world: World) -> None:
    """A part of a split gets its own recording, even while the old one still captures its people.

    The watcher may ask for the next step before it has settled the recording of the other part.
    """
    theirs = world.start(world.internal)
    world.start(world.customers)
    world.merge()
    world.capture.settle(theirs.id)
    parts = []
    for call in (world.customers, world.internal):
        bridge = f"p-{call.id}"
        stays = replace(call.channels[0], bridge_id=bridge)
        legs = (stays, leg(f"new-{stays.id}", bridge_id=bridge))
        parts.append(replace(call, joined=(), channels=legs))
    world.save(*parts)
    with world.catalogue.begin() as tx:
        scenes = [read_scene(tx, call.id) for call in parts]
    starters = [find_starter(one, one.conversations[0]) for one in scenes]
    assert starters == [None, scenes[1].calls[world.internal.id]]


def test_a_never_holds_for_everybody(world: World) -> None:
    """A rule that forbids one call ends every recording of its conversation, and a new one."""
    ours, manual = world.start(world.customers), world.start(world.customers, "manual")
    world.merge()
    world.decide(world.internal, "never")
    for one in (ours, manual):
        ended = world.capture.settle(one.id)
        assert (ended.state, ended.ended_by) == ("captured", "rule")
    assert world.people() == []
    with pytest.raises(RecordingForbidden, match="'never'"):
        world.start(world.customers, "manual")


def test_a_command_reaches_every_recording(world: World) -> None:
    """A pause by the keys pauses all; a stop ends all but those that a rule forces."""
    ours, manual = world.start(world.customers), world.start(world.customers, "manual")
    demand = OnDemand(world.catalogue, world.capture)

    def command(word: Any) -> RecordingRecord:
        return demand.carry_out(world.customers.id, word, by=key_actor("2001"), trigger="dtmf")

    command("pause")
    assert {one.state for one in world.find(world.customers)} == {"paused"}
    command("resume")
    assert {one.state for one in world.find(world.customers)} == {"recording"}
    world.decide(world.customers, "force")
    command("stop")
    states = {one.id: one.state for one in world.find(world.customers)}
    assert states == {ours.id: "recording", manual.id: "captured"}
    with pytest.raises(RecordingForced):
        command("stop")
    world.decide(world.customers, "record")
    command("stop")
    with pytest.raises(RecordingNotActive):
        command("pause")


def test_the_gate_does_not_wait_for_the_watcher(world: World) -> None:
    """A settle evaluates the rules itself where the call is newer than the decision about it.

    The call went to a queue whose recording is forbidden; its decision is still the older one.
    """
    ours, changed_at = world.start(world.customers), datetime.now(UTC)
    world.decide(world.customers, "record", as_of=changed_at - timedelta(seconds=5))
    world.save(replace(world.customers, queue="payments", changed_at=changed_at))
    assert world.capture.settle(ours.id).state == "recording"  # without rules nothing is forbidden
    clients: Any = {"main": world.pbx}
    pbxs = Pbxs(clients)
    gate = Gate(world.catalogue, pbxs, RuleBook(world.catalogue, (RULE, NEVER), "never"))
    gated = Capture(world.catalogue, pbxs, gate=gate)
    with pytest.raises(RecordingForbidden, match="no payments"):
        gated.start(world.customers.id, by=ANN)
    ended = gated.settle(ours.id)
    assert (ended.state, ended.ended_by) == ("captured", "rule")
    assert world.people() == []
