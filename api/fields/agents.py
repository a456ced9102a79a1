"""The fields of agents."""

from typing import Annotated, Any

from pydantic import Field

from api.fields.base import (
    Answer,
    Body,
    Instant,
    ListOf,
    ListQuery,
    Name,
    Query,
    RefusedLine,
    fields_of,
)
from storage.records import AgentRecord, TeamOrigin


class Agent(Answer):
    """An agent of the PBX: a person with an endpoint, who needs no token."""

    number: str = Field(description="the name of the endpoint", examples=["2001"])
    name: str | None = Field(description="the name of the person", examples=["Ann Miller"])
    team: str | None
    origin: TeamOrigin = Field(
        description="the source of the team: a line of the list of agents, from a `csv`, the `api`"
        " or a `pattern` of the configuration, or a `user` or `token` of this name"
    )
    created_at: Instant


class AgentList(ListOf[Agent]):
    """One part of the list of agents, by number."""


class AgentQuery(ListQuery):
    """The parameters that select agents."""

    team: Name | None = None


class NewAgent(Body):
    """A new agent of the list."""

    number: Annotated[Name, Field(pattern="^[^/]*$")] = Field(
        description="the name of the endpoint", examples=["2001"]
    )
    name: Name | None = Field(None, description="the name of the person")
    team: Name | None = None


class ChangedAgent(Body):
    """Fields of an agent to change; null deletes one."""

    name: Name | None = None
    team: Name | None = None


class AgentImportQuery(Query):
    """The parameter of an import of agents."""

    dry_run: bool = Field(False, description="only count and list, and change nothing")


class ImportedAgents(Answer):
    """The outcome of an import of agents."""

    added: int = Field(description="agents who were not on the list")
    changed: int = Field(description="agents on the list whose name or team changed")
    unchanged: int
    refused: list[RefusedLine] = Field(description="the first refused lines")
    refused_total: int


def agent_fields(record: AgentRecord) -> dict[str, Any]:
    """Return the fields of an agent."""
    return fields_of(Agent, record, number=record.name, name=record.display_name)
