"""Every name that we give to something on a PBX, built and parsed here alone. Pure.

A recording on the PBX is called `earwitness/2026-11-23/{recording}.{segment}`: a directory a day,
since Asterisk scans the directory at every fetch. The id of the snoop that captures a segment is
`earwitness-{segment}`. What spies need is called after the spy, or after the channel spied on:

    earwitness-phone-{spy}                   the supervisor's phone
    earwitness-listen-{channel}              the bridge in which all listeners hear it
    earwitness-hear-{company}-{channel}      the snoop in it, one for each company the channel is in
    earwitness-ear-{channel}                 the media channel of all pages that listen
    earwitness-voice-{spy}                   the bridge in which the supervisor talks
    earwitness-tap-{spy}                     the snoop that takes the voice off the phone
    earwitness-mic-{spy}                     the media channel of the page's microphone
    earwitness-seat-{spy}                    that of a page that barges, among the listeners
    earwitness-say-{spy}-{channel}           the snoop through which that leg hears the supervisor
    earwitness-gauging-{way}-{channel}       the bridge in which what it says ("in"), or what it
                                             hears ("out"), is measured
    earwitness-probe-{way}-{channel}         the snoop in it
    earwitness-gauge-{way}-{channel}         the media channel in it

Of no spy is `earwitness-sound-{uuid}-{channel}`, the snoop through which a leg hears one sound.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID
from zlib import crc32

# The ids of all channels and bridges that we make begin so.
OURS = "earwitness-"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_RECORDING_NAME = re.compile(rf"earwitness/\d{{4}}-\d\d-\d\d/({_UUID})\.({_UUID})")
_SNOOP_ID = re.compile(rf"earwitness-({_UUID})")
_SPY_PART = re.compile(rf"earwitness-(phone|voice|tap|mic|seat)-({_UUID})")
_SHARED_PART = re.compile(
    r"earwitness-(listen|ear|hear-[0-9a-f]{8}|(?:gauging|probe|gauge)-(?:in|out))-(.+)"
)
_SAY = re.compile(rf"earwitness-say-({_UUID})-(.+)")
_SOUND = re.compile(rf"earwitness-sound-({_UUID})-(.+)")
_CALL_ID = re.compile(r"([a-z0-9][a-z0-9_]{0,30})-(.+)")


@dataclass(frozen=True, slots=True)
class SegmentName:
    """Which segment of which recording a file on the PBX is."""

    recording_id: UUID
    segment_id: UUID


PartKind = Literal[
    "phone",
    "voice",
    "tap",
    "mic",
    "seat",
    "say",
    "listen",
    "hear",
    "ear",
    "gauging",
    "probe",
    "gauge",
]
Way = Literal["in", "out"]
WAYS: tuple[Way, ...] = ("in", "out")


@dataclass(frozen=True, slots=True)
class SpyPart:
    """A channel or bridge that spies need: of one spy, of one channel spied on, or of both."""

    kind: PartKind
    spy_id: UUID | None = None
    channel_id: str | None = None


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


def build_phone_id(spy_id: UUID) -> str:
    """The channel of a supervisor's phone."""
    return f"earwitness-phone-{spy_id}"


def build_voice_id(spy_id: UUID) -> str:
    """The bridge in which a supervisor talks."""
    return f"earwitness-voice-{spy_id}"


def build_tap_id(spy_id: UUID) -> str:
    """The snoop that takes a supervisor's voice off the phone."""
    return f"earwitness-tap-{spy_id}"


def build_mic_id(spy_id: UUID) -> str:
    """The media channel of a page's microphone."""
    return f"earwitness-mic-{spy_id}"


def build_seat_id(spy_id: UUID) -> str:
    """The media channel by which a page that barges is among the listeners."""
    return f"earwitness-seat-{spy_id}"


def build_say_id(spy_id: UUID, channel_id: str) -> str:
    """The snoop through which a leg hears a supervisor."""
    return f"earwitness-say-{spy_id}-{channel_id}"


def build_listen_id(channel_id: str) -> str:
    """The bridge in which a channel is listened to."""
    return f"earwitness-listen-{channel_id}"


def build_hear_id(channel_id: str, company: Iterable[str]) -> str:
    """The snoop through which a channel is listened to while it talks with `company`."""
    digest = crc32(" ".join(sorted(company)).encode())
    return f"earwitness-hear-{digest:08x}-{channel_id}"


def build_ear_id(channel_id: str) -> str:
    """The media channel of all pages that listen to a channel."""
    return f"earwitness-ear-{channel_id}"


def build_gauging_id(way: Way, channel_id: str) -> str:
    """The bridge in which what a channel says or hears is measured."""
    return f"earwitness-gauging-{way}-{channel_id}"


def build_probe_id(way: Way, channel_id: str) -> str:
    """The snoop that brings it there."""
    return f"earwitness-probe-{way}-{channel_id}"


def build_gauge_id(way: Way, channel_id: str) -> str:
    """The media channel that takes it from there."""
    return f"earwitness-gauge-{way}-{channel_id}"


def build_sound_id(sound_id: UUID, channel_id: str) -> str:
    """The snoop through which a leg hears a sound."""
    return f"earwitness-sound-{sound_id}-{channel_id}"


def is_sound(channel_id: str) -> bool:
    """Whether a sound is played through the channel."""
    return _SOUND.fullmatch(channel_id) is not None


def parse_spy_part(id_: str) -> SpyPart | None:
    """What a channel or bridge is for; None if it is for no spy."""
    if match := _SPY_PART.fullmatch(id_):
        return SpyPart(cast("PartKind", match[1]), spy_id=UUID(match[2]))
    if match := _SAY.fullmatch(id_):
        return SpyPart("say", UUID(match[1]), match[2])
    if match := _SHARED_PART.fullmatch(id_):
        return SpyPart(cast("PartKind", match[1].partition("-")[0]), channel_id=match[2])
    return None


def is_ours(channel_id: str) -> bool:
    """Whether we made the channel: it is then no part of any call."""
    return channel_id.startswith(OURS)


def build_call_id(pbx: str, linkedid: str) -> str:
    """A call's id: Asterisk's linkedid behind the PBX's name."""
    return f"{pbx}-{linkedid}"


def parse_call_id(call_id: str) -> tuple[str, str]:
    """The PBX's name and the linkedid. Raises ValueError for what is no call id."""
    match = _CALL_ID.fullmatch(call_id)
    if not match:
        raise ValueError(f"{call_id!r} is no call id")
    return match[1], match[2]
