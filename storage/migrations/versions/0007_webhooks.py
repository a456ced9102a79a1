"""Webhooks: servers that get our events."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    no, nothing = sa.text("false"), sa.text("0")
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("lost", sa.Boolean(), server_default=no, nullable=False),
        sa.Column("gone", sa.Boolean(), server_default=no, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=nothing, nullable=False),
        sa.Column("rejections", sa.Integer(), server_default=nothing, nullable=False),
        sa.Column("retry_at", _INSTANT, nullable=True),
        sa.Column("last_delivered_at", _INSTANT, nullable=True),
        sa.Column("failing_since", _INSTANT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("refused", sa.Integer(), server_default=nothing, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_pkey")),
    )
