"""The facts of calls: from their records, from the catalogue and from the PBX."""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from recorder.ari import Ari, AriServerError
from recorder.calls.legs import legs_of
from recorder.rules import Facts, RuleSet
from recorder.rules.facts import facts_of, past_facts
from storage.catalogue import decisions
from storage.catalogue.agents import find_teams
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord

TEAMS_FOR_S = 5.0


class FactReader:
    """Reads the facts of calls on one PBX."""

    def __init__(self, catalogue: Catalogue, client: Ari) -> None:
        self._catalogue = catalogue
        self._ari = client
        # For each agent: until when the team is good, on the monotonic clock, and the team.
        self._teams: dict[str, tuple[float, str]] = {}

    def read_teams(self, agents: Collection[str]) -> None:
        """Read the teams of these agents, unless they were read within the last 5 seconds."""
        now = time.monotonic()
        old = {agent for agent in agents if now >= self._teams.get(agent, (now, ""))[0]}
        if old:
            with self._catalogue.begin() as tx:
                teams = find_teams(tx, old)
            self._teams |= {agent: (now + TEAMS_FOR_S, teams.get(agent, "")) for agent in old}

    def read(self, call: CallRecord, rules: RuleSet, before: Facts | None) -> Facts:
        """Return the facts of a call now; `before` are its facts at the last evaluation.

        Variables and headers are those of the first channel. After it has left, they stay as they
        were. A channel that is gone reads like one without any variable. So if the values differ
        from `before`, check that the channel still exists. Raises AriError, CatalogueUnavailable.
        """
        _, team = self._teams.get(call.agent or "", (0.0, ""))
        facts = replace(facts_of(call, datetime.now(UTC)), team=team)
        if not rules.variables and not rules.headers:
            return facts
        first = next(iter(legs_of(call)), None)
        if first is not None and first.alive:
            variables = {name: self._ari.find_variable(first.id, name) for name in rules.variables}
            headers = {name: self._find_header(first.id, name) for name in rules.headers}
            read = replace(facts, variables=_set_only(variables), headers=_set_only(headers))
            if before is not None and _values(read) == _values(before):
                return read
            if self._ari.find_channel(first.id) is not None:
                return read
        if before is None:  # another process evaluated the rules before us
            with self._catalogue.begin() as tx:
                kept = decisions.find_decision(tx, call.id)
            before = past_facts(call, kept)[-1]
        return replace(facts, variables=before.variables, headers=before.headers)

    def _find_header(self, channel_id: str, name: str) -> str | None:
        """Return a SIP header. Asterisk answers 500 where there is none, and without PJSIP."""
        try:
            return self._ari.find_variable(channel_id, f"PJSIP_HEADER(read,{name})")
        except AriServerError:
            return None


def _set_only(read: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in read.items() if value}


def _values(facts: Facts) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return facts.variables, facts.headers
