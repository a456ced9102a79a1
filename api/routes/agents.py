"""Agents: people with an endpoint of the PBX, and their teams."""

from flask import Response

from api.auth import (
    audit_done,
    auditing_refusals,
    get_if_visible,
    holding_rights,
    principal,
    refuse,
)
from api.fields.agents import (
    Agent,
    AgentImportQuery,
    AgentList,
    AgentQuery,
    ChangedAgent,
    ImportedAgents,
    NewAgent,
    agent_fields,
)
from api.fields.base import list_fields
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.withdrawal import Withdrawn, withdraw
from storage.agent_list import MOST_BYTES, read_agents
from storage.catalogue import agents
from storage.catalogue.rights import Rights
from storage.errors import AgentInvalid, AgentListInvalid, BadCursor, NoSuchAgent
from storage.permissions import CALLS_READ, SYSTEM_WRITE
from storage.records import AgentRecord

operations = Operations("/api/v1", tag="agents")

MOST_REFUSED = 1000


@operations.get("/agents", CALLS_READ, json(AgentList), query=AgentQuery, errors=(BadCursor,))
def list_agents(query: AgentQuery) -> Response:
    """List the agents whom you may see, by number: those of the list, users and tokens."""
    with services().catalogue.begin() as tx:
        page = agents.list_agents(
            tx,
            limit=query.limit,
            cursor=query.cursor,
            team=query.team,
            agents=principal().agents,
        )
    return answer(list_fields(page, agent_fields))


@operations.post(
    "/agents",
    SYSTEM_WRITE,
    {201: Reply("The new agent.", Agent)},
    body=NewAgent,
    errors=(AgentInvalid,),
)
def create_agent(body: NewAgent) -> Response:
    """Add an agent to the list: a person with an endpoint, who needs no token.

    The team of the list counts before that of a user or token of the same name.
    """
    with (
        auditing_refusals("agent.create", body.number, of=(AgentInvalid,)),
        holding_rights() as (tx, rights),
    ):
        _require_own(rights, body.number, body.team)
        teams = agents.find_teams(tx, [body.number])
        made = agents.add_agent(tx, body.number, display_name=body.name, team=body.team)
        audit_done(tx, "agent.create", made.name, **_facts(made))
        withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return answer(agent_fields(made), 201)


@operations.post(
    "/agents/import",
    SYSTEM_WRITE,
    json(ImportedAgents, "The numbers of agents that were added and changed; the refused lines."),
    query=AgentImportQuery,
    csv_bytes=MOST_BYTES,
    errors=(AgentListInvalid,),
)
def import_agents(query: AgentImportQuery, csv: bytes) -> Response:
    """Add and change the agents of a CSV in UTF-8, at most 20,000 lines.

    The first line names the columns, divided by commas or semicolons: `number`, and perhaps `name`
    and `team`. Without the column `team` no team changes. A line that cannot be used is listed in
    `refused`, and all others are kept. Agents whom the file does not name stay.
    """
    found = read_agents(csv)
    with holding_rights() as (tx, rights):
        known = {str(one["name"]): one for one in found.agents}
        teams = agents.find_teams(tx, known)
        for name, line in known.items():
            _require_own(rights, name, line.get("team", teams.get(name)))
        done = agents.import_agents(tx, found.agents, dry_run=query.dry_run)
        counts = {
            "added": done.added,
            "changed": done.changed,
            "unchanged": done.unchanged,
            "refused_total": len(found.refused),
        }
        withdrawn = Withdrawn()
        if not query.dry_run:
            audit_done(tx, "agent.import", "agents", **counts, moved=done.moved)
            withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    refused = [{"line": place, "reason": reason} for place, reason in found.refused]
    return answer({**counts, "refused": refused[:MOST_REFUSED]})


@operations.get("/agents/<number>", CALLS_READ, json(Agent), errors=(NoSuchAgent,))
def get_agent(number: str) -> Response:
    """Get an agent whom you may see."""
    return answer(agent_fields(get_if_visible(agents.get_agent, number)))


@operations.patch(
    "/agents/<number>",
    SYSTEM_WRITE,
    json(Agent, "The agent, changed."),
    body=ChangedAgent,
    errors=(NoSuchAgent,),
)
def change_agent(number: str, body: ChangedAgent) -> Response:
    """Change the name or the team of an agent; from now on the list knows its team.

    Who hears or sees its calls as a member of the old team loses them at once.
    """
    given = body.model_dump(exclude_unset=True)
    changes = {("display_name" if key == "name" else key): value for key, value in given.items()}
    before = get_if_visible(agents.get_agent, number)
    with holding_rights() as (tx, rights):
        _require_own(rights, number, changes.get("team", before.team))
        teams = agents.find_teams(tx, [number])
        after = agents.change_agent(tx, number, changes) if changes else before
        audit_done(tx, "agent.change", number, **_facts(after), before=_facts(before))
        withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return answer(agent_fields(after))


@operations.delete(
    "/agents/<number>",
    SYSTEM_WRITE,
    {204: Reply("The agent is not on the list any more.")},
    errors=(NoSuchAgent,),
)
def drop_agent(number: str) -> Response:
    """Delete an agent from the list. Its calls stay, and so does a user or token of this name.

    An agent who matches a pattern of the configuration comes back with the next call.
    """
    before = get_if_visible(agents.get_agent, number)
    with holding_rights() as (tx, rights):
        _require_own(rights, number, before.team)
        teams = agents.find_teams(tx, [number])
        agents.drop_agent(tx, number)
        audit_done(tx, "agent.delete", number, **_facts(before))
        withdrawn = withdraw(tx, teams_before=teams, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return Response(status=204)


def _require_own(who: Rights, number: str, team: str | None) -> None:
    """Let the member of a team change its own agents, and nobody's team."""
    if who.agents is not None and (number not in who.agents or team != who.token.team):
        refuse("calls of other agents")


def _facts(one: AgentRecord) -> dict[str, str | None]:
    return {"name": one.display_name, "team": one.team}
