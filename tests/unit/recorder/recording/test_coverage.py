"""Which recording hears which people: situations, and a world of calls that meet and part."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder import ari
from recorder.calls.conversations import Talk, conversations_of, talks_of
from recorder.calls.model import CallModel
from recorder.recording.coverage import (
    Scene,
    cover,
    find_starter,
    join_decisions,
    list_heard,
    side_of,
    talk_began_at,
)
from storage.records import (
    Action,
    CallRecord,
    DecisionRecord,
    LegRecord,
    PeoplePause,
    RecordingRecord,
    Trigger,
)
from tests.legs import ZERO, leg


def call(name: str, *legs: LegRecord, at_s: float = 0, state: str = "up") -> CallRecord:
    at = ZERO + timedelta(seconds=at_s)
    return CallRecord(name, "main", state, "internal", at, channels=legs)  # type: ignore[arg-type]


def decided(
    call_id: str, action: Action, *, priority: int = 100, rule: bool = True
) -> DecisionRecord:
    named = {"id": "r", "version": 1, "name": action, "priority": priority} if rule else None
    return DecisionRecord(call_id, action, named, "rule-decided", ())


def recording(number: int, call_id: str, trigger: Trigger = "rule") -> RecordingRecord:
    return RecordingRecord(
        UUID(int=number),
        call_id,
        "main",
        "recording",
        trigger,
        "dual",
        "opus",
        "silence",
        "inbound",
    )


def scene(
    *calls: CallRecord,
    decisions: tuple[DecisionRecord, ...] = (),
    recordings: tuple[RecordingRecord, ...] = (),
    **more: Any,
) -> Scene:
    return Scene(
        {one.id: one for one in calls},
        {one.call_id: one for one in decisions},
        recordings,
        **more,
    )


CUSTOMERS = call("y", leg("c", party="customer"), leg("gone", left=True), at_s=5)
INTERNAL = call("x", leg("gone too", left=True), leg("b"))
OURS, THEIRS = recording(2, "y"), recording(1, "x")
BOTH = (decided("x", "record"), decided("y", "record"))


def test_a_conversation_is_heard_by_one_recording_of_a_rule() -> None:
    """The recording of the customer hears everybody, and the older one of the agents ends in it."""
    met = scene(CUSTOMERS, INTERNAL, decisions=BOTH, recordings=(THEIRS, OURS))
    assert cover(met, OURS).legs == {"c": "left", "b": "right"}
    assert cover(met, THEIRS).continued_in == OURS.id
    assert list_heard(met, "x") == [THEIRS, OURS]


def test_among_equals_the_older_recording_goes_on() -> None:
    """Where no customer decides, the older recording goes on."""
    calls = [replace(INTERNAL, id=name, channels=(leg(name),)) for name in ("x", "y")]
    met = scene(*calls, decisions=BOTH, recordings=(THEIRS, OURS))
    assert cover(met, OURS).continued_in == THEIRS.id
    assert cover(met, THEIRS).legs.keys() == {"x", "y"}


def test_a_recording_of_a_person_is_its_own() -> None:
    """A recording that a person started goes on beside the one of a rule, and hears the same."""
    manual = recording(3, "x", "manual")
    met = scene(CUSTOMERS, INTERNAL, decisions=BOTH, recordings=(THEIRS, OURS, manual))
    assert cover(met, manual).legs.keys() == {"c", "b"}
    assert cover(met, manual).continued_in is None


def test_people_who_part_are_in_different_conversations() -> None:
    """After a split the recording follows its own call, and the others need another one."""
    parted = scene(
        call("y", leg("c", party="customer", bridge_id="1"), leg("a", bridge_id="1")),
        call("x", leg("b", bridge_id="2"), leg("d", bridge_id="2")),
        decisions=BOTH,
        recordings=(OURS,),
    )
    assert cover(parted, OURS).legs.keys() == {"c", "a"}
    starters = [find_starter(parted, one) for one in parted.conversations]
    assert [one.id for one in starters if one is not None] == ["x"]


def test_a_recording_goes_on_with_its_people_after_its_own_call() -> None:
    """When the customer leaves a conference, the same recording hears those who stay.

    It ends where no rule wants these people recorded, and a recording of a person ends with its
    call.
    """
    left = call("y", leg("c", party="customer", left=True), state="ended")
    stay = [call(name, leg(name)) for name in ("x", "z")]
    captured = {OURS.id: frozenset({"x", "z"})}
    wanted = (decided("x", "record"), decided("z", "never", rule=False))
    goes_on = scene(left, *stay, decisions=wanted, recordings=(OURS,), captured=captured)
    assert cover(goes_on, OURS).legs.keys() == {"x", "z"}
    assert find_starter(goes_on, goes_on.conversations[0]) is None
    unwanted = replace(goes_on, decisions={})
    assert cover(unwanted, OURS).is_over
    manual = replace(OURS, trigger="manual")
    assert cover(replace(goes_on, recordings=(manual,)), manual).is_over


def test_a_person_alone_is_captured_while_on_hold() -> None:
    """A person who has joined stays captured alone; before any talk, also a person who is up."""
    for legs, wanted in (
        ([leg("c", bridge_id=None)], {"c"}),
        ([leg("c", joined=False)], {"c"}),
        ([leg("c", joined=False, state="Ring")], set()),
        ([leg("c", bridge_id=None), leg("a", joined=False)], {"c", "a"}),
        ([leg("c", bridge_id=None), leg("a", joined=False), leg("b", left=True)], {"c"}),
    ):
        assert cover(scene(call("y", *legs), recordings=(OURS,)), OURS).legs.keys() == wanted


@pytest.mark.parametrize(
    ("others", "joined"),
    [
        ([], None),
        ([("record", 100, True)], "record"),
        ([("on_demand", 1, True), ("record", 100, True)], "record"),
        ([("never", 1, False), ("on_demand", 100, True)], "on_demand"),
        ([("never", 1, False)], "never"),
        ([("record", 1, True), ("never", 100, True)], "never"),
        ([("record", 1, True), ("force", 100, True)], "force"),
        ([("force", 1, True), ("never", 2, True)], "force"),
        ([("force", 2, True), ("never", 2, True)], "never"),
    ],
)
def test_decisions_are_joined(
    others: list[tuple[Action, int, bool]], joined: Action | None
) -> None:
    """A rule's `never` and `force` win by priority; a default forbids nothing."""
    decisions = [decided("x", action, priority=p, rule=rule) for action, p, rule in others]
    found = join_decisions(decisions)
    assert (found.action if found is not None else None) == joined
    again = join_decisions(reversed(decisions))
    assert again == found


def test_a_never_of_one_is_a_never_for_all() -> None:
    """Nobody in a conversation is captured while a rule forbids one of its people."""
    forbidden = (decided("y", "record"), decided("x", "never"))
    met = scene(CUSTOMERS, INTERNAL, decisions=forbidden, recordings=(OURS,))
    assert cover(met, OURS).is_forbidden
    assert find_starter(met, met.conversations[0]) is None
    default = (decided("y", "record"), decided("x", "never", rule=False))
    assert not cover(
        scene(CUSTOMERS, INTERNAL, decisions=default, recordings=(OURS,)), OURS
    ).is_ending


def test_a_pause_holds_for_everybody_who_hears_the_paused() -> None:
    """A recording is paused while one of its people is, and by no pause of others."""
    pause = PeoplePause(UUID(int=9), "main", ("c",), ZERO, "ann")
    for paused, legs in ((True, ("c", "x")), (False, ("other",))):
        pauses = (replace(pause, legs=legs),)
        met = scene(CUSTOMERS, INTERNAL, recordings=(OURS,), pauses=pauses)
        assert bool(cover(met, OURS).pauses) is paused


def test_a_recording_that_a_person_stopped_does_not_start_again() -> None:
    """Newcomers do not restart it, but a call that was not stopped has a right of its own."""
    stopped = frozenset({"y"})
    assert (
        find_starter(
            scene(CUSTOMERS, call("y2"), decisions=BOTH, stopped=stopped), _only(CUSTOMERS)
        )
        is None
    )
    met = scene(CUSTOMERS, INTERNAL, decisions=BOTH, stopped=stopped)
    starter = find_starter(met, met.conversations[0])
    assert starter is not None
    assert starter.id == "x"


def _only(one: CallRecord) -> Any:
    return conversations_of([one])[0]


def test_sides() -> None:
    """Customers are left; without a customer the caller is; a lone second customer is right."""
    a, b = leg("a"), leg("b")
    c, d = leg("c", party="customer"), leg("d", party="customer")
    for legs, sides in (
        ((a, c), {"a": "right", "c": "left"}),
        ((a, b), {"a": "left", "b": "right"}),
        ((c, d), {"c": "left", "d": "right"}),
        ((c, d, a), {"c": "left", "d": "left", "a": "right"}),
    ):
        home = call("y", *legs)
        assert {one.id: side_of(one, _only(home), home) for one in legs} == sides
    assert side_of(b, _only(call("x", b)), None) == "right"


def test_a_talk_begins_with_its_second_person() -> None:
    """The moment of the second arrival counts; nobody talks alone."""
    at = [(ZERO + timedelta(seconds=n)).isoformat() for n in (1, 5, 9)]
    legs = [leg(str(n), joined_at=one, stays=[["b", one, None]]) for n, one in enumerate(at)]
    assert talk_began_at(_only(call("y", *legs))) == ZERO + timedelta(seconds=5)
    assert talk_began_at(_only(call("y", legs[0]))) is None


# A world of five people in three rooms. Each event moves one of them, ends a call, or begins or
# ends a pause. After each event every recording is settled as `Capture.settle` does it.

PEOPLE = ["c0", "c1", "a0", "a1", "a2"]
ROOMS = ["r1", "r2", None]
WORLD_ACTIONS: list[Action] = ["record", "force", "on_demand", "never"]


class World:
    """A PBX with its recordings: every change is settled at once."""

    def __init__(self, decisions: dict[str, DecisionRecord]) -> None:
        self.model = CallModel("main", ["PJSIP/trunk*"])
        self.decisions = decisions
        self.now = ZERO
        self.recordings: dict[UUID, RecordingRecord] = {}
        self.captured: dict[UUID, set[str]] = {}
        self.pauses: list[PeoplePause] = []
        # For each recording the spans in which it captured somebody: leg, from, to.
        self.spans: list[tuple[UUID, str, datetime, datetime]] = []
        self.since: dict[tuple[UUID, str], datetime] = {}
        self.all_pauses: list[tuple[frozenset[str], datetime, datetime]] = []
        self.rooms: dict[str, list[str]] = {"r1": [], "r2": []}
        self.room_of: dict[str, str | None] = {}

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def channel(self, name: str) -> ari.Channel:
        endpoint = "trunk" if name[0] == "c" else name
        return ari.Channel(
            id=name,
            name=f"PJSIP/{endpoint}-0000000{name[1]}",
            state="Up",
            caller=ari.Party(name, ""),
            connected=ari.Party("", ""),
            dialplan=ari.Dialplan("in", "s", "", ""),
            created_at=self.now,
        )

    def come(self, name: str) -> None:
        self.room_of[name] = None
        event = ari.ChannelCreated(self.tick(), "", self.channel(name))
        self.model.apply(event, {name: name})

    def move(self, name: str, room: str | None) -> None:
        if name not in self.room_of or self.room_of[name] == room:
            return
        at, before = self.tick(), self.room_of[name]
        if before is not None:
            self.rooms[before].remove(name)
            bridge = ari.Bridge(before, "mixing", "", tuple(self.rooms[before]))
            self.model.apply(ari.ChannelLeftBridge(at, "", bridge, self.channel(name)), {})
        if room is not None:
            self.rooms[room].append(name)
            bridge = ari.Bridge(room, "mixing", "", tuple(self.rooms[room]))
            event = ari.ChannelEnteredBridge(at, "", bridge, self.channel(name))
            needed = self.model.linkedids_needed(event)
            self.model.apply(event, {one: one for one in needed})
        self.room_of[name] = room
        self.settle()

    def go(self, name: str) -> None:
        if name in self.room_of:
            self.move(name, None)
            del self.room_of[name]
            event = ari.ChannelDestroyed(self.tick(), "", self.channel(name), 16, "")
            self.model.apply(event, {})
            self.settle()

    def pause(self, name: str) -> None:
        legs = next(
            (one.leg_ids for one in self.scene().conversations if name in one.leg_ids), None
        )
        if legs is not None:
            at = self.tick()
            self.pauses.append(PeoplePause(UUID(int=0), "main", tuple(legs), at, "ann"))
            self.settle()

    def resume(self, name: str) -> None:
        ended = [one for one in self.pauses if name in one.legs]
        if ended:
            at = self.tick()
            self.pauses = [one for one in self.pauses if name not in one.legs]
            self.all_pauses += [(frozenset(one.legs), one.from_at, at) for one in ended]
            self.settle()

    def calls(self) -> list[CallRecord]:
        return [self.model.record(f"main-{name}") for name in PEOPLE]

    def scene(self) -> Scene:
        return Scene(
            {one.id: one for one in self.calls()},
            self.decisions,
            tuple(self.recordings.values()),
            tuple(self.pauses),
            {id_: frozenset(legs) for id_, legs in self.captured.items()},
        )

    def settle(self) -> None:
        for _ in range(8):  # a start may end another recording; then settle once more
            before = (dict(self.recordings), {k: set(v) for k, v in self.captured.items()})
            for one in list(self.recordings.values()):
                coverage = cover(self.scene(), one)
                wanted = set() if coverage.is_ending or coverage.pauses else set(coverage.legs)
                self.capture(one.id, wanted)
                if coverage.is_ending:
                    assert coverage.continued_in is None or coverage.continued_in in self.recordings
                    del self.recordings[one.id]
            for conversation in self.scene().conversations:
                starter = find_starter(self.scene(), conversation)
                if conversation.is_talk and starter is not None:
                    new = recording(len(self.captured) + 1, starter.id)
                    self.recordings[new.id] = new
                    self.captured[new.id] = set()
            if before == (self.recordings, self.captured):
                return
        raise AssertionError("the recordings never come to rest")

    def capture(self, id_: UUID, wanted: set[str]) -> None:
        for leg_id in self.captured[id_] - wanted:
            self.spans.append((id_, leg_id, self.since.pop((id_, leg_id)), self.now))
        for leg_id in wanted - self.captured[id_]:
            self.since[id_, leg_id] = self.now
        self.captured[id_] = wanted

    def end(self) -> None:
        self.tick()
        for (id_, leg_id), since in self.since.items():
            self.spans.append((id_, leg_id, since, self.now))
        self.all_pauses += [(frozenset(one.legs), one.from_at, self.now) for one in self.pauses]


moves = st.lists(
    st.tuples(
        st.sampled_from(["move", "move", "move", "move", "go", "pause", "resume"]),
        st.sampled_from(PEOPLE),
        st.sampled_from(ROOMS),
    ),
    max_size=24,
)
worlds = st.fixed_dictionaries(
    {name: st.tuples(st.sampled_from(WORLD_ACTIONS), st.booleans()) for name in PEOPLE}
)


@settings(max_examples=300, deadline=None)
@given(worlds, moves)
def test_every_second_is_in_exactly_one_recording_or_in_none_at_all(
    decided_for: dict[str, tuple[Action, bool]], order: list[tuple[str, str, str | None]]
) -> None:
    """Whoever meets whom, each wanted second is heard once by a rule, and no forbidden one ever.

    Wanted: two people hear each other, a decision of theirs says `record` or `force`, none of them
    is under a `never`, and none is paused. Then exactly one recording hears each of them.
    """
    decisions = {
        f"main-{name}": decided(f"main-{name}", action, rule=rule)
        for name, (action, rule) in decided_for.items()
    }
    world = World(decisions)
    for name in PEOPLE:
        world.come(name)
    for verb, name, room in order:
        if verb == "move":
            world.move(name, room)
        else:
            getattr(world, verb)(name)
    world.end()
    talks = talks_of(world.calls())
    for talk in talks:
        joined = join_decisions(decisions[f"main-{one}"] for one in talk.leg_ids)
        assert joined is not None
        forbids = joined.action == "never" and joined.rule is not None
        wants = joined.action in ("record", "force")
        for at in _seconds(talk, world.now):
            paused = any(
                not legs.isdisjoint(talk.leg_ids) and from_at <= at < to_at
                for legs, from_at, to_at in world.all_pauses
            )
            for leg_id in talk.leg_ids:
                hearing = [
                    id_
                    for id_, heard, from_at, to_at in world.spans
                    if heard == leg_id and from_at <= at < to_at
                ]
                if forbids or paused:
                    assert hearing == [], (talk, at)
                elif wants:
                    assert len(hearing) == 1, (talk, at, hearing)
                else:
                    assert len(hearing) <= 1


def _seconds(talk: Talk, now: datetime) -> list[datetime]:
    length = int(((talk.to_at or now) - talk.from_at).total_seconds())
    return [talk.from_at + timedelta(seconds=n + 0.5) for n in range(length)]


def test_no_recording_holds_a_member_whom_nobody_hears() -> None:
    """A muted member is not captured; one behind a Local channel is muted by that channel."""
    ann = call("a", leg("ann", bridge_id="room"))
    half = leg("half", name="Local/1202@out-1;1", bridge_id="room")
    other = leg("other", name="Local/1202@out-1;2", bridge_id="trunk")
    customer = leg("cus", party="customer", bridge_id="trunk")
    bob = call("b", half, other, customer)
    kept = recording(1, "a")
    meeting = {"recordings": (kept,), "decisions": (decided("a", "record"),)}
    assert set(cover(scene(ann, bob, **meeting), kept).legs) == {"ann", "cus"}
    for quiet, heard in (({"ann"}, {"cus"}), ({"half"}, {"ann"}), ({"ann", "half"}, set())):
        now = cover(scene(ann, bob, quiet=frozenset(quiet), **meeting), kept)
        assert set(now.legs) == heard
        assert not now.is_ending
