"""Agents over HTTP: people with an endpoint, and the teams that decide who sees their calls."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, build_call, build_spy, problem

from recorder.watch.seen_agents import AgentPattern, apply_patterns
from storage.catalogue import agents, calls, spies, tokens, users
from storage.catalogue.engine import Catalogue

TokenMaker = Callable[..., str]


def unique(name: str) -> str:
    """Return a name that no other test has."""
    return f"{name}-{uuid4()}"


def team_of(catalogue: Catalogue, name: str) -> str | None:
    """Return the team that counts for an agent."""
    with catalogue.begin() as tx:
        return agents.find_teams(tx, [name]).get(name)


def send_csv(client: ApiClient, *lines: str, query: str = "") -> Any:
    """Import the lines of a CSV."""
    path = f"/api/v1/agents/import{query}"
    return client.post(path, data="\n".join(lines).encode(), headers={"Content-Type": "text/csv"})


def test_an_agent(client: ApiClient) -> None:
    """An agent is added, changed and deleted without a token, and each deed is audited."""
    number = unique("2001")
    body = {"number": number, "name": "Ann Miller", "team": "sales"}
    made = client.post("/api/v1/agents", json=body)
    assert made.status_code == 201
    assert made.json | body == made.json
    assert made.json["origin"] == "api"
    assert problem(client.post("/api/v1/agents", json=body)) == (422, "agent-invalid")
    path = f"/api/v1/agents/{number}"
    changed = client.patch(path, json={"team": "support"}).json
    assert (changed["name"], changed["team"]) == ("Ann Miller", "support")
    assert client.patch(path, json={"team": None, "name": None}).json["team"] is None
    assert client.get(path).json["name"] is None
    assert client.delete(path).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert problem(client.request(method, path)) == (404, "no-such-agent")
    trail = client.get(f"/api/v1/audit?subject={number}&outcome=done").json["items"]
    deeds = ["agent.delete", "agent.change", "agent.change", "agent.create"]
    assert [one["action"] for one in trail] == deeds
    assert trail[2]["detail"]["before"]["team"] == "sales"
    assert trail[2]["detail"]["team"] == "support"


def test_one_team_of_each_agent(client: ApiClient, catalogue: Catalogue) -> None:
    """The list counts before a user, a user before a token, and a token before a pattern."""
    number = unique("2001")
    with catalogue.begin() as tx:
        agents.see_agents(tx, {number: "by pattern"})
    assert team_of(catalogue, number) == "by pattern"
    with catalogue.begin() as tx:
        for team in ("by first token", "by token"):
            tokens.create_token(tx, name=number, role="agent", team=team)
    assert team_of(catalogue, number) == "by token"
    with catalogue.begin() as tx:
        assert number not in agents.list_agents_of_team(tx, "by first token")
        users.create_user(tx, name=number, role="agent", team="by user", password_hash="x")
    assert team_of(catalogue, number) == "by user"
    path = f"/api/v1/agents/{number}"
    assert client.get(path).json["origin"] == "user"
    assert client.patch(path, json={"team": "by list"}).json["origin"] == "api"
    assert client.patch(path, json={"team": None}).status_code == 200
    assert team_of(catalogue, number) is None
    assert client.delete(path).status_code == 204
    assert team_of(catalogue, number) == "by user"
    refused = client.delete(path)
    assert problem(refused) == (404, "no-such-agent")
    assert "is a user or has a token" in refused.json["detail"]


def test_a_csv(client: ApiClient, catalogue: Catalogue) -> None:
    """Good lines of a CSV are taken, bad lines are listed with their reasons."""
    ann, bob, eve = unique("ann"), unique("bob"), unique("eve")
    lines = [
        "Number;Name;Team",
        f"{ann};Ann Miller;sales",
        f'{bob};"Bob;sales',
        "",
        f"{bob};Bob;sales;more",
        ";Nobody;sales",
        f"{ann};Ann again;support",
        f"{eve}\u202e;Eve;sales",
        f"{'9' * 101};Nine;sales",
        f"{eve};;",
    ]
    dry = send_csv(client, *lines, query="?dry_run=true").json
    assert team_of(catalogue, ann) is None
    found = send_csv(client, *lines).json
    assert dry == found
    assert (found["added"], found["changed"], found["unchanged"]) == (2, 0, 0)
    reasons = {one["line"]: one["reason"] for one in found["refused"]}
    assert reasons == {
        3: "a quote is not closed, or has text behind it",
        5: "the line has 4 fields, at most 3 are expected",
        6: "the line has no number",
        7: f"{ann} is on an earlier line too",
        8: "number: the name contains U+202E (right-to-left override), which nobody can see",
        9: "number: the name is longer than 100 characters",
    }
    assert found["refused_total"] == 6
    assert client.get(f"/api/v1/agents/{ann}").json["name"] == "Ann Miller"
    again = send_csv(client, *lines[:2], f"{eve};Eve;support").json
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 1, 1)
    assert team_of(catalogue, eve) == "support"
    entry = client.get("/api/v1/audit?action=agent.import&limit=1").json["items"][0]
    assert entry["detail"]["moved"] == {eve: [None, "support"]}


def test_a_csv_without_teams(client: ApiClient, catalogue: Catalogue) -> None:
    """A CSV without the column `team` changes no team, also of an agent with a token."""
    number = unique("2001")
    with catalogue.begin() as tx:
        tokens.create_token(tx, name=number, role="agent", team="sales")
    assert send_csv(client, "number,name", f"{number},Ann").json["added"] == 1
    assert team_of(catalogue, number) == "sales"
    assert client.get(f"/api/v1/agents/{number}").json["name"] == "Ann"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", "one of them `number`"),
        (b"name,team\nAnn,sales", "one of them `number`"),
        (b"number,colour\n2001,red", "unknown column 'colour'"),
        (b"number,number\n2001,2002", "a name of its own"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_no_list_of_agents(client: ApiClient, sent: bytes, expected: str) -> None:
    """A file that is no list of agents is refused, and the message says why."""
    headers = {"Content-Type": "text/csv"}
    refused = client.post("/api/v1/agents/import", data=sent, headers=headers)
    assert problem(refused) == (422, "agent-list-invalid")
    assert expected in refused.json["detail"]


def test_who_sees_an_agent(client: ApiClient, catalogue: Catalogue, make_token: TokenMaker) -> None:
    """A supervisor sees the agents of the team and their calls, an agent itself alone."""
    team, mine, other = unique("team"), unique("mine"), unique("other")
    client.post("/api/v1/agents", json={"number": mine, "team": team})
    client.post("/api/v1/agents", json={"number": other, "team": unique("team")})
    with catalogue.begin() as tx:
        for agent in (mine, other):
            calls.save_calls(tx, [build_call(id=f"main-{agent}", agent=agent)])
    boss = client.as_holder_of(make_token(name=unique("boss"), role="supervisor", team=team))
    assert [one["number"] for one in boss.get("/api/v1/agents").json["items"]] == [mine]
    assert boss.get(f"/api/v1/agents?team={team}").json["items"][0]["number"] == mine
    assert [one["agent"] for one in boss.get("/api/v1/calls").json["items"]] == [mine]
    assert problem(boss.get(f"/api/v1/agents/{other}")) == (404, "no-such-agent")
    assert boss.patch(f"/api/v1/agents/{mine}", json={"team": None}).status_code == 403
    own = client.as_holder_of(make_token(name=other, role="agent"))
    assert [one["number"] for one in own.get("/api/v1/agents").json["items"]] == [other]


def test_a_member_of_a_team_moves_nobody(
    client: ApiClient, catalogue: Catalogue, make_token: TokenMaker
) -> None:
    """With the right to manage one team, nobody takes agents into it, or out of it."""
    team, mine, other = unique("team"), unique("mine"), unique("other")
    client.post("/api/v1/agents", json={"number": mine, "team": team})
    client.post("/api/v1/agents", json={"number": other})
    scopes = ["system.write", "calls.read"]
    token = make_token(name=unique("lead"), role="service", team=team, scopes=scopes)
    lead = client.as_holder_of(token)
    assert lead.patch(f"/api/v1/agents/{mine}", json={"name": "Ann"}).status_code == 200
    for refused in (
        lead.patch(f"/api/v1/agents/{mine}", json={"team": None}),
        lead.post("/api/v1/agents", json={"number": unique("new"), "team": team}),
        send_csv(lead, "number,team", f"{other},{team}"),
        send_csv(lead, "number,team", f"{mine},another"),
    ):
        assert problem(refused) == (403, "forbidden")
    assert problem(lead.patch(f"/api/v1/agents/{other}", json={"team": team}))[0] == 404
    assert (team_of(catalogue, mine), team_of(catalogue, other)) == (team, None)


@pytest.mark.parametrize("how", ["change", "import", "delete", "user", "token"])
def test_an_agent_who_leaves_a_team(client: ApiClient, catalogue: Catalogue, how: str) -> None:
    """The team's spies on an agent end in the transaction that moves the agent elsewhere."""
    number, team = unique("2001"), unique("team")
    boss_name = unique("boss")
    if how == "user":
        body = {"name": number, "role": "agent", "team": team, "password": "correct horse battery"}
        path = f"/api/v1/users/{client.post('/api/v1/users', json=body).json['id']}"
    elif how == "token":
        body = {"name": number, "role": "agent", "team": team}
        path = f"/api/v1/tokens/{client.post('/api/v1/tokens', json=body).json['id']}"
    else:
        client.post("/api/v1/agents", json={"number": number, "team": team})
        path = f"/api/v1/agents/{number}"
    with catalogue.begin() as tx:
        boss, _ = tokens.create_token(tx, name=boss_name, role="supervisor", team=team)
        call = build_call(id=f"main-{number}", agent=number)
        calls.save_calls(tx, [call])
        spy = build_spy(supervisor=boss_name, owner_id=boss.id, call_id=call.id, agent=number)
        spies.create_spy(tx, spy)
    if how == "import":
        answered = send_csv(client, "number,team", f"{number},elsewhere")
    elif how in {"delete", "token"}:
        answered = client.delete(path)
    else:
        answered = client.patch(path, json={"team": "elsewhere"})
    assert answered.status_code in {200, 204}
    assert client.get(f"/api/v1/spies/{spy.id}").json["cause"] == "not-permitted"


def test_other_patterns(catalogue: Catalogue) -> None:
    """At its start the watcher gives agents of patterns the team of the present patterns."""
    seen, listed = unique("2001"), unique("2002")
    with catalogue.begin() as tx:
        agents.see_agents(tx, {seen: "sales", listed: "sales"})
        agents.change_agent(tx, listed, {"team": "leads"})
        apply_patterns(tx, [AgentPattern("2001-*", "support"), AgentPattern("*", "others")])
    assert (team_of(catalogue, seen), team_of(catalogue, listed)) == ("support", "leads")
    with catalogue.begin() as tx:
        apply_patterns(tx, [])
    assert (team_of(catalogue, seen), team_of(catalogue, listed)) == (None, "leads")


def test_a_pattern_adds_and_moves(catalogue: Catalogue) -> None:
    """A pattern adds an agent once, moves only agents of patterns, and leaves the list alone."""
    seen, listed = unique("2001"), unique("2002")
    with catalogue.begin() as tx:
        agents.add_agent(tx, listed, display_name="Ann", team="sales")
        assert agents.see_agents(tx, {seen: "a", listed: "a"}) == {seen: "a"}
        assert agents.see_agents(tx, {seen: "a", listed: "b"}) == {}
        assert agents.see_agents(tx, {seen: "b"}) == {seen: "b"}
    assert (team_of(catalogue, seen), team_of(catalogue, listed)) == ("b", "sales")
