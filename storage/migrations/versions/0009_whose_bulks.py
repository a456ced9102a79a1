"""The owner of a bulk is a token or a user, not a name."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the owner; older bulks have none."""
    op.add_column("bulk", sa.Column("owner_id", sa.Uuid(), nullable=True))
    op.drop_index(op.f("bulk_created_by_id_idx"), "bulk")
    op.create_index(op.f("bulk_owner_id_id_idx"), "bulk", ["owner_id", "id"])
