"""The steps that bring the PBX in line with the state of a recording. Pure.

Every event, every restart and every process makes the same comparison. Making it twice changes
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recorder.calls.legs import is_over, legs_to_capture
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import CallRecord, LegRecord, RecordingRecord, SegmentRecord

# The recording states in which audio is captured: not while paused.
CAPTURING = frozenset({"requested", "recording"})


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """The steps for one recording.

    `check` are segments whose start Asterisk has not confirmed: find out about them first.
    `started_at` is the start of a recording that is still `requested` although a segment has begun.
    `attach` are legs to capture, `voices` channels of supervisors to capture, `detach` segments to
    end. `over` means that the recording ends, because its call is over.
    """

    check: tuple[SegmentRecord, ...]
    started_at: datetime | None
    attach: tuple[LegRecord, ...]
    detach: tuple[SegmentRecord, ...]
    over: bool
    voices: tuple[str, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether no step is left."""
        return self == NOTHING


NOTHING = CapturePlan(check=(), started_at=None, attach=(), detach=(), over=False)


def plan_capture(
    call: CallRecord,
    recording: RecordingRecord,
    segments: Sequence[SegmentRecord],
    voices: Sequence[str] = (),
) -> CapturePlan:
    """Compare the captured channels of a recording with the channels to capture.

    `segments` are all segments of the recording, `voices` the channels of barging supervisors.
    """
    is_capturing = recording.state in CAPTURING and not is_over(call)
    legs = legs_to_capture(call) if is_capturing else ()
    voices = tuple(voices) if is_capturing else ()
    wanted = {leg.id for leg in legs} | set(voices)
    running = [segment for segment in segments if segment.state in RUNNING]
    captured = {segment.channel_id for segment in running}
    starts = [one.started_at for one in segments if one.state in {"recording", "finished"}]
    return CapturePlan(
        check=tuple(segment for segment in segments if segment.state == "requested"),
        started_at=min(starts, default=None) if recording.state == "requested" else None,
        attach=tuple(leg for leg in legs if leg.id not in captured),
        detach=tuple(segment for segment in running if segment.channel_id not in wanted),
        over=recording.state in states.LIVE and is_over(call),
        voices=tuple(voice for voice in voices if voice not in captured),
    )
