"""An index that finds the few recordings that are not stored among millions."""

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "recording_unusual_idx",
        "recording",
        ["state", "id"],
        postgresql_where=text("state <> 'stored'"),
    )
