"""Channels of a PBX, for tests that need no telephone."""

from datetime import UTC, datetime

from recorder import ari
from recorder.ari import LINKEDID

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def channel(id_: str, linkedid: str | None = None, technology: str = "PJSIP") -> ari.Channel:
    """Return a channel that is up; `linkedid` comes with it if `channelvars` names it."""
    return ari.Channel(
        id=id_,
        name=f"{technology}/{id_}-00000001",
        state="Up",
        caller=ari.Party(id_, ""),
        connected=ari.Party("", ""),
        dialplan=ari.Dialplan("in", "s", "", ""),
        created_at=AT,
        variables={LINKEDID: linkedid} if linkedid is not None else {},
    )
