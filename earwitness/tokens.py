"""Making bearer tokens from the command line, whether or not the service runs."""

from collections.abc import Sequence
from contextlib import closing

from api.permissions import PERMISSIONS
from earwitness.config import Config
from earwitness.embedded import embedded_database
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue
from storage.errors import ConfigurationInvalid


def create(
    config: Config,
    name: str,
    role: str,
    team: str | None,
    *,
    scopes: Sequence[str],
    without: Sequence[str],
) -> str:
    """Create a token; raises ConfigurationInvalid for what is no permission."""
    _require_permissions("--scope", scopes)
    _require_permissions("--without", without)
    with embedded_database(config) as url, closing(Catalogue(url)) as catalogue:
        catalogue.migrate()
        with catalogue.begin() as tx:
            return tokens.create_token(
                tx, name=name, role=role, team=team, scopes=scopes, without=without
            )


def _require_permissions(option: str, given: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(PERMISSIONS))
    if unknown:
        raise ConfigurationInvalid(
            f"{option} {unknown[0]}: expected one of {', '.join(sorted(PERMISSIONS))}"
        )
