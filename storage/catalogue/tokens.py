"""Bearer tokens: 256 random bits, stored as their SHA-256 alone."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    union,
    update,
)
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.digest import digest_of
from storage.errors import NoSuchToken, TokenInvalid
from storage.naming import parse_actor_name, parse_name
from storage.permissions import DIALPLAN_SCOPES
from storage.records import Role, Slice, TokenRecord, shallow
from storage.schema import token, user

PREFIX = "ew_"
# A token is locked for the length of a short transaction alone.
LOCK_WITHIN = "5s"
NOTED_EVERY = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
# The permissions of a session are those of its user now, not those of its start.
_OF_USER = {"name", "role", "team", "without"}
_COLUMNS = [
    case((token.c.user_id.is_(None), token.c[name]), else_=user.c[name]).label(name)
    if name in _OF_USER
    else token.c[name]
    for name in (field.name for field in fields(TokenRecord))
]


def create_token(
    tx: Connection,
    *,
    name: str,
    role: Role,
    team: str | None = None,
    scopes: Sequence[str] = (),
    without: Sequence[str] = (),
    pbx: str | None = None,
) -> tuple[TokenRecord, str]:
    """Create a bearer token, and return it with its secret, which nobody can read again.

    `without` lists permissions that this token lacks although its role has them. A token with a
    `pbx` is for the dialplan of this PBX alone. Raises TokenInvalid if the name is taken,
    NameInvalid.
    """
    name, team = parse_actor_name(name), parse_name(team) if team is not None else None
    if is_tokens_name(tx, name, role) or _has_another(tx, user, name, role):
        raise TokenInvalid(f"there is a token or a user {name!r} already")
    made = TokenRecord(uuid7(), name, role, team, tuple(scopes), tuple(without), pbx=pbx)
    return made, keep_secret(tx, PREFIX, **shallow(made))


def dialplan_fields(pbx: str, name: str | None = None) -> dict[str, Any]:
    """Return the fields of a token for the dialplan of a PBX, as `create_token` takes them."""
    return {
        "name": name or f"dialplan {pbx}",
        "role": "service",
        "team": None,
        "scopes": DIALPLAN_SCOPES,
        "pbx": pbx,
    }


def keep_secret(tx: Connection, prefix: str, **values: Any) -> str:
    """Insert a token with a new secret that starts with `prefix`, and return the secret."""
    secret = prefix + secrets.token_urlsafe(32)
    row = {"id": uuid7(), "sha256": digest_of(secret), "created_at": datetime.now(UTC)}
    tx.execute(insert(token).values(row | values))
    return secret


def find_token(tx: Connection, secret: str) -> TokenRecord | None:
    """Return the token of this secret, or None if it is unknown or has expired."""
    return _find(tx, token.c.sha256 == digest_of(secret))


def find_owner(tx: Connection, owner_id: UUID, *, lock: bool = False) -> TokenRecord | None:
    """Return the user, session or token of this id, or None if it is gone.

    The right of a person outlives each session: a call-back that Ann made yesterday is hers today.
    With `lock`, nobody can change or delete the owner before the end of this transaction. Wait for
    a transaction that does so now.
    """
    if lock:
        tx.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": LOCK_WITHIN})
        # Lock the user first, as deleting a user does: otherwise both could wait for each other.
        of_session = select(token.c.user_id).where(token.c.id == owner_id).scalar_subquery()
        is_owner = or_(user.c.id == owner_id, user.c.id == of_session)
        tx.execute(select(user.c.id).where(is_owner).with_for_update(read=True))
        tx.execute(select(token.c.id).where(token.c.id == owner_id).with_for_update(read=True))
    person = tx.execute(select(user).where(user.c.id == owner_id)).one_or_none()
    if person is None:
        return _find(tx, token.c.id == owner_id)
    return TokenRecord(
        id=person.id,
        name=person.name,
        role=person.role,
        team=person.team,
        without=tuple(person.without),
        user_id=person.id,
    )


def is_tokens_name(tx: Connection, name: str, role: str) -> bool:
    """Return whether a token has this name, which names its owner in spies, searches and the trail.

    Several tokens of one agent may share a name: they all belong to the endpoint of this name.
    """
    return _has_another(tx, token, name, role, token.c.user_id.is_(None))


def list_tokens(
    tx: Connection, *, limit: int | None = None, cursor: str | None = None
) -> Slice[TokenRecord]:
    """Return a slice of the tokens, without sessions, by name; all without a limit."""
    query = select(*_COLUMNS).select_from(token.outerjoin(user)).where(token.c.user_id.is_(None))
    if cursor is not None:
        after = decode_cursor(cursor, str, UUID)
        query = query.where(tuple_(token.c.name, token.c.id) > tuple_(*after))
    rows = tx.execute(query.order_by(token.c.name, token.c.id).limit(one_more(limit)))
    return slice_of([_record(row) for row in rows], limit, lambda one: (one.name, str(one.id)))


def note_use(tx: Connection, used: TokenRecord) -> None:
    """Save that a token is used now, at most once a minute; wait for nobody who holds its row."""
    now = datetime.now(UTC)
    if used.user_id is not None or now - (used.last_used_at or LONG_AGO) < NOTED_EVERY:
        return
    free = select(token.c.id).where(token.c.id == used.id)
    free = free.with_for_update(skip_locked=True, key_share=True)
    where = token.c.id == free.scalar_subquery()
    tx.execute(update(token).where(where).values(last_used_at=now))


def revoke_token(tx: Connection, token_id: UUID) -> str:
    """Delete a token and return its name. Raises NoSuchToken, also for a session."""
    where = (token.c.id == token_id, token.c.user_id.is_(None))
    name = tx.scalar(delete(token).where(*where).returning(token.c.name))
    if name is None:
        raise NoSuchToken(f"there is no token {token_id}")
    return str(name)


def list_members(tx: Connection, teams: Collection[str]) -> tuple[UUID, ...]:
    """Return the ids of the users, and of the tokens without sessions, in these teams."""
    people = select(user.c.id).where(user.c.team.in_(teams))
    others = select(token.c.id).where(token.c.team.in_(teams), token.c.user_id.is_(None))
    return tuple(tx.scalars(union(people, others)))


def _find(tx: Connection, condition: ColumnElement[bool]) -> TokenRecord | None:
    lives = or_(token.c.expires_at.is_(None), token.c.expires_at > func.now())
    query = select(*_COLUMNS).select_from(token.outerjoin(user)).where(condition, lives)
    row = tx.execute(query).one_or_none()
    return _record(row) if row is not None else None


def _has_another(
    tx: Connection, among: Table, name: str, role: str, *conditions: ColumnElement[bool]
) -> bool:
    roles = tx.scalars(select(among.c.role).where(among.c.name == name, *conditions))
    return not set(roles) <= ({"agent"} if role == "agent" else set())


def _record(row: Row[Any]) -> TokenRecord:
    lists = {"scopes": tuple(row.scopes), "without": tuple(row.without)}
    return TokenRecord(**{**row._mapping, **lists})
