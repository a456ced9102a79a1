"""Users of the web page from the command line, whether or not the service runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from earwitness.config import Config
from earwitness.wiring import open_catalogue
from recorder.withdrawal import withdraw
from storage.actors import COMMAND_LINE
from storage.catalogue import users
from storage.errors import ConfigurationInvalid, NameInvalid, UserInvalid
from storage.passwords import hash_password
from storage.records import PersonRole


def create(config: Config, name: str, role: PersonRole, team: str | None, password: str) -> None:
    """Create a user. Raises ConfigurationInvalid for a taken name or an unusable password."""
    with _catalogue(config) as tx:
        users.create_user(
            tx, name=name, role=role, team=team, password_hash=hash_password(password)
        )


def set_password(config: Config, name: str, password: str) -> None:
    """Set the password of a user, and end all sessions and spies. Raises ConfigurationInvalid."""
    with _catalogue(config) as tx:
        found = users.find_user(tx, name)
        if found is None:
            raise ConfigurationInvalid(f"there is no user {name!r}")
        if found.issuer is not None:
            raise ConfigurationInvalid(f"{name!r} signs in at {found.issuer}: has no password here")
        users.set_password(tx, found.id, hash_password(password))
        withdraw(tx, found.id, by=COMMAND_LINE)


def describe_users(config: Config) -> list[str]:
    """Return a line for each user."""
    with _catalogue(config) as tx:
        return [
            "  ".join(filter(None, (one.name, one.role, one.team)))
            for one in users.list_users(tx).items
        ]


@contextmanager
def _catalogue(config: Config) -> Iterator[Connection]:
    try:
        with open_catalogue(config) as tx:
            yield tx
    except (NameInvalid, UserInvalid) as error:
        raise ConfigurationInvalid(str(error)) from error
