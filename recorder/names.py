"""Every name that we give to something on a PBX, built and parsed here alone. Pure.

A recording on the PBX is called `earwitness/2026-11-23/{recording}.{segment}`: a directory a day,
since Asterisk scans the directory at every fetch. A snoop channel's id is
`earwitness-{segment}`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_RECORDING_NAME = re.compile(rf"earwitness/\d{{4}}-\d\d-\d\d/({_UUID})\.({_UUID})")
_SNOOP_ID = re.compile(rf"earwitness-({_UUID})")
_CALL_ID = re.compile(r"([a-z0-9][a-z0-9_]{0,30})-(.+)")


@dataclass(frozen=True, slots=True)
class SegmentName:
    """Which segment of which recording a file on the PBX is."""

    recording_id: UUID
    segment_id: UUID


def build_recording_name(recording_id: UUID, segment_id: UUID, at: datetime) -> str:
    """The name under which Asterisk keeps a segment; `at` is an aware UTC datetime."""
    return f"earwitness/{at:%Y-%m-%d}/{recording_id}.{segment_id}"


def parse_recording_name(name: str) -> SegmentName | None:
    """The segment that the name stands for; None if it is not a name of ours."""
    match = _RECORDING_NAME.fullmatch(name)
    return SegmentName(UUID(match[1]), UUID(match[2])) if match else None


def build_snoop_id(segment_id: UUID) -> str:
    """The id of the snoop channel that captures a segment."""
    return f"earwitness-{segment_id}"


def parse_snoop_id(channel_id: str) -> UUID | None:
    """The segment that the snoop channel captures; None if the channel is not one of ours."""
    match = _SNOOP_ID.fullmatch(channel_id)
    return UUID(match[1]) if match else None


def build_call_id(pbx: str, linkedid: str) -> str:
    """A call's id: Asterisk's linkedid behind the PBX's name."""
    return f"{pbx}-{linkedid}"


def parse_call_id(call_id: str) -> tuple[str, str]:
    """The PBX's name and the linkedid. Raises ValueError for what is no call id."""
    match = _CALL_ID.fullmatch(call_id)
    if not match:
        raise ValueError(f"{call_id!r} is no call id")
    return match[1], match[2]
