"""Users of the web page from the command line, whether or not the service runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from earwitness.config import Config
from earwitness.tokens import require_permissions
from earwitness.wiring import open_catalogue
from recorder.withdrawal import withdraw
from storage.actors import COMMAND_LINE
from storage.catalogue import agents, audit, users
from storage.errors import ConfigurationInvalid, LastAdmin, NameInvalid, UserInvalid, UserOfProvider
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


def edit(config: Config, name: str, changes: Mapping[str, Any]) -> None:
    """Change the name, role, team or missing permissions of a user. Raises ConfigurationInvalid."""
    wanted = dict(changes)
    if "without" in wanted:
        wanted["without"] = tuple(filter(None, wanted["without"]))
        require_permissions("--without", wanted["without"])
    with _catalogue(config) as tx:
        found = users.find_user(tx, name)
        if found is None:
            raise ConfigurationInvalid(f"there is no user {name!r}")
        teams = agents.find_teams(tx, {name, wanted.get("name", name)})
        after = users.change_user(tx, found.id, wanted)
        audit.add_audit(
            tx,
            actor=COMMAND_LINE,
            action="user.change",
            subject=str(found.id),
            outcome="done",
            detail={
                "name": name,
                "before": {one: getattr(found, one) for one in wanted},
                "after": {one: getattr(after, one) for one in wanted},
            },
        )
        withdraw(tx, found.id, teams_before=teams, by=COMMAND_LINE)


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
    except (LastAdmin, NameInvalid, UserInvalid, UserOfProvider) as error:
        raise ConfigurationInvalid(str(error)) from error
