"""Rows of the catalogue as frozen values; a field is a column of the same name.

Source: `storage/schema.py` and the words of the contract. Times are aware UTC datetimes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

# Closed word lists, each written once: the CHECK constraints of `storage/schema.py`, the states of
# `storage/states.py`, the configuration, the API and its pages take their words from here.
PbxState = Literal["connected", "unreachable"]
CallState = Literal["ringing", "up", "ended"]
Direction = Literal["inbound", "outbound", "internal"]
Party = Literal["customer", "agent"]
RecordingState = Literal[
    "requested",
    "recording",
    "paused",
    "captured",
    "stored",
    "purged",
    "aborted",
    "discarded",
    "failed",
]
Trigger = Literal["rule", "manual", "dtmf", "dialplan"]
Layout = Literal["dual", "mono"]
Format = Literal["opus", "mp3", "flac", "wav"]
PauseLeaves = Literal["silence", "skip"]
Side = Literal["left", "right", "both"]
SegmentState = Literal["requested", "recording", "finished", "lost", "deleted"]
# Why a segment ended, and so why audio is missing after it. Older rows hold sentences too.
GapCause = Literal[
    "finished",
    "failed",
    "stopped",
    "pbx-lost",
    "pbx-stalled",
    "unobserved",
    "never-began",
    "not-captured",
    "file-missing",
    "file-empty",
    "file-unreadable",
]
Mode = Literal["listen", "whisper", "barge"]
Follow = Literal["call", "agent", "channel"]
SpyState = Literal["requested", "ringing", "live", "ended"]
# Why a spy ended.
EndCause = Literal[
    "ended",
    "hung-up",
    "call-ended",
    "channel-gone",
    "busy",
    "no-answer",
    "declined",
    "unreachable",
    "congestion",
    "incompatible",
    "no-such-destination",
    "never-rang",
    "never-opened",
    "page-lost",
    "not-permitted",
    "pbx-unreachable",
    "pbx-lost",
]
Action = Literal["force", "record", "on_demand", "never"]
DefaultAction = Literal["record", "on_demand", "never"]
Begins = Literal["ringing", "answer"]
AnnounceTo = Literal["customer", "both"]
Origin = Literal["config", "api"]
PersonRole = Literal["admin", "supervisor", "compliance", "agent"]
Role = Literal["admin", "supervisor", "compliance", "agent", "service"]
BulkAction = Literal["tag", "hold", "export"]
BulkState = Literal["waiting", "running", "done", "failed"]
Outcome = Literal["done", "refused"]


def shallow(record: Any) -> dict[str, Any]:
    """The fields of a slotted dataclass as they are: `asdict` copies all that they hold, which of
    many takes long."""
    return {name: getattr(record, name) for name in record.__slots__}


@dataclass(frozen=True, slots=True)
class LegRecord:
    """One channel of a call, and when it took part.

    `name` and `state` are Asterisk's words (`PJSIP/2001-00000001`, `Up`); after the channel left,
    the state is `Gone`. `joined_at` is the first time in a bridge; from then on the leg has a
    `side` of the recordings. `left_at` is None while the channel is in the call. `vanished` means
    that no event announced the departure, so `left_at` is only when we noticed it. `holds` are the
    spans (begin, end) for which this party kept the others on hold; the last end is None while the
    hold lasts. `transferred_to` is the number to which this party sent the call, "" if it did not.
    """

    id: str
    name: str
    state: str
    party: Party | None
    created_at: datetime
    number: str | None = None
    caller_name: str | None = None
    exten: str = ""
    context: str = ""
    joined_at: datetime | None = None
    side: Side | None = None
    bridge_id: str | None = None
    left_at: datetime | None = None
    vanished: bool = False
    holds: tuple[tuple[datetime, datetime | None], ...] = ()
    transferred_at: datetime | None = None
    transferred_to: str = ""

    @property
    def alive(self) -> bool:
        """Whether the channel is still part of the call."""
        return self.left_at is None

    @property
    def on_hold(self) -> bool:
        """Whether this party keeps the others on hold now."""
        return bool(self.holds) and self.holds[-1][1] is None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as Asterisk links it; `channels` in the order in which they appeared."""

    id: str
    pbx: str
    state: CallState
    direction: Direction
    started_at: datetime
    caller_number: str | None = None
    caller_name: str | None = None
    callee_number: str | None = None
    callee_name: str | None = None
    did: str | None = None
    queue: str | None = None
    agent: str | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    channels: tuple[LegRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """A span in which nothing is recorded; `to_at` is None while it lasts."""

    from_at: datetime
    to_at: datetime | None
    by: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of the recording, in seconds from its start, that should hold audio and does not."""

    from_s: float
    to_s: float
    cause: str


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in a recording, in seconds from its start, that somebody wrote something at."""

    id: UUID
    at_s: float
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing of what is under a legal hold is ever deleted."""

    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """Our promise to keep a call's audio, and what became of it."""

    id: UUID
    call_id: str
    pbx: str
    state: RecordingState
    trigger: Trigger
    layout: Layout
    format: Format
    pause_leaves: PauseLeaves
    direction: Direction
    reason: str | None = None
    rule: str | None = None
    caller_number: str | None = None
    caller_name: str | None = None
    callee_number: str | None = None
    callee_name: str | None = None
    did: str | None = None
    queue: str | None = None
    agent: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    pauses: tuple[Pause, ...] = ()
    gaps: tuple[Gap, ...] = ()
    tags: tuple[str, ...] = ()
    retention_days: int | None = None
    announcement: str | None = None
    beep_every_s: int = 0
    note: str | None = None
    bookmarks: tuple[Bookmark, ...] = ()
    hold: Hold | None = None
    content_type: str | None = None
    channels: int | None = None
    sample_rate: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    object_key: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A continuous file captured on a PBX: what one leg of the call said, for a time."""

    id: UUID
    recording_id: UUID
    channel_id: str
    side: Side
    state: SegmentState
    name: str
    started_at: datetime
    ended_at: datetime | None = None
    end_cause: str | None = None
    duration_s: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A span in which a supervisor heard a call; `to_at` is None while it lasts."""

    from_at: datetime
    to_at: datetime | None
    call_id: str


@dataclass(frozen=True, slots=True)
class SpyRecord:
    """A supervisor's session on a live call.

    `destination` is a phone (`PJSIP/9001`) or `browser`. `call_id` moves on where the spy follows
    an agent from call to call; `agent` and `channel_id` are what it sticks to. `may` are the modes
    that its supervisor may use, `seen_at` is when its page was last connected.
    """

    id: UUID
    call_id: str
    pbx: str
    mode: Mode
    destination: str
    state: SpyState
    supervisor: str
    follow: Follow
    started_at: datetime
    may: tuple[Mode, ...]
    agent: str | None = None
    channel_id: str | None = None
    live_at: datetime | None = None
    ended_at: datetime | None = None
    cause: EndCause | None = None
    heard: tuple[Heard, ...] = ()
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """What happened: `call.*`, `recording.*` or `spy.*`; `agent` is whose call it concerns."""

    id: str
    type: str
    at: datetime
    agent: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PbxRecord:
    """What `watch` last knew of a PBX."""

    name: str
    state: PbxState
    detail: str
    version: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """Who a bearer token stands for; the token itself is kept only as its SHA-256.

    `without` are permissions of its role that it does not have. The session of a person has
    `user_id`, and `csrf`, which its pages send along to show that they are ours.
    """

    id: UUID
    name: str
    role: Role
    team: str | None
    scopes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    user_id: UUID | None = None
    csrf: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what to what, or was refused it."""

    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    outcome: Outcome
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person who signs in: by a password, or as `subject` of the identity provider `issuer`."""

    id: UUID
    name: str
    role: PersonRole
    team: str | None
    without: tuple[str, ...]
    password_hash: str | None = field(repr=False)
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class SignInRecord:
    """Somebody who was sent to the identity provider, and to `wanted` from there.

    What comes back has to bear `state` and `nonce`, and is asked for with `code_verifier`.
    """

    state: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    wanted: str


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Part of a list, and the cursor that continues it (None at its end)."""

    items: tuple[T, ...]
    next_cursor: str | None


class RuleTerms(BaseModel):
    """The terms of a rule: the calls that it matches, and the way to record them.

    The configuration, the API and the row share them. `when` is a CEL expression, "" for every
    call; it may read the named channel variables and SIP headers. A lower `priority` is evaluated
    first; equal ones go by id. `timezone` is an IANA name. The section `[recording]` decides where
    `layout` or `format` is None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    when: str = ""
    action: Action = Field(
        description="`force` and `never` win over the others, the first of them by priority; next"
        " the first `record`, then the first `on_demand`"
    )
    priority: int = Field(
        100, ge=-1_000_000, le=1_000_000, description="a lower number is evaluated first"
    )
    enabled: bool = True
    begins: Begins = Field("answer", description="`ringing`: as soon as there is any audio")
    sample_percent: float = Field(
        100.0, ge=0, le=100, description="the share of the matching calls that is recorded"
    )
    variables: tuple[str, ...] = Field(
        (), max_length=32, description="channel variables that `when` reads"
    )
    headers: tuple[str, ...] = Field((), max_length=32, description="SIP headers that `when` reads")
    timezone: str = Field("UTC", max_length=64, description="the time zone of `hour` and `weekday`")
    layout: Layout | None = None
    format: Format | None = None
    retention_days: int | None = Field(None, ge=1, le=36_500)
    tags: tuple[str, ...] = Field((), max_length=32)
    announcement: str | None = None
    announce_to: AnnounceTo = "customer"
    beep_every_s: int = Field(0, ge=0, le=3600, description="0: no beep")


class RuleRecord(RuleTerms):
    """One version of a rule.

    `id` is `config-1`, `config-2`, … for the rules of the configuration, a UUIDv7 for a rule of
    the API.
    """

    id: str
    version: int
    origin: Origin
    changed_at: datetime | None = None
    changed_by: str | None = None
    deleted: bool = False

    def replace(self, **fields: Any) -> Self:
        """Return a copy with other values in these fields: `rule.replace(version=2)`."""
        return self.model_copy(update=fields)


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What the rules said of a call.

    `rule` is the id, version and name of the one that won, None for the default. `moments` are
    JSON-able: each says when and why the rules were asked, what they saw, and what each answered.
    `announced` are the channels whose parties were told that they are recorded.
    """

    call_id: str
    action: Action
    rule: Mapping[str, Any] | None
    reason: str
    moments: tuple[Mapping[str, Any], ...]
    announced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assurance:
    """An ended call, held against its recordings.

    `expected_s` is how long it should have been recorded, `covered_s` how long it was; `cause` is
    why they differ, None where all is there or nothing was expected.
    """

    expected_s: float
    covered_s: float
    cause: str | None


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """Opens a recording without signing in, until it ends or is revoked.

    The secret in it is kept only as its SHA-256. `opened` is how often, `opened_at` when last.
    """

    id: UUID
    recording_id: UUID
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    opened: int
    opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A search of the library that somebody has given a name; `query` are the form's fields."""

    id: UUID
    owner: str
    name: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BulkRecord:
    """One thing done to many recordings, in the background.

    `arguments` are JSON-able, and of the action. `done` of `total` recordings were worked on. With
    `refused_total` it could not be done; `refused` are the first of these: JSON-able, the id of
    each and the reason. `owner_id` is the token or user to whom it belongs, who was called
    `created_by`.
    """

    id: UUID
    action: BulkAction
    arguments: Mapping[str, Any]
    total: int
    state: BulkState
    created_by: str
    created_at: datetime
    reason: str | None = None
    done: int = 0
    refused: tuple[Mapping[str, str], ...] = ()
    refused_total: int = 0
    ended_at: datetime | None = None
    object_key: str | None = None
    size_bytes: int | None = None
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that was given up; `subject` is the id of the recording or bulk that it is about.

    `reason` is why, where it is kept; the log has the rest.
    """

    id: int
    task: str
    subject: str
    attempts: int
    failed_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A server that is told of events, and how that goes; its secret is not in here.

    `types` are patterns such as `recording.*`, none for every event. It has been told all that it
    wants up to the event `after`; `lost` are events that were dropped before. The next event was
    sent `attempts` times, `rejections` of them were answered by a refusal; it is sent again at
    `retry_at`. So many events were `refused` for good. A webhook that is `gone` is told nothing.
    """

    id: UUID
    url: str
    types: tuple[str, ...]
    created_at: datetime
    created_by: str
    after: str
    lost: bool = False
    gone: bool = False
    attempts: int = 0
    rejections: int = 0
    retry_at: datetime | None = None
    last_delivered_at: datetime | None = None
    failing_since: datetime | None = None
    last_error: str | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class StorageFigures:
    """How much is kept: `recordings` in all, and those of the last 24 hours that are stored.

    `waiting` are captured and not yet stored, the oldest since `waiting_since`.
    """

    recordings: int
    is_estimate: bool
    day_recordings: int
    day_bytes: int
    day_s: float
    waiting: int
    waiting_since: datetime | None
