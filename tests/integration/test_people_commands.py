"""The commands for tokens, users and agents, without a running service."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from earwitness import agents as agent_commands
from earwitness import tokens as token_commands
from earwitness import users as user_commands
from earwitness.config import Config
from storage.catalogue import agents, tokens, users
from storage.catalogue.engine import Catalogue
from storage.errors import ConfigurationInvalid
from storage.schema import audit


@pytest.fixture
def config(catalogue: Catalogue, database_url: str) -> Config:
    """Return a configuration of the module's database, which is migrated."""
    return Config.model_validate({"database": {"url": database_url.replace("+psycopg", "")}})


def deeds(catalogue: Catalogue, action: str, subject: object) -> list[dict[str, object]]:
    """Return the details of the audited deeds of the command line."""
    query = select(audit.c.detail).where(
        audit.c.action == action,
        audit.c.subject == str(subject),
        audit.c.actor_kind == "system",
        audit.c.actor == "command line",
    )
    with catalogue.begin() as tx:
        return list(tx.scalars(query))


def test_tokens(config: Config, catalogue: Catalogue) -> None:
    """`token list` shows names and roles, and `token revoke` ends all tokens of a name."""
    name = f"2001-{uuid4()}"
    with catalogue.begin() as tx:
        made = [tokens.create_token(tx, name=name, role="agent", team="sales")[0] for _ in "12"]
    assert token_commands.describe_tokens(config).count(f"{name}  agent  sales") == 2
    assert token_commands.revoke(config, name) == 2
    assert name not in str(token_commands.describe_tokens(config))
    assert [deeds(catalogue, "token.revoke", one.id) for one in made] == [[{"name": name}]] * 2
    with pytest.raises(ConfigurationInvalid, match="there is no token"):
        token_commands.revoke(config, name)


def test_a_user(config: Config, catalogue: Catalogue) -> None:
    """`user edit` changes role, team and missing permissions, and is audited."""
    name = f"ann-{uuid4()}"
    user_commands.create(config, name, "supervisor", "sales", "correct horse battery")
    user_commands.edit(config, name, {"team": None, "without": ["spies.barge"]})
    with catalogue.begin() as tx:
        found = users.find_user(tx, name)
    assert found is not None
    assert (found.role, found.team, found.without) == ("supervisor", None, ("spies.barge",))
    (detail,) = deeds(catalogue, "user.change", found.id)
    assert detail["before"] == {"team": "sales", "without": []}
    with pytest.raises(ConfigurationInvalid, match="--without all"):
        user_commands.edit(config, name, {"without": ["all"]})
    with pytest.raises(ConfigurationInvalid, match="reserved"):
        user_commands.edit(config, name, {"name": "watch"})
    with pytest.raises(ConfigurationInvalid, match="there is no user"):
        user_commands.edit(config, f"nobody-{uuid4()}", {})


def test_agents(config: Config, catalogue: Catalogue, tmp_path: Path) -> None:
    """`agents import` counts and lists bad lines; a dry run writes nothing."""
    number = f"2001-{uuid4()}"
    file = tmp_path / "agents.csv"
    file.write_text(f"number,name,team\n{number},Ann,sales\n,Bob,sales\n", encoding="utf-8")
    expected = ["line 3: the line has no number"]
    counted = "1 added, 0 changed, 0 unchanged, 1 refused"
    outcome = agent_commands.import_file(config, file, dry_run=True)
    assert outcome == (f"{counted}; nothing was written", expected)
    with catalogue.begin() as tx:
        assert agents.find_teams(tx, [number]) == {}
    assert agent_commands.import_file(config, file, dry_run=False) == (counted, expected)
    assert f"{number}  Ann  sales  (csv)" in agent_commands.describe_agents(config)
    (detail,) = deeds(catalogue, "agent.import", "agents")
    assert detail["moved"] == {number: [None, "sales"]}
    file.write_text("name\nAnn\n", encoding="utf-8")
    with pytest.raises(ConfigurationInvalid, match="one of them `number`"):
        agent_commands.import_file(config, file, dry_run=False)
    with pytest.raises(ConfigurationInvalid, match="No such file"):
        agent_commands.import_file(config, tmp_path / "none.csv", dry_run=False)
