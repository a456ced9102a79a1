"""Who hears whom: by bridges, through Local channels, in whatever calls."""

from datetime import timedelta
from typing import Any

from recorder.calls.conversations import (
    Talk,
    conversations_of,
    talks_of,
)
from storage.records import CallRecord
from tests.legs import ZERO, leg


def call(id_: str, *legs: Any) -> CallRecord:
    return CallRecord(id_, "main", "up", "internal", ZERO, channels=tuple(legs))


def at(seconds: float) -> Any:
    return ZERO + timedelta(seconds=seconds)


def stay(bridge_id: str, from_s: float, to_s: float | None = None) -> list[str | None]:
    return [bridge_id, at(from_s).isoformat(), None if to_s is None else at(to_s).isoformat()]


def test_members_of_one_bridge_are_a_conversation_whatever_their_calls() -> None:
    """Three calls of one leg each in one bridge make one conversation; a fourth is alone."""
    calls = [call(name, leg(name, bridge_id="room")) for name in ("a", "b", "c")]
    calls.append(call("d", leg("d", bridge_id="other")))
    found = {frozenset(one.leg_ids) for one in conversations_of(calls)}
    assert found == {frozenset("abc"), frozenset("d")}
    (of_a,) = (one for one in conversations_of(calls) if "a" in one.leg_ids)
    assert of_a.call_ids == {"a", "b", "c"}


def test_a_local_channel_connects_two_bridges() -> None:
    """People in two bridges hear each other through the halves of a Local channel."""
    one, two = "Local/2001@agents-00000003;1", "Local/2001@agents-00000003;2"
    calls = [
        call("x", leg("a", bridge_id="b1"), leg("l1", name=one, bridge_id="b1")),
        call("y", leg("l2", name=two, bridge_id="b2"), leg("b", bridge_id="b2")),
    ]
    (found,) = conversations_of(calls)
    assert found.leg_ids == {"a", "b"}
    assert found.is_talk


def test_a_leg_in_no_bridge_is_alone() -> None:
    """A leg outside of any bridge hears nobody, and a leg that left is in no conversation."""
    calls = [call("x", leg("a", joined=False), leg("b"), leg("c", left=True))]
    assert [sorted(one.leg_ids) for one in conversations_of(calls)] == [["a"], ["b"]]


def test_talks_follow_the_people_through_time() -> None:
    """Each change of the company begins a new talk, and a person alone is none."""
    calls = [
        call("x", leg("ann", stays=[stay("b", 0, 9)]), leg("bob", stays=[stay("b", 1, 9)])),
        call("y", leg("cid", stays=[stay("b", 3, 5), stay("c", 6)])),
    ]
    assert talks_of(calls) == (
        Talk(frozenset({"ann", "bob"}), at(1), at(3)),
        Talk(frozenset({"ann", "bob", "cid"}), at(3), at(5)),
        Talk(frozenset({"ann", "bob"}), at(5), at(9)),
    )


def test_moving_from_bridge_to_bridge_at_one_moment_breaks_nothing() -> None:
    """People who move together from one bridge to another at one moment go on talking."""
    both = [stay("b", 0, 4), stay("c", 4, 8)]
    calls = [call("x", leg("ann", stays=both), leg("bob", stays=both))]
    assert talks_of(calls) == (Talk(frozenset({"ann", "bob"}), at(0), at(8)),)
