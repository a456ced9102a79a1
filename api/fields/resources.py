"""The fields of answers and requests, in the contract's words: their schema, and how they are made.

The models document an answer and check it in tests; an answer is made as a plain mapping, since
building and validating a model per item takes longer than finding the item.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
)

from storage.records import (
    Action,
    Assurance,
    CallRecord,
    CallState,
    DecisionRecord,
    Direction,
    Follow,
    Format,
    Layout,
    Mode,
    Pause,
    RecordingRecord,
    RecordingState,
    Slice,
    SpyRecord,
    SpyState,
    Trigger,
)

T = TypeVar("T")

Instant = Annotated[AwareDatetime, Field(description="RFC 3339, in UTC")]
Seconds = Annotated[float, Field(ge=0, description="seconds")]
Span = Annotated[tuple[Seconds, Seconds], Field(description="from, to")]


class Exact(BaseModel):
    """These fields, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Answers


class Answer(Exact):
    """A JSON object that is answered: every field is always there."""


class Person(Answer):
    """One end of a call."""

    number: str | None
    name: str | None


class Channel(Answer):
    """One Asterisk channel of a call."""

    id: str
    name: str
    state: str = Field(description="Asterisk's word for it, such as `Ring` or `Up`")
    party: str | None = Field(description="whose it is: `customer`, `agent` or `supervisor`")
    number: str | None
    caller_name: str | None = Field(description="the party's name")


class RuleName(Answer):
    """One version of a rule."""

    id: str
    version: int
    name: str


class AskedRule(Answer):
    """What one rule answered."""

    rule_id: str
    version: int
    name: str
    action: Action
    answer: Literal["matched", "not-matched", "sampled-out", "not-yet", "error"]
    detail: str = Field(description="why it could not answer, else empty")


class Moment(Answer):
    """The rules were asked: why, what they saw, what each answered, and which won."""

    at: Instant
    moment: str = Field(
        description="`begin`, `answer`, `queue`, `agent`, `transfer`, `change` or `time`"
    )
    facts: dict[str, Any] = Field(description="the fields of the call as a rule saw them")
    asked: list[AskedRule]
    action: Action
    rule: RuleName | None
    reason: str


class Decision(Answer):
    """What the rules said of a call."""

    action: Action
    rule: RuleName | None = Field(description="the one that won; null for the default")
    reason: str
    announced: list[str] = Field(description="channels whose parties heard the announcement")
    moments: list[Moment]


class Call(Answer):
    """One conversation as people see it."""

    id: str = Field(examples=["main-1795424777.0"])
    pbx: str
    state: CallState
    direction: Direction
    caller: Person
    callee: Person
    did: str | None = Field(description="the number that was dialled from outside")
    queue: str | None
    agent: str | None
    started_at: Instant
    answered_at: Instant | None
    ended_at: Instant | None
    channels: list[Channel]
    recordings: list[UUID] = Field(
        description="while the call lives, its recordings that run; once it has ended, all of them"
    )
    spies: list[UUID] = Field(
        description="while the call lives, the spies on it; once it has ended, all that were;"
        " empty for a token without `spies.read`"
    )
    decision: Decision | None = Field(
        description="why the call is recorded or not; null before the rules were asked"
    )


class PauseSpan(Answer):
    """A span in which nothing was recorded, in seconds from the recording's start."""

    from_s: Seconds
    to_s: Seconds | None = Field(description="null while the pause lasts")
    by: str


class GapSpan(Answer):
    """A span that should hold audio and does not, in seconds from the recording's start."""

    from_s: Seconds
    to_s: Seconds
    cause: str


class Media(Answer):
    """The encoded object; all but the format is null until it is stored."""

    format: Format
    content_type: str | None
    channels: int | None
    sample_rate: int | None
    size_bytes: int | None
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    key: str | None = Field(description="the object's key in the store")


class Held(Answer):
    """A legal hold: nothing of what is under it is ever deleted."""

    reason: str
    by: str
    at: Instant


class Retention(Answer):
    """How long the recording is kept."""

    expires_at: Instant | None = Field(description="null: it is kept for ever")
    hold: Held | None = Field(description="null: it is not held")


class BookmarkPlace(Answer):
    """A place in a recording at which somebody wrote something."""

    id: UUID
    at_s: Seconds
    text: str
    by: str


class Links(Answer):
    """Where the recording's parts are; the audio answers once the state is `stored`."""

    self: HttpUrl
    audio: HttpUrl
    waveform: HttpUrl
    manifest: HttpUrl
    call: HttpUrl


class Recording(Answer):
    """Our promise to keep a call's audio, and what became of it."""

    id: UUID
    call_id: str
    pbx: str
    state: RecordingState
    reason: str | None = Field(description="why it ended as it did, where that needs saying")
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
    pauses: list[PauseSpan]
    gaps: list[GapSpan]
    tags: list[str]
    note: str | None
    bookmarks: list[BookmarkPlace] = Field(description="in the order of their places")
    media: Media
    retention: Retention
    links: Links


class Waveform(Answer):
    """Enough to draw a player; each list has one entry a channel: left, right, or mono."""

    seconds_per_peak: float
    peaks: list[list[Annotated[int, Field(ge=0, le=255)]]] = Field(description="255 is full scale")
    talk: list[list[Span]] = Field(description="where the side speaks")
    silence: list[list[Span]] = Field(description="where it does not")
    level_dbfs: list[float] = Field(description="RMS over all the time; -120 for nothing")


class Signature(Answer):
    """Who signed the manifest, over its canonical JSON."""

    algorithm: Literal["Ed25519"]
    key_id: str
    value: str = Field(description="base64url")


class Manifest(Answer):
    """Everything that is needed to know a recording again without the catalogue."""

    manifest: dict[str, Any]
    signature: Signature


class HeardSpan(Answer):
    """A span in which the supervisor heard a call."""

    from_at: Instant = Field(alias="from")
    to_at: Instant | None = Field(alias="to", description="null while it lasts")
    call_id: str


class Spy(Answer):
    """A supervisor's session on a live call."""

    id: UUID
    call_id: str = Field(description="the call it is on now; it moves on with `follow: agent`")
    pbx: str
    mode: Mode
    destination: str = Field(examples=["PJSIP/9001", "browser"])
    state: SpyState
    cause: str | None = Field(
        description="why it ended: `ended`, `hung-up`, `call-ended`, `busy`, `no-answer`,"
        " `page-lost`…"
    )
    supervisor: str = Field(description="the name of the token that started it")
    follow: Follow
    started_at: Instant
    live_at: Instant | None = Field(description="when the phone was answered, or the page came")
    ended_at: Instant | None
    heard: list[HeardSpan] = Field(description="which seconds of which call the supervisor heard")
    audio_url: str | None = Field(
        description="a WebSocket, told once, to who started a spy in the browser; whoever has it"
        " hears the call until the spy ends"
    )


class ListOf(Answer, Generic[T]):
    """Part of a list, newest first; `next_cursor` continues it and is null at its end."""

    items: list[T]
    next_cursor: str | None


class MissingRecording(Answer):
    """An ended call that was not recorded as it should have been."""

    call_id: str
    agent: str | None
    started_at: Instant
    ended_at: Instant | None
    expected_s: Seconds = Field(description="how long it should have been recorded")
    covered_s: Seconds = Field(description="how long it was")
    cause: str = Field(description="`never-began`, `has-gaps`, or why the recording failed")


class MissingList(ListOf[MissingRecording]):
    """A page of what is missing."""


class CallList(ListOf[Call]):
    """A page of calls."""


class RecordingList(ListOf[Recording]):
    """A page of recordings."""


class SpyList(ListOf[Spy]):
    """A page of spies."""


def fields_of(model: type[Exact], record: object, **more: Any) -> dict[str, Any]:
    """The model's fields, in its order: each is one of `more`, or else as the record has it."""
    return {
        field.alias or name: more[name] if name in more else getattr(record, name)
        for name, field in model.model_fields.items()
    }


def call_fields(
    record: CallRecord,
    recordings: Sequence[UUID],
    spies: Sequence[UUID],
    decision: DecisionRecord | None,
) -> dict[str, Any]:
    """A call as it is answered."""
    return fields_of(
        Call,
        record,
        **_people(record),
        channels=[fields_of(Channel, channel) for channel in record.channels],
        recordings=recordings,
        spies=spies,
        decision=fields_of(Decision, decision) if decision is not None else None,
    )


def recording_fields(record: RecordingRecord, base_url: str) -> dict[str, Any]:
    """A recording as it is answered; `base_url` is what its links begin with."""
    held, marks = record.hold, sorted(record.bookmarks, key=lambda one: one.at_s)
    return fields_of(
        Recording,
        record,
        **_people(record),
        pauses=[_pause_fields(pause, record.started_at) for pause in record.pauses],
        gaps=[fields_of(GapSpan, gap) for gap in record.gaps],
        bookmarks=[fields_of(BookmarkPlace, mark) for mark in marks],
        media=fields_of(Media, record, key=record.object_key),
        retention={
            "expires_at": _expires_at(record),
            "hold": fields_of(Held, held) if held is not None else None,
        },
        links=_links(record, base_url),
    )


def _expires_at(record: RecordingRecord) -> datetime | None:
    if record.retention_days is None or record.started_at is None:
        return None
    return record.started_at + timedelta(days=record.retention_days)


def missing_fields(call: CallRecord, found: Assurance) -> dict[str, Any]:
    """What is missing of a call, as it is answered."""
    told = {"expected_s": found.expected_s, "covered_s": found.covered_s, "cause": found.cause}
    return fields_of(MissingRecording, call, call_id=call.id, **told)


def spy_fields(record: SpyRecord, audio_url: str | None = None) -> dict[str, Any]:
    """A spy as it is answered."""
    heard = [fields_of(HeardSpan, span) for span in record.heard]
    return fields_of(Spy, record, heard=heard, audio_url=audio_url)


def list_fields(page: Slice[T], item_fields: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page as it is answered, each of its items as `item_fields` makes it."""
    return {"items": [*map(item_fields, page.items)], "next_cursor": page.next_cursor}


def _people(record: CallRecord | RecordingRecord) -> dict[str, Any]:
    return {
        "caller": {"number": record.caller_number, "name": record.caller_name},
        "callee": {"number": record.callee_number, "name": record.callee_name},
    }


def _links(record: RecordingRecord, base_url: str) -> dict[str, str]:
    itself = f"{base_url}/api/v1/recordings/{record.id}"
    return {
        "self": itself,
        "audio": f"{itself}/audio",
        "waveform": f"{itself}/waveform",
        "manifest": f"{itself}/manifest",
        "call": f"{base_url}/api/v1/calls/{record.call_id}",
    }


def _pause_fields(pause: Pause, started_at: datetime | None) -> dict[str, Any]:
    start = started_at or pause.from_at
    return {
        "from_s": _seconds_between(start, pause.from_at),
        "to_s": _seconds_between(start, pause.to_at) if pause.to_at else None,
        "by": pause.by,
    }


def _seconds_between(start: datetime, at: datetime) -> float:
    return max(0.0, round((at - start).total_seconds(), 3))


# Requests


def without_nul(text: str) -> str:
    """PostgreSQL's text cannot hold a NUL, so nothing that is kept can match one."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


def _read_instant(text: object) -> object:
    """RFC 3339 alone (pydantic would take a number of seconds too), and kind to URLs.

    A `+` in a URL that was not written as `%2B` arrives as a space: 10:00:00+01:00 is still meant.
    """
    if not isinstance(text, str) or "T" not in text.upper():
        raise ValueError("expected RFC 3339 with an offset, such as 2026-11-23T18:00:00Z")
    return text.replace(" ", "+")


def _last_digits(text: str) -> str:
    """The digits alone: a leading + (or the space that it becomes in a URL) says nothing here."""
    return text.lstrip("+ ")


Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(without_nul)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(without_nul)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(without_nul)]
Time = Annotated[AwareDatetime, BeforeValidator(_read_instant)]
Number = Annotated[
    str, StringConstraints(pattern=r"^[+ ]?[0-9*#]{1,32}$"), AfterValidator(_last_digits)
]


class Query(Exact):
    """The parameters of a URL: an unknown one is an error, for a typo must not widen a list."""


class ListQuery(Query):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=200, description="the most items to answer")
    cursor: Text | None = Field(None, description="`next_cursor` of the page before")


class CallQuery(ListQuery):
    """Which calls."""

    state: CallState | None = Field(None, description="default: every call that has not ended")


class FormSearch(Query):
    """Which recordings, as far as the library's form asks in the same words."""

    number: Number | None = Field(None, description="the last digits of either party's number")
    agent: Text | None = None
    queue: Text | None = None
    direction: Direction | None = None
    tag: Text | None = None
    state: RecordingState | None = None
    min_duration_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_duration_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    words: Text | None = Field(
        None, alias="q", description="words that must all occur in the note or a party's name"
    )


class RecordingSearch(FormSearch):
    """Which recordings; what is not given does not narrow the list."""

    call_id: Text | None = None
    did: Text | None = None
    rule: Text | None = None
    from_at: Time | None = Field(
        None, alias="from", description="begun at this time or later; RFC 3339 with an offset"
    )
    to_at: Time | None = Field(
        None, alias="to", description="begun before this time; RFC 3339 with an offset"
    )


class RecordingQuery(ListQuery, RecordingSearch):
    """Which recordings, and which part of the list."""


class SpyQuery(ListQuery):
    """Which spies."""

    state: SpyState | None = Field(None, description="default: every spy that has not ended")


class DialplanQuery(Query):
    """Whose call, and what is to be done with its recording."""

    channel: Text = Field(description="`${CHANNEL(name)}`", examples=["PJSIP/trunk-00000001"])
    action: Literal["start", "stop", "pause", "resume", "decide"]


class AudioQuery(Query):
    """How the audio is wanted."""

    stream: bool = Field(False, description="the bytes themselves instead of a redirect")
    download: bool = Field(False, description="as a file with a name, to be saved")


class Body(Exact):
    """A JSON object that is sent; none at all is the same as `{}`."""


class NewRecording(Body):
    """How to record; what is not given is as configured."""

    layout: Layout | None = None
    format: Format | None = None
    tags: tuple[Tag, ...] = Field((), max_length=32)


class NewSpy(Body):
    """How to listen, and where."""

    mode: Mode = Field(
        description="`listen`: hears both, heard by none; `whisper`: the agent alone hears the"
        " supervisor; `barge`: all hear all"
    )
    destination: Text = Field(
        description="a phone to ring, or `browser`", examples=["PJSIP/9001", "browser"]
    )
    follow: Follow = Field(
        "call",
        description="`call`: as long as the call lives, through transfers; `agent`: the agent's"
        " next calls too; `channel`: the agent's present channel alone",
    )


class ChangedSpy(Body):
    """How to go on."""

    mode: Mode


class Nothing(Body):
    """No fields."""
