"""People who sign in, and their sessions: a session is a token that expires."""

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.engine import take_turns
from storage.catalogue.tokens import is_tokens_name, keep_secret
from storage.errors import LastAdmin, NoSuchUser, UserInvalid, UserOfProvider
from storage.naming import parse_actor_name, parse_name
from storage.permissions import SYSTEM_WRITE
from storage.records import PersonRole, Slice, UserRecord, shallow
from storage.schema import token, user

# The fields of a user that an identity provider sets at every sign-in.
OF_PROVIDER = frozenset({"name", "role", "team", "password_hash"})
SESSION_LASTS = timedelta(hours=12)
_COLUMNS = [user.c[field.name] for field in fields(UserRecord)]


def create_user(
    tx: Connection, *, name: str, role: PersonRole, team: str | None, password_hash: str
) -> UserRecord:
    """Create a user. Raises UserInvalid if the name is taken, NameInvalid."""
    name, team = parse_actor_name(name), parse_name(team) if team is not None else None
    if is_tokens_name(tx, name, role):
        raise UserInvalid(f"there is a token {name!r} already")
    made = UserRecord(uuid7(), name, role, team, (), password_hash)
    row = shallow(made) | {"without": [], "created_at": datetime.now(UTC)}
    try:
        tx.execute(insert(user).values(row))
    except IntegrityError as error:
        raise UserInvalid(f"there is a user {name!r} already") from error
    return made


def bring_user(
    tx: Connection, *, issuer: str, subject: str, name: str, role: str, team: str | None
) -> UserRecord:
    """Create or update the user that an identity provider knows as `subject`.

    Raises UserInvalid if another user, or a token, has the name, and NameInvalid if a name that is
    new here is reserved.
    """
    take_turns(tx, f"bring {issuer} {subject}")  # first sign-ins at once would take one name
    before = find_subject(tx, issuer, subject)
    if before is None or before.name != name:
        parse_actor_name(name)
        if is_tokens_name(tx, name, role):
            raise UserInvalid(f"there is a token {name!r}")
    changes = {"name": name, "role": role, "team": team}
    row = {"id": uuid7(), "issuer": issuer, "subject": subject, "created_at": datetime.now(UTC)}
    known = [user.c.issuer, user.c.subject]
    brought = (
        insert(user).values(row | changes).on_conflict_do_update(index_elements=known, set_=changes)
    )
    try:
        return _record(tx.execute(brought.returning(*_COLUMNS)).mappings().one())
    except IntegrityError as error:
        raise UserInvalid(f"there is another user {name!r}") from error


def find_subject(tx: Connection, issuer: str, subject: str) -> UserRecord | None:
    """Return the user that an identity provider knows as `subject`, or None."""
    query = select(*_COLUMNS).where(user.c.issuer == issuer, user.c.subject == subject)
    row = tx.execute(query).mappings().one_or_none()
    return _record(row) if row is not None else None


def find_user(tx: Connection, name: str) -> UserRecord | None:
    """Return the user of this name, or None."""
    row = tx.execute(select(*_COLUMNS).where(user.c.name == name)).one_or_none()
    return _record(row._mapping) if row is not None else None


def find_user_as_typed(tx: Connection, text: str) -> UserRecord | None:
    """Return the user whose name this text is; keyboards compose the same letter differently."""
    if "\0" in text:
        return None
    forms = sorted({text, unicodedata.normalize("NFC", text)})
    query = select(*_COLUMNS).where(user.c.name.in_(forms))
    row = tx.execute(query.order_by((user.c.name == text).desc()).limit(1)).one_or_none()
    return _record(row._mapping) if row is not None else None


def list_users(
    tx: Connection, *, limit: int | None = None, cursor: str | None = None
) -> Slice[UserRecord]:
    """Return a slice of the users, by name; all without a limit."""
    query = select(*_COLUMNS).order_by(user.c.name)
    if cursor is not None:
        (after,) = decode_cursor(cursor, str)
        query = query.where(user.c.name > after)
    rows = tx.execute(query.limit(one_more(limit))).mappings()
    return slice_of([_record(row) for row in rows], limit, lambda one: (one.name,))


def get_user(tx: Connection, user_id: UUID) -> UserRecord:
    """Return the user of this id. Raises NoSuchUser."""
    row = tx.execute(select(*_COLUMNS).where(user.c.id == user_id)).one_or_none()
    if row is None:
        raise NoSuchUser(f"there is no user {user_id}")
    return _record(row._mapping)


def lock_user(tx: Connection, user_id: UUID) -> UserRecord:
    """Return the user of this id, whom nobody else changes, reads the rights of or deletes before
    the end of the transaction. Raises NoSuchUser."""
    take_turns(tx, "change users")  # two who change each other would wait for ever
    tx.execute(select(user.c.id).where(user.c.id == user_id).with_for_update())
    return get_user(tx, user_id)


def change_user(tx: Connection, user_id: UUID, changes: Mapping[str, Any]) -> UserRecord:
    """Change `name`, `role`, `team`, `without` or `password_hash` of a user.

    A change of the password ends nothing: see `set_password`. Raises NoSuchUser, UserInvalid,
    NameInvalid, UserOfProvider, LastAdmin.
    """
    before = lock_user(tx, user_id)
    changed = {name: value for name, value in changes.items() if getattr(before, name) != value}
    if not changed:
        return before
    if before.issuer is not None and changed.keys() & OF_PROVIDER:
        raise UserOfProvider(
            f"{before.name!r} signs in at {before.issuer}: name, role, team and password come from"
            " there"
        )
    if "name" in changed:
        changed["name"] = parse_actor_name(changed["name"])
    if changed.get("team") is not None:
        changed["team"] = parse_name(changed["team"])
    after = replace(before, **changed)
    if _manages(before) and not _manages(after):
        _require_other_admin(tx, before)
    if (after.name, after.role) != (before.name, before.role) and is_tokens_name(
        tx, after.name, after.role
    ):
        raise UserInvalid(f"there is a token {after.name!r} already")
    row = {name: [*value] if name == "without" else value for name, value in changed.items()}
    try:
        tx.execute(update(user).where(user.c.id == user_id).values(row))
    except IntegrityError as error:
        raise UserInvalid(f"there is a user {after.name!r} already") from error
    return after


def delete_user(tx: Connection, user_id: UUID) -> UserRecord:
    """Delete a user and end all their sessions. Raises NoSuchUser, LastAdmin."""
    found = lock_user(tx, user_id)
    if _manages(found):
        _require_other_admin(tx, found)
    tx.execute(delete(user).where(user.c.id == user_id))
    return found


def set_password(tx: Connection, user_id: UUID, password_hash: str) -> None:
    """Set another password, and end all sessions of the user."""
    keep_hash(tx, user_id, password_hash)
    end_sessions(tx, user_id)


def keep_hash(tx: Connection, user_id: UUID, password_hash: str) -> None:
    """Save another hash of the same password."""
    tx.execute(update(user).where(user.c.id == user_id).values(password_hash=password_hash))


def begin_session(tx: Connection, who: UserRecord) -> str:
    """Start a session, and return its secret, which nobody can read again. Delete expired
    sessions."""
    tx.execute(delete(token).where(token.c.expires_at <= func.now()))
    tx.execute(update(user).where(user.c.id == who.id).values(last_signed_in_at=func.now()))
    return keep_secret(
        tx,
        "",
        name=who.name,
        role=who.role,
        scopes=[],
        user_id=who.id,
        expires_at=datetime.now(UTC) + SESSION_LASTS,
        csrf=secrets.token_urlsafe(32),
    )


def end_session(tx: Connection, token_id: UUID) -> None:
    """End this session."""
    tx.execute(delete(token).where(token.c.id == token_id, token.c.user_id.is_not(None)))


def end_sessions(tx: Connection, user_id: UUID, *, but: UUID | None = None) -> tuple[UUID, ...]:
    """End all sessions of the user, or all but one; return their ids."""
    ended = delete(token).where(token.c.user_id == user_id)
    if but is not None:
        ended = ended.where(token.c.id != but)
    return tuple(tx.scalars(ended.returning(token.c.id)))


def list_sessions(tx: Connection, user_id: UUID) -> tuple[tuple[UUID, datetime, datetime], ...]:
    """Return id, start and end of each session of the user that has not expired, newest first."""
    columns = (token.c.id, token.c.created_at, token.c.expires_at)
    lives = (token.c.user_id == user_id, token.c.expires_at > func.now())
    rows = tx.execute(select(*columns).where(*lives).order_by(token.c.created_at.desc()))
    return tuple((row.id, row.created_at, row.expires_at) for row in rows)


def _manages(who: UserRecord) -> bool:
    """Whether this administrator can add and change users."""
    return who.role == "admin" and SYSTEM_WRITE not in who.without


def _require_other_admin(tx: Connection, who: UserRecord) -> None:
    """Raise LastAdmin unless another administrator can manage users. The caller has its turn."""
    others = tx.execute(select(*_COLUMNS).where(user.c.role == "admin", user.c.id != who.id))
    if not any(_manages(_record(one._mapping)) for one in others):
        raise LastAdmin(f"{who.name!r} is the last administrator who can sign in")


def _record(row: Any) -> UserRecord:
    return UserRecord(**{**row, "without": tuple(row["without"])})
