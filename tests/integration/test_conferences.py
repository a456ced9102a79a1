"""Conferences on a PBX in memory, with a real catalogue: rows, steps, rights, deaths, entrances."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from api_client import TokenMaker

from recorder import names
from recorder.ari import AriUnavailable, Bridge, Channel
from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences, ConferenceSettings
from recorder.conferences.entrance import Entrance
from recorder.dialling.dialler import DialSettings
from recorder.errors import (
    CannotDial,
    CannotTakeIn,
    ConferenceLocked,
    ControlNotPermitted,
    PbxUnavailable,
)
from storage.catalogue import calls, conferences, events, quiet, terms, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import ConferenceNameTaken, NoSuchConference, NoSuchMember
from storage.records import Actor, CallRecord, ConferenceRecord, MemberRecord
from tests.actors import ANN
from tests.fake_pbx import INSTANCE, FakePbx
from tests.legs import leg


class RoomPbx(FakePbx):
    """A PBX whose phones answer when the test says so; it may stop to answer us."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoints |= {"PJSIP/2001", "PJSIP/2002", "PJSIP/2003"}
        self.muted: set[str] = set()
        self.holding: set[str] = set()
        self.continued: list[str] = []
        self.set_by_reading: list[tuple[str, str]] = []
        self.arguments: dict[str, str] = {}
        self.is_away = False
        self.is_watched = True
        self.look = self._fail

    def _fail(self, _: str = "") -> None:
        if self.is_away:
            raise AriUnavailable("no answer", method="GET", path="/")

    def originate(self, endpoint: str, *, channel_id: str, **how: Any) -> None:
        self._fail()
        if endpoint.startswith("Local/"):
            self.endpoints.add(endpoint)
        super().originate(endpoint, channel_id=channel_id)
        self.arguments[channel_id] = ",".join(how.get("app_args", ()))

    def find_channel(self, id_: str) -> Any:
        found = super().find_channel(id_)
        if found is not None and id_ in self.in_stasis:
            found.dialplan.app_data = f"{INSTANCE},{self.arguments.get(id_, '')}"
        return found

    def list_bridges(self) -> list[Bridge]:
        self._fail()
        return super().list_bridges()

    def create_bridge(self, *, bridge_id: str, type: str = "mixing") -> Bridge:
        self.holding |= {bridge_id} if type == "holding" else set()
        return super().create_bridge(bridge_id=bridge_id)

    def answer(self, id_: str) -> None:
        self.ringing.discard(id_)

    def mute(self, id_: str, direction: str) -> None:
        self._fail()
        assert direction == "in"
        self.muted.add(id_)

    def unmute(self, id_: str, direction: str) -> None:
        self.muted.discard(id_)

    def continue_in_dialplan(self, id_: str) -> None:
        self.continued.append(id_)
        self.in_stasis.discard(id_)
        for there in self.bridges.values():
            there[:] = [one for one in there if one != id_]

    def play_on_bridge(self, id_: str, media: str, *, playback_id: str) -> None:
        self.played.append((id_, media))

    def find_variable(self, id_: str, name: str) -> str | None:
        if name.startswith("SET("):
            self.set_by_reading.append((id_, name))
        return id_ if name == "CHANNEL(linkedid)" else None

    def is_application_connected(self) -> bool:
        return self.is_watched

    def pick_up(self, id_: str) -> None:
        """Let a phone that we called answer: its channel is in our application now."""
        self.ringing.discard(id_)
        self.in_stasis.add(id_)

    def come(self, id_: str, arguments: str) -> Channel:
        """Let a caller come from the dialplan, and return the channel of the event."""
        self.channels.add(id_)
        self.in_stasis.add(id_)
        self.arguments[id_] = arguments
        number = SimpleNamespace(number="13035550111", name="Bo")
        found = self.find_channel(id_)
        found.caller, found.endpoint = number, "PJSIP/trunk"
        return cast("Channel", found)

    def inside(self, conference_id: UUID) -> tuple[set[str], set[str]]:
        """Return the channels in the bridge, and those in the lobby."""
        bridge = self.bridges.get(names.build_conference_bridge_id(conference_id), ())
        return set(bridge), set(self.bridges.get(names.build_lobby_id(conference_id), ()))


@pytest.fixture
def pbx() -> RoomPbx:
    """Return a PBX without a call."""
    return RoomPbx()


@pytest.fixture
def name() -> str:
    """Return the name of a PBX of the test's own."""
    return f"pbx{uuid4().hex[:8]}"


@pytest.fixture
def rooms(catalogue: Catalogue, pbx: RoomPbx, name: str) -> Conferences:
    """Return the conferences of this PBX."""
    return build(catalogue, pbx, name)


@pytest.fixture
def entrance(catalogue: Catalogue, pbx: RoomPbx, name: str, rooms: Conferences) -> Entrance:
    """Return the entrance of this PBX."""
    return Entrance(catalogue, Pbxs({name: cast("Any", pbx)}), rooms, name)


def build(catalogue: Catalogue, pbx: RoomPbx, name: str, context: str = "rooms") -> Conferences:
    """Return conferences as a process has them."""
    dial = DialSettings("outbound", trunks=("PJSIP/trunk*",))
    pbxs = Pbxs({name: cast("Any", pbx)})
    return Conferences(catalogue, pbxs, {name: ConferenceSettings(dial, context)})


def join(rooms: Conferences, pbx: RoomPbx, room: ConferenceRecord, phone: str) -> MemberRecord:
    """Call a phone, let it answer, and return the member."""
    member = rooms.invite(room.id, f"PJSIP/{phone}", by=ANN)
    pbx.pick_up(member.channel_id)
    rooms.settle(room.id)
    return find(rooms, room, member.id)


def find(rooms: Conferences, room: ConferenceRecord, member_id: UUID) -> MemberRecord:
    """Return a member as the catalogue has it."""
    return next(one for one in rooms.read(room.id)[1] if one.id == member_id)


def told(catalogue: Catalogue, room: ConferenceRecord) -> list[str]:
    """Return the types of the events of a conference."""
    with catalogue.begin() as tx:
        found = events.list_events(tx, None, 10_000)
    return [one.type for one in found if one.data.get("id") == str(room.id)]


def test_a_phone_rings_answers_and_is_in(
    catalogue: Catalogue, rooms: Conferences, pbx: RoomPbx, name: str
) -> None:
    """Each state of a member is told, and everybody hears that somebody joined."""
    room = rooms.open(name, name="sales", announce=True, by=ANN)
    with pytest.raises(ConferenceNameTaken):
        rooms.open(name, name="sales", by=ANN)
    member = rooms.invite(room.id, "PJSIP/2001", by=ANN)
    rooms.settle(room.id)
    assert find(rooms, room, member.id).state == "ringing"
    pbx.pick_up(member.channel_id)
    rooms.settle(room.id)
    joined = find(rooms, room, member.id)
    assert (joined.state, joined.call_id) == ("in", f"{name}-{member.channel_id}")
    assert pbx.inside(room.id) == ({member.channel_id}, set())
    assert [media for _, media in pbx.played] == ["sound:confbridge-join"]
    pbx.hang_up(member.channel_id)
    rooms.settle(room.id)
    assert find(rooms, room, member.id).cause == "hung-up"
    conference = rooms.read(room.id)[0]
    assert (conference.state, conference.cause) == ("ended", "empty")
    assert pbx.bridges == {}
    kinds = ("opened", "ringing", "joined", "left", "ended")
    assert told(catalogue, room) == [f"conference.{one}" for one in kinds]


def test_a_number_is_dialled_through_the_dialplan(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """A number goes through the dial context; without one nothing is dialled."""
    room = rooms.open(name, by=ANN)
    member = rooms.invite(room.id, "(202) 555-0123", by=ANN)
    assert pbx.dialled == ["Local/12025550123@outbound/n"]
    assert (member.destination, member.number) == ("+12025550123", "+12025550123")
    never = Conferences(catalogue, Pbxs({name: cast("Any", pbx)}), {})
    with pytest.raises(CannotDial, match="dial_context"):
        never.invite(room.id, "12025550123", by=ANN)


def test_mute_and_hold_are_one_quiet_span(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """The span opens with the first and closes with the last of both; repeats change nothing."""
    room = rooms.open(name, by=ANN)
    first, second = (join(rooms, pbx, room, phone) for phone in ("2001", "2002"))
    rooms.change_member(room.id, first.id, muted=True, by=ANN)
    assert pbx.muted == {first.channel_id}
    rooms.change_member(room.id, first.id, muted=True, on_hold=True, by=ANN)
    assert pbx.inside(room.id) == ({second.channel_id}, {first.channel_id})
    assert pbx.holding == {names.build_lobby_id(room.id)}
    changed = rooms.change_member(room.id, first.id, muted=False, by=ANN)
    assert len(changed.quiet) == 1
    assert changed.quiet[0][1] is None
    changed = rooms.change_member(room.id, first.id, on_hold=False, by=ANN)
    assert changed.quiet[0][1] is not None
    assert pbx.inside(room.id)[0] == {first.channel_id, second.channel_id}
    assert pbx.muted == set()
    rooms.change_member(room.id, second.id, muted=True, by=ANN)
    rooms.remove_member(room.id, second.id, by=ANN)
    assert find(rooms, room, second.id).quiet[0][1] is not None
    with pytest.raises(NoSuchMember):
        rooms.change_member(room.id, second.id, muted=False, by=ANN)
    names_of = ("muted", "held", "unmuted", "resumed", "muted", "left")
    assert told(catalogue, room)[-6:] == [f"conference.{one}" for one in names_of]


def test_a_dead_process_is_continued(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """Whatever a process wrote and could not do, the next check of another one does."""
    room = rooms.open(name, by=ANN)
    first, second = (join(rooms, pbx, room, phone) for phone in ("2001", "2002"))
    other = build(catalogue, pbx, name)
    pbx.is_away = True
    with pytest.raises(PbxUnavailable):
        rooms.change_member(room.id, first.id, muted=True, by=ANN)
    with pytest.raises(PbxUnavailable):
        other.check(name)
    pbx.is_away = False
    other.check(name)
    assert pbx.muted == {first.channel_id}
    with catalogue.begin() as tx:  # a process that dies right after its transaction
        conferences.change_member(tx, second.id, at=datetime.now(UTC), on_hold=True)
    other.check(name)
    assert pbx.inside(room.id) == ({first.channel_id}, {second.channel_id})
    with catalogue.begin() as tx:
        conferences.end_conference(tx, room.id, at=datetime.now(UTC), cause="ended")
    other.check(name)
    assert (pbx.channels, pbx.bridges) == (set(), {})
    assert {one.cause for one in other.read(room.id)[1]} == {"conference-ended"}


def test_a_bridge_that_is_gone_is_made_again(rooms: Conferences, pbx: RoomPbx, name: str) -> None:
    """People whose bridge was destroyed by hand come together again."""
    room = rooms.open(name, by=ANN)
    member = join(rooms, pbx, room, "2001")
    pbx.bridges.clear()
    rooms.check(name)
    assert pbx.inside(room.id)[0] == {member.channel_id}


def test_a_restart_of_the_pbx_ends_its_conferences(
    rooms: Conferences, pbx: RoomPbx, name: str
) -> None:
    """Members and conference end as `pbx-lost`; one that nobody has entered goes on."""
    room, empty = rooms.open(name, by=ANN), rooms.open(name, by=ANN)
    join(rooms, pbx, room, "2001")
    rooms.lose(name)
    conference, members = rooms.read(room.id)
    assert {conference.cause, *(one.cause for one in members)} == {"pbx-lost"}
    assert rooms.read(empty.id)[0].state == "open"


def test_guests_and_the_recording_wait_for_the_owner(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """Terms of recording begin with the owner, end with a member, and all ends with the owner."""
    room = rooms.open(name, owner="2001", record=True, layout="tracks", by=ANN)
    guest = join(rooms, pbx, room, "2002")
    assert (guest.role, guest.state) == ("guest", "waiting")

    def recorded() -> set[str]:
        with catalogue.begin() as tx:
            ids = [one.call_id for one in rooms.read(room.id)[1]]
            return set(terms.find_terms(tx, ids))

    assert recorded() == set()
    owner = join(rooms, pbx, room, "2001")
    rooms.settle(room.id)
    assert recorded() == {owner.call_id, guest.call_id}
    rooms.remove_member(room.id, guest.id, by=ANN)
    assert recorded() == {owner.call_id}
    pbx.hang_up(owner.channel_id)
    rooms.settle(room.id)
    assert rooms.read(room.id)[0].cause == "owner-left"
    assert recorded() == set()


def test_the_right_is_asked_at_the_moment_of_writing(
    rooms: Conferences,
    catalogue: Catalogue,
    pbx: RoomPbx,
    name: str,
    make_token: TokenMaker,
) -> None:
    """Without the right nothing more is controlled, and the people talk on."""
    secret = make_token(name=f"ann-{name}", role="supervisor")
    with catalogue.begin() as tx:
        owner = tokens.find_token(tx, secret)
    assert owner is not None
    room = rooms.open(name, by=Actor("token", owner.name), owner_id=owner.id)
    join(rooms, pbx, room, "2001")
    with catalogue.begin() as tx:
        tokens.revoke_token(tx, owner.id)
    with pytest.raises(ControlNotPermitted):
        rooms.end(room.id, by=Actor("token", owner.name), owner_id=owner.id)
    with pytest.raises(ControlNotPermitted):
        rooms.invite(room.id, "PJSIP/2002", by=Actor("token", owner.name), owner_id=owner.id)
    rooms.check(name)
    assert rooms.read(room.id)[0].state == "open"
    assert len(pbx.inside(room.id)[0]) == 1


def test_a_lock_admits_nobody_else(rooms: Conferences, pbx: RoomPbx, name: str) -> None:
    """Nobody is called or taken in; who is inside stays."""
    room = rooms.open(name, by=ANN)
    join(rooms, pbx, room, "2001")
    rooms.set_locked(room.id, locked=True, by=ANN)
    with pytest.raises(ConferenceLocked):
        rooms.invite(room.id, "PJSIP/2002", by=ANN)
    rooms.set_locked(room.id, locked=False, by=ANN)
    rooms.invite(room.id, "PJSIP/2002", by=ANN)
    with pytest.raises(NoSuchConference):
        rooms.invite(uuid4(), "PJSIP/2002", by=ANN)


def keep_call(catalogue: Catalogue, name: str, *, talks: bool) -> CallRecord:
    """Keep a live call of a customer and an agent, who talk or do not."""
    bridge = "b1" if talks else None
    people = (
        leg("1.0", name="PJSIP/trunk-00000000", party="customer", bridge_id=bridge),
        leg("1.1", name="PJSIP/2001-00000001", bridge_id=bridge),
    )
    call = CallRecord(
        id=f"{name}-1.0",
        pbx=name,
        state="up",
        direction="inbound",
        started_at=datetime.now(UTC),
        channels=people,
    )
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call], before={})
    return call


def test_a_call_is_taken_in(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """Both people are told where to go after their bridge; a Local channel ends the bridge."""
    room = rooms.open(name, by=ANN)
    call = keep_call(catalogue, name, talks=True)
    pbx.channels |= {"1.0", "1.1"}
    members = rooms.take_in(room.id, call.id, by=ANN)
    assert [one.channel_id for one in members] == ["1.0", "1.1"]
    place = f"SET(CHANNEL(after_bridge_goto)=rooms^{room.id.hex}^1)"
    assert pbx.set_by_reading == [("1.0", place), ("1.1", place)]
    assert pbx.dialled == ["Local/take@rooms/n"]
    for one in members:
        pbx.in_stasis.add(one.channel_id)
    rooms.settle(room.id)
    assert pbx.inside(room.id)[0] == {"1.0", "1.1"}
    rooms.end(room.id, by=ANN)
    assert pbx.continued == ["1.0", "1.1"]  # who came by himself goes on in the dialplan


def test_a_call_that_cannot_be_taken_in_stays(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """Without a key, without a talk, or refused by the PBX: the people keep their call."""
    room = rooms.open(name, by=ANN)
    call = keep_call(catalogue, name, talks=False)
    with pytest.raises(CannotTakeIn, match="no two people"):
        rooms.take_in(room.id, call.id, by=ANN)
    keep_call(catalogue, name, talks=True)
    with pytest.raises(CannotTakeIn, match="conference_context"):
        build(catalogue, pbx, name, context="").take_in(room.id, call.id, by=ANN)
    pbx.channels |= {"1.0", "1.1"}
    pbx.is_watched = False  # nobody would receive the people
    with pytest.raises(PbxUnavailable):
        rooms.take_in(room.id, call.id, by=ANN)
    assert pbx.set_by_reading == []
    pbx.is_watched = True
    pbx.unregistered.add("Local/take@rooms/n")
    with pytest.raises(CannotTakeIn, match="take"):
        rooms.take_in(room.id, call.id, by=ANN)
    assert [name for _, name in pbx.set_by_reading][-2:] == ["SET(CHANNEL(after_bridge_goto)=)"] * 2
    rooms.settle(room.id)
    assert {one.cause for one in rooms.read(room.id)[1]} == {"not-taken-in"}
    assert pbx.channels == {"1.0", "1.1"}


def test_a_caller_enters_by_pin(
    rooms: Conferences, entrance: Entrance, pbx: RoomPbx, name: str
) -> None:
    """A wrong PIN is asked again, the right one enters; a lost question is asked again."""
    room = rooms.open(name, name="sales", pin="12", by=ANN)
    entrance.arrived(pbx.come("c1", "conference,sales"), ("conference", "sales"))
    assert pbx.played == [("c1", "sound:conf-getpin")]
    assert entrance.is_asking("c1")
    for key in "91":
        entrance.key_pressed("c1", key)
    assert pbx.played[-1] == ("c1", "sound:conf-invalidpin")
    for key in "12":
        entrance.key_pressed("c1", key)
    assert not entrance.is_asking("c1")
    assert pbx.inside(room.id)[0] == {"c1"}
    (member,) = rooms.read(room.id)[1]
    assert (member.number, member.name, member.destination) == ("13035550111", "Bo", None)


def test_three_wrong_pins_send_a_caller_back(
    rooms: Conferences, entrance: Entrance, pbx: RoomPbx, name: str
) -> None:
    """The dialplan reads the reason."""
    rooms.open(name, name="sales", pin="12", by=ANN)
    entrance.arrived(pbx.come("c1", "conference,sales"), ("conference", "sales"))
    for key in "##9#":
        entrance.key_pressed("c1", key)
    assert pbx.continued == ["c1"]
    assert pbx.variables["c1", "EARWITNESS_CONFERENCE"] == "wrong-pin"


def test_whoever_may_not_enter_goes_on_in_the_dialplan(
    rooms: Conferences, entrance: Entrance, pbx: RoomPbx, name: str
) -> None:
    """An unknown name, a locked conference, and the id of an ended one let nobody in."""
    room = rooms.open(name, name="sales", by=ANN)
    rooms.set_locked(room.id, locked=True, by=ANN)
    entrance.arrived(pbx.come("c1", "conference,sales"), ("conference", "sales"))
    entrance.arrived(pbx.come("c2", "conference,other"), ("conference", "other"))
    rooms.end(room.id, by=ANN)
    entrance.arrived(pbx.come("c3", ""), ("conference", room.id.hex))
    assert pbx.continued == ["c1", "c2", "c3"]
    reasons = [pbx.variables[id_, "EARWITNESS_CONFERENCE"] for id_ in pbx.continued]
    assert reasons == ["locked", "unknown", "unknown"]


def test_a_caller_whose_event_was_lost_is_found(
    rooms: Conferences, entrance: Entrance, pbx: RoomPbx, name: str
) -> None:
    """The check lets in whoever waits in our application since the last watcher died."""
    room = rooms.open(name, name="sales", by=ANN)
    pbx.come("c1", "conference,sales")
    pbx.look = lambda _: None
    original = pbx.list_own_channels

    def with_callers(*which: str, also: Collection[str]) -> list[Any]:
        found = original(*which, also=also)
        for one in found:
            one.caller, one.endpoint = SimpleNamespace(number="", name=""), "PJSIP/trunk"
        return found

    pbx.list_own_channels = with_callers  # type: ignore[method-assign]
    entrance.check(rooms.check(name))
    assert pbx.inside(room.id)[0] == {"c1"}
    entrance.check(rooms.check(name))
    assert len(rooms.read(room.id)[1]) == 1


def test_who_talks_is_told_once(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """A change is one event; other channels, and members whom nobody hears, do not talk."""
    room = rooms.open(name, by=ANN)
    member = join(rooms, pbx, room, "2001")
    for _ in range(2):
        rooms.note_talking(name, {member.channel_id: True, "other": True})
    assert find(rooms, room, member.id).talking
    assert told(catalogue, room).count("conference.talking") == 1
    rooms.change_member(room.id, member.id, muted=True, by=ANN)
    assert not find(rooms, room, member.id).talking


def test_a_foreign_channel_does_not_stay(rooms: Conferences, pbx: RoomPbx, name: str) -> None:
    """A channel that came into the bridge by a transfer is hung up by the next check."""
    room = rooms.open(name, by=ANN)
    member = join(rooms, pbx, room, "2001")
    pbx.channels.add("x")
    pbx.bridges[names.build_conference_bridge_id(room.id)].append("x")
    rooms.check(name)
    assert pbx.inside(room.id)[0] == {member.channel_id}
    assert "x" not in pbx.channels


def test_a_check_lists_the_pbx_once(
    rooms: Conferences, pbx: RoomPbx, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many conferences and members there are, nobody is asked for alone."""
    opened = [rooms.open(name, by=ANN) for _ in range(3)]
    members = [join(rooms, pbx, room, phone) for room in opened for phone in ("2001", "2002")]
    pbx.hang_up(members[0].channel_id)
    rooms.phone_ended(members[0].id, "no-answer")
    rooms.change_member(opened[1].id, members[2].id, muted=True, by=ANN)
    rooms.change_member(opened[1].id, members[2].id, muted=False, by=ANN)
    rooms.check(name)
    asked: list[str] = []
    for method in ("find_channel", "find_bridge", "mute", "unmute"):
        monkeypatch.setattr(pbx, method, lambda *_, method=method: asked.append(method))
    monkeypatch.setattr(pbx, "list_own_channels", lambda *_, also: [])
    assert rooms.check(name) == []
    assert asked == []


def test_an_unmute_that_the_pbx_never_heard_is_done(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """A process may die between the row and the PBX, whatever the check did before."""
    room = rooms.open(name, by=ANN)
    member = join(rooms, pbx, room, "2001")
    for _ in range(2):
        rooms.change_member(room.id, member.id, muted=True, by=ANN)
        rooms.check(name)
        with catalogue.begin() as tx:
            conferences.change_member(tx, member.id, at=datetime.now(UTC), muted=False)
        assert pbx.muted == {member.channel_id}
        rooms.check(name)
        assert pbx.muted == set()


def test_the_quiet_are_found_by_their_channels(
    rooms: Conferences, catalogue: Catalogue, pbx: RoomPbx, name: str
) -> None:
    """Who is muted is quiet now; the spans stay known after the member has left."""
    room = rooms.open(name, by=ANN)
    first, second = (join(rooms, pbx, room, phone) for phone in ("2001", "2002"))
    rooms.change_member(room.id, first.id, muted=True, by=ANN)
    ids = [one.channel_id for one in (first, second)]
    with catalogue.begin() as tx:
        assert quiet.find_quiet(tx, name, ids) == {first.channel_id}
        assert quiet.find_quiet(tx, "other", ids) == set()
        assert quiet.list_quiet(tx, name) == {first.channel_id}
    rooms.remove_member(room.id, first.id, by=ANN)
    with catalogue.begin() as tx:
        assert quiet.list_quiet(tx, name) == set()
        spans = quiet.map_quiet_spans(tx, name, ids)
    assert set(spans) == {first.channel_id}
    ((_, ended_at),) = spans[first.channel_id]
    assert ended_at == find(rooms, room, first.id).left_at


def test_a_record_is_what_was_written(catalogue: Catalogue, name: str) -> None:
    """Conference and member come back from the catalogue as they were."""
    now = datetime.now(UTC)
    room = ConferenceRecord(
        id=uuid4(), pbx=name, name="a", state="open", created_by="ann", started_at=now, pin="1"
    )
    member = MemberRecord(
        id=uuid4(),
        conference_id=room.id,
        state="requested",
        role="guest",
        requested_at=now,
        channel_id="c",
        call_id="k",
        quiet=((now, now), (now, None)),
    )
    with catalogue.begin() as tx:
        conferences.create_conference(tx, room)
        conferences.create_member(tx, member)
        assert conferences.find_conference(tx, room.id) == room
        assert conferences.get_member(tx, room.id, member.id) == member
        left = conferences.move_member(tx, member.id, to="left", at=now, cause="removed")
        assert left is not None
        assert replace(left, quiet=()).left_at == now
        assert conferences.move_member(tx, member.id, to="in", at=now) is None
        assert conferences.list_live_members(tx, name) == ()
