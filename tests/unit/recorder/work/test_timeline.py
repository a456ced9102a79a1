"""Segments on the time line: offsets, pauses, blank times and gaps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from recorder.audio import Span
from recorder.recording.presence import Past
from recorder.work.fitting import Placement
from recorder.work.timeline import Timeline, build_timeline
from storage.records import (
    CallRecord,
    DecisionRecord,
    Gap,
    LegRecord,
    Pause,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)
from tests.legs import ZERO
from tests.legs import leg as build_leg


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def leg(name: str, joined_s: float, left_s: float | None, **more: Any) -> LegRecord:
    left_at = at(left_s).isoformat() if left_s is not None else None
    return build_leg(name, joined_at=at(joined_s).isoformat(), left_at=left_at, **more)


def segment(channel: str, from_s: float, duration_s: float | None, **more: Any) -> SegmentRecord:
    values: dict[str, Any] = {
        "id": UUID(int=int(from_s * 1000) + len(channel)),
        "recording_id": UUID(int=1),
        "channel_id": channel,
        "side": "right",
        "state": "finished",
        "name": "",
        "started_at": at(from_s),
        "ended_at": at(from_s + (duration_s or 0)),
        "end_cause": "finished",
        "duration_s": duration_s,
    }
    return SegmentRecord(**(values | more))


def timeline(
    legs: list[LegRecord],
    segments: list[SegmentRecord],
    *pauses: Pause,
    ended_s: float | None = 10,
    decisions: Sequence[DecisionRecord] = (),
    people: Sequence[PeoplePause] = (),
    **more: Any,
) -> Timeline:
    call = CallRecord("main-1.0", "main", "ended", "inbound", ZERO, channels=tuple(legs))
    ended_at = at(ended_s) if ended_s is not None else None
    recording = RecordingRecord(
        UUID(int=1), call.id, "main", "captured", "rule", "dual", "opus", "silence", "inbound"
    )
    recording = replace(recording, ended_at=ended_at, pauses=pauses, **more)
    past = Past(recording, {call.id: call}, decisions, pauses=people)
    return build_timeline(past, segments)


PAUSE = Pause(at(4), at(6), "2001")


def test_the_first_segment_is_time_zero() -> None:
    """Offsets count from the earliest segment, not from the request."""
    first, second = segment("a", 2.0, 1, side="left"), segment("bb", 2.5, 1)
    line = timeline([], [first, second])
    assert line.started_at == at(2)
    assert line.placements == (
        Placement(first.id, "left", 0.0, 1.0),
        Placement(second.id, "right", 0.5, 1.0),
    )


@pytest.mark.parametrize(
    ("more", "span_s"),
    [
        ({"end_cause": "finished"}, 2.5),
        ({"end_cause": "stopped"}, 2.5),
        ({"end_cause": "stopped", "ended_at": at(3.45)}, None),
        ({"end_cause": "unobserved"}, None),
        ({"end_cause": "finished", "ended_at": None}, None),
    ],
)
def test_only_an_end_of_known_time_gives_a_length_by_the_clock(
    more: dict[str, Any], span_s: float | None
) -> None:
    """A file is fitted to the clock if Asterisk said when it finished the file, or if we stopped it
    and the difference is more than the inaccuracy of our note.
    """
    parts = [segment("a", 1, 2.4, **({"ended_at": at(3.5)} | more))]
    assert [place.span_s for place in timeline([], parts).placements] == [span_s]


def test_a_whole_capture_has_no_gap() -> None:
    """A leg that was captured from its joining to its end has no gap."""
    assert timeline([leg("a", 0, 10)], [segment("a", 0.04, 9.95)]).gaps == ()


def test_a_hole_between_segments_is_a_gap() -> None:
    """The time between two segments of a leg is a gap, caused by the end of the first one."""
    parts = [segment("a", 0, 4, end_cause="unobserved"), segment("a", 6, 4)]
    assert timeline([leg("a", 0, 10)], parts).gaps == (Gap(4.0, 6.0, "unobserved"),)


def test_the_last_segment_before_a_gap_gives_its_cause() -> None:
    """A gap takes its cause from the segment before it, even one without audio."""
    parts = [
        segment("a", 0, 4, end_cause="pbx-lost"),
        segment("a", 4, None, end_cause="unobserved"),
        segment("a", 7, 3, end_cause="stopped"),
    ]
    assert timeline([leg("a", 0, 10)], parts).gaps == (Gap(4.0, 7.0, "unobserved"),)


def test_a_gap_after_a_segment_without_a_cause_is_not_captured() -> None:
    """A segment that gives no cause explains no gap."""
    parts = [segment("a", 0, 4, end_cause=None), segment("a", 6, 4)]
    assert timeline([leg("a", 0, 10)], parts).gaps == (Gap(4.0, 6.0, "not-captured"),)


@pytest.mark.parametrize(("missing_s", "gaps"), [(0.15, 1), (0.149, 0)])
def test_a_gap_lasts_at_least_150_ms(missing_s: float, gaps: int) -> None:
    """Asterisk needs some tens of milliseconds to resume a capture; that is no gap."""
    parts = [segment("a", 0, 4), segment("a", 4 + missing_s, 6 - missing_s)]
    assert len(timeline([leg("a", 0, 10)], parts).gaps) == gaps


@pytest.mark.parametrize(("missing_s", "gaps"), [(0.3, 1), (0.299, 0)])
def test_a_person_is_captured_within_300_ms(missing_s: float, gaps: int) -> None:
    """The first capture of a person takes longer: only a later one is a gap."""
    parts = [segment("a", missing_s, 10 - missing_s), segment("b", 0, 10)]
    assert len(timeline([leg("a", 0, 10)], parts).gaps) == gaps


def test_gaps_are_in_whole_milliseconds() -> None:
    """Two legs that miss the same time, to a millisecond, make one gap."""
    parts = [segment("a", 0, 4.0004), segment("b", 0, 4.0001), segment("a", 6.0004, 4)]
    parts.append(segment("b", 6.0001, 4))
    line = timeline([leg("a", 0, 10), leg("b", 0, 10)], parts)
    assert line.gaps == (Gap(4.0, 6.0, "finished"),)


def test_gaps_are_in_order_of_time() -> None:
    """The gaps of all legs and of a stalled PBX come in one order, the earliest first."""
    parts = [
        segment("a", 0, 10),
        segment("b", 0, 1, end_cause="unobserved"),
        segment("c", 0, 2, ended_at=at(5)),
        segment("c", 6, 1, end_cause="unobserved"),
    ]
    legs = [leg("c", 0, 10), leg("a", 0, 10), leg("b", 0, 9)]
    assert timeline(legs, parts, PAUSE).gaps == (
        Gap(1.0, 4.0, "pbx-stalled"),
        Gap(6.0, 9.0, "pause"),
        Gap(7.0, 10.0, "unobserved"),
    )


def test_a_pause_is_no_gap() -> None:
    """A paused time is not missing."""
    parts = [segment("a", 0, 4), segment("a", 6, 4)]
    line = timeline([leg("a", 0, 10)], parts, PAUSE)
    assert line.gaps == ()
    assert line.pauses == (Span(4.0, 6.0),)


def test_a_pause_that_never_ended_lasts_to_the_end() -> None:
    """A pause without an end protects everything after it."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 9)], Pause(at(4), None, "2001"))
    assert line.pauses == (Span(4.0, 9.0),)


@pytest.mark.parametrize(
    ("from_s", "to_s", "pause"),
    [(1, 5, Span(0.0, 3.0)), (0, 1.5, Span(0.0, 0.0)), (2.5, 2.75, Span(0.5, 0.75))],
)
def test_a_pause_does_not_begin_before_time_zero(from_s: float, to_s: float, pause: Span) -> None:
    """A pause that began before the first segment begins at time 0."""
    line = timeline([], [segment("a", 2, 8)], Pause(at(from_s), at(to_s), "2001"))
    assert line.pauses == (pause,)
    assert line.blank == (pause,)


def test_a_capture_that_goes_on_into_a_pause_is_blank_there() -> None:
    """The pause alone is blank if the file is as long as the clock says, to usual accuracy."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 9.98, ended_at=at(10))], PAUSE)
    assert line.blank == (Span(pytest.approx(3.98), 6.0),)
    assert line.gaps == ()


@pytest.mark.parametrize(
    ("duration_s", "more", "blank_s", "gap_s"),
    [
        (2, {"end_cause": "stopped"}, 1.0, 1.0),
        (2, {"end_cause": "finished"}, 1.0, 1.0),
        (2, {"end_cause": "unobserved"}, 4.0, 2.0),
        (2, {"end_cause": "stopped", "ended_at": at(4)}, 4.0, 2.0),
        (2, {"end_cause": "stopped", "ended_at": None}, 4.0, 2.0),
    ],
    ids=["stopped", "finished", "unobserved", "ended-before", "no-end"],
)
def test_a_stalled_pbx_makes_the_time_before_a_pause_blank(
    duration_s: float | None, more: dict[str, Any], blank_s: float, gap_s: float
) -> None:
    """A file 3 s shorter than the clock may hold the pause's first words 3 s too early.

    Only if it went on into the pause, and only if its end was timed.
    """
    parts = [segment("a", 0, duration_s, **({"ended_at": at(5)} | more)), segment("a", 6, 4)]
    line = timeline([leg("a", 0, 10)], parts, PAUSE)
    assert line.blank == (Span(blank_s, 6.0),)
    assert line.pauses == (Span(4.0, 6.0),)
    assert [(gap.from_s, gap.to_s) for gap in line.gaps] == [(gap_s, 4.0)]


@pytest.mark.parametrize("from_s", [6.0, 7.0])
def test_a_segment_after_a_pause_leaves_the_time_before_it_audible(from_s: float) -> None:
    """A short file that starts after the pause can hold no word of the pause."""
    parts = [segment("a", 0, 4), segment("a", from_s, 1, ended_at=at(10))]
    assert timeline([leg("a", 0, 4)], parts, PAUSE).blank == (Span(4.0, 6.0),)


def test_the_longest_missing_time_of_all_legs_is_blank() -> None:
    """Blank time is common to all legs, so the leg that misses most decides, first or not."""
    parts = [
        segment("a", 0, 4.5, ended_at=at(5)),
        segment("b", 1, 2, ended_at=at(5)),
        segment("c", 0, 4, ended_at=at(5)),
    ]
    line = timeline([leg("a", 0, 5), leg("b", 1, 5), leg("c", 0, 5)], parts, PAUSE)
    assert line.blank == (Span(2.0, 6.0),)
    assert line.gaps == (Gap(2.0, 4.0, "pbx-stalled"),)


@pytest.mark.parametrize(("stall_s", "gaps"), [(0.15, 1), (0.149, 0)])
def test_a_stall_is_a_gap_from_150_ms(stall_s: float, gaps: int) -> None:
    """A shorter stall is within the usual accuracy of a file."""
    parts = [segment("a", 0, 5 - stall_s, ended_at=at(5)), segment("a", 6, 4)]
    pause = Pause(at(stall_s), at(6), "2001")
    assert len(timeline([leg("a", 0, 10)], parts, pause).gaps) == gaps


def test_blank_time_does_not_begin_before_time_zero() -> None:
    """A file may miss more than there is before the pause."""
    parts = [segment("a", 0, 1, ended_at=at(8))]
    assert timeline([leg("a", 0, 8)], parts, PAUSE).blank == (Span(0.0, 6.0),)


def test_a_leg_is_missed_only_while_it_is_in_the_conversation() -> None:
    """After a transfer neither the leg that left nor the leg that came later has a gap."""
    legs = [leg("a", 0, 4), leg("b", 5, 10)]
    assert timeline(legs, [segment("a", 0, 4), segment("b", 5, 5)]).gaps == ()


def test_a_leg_that_has_not_joined_is_not_missed() -> None:
    """A leg that only rang has no gap; the legs after it are still searched."""
    rang = build_leg("a", joined=False)
    line = timeline([rang, leg("b", 1, 10)], [segment("c", 0, 10)])
    assert line.gaps == (Gap(1.0, 10.0, "not-captured"),)


def test_a_leg_is_missed_from_time_zero_on() -> None:
    """A leg that joined before the first segment is missed from time 0, not from before."""
    line = timeline([leg("a", -3, 10)], [segment("b", 0, 10)])
    assert line.gaps == (Gap(0.0, 10.0, "not-captured"),)


@pytest.mark.parametrize(("left_s", "ended_s", "to_s"), [(None, 8, 8), (9, 8, 8), (7, 8, 7)])
def test_a_gap_ends_with_the_recording_or_the_leg(
    left_s: float | None, ended_s: float | None, to_s: float
) -> None:
    """A leg is missed until it left or the recording ended, whichever came first."""
    line = timeline([leg("a", 0, left_s)], [segment("a", 0, 5)], ended_s=ended_s)
    assert line.gaps == (Gap(5.0, to_s, "finished"),)


def test_without_any_end_the_files_say_how_long_a_leg_is_missed() -> None:
    """If neither the end of the leg nor of the recording is known, the last file ends the gap."""
    line = timeline([leg("a", 0, None)], [segment("b", 0, 5)], ended_s=None)
    assert line.gaps == (Gap(0.0, 5.0, "not-captured"),)


def test_a_crash_of_the_pbx_is_a_gap() -> None:
    """The audio that the PBX had not written when it crashed is a gap at the end."""
    parts = [segment("a", 0, 8.19, end_cause="pbx-lost", ended_at=at(9.3))]
    line = timeline([leg("a", 0, 9.3)], parts, ended_s=9.3)
    assert line.gaps == (Gap(8.19, 9.3, "pbx-lost"),)


@pytest.mark.parametrize("captured", ["a", "b"])
def test_no_gap_is_claimed_at_an_unseen_end(captured: str) -> None:
    """If nobody saw a leg leave, its files say how long it stayed."""
    line = timeline([leg("a", 0, 60, vanished=True)], [segment(captured, 0, 8)], ended_s=60)
    assert line.gaps == ()


def test_a_leg_that_was_never_captured_is_a_gap() -> None:
    """A leg that joined and was not captured at all is missed the whole time."""
    line = timeline([leg("a", 0, 10), leg("b", 1, 10)], [segment("a", 0, 10)])
    assert line.gaps == (Gap(1.0, 10.0, "not-captured"),)


def test_a_segment_without_a_length_is_empty() -> None:
    """A segment whose file was not measured covers no time."""
    line = timeline([leg("a", 0, 1)], [segment("a", 0, None), segment("b", 0, 1)])
    assert line.gaps == (Gap(0.0, 1.0, "finished"),)


# The start


@pytest.mark.parametrize(
    ("promised_s", "zero_s", "gaps"),
    [
        (None, 2, ()),
        (2, 2, ()),
        (1.71, 2, ()),
        (1.7, 1.7, (Gap(0.0, 0.3, "not-captured"),)),
        (0.5, 0.5, (Gap(0.0, 1.5, "not-captured"),)),
        (-5, 0, (Gap(0.0, 2.0, "not-captured"),)),
        (4, 2, ()),
    ],
    ids=["unknown", "at-once", "usual", "late", "later", "before-anybody", "odd"],
)
def test_a_lost_start_is_a_gap(
    promised_s: float | None, zero_s: float, gaps: tuple[Gap, ...]
) -> None:
    """Time 0 is where the first sample was due: when it was promised and somebody was there."""
    promised = {"promised_at": at(promised_s)} if promised_s is not None else {}
    parts = [segment("a", 2, 8), segment("b", 2, 8)]
    line = timeline([leg("a", 0, 10), leg("b", 0, 10)], parts, **promised)
    assert (line.started_at, line.gaps) == (at(zero_s), gaps)
    assert line.placements[0].offset_s == pytest.approx(2 - zero_s)


def test_an_announced_recording_starts_with_its_first_sample() -> None:
    """Nobody misses the time of the announcement."""
    parts = [segment("a", 5, 5)]
    line = timeline([leg("a", 0, 10)], parts, promised_at=at(0), announcement="sound:x")
    assert (line.started_at, line.gaps) == (at(5), ())


# Ends and resumes


@pytest.mark.parametrize(
    ("late_s", "gaps"), [(0.14, ()), (0.5, (Gap(6.0, 6.5, "pause"),)), (4, (Gap(6, 10, "pause"),))]
)
def test_a_slow_resume_is_told_as_the_pause(late_s: float, gaps: tuple[Gap, ...]) -> None:
    """The time that the resume lost was lost by the pause, whatever ended the capture before."""
    parts = [
        segment("a", 0, 4.01, end_cause="stopped", ended_at=at(4.01)),
        segment("a", 6 + late_s, 4 - late_s),
    ]
    assert timeline([leg("a", 0, 10)], parts, PAUSE).gaps == gaps


def test_a_stretched_file_leaves_no_gap() -> None:
    """A file 1.4 % shorter than its time is stretched, and its end is no gap."""
    parts = [
        segment("a", 0, 19.72, ended_at=at(20)),
        segment("b", 0, 19.72, end_cause="stopped", ended_at=at(20)),
    ]
    line = timeline([leg("a", 0, 20), leg("b", 0, 20)], parts, ended_s=20)
    assert line.gaps == ()
    assert [place.span_s for place in line.placements] == [20, 20]


def test_an_end_is_told_once() -> None:
    """Two captures that a quick hang-up ends at about the same time make one gap."""
    parts = [
        segment("a", 0, 9.5, end_cause="finished", ended_at=None),
        segment("b", 0, 9.4, end_cause="unobserved"),
    ]
    line = timeline([leg("a", 0, 9.9), leg("b", 0, 10)], parts)
    assert line.gaps == (Gap(9.4, 10.0, "unobserved"),)


def test_a_sliver_between_two_gaps_joins_them() -> None:
    """A capture of hardly any sound, made while the leg hung up, does not make two gaps of one."""
    parts = [
        segment("a", 0, 9, end_cause="unobserved"),
        segment("a", 9.5, 0.1),
        segment("b", 0, 10),
    ]
    line = timeline([leg("a", 0, 9.9), leg("b", 0, 10)], parts)
    assert line.gaps == (Gap(9.0, 9.9, "unobserved"),)


# Files that were written too slowly


def test_a_file_that_is_too_slow_is_fitted_and_told() -> None:
    """A file twice as long as its time is played in its time, and all of it is a gap."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 20, ended_at=at(10))])
    assert line.placements == (Placement(UUID(int=1), "right", 0.0, 10.0),)
    assert line.gaps == (Gap(0.0, 10.0, "wrong-speed"),)


@pytest.mark.parametrize(
    ("length_s", "changed_s"),
    [(20, 5), (19.8, 5.1), (18, 6), (15, 5), (50, 2), (16, 4)],
    ids=["three-times", "a-little-later", "earlier", "twice", "six-times", "twice-or-three-times"],
)
def test_only_the_part_after_a_change_is_too_slow(length_s: float, changed_s: float) -> None:
    """Only the rest after a transfer is played faster, if a factor between codecs explains it."""
    stays = [[name, at(from_s).isoformat(), at(to_s).isoformat()] for name, from_s, to_s in STAYS]
    line = timeline([leg("a", 0, 10, stays=stays)], [segment("a", 0, length_s, ended_at=at(10))])
    assert line.placements == (
        Placement(
            UUID(int=1), "right", 0.0, pytest.approx(changed_s), to_s=pytest.approx(changed_s)
        ),
        Placement(
            UUID(int=1),
            "right",
            pytest.approx(changed_s),
            pytest.approx(10 - changed_s),
            from_s=pytest.approx(changed_s),
        ),
    )
    assert line.gaps == (Gap(changed_s, 10.0, "wrong-speed"),)


@pytest.mark.parametrize("length_s", [13, 25, 35])
def test_a_slow_file_without_a_change_is_fitted_as_a_whole(length_s: float) -> None:
    """All of the file is played faster, if no factor between codecs explains its length."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, length_s, ended_at=at(10))])
    assert line.placements == (Placement(UUID(int=1), "right", 0.0, 10.0),)


STAYS = (("x", 0.1, 2), ("y", 2, 4), ("v", 4, 5), ("z", 5, 6), ("w", 6, 9.9), ("u", 9.9, 10))


def test_nothing_before_a_pause_is_sure_in_a_file_that_is_too_slow() -> None:
    """Its words may lie anywhere, so all of a slow file that reaches a pause is blank."""
    line = timeline([leg("a", 0, 10)], [segment("a", 0, 15, ended_at=at(5))], PAUSE)
    assert line.blank == (Span(0.0, 6.0),)


@pytest.mark.parametrize(
    ("length_s", "more", "span_s"),
    [
        (11, {"end_cause": "stopped"}, None),
        (13, {"end_cause": "stopped"}, 10),
        (11, {"end_cause": "finished"}, 10),
        (13, {"end_cause": "unobserved"}, None),
    ],
)
def test_only_a_sure_end_shows_that_a_file_is_too_slow(
    length_s: float, more: dict[str, Any], span_s: float | None
) -> None:
    """Our clock may differ from the PBX's: a stopped file must be far too long."""
    parts = [segment("a", 0, length_s, ended_at=at(10), **more)]
    assert [place.span_s for place in timeline([leg("a", 0, 10)], parts).placements] == [span_s]


# Words that nobody may keep


def forbidden(from_s: float, to_s: float | None = None) -> DecisionRecord:
    rule = {"id": "r", "version": 1, "name": "r"}
    moments = [{"at": at(from_s).isoformat(), "action": "never", "rule": rule}]
    if to_s is not None:
        moments.append({"at": at(to_s).isoformat(), "action": "record", "rule": rule})
    return DecisionRecord("main-1.0", "never", rule, "", tuple(moments))


def test_a_capture_that_goes_on_although_forbidden_is_blank_there() -> None:
    """The end of a recording that a rule stopped is blank from the PBX's time of the rule on."""
    parts = [segment("a", 0, 5.03), segment("b", 0, 5.04)]
    line = timeline([leg("a", 0, 9), leg("b", 0, 9)], parts, ended_s=5.04, decisions=[forbidden(5)])
    assert line.blank == (Span(5.0, 5.04),)
    assert line.gaps == (Gap(5.0, 5.04, "forbidden"),)
    assert line.pauses == ()


def test_a_stalled_pbx_reveals_nothing_forbidden() -> None:
    """A file 1 s shorter than its time may hold forbidden words 1 s too early."""
    parts = [segment("a", 0, 5, ended_at=at(6))]
    line = timeline([leg("a", 0, 10)], parts, ended_s=6, decisions=[forbidden(5)])
    assert line.blank == (Span(4.0, 6.0),)
    assert line.gaps == (Gap(4.0, 5.0, "pbx-stalled"), Gap(5.0, 6.0, "forbidden"))


def test_the_time_after_a_forbidden_one_has_its_cause() -> None:
    """The time until the capture goes on was lost to the rule."""
    parts = [segment("a", 0, 4), segment("a", 6.5, 3.5)]
    line = timeline([leg("a", 0, 10)], parts, decisions=[forbidden(4, 6)])
    assert line.gaps == (Gap(4.0, 6.5, "forbidden"),)


def test_a_decision_before_the_recording_protects_nothing_in_it() -> None:
    """A recording that starts when the rule ends is whole."""
    line = timeline([leg("a", 0, 10)], [segment("a", 3, 7)], decisions=[forbidden(0, 3)])
    assert (line.blank, line.gaps) == ((), ())


@pytest.mark.parametrize(("from_s", "gaps"), [(4, ()), (3.9, ()), (3, (Gap(3.0, 4.0, "pause"),))])
def test_a_pause_of_a_person_is_blank_before_its_row_came(
    from_s: float, gaps: tuple[Gap, ...]
) -> None:
    """A recording that is paused late keeps nothing of the pause of its people."""
    people = [PeoplePause(UUID(int=2), "main", ("a",), at(from_s), "2001", at(6))]
    parts = [segment("a", 0, 4), segment("a", 6, 4)]
    line = timeline([leg("a", 0, 10)], parts, PAUSE, people=people)
    assert line.pauses == (Span(4.0, 6.0),)
    assert min(span.from_s for span in line.blank) == from_s
    assert line.gaps == gaps
