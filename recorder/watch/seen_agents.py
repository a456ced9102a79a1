"""Add an agent to the list of agents at the first call, by the patterns of the configuration."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import structlog
from sqlalchemy import Connection

from recorder.calls.legs import endpoint_of, extension_of, is_agent
from recorder.withdrawal import withdraw
from storage.actors import WATCH
from storage.catalogue import agents, audit
from storage.errors import NameInvalid
from storage.naming import parse_name
from storage.records import CallRecord

log = structlog.get_logger()

# An agent who was deleted from the list comes back with a call after this time.
SEEN_FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class AgentPattern:
    """The endpoints of some agents, such as `PJSIP/20*`, or `20*` of any technology, and their
    team."""

    endpoints: str
    team: str | None = None

    def matches(self, endpoint: str) -> bool:
        """Return whether `PJSIP/2001` is one of the endpoints.

        Of an agent whose technology is unknown, `2001`, only the name counts.
        """
        name = endpoint.rpartition("/")[2]
        if "/" in self.endpoints and "/" in endpoint:
            return fnmatchcase(endpoint, self.endpoints)
        return fnmatchcase(name, self.endpoints.rpartition("/")[2])


class SeenAgents:
    """Adds the agents of calls to the list of agents."""

    def __init__(self, patterns: Sequence[AgentPattern]) -> None:
        self._patterns = patterns
        self._seen: dict[str, float] = {}  # until when, on the monotonic clock

    def observe(self, tx: Connection, records: Iterable[CallRecord]) -> None:
        """Add the agents of these calls who match a pattern; the first pattern counts."""
        if not self._patterns:
            return
        now = time.monotonic()
        endpoints = {
            extension_of(leg): endpoint_of(leg)
            for record in records
            for leg in record.channels
            if is_agent(leg) and now >= self._seen.get(extension_of(leg), now)
        }
        self._seen |= dict.fromkeys(endpoints, now + SEEN_FOR_S)
        teams = {}
        for name, endpoint in endpoints.items():
            pattern = find_pattern(self._patterns, endpoint)
            if pattern is not None and _is_name(name):
                teams[name] = pattern.team
        for name, team in agents.see_agents(tx, teams).items():
            _note(tx, name, team)


def apply_patterns(tx: Connection, patterns: Sequence[AgentPattern]) -> None:
    """Give the agents whom a pattern added the team of the present patterns; none without one."""
    seen = agents.list_seen(tx)
    before = agents.find_teams(tx, seen)
    for name, team in seen.items():
        pattern = find_pattern(patterns, name)
        wanted = pattern.team if pattern is not None else None
        if wanted != team:
            agents.move_seen(tx, name, wanted)
            _note(tx, name, wanted)
    withdraw(tx, teams_before=before, by=WATCH)


def find_pattern(patterns: Iterable[AgentPattern], endpoint: str) -> AgentPattern | None:
    """Return the first pattern that matches an endpoint, or None."""
    return next((one for one in patterns if one.matches(endpoint)), None)


def _note(tx: Connection, name: str, team: str | None) -> None:
    facts: Mapping[str, str | None] = {"team": team, "origin": "pattern"}
    audit.add_audit(
        tx, actor=WATCH, action="agent.change", subject=name, outcome="done", detail=facts
    )
    log.info("agent.changed", agent=name, team=team)


def _is_name(name: str) -> bool:
    try:
        return parse_name(name) == name
    except NameInvalid:
        return False
