"""What has to change at the PBX so that a recording is what its state says. Pure.

The same question is asked after every event, after every restart and by every process; asking
twice changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recorder.calls import Leg, legs_of
from storage import states
from storage.catalogue.segments import RUNNING
from storage.records import CallRecord, RecordingRecord, SegmentRecord, Side

# The states in which audio is captured: not while paused.
CAPTURING = frozenset({"requested", "recording"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do.

    `ask` are segments of which it is not known whether Asterisk began them; `begun_at` is when the
    first segment began of a recording that is `requested` still; `attach` are legs to begin
    capturing, `voices` channels of supervisors, `detach` segments to end; `over` says that the
    recording is.
    """

    ask: tuple[SegmentRecord, ...]
    begun_at: datetime | None
    attach: tuple[Leg, ...]
    detach: tuple[SegmentRecord, ...]
    over: bool
    voices: tuple[str, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do."""
        return self == NOTHING


NOTHING = Plan(ask=(), begun_at=None, attach=(), detach=(), over=False)


def plan(
    call: CallRecord,
    recording: RecordingRecord,
    segments: Sequence[SegmentRecord],
    voices: Sequence[str] = (),
) -> Plan:
    """Hold what should be captured against what is.

    `voices` are the channels of supervisors whom everybody in the call hears.
    """
    captures = recording.state in CAPTURING and not is_over(call)
    legs = legs_to_capture(call) if recording.state in CAPTURING else ()
    speaking = tuple(voices) if captures else ()
    running = [segment for segment in segments if segment.state in RUNNING]
    captured = {segment.channel_id for segment in running}
    wanted = {leg.channel.id for leg in legs} | set(speaking)
    return Plan(
        ask=tuple(segment for segment in segments if segment.state == "requested"),
        begun_at=_begun_at(segments) if recording.state == "requested" else None,
        attach=tuple(leg for leg in legs if leg.channel.id not in captured),
        detach=tuple(segment for segment in running if segment.channel_id not in wanted),
        over=recording.state in states.LIVE and is_over(call),
        voices=tuple(voice for voice in speaking if voice not in captured),
    )


def legs_to_capture(call: CallRecord) -> tuple[Leg, ...]:
    """Every leg that has joined the conversation and is still there.

    Before anybody has joined (a caller in a menu), every leg that is up.
    """
    legs = [leg for leg in legs_of(call) if leg.alive]
    joined = tuple(leg for leg in legs if leg.joined_at is not None)
    return joined or tuple(leg for leg in legs if leg.channel.state == "Up")


def is_conversation(call: CallRecord) -> bool:
    """Whether two people are talking: when a recording that begins by itself begins."""
    return sum(leg.alive and leg.joined_at is not None for leg in legs_of(call)) > 1


def have_talked(call: CallRecord) -> bool:
    """Whether two people have joined, be it that one has left since, as in a transfer."""
    return sum(leg.joined_at is not None for leg in legs_of(call)) > 1


def is_over(call: CallRecord) -> bool:
    """Whether nobody is left of whom anything could be recorded."""
    return call.state == "ended" or not any(leg.alive for leg in legs_of(call))


def side_of(leg: Leg) -> Side:
    """Where a leg is heard in a dual recording."""
    return leg.side or ("left" if leg.party == "customer" else "right")


def _begun_at(segments: Sequence[SegmentRecord]) -> datetime | None:
    begun = [one.started_at for one in segments if one.state in {"recording", "finished"}]
    return min(begun, default=None)
