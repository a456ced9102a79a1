"""The refused sign-ins in the audit trail."""

from typing import Any

from sqlalchemy import select

from storage import schema
from storage.actors import SIGN_IN
from storage.catalogue.engine import Catalogue


def list_refusals(catalogue: Catalogue, address: str) -> list[dict[str, Any]]:
    """Return the details of the refused sign-ins from this address, oldest first."""
    audit = schema.audit.c
    query = select(audit.detail).where(
        audit.actor_kind == SIGN_IN.kind,
        audit.actor == SIGN_IN.name,
        audit.action == "session.begin",
        audit.outcome == "refused",
        audit.detail["address"].astext == address,
    )
    with catalogue.begin() as tx:
        return list(tx.scalars(query.order_by(audit.id)))
