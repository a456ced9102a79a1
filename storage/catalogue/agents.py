"""Agents: people with an endpoint, and the teams that decide who sees their calls.

An agent needs no token and no password. It is known by the list of agents, as a user, or by a
token, and has one team, which comes from the first of these that knows it:

1. its line in the list, from a CSV or the API, also if the line has no team;
2. the user of this name with the role `agent`;
3. the newest token of this name with the role `agent`;
4. its line in the list that a pattern of the configuration added.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import Connection, case, delete, func, literal, null, select, union_all, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.sql.selectable import Subquery

from storage.catalogue.cursor import decode_cursor, one_more, slice_of
from storage.catalogue.engine import take_turns
from storage.errors import AgentInvalid, NoSuchAgent
from storage.records import AgentOrigin, AgentRecord, Slice, shallow
from storage.schema import agent, token, user

# The origins of agents who are on the list.
LISTED = get_args(AgentOrigin)
_COLUMNS = [field.name for field in fields(AgentRecord)]


def list_agents(
    tx: Connection,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    team: str | None = None,
    agents: Collection[str] | None = None,
) -> Slice[AgentRecord]:
    """Return a slice of the agents, by name, those of a team, or those of `agents`; all without a
    limit.

    `origin` says where the team of an agent comes from. Raises BadCursor.
    """
    known = _one_of_each(agents)
    query = select(*(known.c[name] for name in _COLUMNS)).order_by(known.c.name)
    if team is not None:
        query = query.where(known.c.team == team)
    if cursor is not None:
        (after,) = decode_cursor(cursor, str)
        query = query.where(known.c.name > after)
    rows = tx.execute(query.limit(one_more(limit))).mappings()
    return slice_of([AgentRecord(**row) for row in rows], limit, lambda one: (one.name,))


def get_agent(tx: Connection, name: str, *, agents: Collection[str] | None = None) -> AgentRecord:
    """Return the agent of this name, if it is one of `agents`. Raises NoSuchAgent."""
    found = list_agents(tx, agents=[name]).items
    if not found or (agents is not None and name not in agents):
        raise NoSuchAgent(f"there is no agent {name!r}")
    return found[0]


def list_agents_of_team(tx: Connection, team: str) -> frozenset[str]:
    """Return the names of the agents of `team`."""
    return frozenset(list_teams(tx, team=team))


def find_teams(tx: Connection, agents: Collection[str]) -> dict[str, str]:
    """Return the team of each of these agents that has one."""
    known = _one_of_each(agents)
    rows = tx.execute(select(known.c.name, known.c.team).where(known.c.team.is_not(None)))
    return {row.name: row.team for row in rows}


def list_teams(tx: Connection, *, team: str | None = None) -> dict[str, str]:
    """Return the team of every agent with a team, or of the agents of this team, by the agent's
    name."""
    known = _one_of_each()
    query = select(known.c.name, known.c.team).where(known.c.team.is_not(None))
    if team is not None:
        query = query.where(known.c.team == team)
    return {row.name: row.team for row in tx.execute(query.order_by(known.c.name))}


def list_left(tx: Connection, before: Mapping[str, str]) -> frozenset[str]:
    """Return the teams that agents have left; `before` has the teams that they were in.

    Example: `before = find_teams(tx, ["2001"])`, then the change, then `list_left(tx, before)`.
    """
    now = find_teams(tx, before)
    return frozenset(team for name, team in before.items() if now.get(name) != team)


def find_display_names(tx: Connection, agents: Collection[str] | None) -> dict[str, str]:
    """Return the person's name of each of these agents whose name the list knows; None is all."""
    query = select(agent.c.name, agent.c.display_name).where(agent.c.display_name.is_not(None))
    if agents is not None:
        query = query.where(agent.c.name.in_(agents))
    return {row.name: row.display_name for row in tx.execute(query)}


def add_agent(
    tx: Connection, name: str, *, display_name: str | None, team: str | None
) -> AgentRecord:
    """Add an agent to the list. Raises AgentInvalid if the list has it already."""
    made = AgentRecord(name, display_name, team, "api", datetime.now(UTC))
    new = insert(agent).values(shallow(made)).on_conflict_do_nothing().returning(agent.c.name)
    if tx.scalar(new) is None:
        raise AgentInvalid(f"there is an agent {name!r} already")
    return made


def change_agent(tx: Connection, name: str, changes: Mapping[str, str | None]) -> AgentRecord:
    """Change `display_name` or `team` of an agent; from now on the list knows its team.

    Raises NoSuchAgent.
    """
    take_turns(tx, "change agents")
    row = shallow(get_agent(tx, name)) | dict(changes) | {"origin": "api"}
    _save(tx, [row])
    return get_agent(tx, name)


def drop_agent(tx: Connection, name: str) -> AgentRecord:
    """Delete the line of an agent in the list, and return the agent as it was.

    A user or a token of this name stays. Raises NoSuchAgent.
    """
    take_turns(tx, "change agents")
    before = get_agent(tx, name)
    gone = tx.scalar(delete(agent).where(agent.c.name == name).returning(agent.c.name))
    if gone is None:
        raise NoSuchAgent(f"the list of agents has no {name!r}: it is a user or has a token")
    return before


@dataclass(frozen=True, slots=True)
class AgentImport:
    """The outcome of an import: how many agents were added and changed, and the moved ones.

    `moved` has the team of each moved agent before and after the import.
    """

    added: int
    changed: int
    unchanged: int
    moved: Mapping[str, tuple[str | None, str | None]]


def import_agents(
    tx: Connection, lines: Sequence[Mapping[str, str | None]], *, dry_run: bool = False
) -> AgentImport:
    """Add and change the agents of a CSV; with `dry_run` only compute the outcome.

    A line has `name`, and perhaps `display_name` and `team`. A field that it does not have stays as
    it is. Agents whom the CSV does not name stay too.
    """
    take_turns(tx, "change agents")
    wanted = {str(line["name"]): dict(line) for line in lines}
    before = {one.name: one for one in list_agents(tx, agents=wanted).items}
    now = datetime.now(UTC)
    rows = []
    for name, line in wanted.items():
        known = before.get(name)
        row = shallow(known or AgentRecord(name, None, None, "csv", now)) | line
        same = known is not None and all(row[key] == getattr(known, key) for key in line)
        if not same or known is None or known.origin not in {"csv", "api"}:
            rows.append(row | {"origin": "csv"})
    changed = [str(row["name"]) for row in rows]
    listed = [name for name in changed if name in before and before[name].origin in LISTED]
    teams = {name: (before[name].team if name in before else None) for name in changed}
    after = {str(row["name"]): row["team"] for row in rows}
    if not dry_run:
        _save(tx, rows)
    return AgentImport(
        added=len(changed) - len(listed),
        changed=len(listed),
        unchanged=len(wanted) - len(changed),
        moved={one: (teams[one], after[one]) for one in changed if teams[one] != after[one]},
    )


def see_agents(tx: Connection, teams: Mapping[str, str | None]) -> dict[str, str | None]:
    """Add agents who match a pattern, each with the pattern's team; return those that changed.

    A line from a CSV or the API stays as it is.
    """
    now = datetime.now(UTC)
    rows = [shallow(AgentRecord(name, None, team, "pattern", now)) for name, team in teams.items()]
    if not rows:
        return {}
    seen = insert(agent).values(sorted(rows, key=lambda row: str(row["name"])))
    seen = seen.on_conflict_do_update(
        index_elements=[agent.c.name],
        set_={"team": seen.excluded.team},
        where=(agent.c.origin == "pattern") & agent.c.team.is_distinct_from(seen.excluded.team),
    )
    changed = tx.execute(seen.returning(agent.c.name, agent.c.team))
    return {row.name: row.team for row in changed}


def list_seen(tx: Connection) -> dict[str, str | None]:
    """Return the agents whom a pattern added, each with the team in the list."""
    query = select(agent.c.name, agent.c.team).where(agent.c.origin == "pattern")
    return {row.name: row.team for row in tx.execute(query.order_by(agent.c.name))}


def move_seen(tx: Connection, name: str, team: str | None) -> None:
    """Set the team of an agent whom a pattern added."""
    where = (agent.c.name == name, agent.c.origin == "pattern")
    tx.execute(update(agent).where(*where).values(team=team))


def _save(tx: Connection, rows: Collection[Mapping[str, Any]]) -> None:
    if not rows:
        return
    saved = insert(agent).values([dict(row) for row in rows])
    columns = ("display_name", "team", "origin")
    tx.execute(
        saved.on_conflict_do_update(
            index_elements=[agent.c.name],
            set_={name: saved.excluded[name] for name in columns},
        )
    )


def _one_of_each(names: Collection[str] | None = None) -> Subquery:
    """Select each agent once, with the team of the first that knows it: see the module's text."""
    listed = select(
        *(agent.c[name] for name in _COLUMNS),
        case((agent.c.origin == "pattern", 4), else_=1).label("rank"),
    )
    by_user = _agents_among(user, "user", 2)
    by_token = _agents_among(token, "token", 3).where(token.c.user_id.is_(None))
    parts = (listed, by_user, by_token)
    if names is not None:
        wanted = list(names)
        parts = (
            listed.where(agent.c.name.in_(wanted)),
            by_user.where(user.c.name.in_(wanted)),
            by_token.where(token.c.name.in_(wanted)),
        )
    known = union_all(*parts).subquery()
    # The name comes from the list even if the team does not.
    display_name = func.max(known.c.display_name).over(partition_by=known.c.name)
    columns = {name: known.c[name] for name in _COLUMNS} | {"display_name": display_name}
    ranked = select(*(columns[name].label(name) for name in _COLUMNS)).ext(
        distinct_on(known.c.name)
    )
    # Of several tokens of one agent, those with a team come first, then the newest.
    has_none = known.c.team.is_(None)
    order = (known.c.name, known.c.rank, has_none, known.c.created_at.desc())
    return ranked.order_by(*order).subquery()


def _agents_among(table: Any, origin: str, rank: int) -> Any:
    columns = {"display_name": null(), "origin": literal(origin)}
    return select(
        *(columns.get(name, table.c.get(name)).label(name) for name in _COLUMNS),
        literal(rank).label("rank"),
    ).where(table.c.role == "agent")
