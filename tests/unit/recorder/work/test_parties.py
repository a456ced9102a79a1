"""Everyone whom a recording hears."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import names
from recorder.recording.presence import Past
from recorder.work.parties import People, find_people, supervisors_of
from recorder.work.timeline import build_timeline
from storage.records import (
    CallRecord,
    Layout,
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
    return list(people(*calls, parts=parts, spies=spies).parties)


def people(
    *calls: CallRecord,
    parts: list[SegmentRecord],
    spies: tuple[SpyRecord, ...] = (),
    layout: Layout = "dual",
) -> People:
    """Return the people of a recording of the first call."""
    recording = RecordingRecord(
        UUID(int=1), calls[0].id, "main", "captured", "rule", layout, "opus", "silence", "inbound"
    )
    recording = replace(recording, promised_at=at(0), ended_at=at(10))
    past = Past(recording, {call.id: call for call in calls})
    return find_people(past, build_timeline(past, parts), parts, spies)


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


def test_each_person_has_a_track() -> None:
    """Tracks are in the order in which people came; the legs of one person share a track."""
    ours = call(
        1,
        leg("c", ("x", 0, 9), **CUSTOMER),
        leg("one", ("x", 0, 3), number="2001", name="PJSIP/2001-00000001"),
        leg("two", ("x", 5, 8), number="2001", name="PJSIP/2001-00000002"),
    )
    other = call(2, leg("2002", ("x", 4, 8), number="2002", name="PJSIP/2002-00000009"))
    spy = SpyRecord(
        SPY_ID, "main-1", "main", "barge", "PJSIP/9001", "ended", "sue", "call", ZERO, ("barge",)
    )
    phone = names.build_phone_id(SPY_ID)
    parts = [
        segment("two", 5, 8),
        segment("c", 0, 9, "left"),
        segment("one", 0, 3),
        segment("2002", 4, 8),
        segment(phone, 6, 7, "both"),
    ]
    found = people(ours, other, parts=parts, spies=(spy,), layout="tracks")
    assert [(one.number, one.track) for one in found.parties] == [
        ("12025550123", 0),
        ("2001", 1),
        ("2002", 2),
        ("9001", 3),
    ]
    assert found.tracks == {"c": 0, "one": 1, "two": 1, "2002": 2, phone: 3}


def test_only_tracks_have_tracks() -> None:
    """In any other layout no party has a track."""
    ours = call(1, leg("c", ("x", 0, 4), **CUSTOMER), leg("2001", ("x", 0, 4)))
    found = people(ours, parts=[segment("c", 0, 4), segment("2001", 0, 4)], layout="mono")
    assert [one.track for one in found.parties] == [None, None]
    assert found.tracks == {}


def test_one_who_was_never_captured_has_no_track() -> None:
    """Nothing of this party is in the file, so no channel is named after him."""
    ours = call(1, leg("c", ("x", 0, 4), **CUSTOMER), leg("2001", ("x", 0, 4)))
    found = people(ours, parts=[segment("2001", 0, 4)], layout="tracks")
    assert [(one.agent, one.track) for one in found.parties] == [(None, None), ("2001", 0)]


def test_guests_who_share_a_number_have_a_track_each() -> None:
    """Two people at the same time are two, even if their company shows one number."""
    ours = call(
        1,
        leg("c", ("x", 0, 9), **CUSTOMER),
        leg("d", ("x", 2, 5), **CUSTOMER),
        leg("e", ("x", 6, 9), **CUSTOMER),
        leg("f", ("x", 0, 9)),
    )
    parts = [segment("c", 0, 4), segment("d", 2, 5), segment("e", 6, 9), segment("f", 0, 9)]
    found = people(ours, parts=parts, layout="tracks")
    assert len({found.tracks[one] for one in "cdef"}) == 4
    back = call(
        1,
        leg("c", ("x", 0, 3), **CUSTOMER),
        leg("d", ("x", 4, 9), **CUSTOMER),
        leg("f", ("x", 0, 9)),
    )
    parts = [segment("c", 0, 3), segment("d", 4, 9), segment("f", 0, 9)]
    assert people(back, parts=parts, layout="tracks").tracks == {"c": 0, "d": 0, "f": 1}


def test_a_voice_of_nobody_we_know_keeps_a_track_of_its_own() -> None:
    """A captured channel without a call row is after the people, and mixed with nobody."""
    ours = call(1, leg("c", ("x", 0, 4), **CUSTOMER))
    parts = [segment("ghost", 0, 4), segment("c", 0, 4)]
    found = people(ours, parts=parts, layout="tracks")
    assert [one.track for one in found.parties] == [0]
    assert found.tracks == {"c": 0, "ghost": 1}


arrivals = st.lists(st.integers(0, 8), min_size=1, max_size=8)


@given(arrivals, st.integers(1, 3), st.randoms())
def test_tracks_are_in_the_order_of_arrival(came: list[int], calls: int, random: Random) -> None:
    """Whatever the order of rows, track n is the n-th who came, and no two people share one."""
    legs = [
        leg(f"l{n}", ("x", came_s, 9), number=str(n), created_at=at(came_s).isoformat())
        for n, came_s in enumerate(came)
    ]
    grouped = [call(place, *legs[place::calls]) for place in range(calls)]
    parts = [segment(f"l{n}", came_s, 9) for n, came_s in enumerate(came)]
    expected = people(*grouped, parts=parts, layout="tracks")
    random.shuffle(parts)
    parts.sort(key=lambda one: one.started_at)
    found = people(*grouped, parts=parts, layout="tracks")
    assert found == expected
    assert sorted(found.tracks.values()) == list(range(len(came)))
    arrived = [came[int(one.number or "")] for one in found.parties]
    assert arrived == sorted(arrived)
    assert [one.track for one in found.parties] == list(range(len(came)))


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
