"""Sign-ins at an identity provider that are under way; each works once, for some minutes."""

import secrets
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert

from storage.catalogue.digest import digest_of
from storage.records import SignInRecord, shallow
from storage.schema import sign_in

LASTS = timedelta(minutes=10)
_COLUMNS = [sign_in.c[field.name] for field in fields(SignInRecord)]


def keep_sign_in(tx: Connection, record: SignInRecord) -> str:
    """Save a sign-in and return its secret. Delete those that have expired."""
    tx.execute(delete(sign_in).where(sign_in.c.expires_at <= func.now()))
    secret = secrets.token_urlsafe(32)
    row = {"sha256": digest_of(secret), "expires_at": datetime.now(UTC) + LASTS}
    tx.execute(insert(sign_in).values(row | shallow(record)))
    return secret


def take_sign_in(tx: Connection, secret: str) -> SignInRecord | None:
    """Delete and return the sign-in of this secret; None if it has expired, or never existed."""
    mine = (sign_in.c.sha256 == digest_of(secret), sign_in.c.expires_at > func.now())
    row = tx.execute(delete(sign_in).where(*mine).returning(*_COLUMNS)).mappings().one_or_none()
    return SignInRecord(**row) if row is not None else None
