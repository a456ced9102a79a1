"""Tokens, users and the audit trail over HTTP."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, build_recording, build_spy
from sqlalchemy import text

from storage.catalogue import links, recordings, searches, spies, tokens, users, webhooks
from storage.catalogue.engine import Catalogue
from storage.passwords import is_password

PASSWORD = "correct horse battery"


def test_a_token(client: ApiClient) -> None:
    """A token is shown once, works, is listed without its secret, and can be revoked."""
    name = f"wallboard-{uuid4()}"
    body = {"name": name, "role": "service", "scopes": ["calls.read"]}
    made = client.post("/api/v1/tokens", json=body)
    assert made.status_code == 201
    holder = client.as_holder_of(made.json["token"])
    assert holder.get("/api/v1/calls").status_code == 200
    assert holder.get("/api/v1/recordings").status_code == 403
    (listed,) = [one for one in client.get("/api/v1/tokens").json["items"] if one["name"] == name]
    assert (listed["token"], listed["scopes"]) == (None, ["calls.read"])
    path = f"/api/v1/tokens/{listed['id']}"
    assert client.delete(path).status_code == 204
    assert holder.get("/api/v1/calls").status_code == 401
    assert client.delete(path).json["error_id"] == "no-such-token"
    trail = client.get(f"/api/v1/audit?subject={listed['id']}").json["items"]
    assert [one["action"] for one in trail] == ["token.revoke", "token.create"]
    assert made.json["token"] not in str(trail)


def test_the_last_use_of_a_token(client: ApiClient, catalogue: Catalogue) -> None:
    """A token shows its last request, saved once a minute, also while another holds its row."""
    body = {"name": f"wallboard-{uuid4()}", "role": "service", "scopes": ["calls.read"]}
    made = client.post("/api/v1/tokens", json=body).json
    holder = client.as_holder_of(made["token"])

    def used() -> Any:
        with catalogue.begin() as tx:
            query = text("SELECT last_used_at FROM token WHERE id = :id")
            return tx.scalar(query, {"id": made["id"]})

    with catalogue.begin() as tx:
        tx.execute(text("SELECT 1 FROM token WHERE id = :id FOR UPDATE"), {"id": made["id"]})
        assert holder.get("/api/v1/calls").status_code == 200
    assert used() is None
    assert holder.get("/api/v1/calls").status_code == 200
    first = used()
    assert first is not None
    assert holder.get("/api/v1/calls").status_code == 200
    assert used() == first
    past = text("UPDATE token SET last_used_at = last_used_at - interval '1 hour' WHERE id = :id")
    with catalogue.begin() as tx:
        tx.execute(past, {"id": made["id"]})
    assert holder.get("/api/v1/calls").status_code == 200
    assert used() >= first


def test_a_session_is_no_token(client: ApiClient, catalogue: Catalogue) -> None:
    """Sessions are neither listed nor revoked as tokens."""
    with catalogue.begin() as tx:
        who = users.create_user(tx, name=f"p-{uuid4()}", role="agent", team=None, password_hash="x")
        users.begin_session(tx, who)
        query = text("SELECT id FROM token WHERE user_id = :id")
        session = tx.scalar(query, {"id": who.id})
    assert str(session) not in client.get("/api/v1/tokens").text
    assert client.delete(f"/api/v1/tokens/{session}").status_code == 404


def test_a_user(client: ApiClient, catalogue: Catalogue) -> None:
    """A user can sign in, be signed out and be removed; the trail has it without passwords."""
    body = {"name": f"ann-{uuid4()}", "role": "supervisor", "team": "sales", "password": PASSWORD}
    made = client.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert "password" not in made.json
    with catalogue.begin() as tx:
        found = users.find_user(tx, body["name"])
        assert found is not None
        assert is_password(PASSWORD, found.password_hash)
        users.begin_session(tx, found)
    path = f"/api/v1/users/{made.json['id']}"
    assert client.post(f"{path}/sign-out").status_code == 204
    with catalogue.begin() as tx:
        query = text("SELECT count(*) FROM token WHERE user_id = :id")
        assert tx.scalar(query, {"id": found.id}) == 0
    assert client.post("/api/v1/users", json=body).json["error_id"] == "user-invalid"
    assert client.delete(path).status_code == 204
    assert client.delete(path).json["error_id"] == "no-such-user"
    assert body["name"] not in client.get("/api/v1/users").text
    trail = client.get(f"/api/v1/audit?subject={made.json['id']}").json["items"]
    assert [one["action"] for one in trail] == ["user.delete", "user.sign-out", "user.create"]
    assert PASSWORD not in str(trail)


@pytest.mark.parametrize("how", ["revoke", "remove", "sign-out"])
def test_spies_end_with_the_right(client: ApiClient, catalogue: Catalogue, how: str) -> None:
    """Spies end with their token, user or sessions, and the trail says by whom."""
    body = {"name": f"ear-{uuid4()}", "role": "supervisor"}
    is_token = how == "revoke"
    kind, more = ("tokens", {}) if is_token else ("users", {"password": PASSWORD})
    path = f"/api/v1/{kind}/{client.post(f'/api/v1/{kind}', json=body | more).json['id']}"
    other_id = client.post("/api/v1/tokens", json=body | {"name": f"not-{uuid4()}"}).json["id"]
    with catalogue.begin() as tx:
        owner_id = UUID(path.rpartition("/")[2])
        if not is_token:
            users.begin_session(tx, users.get_user(tx, owner_id))
            session = "SELECT id FROM token WHERE user_id = :id"
            owner_id = tx.scalars(text(session), {"id": owner_id}).one()
        mine, theirs = build_spy(owner_id=owner_id), build_spy(owner_id=UUID(other_id))
        spies.create_spy(tx, mine)
        spies.create_spy(tx, theirs)
    ended = client.post(f"{path}/sign-out") if how == "sign-out" else client.delete(path)
    assert ended.status_code == 204
    spy = client.get(f"/api/v1/spies/{mine.id}").json
    assert (spy["state"], spy["cause"]) == ("ended", "not-permitted")
    assert client.get(f"/api/v1/spies/{theirs.id}").json["state"] == "requested"
    (entry,) = client.get(f"/api/v1/audit?subject={mine.id}").json["items"]
    assert (entry["actor_kind"], entry["actor"], entry["action"]) == ("token", "root", "spy.end")
    tokens_only = client.get("/api/v1/audit?actor_kind=token").json["items"]
    assert {one["actor_kind"] for one in tokens_only} == {"token"}
    assert client.get("/api/v1/audit?actor_kind=rule").json["items"] == []
    assert client.get("/api/v1/audit?actor_kind=robot").status_code == 422


def test_the_last_admin_stays(client: ApiClient, catalogue: Catalogue) -> None:
    """The last administrator cannot be removed."""
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM \"user\" WHERE role = 'admin'"))
    body = {"role": "admin", "password": PASSWORD}
    first, second = (
        client.post("/api/v1/users", json={**body, "name": f"root-{uuid4()}"}).json["id"]
        for _ in range(2)
    )
    assert client.delete(f"/api/v1/users/{first}").status_code == 204
    refused = client.delete(f"/api/v1/users/{second}")
    assert (refused.status_code, refused.json["error_id"]) == (409, "last-admin")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "tokens",
            {"name": "x", "role": "service"},
            "only the role service has scopes, and it needs some",
        ),
        ("tokens", {"name": "x", "role": "king"}, "Input should be 'admin'"),
        (
            "tokens",
            {"name": "x", "role": "service", "scopes": ["all"]},
            "expected one of audit.read",
        ),
        (
            "users",
            {"name": "x", "role": "service", "password": PASSWORD},
            "Input should be 'admin'",
        ),
    ],
)
def test_a_wrong_request_names_its_fault(
    client: ApiClient, path: str, body: dict[str, Any], expected: str
) -> None:
    """A wrong request names its fault."""
    refused = client.post(f"/api/v1/{path}", json=body)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["msg"].startswith(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"role": "service", "scopes": ["system.write", "calls.read"]}, "calls.read"),
        ({"role": "compliance"}, "audit.read"),
        ({"role": "service", "scopes": ["system.write"]}, "calls of other agents"),
        ({"role": "service", "scopes": ["system.write"], "team": "b"}, "calls of other agents"),
    ],
)
def test_nobody_grants_more_than_their_rights(
    client: ApiClient, make_token: Callable[..., str], body: dict[str, Any], expected: str
) -> None:
    """Nobody creates a token or user with more rights than their own; refusals are audited."""
    name = f"maker-{uuid4()}"
    token = make_token(name=name, role="service", team="a", scopes=["system.write"])
    maker = client.as_holder_of(token)
    own = {"name": f"more-{uuid4()}", "role": "service", "team": "a", "scopes": ["system.write"]}
    assert maker.post("/api/v1/tokens", json=own | {"name": f"same-{uuid4()}"}).status_code == 201
    assert maker.post("/api/v1/tokens", json={"name": own["name"]} | body).status_code == 403
    person = {"name": own["name"], "role": "admin", "password": PASSWORD}
    assert maker.post("/api/v1/users", json=person).status_code == 403
    assert own["name"] not in client.get("/api/v1/tokens").text + client.get("/api/v1/users").text
    refused = client.get(f"/api/v1/audit?actor={name}&outcome=refused").json["items"]
    assert [one["action"] for one in refused] == ["audit.read", expected]


def test_a_used_name_is_refused(client: ApiClient) -> None:
    """A used name is refused; an agent's tokens and user are one person."""
    name, agent = f"ann-{uuid4()}", f"2001-{uuid4()}"
    token = {"name": name, "role": "supervisor"}
    user = {"name": name, "role": "compliance", "password": PASSWORD}
    assert client.post("/api/v1/tokens", json=token).status_code == 201
    assert client.post("/api/v1/tokens", json=token).json["error_id"] == "token-invalid"
    assert client.post("/api/v1/users", json=user).json["error_id"] == "user-invalid"
    person = user | {"name": agent, "role": "agent"}
    assert client.post("/api/v1/users", json=person).status_code == 201
    for _ in "12":
        theirs = client.post("/api/v1/tokens", json={"name": agent, "role": "agent"})
        assert theirs.status_code == 201
    other = client.post("/api/v1/tokens", json={"name": agent, "role": "supervisor"})
    assert other.json["error_id"] == "token-invalid"


def test_a_short_password(client: ApiClient) -> None:
    """A short password is refused, and no user is added."""
    body = {"name": f"weak-{uuid4()}", "role": "agent", "password": "short"}
    assert client.post("/api/v1/users", json=body).json["error_id"] == "user-invalid"
    assert body["name"] not in client.get("/api/v1/users").text


def test_only_an_admin_manages_the_system(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """Only an administrator may; a compliance officer may read the trail."""
    officer = client.as_holder_of(make_token(name=f"officer-{uuid4()}", role="compliance"))
    boss = client.as_holder_of(make_token(name=f"boss-{uuid4()}", role="supervisor"))
    for asker in (officer, boss):
        assert asker.get("/api/v1/tokens").status_code == 403
        assert asker.get("/api/v1/users").status_code == 403
        assert asker.post("/api/v1/tokens", json={"name": "x", "role": "admin"}).status_code == 403
        assert asker.delete(f"/api/v1/users/{uuid4()}").status_code == 403
        assert asker.get("/api/v1/jobs").status_code == 403
        assert asker.post("/api/v1/jobs/1/retry").status_code == 403
        assert asker.delete("/api/v1/jobs/1").status_code == 403
    assert boss.get("/api/v1/audit").status_code == 403
    refused = officer.get("/api/v1/audit?outcome=refused&limit=5").json["items"]
    assert {one["outcome"] for one in refused} == {"refused"}


# Lists


def make_things(client: ApiClient, catalogue: Catalogue) -> str:
    """Create three items of each list; return the id of the recording with the links."""
    recording = build_recording(state="stored", object_key="main/2026/11/23/a.opus")
    with catalogue.begin() as tx:
        (root, *_) = [one for one in tokens.list_tokens(tx).items if one.name == "root"]
        mine = {"by": root.name, "owner_id": root.id}
        recordings.create_recording(tx, recording)
        for name in ("c", "a", "b"):
            one = f"{name}-{uuid4()}"
            tokens.create_token(tx, name="the same", role="agent")
            users.create_user(tx, name=one, role="agent", team=None, password_hash="x")
            webhooks.create_webhook(tx, url="https://example.com/hook", types=(), **mine)
            searches.save_search(tx, owner_id=root.id, name=one, query={})
            links.create_link(tx, recording.id, expires_in=timedelta(days=1), **mine)
    for _ in range(3):
        body = {"action": "tag", "ids": [str(recording.id)], "tags": ["x"]}
        assert client.post("/api/v1/bulk", json=body).status_code == 202
    with catalogue.begin() as tx:
        tx.execute(text("UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'bulk'"))
    return str(recording.id)


def test_lists_are_paged(client: ApiClient, catalogue: Catalogue) -> None:
    """The parts of each list join to the whole list, in order, without duplicates."""
    recording_id = make_things(client, catalogue)
    paths = ("tokens", "users", "webhooks", "searches", "bulk", "jobs")
    for path in (*paths, f"recordings/{recording_id}/links"):
        whole = client.get(f"/api/v1/{path}?limit=200").json
        found, cursor = [], ""
        while cursor is not None:
            query = f"?limit=2&cursor={cursor}" if cursor else "?limit=2"
            page = client.get(f"/api/v1/{path}{query}").json
            assert len(page["items"]) <= 2
            found, cursor = found + page["items"], page["next_cursor"]
        assert (found, whole["next_cursor"]) == (whole["items"], None)
        assert len(found) >= 3
        wrong = client.get(f"/api/v1/{path}?cursor=nonsense")
        assert (wrong.status_code, wrong.json["error_id"]) == (422, "bad-cursor")
