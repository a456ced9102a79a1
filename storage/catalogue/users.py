"""People who sign in, and their sessions: a session is a token that expires."""

import secrets
import unicodedata
from dataclasses import fields
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
from storage.errors import LastAdmin, NoSuchUser, UserInvalid
from storage.naming import parse_actor_name, parse_name
from storage.records import PersonRole, Slice, UserRecord, shallow
from storage.schema import token, user

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


def delete_user(tx: Connection, user_id: UUID) -> UserRecord:
    """Delete a user and end all their sessions. Raises NoSuchUser, LastAdmin."""
    admins = tx.scalars(select(user.c.id).where(user.c.role == "admin").with_for_update()).all()
    found = get_user(tx, user_id)
    if list(admins) == [user_id]:
        raise LastAdmin(f"{found.name!r} is the last administrator who can sign in")
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


def end_sessions(tx: Connection, user_id: UUID) -> None:
    """End all sessions of the user."""
    tx.execute(delete(token).where(token.c.user_id == user_id))


def _record(row: Any) -> UserRecord:
    return UserRecord(**{**row, "without": tuple(row["without"])})
