"""Keep the owner of links, webhooks and searches, the kind of an actor, and agents as people."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

INSTANT = sa.DateTime(timezone=True)

# The person, or the only token, of a name. Several agents' tokens may share one.
OWNER_OF = """
coalesce(
    (SELECT id FROM "user" WHERE name = {name}),
    (
        SELECT (array_agg(id))[1] FROM token WHERE name = {name} AND user_id IS NULL
        HAVING count(*) = 1
    )
)
"""
KINDS = """
UPDATE audit SET actor_kind = CASE
    WHEN actor LIKE 'link %' THEN 'link'
    WHEN actor = 'rules' THEN 'rule'
    WHEN actor IN ('dialplan', 'dtmf', 'program') THEN 'dialplan'
    WHEN actor IN (SELECT name FROM token WHERE user_id IS NULL) THEN 'token'
    WHEN actor IN (SELECT name FROM "user") THEN 'user'
    ELSE 'system'
END
"""


def upgrade() -> None:
    """Add owners, kinds and agents. A link whose maker is gone ends."""
    op.create_table(
        "agent",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text()),
        sa.Column("team", sa.Text()),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("origin IN ('csv', 'pattern', 'api')", name=op.f("agent_origin_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("agent_pkey")),
    )
    op.create_index(op.f("agent_team_idx"), "agent", ["team"])
    op.add_column("user", sa.Column("last_signed_in_at", INSTANT))
    op.add_column("token", sa.Column("pbx", sa.Text()))
    op.add_column("token", sa.Column("last_used_at", INSTANT))
    op.add_column("audit", sa.Column("actor_kind", sa.Text(), nullable=True))
    op.execute(KINDS)
    op.alter_column("audit", "actor_kind", nullable=False)
    kinds = "actor_kind IN ('user', 'token', 'rule', 'dialplan', 'link', 'system')"
    op.create_check_constraint(op.f("audit_actor_kind_check"), "audit", kinds)
    op.create_index(op.f("audit_actor_kind_id_idx"), "audit", ["actor_kind", "id"])
    for table in ("link", "webhook"):
        op.add_column(table, sa.Column("owner_id", sa.Uuid()))
        owner = OWNER_OF.format(name="created_by")
        op.execute(f"UPDATE {table} SET owner_id = {owner}")  # noqa: S608
        op.create_index(op.f(f"{table}_owner_id_idx"), table, ["owner_id"])
    op.add_column("webhook", sa.Column("stopped", sa.Text()))
    op.execute("UPDATE link SET revoked_at = coalesce(revoked_at, now()) WHERE owner_id IS NULL")
    op.drop_index(op.f("saved_search_owner_name_idx"), "saved_search")
    op.add_column("event", sa.Column("owner_id", sa.Uuid()))
    op.add_column("spy", sa.Column("maker_id", sa.Uuid()))
    op.execute(f"UPDATE spy SET maker_id = {OWNER_OF.format(name='supervisor')}")  # noqa: S608
    # It was the session of a person, and is the person.
    op.execute(
        "UPDATE conference SET owner_id = token.user_id FROM token"
        " WHERE token.id = conference.owner_id AND token.user_id IS NOT NULL"
    )
    op.add_column("saved_search", sa.Column("owner_id", sa.Uuid()))
    op.execute(f"UPDATE saved_search SET owner_id = {OWNER_OF.format(name='owner')}")  # noqa: S608
    op.execute("DELETE FROM saved_search WHERE owner_id IS NULL")
    op.alter_column("saved_search", "owner_id", nullable=False)
    op.drop_column("saved_search", "owner")
    op.create_index(
        op.f("saved_search_owner_id_name_idx"), "saved_search", ["owner_id", "name"], unique=True
    )
