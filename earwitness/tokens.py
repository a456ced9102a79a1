"""Making bearer tokens from the command line, whether or not the service runs."""

from collections.abc import Sequence
from contextlib import closing

from api.permissions import PERMISSIONS
from earwitness.config import Config
from earwitness.embedded import embedded_database
from storage.catalogue import tokens
from storage.catalogue.engine import Catalogue
from storage.errors import ConfigurationInvalid


def create(config: Config, name: str, role: str, team: str | None, scopes: Sequence[str]) -> str:
    """Create a token; raises ConfigurationInvalid for a scope that is no permission."""
    unknown = sorted(set(scopes) - set(PERMISSIONS))
    if unknown:
        raise ConfigurationInvalid(
            f"--scope {unknown[0]}: expected one of {', '.join(sorted(PERMISSIONS))}"
        )
    with embedded_database(config) as url, closing(Catalogue(url)) as catalogue:
        catalogue.migrate()
        with catalogue.begin() as tx:
            return tokens.create_token(tx, name=name, role=role, team=team, scopes=scopes)
