"""Notes, holds, links, searches, and actions on many recordings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the new tables and widen old ones."""
    empty = sa.text("'[]'")
    nothing = sa.text("0")
    op.add_column(
        "recording",
        sa.Column("bookmarks", postgresql.JSONB(), server_default=empty, nullable=False),
    )
    op.add_column("recording", sa.Column("hold", postgresql.JSONB(), nullable=True))
    op.create_table(
        "link",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.Column("opened", sa.Integer(), server_default=nothing, nullable=False),
        sa.Column("opened_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recording.id"], name=op.f("link_recording_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("link_pkey")),
        sa.UniqueConstraint("sha256"),
    )
    op.create_index(op.f("link_recording_id_idx"), "link", ["recording_id"])
    op.create_table(
        "saved_search",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("saved_search_pkey")),
    )
    op.create_index(
        op.f("saved_search_owner_name_idx"), "saved_search", ["owner", "name"], unique=True
    )
    op.create_table(
        "bulk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("recordings", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("done", sa.Integer(), server_default=nothing, nullable=False),
        sa.Column("refused", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("action IN ('tag', 'hold', 'export')", name=op.f("bulk_action_check")),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')", name=op.f("bulk_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("bulk_pkey")),
    )
    op.create_index(op.f("bulk_created_by_id_idx"), "bulk", ["created_by", "id"])
