"""People who sign in, and their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the new table and widen old ones."""
    op.create_table(
        "user",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=True),
        sa.Column("without", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('admin', 'supervisor', 'compliance', 'agent')", name=op.f("user_role_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("user_pkey")),
        sa.UniqueConstraint("name"),
    )
    op.add_column("token", sa.Column("user_id", sa.Uuid(), nullable=True))
    op.add_column("token", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("token", sa.Column("csrf", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("token_user_id_fkey"), "token", "user", ["user_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(op.f("token_user_id_idx"), "token", ["user_id"])
    op.drop_constraint("idempotency_token_id_fkey", "idempotency")
    op.create_foreign_key(
        op.f("idempotency_token_id_fkey"),
        "idempotency",
        "token",
        ["token_id"],
        ["id"],
        ondelete="CASCADE",
    )
