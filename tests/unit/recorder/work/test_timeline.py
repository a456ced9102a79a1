"""Where segments lie, and what is called a gap."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.work.timeline import Timeline, build_timeline, subtract
from storage.records import CallRecord, Gap, LegRecord, Pause, RecordingRecord, SegmentRecord
from tests.legs import ZERO
from tests.legs import leg as build_leg


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def leg(name: str, joined_s: float, left_s: float | None, **more: Any) -> LegRecord:
    left_at = at(left_s).isoformat() if left_s is not None else None
    return build_leg(name, joined_at=at(joined_s).isoformat(), left_at=left_at, **more)


def segment(channel: str, from_s: float, duration_s: float, **more: Any) -> SegmentRecord:
    values: dict[str, Any] = {
        "id": UUID(int=int(from_s * 1000) + len(channel)),
        "recording_id": UUID(int=1),
        "channel_id": channel,
        "side": "right",
        "state": "finished",
        "name": "",
        "started_at": at(from_s),
        "ended_at": at(from_s + duration_s),
        "end_cause": "finished",
        "duration_s": duration_s,
    }
    return SegmentRecord(**(values | more))


def timeline(
    legs: list[LegRecord], segments: list[SegmentRecord], *pauses: Pause, ended_s: float = 10
) -> Timeline:
    call = CallRecord("main-1.0", "main", "ended", "inbound", ZERO, channels=tuple(legs))
    recording = RecordingRecord(
        UUID(int=1),
        call.id,
        "main",
        "captured",
        "rule",
        "dual",
        "opus",
        "silence",
        "inbound",
        ended_at=at(ended_s),
        pauses=pauses,
    )
    return build_timeline(recording, call, segments)


PAUSE = Pause(at(4), at(6), "2001")


def test_the_first_segment_is_time_zero() -> None:
    """Offsets count from the earliest segment, not from the request."""
    line = timeline([], [segment("b", 2.5, 1), segment("a", 2.0, 1)])
    assert line.started_at == at(2)
    assert [place.offset_s for place in line.placements] == [0.5, 0.0]


def test_a_whole_capture_has_no_gap() -> None:
    """A leg that was heard from its joining to its end misses nothing."""
    assert timeline([leg("a", 0, 10)], [segment("a", 0.04, 9.95)]).gaps == ()


def test_a_hole_between_segments_is_a_gap() -> None:
    """What lies between two segments of a leg that was there is missing, and the cause is told."""
    parts = [segment("a", 0, 4, end_cause="unobserved"), segment("a", 6, 4)]
    assert timeline([leg("a", 0, 10)], parts).gaps == (Gap(4.0, 6.0, "unobserved"),)


def test_a_pause_is_no_gap() -> None:
    """Nobody misses what was paused."""
    parts = [segment("a", 0, 4), segment("a", 6, 4)]
    line = timeline([leg("a", 0, 10)], parts, Pause(at(4), at(6), "2001"))
    assert line.gaps == ()
    assert line.pauses == ((4.0, 6.0),)


def test_a_pause_that_never_ended_lasts_to_the_end() -> None:
    """A pause without an end protects everything that follows."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 9)], Pause(at(4), None, "2001"))
    assert line.pauses == ((4.0, 9.0),)


def test_a_capture_that_goes_on_into_a_pause_is_hushed_there() -> None:
    """Where its file is as long as the clock says, the pause alone, to a file's usual accuracy."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 9.98, ended_at=at(10))], PAUSE)
    assert line.hushed == ((pytest.approx(3.98), 6.0),)
    assert line.gaps == ()


@pytest.mark.parametrize(
    ("more", "hushed_s", "gap_s"),
    [
        ({"end_cause": "stopped"}, 1.0, 1.0),
        ({"end_cause": "finished"}, 1.0, 1.0),
        ({"end_cause": "unobserved"}, 4.0, 2.0),
        ({"end_cause": "stopped", "ended_at": at(4)}, 4.0, 2.0),
    ],
    ids=["stopped", "finished", "unobserved", "ended-before"],
)
def test_a_pbx_that_stood_still_is_hushed_before_the_pause(
    more: dict[str, Any], hushed_s: float, gap_s: float
) -> None:
    """A file 3 s shorter than the clock may hold the pause's first words 3 s too early.

    Only if it went on into the pause, and only if its end was timed.
    """
    parts = [segment("a", 0, 2, **({"ended_at": at(5)} | more)), segment("a", 6, 4)]
    line = timeline([leg("a", 0, 10)], parts, PAUSE)
    assert line.hushed == ((hushed_s, 6.0),)
    assert line.pauses == ((4.0, 6.0),)
    assert [(gap.from_s, gap.to_s) for gap in line.gaps] == [(gap_s, 4.0)]


def test_a_leg_that_left_is_not_missed() -> None:
    """After a transfer, the one who left is no gap, nor the one who had not come yet."""
    legs = [leg("a", 0, 4), leg("b", 5, 10)]
    assert timeline(legs, [segment("a", 0, 4), segment("b", 5, 5)]).gaps == ()


def test_a_crash_of_the_pbx_is_told() -> None:
    """What the PBX had not written when it died is a gap at the end."""
    parts = [segment("a", 0, 8.19, end_cause="pbx-lost", ended_at=at(9.3))]
    line = timeline([leg("a", 0, 9.3)], parts, ended_s=9.3)
    assert line.gaps == (Gap(8.19, 9.3, "pbx-lost"),)


def test_nothing_is_claimed_of_an_end_that_nobody_saw() -> None:
    """Where the end of a leg went unseen, its file says how long it lasted."""
    line = timeline([leg("a", 0, 60, vanished=True)], [segment("a", 0, 8)], ended_s=60)
    assert line.gaps == ()


def test_a_leg_that_was_never_captured_is_a_gap() -> None:
    """Somebody who talked and was not recorded at all is missed the whole time."""
    line = timeline([leg("a", 0, 10), leg("b", 1, 10)], [segment("a", 0, 10)])
    assert line.gaps == (Gap(1.0, 10.0, "not-captured"),)


spans = st.tuples(st.floats(0, 100, allow_nan=False), st.floats(0.1, 20, allow_nan=False)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@given(spans, st.lists(spans, max_size=8), st.floats(0, 120, allow_nan=False))
def test_subtract_leaves_exactly_the_uncovered(
    span: tuple[float, float], covered: list[tuple[float, float]], probe: float
) -> None:
    """A moment is in the rest if and only if it is in the span and in no interval."""
    edges = [edge for one in [span, *covered] for edge in one]
    if any(abs(probe - edge) < 1e-9 for edge in edges):
        return
    inside = span[0] < probe < span[1] and not any(low < probe < high for low, high in covered)
    assert any(low < probe < high for low, high in subtract(span, covered)) is inside


@pytest.mark.parametrize("covered", [[(0.0, 10.0)], [(0.0, 5.0), (5.0, 10.0)]])
def test_subtract_of_everything_is_nothing(covered: list[tuple[float, float]]) -> None:
    """What is wholly covered leaves no rest."""
    assert [rest for rest in subtract((0.0, 10.0), covered) if rest[1] > rest[0]] == []
