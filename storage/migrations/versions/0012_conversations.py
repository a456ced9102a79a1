"""Add conversations, pauses of people, parties of recordings, and trials of rules."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

INSTANT = sa.DateTime(timezone=True)
TEXTS = postgresql.ARRAY(sa.Text())

# The two ends and the agent. Where the agent is one of the ends, one row says both.
PARTIES_OF_OLD_RECORDINGS = """
INSERT INTO recording_party (recording_id, number, agent)
SELECT id, number, CASE WHEN number IS NULL OR number = agent THEN agent END
FROM recording CROSS JOIN LATERAL (
    SELECT caller_number AS number WHERE caller_number IS NOT NULL
    UNION SELECT callee_number WHERE callee_number IS NOT NULL
    UNION SELECT NULL WHERE agent IS NOT NULL
        AND agent IS DISTINCT FROM caller_number AND agent IS DISTINCT FROM callee_number
) AS ends
"""


def upgrade() -> None:
    """Add the columns and tables of conversations."""
    for name in ("talked_at", "changed_at", "waiting_since"):
        op.add_column("call", sa.Column(name, INSTANT))
    for name in ("joined", "met"):
        empty = sa.text("'{}'")
        op.add_column("call", sa.Column(name, TEXTS, nullable=False, server_default=empty))
    op.add_column(
        "call", sa.Column("people", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("decision", sa.Column("as_of", INSTANT))
    op.add_column("recording", sa.Column("promised_at", INSTANT))
    op.add_column("recording", sa.Column("ended_by", sa.Text()))
    op.add_column("recording", sa.Column("continues", sa.Uuid()))
    op.add_column("recording", sa.Column("continued_in", sa.Uuid()))
    op.add_column(
        "recording",
        sa.Column("parties", postgresql.JSONB(), nullable=False, server_default=sa.text("'[]'")),
    )
    op.create_check_constraint(
        op.f("recording_ended_by_check"),
        "recording",
        "ended_by IN ('call', 'person', 'rule', 'merge')",
    )
    op.create_table(
        "recording_party",
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text()),
        sa.Column("agent", sa.Text()),
    )
    op.execute(PARTIES_OF_OLD_RECORDINGS)  # before the indexes: they take longer row by row
    op.create_foreign_key(
        op.f("recording_party_recording_id_fkey"),
        "recording_party",
        "recording",
        ["recording_id"],
        ["id"],
    )
    op.create_index(op.f("recording_party_recording_id_idx"), "recording_party", ["recording_id"])
    op.create_index(
        "recording_party_number_idx",
        "recording_party",
        [sa.text("reverse(number) text_pattern_ops"), "recording_id"],
    )
    op.create_index(
        "recording_party_tail_idx",
        "recording_party",
        [sa.text('"left"(reverse(number), 3)'), "recording_id"],
        postgresql_include=["number"],
    )
    op.create_index(
        op.f("recording_party_agent_recording_id_idx"), "recording_party", ["agent", "recording_id"]
    )
    for end in ("caller", "callee"):  # a search finds the ends in recording_party, too
        op.drop_index(f"recording_{end}_number_idx", "recording")
    op.execute("ANALYZE recording_party")
    op.create_table(
        "lost_object",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("noticed_at", INSTANT, nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("object_key", name=op.f("lost_object_pkey")),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recording.id"], name=op.f("lost_object_recording_id_fkey")
        ),
    )
    op.create_table(
        "pause",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("legs", TEXTS, nullable=False),
        sa.Column("from_at", INSTANT, nullable=False),
        sa.Column("to_at", INSTANT),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pause_pkey")),
    )
    op.create_index("pause_open_idx", "pause", ["pbx"], postgresql_where=sa.text("to_at IS NULL"))
    op.create_index("pause_legs_idx", "pause", ["legs"], postgresql_using="gin")
    op.add_column("segment", sa.Column("alignment_ms", sa.Integer()))
    op.add_column("spy", sa.Column("owner_id", sa.Uuid()))
    op.add_column(
        "spy",
        sa.Column("unheard", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.drop_constraint(op.f("rule_begins_check"), "rule")
    op.create_check_constraint(
        op.f("rule_begins_check"), "rule", "begins IN ('ringing', 'media', 'answer')"
    )
    op.create_table(
        "trial",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("drafts", postgresql.JSONB(), nullable=False),
        sa.Column("default_action", sa.Text(), nullable=False),
        sa.Column("from_at", INSTANT, nullable=False),
        sa.Column("to_at", INSTANT, nullable=False),
        sa.Column("agents", TEXTS),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("done", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("total", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("result", postgresql.JSONB()),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')", name=op.f("trial_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("trial_pkey")),
    )
    op.create_table(
        "trial_change",
        sa.Column("trial_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trial.id"],
            name=op.f("trial_change_trial_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "place", name=op.f("trial_change_pkey")),
    )
