"""Indexes that find rare rows among millions: of an agent, an actor, a number, a rule."""

from alembic import op
from sqlalchemy import text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the indexes; a million rows of each table take some seconds."""
    op.create_index(op.f("call_agent_started_at_id_idx"), "call", ["agent", "started_at", "id"])
    for column in ("did", "rule"):
        op.create_index(op.f(f"recording_{column}_id_idx"), "recording", [column, "id"])
    for column in ("actor", "action"):
        op.create_index(op.f(f"audit_{column}_id_idx"), "audit", [column, "id"])
    refused = text("outcome = 'refused'")
    op.create_index("audit_refused_idx", "audit", ["id"], postgresql_where=refused)
