"""Every name that we give to something on a PBX, built and parsed here alone. Pure.

A recording on the PBX has the name `earwitness/2026-11-23/{recording}.{segment}`: one directory a
day, because Asterisk scans the directory at every fetch. The snoop that captures a segment has the
id `earwitness-{segment}`. The channels and bridges of spies carry the id of the spy, or of the
channel spied on:

    earwitness-phone-{spy}               the supervisor's phone

    the listening bridge, one for each channel spied on, shared by all its supervisors:
    earwitness-listen-{channel}          the bridge
    earwitness-hear-{company}-{channel}  its snoop on the channel, a new one for each company
    earwitness-ear-{channel}             its media channel, shared by all pages
    earwitness-seat-{spy}                the media channel of one page in it, while the page barges

    the talking bridge, one for each supervisor:
    earwitness-voice-{spy}               the bridge
    earwitness-mic-{spy}                 the media channel of a page's microphone
    earwitness-tap-{spy}                 or the snoop on the supervisor's phone
    earwitness-say-{spy}-{circle}-{channel}
                                         a snoop through which one leg hears the supervisor, a new
                                         one for each circle: the people who talk with each other

    the meter of a channel, one for each way: "in" is its voice, "out" the audio sent to it:
    earwitness-gauging-{way}-{channel}   the bridge
    earwitness-probe-{way}-{channel}     its snoop on the channel
    earwitness-gauge-{way}-{channel}     its media channel

`earwitness-sound-{uuid}-{channel}` belongs to no spy: through this snoop a leg hears one sound.

A person whom we call is a person of a call like any other, so these two ids are *not* ours in the
sense of `is_ours`. The first gives the call its id: `main-earwitness-dial-{person}`.

    earwitness-dial-{person}             the channel of a person whom we call
    earwitness-far-{person}              the other half, if that channel is a Local one

    earwitness-conference-{conference}   the bridge of a conference
    earwitness-lobby-{conference}        its holding bridge: guests who wait, and members on hold
    earwitness-ask-{half}-{campaign}     a half of the Local channel that reads a campaign's queue
    earwitness-take-{half}-{uuid}        a half of the Local channel that moves a call into one

Another Earwitness may run on the same PBX, with a database of its own. Each is an *instance*, named
by its Stasis application. A name with the id of a segment or spy is ours if our catalogue has the
row, which is always written first. A name with the id of a channel says the instance before the
channel: `{channel}` above stands for `{instance}~{channel}`, except in the names of sounds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID
from zlib import crc32

# The ids of all our channels and bridges begin with this.
OURS = "earwitness-"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_INSTANCE = r"[A-Za-z0-9_-]+"
_RECORDING_NAME = re.compile(rf"earwitness/\d{{4}}-\d\d-\d\d/({_UUID})\.({_UUID})")
_SNOOP_ID = re.compile(rf"earwitness-({_UUID})")
_SPY_PART = re.compile(rf"earwitness-(phone|voice|tap|mic|seat)-({_UUID})")
# The id of a channel may hold any character, a line's end too.
_SHARED_PART = re.compile(
    r"earwitness-(listen|ear|hear-[0-9a-f]{8}|(?:gauging|probe|gauge)-(?:in|out))"
    rf"-({_INSTANCE})~(.+)",
    re.DOTALL,
)
_TALKING_SNOOP = re.compile(
    rf"earwitness-say-({_UUID})-[0-9a-f]{{8}}-({_INSTANCE})~(.+)", re.DOTALL
)
_SOUND = re.compile(rf"earwitness-sound-({_UUID})-(.+)", re.DOTALL)
_PERSON = re.compile(rf"earwitness-dial-({_UUID})")
_CONFERENCE = re.compile(rf"earwitness-(conference|lobby)-({_UUID})")
_PEOPLE = ("earwitness-dial-", "earwitness-far-")
# The name that a phone shows beside the number that we dial for it.
CLICK_TO_DIAL = "Click to dial"
_CALL_ID = re.compile(r"([a-z0-9][a-z0-9_]{0,30})-(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The recording and the segment of a file on the PBX."""

    recording_id: UUID
    segment_id: UUID


PartKind = Literal[
    "phone",
    "listening-bridge",
    "listening-snoop",
    "listening-channel",
    "barge-channel",
    "talking-bridge",
    "talking-snoop",
    "microphone",
    "phone-snoop",
    "meter-bridge",
    "meter-snoop",
    "meter-channel",
]
# The word in the id for each kind. Older versions wrote the same words: a running PBX has them.
_WORDS: dict[str, PartKind] = {
    "phone": "phone",
    "listen": "listening-bridge",
    "hear": "listening-snoop",
    "ear": "listening-channel",
    "seat": "barge-channel",
    "voice": "talking-bridge",
    "say": "talking-snoop",
    "mic": "microphone",
    "tap": "phone-snoop",
    "gauging": "meter-bridge",
    "probe": "meter-snoop",
    "gauge": "meter-channel",
}
Way = Literal["in", "out"]
WAYS: tuple[Way, ...] = ("in", "out")


@dataclass(frozen=True, slots=True)
class SpyPart:
    """A channel or bridge of spies: of one spy, of one channel spied on, or of both.

    `instance` is the Earwitness that made a part with a channel.
    """

    kind: PartKind
    spy_id: UUID | None = None
    channel_id: str | None = None
    instance: str | None = None


def build_recording_name(recording_id: UUID, segment_id: UUID, at: datetime) -> str:
    """Return the name of a segment on the PBX; `at` is an aware UTC datetime."""
    return f"earwitness/{at:%Y-%m-%d}/{recording_id}.{segment_id}"


def parse_recording_name(name: str) -> SegmentName | None:
    """Return the segment with this name; None if the name is not ours."""
    match = _RECORDING_NAME.fullmatch(name)
    return SegmentName(UUID(match[1]), UUID(match[2])) if match else None


def build_snoop_id(segment_id: UUID) -> str:
    """Return the id of the snoop channel that captures a segment."""
    return f"earwitness-{segment_id}"


def parse_snoop_id(channel_id: str) -> UUID | None:
    """Return the segment that a snoop channel captures; None if the channel is no such snoop."""
    match = _SNOOP_ID.fullmatch(channel_id)
    return UUID(match[1]) if match else None


def build_phone_id(spy_id: UUID) -> str:
    """Return the id of the channel of a supervisor's phone."""
    return f"earwitness-phone-{spy_id}"


def build_tone_id(spy_id: UUID) -> str:
    """Return the id of the playback of a tone on a supervisor's phone."""
    return f"earwitness-tone-{spy_id}"


def build_talking_bridge_id(spy_id: UUID) -> str:
    """Return the id of the bridge in which a supervisor talks."""
    return f"earwitness-voice-{spy_id}"


def build_phone_snoop_id(spy_id: UUID) -> str:
    """Return the id of the snoop that copies the voice of a supervisor from the phone."""
    return f"earwitness-tap-{spy_id}"


def build_microphone_id(spy_id: UUID) -> str:
    """Return the id of the media channel of a page's microphone."""
    return f"earwitness-mic-{spy_id}"


def build_barge_channel_id(spy_id: UUID) -> str:
    """Return the id of the media channel of a barging page in the listening bridge."""
    return f"earwitness-seat-{spy_id}"


def build_talking_snoop_id(
    instance: str, spy_id: UUID, channel_id: str, circle: Iterable[str]
) -> str:
    """Return the id of the snoop through which a leg hears a supervisor.

    `circle` are the channels that are connected with each other, this leg among them.
    """
    return f"earwitness-say-{spy_id}-{_digest(circle)}-{instance}~{channel_id}"


def build_listening_bridge_id(instance: str, channel_id: str) -> str:
    """Return the id of the bridge in which supervisors listen to a channel."""
    return f"earwitness-listen-{instance}~{channel_id}"


def build_listening_snoop_id(instance: str, channel_id: str, company: Iterable[str]) -> str:
    """Return the id of the snoop on a channel while it is in a bridge with `company`."""
    return f"earwitness-hear-{_digest(company)}-{instance}~{channel_id}"


def build_listening_channel_id(instance: str, channel_id: str) -> str:
    """Return the id of the media channel shared by all pages that listen to a channel."""
    return f"earwitness-ear-{instance}~{channel_id}"


def build_meter_bridge_id(instance: str, way: Way, channel_id: str) -> str:
    """Return the id of the bridge that measures one way of a channel."""
    return f"earwitness-gauging-{way}-{instance}~{channel_id}"


def build_meter_snoop_id(instance: str, way: Way, channel_id: str) -> str:
    """Return the id of the snoop that copies one way of a channel into the bridge of its meter."""
    return f"earwitness-probe-{way}-{instance}~{channel_id}"


def build_meter_channel_id(instance: str, way: Way, channel_id: str) -> str:
    """Return the id of the media channel that receives the audio to measure."""
    return f"earwitness-gauge-{way}-{instance}~{channel_id}"


def build_sound_id(sound_id: UUID, channel_id: str) -> str:
    """Return the id of the snoop through which a leg hears a sound."""
    return f"earwitness-sound-{sound_id}-{channel_id}"


def is_sound(channel_id: str) -> bool:
    """Whether the channel is a snoop for a sound."""
    return _SOUND.fullmatch(channel_id) is not None


def parse_spy_part(id_: str) -> SpyPart | None:
    """Return the part of a spy that has this id; None if no spy has such a part."""
    if match := _SPY_PART.fullmatch(id_):
        return SpyPart(_WORDS[match[1]], spy_id=UUID(match[2]))
    if match := _TALKING_SNOOP.fullmatch(id_):
        return SpyPart("talking-snoop", UUID(match[1]), match[3], match[2])
    if match := _SHARED_PART.fullmatch(id_):
        kind = _WORDS[match[1].partition("-")[0]]
        return SpyPart(kind, channel_id=match[3], instance=match[2])
    return None


def is_ours(channel_id: str) -> bool:
    """Whether the channel is ours, or another instance's, so that it belongs to no call."""
    return channel_id.startswith(OURS) and not channel_id.startswith(_PEOPLE)


def build_person_id(person_id: UUID) -> str:
    """Return the id of the channel of a person whom we call, which is also the call's linkedid."""
    return f"earwitness-dial-{person_id}"


def build_far_half_id(person_id: UUID) -> str:
    """Return the id of the other half of a Local channel through which we call a person."""
    return f"earwitness-far-{person_id}"


def parse_person_id(channel_id: str) -> UUID | None:
    """Return the person whom we call on this channel; None for any other channel or linkedid."""
    match = _PERSON.fullmatch(channel_id)
    return UUID(match[1]) if match else None


def build_conference_bridge_id(conference_id: UUID) -> str:
    """Return the id of the bridge of a conference."""
    return f"earwitness-conference-{conference_id}"


def build_queue_reader_ids(campaign_id: UUID) -> tuple[str, str]:
    """Return the ids of the halves of the Local channel by which we read a campaign's queue."""
    return f"earwitness-ask-1-{campaign_id}", f"earwitness-ask-2-{campaign_id}"


def build_lobby_id(conference_id: UUID) -> str:
    """Return the id of the holding bridge of a conference, its lobby."""
    return f"earwitness-lobby-{conference_id}"


def build_taking_ids(taking_id: UUID) -> tuple[str, str]:
    """Return the ids of both halves of the Local channel that moves a call into a conference."""
    return f"earwitness-take-1-{taking_id}", f"earwitness-take-2-{taking_id}"


def parse_conference_bridge_id(bridge_id: str) -> UUID | None:
    """Return the conference of this bridge or lobby; None for any other bridge."""
    match = _CONFERENCE.fullmatch(bridge_id)
    return UUID(match[2]) if match else None


def build_call_id(pbx: str, linkedid: str) -> str:
    """Return a call's id: `main-1795424777.0` for a linkedid on the PBX `main`."""
    return f"{pbx}-{linkedid}"


def is_call_of(call_id: str, pbx: str) -> bool:
    """Return whether this is the id of a call of this PBX; the name of a PBX has no hyphen."""
    return call_id.startswith(build_call_id(pbx, ""))


def parse_call_id(call_id: str) -> tuple[str, str]:
    """Return the PBX's name and the linkedid. Raises ValueError for any other text."""
    match = _CALL_ID.fullmatch(call_id)
    if not match:
        raise ValueError(f"{call_id!r} is no call id")
    return match[1], match[2]


def _digest(channel_ids: Iterable[str]) -> str:
    return f"{crc32(' '.join(sorted(channel_ids)).encode()):08x}"
