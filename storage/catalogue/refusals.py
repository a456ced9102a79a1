"""The refusals that a stranger causes: the audit trail has a bounded number of them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from storage.catalogue import audit, hits
from storage.records import Actor

WINDOW = timedelta(minutes=15)
PER_ADDRESS, IN_ALL = 10, 200


def add_refusal(
    tx: Connection,
    *,
    actor: Actor,
    action: str,
    subject: str,
    address: str,
    about: str,
    detail: Mapping[str, Any],
) -> None:
    """Add an entry, unless there are enough of them; log each refusal as well.

    In each window there is one entry for an address and a text that it is `about`, such as a typed
    name, at most 10 for an address and 200 in all, the last of which says so. All of this is
    decided without knowing whether a user has the name, so the time that it takes says nothing.
    """
    if _count(tx, f"refusal {action} {address} {about}") > 1:
        return
    if _count(tx, f"refusals {action} {address}") > PER_ADDRESS:
        return
    added = _count(tx, f"refusals {action}")
    if added > IN_ALL:
        return
    if added == IN_ALL:
        detail = {"reason": "too-many-refusals"}
    audit.add_audit(
        tx, actor=actor, action=action, subject=subject, outcome="refused", detail=detail
    )


def _count(tx: Connection, key: str) -> int:
    return hits.add_hits(tx, key, amount=1, lasts=WINDOW)
