"""Rows of the catalogue as frozen values; a field is a column of the same name.

Source: `storage/schema.py` and the words of the contract. Times are aware UTC datetimes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

T = TypeVar("T")

# Closed word lists, each written once: the CHECK constraints of `storage/schema.py`, the states of
# `storage/states.py`, the configuration, the API and its pages take their words from here.
PbxState = Literal["connected", "unreachable"]
CallState = Literal["ringing", "up", "ended"]
Activity = Literal["ringing", "waiting", "menu", "talking", "on_hold", "conference"]
Direction = Literal["inbound", "outbound", "internal"]
Party = Literal["customer", "agent"]
Speaker = Literal["customer", "agent", "supervisor"]
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
Trigger = Literal["rule", "manual", "dtmf", "dialplan", "dialled"]
CallTrigger = Literal["dialled"]
Layout = Literal["dual", "mono", "tracks"]
Format = Literal["opus", "mp3", "flac", "wav"]
PauseLeaves = Literal["silence", "skip"]
Side = Literal["left", "right", "both"]
SegmentState = Literal["requested", "recording", "finished", "lost", "deleted"]
# Why a recording ended: its call did, a person or a rule ended it, or another recording goes on.
EndedBy = Literal["call", "person", "rule", "merge"]
# Why a segment ended, and so why audio is missing after it. Older rows hold sentences too.
GapCause = Literal[
    "finished",
    "failed",
    "stopped",
    "pbx-lost",
    "pbx-stalled",
    "wrong-speed",
    "unobserved",
    "never-began",
    "not-captured",
    "file-missing",
    "file-empty",
    "file-unreadable",
    "forbidden",
    "pause",
]
Mode = Literal["listen", "whisper", "barge"]
Follow = Literal["call", "agent", "channel"]
SpyState = Literal["requested", "ringing", "live", "ended"]
# What becomes of a spy whose call goes to another team: it ends, or only listens from then on.
AfterTransfer = Literal["end", "listen"]
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
    "transferred",
    "pbx-unreachable",
    "pbx-lost",
]
Action = Literal["force", "record", "on_demand", "never"]
DefaultAction = Literal["record", "on_demand", "never"]
Begins = Literal["ringing", "media", "answer"]
AnnounceTo = Literal["customer", "both"]
Origin = Literal["config", "api"]
PersonRole = Literal["admin", "supervisor", "compliance", "agent"]
Role = Literal["admin", "supervisor", "compliance", "agent", "service"]
BulkAction = Literal["tag", "hold", "export"]
BulkState = Literal["waiting", "running", "done", "failed"]
Outcome = Literal["done", "refused"]
ActorKind = Literal["user", "token", "rule", "dialplan", "link", "system"]
# Why a webhook was stopped: its owner is gone, or may no longer have webhooks.
StopCause = Literal["owner-gone", "right-lost"]
AgentOrigin = Literal["csv", "pattern", "api"]  # of a line in the list of agents
TeamOrigin = Literal["csv", "pattern", "api", "user", "token"]
# A call that we set up: the agent's phone rings, then the number is dialled, then two people talk.
DialState = Literal["requested", "ringing", "dialling", "up", "ended"]
# Why a dialled call ended. Those that begin with `agent-` ended before the number was dialled.
DialCause = Literal[
    "ended",
    "cancelled",
    "agent-busy",
    "agent-no-answer",
    "agent-declined",
    "agent-unreachable",
    "busy",
    "no-answer",
    "declined",
    "wrong-number",
    "unreachable",
    "congestion",
    "not-permitted",
    "pbx-unreachable",
    "pbx-lost",
]
# The form in which the dialplan wants a number, for example `12025550123` for `e164`.
DialFormat = Literal["e164", "plus", "national"]
CallbackState = Literal["waiting", "dialling", "done", "cancelled", "failed"]
CampaignMode = Literal["preview", "progressive"]
CampaignState = Literal["draft", "running", "paused", "stopped", "done"]
EntryState = Literal["waiting", "reserved", "dialling", "done", "refused", "exhausted"]
CampaignAgentState = Literal["away", "ready", "reserved"]
ConferenceState = Literal["open", "ended"]
# A member whom we call rings; a guest may wait for the owner; then the member is in, until he left.
MemberState = Literal["requested", "ringing", "waiting", "in", "left"]
MemberRole = Literal["owner", "member", "guest"]


def shallow(record: Any) -> dict[str, Any]:
    """Return the fields of a slotted dataclass without copying their values, as `asdict` does
    slowly."""
    return {name: getattr(record, name) for name in record.__slots__}


@dataclass(frozen=True, slots=True)
class Stay:
    """A span of a channel in one bridge; `to_at` is None while it lasts."""

    bridge_id: str
    from_at: datetime
    to_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LegRecord:
    """A channel of a person in a call, with the times of its part in it.

    `name` and `state` are Asterisk's words (`PJSIP/2001-00000001`, `Up`); after the channel left,
    the state is `Gone`. `joined_at` is the first time in a bridge, `bridge_id` the bridge of now,
    `stays` all bridges so far. `served_at` is the last time at which this party got together with a
    customer, `media_at` the first audio before the answer. `left_at` is None while the channel is
    in the call. `vanished` means that no event announced the departure, so `left_at` is only the
    time when we noticed it. `holds` are the spans (begin, end) in which this party kept the others
    on hold; the last end is None while the hold lasts. `transferred_to` is the number to which this
    party sent the call, "" if it did not.
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
    bridge_id: str | None = None
    stays: tuple[Stay, ...] = ()
    served_at: datetime | None = None
    media_at: datetime | None = None
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
    """A call as Asterisk links it; `channels` are in the order of their appearance.

    `joined` are the other calls of the same conversation now, `met` those of any time. `talked_at`
    is the first time at which two people heard each other, `changed_at` the last change of a fact
    that rules read, both by the PBX's clock. `waiting_since` is set while the caller waits in the
    queue. `people` counts those who hear each other now, in the largest conversation of its legs.
    `trigger` is `dialled` for a call that we set up.
    """

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
    talked_at: datetime | None = None
    changed_at: datetime | None = None
    waiting_since: datetime | None = None
    joined: tuple[str, ...] = ()
    met: tuple[str, ...] = ()
    people: int = 0
    trigger: CallTrigger | None = None
    channels: tuple[LegRecord, ...] = ()

    @property
    def talking(self) -> bool:
        """Whether two people hear each other now."""
        return self.state != "ended" and self.people > 1

    @property
    def is_waiting(self) -> bool:
        """Whether the caller waits in a queue now."""
        return self.state != "ended" and self.queue is not None and self.waiting_since is not None

    @property
    def activity(self) -> Activity | None:
        """Return the present activity of the call, None after its end.

        Example: a caller in a queue is `waiting`, and one who hears a menu or is alone in a
        conference is in the `menu`.
        """
        live = [leg for leg in self.channels if leg.alive]
        if self.state == "ended":
            return None
        if self.talking:
            is_held = any(leg.on_hold for leg in live)
            return "conference" if self.people > 2 else "on_hold" if is_held else "talking"
        if self.is_waiting:
            return "waiting"
        rings = any(leg.party is not None and leg.state != "Up" for leg in live)
        return "ringing" if rings or self.state == "ringing" else "menu"


@dataclass(frozen=True, slots=True)
class Pause:
    """A span without recording; `to_at` is None while it lasts."""

    from_at: datetime
    to_at: datetime | None
    by: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of the recording, in seconds from its start, whose audio is missing."""

    from_s: float
    to_s: float
    cause: str


@dataclass(frozen=True, slots=True)
class RecordingParty:
    """A person whom a recording hears, with the spans in seconds from its start.

    `agent` is the extension of an agent, such as `2001`; None for everybody else. `track` is the
    person's channel in the layout `tracks`, counted from 0; None in any other layout.
    """

    party: Speaker
    number: str | None
    name: str | None
    side: Side
    spans: tuple[tuple[float, float | None], ...] = ()
    agent: str | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class PeoplePause:
    """A pause of the people on these channels; `to_at` is None while it lasts.

    No recording hears them meanwhile, whatever becomes of their calls.
    """

    id: UUID
    pbx: str
    legs: tuple[str, ...]
    from_at: datetime
    by: str
    to_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A note of a person at a position of a recording, in seconds from its start."""

    id: UUID
    at_s: float
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold: it protects a recording from every deletion."""

    reason: str
    by: str
    at: datetime


# The fields in which people write about a recording and its people.
REMARKS = frozenset({"note", "bookmarks", "hold"})


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """Our promise to keep a conversation's audio, and its result.

    `promised_at` is the moment from which it was to hear everything. Where two recorded
    conversations became one, the recording that ended names in `continued_in` the one that goes on,
    and that one names the other in `continues`.
    """

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
    parties: tuple[RecordingParty, ...] = ()
    promised_at: datetime | None = None
    ended_by: EndedBy | None = None
    continues: UUID | None = None
    continued_in: UUID | None = None
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

    @property
    def is_by_decision(self) -> bool:
        """Whether a decision about its people wants the recording, so that it goes with them.

        A decision comes from a rule, from the default, or from the request of a dialled call or a
        conference.
        """
        return self.trigger in {"rule", "dialled"} or self.rule is not None

    def without_remarks(self) -> "RecordingRecord":
        """Return the recording without its remarks: its note, bookmarks and hold."""
        return replace(self, note=None, bookmarks=(), hold=None)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A file that the PBX records without a break: the voice of one leg.

    `alignment_ms` is how far a sound in it may lie from its true time; None until it is measured.
    """

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
    alignment_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A span in which a supervisor heard a call; `to_at` is None while it lasts."""

    from_at: datetime
    to_at: datetime | None
    call_id: str


@dataclass(frozen=True, slots=True)
class SpyRecord:
    """The session of a supervisor on a live call.

    `destination` is a phone (`PJSIP/9001`) or `browser`. With `follow: agent`, `call_id` changes
    from call to call; `agent` and `channel_id` stay. `may` are the modes that the supervisor may
    use, `seen_at` is the last time when the page was connected. `owner_id` is the token or session
    whose rights the spy needs, `maker_id` the person or token. `unheard` means that the supervisor
    talks and nobody can hear it.
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
    owner_id: UUID | None = None
    maker_id: UUID | None = None
    unheard: bool = False


@dataclass(frozen=True, slots=True)
class DialRecord:
    """A call that we set up: it rings the agent's `phone`, then dials `number`.

    `call_id` is the id of the call, `number` is in E.164 (`+12025550123`). `allowed_by` says by
    which rules the number may be dialled now, JSON-able: the prefix, the local hours, the consent.
    Of two requests with one `key`, the second gets the dial of the first.
    """

    id: UUID
    call_id: str
    pbx: str
    phone: str
    number: str
    state: DialState
    created_by: str
    requested_at: datetime
    agent: str | None = None
    cause: DialCause | None = None
    answered_at: datetime | None = None
    talked_at: datetime | None = None
    ended_at: datetime | None = None
    owner_id: UUID | None = None
    callback_id: UUID | None = None
    campaign_id: UUID | None = None
    entry_id: UUID | None = None
    allowed_by: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Hours:
    """The local hours in which a number may be dialled: `from_hour` up to, not at, `to_hour`.

    `weekdays` are ISO weekdays, 1 is Monday. `Hours(9, 20, (1, 2, 3, 4, 5))` is 09:00 to 19:59.
    """

    from_hour: int = 8
    to_hour: int = 20
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class CallbackRecord:
    """A promise to call a number back at a time, within the local hours of the number.

    `phone` rings first; `agent` is its owner. After an attempt without a talk, the next one comes
    after the next of `retry_after_s`; after the last one the call-back has failed. The present
    attempt is due since `due_at`, and tried at `next_at`. `cause` says why the call-back waits, or
    why it has ended.
    """

    id: UUID
    pbx: str
    phone: str
    agent: str
    number: str
    state: CallbackState
    at: datetime
    hours: Hours
    retry_after_s: tuple[int, ...]
    created_at: datetime
    created_by: str
    name: str | None = None
    note: str | None = None
    call_id: str | None = None
    attempts: int = 0
    due_at: datetime | None = None
    next_at: datetime | None = None
    cause: str | None = None
    ended_at: datetime | None = None
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DoNotCall:
    """A number that no call of ours may reach, in E.164."""

    number: str
    reason: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A list of numbers to dial, for these agents or the members of a queue.

    In the mode `preview` the agent sees a number and starts the call; in `progressive` the call
    starts by itself once an agent is ready: the agent's phone rings first, in both. `record` and
    `announce` are the terms of the recordings. After a call an agent is ready again after
    `wrap_up_s`. `cause` says why a campaign paused itself. A draft with `list-incomplete` cannot
    start: its list was not read to the end.
    """

    id: UUID
    name: str
    pbx: str
    mode: CampaignMode
    state: CampaignState
    hours: Hours
    retry_after_s: tuple[int, ...]
    created_at: datetime
    created_by: str
    agents: tuple[str, ...] = ()
    queue: str | None = None
    record: bool = False
    announce: str | None = None
    wrap_up_s: int = 10
    cause: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """A line of a campaign's list; `number` is in E.164, None if `given` is no number.

    `consent` is the column of that name, `data` are all other columns. `zones` are the IANA time
    zones in which the number may be. `cause` is the result of the last attempt, or the refusal.
    `last_dial_id` is the last dialled call whose result is counted.
    """

    id: UUID
    campaign_id: UUID
    place: int
    given: str
    state: EntryState
    number: str | None = None
    name: str | None = None
    consent: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    attempts: int = 0
    next_at: datetime | None = None
    cause: str | None = None
    agent: str | None = None
    last_dial_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CampaignAgent:
    """An agent of a campaign: a ready one may be reserved for the entry `entry_id`.

    A ready agent with `ready_at` in the future still wraps up the last call.
    """

    campaign_id: UUID
    agent: str
    phone: str
    state: CampaignAgentState
    since: datetime
    entry_id: UUID | None = None
    ready_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConferenceRecord:
    """A conference that we hold in a bridge of the PBX.

    It ends with its last member, or with its owner where it has one. Guests wait until the owner
    is in. A locked conference admits nobody else. `pin` admits callers from the dialplan.
    `record` and `layout` are the terms of its recording.
    """

    id: UUID
    pbx: str
    name: str
    state: ConferenceState
    created_by: str
    started_at: datetime
    record: bool = False
    layout: Layout | None = None
    owner: str | None = None
    pin: str | None = field(default=None, repr=False)
    locked: bool = False
    announce: bool = False
    ended_at: datetime | None = None
    cause: str | None = None
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member of a conference: the channel `channel_id`, of the call `call_id`.

    `destination` is the phone or the number that we called, None for one who came by himself.
    `quiet` are the spans in which nobody heard the member, muted or on hold; the last end is None
    while it lasts.
    """

    id: UUID
    conference_id: UUID
    state: MemberState
    role: MemberRole
    requested_at: datetime
    channel_id: str
    call_id: str
    destination: str | None = None
    number: str | None = None
    name: str | None = None
    muted: bool = False
    on_hold: bool = False
    talking: bool = False
    quiet: tuple[tuple[datetime, datetime | None], ...] = ()
    joined_at: datetime | None = None
    left_at: datetime | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event, such as `call.up` or `recording.stored`; `agent` is the agent of its call.

    `owner_id` is the person or token whose spy, conference or campaign it is about.
    """

    id: str
    type: str
    at: datetime
    agent: str | None
    data: Mapping[str, Any]
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class PbxRecord:
    """The last state of a PBX that its watcher knows."""

    name: str
    state: PbxState
    detail: str
    version: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The owner of a bearer token, whose secret is stored only as its SHA-256.

    `without` lists permissions of the role that this token lacks. The session of a person has a
    `user_id`, and `csrf`, a secret that our own pages send with each request.
    """

    id: UUID
    name: str
    role: Role
    team: str | None
    scopes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    user_id: UUID | None = None
    csrf: str | None = field(default=None, repr=False)
    pbx: str | None = None  # the dialplan of this PBX has the token
    last_used_at: datetime | None = None  # a minute late at most; None of a session


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who did something, as the audit trail names it: a kind, and a name of that kind.

    Example: `Actor("user", "ann")`, `Actor("rule", "support")`, `Actor("dialplan", "main")`.
    """

    kind: ActorKind
    name: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the audit trail: an action, or its refusal."""

    id: UUID
    at: datetime
    actor_kind: ActorKind
    actor: str
    action: str
    subject: str
    outcome: Outcome
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person who signs in, with a password or as `subject` of the identity provider `issuer`."""

    id: UUID
    name: str
    role: PersonRole
    team: str | None
    without: tuple[str, ...]
    password_hash: str | None = field(repr=False)
    issuer: str | None = None
    subject: str | None = None
    last_signed_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent of the PBX: a person with an endpoint, who needs no token and no password.

    `name` is the name of the endpoint, such as 2001; `display_name` is the person's. `origin` says
    who knows the team.
    """

    name: str
    display_name: str | None
    team: str | None
    origin: TeamOrigin
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SignInRecord:
    """A sign-in at the identity provider that is under way; it leads to the page `wanted`.

    The answer must contain `state` and `nonce`; `code_verifier` proves that we asked for it.
    """

    state: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    wanted: str


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """A part of a list, and the cursor that continues it (None at the end)."""

    items: tuple[T, ...]
    next_cursor: str | None


def check_layout(layout: Layout | None, format: Format | None) -> None:
    """Raise ValueError for a track for each person in MP3."""
    if layout == "tracks" and format == "mp3":
        raise ValueError(
            "mp3 has two channels, so it cannot hold a track for each person: use opus, flac or wav"
        )


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
    begins: Begins = Field(
        "answer",
        description="`answer`: when two people talk; `media`: also before the answer, once both can"
        " be heard; `ringing`: as soon as there is any audio",
    )
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

    @model_validator(mode="after")
    def _has_room_for_tracks(self) -> Self:
        check_layout(self.layout, self.format)
        return self


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
    """The decision of the rules about a call.

    `rule` holds the id, version and name of the rule that won, None for the default. `moments` are
    JSON-able: the time and occasion of each evaluation, its facts, and the answer of each rule.
    `announced` are the channels of the parties that heard the announcement. `as_of` is the
    `changed_at` of the call for which it was made: a call with a later one needs a new decision.
    """

    call_id: str
    action: Action
    rule: Mapping[str, Any] | None
    reason: str
    moments: tuple[Mapping[str, Any], ...]
    announced: tuple[str, ...] = ()
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Assurance:
    """The result of comparing an ended call with its recordings.

    The recording should last `expected_s` and lasts `covered_s`; `cause` is the reason for a
    difference, or None.
    """

    expected_s: float
    covered_s: float
    cause: str | None


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link that opens a recording without signing in, until it expires or is revoked.

    Its secret is stored only as its SHA-256. `opened` counts the openings, `opened_at` is the last
    one.
    """

    id: UUID
    recording_id: UUID
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    opened: int
    opened_at: datetime | None
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A saved search of the library; `query` are the fields of the form."""

    id: UUID
    owner_id: UUID
    name: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BulkRecord:
    """An action on many recordings, in the background.

    `arguments` are those of the action, JSON-able. `done` of `total` recordings are finished. The
    action failed for `refused_total` of them; `refused` holds the first of these, JSON-able: the id
    and the reason. The bulk belongs to the token or user `owner_id`, whose name was `created_by`.
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
class TrialChange:
    """A call that draft rules treat differently; None means that it is not recorded."""

    call_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The figures of draft rules on `calls` calls that started between `from_at` and `to_at`.

    They are not `complete` if there were too many calls: then `from_at` is the start of the oldest
    examined call. Audio is in seconds, storage in bytes.
    """

    from_at: datetime
    to_at: datetime
    complete: bool
    calls: int
    recorded: int
    recorded_before: int
    audio_s: float
    audio_s_per_month: float
    bytes_per_month: int
    changed: int


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial of draft rules on the past calls of these agents (None: all), in the background.

    `done` of `total` calls are examined. The trial belongs to the token or user `owner_id`, whose
    name was `created_by`.
    """

    id: UUID
    drafts: tuple["RuleRecord", ...]
    default_action: Action
    from_at: datetime
    to_at: datetime
    state: BulkState
    created_by: str
    created_at: datetime
    owner_id: UUID
    agents: tuple[str, ...] | None = None
    reason: str | None = None
    done: int = 0
    total: int = 0
    result: TrialResult | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that was given up, about the recording or bulk `subject`; the log has more than
    `reason`."""

    id: int
    task: str
    subject: str
    attempts: int
    failed_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A server that gets our events, and the progress of its deliveries; without its secret.

    `types` are patterns such as `recording.*`, empty for every event. All events up to `after` are
    delivered or given up; `lost` means that some were dropped before their delivery. The next event
    was sent `attempts` times, and the server refused it `rejections` times; it is due again at
    `retry_at`. `refused` counts the events that were given up. A webhook that is `gone` gets no
    events. It gets only events that its maker, `owner_id`, may see at the delivery; `stopped` is
    the cause if the maker may have no webhook any more.
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
    owner_id: UUID | None = None
    stopped: StopCause | None = None


@dataclass(frozen=True, slots=True)
class StorageFigures:
    """Figures about the store: all `recordings`, and those stored in the last 24 hours.

    `waiting` recordings are captured but not stored, the oldest since `waiting_since`.
    """

    recordings: int
    is_estimate: bool
    day_recordings: int
    day_bytes: int
    day_s: float
    waiting: int
    waiting_since: datetime | None
