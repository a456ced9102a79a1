"""Campaigns, their agents and the entries of their lists.

Every change of a state is a compare-and-set: of two steps that reserve one entry or one agent, one
gets nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from storage import jobs, states
from storage.catalogue import dials, events
from storage.catalogue.cursor import decode_cursor, one_more, parse_int4, slice_of
from storage.catalogue.hours import gather_hours, spread_hours
from storage.catalogue.rows import insert_rows
from storage.errors import NoSuchCampaign, NoSuchCampaignAgent
from storage.records import (
    CampaignAgent,
    CampaignAgentState,
    CampaignEntry,
    CampaignRecord,
    CampaignState,
    DialRecord,
    EntryState,
    Slice,
    shallow,
)
from storage.schema import campaign, campaign_agent, campaign_entry, dial

STEP = "campaign_step"
_LISTS = ("retry_after_s", "agents")
_ENTRY = [campaign_entry.c[one.name] for one in fields(CampaignEntry)]
_AGENT = [campaign_agent.c[one.name] for one in fields(CampaignAgent)]
# The sets of zones of the waiting entries, each found by one look into the index.
_ZONES = text("""
WITH RECURSIVE found AS (
    (SELECT zones FROM campaign_entry WHERE campaign_id = :id AND state = 'waiting'
     ORDER BY zones LIMIT 1)
    UNION ALL
    SELECT (SELECT zones FROM campaign_entry
            WHERE campaign_id = :id AND state = 'waiting' AND zones > found.zones
            ORDER BY zones LIMIT 1)
    FROM found WHERE found.zones IS NOT NULL
)
SELECT zones FROM found WHERE zones IS NOT NULL
""")
# The phones that are in a live call now, from the names of the channels: PJSIP/2001-00000001.
_PHONES_IN_CALLS = text("""
SELECT DISTINCT regexp_replace(leg ->> 'name', '-[^-]*$', '')
FROM call, jsonb_array_elements(channels) AS leg
WHERE state <> 'ended' AND pbx = :pbx AND leg ->> 'left_at' IS NULL
""")


@dataclass(frozen=True, slots=True)
class Result:
    """An entry and its last dialled call, if any: one line of the results."""

    entry: CampaignEntry
    dial: DialRecord | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Entries by state, entries by the cause of their state, and calls by hour."""

    states: Mapping[EntryState, int]
    causes: Mapping[str, int]
    hours: Sequence[tuple[datetime, int, int]]


# Campaigns


def create_campaign(tx: Connection, record: CampaignRecord, phones: Mapping[str, str]) -> None:
    """Create a campaign; `phones` are those of its agents, by the agent's name."""
    tx.execute(insert(campaign).values(spread_hours(shallow(record))))
    for agent, phone in phones.items():
        add_agent(tx, record.id, agent, phone, state="away")
    _tell(tx, record)


def get_campaign(
    tx: Connection,
    campaign_id: UUID,
    *,
    agents: Collection[str] | None = None,
    owner_id: UUID | None = None,
) -> CampaignRecord:
    """Return the campaign of this id.

    Raises NoSuchCampaign, also if it has agents beside `agents` and does not belong to `owner_id`.
    """
    query = select(campaign).where(campaign.c.id == campaign_id, *_seen_by(agents, owner_id))
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NoSuchCampaign(f"there is no campaign {campaign_id}")
    return _campaign(row)


def lock_campaign(tx: Connection, campaign_id: UUID) -> CampaignRecord:
    """Return a campaign that nobody changes before the end of this transaction.

    Raises NoSuchCampaign.
    """
    wanted = select(campaign.c.id).where(campaign.c.id == campaign_id)
    tx.execute(wanted.with_for_update(read=True))
    return get_campaign(tx, campaign_id)


def list_campaigns(
    tx: Connection,
    *,
    limit: int,
    cursor: str | None = None,
    state: CampaignState | None = None,
    agent: str | None = None,
    agents: Collection[str] | None = None,
    owner_id: UUID | None = None,
) -> Slice[CampaignRecord]:
    """Return a slice of the campaigns, newest first, restricted like `get_campaign`.

    With `agent`, return the campaigns of which this one is an agent.
    """
    query = select(campaign).where(*_seen_by(agents, owner_id))
    if state is not None:
        query = query.where(campaign.c.state == state)
    if agent is not None:
        mine = select(campaign_agent.c.campaign_id).where(campaign_agent.c.agent == agent)
        query = query.where(campaign.c.id.in_(mine))
    if cursor is not None:
        (before,) = decode_cursor(cursor, UUID)
        query = query.where(campaign.c.id < before)
    query = query.order_by(campaign.c.id.desc()).limit(one_more(limit))
    found = [_campaign(row) for row in tx.execute(query).mappings()]
    return slice_of(found, limit, lambda one: (str(one.id),))


def list_unsettled(tx: Connection) -> tuple[UUID, ...]:
    """Return the campaigns that need a step: they run, or have calls or reservations left."""
    reserved = select(campaign_entry.c.id).where(
        campaign_entry.c.campaign_id == campaign.c.id,
        campaign_entry.c.state.in_(("reserved", "dialling")),
    )
    paused = campaign.c.state.in_(("paused", "stopped")) & reserved.exists()
    query = select(campaign.c.id).where(or_(campaign.c.state == "running", paused))
    return tuple(tx.scalars(query))


def list_running_of(tx: Connection, owner_id: UUID) -> tuple[CampaignRecord, ...]:
    """Return the campaigns that run by the right of this owner."""
    mine = (campaign.c.owner_id == owner_id, campaign.c.state == "running")
    rows = tx.execute(select(campaign).where(*mine).order_by(campaign.c.id)).mappings()
    return tuple(_campaign(row) for row in rows)


def move_campaign(
    tx: Connection, campaign_id: UUID, *, to: CampaignState, **columns: Any
) -> CampaignRecord | None:
    """Move a campaign to a state, if its present state leads there; else return None."""
    sources = states.sources_of(states.CAMPAIGN_NEXT, to)
    return _change(tx, campaign_id, campaign.c.state.in_(sources), state=to, **columns)


def change_campaign(tx: Connection, campaign_id: UUID, **columns: Any) -> CampaignRecord:
    """Change columns of a campaign; `hours` may be among them. Raises NoSuchCampaign."""
    changed = _change(tx, campaign_id, literal_column("true"), **spread_hours(columns))
    if changed is None:
        raise NoSuchCampaign(f"there is no campaign {campaign_id}")
    return changed


def delete_campaign(tx: Connection, campaign_id: UUID) -> None:
    """Delete a campaign with its list and its agents; its dialled calls stay."""
    tx.execute(delete(campaign).where(campaign.c.id == campaign_id))


def defer_step(tx: Connection, campaign_id: UUID) -> None:
    """Ask a worker for a step of a campaign, unless one waits already."""
    id_ = str(campaign_id)
    jobs.defer_next(tx, STEP, lock=id_, queue=jobs.DIALLING, campaign_id=id_)


# Agents


def add_agent(
    tx: Connection, campaign_id: UUID, agent: str, phone: str, *, state: CampaignAgentState
) -> None:
    """Add an agent to a campaign."""
    row = {"campaign_id": campaign_id, "agent": agent, "phone": phone, "state": state}
    tx.execute(insert(campaign_agent).values(row | {"since": datetime.now(UTC)}))


def drop_agents(tx: Connection, campaign_id: UUID, agents: Collection[str]) -> None:
    """Remove agents from a campaign, except those who are reserved now."""
    of_these = campaign_agent.c.agent.in_(agents) & (campaign_agent.c.state != "reserved")
    tx.execute(delete(campaign_agent).where(campaign_agent.c.campaign_id == campaign_id, of_these))


def list_agents(tx: Connection, campaign_id: UUID) -> tuple[CampaignAgent, ...]:
    """Return the agents of a campaign, by the time of their last change of state."""
    return map_agents(tx, [campaign_id])[campaign_id]


def map_agents(
    tx: Connection, campaign_ids: Collection[UUID]
) -> dict[UUID, tuple[CampaignAgent, ...]]:
    """Return the agents of each of these campaigns, in the order of `list_agents`."""
    query = select(*_AGENT).where(campaign_agent.c.campaign_id.in_(campaign_ids))
    found: dict[UUID, list[CampaignAgent]] = {id_: [] for id_ in campaign_ids}
    rows = tx.execute(query.order_by(campaign_agent.c.since, campaign_agent.c.agent)).mappings()
    for agent in (CampaignAgent(**row) for row in rows):
        found[agent.campaign_id].append(agent)
    return {id_: tuple(agents) for id_, agents in found.items()}


def get_agent(tx: Connection, campaign_id: UUID, agent: str) -> CampaignAgent:
    """Return one agent of a campaign. Raises NoSuchCampaignAgent."""
    is_one = (campaign_agent.c.campaign_id == campaign_id) & (campaign_agent.c.agent == agent)
    row = tx.execute(select(*_AGENT).where(is_one)).mappings().one_or_none()
    if row is None:
        raise NoSuchCampaignAgent(f"{agent} is no agent of the campaign {campaign_id}")
    return CampaignAgent(**row)


def move_agent(
    tx: Connection,
    campaign_id: UUID,
    agent: str,
    *,
    sources: Collection[str],
    to: CampaignAgentState,
    entry_id: UUID | None = None,
    ready_at: datetime | None = None,
    reserved_for: UUID | None = None,
) -> CampaignAgent | None:
    """Move an agent to a state, if the present one is among `sources`; else return None.

    With `reserved_for`, only an agent who is reserved for this entry.
    """
    is_one = (campaign_agent.c.campaign_id == campaign_id) & (campaign_agent.c.agent == agent)
    if reserved_for is not None:
        is_one &= campaign_agent.c.entry_id == reserved_for
    changed = {"state": to, "entry_id": entry_id, "ready_at": ready_at, "since": datetime.now(UTC)}
    statement = update(campaign_agent).where(is_one, campaign_agent.c.state.in_(sources))
    row = tx.execute(statement.values(changed).returning(*_AGENT)).mappings().one_or_none()
    if row is None:
        return None
    moved = CampaignAgent(**row)
    told = {"id": campaign_id, "agent": agent, "state": to, "entry_id": entry_id}
    events.add_event(tx, "campaign.agent", told, agent=agent)
    return moved


def list_phones_in_calls(tx: Connection, pbx: str) -> frozenset[str]:
    """Return the phones of a PBX that are in a live call, or ring for a call that we set up."""
    return dials.list_live_phones(tx, pbx).union(tx.scalars(_PHONES_IN_CALLS, {"pbx": pbx}))


# Entries


def drop_entries(tx: Connection, campaign_id: UUID) -> None:
    """Delete the list of a campaign."""
    tx.execute(delete(campaign_entry).where(campaign_entry.c.campaign_id == campaign_id))


def add_entries(tx: Connection, entries: Sequence[CampaignEntry]) -> None:
    """Add entries to a list."""
    if entries:
        rows = [{**shallow(one), "zones": list(one.zones)} for one in entries]
        tx.execute(insert_rows(campaign_entry, rows))


def find_entry(tx: Connection, campaign_id: UUID, entry_id: UUID) -> CampaignEntry | None:
    """Return an entry of a campaign, or None."""
    is_one = (campaign_entry.c.id == entry_id) & (campaign_entry.c.campaign_id == campaign_id)
    row = tx.execute(select(*_ENTRY).where(is_one)).mappings().one_or_none()
    return _entry(row) if row is not None else None


def list_entries(
    tx: Connection,
    campaign_id: UUID,
    *,
    limit: int,
    cursor: str | None = None,
    state: EntryState | None = None,
) -> Slice[CampaignEntry]:
    """Return a slice of the entries, or of those in one state, in the order of the list."""
    query = select(*_ENTRY).where(campaign_entry.c.campaign_id == campaign_id)
    if state is not None:
        query = query.where(campaign_entry.c.state == state)
    if cursor is not None:
        (after,) = decode_cursor(cursor, parse_int4)
        query = query.where(campaign_entry.c.place > after)
    query = query.order_by(campaign_entry.c.place).limit(one_more(limit))
    found = [_entry(row) for row in tx.execute(query).mappings()]
    return slice_of(found, limit, lambda one: (str(one.place),))


def list_groups(
    tx: Connection, campaign_id: UUID, *, limit: int
) -> list[tuple[tuple[str, ...], list[CampaignEntry]]]:
    """Return the first waiting entries of each set of zones, by their times and places."""
    mine = (campaign_entry.c.campaign_id == campaign_id) & (campaign_entry.c.state == "waiting")
    query = select(*_ENTRY).where(mine).limit(limit)
    query = query.order_by(campaign_entry.c.next_at, campaign_entry.c.place)
    groups = []
    for zones in tx.scalars(_ZONES, {"id": campaign_id}).all():
        rows = tx.execute(query.where(campaign_entry.c.zones == zones)).mappings()
        groups.append((tuple(zones), [_entry(row) for row in rows]))
    return groups


def list_reserved(tx: Connection, campaign_id: UUID) -> tuple[CampaignEntry, ...]:
    """Return the entries that are reserved or being dialled."""
    busy = campaign_entry.c.state.in_(("reserved", "dialling"))
    query = select(*_ENTRY).where(campaign_entry.c.campaign_id == campaign_id, busy)
    return tuple(_entry(row) for row in tx.execute(query).mappings())


def move_entry(
    tx: Connection,
    entry_id: UUID,
    *,
    sources: Collection[str],
    to: EntryState,
    **columns: Any,
) -> CampaignEntry | None:
    """Move an entry to a state, if the present one is among `sources`; else return None."""
    is_one = (campaign_entry.c.id == entry_id) & campaign_entry.c.state.in_(sources)
    statement = update(campaign_entry).where(is_one).values(state=to, **columns)
    row = tx.execute(statement.returning(*_ENTRY)).mappings().one_or_none()
    if row is None:
        return None
    moved = _entry(row)
    told = {
        "id": moved.campaign_id,
        "entry_id": moved.id,
        "state": to,
        "cause": moved.cause,
        "attempts": moved.attempts,
        "agent": moved.agent,
    }
    events.add_event(tx, "campaign.entry", told, agent=moved.agent)
    return moved


def has_open_entries(tx: Connection, campaign_id: UUID) -> bool:
    """Return whether some entry waits, is reserved or is being dialled."""
    is_open = campaign_entry.c.state.in_(("waiting", "reserved", "dialling"))
    query = select(campaign_entry.c.id).where(campaign_entry.c.campaign_id == campaign_id, is_open)
    return tx.execute(query.limit(1)).one_or_none() is not None


# The calls of a campaign


def find_uncounted(tx: Connection, entries: Collection[CampaignEntry]) -> dict[UUID, DialRecord]:
    """Return the newest dialled call of each of these entries whose result is not counted yet."""
    counted = {one.id: one.last_dial_id for one in entries}
    newest = dials.map_newest_of_entries(tx, counted)
    return {
        id_: one for id_, one in newest.items() if (last := counted[id_]) is None or one.id > last
    }


def list_results(
    tx: Connection, campaign_id: UUID, *, after: int, limit: int
) -> tuple[Result, ...]:
    """Return entries behind this place of the list, each with its last dialled call."""
    query = select(*_ENTRY).where(
        campaign_entry.c.campaign_id == campaign_id, campaign_entry.c.place > after
    )
    query = query.order_by(campaign_entry.c.place).limit(limit)
    entries = [_entry(row) for row in tx.execute(query).mappings()]
    newest = dials.map_newest_of_entries(tx, [one.id for one in entries])
    return tuple(Result(one, newest.get(one.id)) for one in entries)


def count_entries(
    tx: Connection, campaign_ids: Collection[UUID]
) -> Mapping[UUID, Mapping[EntryState, int]]:
    """Count the entries of each of these campaigns by state."""
    id_, state = campaign_entry.c.campaign_id, campaign_entry.c.state
    query = select(id_, state, func.count()).where(id_.in_(campaign_ids)).group_by(id_, state)
    found: dict[UUID, dict[EntryState, int]] = {one: {} for one in campaign_ids}
    for campaign_id, name, count in tx.execute(query):
        found[campaign_id][name] = count
    return found


def read_progress(tx: Connection, campaign_id: UUID) -> Progress:
    """Count the entries of a campaign by state and cause, and its calls by hour."""
    mine = campaign_entry.c.campaign_id == campaign_id
    by_cause = select(campaign_entry.c.cause, func.count()).where(
        mine, campaign_entry.c.cause.is_not(None)
    )
    hour = func.date_trunc("hour", dial.c.requested_at)
    talks = func.sum(case((dial.c.talked_at.is_not(None), 1), else_=0))
    by_hour = select(hour, func.count(), talks).where(dial.c.campaign_id == campaign_id)
    return Progress(
        count_entries(tx, [campaign_id])[campaign_id],
        {row[0]: row[1] for row in tx.execute(by_cause.group_by(campaign_entry.c.cause))},
        [(row[0], row[1], row[2]) for row in tx.execute(by_hour.group_by(hour).order_by(hour))],
    )


def _change(
    tx: Connection, campaign_id: UUID, condition: ColumnElement[bool], **columns: Any
) -> CampaignRecord | None:
    statement = update(campaign).where(campaign.c.id == campaign_id, condition).values(columns)
    row = tx.execute(statement.returning(campaign)).mappings().one_or_none()
    if row is None:
        return None
    changed = _campaign(row)
    _tell(tx, changed)
    return changed


def _seen_by(
    agents: Collection[str] | None, owner_id: UUID | None
) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for campaigns of these agents alone, and those of this owner."""
    if agents is None:
        return ()
    theirs = campaign.c.agents.contained_by(list(agents)) & (campaign.c.agents != [])
    own = [campaign.c.owner_id == owner_id] if owner_id is not None else []
    return (or_(theirs & campaign.c.queue.is_(None), *own),)


def _tell(tx: Connection, record: CampaignRecord) -> None:
    told = ("id", "name", "pbx", "mode", "state", "cause", "created_by")
    data = {name: getattr(record, name) for name in told}
    events.add_event(tx, f"campaign.{record.state}", data, owner_id=record.owner_id)


def _campaign(row: RowMapping) -> CampaignRecord:
    return CampaignRecord(**gather_hours(row) | {name: tuple(row[name]) for name in _LISTS})


def _entry(row: RowMapping) -> CampaignEntry:
    return CampaignEntry(**{**row, "zones": tuple(row["zones"])})
