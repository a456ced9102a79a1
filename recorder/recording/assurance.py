"""Whether what should have been recorded of a call was. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from recorder.calls.legs import legs_of
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
    """Hold an ended call against its recordings.

    Of a stored recording the files are believed, of another the events. Expected is from the moment
    at which a rule, or the default, said so, as far as two people talked, until the call ended or a
    person ended the recording; less announcements, pauses, and while a rule forbade it.
    """
    expected = _expected(call, decision)
    if expected is None:
        return Assurance(0.0, 0.0, None)
    ours = [one for one in recordings if one.trigger == "rule"]
    forbidden = _forbidden(decision, expected[1])
    left_out = [span for one in ours for span in _left_out(one, expected[1], forbidden)]
    wanted = _subtract(expected, forbidden + left_out)
    kept = {one.id for one in ours if one.state not in ("aborted", "failed")}
    measured = [one for one in ours if one.state == "stored"]
    heard = [span for one in measured for span in _measured(one, expected[1])]
    heard += [
        (one.started_at, one.ended_at or expected[1])
        for one in segments
        if one.recording_id in kept - {one.id for one in measured} and one.state != "lost"
    ]
    expected_s = _length(wanted)
    covered_s = sum(_overlap(span, _union(heard)) for span in wanted)
    short = expected_s - covered_s > TOLERANCE_S
    return Assurance(
        round(expected_s, 3), round(covered_s, 3), _cause(ours, kept) if short else None
    )


def is_ended_by_rule(recording: RecordingRecord, decision: DecisionRecord) -> bool:
    """Whether it ended because a rule came to forbid it, not by a person or with its call."""
    ended_at = recording.ended_at
    return ended_at is not None and _is_in(ended_at, _forbidden(decision, ended_at))


def _forbidden(decision: DecisionRecord, ended: datetime) -> list[Span]:
    """While which a rule said never."""
    began = [datetime.fromisoformat(one["at"]) for one in decision.moments]
    return [
        (from_at, to_at)
        for one, from_at, to_at in zip(decision.moments, began, [*began[1:], ended], strict=False)
        if one["action"] == "never" and one["rule"] is not None
    ]


def _is_in(at: datetime, spans: Iterable[Span]) -> bool:
    return any(from_at <= at <= to_at for from_at, to_at in spans)


def _expected(call: CallRecord, decision: DecisionRecord) -> Span | None:
    said = [one for one in decision.moments if one["action"] in KEPT_ACTIONS]
    talk = _conversation(call)
    forbidden = decision.action == "never" and decision.rule is not None
    if not said or talk is None or forbidden:
        return None
    began = max(datetime.fromisoformat(said[0]["at"]), talk[0])
    return (began, talk[1]) if began < talk[1] else None


def _conversation(call: CallRecord) -> Span | None:
    """From when the second had joined until the second last had left."""
    joined = [leg for leg in legs_of(call) if leg.joined_at is not None]
    begins = sorted(leg.joined_at for leg in joined if leg.joined_at is not None)
    ends = sorted(leg.left_at or call.ended_at or begins[-1] for leg in joined)
    if len(begins) < 2:
        return None
    return begins[1], ends[-2]


def _left_out(recording: RecordingRecord, ended: datetime, forbidden: Sequence[Span]) -> list[Span]:
    """The announcement, pauses, and what followed when a person ended the recording."""
    spans = [(pause.from_at, pause.to_at or ended) for pause in recording.pauses]
    began_at, ended_at = recording.started_at, recording.ended_at
    if recording.announcement is not None and began_at is not None:
        earliest = datetime.min.replace(tzinfo=UTC)
        allowed = (to_at for _, to_at in forbidden if to_at <= began_at)
        spans.append((max(allowed, default=earliest), began_at))
    if ended_at is not None and ended_at < ended and not _is_in(ended_at, forbidden):
        spans.append((ended_at, ended))
    return spans


def _measured(recording: RecordingRecord, ended: datetime) -> list[Span]:
    """What the files hold: all but the gaps that were measured when they were joined."""
    if recording.started_at is None:
        return []
    whole = (recording.started_at, recording.ended_at or ended)
    gaps = [
        (
            whole[0] + timedelta(seconds=gap.from_s),
            whole[0] + timedelta(seconds=gap.to_s),
        )
        for gap in recording.gaps
    ]
    return _subtract(whole, gaps)


def _cause(ours: Sequence[RecordingRecord], kept: Iterable[object]) -> str:
    if not ours:
        return "never-began"
    return "has-gaps" if kept else ours[-1].reason or ours[-1].state


def _subtract(whole: Span, parts: Iterable[Span]) -> list[Span]:
    found, at = [], whole[0]
    for from_at, to_at in _union(parts):
        if from_at > at:
            found.append((at, min(from_at, whole[1])))
        at = max(at, to_at)
    if at < whole[1]:
        found.append((at, whole[1]))
    return [span for span in found if span[0] < span[1]]


def _union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for from_at, to_at in sorted(spans):
        if found and from_at <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to_at))
        else:
            found.append((from_at, to_at))
    return found


def _overlap(span: Span, others: Iterable[Span]) -> float:
    shared = (min(span[1], to_at) - max(span[0], from_at) for from_at, to_at in others)
    return sum(one.total_seconds() for one in shared if one > timedelta())


def _length(spans: Iterable[Span]) -> float:
    return sum((to_at - from_at).total_seconds() for from_at, to_at in spans)
