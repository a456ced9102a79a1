"""Rules in all their versions, decisions about calls, and terms of a recording."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the new tables and widen an old one."""
    op.create_table(
        "rule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("when", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("begins", sa.Text(), nullable=False),
        sa.Column("sample_percent", sa.Float(), nullable=False),
        sa.Column("variables", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("headers", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("announcement", sa.Text(), nullable=True),
        sa.Column("announce_to", sa.Text(), nullable=False),
        sa.Column("beep_every_s", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "action IN ('force', 'record', 'on_demand', 'never')", name=op.f("rule_action_check")
        ),
        sa.CheckConstraint("begins IN ('ringing', 'answer')", name=op.f("rule_begins_check")),
        sa.CheckConstraint(
            "announce_to IN ('customer', 'both')", name=op.f("rule_announce_to_check")
        ),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("rule_pkey")),
    )
    op.create_table(
        "decision",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("rule", postgresql.JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moments", postgresql.JSONB(), nullable=False),
        sa.Column("announced", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("assurance", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("call_id", name=op.f("decision_pkey")),
    )
    op.create_index(
        "decision_unassured_idx",
        "decision",
        ["call_id"],
        unique=False,
        postgresql_where=sa.text("assurance IS NULL"),
    )
    op.create_index(
        "decision_missing_idx",
        "decision",
        ["call_id"],
        unique=False,
        postgresql_where=sa.text("(assurance ->> 'cause') IS NOT NULL"),
    )
    op.add_column("recording", sa.Column("retention_days", sa.Integer(), nullable=True))
    op.add_column("recording", sa.Column("announcement", sa.Text(), nullable=True))
    op.add_column(
        "recording",
        sa.Column("beep_every_s", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
