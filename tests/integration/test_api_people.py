"""Changing people over HTTP: their rights, their passwords, and oneself."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, build_call, build_spy, problem
from sqlalchemy import text
from werkzeug.test import Client

from storage.catalogue import calls, spies, users
from storage.catalogue.engine import Catalogue
from storage.passwords import hash_password, is_password
from storage.records import UserRecord

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "another horse battery"
HASH = hash_password(PASSWORD)
Person = Callable[..., UserRecord]
TokenMaker = Callable[..., str]


@pytest.fixture
def person(catalogue: Catalogue) -> Person:
    """Return a function that creates a user."""

    def make(role: Any = "supervisor", team: str | None = None, name: str = "") -> UserRecord:
        with catalogue.begin() as tx:
            return users.create_user(
                tx,
                name=name or f"person-{uuid4()}",
                role=role,
                team=team,
                password_hash=HASH,
            )

    return make


def find(catalogue: Catalogue, user_id: UUID) -> UserRecord:
    """Return the user as the catalogue has it."""
    with catalogue.begin() as tx:
        return users.get_user(tx, user_id)


def sign_in(client: ApiClient, name: str, password: str = PASSWORD) -> tuple[Client, str]:
    """Sign in, and return the browser with its CSRF token."""
    browser = client.application.test_client()
    form = {"name": name, "password": password}
    answered = browser.post("/sign-in", data=form, environ_base={"REMOTE_ADDR": str(uuid4())})
    assert answered.status_code == 303, answered.status_code
    found = re.search(r'name="csrf" content="([^"]+)"', browser.get("/").text)
    assert found is not None
    return browser, found[1]


def test_a_change_of_role_and_team(client: ApiClient, catalogue: Catalogue, person: Person) -> None:
    """Role, team and missing permissions change, and the trail has them before and after."""
    who = person("supervisor", "sales")
    path = f"/api/v1/users/{who.id}"
    changed = client.patch(path, json={"role": "compliance", "without": ["audit.read"]})
    assert changed.status_code == 200
    assert (changed.json["role"], changed.json["team"]) == ("compliance", "sales")
    assert client.patch(path, json={"team": None}).json["team"] is None
    assert client.patch(path, json={"name": None, "role": None}).json["role"] == "compliance"
    last, before, first = client.get(f"/api/v1/audit?subject={who.id}").json["items"]
    assert {one["action"] for one in (last, before, first)} == {"user.change"}
    assert before["detail"]["before"] == {"team": "sales"}
    assert before["detail"]["after"] == {"team": None}
    assert first["detail"]["before"] == {"role": "supervisor", "without": []}
    assert first["detail"]["after"] == {"role": "compliance", "without": ["audit.read"]}
    assert problem(client.patch(f"/api/v1/users/{uuid4()}", json={})) == (404, "no-such-user")


def test_what_a_person_loses_ends_at_once(
    client: ApiClient, catalogue: Catalogue, person: Person
) -> None:
    """A spy ends in the transaction that takes its owner's right."""
    who = person("supervisor")
    call = build_call(id=f"main-{uuid4()}", agent=f"agent-{uuid4()}")
    spy = build_spy(supervisor=who.name, owner_id=who.id, call_id=call.id, agent=call.agent)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        spies.create_spy(tx, spy)
    path = f"/api/v1/users/{who.id}"
    assert client.patch(path, json={"name": f"renamed-{uuid4()}"}).status_code == 200
    assert client.get(f"/api/v1/spies/{spy.id}").json["state"] == "requested"
    assert client.patch(path, json={"role": "compliance"}).status_code == 200
    assert client.get(f"/api/v1/spies/{spy.id}").json["cause"] == "not-permitted"


def test_another_password_of_somebody(
    client: ApiClient, catalogue: Catalogue, person: Person
) -> None:
    """A password that an administrator sets works, ends all sessions, and is nowhere in the
    trail."""
    who = person()
    browser, _csrf = sign_in(client, who.name)
    path = f"/api/v1/users/{who.id}"
    assert problem(client.patch(path, json={"password": "short"})) == (422, "user-invalid")
    answered = client.patch(path, json={"password": OTHER_PASSWORD})
    assert answered.status_code == 200
    assert "password" not in answered.text
    assert browser.get("/").status_code == 303
    sign_in(client, who.name, OTHER_PASSWORD)
    trail = client.get(f"/api/v1/audit?subject={who.id}").text
    assert '"password":true' in trail.replace(" ", "")
    assert OTHER_PASSWORD not in trail
    assert "argon2" not in trail


def test_a_taken_name(client: ApiClient, person: Person, make_token: TokenMaker) -> None:
    """The name of another user or token is refused, and the refusal is audited."""
    who, other, token = person(), person(), f"token-{uuid4()}"
    make_token(name=token, role="service")
    path = f"/api/v1/users/{who.id}"
    for taken in (other.name, token):
        assert problem(client.patch(path, json={"name": taken})) == (422, "user-invalid")
    trail = client.get(f"/api/v1/audit?subject={who.id}").json["items"]
    assert [(one["action"], one["outcome"]) for one in trail] == [("user.change", "refused")] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"role": "admin"},
        {"role": "compliance"},
        {"team": "b"},
        {"team": None},
        {"role": "agent", "name": "somebody"},
    ],
)
def test_nobody_gives_more_than_he_has(
    client: ApiClient,
    catalogue: Catalogue,
    person: Person,
    make_token: TokenMaker,
    body: dict[str, Any],
) -> None:
    """A change that gives more rights, or a wider team, than the caller has is refused."""
    who = person("supervisor", "a")
    scopes = [
        *("system.write", "calls.read", "recordings.read", "recordings.hear"),
        *("recordings.control", "recordings.annotate", "spies.read", "events.read", "calls.dial"),
        *("conferences.read", "conferences.control", "campaigns.read", "campaigns.control"),
        *("spies.listen", "spies.whisper", "spies.barge"),
    ]
    token = make_token(name=f"lead-{uuid4()}", role="service", team="a", scopes=scopes)
    lead = client.as_holder_of(token)
    path = f"/api/v1/users/{who.id}"
    assert problem(lead.patch(path, json=body)) == (403, "forbidden")
    assert find(catalogue, who.id).role == "supervisor"
    assert lead.patch(path, json={"without": ["spies.barge"]}).status_code == 200


def test_nobody_changes_somebody_with_more_rights(
    client: ApiClient, catalogue: Catalogue, person: Person, make_token: TokenMaker
) -> None:
    """A caller with fewer rights, or of another team, changes neither name, role nor password."""
    who, boss = person("supervisor", "a"), person("admin")
    token = make_token(name=f"few-{uuid4()}", role="service", scopes=["system.write"])
    few = client.as_holder_of(token)
    for one in (who, boss):
        for body in ({"name": "x"}, {"role": "agent"}, {"password": OTHER_PASSWORD}):
            refused = few.patch(f"/api/v1/users/{one.id}", json=body)
            assert problem(refused) == (403, "forbidden")
        assert is_password(PASSWORD, find(catalogue, one.id).password_hash)


def test_a_user_of_an_identity_provider(client: ApiClient, catalogue: Catalogue) -> None:
    """Name, role, team and password of a user of the provider change only there."""
    with catalogue.begin() as tx:
        who = users.bring_user(
            tx,
            issuer="https://login.example",
            subject=str(uuid4()),
            name=f"brought-{uuid4()}",
            role="supervisor",
            team="sales",
        )
    path = f"/api/v1/users/{who.id}"
    for body in (
        {"name": "other"},
        {"role": "agent"},
        {"team": None},
        {"password": OTHER_PASSWORD},
    ):
        refused = client.patch(path, json=body)
        assert problem(refused) == (409, "user-of-provider")
        assert "https://login.example" in refused.json["detail"]
    same = {"name": who.name, "role": who.role, "team": who.team, "without": ["spies.barge"]}
    assert client.patch(path, json=same).json["without"] == ["spies.barge"]


def test_the_last_administrator(client: ApiClient, catalogue: Catalogue, person: Person) -> None:
    """The last administrator keeps the role and the right to manage people."""
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM \"user\" WHERE role = 'admin'"))
    first, second = person("admin"), person("admin")
    path = f"/api/v1/users/{first.id}"
    assert client.patch(path, json={"role": "compliance"}).status_code == 200
    path = f"/api/v1/users/{second.id}"
    for body in ({"role": "agent"}, {"without": ["system.write"]}):
        assert problem(client.patch(path, json=body)) == (409, "last-admin")
    assert client.patch(path, json={"name": f"root-{uuid4()}"}).status_code == 200


def test_the_last_sign_in(client: ApiClient, person: Person) -> None:
    """A user shows the time of the last sign-in."""
    who = person()

    def shown() -> Any:
        listed = client.get("/api/v1/users?limit=200").json["items"]
        return next(one["last_signed_in_at"] for one in listed if one["id"] == str(who.id))

    assert shown() is None
    sign_in(client, who.name)
    first = shown()
    assert first is not None
    sign_in(client, who.name)
    assert shown() > first


def test_oneself(client: ApiClient, person: Person, make_token: TokenMaker) -> None:
    """A person and a token get their name, role, team and permissions."""
    who = person("supervisor", "sales")
    browser, _csrf = sign_in(client, who.name)
    me = browser.get("/api/v1/me").json
    assert (me["id"], me["name"], me["kind"]) == (str(who.id), who.name, "user")
    assert (me["role"], me["team"]) == ("supervisor", "sales")
    assert "spies.listen" in me["permissions"]
    assert me["last_signed_in_at"] is not None
    token = make_token(name=f"own-{uuid4()}", role="service", scopes=["calls.read"])
    own = client.as_holder_of(token).get("/api/v1/me").json
    assert (own["kind"], own["permissions"]) == ("token", ["calls.read"])
    assert problem(client.as_holder_of(None).get("/api/v1/me")) == (401, "not-authenticated")


def test_ones_own_password(client: ApiClient, person: Person) -> None:
    """With the old password one sets another, which ends the other sessions and not this one."""
    who = person()
    here, csrf = sign_in(client, who.name)
    there, _csrf = sign_in(client, who.name)
    headers = {"X-CSRF-Token": csrf}
    path, body = "/api/v1/me/password", {"old": PASSWORD, "new": OTHER_PASSWORD}
    wrong = here.post(path, json=body | {"old": "wrong"}, headers=headers)
    assert problem(wrong) == (403, "wrong-password")
    short = here.post(path, json=body | {"new": "short"}, headers=headers)
    assert problem(short) == (422, "user-invalid")
    assert there.get("/").status_code == 200
    assert here.post(path, json=body, headers=headers).status_code == 204
    assert (here.get("/").status_code, there.get("/").status_code) == (200, 303)
    sign_in(client, who.name, OTHER_PASSWORD)
    trail = client.get(f"/api/v1/audit?subject={who.id}&action=password.change").json["items"]
    assert [one["outcome"] for one in trail] == ["done", "refused", "refused"]
    assert OTHER_PASSWORD not in str(trail)


def test_old_passwords_are_not_guessed(client: ApiClient, person: Person) -> None:
    """Too many wrong old passwords stop further attempts, for this person alone."""
    guesser, other = person(), person()
    browser, csrf = sign_in(client, guesser.name)
    path, body = "/api/v1/me/password", {"old": "wrong", "new": OTHER_PASSWORD}
    tried = [browser.post(path, json=body, headers={"X-CSRF-Token": csrf}) for _ in range(11)]
    assert [one.status_code for one in tried] == [403] * 10 + [429]
    assert problem(tried[-1]) == (429, "too-many-attempts")
    assert int(tried[-1].headers["Retry-After"]) > 0
    right = body | {"old": PASSWORD}
    assert browser.post(path, json=right, headers={"X-CSRF-Token": csrf}).status_code == 429
    browser, csrf = sign_in(client, other.name)
    assert browser.post(path, json=right, headers={"X-CSRF-Token": csrf}).status_code == 204


def test_a_token_has_no_password(client: ApiClient) -> None:
    """A token cannot change a password."""
    body = {"old": PASSWORD, "new": OTHER_PASSWORD}
    assert problem(client.post("/api/v1/me/password", json=body)) == (403, "forbidden")


def test_two_who_change_each_other(client: ApiClient, person: Person) -> None:
    """Two administrators who change each other at once both get an answer."""
    both = [person("admin"), person("admin")]
    signed_in = [sign_in(client, one.name) for one in both]

    def change(one: int) -> int:
        browser, csrf = signed_in[one]
        path, body = f"/api/v1/users/{both[1 - one].id}", {"without": ["spies.barge"]}
        return browser.patch(path, json=body, headers={"X-CSRF-Token": csrf}).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(change, (0, 1)))
    # The second may have lost a right that the other still has.
    assert statuses in ([200, 200], [200, 403])
