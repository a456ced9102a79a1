"""The fields of recordings: their data, their audio, and the search for them."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote
from uuid import UUID

from pydantic import AfterValidator, Field, HttpUrl, StringConstraints, model_validator

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Person,
    Query,
    Seconds,
    Span,
    Tag,
    Text,
    Time,
    fields_of,
    party_fields,
)
from storage.records import (
    Direction,
    Format,
    Layout,
    RecordingRecord,
    RecordingState,
    Side,
    Speaker,
    Trigger,
    check_layout,
)


class PauseSpan(Answer):
    """A span of time without recording, in seconds from the recording's start."""

    from_s: Seconds
    to_s: Seconds | None = Field(description="null while the pause lasts")
    by: str


class GapSpan(Answer):
    """A span of time whose audio is missing, in seconds from the recording's start."""

    from_s: Seconds
    to_s: Seconds
    cause: str = Field(description="a code, such as `pbx-lost`; docs/recordings.md lists them")


class PartySpan(Answer):
    """A span of time in which a party was in the conversation, from the recording's start."""

    from_s: Seconds
    to_s: Seconds | None = Field(description="null while it lasts")


class RecordedParty(Answer):
    """Somebody whom the recording hears; a supervisor who barges in is one, too."""

    party: Speaker
    number: str | None
    name: str | None
    side: Side = Field(description="the channel of a `dual` recording on which the party is heard")
    track: int | None = Field(
        description="the channel of a `tracks` recording, counted from 0, that holds this party"
        " alone; null in other layouts, and for a party of whom nothing was captured"
    )
    spans: list[PartySpan]


class Media(Answer):
    """The encoded object; every field but `format` is null until it is stored."""

    format: Format
    content_type: str | None
    channels: int | None
    sample_rate: int | None
    size_bytes: int | None
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    key: str | None = Field(description="the object's key in the store")


class Held(Answer):
    """A legal hold; nothing under hold is ever deleted."""

    reason: str
    by: str
    at: Instant


class Retention(Answer):
    """The time for which the recording is kept."""

    expires_at: Instant | None = Field(description="null: kept for ever")
    hold: Held | None = Field(description="null: not under a legal hold, or not for agents to see")


class RecordingBookmark(Answer):
    """A note at a place of a recording."""

    id: UUID
    at_s: Seconds
    text: str
    by: str


class Links(Answer):
    """The addresses of the recording's parts; the audio is there once the state is `stored`."""

    self: HttpUrl
    audio: HttpUrl
    waveform: HttpUrl
    manifest: HttpUrl
    call: HttpUrl


class Recording(Answer):
    """The promise to keep a call's audio, and its result."""

    id: UUID
    call_id: str
    pbx: str
    state: RecordingState
    reason: str | None = Field(
        description="a code for an unusual end, such as `no-audio-on-pbx`: an `error_id`,"
        " `nothing-captured` or `on-request`"
    )
    trigger: Trigger
    rule: str | None
    layout: Layout
    direction: Direction
    caller: Person
    callee: Person
    did: str | None
    queue: str | None
    agent: str | None
    started_at: Instant | None
    ended_at: Instant | None
    duration_s: Seconds | None
    parties: list[RecordedParty] = Field(
        description="everyone whom it hears; `number` and `agent` find it by each of them"
    )
    continues: UUID | None = Field(
        description="the recording that ended when its people joined those of this one"
    )
    continued_in: UUID | None = Field(
        description="the recording that goes on with the people of this one"
    )
    pauses: list[PauseSpan]
    gaps: list[GapSpan]
    tags: list[str]
    note: str | None = Field(description="null for agents")
    bookmarks: list[RecordingBookmark] = Field(
        description="in the order of their places; none for agents"
    )
    media: Media
    retention: Retention
    links: Links


class RecordingList(ListOf[Recording]):
    """One part of the list of recordings."""


class Waveform(Answer):
    """The data for drawing a player; each list has one entry per channel: left, right, or mono."""

    seconds_per_peak: float
    peaks: list[list[Annotated[int, Field(ge=0, le=255)]]] = Field(description="255 is full scale")
    talk: list[list[Span]] = Field(description="spans in which the side speaks")
    silence: list[list[Span]] = Field(description="spans in which the side is silent")
    level_dbfs: list[float] = Field(description="RMS of the whole channel; -120 for silence")


class Signature(Answer):
    """The signature of the manifest, over its canonical JSON."""

    algorithm: Literal["Ed25519"]
    key_id: str
    value: str = Field(description="base64url")


class Manifest(Answer):
    """The signed data with which a recording can be identified without the catalogue."""

    manifest: dict[str, Any]
    signature: Signature


def _without_plus(text: str) -> str:
    """Drop a leading `+`, or the space that it becomes in a URL: a search compares digits."""
    return text.lstrip("+ ")


Number = Annotated[
    str, StringConstraints(pattern=r"^[+ ]?[0-9*#]{1,32}$"), AfterValidator(_without_plus)
]


class FormSearch(Query):
    """The part of a search that the form of the library and the API share."""

    number: Number | None = Field(None, description="the last digits of any party's number")
    agent: Text | None = Field(None, description="one of the agents among the parties")
    queue: Text | None = None
    direction: Direction | None = None
    tag: Text | None = None
    state: RecordingState | None = None
    min_duration_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_duration_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    words: Text | None = Field(
        None,
        alias="q",
        description="words that must all occur in the note or a party's name; for agents in a name",
    )


class RecordingSearch(FormSearch):
    """A search for recordings; each field that is given narrows the list."""

    call_id: Text | None = None
    did: Text | None = None
    rule: Text | None = None
    from_at: Time | None = Field(
        None, alias="from", description="started at this time or later; RFC 3339 with an offset"
    )
    to_at: Time | None = Field(
        None, alias="to", description="started before this time; RFC 3339 with an offset"
    )


class RecordingQuery(ListQuery, RecordingSearch):
    """A search for recordings, and the part of the list."""


class AudioQuery(Query):
    """The form in which the audio is sent."""

    stream: bool = Field(False, description="send the bytes instead of a redirect")
    download: bool = Field(False, description="send a file with a name, for saving")


class NewRecording(Body):
    """The way of recording; a field that is not given has its configured value."""

    layout: Layout | None = Field(
        None,
        description="`dual`: the customer on the left, everybody else on the right; `mono`: all"
        " voices mixed; `tracks`: a channel for each person, not with `mp3`",
    )
    format: Format | None = Field(
        None, description="more than eight tracks in `flac` become `opus`; see docs/recordings.md"
    )
    tags: tuple[Tag, ...] = Field((), max_length=32)

    @model_validator(mode="after")
    def _has_room_for_tracks(self) -> Self:
        check_layout(self.layout, self.format)
        return self


def recording_fields(record: RecordingRecord, base_url: str) -> dict[str, Any]:
    """Return the fields of a recording; its links begin with `base_url`."""
    held, marks = record.hold, sorted(record.bookmarks, key=lambda one: one.at_s)
    expires_at = None
    if record.retention_days is not None and record.started_at is not None:
        expires_at = record.started_at + timedelta(days=record.retention_days)
    itself = f"{base_url}/api/v1/recordings/{record.id}"
    return fields_of(
        Recording,
        record,
        **party_fields(record),
        parties=[
            fields_of(
                RecordedParty,
                party,
                spans=[{"from_s": from_s, "to_s": to_s} for from_s, to_s in party.spans],
            )
            for party in record.parties
        ],
        pauses=[
            {
                "from_s": _seconds_between(record.started_at or pause.from_at, pause.from_at),
                "to_s": _seconds_between(record.started_at or pause.from_at, pause.to_at),
                "by": pause.by,
            }
            for pause in record.pauses
        ],
        gaps=[fields_of(GapSpan, gap) for gap in record.gaps],
        bookmarks=[fields_of(RecordingBookmark, mark) for mark in marks],
        media=fields_of(Media, record, key=record.object_key),
        retention={
            "expires_at": expires_at,
            "hold": fields_of(Held, held) if held is not None else None,
        },
        links={
            "self": itself,
            "audio": f"{itself}/audio",
            "waveform": f"{itself}/waveform",
            "manifest": f"{itself}/manifest",
            "call": f"{base_url}/api/v1/calls/{quote(record.call_id, safe='')}",
        },
    )


def _seconds_between(start: datetime, at: datetime | None) -> float | None:
    return None if at is None else max(0.0, round((at - start).total_seconds(), 3))
