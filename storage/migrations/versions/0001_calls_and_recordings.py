"""Calls, recordings, segments, tokens; and the job queue's own tables."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table; the job queue brings its own schema."""
    op.create_table(
        "call",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("caller_number", sa.Text(), nullable=True),
        sa.Column("caller_name", sa.Text(), nullable=True),
        sa.Column("callee_number", sa.Text(), nullable=True),
        sa.Column("callee_name", sa.Text(), nullable=True),
        sa.Column("did", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("channels", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint(
            "direction IN ('inbound', 'outbound', 'internal')", name=op.f("call_direction_check")
        ),
        sa.CheckConstraint("state IN ('ringing', 'up', 'ended')", name=op.f("call_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("call_pkey")),
    )
    op.create_index(
        "call_live_idx", "call", ["pbx"], unique=False, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_index(op.f("call_started_at_id_idx"), "call", ["started_at", "id"], unique=False)
    op.create_table(
        "pbx",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('connected', 'unreachable')", name=op.f("pbx_state_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("pbx_pkey")),
    )
    op.create_table(
        "recording",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("pause_leaves", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("caller_number", sa.Text(), nullable=True),
        sa.Column("caller_name", sa.Text(), nullable=True),
        sa.Column("callee_number", sa.Text(), nullable=True),
        sa.Column("callee_name", sa.Text(), nullable=True),
        sa.Column("did", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("pauses", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("gaps", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("channels", sa.SmallInteger(), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.CheckConstraint("layout IN ('dual', 'mono')", name=op.f("recording_layout_check")),
        sa.CheckConstraint(
            "pause_leaves IN ('silence', 'skip')", name=op.f("recording_pause_leaves_check")
        ),
        sa.CheckConstraint(
            "state IN ('requested', 'recording', 'paused', 'captured', 'stored', 'purged',"
            " 'aborted', 'discarded', 'failed')",
            name=op.f("recording_state_check"),
        ),
        sa.CheckConstraint(
            "trigger IN ('rule', 'manual', 'dtmf', 'dialplan')",
            name=op.f("recording_trigger_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("recording_pkey")),
    )
    op.create_index(op.f("recording_agent_id_idx"), "recording", ["agent", "id"], unique=False)
    op.create_index(op.f("recording_call_id_id_idx"), "recording", ["call_id", "id"], unique=False)
    op.create_index(
        "recording_callee_number_idx",
        "recording",
        [sa.literal_column("reverse(callee_number) text_pattern_ops"), "id"],
        unique=False,
    )
    op.create_index(
        "recording_caller_number_idx",
        "recording",
        [sa.literal_column("reverse(caller_number) text_pattern_ops"), "id"],
        unique=False,
    )
    op.create_index(
        "recording_live_idx",
        "recording",
        ["pbx"],
        unique=False,
        postgresql_where=sa.text("state IN ('requested', 'recording', 'paused')"),
    )
    op.create_index(op.f("recording_queue_id_idx"), "recording", ["queue", "id"], unique=False)
    op.create_index(
        op.f("recording_started_at_id_idx"), "recording", ["started_at", "id"], unique=False
    )
    op.create_index(
        "recording_tags_idx", "recording", ["tags"], unique=False, postgresql_using="gin"
    )
    op.create_index(
        "recording_words_idx",
        "recording",
        [
            sa.literal_column(
                "to_tsvector('simple', coalesce(note, '') || ' ' || coalesce(caller_name, '')"
                " || ' ' || coalesce(callee_name, ''))"
            )
        ],
        unique=False,
        postgresql_using="gin",
    )
    op.create_table(
        "signing_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("private_pem", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("signing_key_pkey")),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=True),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('admin', 'supervisor', 'compliance', 'agent', 'service')",
            name=op.f("token_role_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("token_pkey")),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "idempotency",
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("body", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name=op.f("idempotency_token_id_fkey")),
        sa.PrimaryKeyConstraint("token_id", "key", name=op.f("idempotency_pkey")),
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_cause", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("side IN ('left', 'right')", name=op.f("segment_side_check")),
        sa.CheckConstraint(
            "state IN ('requested', 'recording', 'finished', 'lost', 'deleted')",
            name=op.f("segment_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recording.id"], name=op.f("segment_recording_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("segment_pkey")),
    )
    op.create_index(op.f("segment_recording_id_idx"), "segment", ["recording_id"], unique=False)
    op.create_index(
        "segment_running_idx",
        "segment",
        ["recording_id", "channel_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('requested', 'recording')"),
    )
    op.get_bind().connection.cursor().execute(SchemaManager.get_schema())
