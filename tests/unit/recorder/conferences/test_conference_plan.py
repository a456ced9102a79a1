"""The steps of a conference: rows and a view of the PBX give steps, moves and an end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.conferences.plan import (
    ConferencePlan,
    RoomView,
    Whereabouts,
    choose_role,
    plan_conference,
)
from storage import states
from storage.records import ConferenceRecord, MemberRecord

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
UP = Whereabouts(is_ours=True, is_up=True)
RINGS = Whereabouts(is_ours=False, is_up=False, is_ringing=True)
ELSEWHERE = Whereabouts(is_ours=False, is_up=True)
ROOM = ConferenceRecord(
    id=UUID(int=1), pbx="main", name="sales", state="open", created_by="ann", started_at=NOW
)


def member(number: int, state: str = "requested", **more: Any) -> MemberRecord:
    """Return a member on the channel of this number, whom we called unless told otherwise."""
    fields: dict[str, Any] = {
        "id": UUID(int=100 + number),
        "conference_id": ROOM.id,
        "state": state,
        "role": "member",
        "requested_at": NOW,
        "channel_id": f"c{number}",
        "call_id": f"main-c{number}",
        "destination": f"PJSIP/{number}",
        "joined_at": NOW if state == "in" else None,
    }
    return MemberRecord(**fields | more)


def plan(members: Sequence[MemberRecord], view: RoomView, **room: Any) -> ConferencePlan:
    """Plan at NOW."""
    return plan_conference(replace(ROOM, **room), members, view, NOW)


def kinds(found: ConferencePlan) -> list[str]:
    """Return the kinds of the steps with their channels."""
    return [f"{step.kind} {step.channel_id}".strip() for step in found.steps]


def moves(found: ConferencePlan) -> list[tuple[str, str | None]]:
    """Return the states and causes of the moves."""
    return [(move.to, move.cause) for move in found.moves]


def test_the_first_member_opens_the_bridge() -> None:
    """A phone that has answered enters a bridge that is made for it."""
    found = plan([member(1)], RoomView(channels={"c1": UP}))
    assert kinds(found) == ["open-bridge", "enter c1"]
    assert moves(found) == [("in", None)]


def test_an_unanswered_channel_is_answered_first() -> None:
    """A caller from the dialplan may come before anybody has answered him."""
    came = member(1, destination=None)
    found = plan([came], RoomView(channels={"c1": Whereabouts(is_ours=True, is_up=False)}))
    assert kinds(found) == ["answer c1"]
    assert moves(found) == []


def test_a_guest_waits_for_the_owner_in_the_lobby() -> None:
    """Without the owner a guest hears music; once the owner is in, the guest enters."""
    guest, owner = member(1, role="guest"), member(2, role="owner")
    found = plan([guest], RoomView(channels={"c1": UP}), owner="2")
    assert kinds(found) == ["open-lobby", "wait c1"]
    assert moves(found) == [("waiting", None)]
    waiting, talking = replace(guest, state="waiting"), member(2, "in", role="owner")
    view = RoomView(bridge=frozenset({"c2"}), lobby=frozenset({"c1"}))
    assert plan([waiting, owner], view, owner="2").moves[-1].to == "in"
    found = plan([waiting, talking], view, owner="2")
    assert kinds(found) == ["enter c1"]


def test_a_member_on_hold_is_in_the_lobby() -> None:
    """Hold moves a member to the music, and its end moves him back; the state stays `in`."""
    held = member(1, "in", on_hold=True)
    view = RoomView(bridge=frozenset({"c1", "c2"}), lobby=frozenset())
    found = plan([held, member(2, "in")], view)
    assert (kinds(found), moves(found)) == (["wait c1"], [])
    back = RoomView(bridge=frozenset({"c2"}), lobby=frozenset({"c1"}))
    assert kinds(plan([member(1, "in"), member(2, "in")], back)) == ["enter c1"]


@pytest.mark.parametrize(
    ("state", "channel", "expected"),
    [
        ("in", None, [("left", "hung-up")]),
        ("waiting", None, [("left", "hung-up")]),
        ("ringing", None, [("left", "no-answer")]),
        ("requested", RINGS, [("ringing", None)]),
        ("ringing", RINGS, []),
        ("in", ELSEWHERE, [("left", "moved-away")]),
    ],
)
def test_a_member_follows_his_channel(state: str, channel: Any, expected: Any) -> None:
    """A channel that is gone, rings, or is elsewhere moves the member's row."""
    there = {"c1": channel} if channel is not None else {}
    other = member(2, "in")
    view = RoomView(bridge=frozenset({"c2"}), channels=there)
    assert moves(plan([member(1, state), other], view)) == expected


def test_a_channel_has_time_to_appear() -> None:
    """A member whose channel does not exist yet waits for it, and not for ever."""
    view = RoomView()
    assert plan([member(1)], view).is_empty
    late = member(1, requested_at=NOW - timedelta(minutes=1))
    assert moves(plan([late], view)) == [("left", "no-answer")]
    taken = member(1, destination=None)
    stays = RoomView(channels={"c1": ELSEWHERE})
    assert plan([taken], stays).is_empty
    late = replace(taken, requested_at=NOW - timedelta(minutes=1))
    assert moves(plan([late], stays)) == [("left", "not-taken-in")]


def test_a_call_that_was_not_taken_in_goes_on() -> None:
    """Its channel is not ours, so nothing is done to it."""
    gone = member(1, "left", destination=None, left_at=NOW, cause="not-taken-in")
    assert kinds(plan([gone, member(2)], RoomView(channels={"c1": ELSEWHERE}))) == []


def test_who_left_is_released() -> None:
    """We hang up whom we called, and send whoever came by himself back to the dialplan."""
    called = member(1, "left", left_at=NOW)
    came = member(2, "left", left_at=NOW, destination=None)
    other = member(3, "in")
    view = RoomView(bridge=frozenset({"c1", "c2", "c3"}))
    assert kinds(plan([called, came, other], view)) == ["hang-up c1", "release c2"]
    rings = RoomView(bridge=frozenset({"c3"}), channels={"c1": RINGS})
    assert kinds(plan([called, other], rings)) == ["hang-up c1"]


def test_a_foreign_channel_is_hung_up() -> None:
    """A channel that took a member's place by a transfer does not stay in the conference."""
    view = RoomView(bridge=frozenset({"c1", "x"}), foreign=frozenset({"x"}))
    assert kinds(plan([member(1, "in")], view)) == ["hang-up x"]


def test_it_ends_with_the_last_member_or_the_owner() -> None:
    """A conference that nobody has entered yet goes on."""
    gone = member(1, "left", joined_at=NOW)
    assert plan([gone], RoomView()).end == "empty"
    assert plan([], RoomView()).end is None
    assert plan([replace(gone, joined_at=None)], RoomView()).end is None
    assert plan([gone, member(2, "ringing")], RoomView(channels={"c2": RINGS})).end is None
    owner = replace(gone, role="owner")
    assert plan([owner, member(2, "in")], RoomView(), owner="1").end == "owner-left"


def test_an_ended_conference_lets_everybody_go_then_closes() -> None:
    """First the rows, then the channels, then the bridges."""
    view = RoomView(bridge=frozenset({"c1"}), lobby=frozenset())
    found = plan([member(1, "in")], view, state="ended")
    assert moves(found) == [("left", "conference-ended")]
    left = member(1, "left", left_at=NOW)
    assert kinds(plan([left], view, state="ended")) == ["hang-up c1"]
    empty = RoomView(bridge=frozenset())
    assert kinds(plan([left], empty, state="ended")) == ["close"]
    assert plan([left], RoomView(), state="ended").is_empty


def test_roles() -> None:
    """The owner is found by endpoint, extension or number; the others of his room are guests."""
    owned = replace(ROOM, owner="PJSIP/2001")
    assert choose_role(ROOM, "PJSIP/2001") == "member"
    assert choose_role(owned, "pjsip/2001", None) == "owner"
    assert choose_role(replace(ROOM, owner="2001"), "PJSIP/2001", "2001") == "owner"
    assert choose_role(owned, "PJSIP/2002", "2002") == "guest"


@dataclass
class Pbx:
    """A PBX that carries the steps out, on the members' rows."""

    members: dict[UUID, MemberRecord]
    channels: dict[str, Whereabouts]
    room: ConferenceRecord
    bridge: set[str] | None = None
    lobby: set[str] | None = None
    rounds: int = field(default=0)

    def view(self) -> RoomView:
        """Return the view of the conference."""
        return RoomView(
            frozenset(self.bridge) if self.bridge is not None else None,
            frozenset(self.lobby) if self.lobby is not None else None,
            dict(self.channels),
        )

    def settle(self) -> None:
        """Plan and carry out until nothing is left."""
        while not (found := plan_conference(self.room, self.rows, self.view(), NOW)).is_empty:
            self.rounds += 1
            assert self.rounds < 20, found
            for step in found.steps:
                self.do(step.kind, step.channel_id)
            for move in found.moves:
                row = self.members[move.member_id]
                assert row.state in states.sources_of(states.MEMBER_NEXT, move.to), (
                    row.state,
                    move.to,
                )
                joined_at = NOW if move.to == "in" else row.joined_at
                self.members[row.id] = replace(
                    row, state=move.to, joined_at=joined_at, left_at=NOW, cause=move.cause
                )
            if found.end is not None:
                self.room = replace(self.room, state="ended")

    @property
    def rows(self) -> list[MemberRecord]:
        """Return the members."""
        return list(self.members.values())

    def do(self, kind: str, channel_id: str) -> None:
        """Carry out one step."""
        for place in (self.bridge, self.lobby):
            if place is not None and kind in ("enter", "wait", "hang-up", "release"):
                place.discard(channel_id)
        match kind:
            case "open-bridge":
                self.bridge = set()
            case "open-lobby":
                self.lobby = set()
            case "answer":
                self.channels[channel_id] = UP
            case "enter":
                assert self.bridge is not None
                self.bridge.add(channel_id)
            case "wait":
                assert self.lobby is not None
                self.lobby.add(channel_id)
            case "release":
                self.channels[channel_id] = ELSEWHERE
            case "hang-up":
                self.channels.pop(channel_id, None)
            case "close":
                assert not self.bridge
                assert not self.lobby
                self.bridge = self.lobby = None


CHANNELS = st.sampled_from([None, UP, RINGS, ELSEWHERE, Whereabouts(is_ours=True, is_up=False)])
MEMBERS = st.tuples(
    st.sampled_from(["requested", "ringing", "waiting", "in", "left"]),
    st.sampled_from(["owner", "member", "guest"]),
    st.booleans(),
    st.booleans(),
    CHANNELS,
    st.sampled_from([None, "bridge", "lobby"]),
)


@given(st.lists(MEMBERS, max_size=6), st.booleans(), st.booleans())
def test_settling_ends_and_nobody_hears_whom_he_must_not(
    wanted: list[Any], is_owned: bool, has_ended: bool
) -> None:
    """From any state the plan comes to an end; then exactly the members who talk are together."""
    room = replace(ROOM, owner="x" if is_owned else None, state="ended" if has_ended else "open")
    pbx = Pbx({}, {}, room, set(), set())
    for number, (state, role, is_called, on_hold, channel, place) in enumerate(wanted):
        destination = "PJSIP/1" if is_called else None
        one = member(number, state, role=role, destination=destination, on_hold=on_hold)
        one = replace(one, left_at=NOW if state == "left" else None)
        pbx.members[one.id] = one
        if channel is not None:
            pbx.channels[one.channel_id] = channel
        if channel == UP and place is not None:
            inside = pbx.bridge if place == "bridge" else pbx.lobby
            assert inside is not None
            inside.add(one.channel_id)
    pbx.settle()
    together = {one.channel_id for one in pbx.rows if one.state == "in" and not one.on_hold}
    assert (pbx.bridge or set()) == together
    assert (pbx.room.state == "ended") <= (not together and pbx.bridge is None)
    is_open = not is_owned or any(one.role == "owner" and one.state == "in" for one in pbx.rows)
    waiting = [one for one in pbx.rows if one.state == "waiting"]
    assert not (is_open and waiting)
