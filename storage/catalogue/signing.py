"""The key that signs manifests: one for all workers of an installation."""

from datetime import UTC, datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from storage.manifest import SigningKey
from storage.schema import signing_key


def get_signing_key(tx: Connection) -> SigningKey:
    """Return the installation's key; the first caller creates it."""
    query = select(signing_key.c.private_pem).order_by(signing_key.c.created_at).limit(1)
    pem = tx.scalar(query)
    if pem is None:
        key = SigningKey.generate()
        values = {"id": key.key_id, "private_pem": key.to_pem(), "created_at": datetime.now(UTC)}
        tx.exec_driver_sql("LOCK TABLE signing_key IN EXCLUSIVE MODE")
        if tx.scalar(query) is None:
            tx.execute(insert(signing_key).values(values))
        pem = tx.scalar(query)
    assert pem is not None  # noqa: S101  # read or written just above
    return SigningKey.from_pem(pem)
