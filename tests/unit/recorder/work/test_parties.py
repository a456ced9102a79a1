"""Everyone whom a recording hears."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import names
from recorder.recording.presence import Past
from recorder.work.parties import list_parties, supervisors_of
from recorder.work.timeline import build_timeline
from storage.records import (
    CallRecord,
    LegRecord,
    RecordingParty,
    RecordingRecord,
    SegmentRecord,
    SpyRecord,
)
from tests.legs import ZERO
from tests.legs import leg as build_leg


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def leg(id_: str, *stays: tuple[str, float, float], **more: Any) -> LegRecord:
    """Return a leg that was in these bridges at these times."""
    rows = [[name, at(from_s).isoformat(), at(to_s).isoformat()] for name, from_s, to_s in stays]
    times = {"joined_at": rows[0][1], "left_at": rows[-1][2]} if rows else {"joined_at": None}
    return build_leg(id_, **{**times, "stays": rows, "bridge_id": None, **more})


def segment(channel: str, from_s: float, to_s: float, side: str = "right") -> SegmentRecord:
    return SegmentRecord(
        UUID(int=int(from_s * 1000) + 1),
        UUID(int=1),
        channel,
        side,  # type: ignore[arg-type]
        "finished",
        "x",
        at(from_s),
        at(to_s),
        "finished",
        to_s - from_s,
    )


def parties(
    *calls: CallRecord, parts: list[SegmentRecord], spies: tuple[SpyRecord, ...] = ()
) -> list[RecordingParty]:
    """Return the parties of a recording of the first call."""
    recording = RecordingRecord(
        UUID(int=1), calls[0].id, "main", "captured", "rule", "dual", "opus", "silence", "inbound"
    )
    recording = replace(recording, promised_at=at(0), ended_at=at(10))
    past = Past(recording, {call.id: call for call in calls})
    return list(list_parties(past, build_timeline(past, parts), parts, spies))


def call(number: int, *legs: LegRecord, **more: Any) -> CallRecord:
    made = CallRecord(f"main-{number}", "main", "ended", "inbound", ZERO, channels=legs)
    return replace(made, **more)


CUSTOMER = {"party": "customer", "number": "12025550123", "caller_name": "Ann"}


def test_everybody_who_spoke_is_a_party() -> None:
    """A customer and two agents, one of whom came from another call, with the times of each."""
    ours = call(
        1,
        leg("c", ("x", 0, 4), ("y", 4, 9), **CUSTOMER),
        leg("2001", ("x", 0, 4), number="2001", caller_name="Joe"),
    )
    other = call(2, leg("2002", ("y", 4, 8), number="2002", name="PJSIP/2002-00000009"))
    parts = [
        segment("c", 0, 9, "left"),
        segment("2001", 0.1, 4),
        segment("2002", 4.1, 8),
    ]
    assert parties(ours, other, parts=parts) == [
        RecordingParty("customer", "12025550123", "Ann", "left", ((0, 9),)),
        RecordingParty("agent", "2001", "Joe", "right", ((0, 4),), "2001"),
        RecordingParty("agent", "2002", None, "right", ((4, 8),), "2002"),
    ]


def test_people_whom_the_recording_did_not_hear_are_no_parties() -> None:
    """Neither a phone that only rang nor somebody in a conversation without us is a party."""
    ours = call(1, leg("c", ("x", 0, 4), **CUSTOMER), leg("2001", ("x", 0, 4)), leg("2009"))
    other = call(2, leg("2002", ("y", 0, 4)), leg("2003", ("y", 0, 4)))
    found = parties(ours, other, parts=[segment("c", 0, 4)])
    assert [one.agent for one in found] == [None, "2001"]


def test_the_legs_of_one_person_are_one_party() -> None:
    """An agent who hangs up, and is called back by the same recording, is one party."""
    legs = [
        leg("one", ("x", 0, 3), number="2001", name="PJSIP/2001-00000001"),
        leg("two", ("x", 5, 8), number="2001", name="PJSIP/2001-00000002", caller_name="Joe"),
    ]
    ours = call(1, leg("c", ("x", 0, 9), **CUSTOMER), *legs)
    found = parties(ours, parts=[segment("c", 0, 9), segment("one", 0, 3), segment("two", 5, 8)])
    assert [one for one in found if one.party == "agent"] == [
        RecordingParty("agent", "2001", "Joe", "right", ((0, 3), (5, 8)), "2001")
    ]


def test_two_customers_without_a_number_are_two() -> None:
    """Nobody knows whether two anonymous callers are one person."""
    hidden = {"party": "customer", "number": None}
    ours = call(1, leg("c", ("x", 0, 9), **hidden), leg("d", ("x", 0, 9), **hidden))
    assert len(parties(ours, parts=[segment("c", 0, 9)])) == 2


def test_an_outbound_customer_has_the_dialled_number() -> None:
    """The channel of a dialled customer may show another number than was dialled."""
    ours = call(
        1,
        leg("2001", ("x", 0, 9)),
        leg("c", ("x", 0, 9), party="customer", number="anything"),
        direction="outbound",
        callee_number="12025550199",
    )
    assert [one.number for one in parties(ours, parts=[segment("c", 0, 9)])][-1] == "12025550199"


def test_a_person_captured_alone_is_a_party_while_captured() -> None:
    """A caller in a menu, whom a person records, spoke although nobody was there."""
    ours = call(1, leg("c", **CUSTOMER))
    assert parties(ours, parts=[segment("c", 2, 5, "left")]) == [
        RecordingParty("customer", "12025550123", "Ann", "left", ((0, 3),))
    ]


def test_a_voice_bot_is_a_party_without_an_extension() -> None:
    """A program speaks for an agent, and has neither a number nor an extension."""
    bot = leg("bot", ("x", 0, 9), number=None, name="UnicastRTP/127.0.0.1:4000-0x7f")
    ours = call(1, leg("c", ("x", 0, 9), **CUSTOMER), bot)
    found = parties(ours, parts=[segment("c", 0, 9, "left"), segment("bot", 0, 9)])
    assert found[1] == RecordingParty("agent", None, None, "right", ((0, 9),))


SPY_ID = UUID("019a0000-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("destination", "channel_id", "number"),
    [
        ("PJSIP/9001", names.build_phone_id(SPY_ID), "9001"),
        ("browser", names.build_microphone_id(SPY_ID), None),
    ],
)
def test_a_barging_supervisor_is_a_party(
    destination: str, channel_id: str, number: str | None
) -> None:
    """He has the name of his account and the times in which he was captured."""
    spy = SpyRecord(
        SPY_ID, "main-1", "main", "barge", destination, "ended", "sue", "call", ZERO, ("barge",)
    )
    ours = call(1, leg("c", ("x", 0, 9), **CUSTOMER), leg("2001", ("x", 0, 9)))
    voices = [segment(channel_id, 2, 3, "both"), segment(channel_id, 5, 7, "both")]
    parts = [segment("c", 0, 9), *voices]
    assert supervisors_of(parts) == {SPY_ID}
    assert parties(ours, parts=parts, spies=(spy,))[-1] == RecordingParty(
        "supervisor", number, "sue", "both", ((2, 3), (5, 7))
    )


seconds = st.integers(0, 10)
stays = st.lists(st.tuples(st.sampled_from("xyz"), seconds, seconds), max_size=4)


@given(st.lists(stays, min_size=1, max_size=4), st.integers(1, 3))
def test_parties_are_sorted_people_with_sorted_spans(
    made: list[list[tuple[str, int, int]]], calls: int
) -> None:
    """Each person is one party; spans are in order, apart, and not longer than the recording."""
    legs = []
    for place, one in enumerate(made):
        times, until = [], 0
        for bridge, begin_s, length_s in one:
            from_s = max(until, begin_s)
            until = from_s + length_s
            if length_s:
                times.append((bridge, float(from_s), float(until)))
        legs.append(leg(f"l{place}", *times, number=str(place)))
    grouped = [call(place, *legs[place::calls]) for place in range(calls)]
    first = legs[0]
    parts = [segment("l0", 0, 10)] if first.joined_at else [segment("l0", 1, 2)]
    found = parties(*grouped, parts=parts)
    assert len({(one.party, one.number, one.agent) for one in found}) == len(found)
    assert [one.spans[0][0] for one in found] == sorted(one.spans[0][0] for one in found)
    for one in found:
        edges = [edge for from_s, to_s in one.spans for edge in (from_s, to_s or 0)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert all(from_s < (to_s or 0) for from_s, to_s in one.spans)
