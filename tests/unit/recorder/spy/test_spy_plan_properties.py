"""Whatever the calls and bridges: a barge reaches the conversation, a pause makes deaf."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recorder.spy.plan import plan_spy
from storage.records import CallRecord, LegRecord
from tests.legs import ZERO, leg
from tests.spies import spy

BRIDGES = (None, "b1", "b2", "b3")


@st.composite
def calls_of_people(draw: st.DrawFn) -> tuple[CallRecord, ...]:
    """Return up to four joined calls whose legs are in any bridges, or have hung up."""
    found: list[CallRecord] = []
    ids = [f"main-{number}.0" for number in range(draw(st.integers(1, 4)))]
    for id_ in ids:
        legs = [draw(legs_named(f"{id_}-leg{number}")) for number in range(draw(st.integers(1, 3)))]
        joined = tuple(other for other in ids if other != id_)
        found.append(
            CallRecord(id_, "main", "up", "inbound", ZERO, channels=tuple(legs), joined=joined)
        )
    return tuple(found)


@st.composite
def legs_named(draw: st.DrawFn, id_: str) -> LegRecord:
    """Return a leg of either party in any bridge, alive or not."""
    bridge_id = draw(st.sampled_from(BRIDGES))
    party: Any = draw(st.sampled_from(("agent", "customer")))
    found = replace(leg(id_, party=party), bridge_id=bridge_id, served_at=None)
    return replace(found, left_at=ZERO, bridge_id=None) if draw(st.integers(0, 5)) == 0 else found


def together(calls: tuple[CallRecord, ...], target: str) -> set[str]:
    """Return the people who are in the bridge of this leg, or the leg alone."""
    live = [one for call in calls for one in call.channels if one.alive]
    bridge_id = next(one.bridge_id for one in live if one.id == target)
    return {target} | {one.id for one in live if bridge_id and one.bridge_id == bridge_id}


@given(
    calls_of_people(),
    st.sampled_from(("listen", "whisper", "barge")),
    st.sampled_from(("call", "agent", "channel")),
    st.data(),
)
def test_who_hears_whom(
    calls: tuple[CallRecord, ...], mode: Any, follow: Any, data: st.DataObject
) -> None:
    """Nobody outside of the target's conversation hears the supervisor, and all inside a barge.

    A supervisor who does not barge is deaf exactly while somebody in the conversation is paused.
    """
    everybody = [one for call in calls for one in call.channels]
    followed = data.draw(st.sampled_from(everybody))
    paused = data.draw(st.sets(st.sampled_from([one.id for one in everybody])))
    spied = spy(
        mode=mode, follow=follow, call_id=calls[0].id, channel_id=followed.id, agent=followed.id
    )
    plan = plan_spy(spied, calls[0], calls[1:], paused)
    if plan.target is None:
        assert (plan.heard_by, plan.deaf) == ((), False)
        return
    people = together(calls, plan.target)
    agents = {one.id for one in everybody if one.party == "agent"}
    if mode == "barge":
        assert set(plan.heard_by) == people
    else:
        assert set(plan.heard_by) == ({plan.target} & agents if mode == "whisper" else set())
    assert plan.deaf == (mode != "barge" and not people.isdisjoint(paused))
    assert plan.target not in plan.company
