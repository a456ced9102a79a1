"""Agents of the PBX from the command line, whether or not the service runs."""

from pathlib import Path

from earwitness.config import Config
from earwitness.wiring import open_catalogue
from recorder.withdrawal import withdraw
from storage.actors import COMMAND_LINE
from storage.agent_list import MOST_BYTES, read_agents
from storage.catalogue import agents, audit
from storage.errors import AgentListInvalid, ConfigurationInvalid


def import_file(config: Config, file: Path, *, dry_run: bool) -> tuple[str, list[str]]:
    """Import a CSV of agents; return the outcome, and a line for each refused line.

    Raises ConfigurationInvalid for a file that is no list of agents.
    """
    try:
        body = file.read_bytes()
        if len(body) > MOST_BYTES:
            raise ConfigurationInvalid(f"{file}: longer than {MOST_BYTES} bytes")
        found = read_agents(body)
    except OSError as error:
        raise ConfigurationInvalid(f"{file}: {error.strerror}") from error
    except AgentListInvalid as error:
        raise ConfigurationInvalid(f"{file}: {error}") from error
    with open_catalogue(config) as tx:
        teams = agents.find_teams(tx, [str(one["name"]) for one in found.agents])
        done = agents.import_agents(tx, found.agents, dry_run=dry_run)
        if not dry_run:
            audit.add_audit(
                tx,
                actor=COMMAND_LINE,
                action="agent.import",
                subject="agents",
                outcome="done",
                detail={
                    "added": done.added,
                    "changed": done.changed,
                    "refused_total": len(found.refused),
                    "moved": done.moved,
                },
            )
            withdraw(tx, teams_before=teams, by=COMMAND_LINE)
    summary = f"{done.added} added, {done.changed} changed, {done.unchanged} unchanged"
    summary += f", {len(found.refused)} refused"
    if dry_run:
        summary += "; nothing was written"
    return summary, [f"line {place}: {reason}" for place, reason in found.refused]


def describe_agents(config: Config) -> list[str]:
    """Return a line for each agent."""
    with open_catalogue(config) as tx:
        return [
            "  ".join(filter(None, (one.name, one.display_name, one.team, f"({one.origin})")))
            for one in agents.list_agents(tx).items
        ]
