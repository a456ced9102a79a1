"""Rules over HTTP: their versions, their errors, and drafts tried on past calls."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, build_call, build_recording
from conftest import TokenMaker
from sqlalchemy import select

import api.routes.rules
from api.app import build_app
from storage.catalogue import calls, decisions, recordings, rules
from storage.catalogue.engine import Catalogue
from storage.records import DecisionRecord, RuleRecord
from storage.schema import audit
from tests.legs import leg

RULE = {"name": "support", "when": 'did == "3000"', "action": "record", "tags": ["a"]}
CONFIGURED = RuleRecord(
    id="config-1",
    version=1,
    name="from the file",
    when="",
    action="on_demand",
    priority=50,
    origin="config",
)
PAST = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def compliance(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    return client.as_holder_of(make_token(name="cleo", role="compliance"))


def create(client: ApiClient, **more: Any) -> dict[str, Any]:
    """Create a rule, and return the answer."""
    response = client.post("/api/v1/rules", json=RULE | more)
    assert response.status_code == 201, response.text
    answered: dict[str, Any] = response.get_json()
    assert response.headers["Location"].endswith(f"/api/v1/rules/{answered['id']}")
    return answered


def put(client: ApiClient, rule_id: str, **body: Any) -> Any:
    return client.request("PUT", f"/api/v1/rules/{rule_id}", json=RULE | body)


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error_id"]


def test_the_life_of_a_rule(client: ApiClient, catalogue: Catalogue) -> None:
    """Every version of a rule is kept, also after its deletion."""
    made = create(client)
    assert (made["version"], made["origin"], made["tags"]) == (1, "api", ["a"])
    changed = put(client, made["id"], action="force", version=1).get_json()
    assert (changed["version"], changed["action"]) == (2, "force")
    path = f"/api/v1/rules/{made['id']}"
    assert client.get(path).get_json() == changed
    assert client.get(f"{path}?version=1").get_json() == made
    assert client.delete(path).get_json()["deleted"] is True
    assert problem(client.get(path)) == (404, "no-such-rule")
    assert problem(client.delete(path)) == (404, "no-such-rule")
    versions = client.get(f"{path}/versions").get_json()["items"]
    assert [(one["version"], one["deleted"]) for one in versions] == [
        (3, True),
        (2, False),
        (1, False),
    ]
    newest = client.get(f"{path}/versions?limit=2").get_json()
    oldest = client.get(f"{path}/versions?cursor={newest['next_cursor']}").get_json()
    assert newest["items"] + oldest["items"] == versions
    assert oldest["next_cursor"] is None
    with catalogue.begin() as tx:
        noted = tx.scalars(select(audit.c.action).where(audit.c.subject == made["id"])).all()
    assert set(noted) == {"rule.create", "rule.replace", "rule.delete"}


def test_a_change_of_an_old_version_is_refused(client: ApiClient) -> None:
    """A change based on an old version is refused."""
    made = create(client)
    assert put(client, made["id"], name="one", version=1).status_code == 200
    assert problem(put(client, made["id"], name="two", version=1)) == (409, "rule-changed")
    assert client.get(f"/api/v1/rules/{made['id']}").get_json()["name"] == "one"


@pytest.mark.parametrize(
    ("more", "field", "position", "hint"),
    [
        ({"when": 'did == "1" && que == "x"'}, "when", 14, "did you mean queue?"),
        ({"when": 'hour == "9"'}, "when", 5, "hour == 9"),
        ({"when": "hour =="}, "when", 7, ""),
        ({"timezone": "Mars/Olympus"}, "timezone", None, "for example Europe/Berlin"),
    ],
)
def test_an_invalid_rule(
    client: ApiClient, more: dict[str, str], field: str, position: int | None, hint: str
) -> None:
    """The problem names the place of the fault and its correction; nothing is stored."""
    before = client.get("/api/v1/rules").get_json()["items"]
    response = client.post("/api/v1/rules", json=RULE | more)
    assert problem(response) == (422, "rule-invalid")
    details = response.get_json()
    assert (details["field"], details["position"]) == (field, position)
    assert hint in details["hint"]
    assert client.get("/api/v1/rules").get_json()["items"] == before


@pytest.mark.parametrize(
    "body",
    [
        {**RULE, "action": "maybe"},
        {**RULE, "sample_percent": 101},
        {**RULE, "wen": "true"},
        {**RULE, "name": ""},
        {**RULE, "retention_days": 0},
        {**RULE, "announcement": "http://evil"},
        {"action": "record"},
    ],
)
def test_a_rule_of_another_shape(client: ApiClient, body: dict[str, Any]) -> None:
    """A body of another shape is refused with its wrong fields."""
    assert problem(client.post("/api/v1/rules", json=body)) == (422, "request-invalid")


def test_the_rules_of_the_configuration(client: ApiClient, catalogue: Catalogue) -> None:
    """Rules of the configuration are listed in order, and cannot be changed here."""
    services = client.application.extensions["earwitness"]
    settings = replace(services.settings, rules=(CONFIGURED,))
    app = build_app(catalogue, services.objects, services.capture, services.spies, settings)
    asking = ApiClient(app, client.token)
    early, late = create(asking, priority=10), create(asking, priority=90)
    ids: list[str] = []
    where: dict[str, Any] | None = {"limit": 1}
    while where is not None:
        page = asking.get("/api/v1/rules", query_string=where).get_json()
        ids += [one["id"] for one in page["items"]]
        where = page["next_cursor"] and {"limit": 1, "cursor": page["next_cursor"]}
    assert [one for one in ids if one in {early["id"], late["id"], "config-1"}] == [
        early["id"],
        "config-1",
        late["id"],
    ]
    assert asking.get("/api/v1/rules/config-1").get_json()["name"] == "from the file"
    assert len(asking.get("/api/v1/rules/config-1/versions").get_json()["items"]) == 1
    assert problem(put(asking, "config-1", version=1)) == (409, "rule-read-only")
    assert problem(asking.delete("/api/v1/rules/config-1")) == (409, "rule-read-only")


def test_only_an_admin_writes_rules(
    client: ApiClient, compliance: ApiClient, make_token: TokenMaker
) -> None:
    """An admin writes rules, compliance reads them, others do neither."""
    made = create(client)
    assert compliance.get(f"/api/v1/rules/{made['id']}").status_code == 200
    assert compliance.post("/api/v1/rules", json=RULE).status_code == 403
    assert compliance.delete(f"/api/v1/rules/{made['id']}").status_code == 403
    supervisor = client.as_holder_of(make_token(name="sue", role="supervisor"))
    assert supervisor.get("/api/v1/rules").status_code == 403


def test_each_change_raises_the_revision(client: ApiClient, catalogue: Catalogue) -> None:
    """Processes notice a change by the revision, and read the rules in force."""
    with catalogue.begin() as tx:
        before = rules.rules_revision(tx)
    made = create(client, enabled=False)
    with catalogue.begin() as tx:
        assert rules.rules_revision(tx) == before + 1
        assert made["id"] in {one.id for one in rules.list_active_rules(tx)}
    client.delete(f"/api/v1/rules/{made['id']}")
    with catalogue.begin() as tx:
        assert rules.rules_revision(tx) == before + 2
        assert made["id"] not in {one.id for one in rules.list_active_rules(tx)}


# Drafts on past calls


@pytest.fixture(scope="module")
def past(catalogue: Catalogue) -> Callable[..., dict[str, Any]]:
    """Store ten past calls of a minute: five to 3000, three of them recorded by `old`."""
    with catalogue.begin() as tx:
        for number in range(10):
            call = build_call(
                id=f"main-past-{number}",
                state="ended",
                direction="inbound",
                did="3000" if number < 5 else "3001",
                started_at=PAST + timedelta(hours=number),
                answered_at=PAST + timedelta(hours=number),
                ended_at=PAST + timedelta(hours=number, seconds=60),
                channels=(leg("c", party="customer"), leg("a")),
            )
            calls.save_calls(tx, [call])
            if number < 3:
                recordings.create_recording(
                    tx,
                    build_recording(id=uuid4(), call_id=call.id, trigger="rule", rule="old"),
                )
    return lambda **body: {
        "from": PAST.isoformat(),
        "to": (PAST + timedelta(days=30)).isoformat(),
        **body,
    }


def test_drafts_on_past_calls(client: ApiClient, past: Callable[..., dict[str, Any]]) -> None:
    """A trial counts recordings and their audio, and lists the calls that change."""
    body = past(rules=[{"name": "new", "when": 'did == "3001"', "action": "record"}])
    result = client.post("/api/v1/rules/test", json=body).get_json()
    assert (result["calls"], result["recorded"], result["recorded_before"]) == (10, 5, 3)
    assert result["audio_s"] == result["audio_s_per_month"] == 300
    assert result["bytes_per_month"] > 0
    assert result["changed"] == 8
    changes = {one["call_id"]: (one["before"], one["after"]) for one in result["changes"]}
    assert changes["main-past-0"] == ("old", None)
    assert changes["main-past-9"] == (None, "new")


def test_a_trial_has_an_end(
    client: ApiClient, past: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial without time left returns the result for the newest calls, and their start."""
    whole = client.post("/api/v1/rules/test", json=past(rules=[])).get_json()
    monkeypatch.setattr("recorder.rules.trial.AT_ONCE", 4)
    monkeypatch.setattr("api.routes.rules.TRIAL_TAKES_S", -1.0)
    result = client.post("/api/v1/rules/test", json=past(rules=[])).get_json()
    assert (whole["calls"], whole["complete"]) == (10, True)
    assert (result["calls"], result["complete"]) == (4, False)
    assert result["from"] > whole["from"]
    assert result["to"] == whole["to"]


def test_one_trial_at_a_time(
    client: ApiClient, past: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that waits too long for another one is 503."""
    monkeypatch.setattr("api.routes.rules.TRIAL_WITHIN_S", 0.05)
    with api.routes.rules.TRIAL_LOCK:
        refused = client.post("/api/v1/rules/test", json=past(rules=[]))
    assert problem(refused) == (503, "busy")
    assert int(refused.headers["Retry-After"]) > 0
    assert client.post("/api/v1/rules/test", json=past(rules=[])).status_code == 200


def test_drafts_on_a_teams_calls(
    client: ApiClient, make_token: TokenMaker, past: Callable[..., dict[str, Any]]
) -> None:
    """A caller with a team tries drafts on the team's calls only."""
    token = make_token(name="planner", role="service", team="empty", scopes=["rules.read"])
    body = past(rules=[{"name": "new", "action": "record"}])
    result = client.as_holder_of(token).post("/api/v1/rules/test", json=body).get_json()
    assert (result["calls"], result["changes"]) == (0, [])


def test_drafts_that_change_nothing(client: ApiClient, past: Callable[..., dict[str, Any]]) -> None:
    """Equal rules change nothing."""
    when = 'did == "3000" && hour < 3'
    body = past(rules=[{"name": "old", "when": when, "action": "record"}])
    result = client.post("/api/v1/rules/test", json=body).get_json()
    assert (result["recorded"], result["changed"], result["changes"]) == (3, 0, [])


def test_drafts_use_the_facts_of_that_time(client: ApiClient, catalogue: Catalogue) -> None:
    """A past call is evaluated with the facts of that time."""
    at = PAST + timedelta(days=60)
    call = build_call(id="main-asked", state="ended", started_at=at, answered_at=at, ended_at=at)
    moment = {
        "at": at.isoformat(),
        "facts": {"answered": True, "variables": {"VIP": "1"}, "context": "from-vips"},
    }
    with catalogue.begin() as tx:
        calls.save_calls(tx, [call])
        decisions.save_decisions(
            tx, [DecisionRecord(call.id, "never", None, "no-rule-matched", (moment,))]
        )
    draft = {"name": "v", "when": 'variables.VIP == "1"', "variables": ["VIP"], "action": "record"}
    body = {
        "rules": [draft],
        "from": (at - timedelta(hours=1)).isoformat(),
        "to": (at + timedelta(hours=1)).isoformat(),
    }
    result = client.post("/api/v1/rules/test", json=body).get_json()
    assert (result["calls"], result["recorded"]) == (1, 1)


def test_invalid_drafts_are_refused(client: ApiClient) -> None:
    """An invalid draft is refused, and so is a time that ends before its start."""
    nonsense = {"rules": [{**RULE, "when": "nonsense"}]}
    response = client.post("/api/v1/rules/test", json=nonsense)
    assert problem(response) == (422, "rule-invalid")
    backwards = {"rules": [], "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    response = client.post("/api/v1/rules/test", json=backwards)
    assert problem(response) == (422, "request-invalid")
    assert response.json["errors"] == [{"loc": ["body", "from"], "msg": "must be before `to`"}]
