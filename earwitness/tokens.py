"""Bearer tokens from the command line, whether or not the service runs."""

from collections.abc import Sequence

from earwitness.config import Config
from earwitness.wiring import open_catalogue
from recorder.withdrawal import withdraw
from storage.actors import COMMAND_LINE
from storage.catalogue import agents, audit, tokens
from storage.errors import ConfigurationInvalid, NameInvalid, TokenInvalid
from storage.permissions import PERMISSIONS
from storage.records import Role


def create(
    config: Config,
    name: str,
    role: Role,
    team: str | None,
    *,
    scopes: Sequence[str],
    without: Sequence[str],
) -> str:
    """Create a token. Raises ConfigurationInvalid for an unknown permission, or a taken name."""
    require_permissions("--scope", scopes)
    require_permissions("--without", without)
    try:
        with open_catalogue(config) as tx:
            _, secret = tokens.create_token(
                tx, name=name, role=role, team=team, scopes=scopes, without=without
            )
            return secret
    except (NameInvalid, TokenInvalid) as error:
        raise ConfigurationInvalid(f"--name: {error}") from error


def create_for_dialplan(config: Config, pbx: str, name: str | None) -> str:
    """Create a token for the dialplan of a PBX. Raises ConfigurationInvalid."""
    known = [one.name for one in config.pbx]
    if pbx not in known:
        raise ConfigurationInvalid(
            f"--for-dialplan {pbx}: expected the name of a [[pbx]]: {', '.join(known) or 'none'}"
        )
    try:
        with open_catalogue(config) as tx:
            return tokens.create_token(tx, **tokens.dialplan_fields(pbx, name))[1]
    except (NameInvalid, TokenInvalid) as error:
        raise ConfigurationInvalid(f"--name: {error}") from error


def describe_tokens(config: Config) -> list[str]:
    """Return a line for each token."""
    with open_catalogue(config) as tx:
        return [
            "  ".join(
                filter(
                    None,
                    (
                        one.name,
                        one.role,
                        one.team,
                        f"dialplan of {one.pbx}" if one.pbx else None,
                        f"used {one.last_used_at:%Y-%m-%d %H:%M} UTC" if one.last_used_at else None,
                    ),
                )
            )
            for one in tokens.list_tokens(tx).items
        ]


def revoke(config: Config, name: str) -> int:
    """Revoke all tokens of this name; return their number. Raises ConfigurationInvalid."""
    with open_catalogue(config) as tx:
        found = [one for one in tokens.list_tokens(tx).items if one.name == name]
        if not found:
            raise ConfigurationInvalid(f"there is no token {name!r}")
        teams = agents.find_teams(tx, [name])
        for one in found:
            tokens.revoke_token(tx, one.id)
            audit.add_audit(
                tx,
                actor=COMMAND_LINE,
                action="token.revoke",
                subject=str(one.id),
                outcome="done",
                detail={"name": name},
            )
        withdraw(tx, *(one.id for one in found), teams_before=teams, by=COMMAND_LINE)
    return len(found)


def require_permissions(option: str, given: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(PERMISSIONS))
    if unknown:
        raise ConfigurationInvalid(
            f"{option} {unknown[0]}: expected one of {', '.join(sorted(PERMISSIONS))}"
        )
