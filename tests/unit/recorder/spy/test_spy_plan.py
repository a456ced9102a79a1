"""The target of a spy and the legs that hear the supervisor, in every mode."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recorder import names
from recorder.spy.plan import (
    KEYS,
    SpyPlan,
    end_cause,
    find_present_call,
    find_target,
    follows,
    is_settled,
    plan_spy,
)
from storage.records import CallRecord, Heard, LegRecord, SpyRecord
from tests.fake_pbx import INSTANCE
from tests.legs import ZERO, leg
from tests.spies import SPY_ID
from tests.spies import spy as build_spy

LATER = (ZERO + timedelta(seconds=9)).isoformat()
LISTENING, TALKING = (
    names.build_listening_bridge_id(INSTANCE, "a"),
    names.build_talking_bridge_id(SPY_ID),
)
CUSTOMER = leg("c", party="customer", name="PJSIP/trunk-1")
AGENT = leg("a", name="PJSIP/2001-1")
NEXT_AGENT = leg("b", name="PJSIP/2002-1", joined_at=LATER)
GONE_AGENT = leg("a", name="PJSIP/2001-1", left=True)


def call(*legs: LegRecord, id_: str = "main-1.0", **more: Any) -> CallRecord:
    return CallRecord(id_, "main", more.pop("state", "up"), "inbound", ZERO, channels=legs, **more)


def spy(**changes: Any) -> SpyRecord:
    return build_spy(**{"agent": "2001", "channel_id": "a", **changes})


@pytest.mark.parametrize(
    ("legs", "target"),
    [
        ((CUSTOMER, AGENT), "a"),
        ((CUSTOMER, AGENT, NEXT_AGENT), "b"),
        ((CUSTOMER, GONE_AGENT, NEXT_AGENT), "b"),
        ((CUSTOMER, GONE_AGENT), "c"),
        ((leg("a", joined=False), leg("c", party="customer", joined=False)), "c"),
        ((leg("a", joined=False),), "a"),
        ((leg("c", party="customer", joined=False), leg("a", joined=False, state="Ring")), "c"),
        ((leg("a", joined=False, state="Ring"),), None),
        ((leg("l", name="Local/1@x-1;1"),), None),
        ((), None),
    ],
    ids=[
        "both",
        "joined-later",
        "transferred",
        "agent-left",
        "before-joining",
        "agent-before-joining",
        "menu",
        "rings",
        "local",
        "nobody",
    ],
)
def test_the_target(legs: tuple[LegRecord, ...], target: str | None) -> None:
    """The target is the agent who joined last; without an agent, the customer."""
    found = find_target(call(*legs))
    assert (found.id if found else None) == target


@pytest.mark.parametrize(
    ("mode", "legs", "says"),
    [
        ("listen", (CUSTOMER, AGENT), ()),
        ("whisper", (CUSTOMER, AGENT), ("a",)),
        ("whisper", (CUSTOMER, GONE_AGENT), ()),
        ("barge", (CUSTOMER, AGENT), ("a", "c")),
        ("barge", (CUSTOMER, GONE_AGENT), ("c",)),
        ("barge", (leg("c", party="customer", joined=False),), ("c",)),
    ],
)
def test_the_mode_decides_the_hearing_parties(
    mode: Any, legs: tuple[LegRecord, ...], says: tuple[str, ...]
) -> None:
    """An agent alone hears a whisper, and a customer never does; everybody hears a barge."""
    assert plan_spy(spy(mode=mode), call(*legs), ()).heard_by == says


def test_a_call_that_ended_ends_its_spy() -> None:
    """The spy ends with its call, and says why."""
    over = call(CUSTOMER, AGENT, state="ended")
    assert plan_spy(spy(), over, ()) == SpyPlan("main-1.0", cause="call-ended")
    assert plan_spy(spy(follow="channel"), over, ()).cause == "channel-gone"


def test_a_spy_moves_with_its_channels() -> None:
    """When calls are joined and this one ends, the spy goes on in the other with the channels."""
    over = call(leg("a", left=True), state="ended")
    joined = call(CUSTOMER, AGENT, id_="main-0.5")
    assert find_present_call(spy(), over, ()) is None
    assert plan_spy(spy(), over, [joined]) == SpyPlan("main-0.5", "a", ("c",), party="agent")
    assert plan_spy(spy(), over, [call(CUSTOMER, id_="main-0.5")]).cause == "call-ended"


def test_following_an_agent() -> None:
    """Between two calls of its agent the spy waits, and it leaves a call with its agent."""
    follower = spy(follow="agent", mode="whisper")
    over = call(GONE_AGENT, state="ended")
    following = call(leg("n", name="PJSIP/2001-9"), CUSTOMER, id_="main-2.0", agent="2001")
    elsewhere = leg("m", name="PJSIP/2002-9", bridge_id="b2")
    others = call(elsewhere, id_="main-3.0", agent="2002")
    assert plan_spy(follower, over, [others]) == SpyPlan("main-1.0")
    found = SpyPlan("main-2.0", "n", ("c",), ("n",), party="agent")
    assert plan_spy(follower, over, [others, following]) == found
    assert plan_spy(follower, call(CUSTOMER, GONE_AGENT, NEXT_AGENT), ()) == SpyPlan("main-1.0")
    assert follows(follower, following)
    assert not follows(follower, others)
    assert not follows(spy(), following)


@pytest.mark.parametrize(
    ("agents_leg", "target"),
    [
        (leg("a", name="PJSIP/2001-1"), "a"),
        (leg("a", name="PJSIP/2001-1", state="Ring"), "a"),
        (leg("a", name="PJSIP/2001-1", joined=False), "a"),
        (leg("a", name="PJSIP/2001-1", joined=False, state="Ringing"), None),
        (leg("a", name="PJSIP/2001-1", party="customer"), None),
    ],
    ids=["talks", "joined-early", "answered", "rings", "no-agent"],
)
def test_the_leg_of_a_followed_agent(agents_leg: LegRecord, target: str | None) -> None:
    """A spy listens to its own agent after joining or answering, and not to a later agent."""
    plan = plan_spy(spy(follow="agent"), call(CUSTOMER, agents_leg, NEXT_AGENT), ())
    assert plan.target == target


def test_a_call_without_audible_legs_is_waited_for() -> None:
    """While every leg rings the spy stays on its call and hears nothing."""
    ringing = call(leg("a", joined=False, state="Ring"))
    assert plan_spy(spy(), ringing, ()) == SpyPlan("main-1.0")


def test_a_spy_is_concerned_by_its_channel() -> None:
    """A change of the call to which the spy's channel has moved concerns the spy."""
    moved = call(AGENT, id_="main-9.0")
    assert follows(spy(), moved)
    assert not follows(spy(channel_id="x"), moved)
    assert not follows(spy(channel_id=None), moved)
    assert follows(spy(channel_id=None), call(AGENT))


def test_following_a_channel() -> None:
    """The spy stays on its channel when another agent joins, and ends with the channel."""
    follower = spy(follow="channel")
    assert plan_spy(follower, call(CUSTOMER, AGENT, NEXT_AGENT), ()).target == "a"
    assert plan_spy(follower, call(CUSTOMER, GONE_AGENT), ()).cause == "channel-gone"


def test_the_company() -> None:
    """Company are all channels that bridges connect with the target, Local halves too."""
    half = leg("l", name="Local/1@x-1;1", bridge_id="b1")
    agent, customer = replace(AGENT, bridge_id="b1"), replace(CUSTOMER, bridge_id="b2")
    assert plan_spy(spy(), call(customer, agent, half), ()).company == ("l",)
    far = leg("m", name="Local/1@x-1;2", bridge_id="b2")
    through = plan_spy(spy(mode="barge"), call(customer, agent, half, far), ())
    assert set(through.company) == {"l", "m", "c"}
    assert set(through.heard_by) == {"a", "c"}
    alone = replace(AGENT, bridge_id=None)
    assert plan_spy(spy(), call(CUSTOMER, alone), ()).company == ()


def test_a_barge_reaches_the_whole_conversation() -> None:
    """In a conference with one call for each member, a barge reaches the members of all calls."""
    mine = call(AGENT, joined=("main-2.0", "main-3.0"))
    second = call(CUSTOMER, id_="main-2.0", joined=("main-1.0", "main-3.0"))
    third = call(NEXT_AGENT, id_="main-3.0", joined=("main-1.0", "main-2.0"))
    plan = plan_spy(spy(mode="barge"), mine, [second, third])
    assert (plan.call_id, plan.target) == ("main-1.0", "a")
    assert set(plan.heard_by) == {"a", "b", "c"}
    assert set(plan.company) == {"b", "c"}
    fourth = call(leg("d"), id_="main-4.0")
    more = plan_spy(spy(mode="barge"), mine, [second, third, fourth])
    assert (more.surroundings, more.circle) == (plan.surroundings, plan.circle), "renew no snoop"
    fewer = plan_spy(spy(mode="barge"), mine, [second])
    assert fewer.circle == ("a", "c") != plan.circle
    assert fewer.surroundings == ("c",)
    assert plan_spy(spy(mode="whisper"), mine, [second, third]).heard_by == ("a",)
    assert follows(spy(), second)
    assert follows(spy(), call(CUSTOMER, id_="main-2.0", met=("main-1.0",))), "it has just left"
    assert not follows(spy(), call(CUSTOMER, id_="main-2.0"))


def test_a_customer_on_hold_outside_hears_no_barge() -> None:
    """During a consultation the supervisor hears agent and colleague, and so do these two him."""
    waiting = replace(CUSTOMER, bridge_id=None)
    consulting = replace(AGENT, bridge_id="b2", served_at=ZERO)
    colleague = replace(NEXT_AGENT, bridge_id="b2")
    plan = plan_spy(spy(mode="barge"), call(waiting, consulting, colleague), ())
    assert plan.target == "a", "the colleague has not met the customer"
    assert plan.heard_by == ("a", "b")
    handed_over = replace(NEXT_AGENT, served_at=ZERO + timedelta(seconds=9))
    assert plan_spy(spy(), call(CUSTOMER, GONE_AGENT, handed_over), ()).target == "b"


def test_the_next_agent_may_come_from_another_call() -> None:
    """After a merge the agent who holds the customer is in a call of its own."""
    mine = call(CUSTOMER, GONE_AGENT, joined=("main-0.5",))
    colleague = replace(NEXT_AGENT, served_at=ZERO)
    other = call(colleague, leg("x", left=True), id_="main-0.5", joined=("main-1.0",))
    plan = plan_spy(spy(mode="whisper"), mine, [other])
    assert (plan.call_id, plan.target, plan.heard_by) == ("main-1.0", "b", ("b",))
    assert plan_spy(spy(), other, [mine]).target == "b", "the spy of the other call"


def test_a_program_is_no_agent() -> None:
    """While a customer talks with a voice bot nobody hears a whisper, and both hear a barge."""
    bot = leg("bot", name="UnicastRTP/127.0.0.1:9-1", served_at=ZERO.isoformat())
    talk = call(CUSTOMER, bot)
    assert plan_spy(spy(mode="whisper"), talk, ()).target == "c"
    assert plan_spy(spy(mode="whisper"), talk, ()).heard_by == ()
    assert set(plan_spy(spy(mode="barge"), talk, ()).heard_by) == {"c", "bot"}
    own, other = call(bot), call(AGENT, id_="main-2.0")
    assert plan_spy(spy(), own, [other]).target == "a", "the agent of another call"


def test_a_call_without_a_customer_keeps_its_agent() -> None:
    """A spy on a member of a conference stays on this member when another agent joins."""
    later = replace(NEXT_AGENT, served_at=ZERO + timedelta(seconds=9))
    mine = call(replace(AGENT, served_at=ZERO), joined=("main-2.0",))
    assert plan_spy(spy(), mine, [call(later, CUSTOMER, id_="main-2.0")]).target == "a"


@pytest.mark.parametrize("spied", ["main-1.0", "main-2.0"])
def test_following_an_agent_with_two_legs(spied: str) -> None:
    """While the agent keeps one call on hold and talks on another, the spy is on the other."""
    kept = replace(leg("a1", name="PJSIP/2001-1"), holds=((ZERO, None),))
    talking = leg("a2", name="PJSIP/2001-2", bridge_id="b2")
    first = call(CUSTOMER, kept, id_="main-1.0", agent="2001")
    second = call(
        talking, leg("x", name="PJSIP/2002-1", bridge_id="b2"), id_="main-2.0", agent="2002"
    )
    calls = {one.id: one for one in (first, second)}
    follower = spy(follow="agent", mode="barge", call_id=spied)
    plan = plan_spy(follower, calls[spied], calls.values())
    assert (plan.call_id, plan.target, plan.heard_by) == ("main-2.0", "a2", ("a2", "x"))
    assert follows(follower, second)
    back = replace(second, channels=(replace(talking, bridge_id=None),))
    calls["main-2.0"] = back
    assert plan_spy(follower, calls[spied], calls.values()).target == "a1"


def test_supervisors_are_deaf_while_somebody_is_paused() -> None:
    """A pause of one person keeps the conversation from supervisors, unless they barge."""
    mine = call(AGENT, joined=("main-2.0",))
    other = call(CUSTOMER, id_="main-2.0", joined=("main-1.0",))
    whispering = spy(mode="whisper")
    plan = plan_spy(whispering, mine, [other], paused={"c"})
    assert (plan.deaf, plan.target, plan.heard_by) == (True, "a", ("a",))
    assert plan_spy(spy(), mine, [other], paused={"c"}).deaf
    assert not plan_spy(spy(mode="barge"), mine, [other], paused={"c"}).deaf
    assert not plan_spy(whispering, mine, [other], paused={"x"}).deaf
    apart = replace(other, channels=(replace(CUSTOMER, bridge_id="b2"),))
    assert not plan_spy(whispering, mine, [apart], paused={"c"}).deaf


def test_a_settled_phone() -> None:
    """A spy is settled while its phone, its snoops and its voice are in their bridges."""
    whispering = spy(mode="whisper", heard=(Heard(ZERO, None, "main-1.0"),))
    steps = plan_spy(whispering, call(CUSTOMER, AGENT), ())
    phone, phone_snoop = names.build_phone_id(SPY_ID), names.build_phone_snoop_id(SPY_ID)
    snoop = names.build_listening_snoop_id(INSTANCE, "a", steps.company)
    talking_snoop = names.build_talking_snoop_id(INSTANCE, SPY_ID, "a", ("a", "c"))
    whole = {LISTENING: frozenset({snoop, phone}), TALKING: frozenset({phone_snoop, talking_snoop})}
    assert is_settled(INSTANCE, whispering, steps, whole)
    assert not is_settled(INSTANCE, whispering, steps, {**whole, LISTENING: frozenset({phone})})
    assert not is_settled(INSTANCE, whispering, steps, {**whole, LISTENING: frozenset({snoop})})
    assert not is_settled(INSTANCE, whispering, steps, {**whole, TALKING: frozenset({phone_snoop})})
    other = names.build_listening_snoop_id(INSTANCE, "a", ["somebody"])
    assert not is_settled(
        INSTANCE, whispering, steps, {**whole, LISTENING: frozenset({other, phone})}
    )
    assert not is_settled(INSTANCE, whispering, steps, {})
    assert not is_settled(INSTANCE, spy(), plan_spy(spy(), call(CUSTOMER, AGENT), ()), whole)


def test_a_spy_that_must_change_is_not_settled() -> None:
    """A spy that is over, has moved to another call, or is not live yet has to be settled."""
    listening = spy(heard=(Heard(ZERO, None, "main-1.0"),))
    steps = plan_spy(listening, call(CUSTOMER, AGENT), ())
    inside = {
        names.build_phone_id(listening.id),
        names.build_listening_snoop_id(INSTANCE, "a", ("c",)),
    }
    bridges = {names.build_listening_bridge_id(INSTANCE, "a"): frozenset(inside)}
    assert is_settled(INSTANCE, listening, steps, bridges)
    assert not is_settled(INSTANCE, listening, replace(steps, cause="call-ended"), bridges)
    assert not is_settled(INSTANCE, listening, replace(steps, call_id="main-2.0"), bridges)
    assert not is_settled(INSTANCE, replace(listening, state="ringing"), steps, bridges)
    assert not is_settled(INSTANCE, replace(listening, heard=()), steps, bridges)
    assert not is_settled(INSTANCE, listening, steps, {})


@pytest.mark.parametrize("destination", ["browser", "PJSIP/9001"])
def test_a_deaf_supervisor_is_settled_outside(destination: str) -> None:
    """In a pause a spy is settled without an open span, its phone outside of the bridge."""
    heard = (Heard(ZERO, None, "main-1.0"),)
    one = spy(destination=destination)
    steps = plan_spy(one, call(CUSTOMER, AGENT), (), paused={"c"})
    phone = names.build_phone_id(SPY_ID)
    assert is_settled(INSTANCE, one, steps, {LISTENING: frozenset()})
    assert not is_settled(INSTANCE, replace(one, heard=heard), steps, {LISTENING: frozenset()})
    inside = {LISTENING: frozenset({phone})}
    assert is_settled(INSTANCE, one, steps, inside) is (destination == "browser")
    assert not is_settled(INSTANCE, one, replace(steps, deaf=False), {LISTENING: frozenset()})


def test_without_a_target_a_settled_spy_hears_nothing() -> None:
    """While its agent has no call, a spy is settled once its last span of hearing is closed."""
    waiting = SpyPlan("main-1.0")
    assert is_settled(INSTANCE, spy(follow="agent"), waiting, {})
    assert not is_settled(INSTANCE, spy(heard=(Heard(ZERO, None, "main-1.0"),)), waiting, {})


def test_a_settled_page() -> None:
    """A page hears the shared channel; while it barges, its own channel is in the bridge too."""
    heard = (Heard(ZERO, None, "main-1.0"),)
    page = spy(destination="browser", heard=heard)
    barging = spy(destination="browser", mode="barge", heard=heard)
    quiet, loud = (plan_spy(one, call(CUSTOMER), ()) for one in (page, barging))
    listening = names.build_listening_bridge_id(INSTANCE, "c")
    inside = {
        names.build_listening_snoop_id(INSTANCE, "c", ()),
        names.build_listening_channel_id(INSTANCE, "c"),
    }
    bridges = {listening: frozenset(inside)}
    assert is_settled(INSTANCE, page, quiet, bridges)
    talking = {
        names.build_talking_snoop_id(INSTANCE, SPY_ID, "c", ("c",)),
        names.build_microphone_id(SPY_ID),
    }
    bridges[TALKING] = frozenset(talking)
    assert not is_settled(INSTANCE, barging, loud, bridges)
    bridges[listening] |= {names.build_barge_channel_id(SPY_ID)}
    assert is_settled(INSTANCE, barging, loud, bridges)


@pytest.mark.parametrize(
    ("state", "q850", "cause"),
    [
        ("live", 16, "hung-up"),
        ("live", 17, "hung-up"),
        ("ringing", 17, "busy"),
        ("ringing", 21, "declined"),
        ("ringing", 0, "no-answer"),
        ("ringing", 19, "no-answer"),
        ("ringing", 1, "no-such-destination"),
    ],
)
def test_why_a_phone_ends_a_spy(state: str, q850: int, cause: str) -> None:
    """An answered phone has hung up; for any other the Q.850 cause says why it was not answered."""
    assert end_cause(state, q850) == cause


@pytest.mark.parametrize("destination", ["browser", "PJSIP/9001"])
def test_a_voice_without_its_source_is_not_settled(destination: str) -> None:
    """Without its microphone or phone snoop a voice is heard by nobody: settle the spy again."""
    heard = (Heard(ZERO, None, "main-1.0"),)
    one = spy(destination=destination, mode="whisper", heard=heard)
    steps = plan_spy(one, call(CUSTOMER, AGENT), ())
    listeners = {
        names.build_listening_snoop_id(INSTANCE, "a", steps.company),
        names.build_listening_channel_id(INSTANCE, "a"),
        names.build_phone_id(one.id),
    }
    talking_snoop = names.build_talking_snoop_id(INSTANCE, one.id, "a", steps.circle)
    source = (
        names.build_microphone_id(one.id)
        if destination == "browser"
        else names.build_phone_snoop_id(one.id)
    )
    bridges = {LISTENING: frozenset(listeners), TALKING: frozenset({talking_snoop})}
    assert not is_settled(INSTANCE, one, steps, bridges)
    assert is_settled(
        INSTANCE, one, steps, {**bridges, TALKING: frozenset({talking_snoop, source})}
    )


@pytest.mark.parametrize(
    ("cause", "codes"),
    [
        ("no-such-destination", {1, 2, 3, 28, 66}),
        ("busy", {17}),
        ("declined", {21}),
        ("unreachable", {20, 27, 38, 41}),
        ("congestion", {34, 42}),
        ("incompatible", {58, 65, 88}),
    ],
)
def test_each_q850_cause_of_an_unanswered_phone(cause: str, codes: set[int]) -> None:
    """The codes of Q.850 are grouped by the cause that a supervisor understands."""
    assert {code for code in range(128) if end_cause("ringing", code) == cause} == codes


def test_the_keys_of_a_phone_are_those_of_chanspy() -> None:
    """Keys 4, 5 and 6 switch the mode, as in ChanSpy with its option d."""
    assert KEYS == {"4": "listen", "5": "whisper", "6": "barge"}
