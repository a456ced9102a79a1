"""Add dialled calls, call-backs, campaigns and conferences."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables of the calls that we set up, and the layout with a track for each person."""
    op.create_table(
        "call_terms",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("terms", postgresql.JSONB(), nullable=False),
        sa.Column("set_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("call_terms_pkey")),
    )
    op.create_table(
        "callback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.Column("call_id", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("from_hour", sa.SmallInteger(), nullable=False),
        sa.Column("to_hour", sa.SmallInteger(), nullable=False),
        sa.Column("weekdays", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("retry_after_s", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", INSTANT),
        sa.Column("next_at", INSTANT),
        sa.Column("cause", sa.Text()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column("ended_at", INSTANT),
        sa.CheckConstraint(
            "state IN ('waiting', 'dialling', 'done', 'cancelled', 'failed')",
            name=op.f("callback_state_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("callback_pkey")),
    )
    op.create_index(op.f("callback_agent_id_idx"), "callback", ["agent", "id"])
    op.create_index(op.f("callback_number_id_idx"), "callback", ["number", "id"])
    op.create_index(
        "callback_waiting_idx",
        "callback",
        ["next_at"],
        postgresql_where=sa.text("state IN ('waiting', 'dialling')"),
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "agents", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("queue", sa.Text()),
        sa.Column("from_hour", sa.SmallInteger(), nullable=False),
        sa.Column("to_hour", sa.SmallInteger(), nullable=False),
        sa.Column("weekdays", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("retry_after_s", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("record", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("announce", sa.Text()),
        sa.Column("wrap_up_s", sa.Integer(), server_default=sa.text("10"), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column("started_at", INSTANT),
        sa.Column("ended_at", INSTANT),
        sa.CheckConstraint("mode IN ('preview', 'progressive')", name=op.f("campaign_mode_check")),
        sa.CheckConstraint(
            "state IN ('draft', 'running', 'paused', 'stopped', 'done')",
            name=op.f("campaign_state_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("campaign_pkey")),
    )
    op.create_index(
        "campaign_running_idx", "campaign", ["pbx"], postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "conference",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("record", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("layout", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("pin", sa.Text()),
        sa.Column("locked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("announce", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("cause", sa.Text()),
        sa.CheckConstraint(
            "layout IN ('dual', 'mono', 'tracks')", name=op.f("conference_layout_check")
        ),
        sa.CheckConstraint("state IN ('open', 'ended')", name=op.f("conference_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("conference_pkey")),
    )
    op.create_index(
        "conference_open_idx",
        "conference",
        ["pbx", "name"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "dial",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("agent", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("answered_at", INSTANT),
        sa.Column("talked_at", INSTANT),
        sa.Column("ended_at", INSTANT),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column("callback_id", sa.Uuid()),
        sa.Column("campaign_id", sa.Uuid()),
        sa.Column("entry_id", sa.Uuid()),
        sa.Column("allowed_by", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("key", sa.Text()),
        sa.CheckConstraint(
            "cause IN ('ended', 'cancelled', 'agent-busy', 'agent-no-answer', 'agent-declined',"
            " 'agent-unreachable', 'busy', 'no-answer', 'declined', 'wrong-number',"
            " 'unreachable', 'congestion', 'not-permitted', 'pbx-unreachable', 'pbx-lost')",
            name=op.f("dial_cause_check"),
        ),
        sa.CheckConstraint("state <> 'ended' OR cause IS NOT NULL", name=op.f("dial_ended_check")),
        sa.CheckConstraint(
            "state IN ('requested', 'ringing', 'dialling', 'up', 'ended')",
            name=op.f("dial_state_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("dial_pkey")),
        sa.UniqueConstraint("call_id", name=op.f("dial_call_id_key")),
        sa.UniqueConstraint("key", name=op.f("dial_key_key")),
    )
    op.create_index(op.f("dial_callback_id_idx"), "dial", ["callback_id"])
    op.create_index(op.f("dial_campaign_id_id_idx"), "dial", ["campaign_id", "id"])
    op.create_index(op.f("dial_entry_id_idx"), "dial", ["entry_id"])
    op.create_index(
        "dial_live_idx",
        "dial",
        ["pbx", "phone"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index(op.f("dial_number_id_idx"), "dial", ["number", "id"])
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("do_not_call_pkey")),
    )
    op.create_table(
        "campaign_agent",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("entry_id", sa.Uuid()),
        sa.Column("ready_at", INSTANT),
        sa.CheckConstraint(
            "state IN ('away', 'ready', 'reserved')", name=op.f("campaign_agent_state_check")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("campaign_agent_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "agent", name=op.f("campaign_agent_pkey")),
    )
    op.create_table(
        "campaign_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("number", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("consent", sa.Text()),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "zones", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", INSTANT),
        sa.Column("cause", sa.Text()),
        sa.Column("agent", sa.Text()),
        sa.Column("last_dial_id", sa.Uuid()),
        sa.CheckConstraint(
            "state IN ('waiting', 'reserved', 'dialling', 'done', 'refused', 'exhausted')",
            name=op.f("campaign_entry_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("campaign_entry_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("campaign_entry_pkey")),
        sa.UniqueConstraint("campaign_id", "place"),
    )
    op.create_index(
        op.f("campaign_entry_campaign_id_state_zones_next_at_place_idx"),
        "campaign_entry",
        ["campaign_id", "state", "zones", "next_at", "place"],
    )
    op.create_table(
        "conference_member",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conference_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text()),
        sa.Column("number", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("muted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("on_hold", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("talking", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("quiet", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("joined_at", INSTANT),
        sa.Column("left_at", INSTANT),
        sa.Column("cause", sa.Text()),
        sa.CheckConstraint(
            "role IN ('owner', 'member', 'guest')", name=op.f("conference_member_role_check")
        ),
        sa.CheckConstraint(
            "state IN ('requested', 'ringing', 'waiting', 'in', 'left')",
            name=op.f("conference_member_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["conference_id"], ["conference.id"], name=op.f("conference_member_conference_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("conference_member_pkey")),
    )
    op.create_index(
        op.f("conference_member_call_id_id_idx"), "conference_member", ["call_id", "id"]
    )
    op.create_index(
        op.f("conference_member_conference_id_id_idx"), "conference_member", ["conference_id", "id"]
    )
    op.create_index(
        "conference_member_live_idx",
        "conference_member",
        ["channel_id"],
        postgresql_where=sa.text("state <> 'left'"),
    )
    op.create_index(
        "conference_member_quiet_idx",
        "conference_member",
        ["channel_id"],
        postgresql_where=sa.text("quiet <> '[]'"),
    )
    op.create_table(
        "program_request",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("program_request_pkey")),
    )
    op.create_index(op.f("program_request_at_idx"), "program_request", ["at"])
    op.add_column("call", sa.Column("trigger", sa.Text()))
    op.create_check_constraint(op.f("call_trigger_check"), "call", "trigger IN ('dialled')")
    op.create_index(
        "call_inbound_idx",
        "call",
        [sa.text("right(regexp_replace(caller_number, '[^0-9]', '', 'g'), 6)")],
        postgresql_where=sa.text("direction = 'inbound'"),
    )
    triggers = "trigger IN ('rule', 'manual', 'dtmf', 'dialplan', 'dialled')"
    layouts = "layout IN ('dual', 'mono', 'tracks')"
    for name, words in (("trigger", triggers), ("layout", layouts)):
        op.drop_constraint(op.f(f"recording_{name}_check"), "recording")
        op.create_check_constraint(op.f(f"recording_{name}_check"), "recording", words)
