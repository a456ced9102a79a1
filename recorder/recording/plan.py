"""The steps that bring the PBX in line with the state of a recording. Pure.

Every event, every restart and every process makes the same comparison. Making it twice changes
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from recorder.recording.coverage import Coverage
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import RecordingRecord, SegmentRecord, Side

# The recording states in which audio is captured: not while paused.
CAPTURING = frozenset({"requested", "recording"})


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """The steps for one recording.

    `check` are segments whose start Asterisk has not confirmed: find out about them first.
    `started_at` is the start of a recording that is still `requested` although a segment has begun.
    `pauses` and `resumes` say that its people were paused, or resumed, by another recording.
    `attach` are channels to capture, each with its side, `voices` channels of supervisors to
    capture, `detach` segments to end. `ends` means that the recording ends.
    """

    check: tuple[SegmentRecord, ...] = ()
    started_at: datetime | None = None
    pauses: bool = False
    resumes: bool = False
    attach: Mapping[str, Side] = field(default_factory=dict)
    detach: tuple[SegmentRecord, ...] = ()
    voices: tuple[str, ...] = ()
    ends: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether no step is left."""
        return self == CapturePlan()


def plan_capture(
    coverage: Coverage,
    recording: RecordingRecord,
    segments: Sequence[SegmentRecord],
    voices: Sequence[str] = (),
) -> CapturePlan:
    """Compare the captured channels of a recording with the channels to capture.

    `segments` are all segments of the recording, `voices` the channels of barging supervisors.
    """
    is_live = recording.state in states.LIVE
    is_paused = bool(coverage.pauses)
    is_capturing = recording.state in CAPTURING and not coverage.is_ending and not is_paused
    legs = coverage.legs if is_capturing else {}
    voices = tuple(voices) if is_capturing else ()
    running = [segment for segment in segments if segment.state in RUNNING]
    captured = {segment.channel_id for segment in running}
    starts = [one.started_at for one in segments if one.state in {"recording", "finished"}]
    goes_on = is_live and not coverage.is_ending
    return CapturePlan(
        check=tuple(segment for segment in segments if segment.state == "requested"),
        started_at=min(starts, default=None) if recording.state == "requested" else None,
        pauses=goes_on and recording.state == "recording" and is_paused,
        resumes=goes_on and recording.state == "paused" and not is_paused,
        attach={id_: side for id_, side in legs.items() if id_ not in captured},
        detach=tuple(
            segment
            for segment in running
            if segment.channel_id not in legs and segment.channel_id not in voices
        ),
        voices=tuple(voice for voice in voices if voice not in captured),
        ends=is_live and coverage.is_ending,
    )
