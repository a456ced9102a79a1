"""The completeness of recordings: the comparison of an ended call with its recordings. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from recorder.calls.legs import ever_joined_legs, joined_or_created_at
from storage.records import Assurance, CallRecord, DecisionRecord, RecordingRecord, SegmentRecord

KEPT_ACTIONS = ("force", "record")
# A recording begins within 300 ms, and ends with the last frame of a leg.
TOLERANCE_S = 1.0

Span = tuple[datetime, datetime]


def assure(
    call: CallRecord,
    decision: DecisionRecord,
    recordings: Sequence[RecordingRecord],
    segments: Iterable[SegmentRecord],
) -> Assurance:
    """Compare an ended call with its recordings.

    Expect a recording of the conversation, from the moment when a rule, or the default, first
    wanted it. Leave out announcements, pauses, the time after a person ended the recording, and the
    times when a rule forbade it. Trust the measured gaps of a stored recording; for any other
    recording, the events of its segments are all we have.
    """
    expected = _expected(call, decision)
    if expected is None:
        return Assurance(0.0, 0.0, None)
    ended_at = expected[1]
    ours = [one for one in recordings if one.trigger == "rule"]
    forbidden = _forbidden(decision, ended_at)
    left_out = [span for one in ours for span in _left_out(one, ended_at, forbidden)]
    wanted = _subtract(expected, forbidden + left_out)
    stored = [one for one in ours if one.state == "stored"]
    unmeasured = {one.id for one in ours if one.state not in ("stored", "aborted", "failed")}
    covered = [span for one in stored for span in _measured(one, ended_at)]
    covered += [
        (one.started_at, one.ended_at or ended_at)
        for one in segments
        if one.recording_id in unmeasured and one.state != "lost"
    ]
    expected_s = _length_s(wanted)
    missing_s = _length_s(gap for span in wanted for gap in _subtract(span, covered))
    cause = None
    if missing_s > TOLERANCE_S:
        if not ours:
            cause = "never-began"
        else:
            cause = "has-gaps" if stored or unmeasured else ours[-1].reason or ours[-1].state
    return Assurance(round(expected_s, 3), round(expected_s - missing_s, 3), cause)


def is_ended_by_rule(recording: RecordingRecord, decision: DecisionRecord) -> bool:
    """Whether a rule ended the recording; not a person, nor the end of its call."""
    ended_at = recording.ended_at
    return ended_at is not None and _is_in(ended_at, _forbidden(decision, ended_at))


def _forbidden(decision: DecisionRecord, ended_at: datetime) -> list[Span]:
    """Return the spans in which a rule forbade recording."""
    times = [*(datetime.fromisoformat(one["at"]) for one in decision.moments), ended_at]
    return [
        (times[place], times[place + 1])
        for place, one in enumerate(decision.moments)
        if one["action"] == "never" and one["rule"] is not None
    ]


def _is_in(at: datetime, spans: Iterable[Span]) -> bool:
    return any(from_at <= at <= to_at for from_at, to_at in spans)


def _expected(call: CallRecord, decision: DecisionRecord) -> Span | None:
    """Return the span to record; None if no rule wanted it, nobody talked, or the end is forbidden.

    A conversation lasts from the second person's joining until the second-last person's leaving.
    """
    wanted = [one for one in decision.moments if one["action"] in KEPT_ACTIONS]
    is_forbidden = decision.action == "never" and decision.rule is not None
    joined = ever_joined_legs(call)
    if not wanted or is_forbidden or len(joined) < 2:
        return None
    starts = sorted(joined_or_created_at(leg) for leg in joined)
    ends = sorted(leg.left_at or call.ended_at or starts[-1] for leg in joined)
    return max(datetime.fromisoformat(wanted[0]["at"]), starts[1]), ends[-2]


def _left_out(
    recording: RecordingRecord, ended_at: datetime, forbidden: Sequence[Span]
) -> list[Span]:
    """Return the spans of pauses, of the announcement, and after a person ended the recording."""
    spans = [(pause.from_at, pause.to_at or ended_at) for pause in recording.pauses]
    if recording.announcement is not None and recording.started_at is not None:
        earliest = datetime.min.replace(tzinfo=UTC)
        allowed = (to_at for _, to_at in forbidden if to_at <= recording.started_at)
        spans.append((max(allowed, default=earliest), recording.started_at))
    stopped_at = recording.ended_at
    if stopped_at is not None and not _is_in(stopped_at, forbidden):
        spans.append((stopped_at, ended_at))
    return spans


def _measured(recording: RecordingRecord, ended_at: datetime) -> list[Span]:
    """Return the spans with audio: the whole recording without its measured gaps."""
    start = recording.started_at
    if start is None:
        return []
    gaps = (
        (start + timedelta(seconds=gap.from_s), start + timedelta(seconds=gap.to_s))
        for gap in recording.gaps
    )
    return _subtract((start, recording.ended_at or ended_at), gaps)


def _subtract(whole: Span, parts: Iterable[Span]) -> list[Span]:
    """Return the spans of `whole` that no part covers; parts may overlap."""
    left, at = [], whole[0]
    for from_at, to_at in sorted(parts):
        left.append((at, min(from_at, whole[1])))
        at = max(at, to_at)
    left.append((at, whole[1]))
    return [span for span in left if span[0] < span[1]]


def _length_s(spans: Iterable[Span]) -> float:
    return sum((to_at - from_at).total_seconds() for from_at, to_at in spans)
