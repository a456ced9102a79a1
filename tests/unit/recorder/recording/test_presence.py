"""The company of a recording's people, and the times that nobody may keep."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from recorder import names
from recorder.calls.spans import TimeSpan
from recorder.recording.presence import Past, find_presence, find_protected, last_left_at
from storage.records import (
    CallRecord,
    DecisionRecord,
    LegRecord,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)
from tests.legs import ZERO
from tests.legs import leg as build_leg


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def span(from_s: float, to_s: float) -> TimeSpan:
    return at(from_s), at(to_s)


WINDOW = span(0, 10)


def leg(id_: str, *stays: tuple[str, float, float], **more: Any) -> LegRecord:
    """Return a leg that was in these bridges at these times."""
    left_at = at(stays[-1][2]).isoformat() if stays else None
    joined_at = at(stays[0][1]).isoformat() if stays else None
    rows = [[name, at(from_s).isoformat(), at(to_s).isoformat()] for name, from_s, to_s in stays]
    return build_leg(
        id_,
        **{"joined_at": joined_at, "left_at": left_at, "stays": rows, "bridge_id": None, **more},
    )


def call(number: int, *legs: LegRecord) -> CallRecord:
    return CallRecord(f"main-{number}", "main", "ended", "internal", at(number), channels=legs)


def recording(number: int, of: int, **more: Any) -> RecordingRecord:
    made = RecordingRecord(
        UUID(int=number),
        f"main-{of}",
        "main",
        "captured",
        "rule",
        "dual",
        "opus",
        "silence",
        "inbound",
        promised_at=at(0),
        ended_at=at(10),
    )
    return replace(made, **more)


def past(one: RecordingRecord, *calls: CallRecord, **more: Any) -> Past:
    return Past(one, {call.id: call for call in calls}, **more)


def present(known: Past, *parts: SegmentRecord) -> dict[str, list[TimeSpan]]:
    return {one.leg.id: list(one.spans) for one in find_presence(known, parts, WINDOW)}


def segment(channel: str, from_s: float, to_s: float) -> SegmentRecord:
    return SegmentRecord(
        UUID(int=9), UUID(int=1), channel, "left", "finished", "x", at(from_s), at(to_s)
    )


def test_people_of_another_call_count_while_they_are_with_ours() -> None:
    """In a conference of two calls, the other call's member is heard while ours is there."""
    ours = call(1, leg("ann", ("room", 1, 6)))
    other = call(2, leg("bob", ("room", 3, 9)))
    assert present(past(recording(1, 1), ours, other)) == {
        "ann": [span(1, 6)],
        "bob": [span(3, 6)],
    }


def test_a_leg_of_the_call_counts_while_it_is_alone() -> None:
    """A caller whom an agent left is still recorded; one who only rang is not missed."""
    ours = call(1, leg("cus", ("x", 1, 4), ("y", 7, 9)), leg("age", ("x", 1, 4)), leg("rang"))
    assert present(past(recording(1, 1), ours)) == {"cus": [span(1, 9)], "age": [span(1, 4)]}


def test_a_talk_that_another_call_owns_is_not_ours() -> None:
    """From a merge on, the customer's recording hears all; after the split, each hears its own."""
    customer = call(
        2, leg("cus", ("a", 0, 3), ("b", 3, 6), party="customer"), leg("2001c", ("a", 0, 3))
    )
    internal = call(
        1,
        leg("2001i", ("i", 0, 3)),
        leg("2002", ("i", 0, 3), ("b", 3, 6), ("c", 6, 9)),
        leg("2003", ("c", 6, 9)),
    )
    both = [recording(1, 1), recording(2, 2, ended_at=at(6))]
    ours = past(both[0], customer, internal, recordings=both)
    theirs = past(both[1], customer, internal, recordings=both)
    assert present(ours) == {
        "2001i": [span(0, 3)],
        "2002": [span(0, 3), span(6, 9)],
        "2003": [span(6, 9)],
    }
    assert present(theirs) == {"cus": [span(0, 6)], "2001c": [span(0, 3)], "2002": [span(3, 6)]}


def test_a_recording_that_a_person_started_hears_every_talk() -> None:
    """A manual recording is its own, whichever rule records the others."""
    customer = call(2, leg("cus", ("b", 3, 6), party="customer"))
    internal = call(1, leg("2002", ("b", 3, 6)))
    both = [recording(1, 1, trigger="manual"), recording(2, 2)]
    assert present(past(both[0], customer, internal, recordings=both)) == {
        "2002": [span(3, 6)],
        "cus": [span(3, 6)],
    }


def test_a_recording_goes_on_with_the_people_whom_it_captures() -> None:
    """Over its own call, a rule's recording hears the people it captures, and those with them."""
    ours = replace(call(1, leg("ann", ("x", 0, 4))), ended_at=at(4))
    others = call(2, leg("bob", ("x", 0, 8))), call(3, leg("cid", ("x", 2, 8), ("z", 8, 9)))
    late = call(4, leg("dan", ("x", 6, 8)), leg("eve", ("z", 8, 9)))
    parts = [segment("bob", 0, 7), segment("cid", 2, 5)]
    known = past(recording(1, 1), ours, *others, late)
    assert present(known, *parts) == {
        "ann": [span(0, 4)],
        "bob": [span(0, 7)],
        "cid": [span(2, 7)],
        "dan": [span(6, 7)],
    }
    by_hand = replace(known, recording=recording(1, 1, trigger="manual"))
    assert present(by_hand, *parts)["bob"] == [span(0, 4)]


def test_a_recording_whose_call_is_over_comes_last() -> None:
    """The recording of a live call takes the conversation over from it, though newer."""
    ours = replace(call(1, leg("ann", ("x", 0, 4), party="customer")), ended_at=at(4))
    other = call(2, leg("bob", ("x", 0, 8)), leg("cid", ("x", 0, 8)))
    both = [recording(1, 1), recording(2, 2)]
    parts = [segment("bob", 0, 8), segment("cid", 0, 8)]
    assert present(past(both[0], ours, other, recordings=both), *parts) == {
        "ann": [span(0, 4)],
        "bob": [span(0, 4)],
        "cid": [span(0, 4)],
    }
    assert present(past(both[1], ours, other, recordings=both), *parts) == {
        "bob": [span(4, 8)],
        "cid": [span(4, 8)],
    }


def test_an_aborted_recording_owns_nothing() -> None:
    """The people of an older call are missed, if its own recording never began."""
    calls = call(1, leg("ann", ("b", 3, 6))), call(2, leg("bob", ("b", 3, 6)))
    both = [recording(1, 1, state="aborted"), recording(2, 2)]
    assert "ann" in present(past(both[1], *calls, recordings=both))


def forbids(number: int, second: float, until: float) -> DecisionRecord:
    rule = {"id": "r", "version": 1, "name": "r"}
    moments = (
        {"at": at(second).isoformat(), "action": "never", "rule": rule},
        {"at": at(until).isoformat(), "action": "record", "rule": rule},
    )
    return DecisionRecord(f"main-{number}", "record", rule, "", moments)


CONFERENCE = (
    call(1, leg("ann", ("room", 0, 9)), leg("amy", ("room", 0, 9))),
    call(2, leg("bob", ("room", 3, 7))),
)


def test_a_never_of_anybody_protects_everybody() -> None:
    """While a forbidden person is in the room nothing of the room is kept, and afterwards it is."""
    known = past(recording(1, 1), *CONFERENCE, decisions=[forbids(2, 1, 5)])
    found = find_protected(known, [segment("ann", 0, 9)], WINDOW)
    assert (found.forbidden, found.paused) == ((span(3, 5),), ())


def test_a_never_of_people_elsewhere_protects_nobody_here() -> None:
    """The leg that left into a forbidden room does not silence those who stay."""
    calls = (
        call(
            1,
            leg("ann", ("x", 0, 3), ("y", 3, 9)),
            leg("amy", ("x", 0, 9)),
            leg("art", ("x", 0, 9)),
        ),
        call(2, leg("bob", ("y", 3, 9), party="customer")),
    )
    both = [recording(1, 1), recording(2, 2)]
    known = past(both[0], *calls, decisions=[forbids(2, 0, 9)], recordings=both)
    parts = [segment("ann", 0, 3.2), segment("amy", 0, 9), segment("art", 0, 9)]
    assert find_protected(known, parts, WINDOW).forbidden == (span(3, 3.2),)


def test_a_forbidden_person_alone_is_protected() -> None:
    """A caller in a menu, captured while a rule forbade it, is not kept."""
    known = past(recording(1, 1), call(1, leg("cus")), decisions=[forbids(1, 2, 4)])
    assert find_protected(known, [segment("cus", 1, 3)], WINDOW).forbidden == (span(2, 3),)


def test_a_pause_of_anybody_protects_everybody() -> None:
    """A pause covers the people whom the paused person hears, while they are together."""
    pauses = [PeoplePause(UUID(int=3), "main", ("bob",), at(1), "2001", at(5))]
    known = past(recording(1, 1), *CONFERENCE, pauses=pauses)
    assert find_protected(known, [segment("ann", 0, 9)], WINDOW).paused == (span(3, 5),)
    endless = past(recording(1, 1), *CONFERENCE, pauses=[replace(pauses[0], to_at=None)])
    assert find_protected(endless, [segment("ann", 0, 9)], WINDOW).paused == (span(3, 7),)


def test_a_recording_ends_when_its_last_person_leaves() -> None:
    """Its call may be over before; the voice of a supervisor does not make it longer."""
    ours = replace(call(1, leg("ann", ("x", 0, 4))), ended_at=at(4))
    own = segment("ann", 0, 4.1)
    voice = segment(names.build_phone_id(UUID(int=7)), 0, 9)
    assert last_left_at(ours, [own, voice], now=at(9)) == at(4)
    assert last_left_at(ours, [own, segment("bob", 0, 7)], now=at(9)) == at(7)
    running = replace(segment("bob", 0, 7), ended_at=None)
    assert last_left_at(ours, [own, running], now=at(9)) == at(9)


def test_a_member_whom_nobody_hears_is_not_missed() -> None:
    """The time in which a member of a conference was muted, or on hold, is not to be recorded."""
    ours = call(1, leg("ann", ("room", 0, 10)), leg("bob", ("room", 0, 10)))
    known = past(recording(1, 1), ours, quiet={"bob": [(at(2), at(4)), (at(8), None)]})
    assert present(known) == {"ann": [span(0, 10)], "bob": [span(0, 2), span(4, 8)]}
