"""Bearer tokens: 256 random bits, kept as their SHA-256 alone."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select
from uuid_utils.compat import uuid7

from storage.records import TokenRecord
from storage.schema import token

PREFIX = "ew_"
_COLUMNS = [getattr(token.c, field.name) for field in fields(TokenRecord)]


def create_token(
    tx: Connection,
    *,
    name: str,
    role: str,
    team: str | None = None,
    scopes: Sequence[str] = (),
    without: Sequence[str] = (),
) -> str:
    """Create a bearer token and return it: the only time that it can be seen.

    `without` are permissions of its role that it does not have.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    tx.execute(
        insert(token).values(
            id=uuid7(),
            name=name,
            role=role,
            team=team,
            scopes=list(scopes),
            without=list(without),
            sha256=_digest(secret),
            created_at=datetime.now(UTC),
        )
    )
    return secret


def find_token(tx: Connection, secret: str) -> TokenRecord | None:
    """Whom this bearer token stands for; None if it is not one of ours."""
    row = tx.execute(select(*_COLUMNS).where(token.c.sha256 == _digest(secret))).one_or_none()
    if row is None:
        return None
    lists = {"scopes": tuple(row.scopes), "without": tuple(row.without)}
    return TokenRecord(**{**row._mapping, **lists})


def list_agents_of_team(tx: Connection, team: str) -> frozenset[str]:
    """The names of the agents who belong to `team`."""
    query = select(token.c.name).where(token.c.role == "agent", token.c.team == team)
    return frozenset(tx.scalars(query))


def find_teams(tx: Connection, agents: Collection[str]) -> dict[str, str]:
    """The teams of the agents of these names that have one."""
    query = select(token.c.name, token.c.team).where(
        token.c.role == "agent", token.c.name.in_(agents)
    )
    rows = tx.execute(query.order_by(token.c.created_at))
    return {name: team for name, team in rows if team}


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
