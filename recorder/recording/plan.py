"""What has to change at the PBX so that a recording is what its state says. Pure.

The same question is asked after every event, after every restart and by every process; asking
twice changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recorder.calls.legs import is_over, legs_to_capture
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import CallRecord, LegRecord, RecordingRecord, SegmentRecord

# The states in which audio is captured: not while paused.
CAPTURING = frozenset({"requested", "recording"})


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What there is to do.

    `ask` are segments of which it is not known whether Asterisk began them; `begun_at` is when the
    first segment began of a recording that is `requested` still; `attach` are legs to begin
    capturing, `voices` channels of supervisors, `detach` segments to end; `over` says that the
    recording is.
    """

    ask: tuple[SegmentRecord, ...]
    begun_at: datetime | None
    attach: tuple[LegRecord, ...]
    detach: tuple[SegmentRecord, ...]
    over: bool
    voices: tuple[str, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do."""
        return self == NOTHING


NOTHING = CapturePlan(ask=(), begun_at=None, attach=(), detach=(), over=False)


def plan_capture(
    call: CallRecord,
    recording: RecordingRecord,
    segments: Sequence[SegmentRecord],
    voices: Sequence[str] = (),
) -> CapturePlan:
    """Hold what should be captured against what is.

    `voices` are the channels of supervisors whom everybody in the call hears.
    """
    captures = recording.state in CAPTURING and not is_over(call)
    legs = legs_to_capture(call) if recording.state in CAPTURING else ()
    speaking = tuple(voices) if captures else ()
    running = [segment for segment in segments if segment.state in RUNNING]
    captured = {segment.channel_id for segment in running}
    wanted = {leg.id for leg in legs} | set(speaking)
    return CapturePlan(
        ask=tuple(segment for segment in segments if segment.state == "requested"),
        begun_at=_begun_at(segments) if recording.state == "requested" else None,
        attach=tuple(leg for leg in legs if leg.id not in captured),
        detach=tuple(segment for segment in running if segment.channel_id not in wanted),
        over=recording.state in states.LIVE and is_over(call),
        voices=tuple(voice for voice in speaking if voice not in captured),
    )


def _begun_at(segments: Sequence[SegmentRecord]) -> datetime | None:
    begun = [one.started_at for one in segments if one.state in {"recording", "finished"}]
    return min(begun, default=None)
