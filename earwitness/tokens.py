"""Bearer tokens from the command line, whether or not the service runs."""

from collections.abc import Sequence

from earwitness.config import Config
from earwitness.wiring import open_catalogue
from storage.catalogue import tokens
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
    _require_permissions("--scope", scopes)
    _require_permissions("--without", without)
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


def _require_permissions(option: str, given: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(PERMISSIONS))
    if unknown:
        raise ConfigurationInvalid(
            f"{option} {unknown[0]}: expected one of {', '.join(sorted(PERMISSIONS))}"
        )
