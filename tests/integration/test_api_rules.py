"""Rules over HTTP: their versions, their errors, and drafts tried on past calls."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, TokenMaker, build_call, build_recording, problem, rebuild_app
from sqlalchemy import select, text, update

import api.routes.rules
from recorder.rules.trial import Trial
from recorder.work import tasks
from recorder.work.trials import Trials
from storage.catalogue import calls, decisions, recordings, rules, segments, trials
from storage.catalogue.engine import Catalogue
from storage.records import DecisionRecord, RuleRecord, SegmentRecord
from storage.schema import audit
from storage.schema import token as token_table
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


def run(catalogue: Catalogue, task: str, worker: object) -> None:
    """Run the newest job of a task, as a worker does, and delete it."""
    with catalogue.begin() as tx:
        arguments = tx.scalar(
            text(
                "DELETE FROM procrastinate_jobs WHERE id = (SELECT max(id) FROM procrastinate_jobs"
                " WHERE task_name = :task) RETURNING args"
            ),
            {"task": task},
        )
    job = SimpleNamespace(attempts=0, task_kwargs=arguments)
    context = SimpleNamespace(additional_context={f"{task}s": worker}, job=job)
    getattr(tasks, task).func(context, **arguments)


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
        {**RULE, "layout": "tracks", "format": "mp3"},
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
    asking = ApiClient(rebuild_app(client.application, settings), client.token)
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
            began = PAST + timedelta(hours=number)
            ended = began + timedelta(seconds=60)
            talked = {"joined_at": began.isoformat(), "left_at": ended.isoformat()}
            call = build_call(
                id=f"main-past-{number}",
                state="ended",
                direction="inbound",
                did="3000" if number < 5 else "3001",
                agent="2901",
                started_at=began,
                answered_at=began,
                ended_at=ended,
                channels=(leg("c", party="customer", **talked), leg("a", **talked)),
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


def test_expensive_drafts_are_refused_at_once(
    client: ApiClient, past: Callable[..., dict[str, Any]]
) -> None:
    """Eight drafts at once that would take minutes are refused before they are evaluated."""
    loop = f"[{', '.join(['1'] * 100)}]"
    pattern = "did.matches('(\\\\pL|\\\\pN){1000}')"
    draft = {"name": "slow", "when": f"{loop}.all(a, {loop}.all(b, {pattern}))", "action": "record"}
    body = past(rules=[draft])
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(client.post, "/api/v1/rules/test", json=body) for _ in range(8)]
        answers = [problem(one.result(60)) for one in sent]
    assert answers == [(422, "rule-invalid")] * 8


def test_the_drafts_of_a_trial_are_short_together(
    client: ApiClient, past: Callable[..., dict[str, Any]]
) -> None:
    """Many long drafts, which would be compiled for seconds, are refused by their length."""
    draft = {"name": "long", "when": "||".join(['did=="1"'] * 400), "action": "record"}
    answered = client.post("/api/v1/rules/test", json=past(rules=[draft] * 17))
    assert problem(answered) == (422, "request-invalid")
    assert "longer than 65536 characters" in answered.get_json()["errors"][0]["msg"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no trial finish within its request."""
    monkeypatch.setattr("api.routes.rules.TRIAL_TAKES_S", -1.0)


NEW = {"name": "new", "when": 'did == "3001"', "action": "record"}


@pytest.mark.usefixtures("at_once")
def test_a_long_trial_goes_on_as_a_job(
    client: ApiClient, catalogue: Catalogue, past: Callable[..., dict[str, Any]]
) -> None:
    """A trial that takes long answers 202; a worker brings it to the result of a short one."""
    response = client.post("/api/v1/rules/test", json=past(rules=[NEW]))
    assert response.status_code == 202
    waiting = response.get_json()
    assert (waiting["state"], waiting["done"], waiting["result"]) == ("waiting", 0, None)
    path = f"/api/v1/rules/trials/{waiting['id']}"
    assert response.headers["Location"].endswith(path)
    run(catalogue, "trial", Trials(catalogue))
    done = client.get(path).get_json()
    assert (done["state"], done["done"], done["total"]) == ("done", 10, 10)
    result = done["result"]
    assert (result["calls"], result["recorded"], result["changed"]) == (10, 5, 8)
    assert (result["audio_s"], result["complete"]) == (300, True)
    assert result["trial_id"] == waiting["id"]
    assert [one["call_id"] for one in result["changes"]][:2] == ["main-past-9", "main-past-8"]
    listed = client.get(f"{path}/changes?limit=5").get_json()
    rest = client.get(f"{path}/changes?cursor={listed['next_cursor']}").get_json()
    assert listed["items"] + rest["items"] == result["changes"]
    assert rest["next_cursor"] is None


def test_a_trial_beside_another_becomes_a_job(
    client: ApiClient, past: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that waits too long for another one goes on as a job."""
    monkeypatch.setattr("api.routes.rules.TRIAL_WITHIN_S", 0.05)
    with api.routes.rules.TRIAL_LOCK:
        assert client.post("/api/v1/rules/test", json=past(rules=[])).status_code == 202
    assert client.post("/api/v1/rules/test", json=past(rules=[])).status_code == 200


@pytest.mark.usefixtures("at_once")
def test_a_trial_ends_with_the_newest_calls(
    client: ApiClient,
    catalogue: Catalogue,
    past: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial without time, or of too many calls, has the result of the newest, and their start."""
    monkeypatch.setattr("recorder.rules.trial.MOST_CALLS", 4)
    made = client.post("/api/v1/rules/test", json=past(rules=[])).get_json()
    Trials(catalogue).work(UUID(made["id"]))
    result = client.get(f"/api/v1/rules/trials/{made['id']}").get_json()["result"]
    assert (result["calls"], result["complete"]) == (4, False)
    assert result["from"] == (PAST + timedelta(hours=6)).isoformat().replace("+00:00", "Z")
    made = client.post("/api/v1/rules/test", json=past(rules=[])).get_json()
    Trials(catalogue, longest_s=-1.0).work(UUID(made["id"]))
    result = client.get(f"/api/v1/rules/trials/{made['id']}").get_json()["result"]
    assert (result["calls"], result["complete"]) == (1, False)


@pytest.mark.usefixtures("at_once")
def test_a_trial_shows_its_progress(
    client: ApiClient,
    catalogue: Catalogue,
    past: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a trial runs, its row counts the calls; its changes can be listed already."""
    made = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    path = f"/api/v1/rules/trials/{made['id']}"
    seen: list[tuple[str, int, int, int]] = []
    steps = Trial.steps

    def watched(trial: Trial) -> Iterator[int]:
        for done in steps(trial):
            row = client.get(path).get_json()
            listed = client.get(f"{path}/changes?limit=200").get_json()["items"]
            seen.append((row["state"], row["done"], row["total"], len(listed)))
            yield done

    monkeypatch.setattr(Trial, "steps", watched)
    Trials(catalogue, note_every_s=0.0).work(UUID(made["id"]))
    assert [one[:3] for one in seen] == [("running", done, 10) for done in range(10)]
    assert [one[3] for one in seen][-1] == 7


@pytest.mark.usefixtures("at_once")
def test_a_new_trial_replaces_the_last(
    client: ApiClient, catalogue: Catalogue, past: Callable[..., dict[str, Any]]
) -> None:
    """A person has one unfinished trial; a worker that runs the older one stops."""
    first = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    second = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    gone = client.get(f"/api/v1/rules/trials/{first['id']}")
    assert problem(gone) == (404, "no-such-trial")
    Trials(catalogue).work(UUID(first["id"]))
    Trials(catalogue).work(UUID(second["id"]))
    assert client.get(f"/api/v1/rules/trials/{second['id']}").get_json()["state"] == "done"
    third = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    assert client.get(f"/api/v1/rules/trials/{second['id']}").get_json()["state"] == "done"
    Trials(catalogue).fail(UUID(third["id"]), "internal-error")
    failed = client.get(f"/api/v1/rules/trials/{third['id']}").get_json()
    assert (failed["state"], failed["reason"], failed["result"]) == (
        "failed",
        "internal-error",
        None,
    )


@pytest.mark.usefixtures("at_once")
def test_a_trial_belongs_to_its_owner(
    client: ApiClient,
    catalogue: Catalogue,
    compliance: ApiClient,
    make_token: TokenMaker,
    past: Callable[..., dict[str, Any]],
) -> None:
    """Nobody else sees a trial, and its owner only while each of its agents is visible."""
    made = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    path = f"/api/v1/rules/trials/{made['id']}"
    assert client.get(path).status_code == 200
    for address in (path, f"{path}/changes"):
        assert problem(compliance.get(address)) == (404, "no-such-trial")
    make_token(name="2901", role="agent", team="red")
    token = make_token(name="red planner", role="service", team="red", scopes=["rules.read"])
    planner = client.as_holder_of(token)
    own = planner.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    assert planner.get(f"/api/v1/rules/trials/{own['id']}").status_code == 200
    with catalogue.begin() as tx:
        tx.execute(update(token_table).where(token_table.c.name == "2901").values(team="blue"))
    refused = planner.get(f"/api/v1/rules/trials/{own['id']}")
    assert problem(refused) == (404, "no-such-trial")


def test_a_short_trial_with_many_changes_is_kept(
    client: ApiClient, past: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result has the first changes, and names the trial that lists them all."""
    monkeypatch.setattr("api.routes.rules.MOST_CHANGES", 3)
    result = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()
    path = f"/api/v1/rules/trials/{result['trial_id']}"
    assert len(client.get(f"{path}/changes").get_json()["items"]) == result["changed"] == 8
    assert client.get(path).get_json()["result"]["calls"] == 10
    monkeypatch.setattr("api.routes.rules.MOST_CHANGES", 100)
    assert client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()["trial_id"] is None


def test_old_trials_are_forgotten(
    client: ApiClient,
    catalogue: Catalogue,
    past: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial goes with its list of changes."""
    monkeypatch.setattr("api.routes.rules.MOST_CHANGES", 3)
    made = client.post("/api/v1/rules/test", json=past(rules=[NEW])).get_json()["trial_id"]
    with catalogue.begin() as tx:
        trials.drop_trials(tx, datetime.now(UTC) - timedelta(hours=1))
        assert trials.get_trial(tx, UUID(made)).state == "done"
        trials.drop_trials(tx, datetime.now(UTC) + timedelta(hours=1))
        assert trials.list_changes(tx, UUID(made), limit=5).items == ()
    assert problem(client.get(f"/api/v1/rules/trials/{made}")) == (404, "no-such-trial")


def test_calls_that_nobody_answered_do_not_count(client: ApiClient, catalogue: Catalogue) -> None:
    """A trial counts conversations only; a default records no call that nobody answered."""
    at = PAST + timedelta(days=90)
    span = {"started_at": at, "ended_at": at + timedelta(seconds=30)}
    rang = leg("r", joined=False, state="Gone", left_at=span["ended_at"].isoformat())
    with catalogue.begin() as tx:
        for number, answered_at in enumerate((None, at)):
            one = build_call(
                id=f"main-rang-{number}",
                state="ended",
                answered_at=answered_at,
                channels=(replace(rang, id="c"), rang),
                **span,
            )
            calls.save_calls(tx, [one])
    body = {"from": at.isoformat(), "to": (at + timedelta(hours=1)).isoformat()}
    everything = {"name": "all", "action": "record"}
    for drafts in ([], [everything], [{**everything, "action": "force"}]):
        sent = {**body, "rules": drafts, "default": "record"}
        result = client.post("/api/v1/rules/test", json=sent).get_json()
        assert (result["calls"], result["recorded"], result["changed"]) == (0, 0, 0)
    sent = {**body, "rules": [{**everything, "begins": "ringing"}]}
    result = client.post("/api/v1/rules/test", json=sent).get_json()
    assert [one["call_id"] for one in result["changes"]] == ["main-rang-1"]


def test_a_call_in_the_recording_of_another(client: ApiClient, catalogue: Catalogue) -> None:
    """A call that another call's recording hears was recorded before, and changes nothing."""
    at = PAST + timedelta(days=120)
    until = at + timedelta(seconds=60)
    stayed = {"joined_at": at.isoformat(), "bridge_id": "room", "left_at": until.isoformat()}
    stays = [["room", at.isoformat(), until.isoformat()]]
    ids = [f"main-met-{number}" for number in range(3)]
    with catalogue.begin() as tx:
        for number, id_ in enumerate(ids):
            own = leg(f"met{number}", stays=stays, **stayed)
            one = build_call(
                id=id_,
                state="ended",
                did="3000" if number == 0 else None,
                channels=(own,),
                started_at=at,
                answered_at=at,
                ended_at=until,
                talked_at=at,
                met=tuple(other for other in ids if other != id_),
            )
            calls.save_calls(tx, [one])
        made = build_recording(id=uuid4(), call_id=ids[0], trigger="rule", rule="old")
        recordings.create_recording(tx, made)
        for number in range(2):
            segments.claim_segment(
                tx,
                SegmentRecord(uuid4(), made.id, f"met{number}", "left", "finished", "n", at, until),
            )
    sent = {
        "rules": [{"name": "old", "when": 'did == "3000"', "action": "record"}],
        "from": at.isoformat(),
        "to": (at + timedelta(hours=1)).isoformat(),
    }
    result = client.post("/api/v1/rules/test", json=sent).get_json()
    assert (result["calls"], result["recorded"], result["recorded_before"]) == (3, 3, 2)
    assert result["audio_s"] == 60
    assert result["changes"] == [{"call_id": ids[2], "before": None, "after": "old"}]


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
