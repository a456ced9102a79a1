"""Spies, events, the audit trail; tokens that lack a permission; segments of both sides."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the new tables and widen two old ones."""
    op.create_table(
        "spy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("supervisor", sa.Text(), nullable=False),
        sa.Column("follow", sa.Text(), nullable=False),
        sa.Column("may", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("channel_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("live_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("heard", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("audio_token_sha256", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("mode IN ('listen', 'whisper', 'barge')", name=op.f("spy_mode_check")),
        sa.CheckConstraint(
            "state IN ('requested', 'ringing', 'live', 'ended')", name=op.f("spy_state_check")
        ),
        sa.CheckConstraint("follow IN ('call', 'agent', 'channel')", name=op.f("spy_follow_check")),
        sa.CheckConstraint("state <> 'ended' OR cause IS NOT NULL", name=op.f("spy_cause_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("spy_pkey")),
        sa.UniqueConstraint("audio_token_sha256"),
    )
    op.create_index(op.f("spy_call_id_id_idx"), "spy", ["call_id", "id"], unique=False)
    op.create_index(
        "spy_live_idx", "spy", ["pbx"], unique=False, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_table(
        "event",
        sa.Column(
            "xid",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::int8"),
            nullable=False,
        ),
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("xid", "n", name=op.f("event_pkey")),
    )
    op.create_index(op.f("event_at_idx"), "event", ["at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("outcome IN ('done', 'refused')", name=op.f("audit_outcome_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index(op.f("audit_subject_id_idx"), "audit", ["subject", "id"], unique=False)
    op.add_column(
        "token",
        sa.Column("without", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.drop_constraint(op.f("segment_side_check"), "segment", type_="check")
    op.create_check_constraint(
        op.f("segment_side_check"), "segment", "side IN ('left', 'right', 'both')"
    )
