"""The tables of the catalogue; `storage/migrations/` brings a database to this shape."""

from typing import Any, get_args

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from storage.records import (
    Action,
    ActorKind,
    AgentOrigin,
    AnnounceTo,
    Begins,
    BulkAction,
    BulkState,
    CallbackState,
    CallState,
    CallTrigger,
    CampaignAgentState,
    CampaignMode,
    CampaignState,
    ConferenceState,
    DialCause,
    DialState,
    Direction,
    EndedBy,
    EntryState,
    Follow,
    Layout,
    MemberRole,
    MemberState,
    Mode,
    Outcome,
    PauseLeaves,
    PbxState,
    PersonRole,
    RecordingState,
    Role,
    SegmentState,
    Side,
    SpyState,
    Trigger,
)

# The last digits of a number, which every way to write it has. A query must repeat this text for
# PostgreSQL to use the index.
LAST_DIGITS = 6
LAST_DIGITS_OF_CALLER = f"right(regexp_replace(caller_number, '[^0-9]', '', 'g'), {LAST_DIGITS})"

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)

Instant = DateTime(timezone=True)


def _one_of(column: str, words: Any) -> CheckConstraint:
    """Allow only the words of a Literal in this column."""
    listed = ", ".join(f"'{word}'" for word in get_args(words))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def people() -> list[Column[str]]:
    """Return the columns of the parties, which calls and recordings share."""
    return [
        Column("direction", Text, nullable=False),
        Column("caller_number", Text),
        Column("caller_name", Text),
        Column("callee_number", Text),
        Column("callee_name", Text),
        Column("did", Text),
        Column("queue", Text),
        Column("agent", Text),
    ]


pbx = Table(
    "pbx",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("seen_at", Instant, nullable=False),
    _one_of("state", PbxState),
)

call = Table(
    "call",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pbx", Text, nullable=False),
    Column("state", Text, nullable=False),
    *people(),
    Column("started_at", Instant, nullable=False),
    Column("answered_at", Instant),
    Column("ended_at", Instant),
    Column("talked_at", Instant),
    Column("changed_at", Instant),
    Column("waiting_since", Instant),
    Column("joined", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("met", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("people", Integer, nullable=False, server_default=text("0")),
    Column("trigger", Text),
    Column("channels", JSONB, nullable=False),
    _one_of("state", CallState),
    _one_of("trigger", CallTrigger),
    _one_of("direction", Direction),
    Index(None, "started_at", "id"),
    Index(None, "agent", "started_at", "id"),
    Index("call_live_idx", "pbx", postgresql_where=text("state <> 'ended'")),
    Index(
        "call_inbound_idx",
        text(LAST_DIGITS_OF_CALLER),
        postgresql_where=text("direction = 'inbound'"),
    ),
)

recording = Table(
    "recording",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("call_id", Text, nullable=False),
    Column("pbx", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("trigger", Text, nullable=False),
    Column("rule", Text),
    Column("layout", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("pause_leaves", Text, nullable=False),
    *people(),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("duration_s", Float),
    Column("pauses", JSONB, nullable=False, server_default=text("'[]'")),
    Column("gaps", JSONB, nullable=False, server_default=text("'[]'")),
    Column("parties", JSONB, nullable=False, server_default=text("'[]'")),
    Column("promised_at", Instant),
    Column("ended_by", Text),
    Column("continues", Uuid),
    Column("continued_in", Uuid),
    Column("tags", ARRAY(Text), nullable=False),
    Column("retention_days", Integer),
    Column("announcement", Text),
    Column("beep_every_s", Integer, nullable=False, server_default=text("0")),
    Column("note", Text),
    Column("bookmarks", JSONB, nullable=False, server_default=text("'[]'")),
    Column("hold", JSONB(none_as_null=True)),
    Column("content_type", Text),
    Column("channels", SmallInteger),
    Column("sample_rate", Integer),
    Column("size_bytes", BigInteger),
    Column("sha256", String(64)),
    Column("object_key", Text),
    _one_of("state", RecordingState),
    _one_of("trigger", Trigger),
    _one_of("layout", Layout),
    _one_of("pause_leaves", PauseLeaves),
    _one_of("ended_by", EndedBy),
    Index(None, "call_id", "id"),
    Index(None, "agent", "id"),
    Index(None, "queue", "id"),
    Index(None, "did", "id"),
    Index(None, "rule", "id"),
    Index(None, "started_at", "id"),
    Index(
        "recording_live_idx",
        "pbx",
        postgresql_where=text("state IN ('requested', 'recording', 'paused')"),
    ),
    Index("recording_tags_idx", "tags", postgresql_using="gin"),
    Index("recording_unusual_idx", "state", "id", postgresql_where=text("state <> 'stored'")),
)
SEARCHED_WORDS = (
    "to_tsvector('simple', coalesce(note, '') || ' ' || coalesce(caller_name, '') || ' ' ||"
    " coalesce(callee_name, ''))"
)
SEARCHED_NAMES = (
    "to_tsvector('simple', coalesce(caller_name, '') || ' ' || coalesce(callee_name, ''))"
)
Index("recording_words_idx", text(SEARCHED_WORDS), _table=recording, postgresql_using="gin")

# The people whom a recording hears, for the search alone: it is made from `parties` and the columns
# of people. People search for the last digits of a number: reversed, they are a prefix.
# The index of last digits finds the newest of a frequent number, the other one a rare number.
TAIL_DIGITS = 3
recording_party = Table(
    "recording_party",
    metadata,
    Column("recording_id", ForeignKey("recording.id"), nullable=False, index=True),
    Column("number", Text),
    Column("agent", Text),
    Index("recording_party_number_idx", text("reverse(number) text_pattern_ops"), "recording_id"),
    Index(
        "recording_party_tail_idx",
        text(f'"left"(reverse(number), {TAIL_DIGITS})'),
        "recording_id",
        postgresql_include=["number"],
    ),
    Index(None, "agent", "recording_id"),
)

# Files of recordings that the store was found not to hold any more.
lost_object = Table(
    "lost_object",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("recording_id", ForeignKey("recording.id"), nullable=False),
    Column("noticed_at", Instant, nullable=False, server_default=text("now()")),
)

# A pause covers people: it holds for their channels, whatever calls and recordings they get into.
pause = Table(
    "pause",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("pbx", Text, nullable=False),
    Column("legs", ARRAY(Text), nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant),
    Column("by", Text, nullable=False),
    Index("pause_open_idx", "pbx", postgresql_where=text("to_at IS NULL")),
    Index("pause_legs_idx", "legs", postgresql_using="gin"),
)

segment = Table(
    "segment",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recording_id", ForeignKey("recording.id"), nullable=False, index=True),
    Column("channel_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("end_cause", Text),
    Column("duration_s", Float),
    Column("alignment_ms", Integer),
    Column("size_bytes", BigInteger),
    _one_of("side", Side),
    _one_of("state", SegmentState),
    # At most one running segment for each leg, whichever process starts it.
    Index(
        "segment_running_idx",
        "recording_id",
        "channel_id",
        unique=True,
        postgresql_where=text("state IN ('requested', 'recording')"),
    ),
)

spy = Table(
    "spy",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("call_id", Text, nullable=False),
    Column("pbx", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("supervisor", Text, nullable=False),
    Column("follow", Text, nullable=False),
    Column("may", ARRAY(Text), nullable=False),
    Column("agent", Text),
    Column("channel_id", Text),
    Column("started_at", Instant, nullable=False),
    Column("live_at", Instant),
    Column("ended_at", Instant),
    Column("cause", Text),
    Column("heard", JSONB, nullable=False, server_default=text("'[]'")),
    Column("seen_at", Instant),
    Column("audio_token_sha256", LargeBinary, unique=True),
    Column("owner_id", Uuid),
    Column("maker_id", Uuid),
    Column("unheard", Boolean, nullable=False, server_default=text("false")),
    _one_of("mode", Mode),
    _one_of("state", SpyState),
    _one_of("follow", Follow),
    CheckConstraint("state <> 'ended' OR cause IS NOT NULL", name="cause"),
    Index(None, "call_id", "id"),
    Index("spy_live_idx", "pbx", postgresql_where=text("state <> 'ended'")),
)

# Numbers are assigned in one order and committed in another. The number of the transaction gives
# an event a position that no slower transaction can precede: see `storage/catalogue/events.py`.
event = Table(
    "event",
    metadata,
    Column(
        "xid", BigInteger, primary_key=True, server_default=text("pg_current_xact_id()::text::int8")
    ),
    Column("n", BigInteger, Identity(always=True), primary_key=True),
    Column("type", Text, nullable=False),
    Column("at", Instant, nullable=False, server_default=text("clock_timestamp()"), index=True),
    Column("agent", Text),
    Column("data", JSONB, nullable=False),
    Column("owner_id", Uuid),
)

# Every version of every rule; the highest version is in force.
rule = Table(
    "rule",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("when", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("begins", Text, nullable=False),
    Column("sample_percent", Float, nullable=False),
    Column("variables", ARRAY(Text), nullable=False),
    Column("headers", ARRAY(Text), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("layout", Text),
    Column("format", Text),
    Column("retention_days", Integer),
    Column("tags", ARRAY(Text), nullable=False),
    Column("announcement", Text),
    Column("announce_to", Text, nullable=False),
    Column("beep_every_s", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    _one_of("action", Action),
    _one_of("begins", Begins),
    _one_of("announce_to", AnnounceTo),
)

# A table of its own, because calls are written often, and by the call model alone.
decision = Table(
    "decision",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("rule", JSONB(none_as_null=True)),
    Column("reason", Text, nullable=False),
    Column("moments", JSONB, nullable=False),
    Column("announced", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("as_of", Instant),
    Column("assurance", JSONB(none_as_null=True)),
    Index("decision_unassured_idx", "call_id", postgresql_where=text("assurance IS NULL")),
    Index(
        "decision_missing_idx",
        "call_id",
        postgresql_where=text("(assurance ->> 'cause') IS NOT NULL"),
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("at", Instant, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    _one_of("outcome", Outcome),
    _one_of("actor_kind", ActorKind),
    Index(None, "subject", "id"),
    Index(None, "actor_kind", "id"),
    Index(None, "actor", "id"),
    Index(None, "action", "id"),
    Index("audit_refused_idx", "id", postgresql_where=text("outcome = 'refused'")),
)

# A person who signs in, with a password or at an identity provider.
user = Table(
    "user",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("team", Text),
    Column("without", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("password_hash", Text),
    Column("issuer", Text),
    Column("subject", Text),
    Column("created_at", Instant, nullable=False),
    Column("last_signed_in_at", Instant),
    _one_of("role", PersonRole),
    UniqueConstraint("issuer", "subject"),
    CheckConstraint("num_nonnulls(password_hash, issuer) = 1", name="proof"),
    CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="subject"),
)

# A token with a user is a session: it expires, and its permissions are those of the user.
token = Table(
    "token",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("team", Text),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("without", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("user_id", ForeignKey("user.id", ondelete="CASCADE"), index=True),
    Column("expires_at", Instant),
    Column("csrf", Text),
    Column("pbx", Text),
    Column("last_used_at", Instant),
    _one_of("role", Role),
)

# An agent of a PBX. It needs no token: its team decides who sees its calls.
agent = Table(
    "agent",
    metadata,
    Column("name", Text, primary_key=True),
    Column("display_name", Text),
    Column("team", Text, index=True),
    Column("origin", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    _one_of("origin", AgentOrigin),
)

# A sign-in at the identity provider that is under way.
sign_in = Table(
    "sign_in",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("state", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("code_verifier", Text, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)

# Counters of attempts that have a limit; a key is stored as its SHA-256.
hits = Table(
    "hits",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("counted", Integer, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("token_id", ForeignKey("token.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("body", JSONB),
    Column("created_at", Instant, nullable=False),
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("private_pem", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# The secret of a link opens the recording until the link expires or is revoked.
link = Table(
    "link",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("recording_id", ForeignKey("recording.id"), nullable=False, index=True),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("opened", Integer, nullable=False, server_default=text("0")),
    Column("opened_at", Instant),
    Column("owner_id", Uuid, index=True),
)

saved_search = Table(
    "saved_search",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("query", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index(None, "owner_id", "name", unique=True),
)

# One action on many recordings, in the background; `done` counts its progress.
bulk = Table(
    "bulk",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("action", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("recordings", ARRAY(Uuid), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("refused", JSONB, nullable=False, server_default=text("'[]'")),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("object_key", Text),
    Column("size_bytes", BigInteger),
    Column("owner_id", Uuid),
    _one_of("action", BulkAction),
    _one_of("state", BulkState),
    Index(None, "owner_id", "id"),
)

# A trial of draft rules on past calls; `result` holds its figures once it is done.
trial = Table(
    "trial",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("drafts", JSONB, nullable=False),
    Column("default_action", Text, nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("agents", ARRAY(Text)),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("total", Integer, nullable=False, server_default=text("0")),
    Column("result", JSONB(none_as_null=True)),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("owner_id", Uuid, nullable=False),
    _one_of("state", BulkState),
)

# A call that the draft rules of a trial treat differently.
trial_change = Table(
    "trial_change",
    metadata,
    Column("trial_id", ForeignKey("trial.id", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("call_id", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
)

# A server that gets our events. `after` is the id of the last event that is delivered or given up;
# `attempts` and `rejections` count the deliveries of the next one, which is due at `retry_at`.
webhook = Table(
    "webhook",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # in clear text, because it signs the events
    Column("types", ARRAY(Text), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("lost", Boolean, nullable=False, server_default=text("false")),
    Column("gone", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("rejections", Integer, nullable=False, server_default=text("0")),
    Column("retry_at", Instant),
    Column("last_delivered_at", Instant),
    Column("failing_since", Instant),
    Column("last_error", Text),
    Column("refused", Integer, nullable=False, server_default=text("0")),
    Column("owner_id", Uuid, index=True),
    Column("stopped", Text),  # the cause
)

# The terms of recording that a request gave a call, such as the request that dialled it. They hold
# where no rule records the call and none forbids it.
call_terms = Table(
    "call_terms",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("rule_id", Text, nullable=False),
    Column("terms", JSONB, nullable=False),
    Column("set_at", Instant, nullable=False),
)

# A call that we set up. The row comes before the request to the PBX.
dial = Table(
    "dial",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("call_id", Text, nullable=False, unique=True),
    Column("pbx", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("agent", Text),
    Column("cause", Text),
    Column("answered_at", Instant),
    Column("talked_at", Instant),
    Column("ended_at", Instant),
    Column("owner_id", Uuid),
    Column("callback_id", Uuid, index=True),
    Column("campaign_id", Uuid),
    Column("entry_id", Uuid, index=True),
    Column("allowed_by", JSONB, nullable=False, server_default=text("'{}'")),
    Column("key", Text, unique=True),
    _one_of("state", DialState),
    _one_of("cause", DialCause),
    CheckConstraint("state <> 'ended' OR cause IS NOT NULL", name="ended"),
    Index(None, "campaign_id", "id"),
    Index(None, "number", "id"),
    Index("dial_live_idx", "pbx", "phone", unique=True, postgresql_where=text("state <> 'ended'")),
)


def _hours() -> list[Column[Any]]:
    """Return the columns of the local hours in which a number may be dialled."""
    return [
        Column("from_hour", SmallInteger, nullable=False),
        Column("to_hour", SmallInteger, nullable=False),
        Column("weekdays", ARRAY(SmallInteger), nullable=False),
    ]


callback = Table(
    "callback",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("pbx", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("name", Text),
    Column("note", Text),
    Column("call_id", Text),
    Column("state", Text, nullable=False),
    Column("at", Instant, nullable=False),
    *_hours(),
    Column("retry_after_s", ARRAY(Integer), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Instant),
    Column("next_at", Instant),
    Column("cause", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("owner_id", Uuid),
    Column("ended_at", Instant),
    _one_of("state", CallbackState),
    Index(None, "number", "id"),
    Index(None, "agent", "id"),
    Index(
        "callback_waiting_idx", "next_at", postgresql_where=text("state IN ('waiting', 'dialling')")
    ),
)

do_not_call = Table(
    "do_not_call",
    metadata,
    Column("number", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
)

campaign = Table(
    "campaign",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("name", Text, nullable=False),
    Column("pbx", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("agents", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("queue", Text),
    *_hours(),
    Column("retry_after_s", ARRAY(Integer), nullable=False),
    Column("record", Boolean, nullable=False, server_default=text("false")),
    Column("announce", Text),
    Column("wrap_up_s", Integer, nullable=False, server_default=text("10")),
    Column("cause", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("owner_id", Uuid),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    _one_of("mode", CampaignMode),
    _one_of("state", CampaignState),
    Index("campaign_running_idx", "pbx", postgresql_where=text("state = 'running'")),
)

campaign_entry = Table(
    "campaign_entry",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("given", Text, nullable=False),
    Column("number", Text),
    Column("name", Text),
    Column("consent", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("zones", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", Instant),
    Column("cause", Text),
    Column("agent", Text),
    Column("last_dial_id", Uuid),
    _one_of("state", EntryState),
    UniqueConstraint("campaign_id", "place"),
    Index(None, "campaign_id", "state", "zones", "next_at", "place"),
)

campaign_agent = Table(
    "campaign_agent",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("phone", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("entry_id", Uuid),
    Column("ready_at", Instant),
    _one_of("state", CampaignAgentState),
)

conference = Table(
    "conference",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("pbx", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("record", Boolean, nullable=False, server_default=text("false")),
    Column("layout", Text),
    Column("owner", Text),
    Column("pin", Text),
    Column("locked", Boolean, nullable=False, server_default=text("false")),
    Column("announce", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text, nullable=False),
    Column("owner_id", Uuid),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("cause", Text),
    _one_of("state", ConferenceState),
    _one_of("layout", Layout),
    Index(
        "conference_open_idx", "pbx", "name", unique=True, postgresql_where=text("state = 'open'")
    ),
)

conference_member = Table(
    "conference_member",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: its order is the order in time
    Column("conference_id", ForeignKey("conference.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("destination", Text),
    Column("number", Text),
    Column("name", Text),
    Column("muted", Boolean, nullable=False, server_default=text("false")),
    Column("on_hold", Boolean, nullable=False, server_default=text("false")),
    Column("talking", Boolean, nullable=False, server_default=text("false")),
    Column("quiet", JSONB, nullable=False, server_default=text("'[]'")),
    Column("joined_at", Instant),
    Column("left_at", Instant),
    Column("cause", Text),
    _one_of("state", MemberState),
    _one_of("role", MemberRole),
    Index(None, "conference_id", "id"),
    Index(None, "call_id", "id"),
    Index("conference_member_live_idx", "channel_id", postgresql_where=text("state <> 'left'")),
    Index("conference_member_quiet_idx", "channel_id", postgresql_where=text("quiet <> '[]'")),
)

# The words by which a program asked for a call, a conference, a member or a call-back. Events about
# this subject repeat them, so that the program knows its own.
program_request = Table(
    "program_request",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("at", Instant, nullable=False, index=True),
)
