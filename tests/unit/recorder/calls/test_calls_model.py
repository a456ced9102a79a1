"""Calls from the channels and bridges of a PBX."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import ari
from recorder.calls.legs import is_conversation, is_over, legs_of, legs_to_capture
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
    assert not pbx.model.is_split()
    assert [leg.joined_at for leg in legs_of(pbx.call("2.0"))] == [None]
    assert not is_conversation(pbx.call())
    assert [leg.id for leg in legs_to_capture(pbx.call())] == [CUSTOMER.id]


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
    assert [leg.side for leg in legs_of(call)] == ["right", "left"]


def test_an_internal_call_has_its_caller_left() -> None:
    """Without a customer, the caller is on the left side."""
    pbx = Pbx()
    caller = channel("1.0", "PJSIP/2001-00000001", number="2001", exten="2002")
    callee = channel("1.1", "PJSIP/2002-00000002", number="2002")
    for one in (caller, callee):
        pbx.create(one)
    pbx.enter(callee)
    pbx.enter(caller)
    call = pbx.call()
    assert call.direction == "internal"
    assert {leg.id: leg.side for leg in legs_of(call)} == {"1.0": "left", "1.1": "right"}


def test_a_queue_is_known_and_its_callers_are_not_yet_talking() -> None:
    """A caller who waits in a queue is up, but no conversation."""
    pbx = Pbx()
    pbx.create(CUSTOMER)
    pbx.answer(CUSTOMER)
    pbx.apply(ari.ChannelDialplan(pbx.now, "", CUSTOMER, "Queue", "support,t,,,60"))
    assert (pbx.call().queue, pbx.call().state) == ("support", "up")
    assert not is_conversation(pbx.call())


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
    assert [leg.id for leg in legs_to_capture(pbx.call())] == ["1.0"]
    pbx.create(OTHER)
    pbx.enter(CUSTOMER, "b2")
    pbx.enter(OTHER, "b2")
    call = pbx.call()
    assert [leg.id for leg in legs_to_capture(call)] == ["1.0", "1.3"]
    assert (call.agent, call.state) == ("2002", "up")


def test_an_attended_transfer_joins_two_calls() -> None:
    """The consulted agent moves to the customer's call; the consultation ends."""
    pbx = inbound()
    consult = channel("1.2", "PJSIP/2001-00000002", number="2001", exten="2002")
    pbx.create(consult, "1.2")
    pbx.create(OTHER, "1.2")
    pbx.enter(consult, "c")
    pbx.enter(OTHER, "c")
    assert is_conversation(pbx.call("1.2"))
    pbx.leave(AGENT)
    pbx.leave(OTHER, "c")
    pbx.linkedids["1.3"] = "1.0"
    pbx.enter(OTHER)
    pbx.leave(consult, "c")
    pbx.destroy(AGENT)
    pbx.destroy(consult)
    assert pbx.call("1.2").state == "ended"
    call = pbx.call()
    assert [leg.id for leg in legs_to_capture(call)] == ["1.0", "1.3"]
    joined = {leg.id: leg.joined_at for leg in legs_of(call)}
    assert joined["1.3"] is not None
    assert joined["1.0"] is not None
    assert joined["1.3"] > joined["1.0"]
    assert [leg.alive for leg in legs_of(pbx.call("1.2"))] == [False, False]


def test_a_forgotten_consultation_leaves_the_call_alone() -> None:
    """A channel that moved to another call ends with that call."""
    pbx = inbound()
    pbx.create(OTHER, "1.3")
    pbx.enter(OTHER, "c")
    pbx.leave(OTHER, "c")
    pbx.linkedids["1.3"] = "1.0"
    pbx.enter(OTHER)
    pbx.model.forget("main-1.3")
    for one in (CUSTOMER, AGENT, OTHER):
        pbx.destroy(one)
    assert pbx.call().state == "ended"


def test_a_bridge_joins_two_calls() -> None:
    """The model is split while the linkedids of a bridge still differ."""
    pbx = inbound()
    pbx.create(OTHER, "1.3")
    assert not pbx.model.is_split()
    pbx.enter(OTHER)
    assert pbx.model.is_split()


def test_a_second_customer_is_on_the_right() -> None:
    """A call that an agent transfers out again keeps the first customer on the left."""
    pbx = inbound()
    second = channel("1.5", "PJSIP/trunk-00000009", number="12025550199")
    pbx.create(second)
    pbx.destroy(AGENT)
    pbx.enter(second)
    assert {leg.id: leg.side for leg in legs_of(pbx.call())}["1.5"] == "right"


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


CHANNELS = [CUSTOMER, AGENT, OTHER, channel("1.4", "Local/x@y-00000001;1")]
steps = st.lists(
    st.tuples(
        st.sampled_from(["create", "answer", "enter", "leave", "destroy"]),
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
        elif verb == "leave":
            pbx.bridges.setdefault("b", []).append(one.id)
            pbx.leave(one)
        else:
            pbx.linkedids[one.id] = linkedid
            getattr(pbx, verb)(one)
    found = {pbx.model.find_call_of(one.id) for one in CHANNELS} - {None}
    assert {pbx.model.record(call_id).state for call_id in found} <= {"ringing", "up"}
    for one in CHANNELS:
        pbx.destroy(one)
    assert {pbx.model.find_call_of(one.id) for one in CHANNELS} == {None}
    assert {pbx.model.record(call_id).state for call_id in found} <= {"ended"}
