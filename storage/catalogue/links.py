"""Links that open a recording without signing in: 256 random bits, stored as their SHA-256
alone."""

import secrets
from collections.abc import Collection
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update
from uuid_utils.compat import uuid7

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.digest import digest_of
from storage.errors import NoSuchLink
from storage.records import LinkRecord, Slice, shallow
from storage.schema import link, recording

_COLUMNS = [link.c[field.name] for field in fields(LinkRecord)]
_LIVES = (link.c.revoked_at.is_(None), link.c.expires_at > func.now())


def create_link(
    tx: Connection, recording_id: UUID, *, by: str, owner_id: UUID, expires_in: timedelta
) -> tuple[LinkRecord, str]:
    """Create a link, and return it with its secret, which nobody can read again."""
    secret = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    made = LinkRecord(uuid7(), recording_id, now, by, now + expires_in, None, 0, None, owner_id)
    tx.execute(insert(link).values(shallow(made) | {"sha256": digest_of(secret)}))
    return made, secret


def list_links(
    tx: Connection, recording_id: UUID, *, limit: int | None = None, cursor: str | None = None
) -> Slice[LinkRecord]:
    """Return a slice of the links of a recording, newest first, ended links too; all without a
    limit."""
    query = select(*_COLUMNS).where(link.c.recording_id == recording_id)
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(link.c.id < before)
    rows = tx.execute(query.order_by(link.c.id.desc()).limit(one_more(limit))).mappings()
    return slice_of([LinkRecord(**row) for row in rows], limit, lambda one: (str(one.id),))


def revoke_link(tx: Connection, recording_id: UUID, link_id: UUID) -> None:
    """End a link; harmless to repeat. Raises NoSuchLink."""
    revoked_at = func.coalesce(link.c.revoked_at, func.now())
    where = (link.c.id == link_id, link.c.recording_id == recording_id)
    if not tx.execute(update(link).where(*where).values(revoked_at=revoked_at)).rowcount:
        raise NoSuchLink(f"there is no link {link_id} to this recording")


def revoke_links_of(
    tx: Connection, owner_id: UUID, *, except_of: Collection[str] | None = ()
) -> tuple[LinkRecord, ...]:
    """End the live links of this owner, and return them.

    Those to recordings of the agents `except_of` stay; with None, those to every recording.
    """
    if except_of is None:
        return ()
    others = select(recording.c.id).where(recording.c.agent.in_(except_of))
    where = (link.c.owner_id == owner_id, *_LIVES, link.c.recording_id.not_in(others))
    revoked = update(link).where(*where).values(revoked_at=func.now()).returning(*_COLUMNS)
    return tuple(LinkRecord(**row) for row in tx.execute(revoked).mappings())


def get_link(tx: Connection, secret: str) -> LinkRecord:
    """Return the link of this secret. Raises NoSuchLink, also if the link has ended."""
    query = select(*_COLUMNS).where(link.c.sha256 == digest_of(secret), *_LIVES)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NoSuchLink("this link has ended, or never was")
    return LinkRecord(**row)


def note_opened(tx: Connection, link_id: UUID) -> None:
    """Count an opening of the link."""
    counted = {"opened": link.c.opened + 1, "opened_at": func.now()}
    tx.execute(update(link).where(link.c.id == link_id).values(counted))
