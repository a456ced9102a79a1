"""The completeness of recordings: the comparison of an ended call with its recordings. Pure.

A call is whole if its people were recorded whenever they heard anybody, by a recording of any call
in the conversation: where two calls were joined, one recording hears both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recorder.calls.conversations import Talk, talks_of
from recorder.calls.legs import ever_joined_legs, joined_or_created_at, legs_of
from recorder.calls.spans import TimeSpan, intersect, length_s, merge, subtract
from recorder.recording.moments import Courses
from recorder.rules.strength import RECORDS
from storage.records import (
    Assurance,
    CallRecord,
    DecisionRecord,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
)

# A recording begins within 300 ms, and ends with the last frame of a leg.
TOLERANCE_S = 1.0
# The states of recordings without any audio that counts.
WITHOUT_AUDIO = frozenset({"aborted", "failed"})
EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Meeting:
    """An ended call, and the catalogue's rows about all calls that it met, itself included."""

    call: CallRecord
    calls: Mapping[str, CallRecord]
    decisions: Sequence[DecisionRecord] = ()
    recordings: Sequence[RecordingRecord] = ()
    segments: Sequence[SegmentRecord] = ()
    pauses: Sequence[PeoplePause] = ()


def assure(meeting: Meeting) -> Assurance:
    """Compare an ended call with the recordings that heard its people.

    Expect a recording of each talk, from the moment when a rule, or the default, first wanted it.
    Leave out announcements, pauses, the time after a person ended the recording, and the times when
    a rule forbade it. Trust the measured gaps of a stored recording; for any other recording, the
    events of its segments are all we have.
    """
    expected, forbidden = _list_expected(meeting)
    ours = [one for one in meeting.recordings if one.is_by_decision]
    wanted: list[TimeSpan] = []
    missing: list[TimeSpan] = []
    hearing: dict[int, RecordingRecord] = {}
    for leg_ids, span in expected:
        near = [one for one in ours if _times_hearing(meeting, one, leg_ids, span[1])]
        hearing |= {place: one for place, one in enumerate(ours) if one in near}
        left_out = [part for one in near for part in _left_out(one, span[1], forbidden)]
        left_out += [
            (one.ended_at, span[1])
            for one in near
            if one.ended_at is not None and _is_stopped(meeting, one, leg_ids, forbidden)
        ]
        left_out += [
            (one.from_at, one.to_at or span[1])
            for one in meeting.pauses
            if not leg_ids.isdisjoint(one.legs)
        ]
        covered = [
            part
            for one in near
            for heard in _times_hearing(meeting, one, leg_ids, span[1])
            for kept in _covered(meeting, one, span[1])
            if (part := intersect(heard, kept)) is not None
        ]
        due = subtract(span, left_out)
        wanted += due
        missing += [gap for part in due for gap in subtract(part, covered)]
    expected_s, missing_s = length_s(merge(wanted)), length_s(merge(missing))
    cause = None
    if missing_s > TOLERANCE_S:
        cause = _cause_of([hearing[place] for place in sorted(hearing)])
    return Assurance(round(expected_s, 3), round(expected_s - missing_s, 3), cause)


def _list_expected(
    meeting: Meeting,
) -> tuple[list[tuple[frozenset[str], TimeSpan]], list[TimeSpan]]:
    """Return the times to be recorded, with the people of each, and the forbidden times.

    A recording that has begun goes on when a rule merely stops to want it, so its time counts too.
    """
    call = meeting.call
    call_of = {leg.id: one.id for one in meeting.calls.values() for leg in legs_of(one)}
    courses = Courses(meeting.decisions)
    expected: list[tuple[frozenset[str], TimeSpan]] = []
    forbidden: list[TimeSpan] = []
    ours = [one for one in meeting.recordings if one.is_by_decision]
    for talk in _talks_of(meeting):
        ends = [at for at in (talk.to_at, call.ended_at) if at is not None]
        span = talk.from_at, min(ends, default=talk.from_at)
        call_ids = {call_of[leg_id] for leg_id in talk.leg_ids if leg_id in call_of}
        for period in courses.iter_periods(call_ids, *span):
            when = period.from_at, period.to_at
            if period.is_forbidden:
                forbidden.append(when)
            elif period.is_wanted:
                expected.append((talk.leg_ids, when))
            else:
                runs = [
                    part
                    for one in ours
                    for heard in _times_hearing(meeting, one, talk.leg_ids, when[1])
                    if (part := intersect(heard, when)) is not None
                ]
                expected += [(talk.leg_ids, part) for part in merge(runs)]
    return expected, merge(forbidden)


def _talks_of(meeting: Meeting) -> Sequence[Talk]:
    """Return the talks of the call's people.

    Rows of older versions do not say who was with whom: there a talk lasts from the second person's
    joining until the second-last person's leaving.
    """
    call = meeting.call
    own = {leg.id for leg in legs_of(call)}
    if any(leg.stays for leg in call.channels):
        talks = talks_of(meeting.calls.values())
        return [one for one in talks if not own.isdisjoint(one.leg_ids)]
    joined = ever_joined_legs(call)
    if len(joined) < 2:
        return []
    starts = sorted(joined_or_created_at(leg) for leg in joined)
    ends = sorted(leg.left_at or call.ended_at or starts[-1] for leg in joined)
    return [Talk(frozenset(leg.id for leg in joined), starts[1], ends[-2])]


def _times_hearing(
    meeting: Meeting, recording: RecordingRecord, leg_ids: frozenset[str], until: datetime
) -> list[TimeSpan]:
    """Return when a recording had to hear these people: while it ran, if its own call is with them.

    Else it hears them as long as it captures them.
    """
    call = meeting.calls.get(recording.call_id)
    if call is not None and any(leg.id in leg_ids for leg in legs_of(call)):
        return [(recording.started_at or EARLIEST, recording.ended_at or until)]
    return merge(
        (one.started_at, one.ended_at or until)
        for one in meeting.segments
        if one.recording_id == recording.id and one.channel_id in leg_ids
    )


def _left_out(
    recording: RecordingRecord, until: datetime, forbidden: Sequence[TimeSpan]
) -> list[TimeSpan]:
    """Return the spans of pauses and of the announcement."""
    spans = [(pause.from_at, pause.to_at or until) for pause in recording.pauses]
    if recording.announcement is not None and recording.started_at is not None:
        allowed = (to_at for _, to_at in forbidden if to_at <= recording.started_at)
        spans.append((max(allowed, default=EARLIEST), recording.started_at))
    return spans


def _is_stopped(
    meeting: Meeting,
    recording: RecordingRecord,
    leg_ids: frozenset[str],
    forbidden: Sequence[TimeSpan],
) -> bool:
    """Whether a person ended the recording for all of these people whom a rule wants recorded.

    Somebody who comes from another recorded call is recorded nevertheless. Rows of older versions
    do not say who ended a recording: there it was a person, unless it ended while forbidden.
    """
    at, by = recording.ended_at, recording.ended_by
    if at is None or by not in (None, "person"):
        return False
    if by is None and any(from_at <= at <= to_at for from_at, to_at in forbidden):
        return False
    silenced = {one.channel_id for one in meeting.segments if one.recording_id == recording.id}
    decided = {one.call_id: one.action for one in meeting.decisions}
    wanting = [one for one in meeting.calls.values() if decided.get(one.id) in RECORDS]
    present = [one for one in wanting if any(leg.id in leg_ids for leg in legs_of(one))]
    return all(
        one.id == recording.call_id or any(leg.id in silenced for leg in legs_of(one))
        for one in present
    )


def _covered(meeting: Meeting, recording: RecordingRecord, until: datetime) -> list[TimeSpan]:
    """Return the spans with audio: measured, without gaps; or by the events of the segments."""
    start = recording.started_at
    if recording.state in WITHOUT_AUDIO:
        return []
    if recording.state == "stored":
        gaps = [
            (start + timedelta(seconds=gap.from_s), start + timedelta(seconds=gap.to_s))
            for gap in recording.gaps
            if start is not None
        ]
        return subtract((start, recording.ended_at or until), gaps) if start is not None else []
    return [
        (one.started_at, one.ended_at or until)
        for one in meeting.segments
        if one.recording_id == recording.id and one.state != "lost"
    ]


def _cause_of(hearing: Iterable[RecordingRecord]) -> str:
    """Return the reason why audio is missing from these recordings by rules."""
    made = list(hearing)
    if not made:
        return "never-began"
    if any(one.state not in WITHOUT_AUDIO for one in made):
        return "has-gaps"
    return made[-1].reason or made[-1].state
