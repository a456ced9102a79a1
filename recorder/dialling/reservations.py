"""Reservations: an agent and an entry, kept for each other in the catalogue until their call.

Every function runs in a transaction of its caller, who holds the lock of the campaign. So nobody
else reserves, releases or counts an entry of this campaign meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from recorder.dialling.campaign_plan import (
    Plan,
    Reservation,
    WaitingEntry,
    count_attempt,
    plan_campaign,
)
from recorder.errors import NothingReserved
from storage.catalogue import campaigns, dials, do_not_call
from storage.records import CampaignAgent, CampaignEntry, CampaignRecord, DialRecord, EntryState

# For each set of zones, so many entries more than agents are read: some may be refused.
READ_MORE = 20
# An agent who looks at a number for longer has left the desk.
SHOWN_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Reserved:
    """An agent and an entry that are reserved for each other in the catalogue."""

    agent: CampaignAgent
    entry: CampaignEntry
    allowed_by: Mapping[str, Any]


def list_free(tx: Connection, campaign: CampaignRecord) -> list[CampaignAgent]:
    """Return the ready agents without a call; the longest ready one is first."""
    now = datetime.now(UTC)
    in_calls = campaigns.list_phones_in_calls(tx, campaign.pbx)
    return [
        one
        for one in campaigns.list_agents(tx, campaign.id)
        if one.state == "ready"
        and (one.ready_at is None or one.ready_at <= now)
        and one.phone not in in_calls
    ]


def plan_next(tx: Connection, campaign: CampaignRecord, agents: Sequence[CampaignAgent]) -> Plan:
    """Plan for these agents, with the present list of the campaign."""
    read = campaigns.list_groups(tx, campaign.id, limit=len(agents) + READ_MORE) if agents else []
    return _plan(tx, campaign, agents, read)


def plan_entry(
    tx: Connection, campaign: CampaignRecord, agent: CampaignAgent, entry: CampaignEntry
) -> Plan:
    """Ask again whether one entry may be dialled now."""
    return _plan(tx, campaign, [agent], [(entry.zones, [entry])])


def _plan(
    tx: Connection,
    campaign: CampaignRecord,
    agents: Sequence[CampaignAgent],
    read: Sequence[tuple[tuple[str, ...], Sequence[CampaignEntry]]],
) -> Plan:
    groups = [(zones, [_waiting(one) for one in found]) for zones, found in read]
    return plan_campaign(
        datetime.now(UTC),
        campaign,
        [one.agent for one in agents],
        groups,
        listed=do_not_call.find(tx, {one.number for _, found in groups for one in found}),
        live=dials.list_live_numbers(tx),
    )


def _waiting(entry: CampaignEntry) -> WaitingEntry:
    return WaitingEntry(
        entry.id,
        entry.place,
        str(entry.number),
        entry.zones,
        entry.next_at or datetime.min.replace(tzinfo=UTC),
        entry.attempts,
        entry.consent,
    )


def reserve(tx: Connection, campaign: CampaignRecord, planned: Plan) -> list[Reserved]:
    """Write a plan: refuse its refusals, and reserve each entry and agent for each other."""
    for refused, cause in planned.refusals:
        refuse(tx, campaign, refused.id, cause)
    return [
        made
        for one in planned.reservations
        if (made := _reserve_one(tx, campaign, one)) is not None
    ]


def _reserve_one(tx: Connection, campaign: CampaignRecord, wanted: Reservation) -> Reserved | None:
    moved = campaigns.move_entry(
        tx, wanted.entry.id, sources=("waiting",), to="reserved", agent=wanted.agent
    )
    if moved is None:
        return None
    agent = campaigns.move_agent(
        tx, campaign.id, wanted.agent, sources=("ready",), to="reserved", entry_id=moved.id
    )
    if agent is None:  # somebody has set the agent to away meanwhile
        campaigns.move_entry(tx, moved.id, sources=("reserved",), to="waiting", agent=None)
        return None
    return Reserved(agent, moved, wanted.allowed_by)


def release(
    tx: Connection,
    campaign: CampaignRecord,
    entry: CampaignEntry,
    *,
    away: bool = False,
    rests_s: int = 0,
    **columns: Any,
) -> CampaignEntry:
    """Undo a reservation: the entry, which is returned, waits again; the agent is ready or away."""
    moved = campaigns.move_entry(
        tx, entry.id, sources=("reserved", "dialling"), to="waiting", agent=None, **columns
    )
    _free_agent(tx, campaign, entry, away=away, rests_s=rests_s)
    return moved or entry


def refuse(tx: Connection, campaign: CampaignRecord, entry_id: UUID, cause: str) -> None:
    """Write that an entry is never dialled (again), and free its agent."""
    to: EntryState = "exhausted" if cause == "exhausted" else "refused"
    sources = ("waiting", "reserved")
    moved = campaigns.move_entry(tx, entry_id, sources=sources, to=to, cause=cause)
    if moved is not None:
        _free_agent(tx, campaign, moved)


def _free_agent(
    tx: Connection,
    campaign: CampaignRecord,
    entry: CampaignEntry,
    *,
    away: bool = False,
    rests_s: int = 0,
    since: datetime | None = None,
) -> None:
    """Free the agent who is reserved for this entry, not one who has only called it earlier."""
    if entry.agent is None:
        return
    ready_at = (since or datetime.now(UTC)) + timedelta(seconds=rests_s) if rests_s else None
    campaigns.move_agent(
        tx,
        campaign.id,
        entry.agent,
        sources=("reserved",),
        to="away" if away else "ready",
        ready_at=None if away else ready_at,
        reserved_for=entry.id,
    )


def settle_entry(
    tx: Connection,
    campaign: CampaignRecord,
    entry: CampaignEntry,
    call: DialRecord | None,
    agent: CampaignAgent | None,
) -> None:
    """Bring a reserved entry to the state of its call, and count a call that has ended."""
    if call is None:
        is_shown = campaign.mode == "preview" and campaign.state == "running"
        has_agent = agent is not None and agent.entry_id == entry.id
        if not is_shown or not has_agent:
            release(tx, campaign, entry)
        elif agent is not None and agent.since < datetime.now(UTC) - SHOWN_FOR:
            release(tx, campaign, entry, away=True)
    elif call.state != "ended":
        campaigns.move_entry(tx, entry.id, sources=("reserved",), to="dialling")
    else:
        counted = count_attempt(campaign, entry.attempts, call)
        campaigns.move_entry(
            tx,
            entry.id,
            sources=("reserved", "dialling"),
            to=counted.state,
            attempts=counted.attempts,
            next_at=counted.next_at,
            cause=counted.cause,
            last_dial_id=call.id,
        )
        _free_agent(
            tx,
            campaign,
            entry,
            away=counted.is_away,
            rests_s=counted.rests_s,
            since=call.ended_at,
        )


def find_entry_of(
    tx: Connection, campaign: CampaignRecord, agent: CampaignAgent
) -> CampaignEntry | None:
    """Return the entry that is reserved for the agent, or that the agent calls."""
    if agent.state != "reserved" or agent.entry_id is None:
        return None
    return campaigns.find_entry(tx, campaign.id, agent.entry_id)


def get_shown(tx: Connection, campaign: CampaignRecord, agent: CampaignAgent) -> CampaignEntry:
    """Return the entry that the agent previews. Raises NothingReserved."""
    entry = find_entry_of(tx, campaign, agent)
    if entry is None or entry.state != "reserved":
        raise NothingReserved(f"no number is reserved for {agent.agent}")
    return entry


def list_unanswered(tx: Connection, campaign_id: UUID) -> tuple[DialRecord, ...]:
    """Return the calls of a campaign that have not ended, and in which nobody talks yet."""
    calls = campaigns.find_uncounted(tx, campaigns.list_reserved(tx, campaign_id)).values()
    return tuple(one for one in calls if one.state not in ("up", "ended"))
