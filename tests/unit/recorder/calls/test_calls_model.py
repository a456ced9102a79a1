"""Calls from the channels and bridges of a PBX."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import ari
from recorder.calls.conversations import conversations_of
from recorder.calls.legs import audible_legs, is_over, legs_of
from recorder.calls.model import CallModel
from storage.records import CallRecord

ZERO = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOBODY = ari.Party("", "")


def channel(
    id_: str, name: str, *, number: str = "", exten: str = "", state: str = "Ring", app: str = ""
) -> ari.Channel:
    return ari.Channel(
        id=id_,
        name=name,
        state=state,
        caller=ari.Party(number, ""),
        connected=NOBODY,
        dialplan=ari.Dialplan("in", exten, app, ""),
        created_at=ZERO,
    )


CUSTOMER = channel("1.0", "PJSIP/trunk-00000000", number="12025550100", exten="3000")
AGENT = channel("1.1", "PJSIP/2001-00000001", number="2001", state="Down")
OTHER = channel("1.3", "PJSIP/2002-00000003", number="2002", state="Down")


class Pbx:
    """A model that gets events a second apart, with linkedids as Asterisk gives them."""

    def __init__(self) -> None:
        self.model = CallModel("main", ["PJSIP/trunk*"])
        self.linkedids: dict[str, str] = {}
        self.bridges: dict[str, list[str]] = {}
        self.now = ZERO

    def apply(self, event: ari.Event) -> frozenset[str]:
        needed = self.model.linkedids_needed(event)
        return self.model.apply(event, {id_: self.linkedids[id_] for id_ in needed})

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def create(self, one: ari.Channel, linkedid: str = "1.0") -> None:
        self.linkedids[one.id] = linkedid
        self.apply(ari.ChannelCreated(self.tick(), "", one))

    def answer(self, one: ari.Channel) -> None:
        self.apply(ari.ChannelStateChange(self.tick(), "", replace(one, state="Up")))

    def enter(self, one: ari.Channel, bridge: str = "b", type_: str = "mixing") -> None:
        self.bridges.setdefault(bridge, []).append(one.id)
        there = ari.Bridge(bridge, type_, "", tuple(self.bridges[bridge]))
        self.apply(ari.ChannelEnteredBridge(self.tick(), "", there, replace(one, state="Up")))

    def leave(self, one: ari.Channel, bridge: str = "b") -> None:
        self.bridges[bridge].remove(one.id)
        there = ari.Bridge(bridge, "mixing", "simple_bridge", tuple(self.bridges[bridge]))
        self.apply(ari.ChannelLeftBridge(self.tick(), "", there, replace(one, state="Up")))

    def destroy(self, one: ari.Channel) -> None:
        self.apply(ari.ChannelDestroyed(self.tick(), "", one, 16, "Normal Clearing"))

    def talks(self, *linkedids: str) -> bool:
        calls = [self.call(one) for one in linkedids or ("1.0",)]
        return any(one.is_talk for one in conversations_of(calls))

    def call(self, linkedid: str = "1.0") -> CallRecord:
        return self.model.record(f"main-{linkedid}")


def inbound() -> Pbx:
    pbx = Pbx()
    pbx.create(CUSTOMER)
    pbx.create(AGENT)
    pbx.answer(AGENT)
    pbx.answer(CUSTOMER)
    pbx.enter(CUSTOMER)
    pbx.enter(AGENT)
    return pbx


def test_an_inbound_call_from_ring_to_end() -> None:
    """A call rings, is up, and ends with its last channel, each with its time."""
    pbx = Pbx()
    pbx.create(CUSTOMER)
    pbx.create(AGENT)
    assert (pbx.call().state, pbx.call().direction) == ("ringing", "inbound")
    pbx.answer(AGENT)
    pbx.answer(CUSTOMER)
    assert (pbx.call().state, pbx.call().answered_at) == ("up", pbx.now)
    pbx.destroy(AGENT)
    assert pbx.call().state == "up"
    pbx.destroy(CUSTOMER)
    assert (pbx.call().state, pbx.call().ended_at) == ("ended", pbx.now)


def test_early_media() -> None:
    """Both parties can be heard from the first media before the answer; one time is kept."""
    pbx = Pbx()
    pbx.create(CUSTOMER)
    pbx.create(AGENT)
    assert audible_legs(pbx.call()) == ()
    for dialstatus, is_change in (("", False), ("RINGING", False), ("PROGRESS", True)):
        dial = ari.Dial(pbx.tick(), "", CUSTOMER, AGENT, "2001", dialstatus)
        assert pbx.apply(dial) == ({"main-1.0"} if is_change else frozenset())
    heard_at = pbx.now
    assert pbx.apply(replace(dial, at=pbx.tick())) == frozenset()
    assert [leg.media_at for leg in legs_of(pbx.call())] == [heard_at, heard_at]
    assert [leg.id for leg in audible_legs(pbx.call())] == [CUSTOMER.id, AGENT.id]
    assert pbx.call().talked_at is None


def test_early_media_that_nobody_hears() -> None:
    """An originated channel has no caller who hears it, and a Local half is no person."""
    pbx, local = inbound(), channel("1.5", "Local/2001@agents-00000001;1")
    pbx.create(local)
    originated = ari.Dial(pbx.tick(), "", None, AGENT, "2001", "PROGRESS")
    assert pbx.apply(originated) == frozenset()
    through_local = ari.Dial(pbx.tick(), "", CUSTOMER, local, "2001", "PROGRESS")
    assert pbx.apply(through_local) == {"main-1.0"}
    assert [leg.media_at is not None for leg in pbx.call().channels] == [True, False, False]


def test_calls_that_wait_in_one_place_are_not_joined() -> None:
    """Calls that share the bridge of a parking lot stay separate, and nobody talks."""
    pbx, other = inbound(), replace(CUSTOMER, id="2.0")
    pbx.leave(CUSTOMER)
    pbx.destroy(AGENT)
    pbx.enter(CUSTOMER, "lot", "holding")
    pbx.create(other, "2.0")
    pbx.enter(other, "lot", "holding")
    lot = ari.Bridge("lot", "holding", "", (CUSTOMER.id, other.id))
    pbx.model.rebuild([CUSTOMER, other], pbx.linkedids, [lot], pbx.now, vanished=False)
    assert pbx.call().joined == ()
    assert [leg.joined_at for leg in legs_of(pbx.call("2.0"))] == [None]
    assert not pbx.talks()
    assert [leg.id for leg in audible_legs(pbx.call())] == [CUSTOMER.id]


def test_hold_and_transfer() -> None:
    """A leg has its holds and its transfer, also after a restore; a repeated event adds none."""
    pbx = inbound()
    for kind in (ari.ChannelHold, ari.ChannelHold, ari.ChannelUnhold, ari.ChannelUnhold):
        pbx.apply(kind(pbx.tick(), "", AGENT))
    pbx.apply(ari.ChannelHold(pbx.tick(), "", AGENT))
    held = pbx.now
    sent = ari.BridgeBlindTransfer(pbx.tick(), "", AGENT, None, None, "2002", "in", "Success", None)
    pbx.apply(sent)
    pbx.apply(replace(sent, result="Fail", exten="2009"))
    _, agent = legs_of(pbx.call())
    first, last = agent.holds
    assert first[1] == first[0] + timedelta(seconds=2)
    assert (last, agent.on_hold) == ((held, None), True)
    assert (agent.transferred_at, agent.transferred_to) == (sent.at, "2002")
    again = CallModel("main", ["PJSIP/trunk*"])
    again.restore(pbx.call())
    assert legs_of(again.record("main-1.0"))[1].holds == agent.holds


def test_an_attended_transfer_names_its_target() -> None:
    """The target's number counts, or else the number that the transferring agent saw."""
    for target, number in ((replace(OTHER, state="Up"), "2002"), (None, "2003")):
        pbx = inbound()
        consulting = replace(AGENT, id="1.2", connected=ari.Party("2003", ""))
        pbx.apply(
            ari.BridgeAttendedTransfer(
                pbx.tick(), "", AGENT, consulting, "Success", "bridge", CUSTOMER, target, None,
                None, None, "b", "", None, None, None, None,
            )
        )  # fmt: skip
        assert legs_of(pbx.call())[1].transferred_to == number


def test_the_parties_of_an_inbound_call() -> None:
    """An inbound call has its customer, the dialled number, and the agent who answered."""
    call = inbound().call()
    assert (call.caller_number, call.did, call.agent) == ("12025550100", "3000", "2001")
    assert call.callee_number == "2001"
    assert [leg.party for leg in legs_of(call)] == ["customer", "agent"]


def test_an_outbound_call() -> None:
    """A call that an agent makes through a trunk is outbound; its callee is the dialled number."""
    pbx = Pbx()
    agent = channel("1.0", "PJSIP/2001-00000001", number="2001", exten="12025550123")
    trunk = channel("1.1", "PJSIP/trunk-00000002", number="12025550123")
    for one in (agent, trunk):
        pbx.create(one)
    pbx.enter(agent)
    pbx.enter(trunk)
    call = pbx.call()
    assert (call.direction, call.did, call.agent) == ("outbound", None, "2001")
    assert (call.caller_number, call.callee_number) == ("2001", "12025550123")


def test_a_queue_is_known_and_its_callers_are_not_yet_talking() -> None:
    """A caller who waits in a queue is up, but no conversation."""
    pbx = Pbx()
    pbx.create(CUSTOMER)
    pbx.answer(CUSTOMER)
    pbx.apply(ari.ChannelDialplan(pbx.now, "", CUSTOMER, "Queue", "support,t,,,60"))
    assert (pbx.call().queue, pbx.call().state) == ("support", "up")
    assert not pbx.talks()
    waiting_since = pbx.now
    assert pbx.call().waiting_since == waiting_since
    assert (pbx.call().activity, pbx.call().talking) == ("waiting", False)
    pbx.create(AGENT)
    assert pbx.call().waiting_since == waiting_since
    pbx.enter(CUSTOMER)
    pbx.enter(AGENT)
    assert (pbx.call().waiting_since, pbx.call().queue) == (None, "support")
    pbx.answer(AGENT)
    assert (pbx.call().activity, pbx.call().talking) == ("talking", True)


def test_a_caller_who_leaves_the_queue_waits_no_more() -> None:
    """The next application of the dialplan, or the end of the call, ends the waiting."""
    for end in ("Playback", None):
        pbx = Pbx()
        pbx.create(CUSTOMER)
        pbx.apply(ari.ChannelDialplan(pbx.tick(), "", CUSTOMER, "Queue", "support"))
        if end is None:
            pbx.destroy(CUSTOMER)
        else:
            pbx.apply(ari.ChannelDialplan(pbx.tick(), "", CUSTOMER, end, "bye"))
        assert pbx.call().waiting_since is None


def test_helpers_and_local_halves_are_no_legs() -> None:
    """A snoop belongs to no call; a Local half keeps a call alive, but belongs to no person."""
    pbx = inbound()
    snoop = channel("s", "Snoop/1.0-00000000")
    pbx.create(snoop)
    pbx.create(channel("1.7", "Local/2001@agents-00000001;1"))
    assert [leg.id for leg in legs_of(pbx.call())] == ["1.0", "1.1"]
    pbx.destroy(CUSTOMER)
    pbx.destroy(AGENT)
    assert pbx.call().state == "up"
    assert is_over(pbx.call())


def test_a_blind_transfer_keeps_the_call() -> None:
    """The customer waits alone, and then talks with another agent in the same call."""
    pbx = inbound()
    pbx.leave(CUSTOMER)
    pbx.leave(AGENT)
    pbx.destroy(AGENT)
    assert [leg.id for leg in audible_legs(pbx.call())] == ["1.0"]
    pbx.create(OTHER)
    pbx.enter(CUSTOMER, "b2")
    pbx.enter(OTHER, "b2")
    call = pbx.call()
    assert [leg.id for leg in audible_legs(call)] == ["1.0", "1.3"]
    assert (call.agent, call.state) == ("2002", "up")


def consult() -> Pbx:
    """Return a PBX where 2001 has a customer, and asks 2002 in a call of its own."""
    pbx = inbound()
    asking = channel("1.2", "PJSIP/2001-00000002", number="2001", exten="2002")
    pbx.create(asking, "1.2")
    pbx.create(OTHER, "1.2")
    pbx.enter(asking, "c")
    pbx.enter(OTHER, "c")
    assert pbx.talks("1.2")
    assert pbx.call().agent == "2001"
    pbx.leave(AGENT)
    pbx.leave(OTHER, "c")
    pbx.linkedids |= {"1.2": "1.0", "1.3": "1.0"}
    pbx.enter(OTHER)
    pbx.leave(asking, "c")
    pbx.destroy(AGENT)
    pbx.destroy(asking)
    return pbx


def test_an_attended_transfer_joins_two_calls() -> None:
    """Both calls live on, each names the other, and the customer's call has the new agent."""
    pbx = consult()
    customers, consultation = pbx.call(), pbx.call("1.2")
    assert (customers.joined, consultation.joined) == (("main-1.2",), ("main-1.0",))
    assert (customers.did, customers.agent, customers.callee_number) == ("3000", "2002", "2002")
    assert [leg.id for leg in audible_legs(customers)] == ["1.0"]
    assert [leg.id for leg in audible_legs(consultation)] == ["1.3"]
    (talk,) = conversations_of([customers, consultation])
    assert talk.leg_ids == {"1.0", "1.3"}


def test_what_was_known_of_an_ended_conversation_stays() -> None:
    """After everybody has hung up, the call keeps its last agent, its callee, and whom it met."""
    pbx = consult()
    pbx.destroy(OTHER)
    pbx.destroy(CUSTOMER)
    call = pbx.call()
    assert (call.state, call.agent, call.callee_number) == ("ended", "2002", "2002")
    assert (call.joined, call.met) == ((), ("main-1.2",))
    assert pbx.call("1.2").met == ("main-1.0",)


def test_an_older_internal_call_takes_nothing_from_a_customer() -> None:
    """The customer stays in the own call although Asterisk gives it the older linkedid."""
    pbx = Pbx()
    held = channel("0.1", "PJSIP/2001-00000009", number="2001", exten="2002")
    pbx.create(held, "0.1")
    pbx.create(OTHER, "0.1")
    pbx.enter(held, "c")
    pbx.enter(OTHER, "c")
    for one in (CUSTOMER, AGENT):
        pbx.create(one)
    pbx.enter(CUSTOMER)
    pbx.enter(AGENT)
    pbx.leave(CUSTOMER)
    pbx.linkedids |= {"1.0": "0.1", "1.1": "0.1"}
    pbx.enter(CUSTOMER, "c")
    pbx.leave(held, "c")
    pbx.destroy(held)
    pbx.destroy(AGENT)
    call = pbx.call()
    assert (call.did, call.caller_number, call.agent) == ("3000", "12025550100", "2002")
    assert call.joined == ("main-0.1",)
    assert (pbx.call("0.1").state, pbx.call("0.1").direction) == ("up", "internal")


def test_the_agent_during_a_consultation_holds_the_customer() -> None:
    """A colleague who is asked by a feature code is no agent of the call, and leaves no trace."""
    pbx = inbound()
    pbx.leave(AGENT)
    pbx.create(OTHER)
    pbx.enter(AGENT, "c")
    pbx.enter(OTHER, "c")
    assert pbx.call().agent == "2001"
    pbx.leave(OTHER, "c")
    pbx.destroy(OTHER)
    pbx.leave(AGENT, "c")
    pbx.enter(AGENT)
    assert pbx.call().agent == "2001"


def test_members_of_a_conference_are_joined_calls() -> None:
    """Each member has its own call, and names the calls of all others, also after a restore."""
    pbx, members = (
        Pbx(),
        [replace(one, id=f"{n}.0") for n, one in enumerate([CUSTOMER, AGENT, OTHER])],
    )
    for one in members:
        pbx.create(one, one.id)
        pbx.enter(one, "room")
    assert pbx.call("1.0").joined == ("main-0.0", "main-2.0")
    assert pbx.call("0.0").agent == "2002"
    assert [pbx.call(one.id).people for one in members] == [3, 3, 3]
    assert {pbx.call(one.id).talked_at for one in members} == {
        pbx.now - timedelta(seconds=2),
        pbx.now,
    }
    again = CallModel("main", ["PJSIP/trunk*"])
    for one in members:
        again.restore(pbx.call(one.id))
    for one in members:
        assert again.record(f"main-{one.id}") == pbx.call(one.id)
    pbx.leave(members[0], "room")
    assert pbx.call("0.0").joined == ()
    assert [pbx.call(one.id).people for one in members] == [0, 2, 2]
    assert pbx.call("1.0").joined == ("main-2.0",)
    assert pbx.call("0.0").agent == "2002"


def test_a_blank_call_is_absorbed_where_asterisk_links_it() -> None:
    """The phone that takes a parked call joins that call; a member of a conference does not."""
    for linkedid, absorbed in (("1.0", True), ("1.3", False)):
        pbx = inbound()
        pbx.destroy(AGENT)
        pbx.create(OTHER, "1.3")
        pbx.linkedids["1.3"] = linkedid
        pbx.enter(OTHER)
        assert (pbx.call("1.3").state == "ended") is absorbed
        assert ("1.3" in {leg.id for leg in audible_legs(pbx.call())}) is absorbed
        assert pbx.call().joined == (() if absorbed else ("main-1.3",))
        assert pbx.call().agent == "2002"


def test_a_customers_call_absorbs_the_older_call_of_an_agent() -> None:
    """A program calls an agent first, then bridges a customer: the customer's call stays."""
    pbx = Pbx()
    pbx.create(AGENT, "0.1")
    pbx.enter(AGENT)
    pbx.create(CUSTOMER, "1.0")
    pbx.linkedids["1.0"] = "0.1"
    pbx.linkedids["1.1"] = "0.1"
    pbx.enter(CUSTOMER)
    assert pbx.call("0.1").state == "ended"
    assert {leg.id for leg in audible_legs(pbx.call())} == {"1.0", "1.1"}
    assert pbx.call().did == "3000"


def test_the_program_in_a_bridge_is_a_party() -> None:
    """The channel of a voice bot is on the agents' side of the customer's call, and no agent."""
    for first in ("bot", "customer"):
        pbx = Pbx()
        bot = channel("b.1", "UnicastRTP/127.0.0.1:4000-0x1")
        pbx.create(bot, "b.1")
        pbx.create(CUSTOMER)
        for one in (bot, CUSTOMER) if first == "bot" else (CUSTOMER, bot):
            pbx.enter(one, "app")
        call = pbx.call()
        assert [(leg.id, leg.party) for leg in legs_of(call)] == [
            ("1.0", "customer"),
            ("b.1", "agent"),
        ]
        assert (pbx.talks(), call.agent) == (True, None)
        pbx.destroy(bot)
        assert not pbx.talks()


def test_an_originated_call_has_the_dialled_number() -> None:
    """A channel that an API originates has no extension before it runs the dialplan."""
    pbx = Pbx()
    agent = channel("1.0", "PJSIP/2001-00000001", number="2001", state="Down")
    trunk = channel("1.1", "PJSIP/trunk-00000002", number="12025550123")
    pbx.create(agent)
    dials = replace(agent, dialplan=ari.Dialplan("agents", "12025550123", "Dial", "PJSIP/x"))
    pbx.apply(ari.ChannelDialplan(pbx.tick(), "", dials, "Dial", "PJSIP/x"))
    pbx.create(trunk)
    pbx.enter(agent)
    pbx.enter(trunk)
    call = pbx.call()
    assert (call.direction, call.caller_number) == ("outbound", "2001")
    assert (call.callee_number, call.agent) == ("12025550123", "2001")


def test_an_originated_local_channel_dials_two_phones() -> None:
    """The agent's phone, which a Local half dials first, has the extension that rings it."""
    pbx = Pbx()
    half = channel("1.0", "Local/2001@agents-00000001;1", state="Down", exten="2001")
    agent = channel("1.2", "PJSIP/2001-00000001", number="2001", state="Down", exten="s")
    trunk = channel("1.3", "PJSIP/trunk-00000002", number="12025550123")
    pbx.create(half)
    pbx.create(agent, "1.0")
    rung = replace(agent, dialplan=ari.Dialplan("agents", "2001", "AppDial", "(Outgoing Line)"))
    pbx.apply(ari.ChannelStateChange(pbx.tick(), "", rung))
    pbx.create(trunk, "1.0")
    pbx.enter(agent)
    pbx.enter(trunk)
    call = pbx.call()
    assert (call.direction, call.callee_number) == ("outbound", "12025550123")


def test_channels_of_one_millisecond_are_in_order() -> None:
    """Listed channels with one time of creation keep Asterisk's order: the caller comes first."""
    model = CallModel("main", ["PJSIP/trunk*"])
    caller = channel("9.9", "PJSIP/trunk-00000001", number="12025550100", exten="3000")
    callee = channel("9.10", "PJSIP/2001-00000002", number="2001")
    linkedids = {"9.9": "9.9", "9.10": "9.9"}
    model.rebuild([callee, caller], linkedids, [], ZERO, vanished=True)
    assert model.record("main-9.9").direction == "inbound"


def test_a_call_is_restored_from_its_record() -> None:
    """A restored model gives the same record as before."""
    call = inbound().call()
    model = CallModel("main", ["PJSIP/trunk*"])
    model.restore(call)
    assert model.record(call.id) == call


def test_a_rebuild_ends_missing_calls_and_adds_new_calls() -> None:
    """After a time without events the lists of the PBX replace the model's state."""
    pbx = inbound()
    later = ZERO + timedelta(minutes=1)
    new = channel("9.0", "PJSIP/trunk-00000010", number="12025550111", exten="3000", state="Up")
    touched = pbx.model.rebuild([new], {"9.0": "9.0"}, [], later, vanished=True)
    assert touched == {"main-1.0", "main-9.0"}
    assert (pbx.call().state, pbx.call().ended_at) == ("ended", later)
    assert all(leg.vanished for leg in legs_of(pbx.call()))
    assert pbx.call("9.0").state == "up"


def test_a_rebuild_with_nothing_new_changes_nothing() -> None:
    """A rebuild from the same lists leaves the records unchanged."""
    pbx = inbound()
    before = pbx.call()
    up = [replace(CUSTOMER, state="Up"), replace(AGENT, state="Up")]
    bridge = ari.Bridge("b", "mixing", "simple_bridge", ("1.0", "1.1"))
    pbx.model.rebuild(up, pbx.linkedids, [bridge], pbx.now, vanished=True)
    assert pbx.call() == before


def test_an_ended_call_can_be_forgotten() -> None:
    """A forgotten call leaves nothing in the model; a live call is never forgotten."""
    pbx = inbound()
    pbx.model.forget("main-1.0")
    assert pbx.call().state == "up"
    pbx.destroy(CUSTOMER)
    pbx.destroy(AGENT)
    pbx.model.forget("main-1.0")
    with pytest.raises(KeyError):
        pbx.call()
    assert pbx.model.find_call_of(AGENT.id) is None
    assert pbx.apply(ari.ChannelDestroyed(pbx.now, "", AGENT, 16, "")) == frozenset()


CHANNELS = [CUSTOMER, AGENT, OTHER]
CHANNELS += [channel(f"1.{4 + n}", f"Local/x@y-00000001;{n}") for n in (1, 2)]
steps = st.lists(
    st.tuples(
        st.sampled_from(["create", "answer", "enter", "enter 2", "leave", "destroy"]),
        st.sampled_from(CHANNELS),
        st.sampled_from(["1.0", "1.3"]),
    ),
    max_size=40,
)


@given(steps)
def test_no_order_of_events_breaks_the_model(order: list[tuple[str, ari.Channel, str]]) -> None:
    """Every order of events leaves each call with a record, and ends it with its channels."""
    pbx = Pbx()
    for verb, one, linkedid in order:
        if verb == "create":
            pbx.create(one, linkedid)
        elif verb == "enter 2":
            pbx.linkedids[one.id] = linkedid
            pbx.enter(one, "b2")
        elif verb == "leave":
            pbx.bridges.setdefault("b", []).append(one.id)
            pbx.leave(one)
        else:
            pbx.linkedids[one.id] = linkedid
            getattr(pbx, verb)(one)
    found = {pbx.model.find_call_of(one.id) for one in CHANNELS} - {None}
    calls = [pbx.model.record(call_id) for call_id in found if call_id is not None]
    for call in calls:
        together = [one for one in conversations_of(calls) if call.id in one.call_ids]
        most = max((len(one.legs) for one in together), default=0)
        assert (call.people, call.talking) == (most, most > 1) or most < 2 > call.people
    assert {pbx.model.record(call_id).state for call_id in found} <= {"ringing", "up"}
    for one in CHANNELS:
        pbx.destroy(one)
    assert {pbx.model.find_call_of(one.id) for one in CHANNELS} == {None}
    assert {pbx.model.record(call_id).state for call_id in found} <= {"ended"}
