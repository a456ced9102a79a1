"""People of an identity provider, sign-ins that are under way, and limits for all processes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the new tables and widen the table of users."""
    op.alter_column("user", "password_hash", nullable=True)
    op.add_column("user", sa.Column("issuer", sa.Text(), nullable=True))
    op.add_column("user", sa.Column("subject", sa.Text(), nullable=True))
    op.create_unique_constraint(None, "user", ["issuer", "subject"])
    op.create_check_constraint(
        op.f("user_proof_check"), "user", "num_nonnulls(password_hash, issuer) = 1"
    )
    op.create_check_constraint(
        op.f("user_subject_check"), "user", "(issuer IS NULL) = (subject IS NULL)"
    )
    op.create_table(
        "sign_in",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("code_verifier", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("sign_in_pkey")),
    )
    op.create_index(op.f("sign_in_expires_at_idx"), "sign_in", ["expires_at"])
    op.create_table(
        "hits",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("hits_pkey")),
    )
    op.create_index(op.f("hits_expires_at_idx"), "hits", ["expires_at"])
