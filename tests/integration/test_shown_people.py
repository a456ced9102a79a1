"""The pages of people: users, agents, and one's own account."""

import re
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, build_recording
from werkzeug.test import Client

from storage.catalogue import agents, recordings, users
from storage.catalogue.engine import Catalogue
from storage.passwords import hash_password
from storage.records import UserRecord

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)


@pytest.fixture
def admin(client: ApiClient, catalogue: Catalogue) -> Client:
    """Return a browser in which an administrator has signed in."""
    return sign_in(client, create(catalogue, "admin"))


def create(catalogue: Catalogue, role: Any, team: str | None = None) -> UserRecord:
    """Create a user with a name of its own."""
    with catalogue.begin() as tx:
        return users.create_user(
            tx, name=f"{role}-{uuid4()}", role=role, team=team, password_hash=HASH
        )


def sign_in(client: ApiClient, who: UserRecord) -> Client:
    """Return a browser in which this person has signed in."""
    browser = client.application.test_client()
    form = {"name": who.name, "password": PASSWORD}
    answered = browser.post("/sign-in", data=form, environ_base={"REMOTE_ADDR": str(uuid4())})
    assert answered.status_code == 303
    return browser


def options_of(page: str, field: str) -> list[str]:
    """Return the values of a choice, in order."""
    found = re.search(rf'<select id="{field}".*?</select>', page, re.DOTALL)
    assert found is not None
    return re.findall(r'<option value="(\w+)"', found[0])


def test_the_least_role_comes_first(admin: Client) -> None:
    """A new user is an agent, unless one chooses more; so is a new token."""
    page = admin.get("/system").text
    assert options_of(page, "user-role") == ["agent", "supervisor", "compliance", "admin"]
    assert options_of(page, "token-role")[0] == "agent"
    assert "selected>" not in page


def test_the_page_of_a_user(admin: Client, catalogue: Catalogue) -> None:
    """The page of a user has its rights and the forms; the list leads to it."""
    who = create(catalogue, "supervisor", "sales")
    assert f'href="/users/{who.id}"' in admin.get("/system").text
    page = admin.get(f"/users/{who.id}").text
    assert '<option value="supervisor" selected>' in page
    assert 'value="sales"' in page
    assert 'autocomplete="new-password"' in page
    assert admin.get(f"/users/{uuid4()}").status_code == 404


def test_the_page_of_a_user_of_a_provider(admin: Client, catalogue: Catalogue) -> None:
    """The page of a user of an identity provider offers neither role, team nor password."""
    name = f"brought-{uuid4()}"
    with catalogue.begin() as tx:
        who = users.bring_user(
            tx, issuer="https://login.example", subject=name, name=name, role="agent", team=None
        )
    page = admin.get(f"/users/{who.id}").text
    assert "https://login.example" in page
    assert 'name="without"' in page
    for field in ("name", "role", "team", "password"):
        assert f'name="{field}"' not in page


def test_the_pages_of_the_agents(admin: Client, catalogue: Catalogue) -> None:
    """The list of agents shows those of a team, and leads to the page of each."""
    number, team = f"2001-{uuid4()}", f"team-{uuid4()}"
    with catalogue.begin() as tx:
        agents.add_agent(tx, number, display_name="Ann <b>", team=team)
        agents.add_agent(tx, f"{number}-other", display_name=None, team=None)
    page = admin.get("/agents", query_string={"team": team}).text
    assert "Ann &lt;b&gt;" in page
    assert f'href="/agents/{number}"' in page
    assert f"{number}-other" not in page
    assert 'value="Ann &lt;b&gt;"' in admin.get(f"/agents/{number}").text
    assert admin.get(f"/agents/{uuid4()}").status_code == 404


def test_ones_own_account(client: ApiClient, catalogue: Catalogue) -> None:
    """Everybody sees the own role and sessions, and the form for another password."""
    who = create(catalogue, "agent", "sales")
    sign_in(client, who)
    browser = sign_in(client, who)
    page = browser.get("/account").text
    assert page.count("<li>") == 2
    assert page.count("this browser") == 1
    assert 'data-path="/me/password"' in page
    assert 'href="/account"' in browser.get("/").text
    assert browser.get(f"/users/{who.id}").status_code == 403
    assert browser.get("/agents").status_code == 403


def test_the_name_of_an_agent(admin: Client, catalogue: Catalogue) -> None:
    """The library shows the name of the list where the PBX gives none."""
    number, name = f"2001-{uuid4()}", f"Ann {uuid4()}"
    tag = f"tag-{uuid4()}"[:60]
    with catalogue.begin() as tx:
        agents.add_agent(tx, number, display_name=name, team=None)
        recordings.create_recording(
            tx, build_recording(agent=number, callee_number=number, tags=(tag,))
        )
    assert name in admin.get("/library", query_string={"tag": tag}).text
    assert name in admin.get("/").text  # for the calls of the page
