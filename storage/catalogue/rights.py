"""Read the rights of an owner as they are now: no other module decides about them.

Whatever outlives its request keeps the id of its owner: a spy, a link, a webhook, an export. The
owner is a person, a session or a token. Each use asks here again, in the transaction that acts.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from storage.catalogue import agents, tokens
from storage.permissions import permissions_of
from storage.records import Actor, TokenRecord

ListAgents = Callable[[Connection, str], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Rights:
    """The present rights of an owner.

    `agents` limits the calls and recordings that it may see; None is no limit.
    """

    token: TokenRecord
    permissions: frozenset[str]
    agents: frozenset[str] | None

    @property
    def name(self) -> str:
        """The name of the person or token, for the log and the audit trail."""
        return self.token.name

    @property
    def id(self) -> UUID:
        """The id of the person, the same in all sessions, or of the token; ids are never reused."""
        return self.token.user_id or self.token.id

    @property
    def is_person(self) -> bool:
        """Whether the owner is a person, or the session of one."""
        return self.token.user_id is not None

    @property
    def actor(self) -> Actor:
        """The owner as the audit trail names it."""
        if self.token.pbx is not None:
            return Actor("dialplan", self.name)
        return Actor("user" if self.is_person else "token", self.name)

    @property
    def reads_remarks(self) -> bool:
        """Whether the owner may read the remarks on recordings: an agent may not, as people write
        them about the agent."""
        return self.token.role != "agent"

    def may(self, *permissions: str) -> bool:
        """Whether the owner has all of these permissions."""
        return self.permissions.issuperset(permissions)

    def sees(self, agent: str | None) -> bool:
        """Whether the owner may see the calls of this agent; None is a call without an agent."""
        return self.agents is None or agent in self.agents

    def sees_all(self, agents: Iterable[str | None]) -> bool:
        """Whether the owner may see the calls of all these agents."""
        return self.agents is None or self.agents.issuperset(agents)


def find_rights(
    tx: Connection,
    owner_id: UUID | None,
    *,
    lock: bool = False,
    list_agents: ListAgents = agents.list_agents_of_team,
) -> Rights | None:
    """Return the rights of an owner now: of a person, a session or a token. None if it is gone.

    With `lock` its role, its team and the owner itself stay until the end of this transaction.
    `list_agents` returns the agents of a team; many readings may share its answer.

    Example: `find_rights(tx, link.owner_id)` is None once the maker of the link was removed.
    """
    if owner_id is None:
        return None
    owner = tokens.find_owner(tx, owner_id, lock=lock)
    return _rights_of(tx, owner, list_agents) if owner is not None else None


def find_actor(tx: Connection, owner_id: UUID | None, *, otherwise: Actor) -> Actor:
    """Return the owner as the audit trail names it, for a deed that it asked for earlier.

    `otherwise` is the actor of a deed without an owner, and of one whose owner is gone.
    """
    owner = find_rights(tx, owner_id)
    return owner.actor if owner is not None else otherwise


def find_rights_of_secret(tx: Connection, secret: str) -> Rights | None:
    """Return the rights of the token or session with this secret; None if it is not valid."""
    owner = tokens.find_token(tx, secret)
    return _rights_of(tx, owner) if owner is not None else None


def list_members(tx: Connection, teams: Collection[str]) -> tuple[UUID, ...]:
    """Return the ids of the people and tokens of these teams."""
    return tokens.list_members(tx, teams)


def _rights_of(
    tx: Connection, owner: TokenRecord, list_agents: ListAgents = agents.list_agents_of_team
) -> Rights:
    return Rights(owner, permissions_of(owner), _list_visible_agents(tx, owner, list_agents))


def _list_visible_agents(
    tx: Connection, owner: TokenRecord, list_agents: ListAgents
) -> frozenset[str] | None:
    """Return the agents whose calls the owner may see; None, as for an admin, is all of them.

    An agent sees itself; any other member of a team sees the agents of the team.
    """
    if owner.role == "agent":
        return frozenset({owner.name})
    if owner.team is None or owner.role == "admin":
        return None
    return list_agents(tx, owner.team)
