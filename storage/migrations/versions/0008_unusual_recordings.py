"""Find the recordings that are not stored, yet or ever, among millions that are."""

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Index the few."""
    op.create_index(
        "recording_unusual_idx",
        "recording",
        ["state", "id"],
        postgresql_where=text("state <> 'stored'"),
    )
