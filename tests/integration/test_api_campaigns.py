"""Campaigns over HTTP: permissions, lists and results as CSV, and the audit trail."""

import csv
import io
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, TokenMaker, problem, rebuild_app
from sqlalchemy import select

from recorder.ari.pbxs import Pbxs
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.campaigns import Campaigns
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from storage.catalogue import dials
from storage.catalogue.engine import Catalogue
from storage.records import Hours
from storage.schema import audit
from tests.fake_pbx import FakePbx

CAMPAIGNS = "/api/v1/campaigns"
ALWAYS = Hours(0, 24, (1, 2, 3, 4, 5, 6, 7))
NUMBERS = iter(range(2_025_570_100, 2_025_579_900))
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def pbx() -> FakePbx:
    """Return a PBX in memory."""
    return FakePbx()


@pytest.fixture(scope="module")
def client(client: ApiClient, catalogue: Catalogue, pbx: FakePbx) -> ApiClient:
    """Return a client of an API that dials on a PBX in memory, with the token of an admin."""
    pbxs = Pbxs({"main": pbx})  # type: ignore[dict-item]
    how = {"main": DialSettings("out", trunks=("PJSIP/trunk*",))}
    dialler = Dialler(catalogue, pbxs, how, DialPolicy())
    regions = {"main": "US"}
    app = rebuild_app(
        client.application,
        dialler=dialler,
        callbacks=Callbacks(catalogue, dialler, CallbackSettings(ALWAYS, (900,), regions)),
        campaigns=Campaigns(
            catalogue, pbxs, dialler, regions, hours=ALWAYS, retry_after_s=(900, 3600)
        ),
    )
    return ApiClient(app, client.token)


@pytest.fixture
def agent(make_token: TokenMaker, pbx: FakePbx) -> tuple[str, str]:
    """Return the name and the token of a new agent of team one, with a phone."""
    name = uuid4().hex[:8]
    pbx.endpoints.add(f"PJSIP/{name}")
    return name, make_token(name=name, role="agent", team="one")


@pytest.fixture
def ann(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return a supervisor of team one."""
    return client.as_holder_of(make_token(name="ann", role="supervisor", team="one"))


def create(client: ApiClient, *agents: str, **more: Any) -> str:
    """Create a campaign of these agents, and return its path."""
    wanted = {"name": "spring", "mode": "preview", "agents": [f"PJSIP/{one}" for one in agents]}
    response = client.post(CAMPAIGNS, json=wanted | more)
    assert response.status_code == 201, response.text
    path = f"{CAMPAIGNS}/{response.get_json()['id']}"
    assert response.headers["Location"].endswith(path)
    return path


def send(client: ApiClient, path: str, text: str) -> Any:
    """Send a list, and return the answer."""
    response = client.request("PUT", f"{path}/entries", data=text.encode(), headers=CSV)
    assert response.status_code == 200, response.text
    return response.get_json()


def start(client: ApiClient, *agents: str, lines: int = 1, **more: Any) -> str:
    """Start a campaign with new numbers, and return its path."""
    path = create(client, *agents, **more)
    send(client, path, "number\n" + "".join(f"{next(NUMBERS)}\n" for _ in range(lines)))
    assert client.post(f"{path}/start").get_json()["state"] == "running"
    return path


def audited(catalogue: Catalogue, path: str) -> list[tuple[str, str]]:
    """Return the audit trail of a campaign: action, outcome."""
    subject = path.rpartition("/")[2]
    query = select(audit).where(audit.c.subject == subject).order_by(audit.c.id)
    with catalogue.begin() as tx:
        return [(row.action, row.outcome) for row in tx.execute(query)]


def test_a_campaign_lives_from_post_to_delete(
    client: ApiClient, catalogue: Catalogue, agent: tuple[str, str]
) -> None:
    """A campaign is made, listed, changed, started, paused, resumed, stopped and deleted."""
    path = create(client, agent[0], hours={"from_hour": 9, "to_hour": 17})
    made = client.get(path).get_json()
    assert (made["state"], made["retry_after_s"], made["wrap_up_s"]) == ("draft", [900, 3600], 10)
    assert made["hours"] == {"from_hour": 9, "to_hour": 17, "weekdays": [1, 2, 3, 4, 5, 6, 7]}
    assert [one["phone"] for one in made["agents"]] == [f"PJSIP/{agent[0]}"]
    assert problem(client.post(f"{path}/start")) == (409, "campaign-not-ready")
    send(client, path, f"number\n{next(NUMBERS)}\n")
    assert client.patch(path, json={"name": "autumn"}).get_json()["name"] == "autumn"
    for action, state in (
        ("start", "running"),
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
        ("stop", "stopped"),
    ):
        assert client.post(f"{path}/{action}").get_json()["state"] == state
    assert problem(client.patch(path, json={"name": "x"})) == (409, "campaign-not-ready")
    assert client.delete(path).status_code == 204
    assert problem(client.get(path)) == (404, "no-such-campaign")
    assert audited(catalogue, path) == [
        ("campaign.create", "done"),
        ("campaign.start", "refused"),
        ("campaign.list", "done"),
        ("campaign.change", "done"),
        ("campaign.running", "done"),
        ("campaign.paused", "done"),
        ("campaign.running", "done"),
        ("campaign.stopped", "done"),
        ("campaign.change", "refused"),
        ("campaign.delete", "done"),
    ]


def test_a_repeated_request_makes_one_campaign(client: ApiClient, agent: tuple[str, str]) -> None:
    """An Idempotency-Key holds here too."""
    wanted = {"name": "once", "mode": "progressive", "agents": [f"PJSIP/{agent[0]}"]}
    first, second = (
        client.post(CAMPAIGNS, json=wanted, headers={"Idempotency-Key": "once"}) for _ in range(2)
    )
    assert first.get_json() == second.get_json()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"agents": []}, (422, "request-invalid")),
        ({"announce": "sound:beep"}, (422, "request-invalid")),
        ({"agents": ["Local/1@out"]}, (422, "bad-destination")),
        ({"pbx": "other"}, (409, "cannot-dial")),
        ({"mode": "predictive"}, (422, "request-invalid")),
        ({"retry_after_s": [1]}, (422, "request-invalid")),
        ({"queue": "a,b"}, (422, "request-invalid")),
    ],
)
def test_a_campaign_that_cannot_be(
    client: ApiClient, wanted: dict[str, Any], expected: tuple[int, str]
) -> None:
    """An impossible campaign is refused with its cause; there is no predictive mode."""
    usual = {"name": "spring", "mode": "progressive", "agents": ["PJSIP/2001"]}
    assert problem(client.post(CAMPAIGNS, json=usual | wanted)) == expected


def test_a_list_is_read_line_by_line(client: ApiClient, agent: tuple[str, str]) -> None:
    """The answer lists bad lines with their numbers and reasons; the good ones are kept."""
    path = create(client, agent[0])
    number = next(NUMBERS)
    told = send(client, path, f"Name;Number;Plan\nAnn;{number};gold\nBob;none;\nAnn;{number};x\n")
    assert (told["lines"], told["accepted"], told["refused"]) == (3, 1, 2)
    assert [(one["line"], one["cause"]) for one in told["faults"]] == [
        (3, "not-a-number"),
        (4, "duplicate"),
    ]
    assert "none" in told["faults"][0]["reason"]
    kept = client.get(f"{path}/entries?state=waiting").get_json()["items"]
    assert [(one["line"], one["number"], one["name"], one["data"]) for one in kept] == [
        (2, f"+1{number}", "Ann", {"plan": "gold"})
    ]
    first = client.get(f"{path}/entries?limit=2").get_json()
    rest = client.get(f"{path}/entries?limit=2&cursor={first['next_cursor']}").get_json()
    assert [one["line"] for one in (*first["items"], *rest["items"])] == [2, 3, 4]
    progress = client.get(f"{path}/progress").get_json()
    assert progress["states"] == {"waiting": 1, "refused": 2}
    assert progress["causes"] == {"not-a-number": 1, "duplicate": 1}


def test_a_list_of_another_form_is_refused(client: ApiClient, agent: tuple[str, str]) -> None:
    """JSON, a list without a header, and one that is too long are refused."""
    path = create(client, agent[0])
    entries = f"{path}/entries"
    assert client.request("PUT", entries, json={}).status_code == 415
    refused = client.request("PUT", entries, data=b"+12025550123\n", headers=CSV)
    assert problem(refused) == (422, "list-invalid")
    long = client.request("PUT", entries, data=b"x" * (20 * 1024 * 1024 + 1), headers=CSV)
    assert long.status_code == 413
    text = "number\n" + "".join(f"{next(NUMBERS)},\n" for _ in range(2_000))
    assert send(client, path, text)["lines"] == 2_000


def test_an_agent_previews_calls_and_skips(
    client: ApiClient, pbx: FakePbx, agent: tuple[str, str]
) -> None:
    """An agent acts for itself: ready, next, skip, next, go; and finds its campaigns."""
    name, secret = agent
    path = start(client, name, lines=2)
    own = client.as_holder_of(secret)
    (mine,) = own.get(f"{CAMPAIGNS}/mine").get_json()["items"]
    assert path.endswith(mine["id"])
    assert own.get(CAMPAIGNS).status_code == 403
    itself = f"{path}/agents/{name}"
    ready = own.request("PUT", itself, json={"ready": True}).get_json()
    assert (ready["agent"], ready["state"]) == (name, "ready")
    assert problem(own.post(f"{itself}/go")) == (409, "nothing-reserved")
    first = own.post(f"{itself}/next").get_json()["entry"]
    assert own.post(f"{itself}/skip").get_json()["state"] == "waiting"
    second = own.post(f"{itself}/next").get_json()["entry"]
    assert second["number"] != first["number"]
    called = own.post(f"{itself}/go")
    assert called.status_code == 201
    call = called.get_json()
    assert (call["agent"], call["dial"]["number"]) == (name, second["number"])
    assert pbx.dialled.count(f"PJSIP/{name}") == 1
    assert problem(own.post(f"{itself}/go")) == (409, "nothing-reserved")
    assert own.request("PUT", itself, json={"ready": False}).get_json()["state"] == "away"


def test_an_agent_acts_for_nobody_else(
    client: ApiClient, make_token: TokenMaker, agent: tuple[str, str]
) -> None:
    """Another agent is refused, and an agent of no campaign is unknown there."""
    path = start(client, agent[0])
    other = client.as_holder_of(make_token(name="eve", role="agent", team="two"))
    for answer in (
        other.request("PUT", f"{path}/agents/{agent[0]}", json={"ready": True}),
        other.post(f"{path}/agents/{agent[0]}/next"),
        other.post(f"{path}/start"),
        other.get(f"{path}/entries"),
    ):
        assert problem(answer) == (403, "forbidden")
    missing = other.request("PUT", f"{path}/agents/eve", json={"ready": True})
    assert problem(missing) == (404, "no-such-campaign-agent")


def test_a_supervisor_sees_and_runs_the_campaigns_of_the_team(
    client: ApiClient, ann: ApiClient, make_token: TokenMaker, agent: tuple[str, str]
) -> None:
    """A campaign with agents of another team does not exist for the supervisor."""
    make_token(name="7002", role="agent", team="two")
    theirs, mixed = create(client, agent[0]), create(client, agent[0], "7002")
    listed = [one["id"] for one in ann.get(f"{CAMPAIGNS}?limit=200").get_json()["items"]]
    assert theirs.rpartition("/")[2] in listed
    assert mixed.rpartition("/")[2] not in listed
    assert problem(ann.get(mixed)) == (404, "no-such-campaign")
    assert problem(ann.post(f"{mixed}/stop")) == (404, "no-such-campaign")
    refused = ann.post(CAMPAIGNS, json={"name": "x", "mode": "preview", "agents": ["PJSIP/7002"]})
    assert problem(refused) == (403, "forbidden")
    assert problem(ann.patch(theirs, json={"agents": ["PJSIP/7002"]})) == (403, "forbidden")
    own = create(ann, agent[0])
    assert ann.get(own).get_json()["created_by"] == "ann"


def test_the_results_hold_every_entry_and_no_formula(
    client: ApiClient, catalogue: Catalogue, agent: tuple[str, str]
) -> None:
    """Results are CSV with the last call of each entry; a formula comes as text."""
    name = agent[0]
    path = create(client, name)
    first, second = next(NUMBERS), next(NUMBERS)
    listed = f"number,name,consent,=x\n{first},=1+1,by form,@sum\n+1{second},+49 30,-,\n=2,,,\n"
    send(client, path, listed)
    client.post(f"{path}/start")
    client.request("PUT", f"{path}/agents/{name}", json={"ready": True})
    shown = client.post(f"{path}/agents/{name}/next").get_json()["entry"]
    call = client.post(f"{path}/agents/{name}/go").get_json()
    now = datetime.now(UTC)
    with catalogue.begin() as tx:
        dial_id = dials.map_dials_of_calls(tx, [call["id"]])[call["id"]].id
        dials.move_dial(tx, dial_id, to="ended", cause="ended", answered_at=now, talked_at=now)
    assert client.post(f"{path}/agents/{name}/next").status_code == 200
    answered = client.get(f"{path}/results.csv")
    assert answered.headers["Content-Disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(answered.text)))
    assert [one["state"] for one in rows] == ["done", "reserved", "refused"]
    done = rows[0]
    assert (done["number"], done["name"], done["'=x"]) == (shown["number"], "'=1+1", "'@sum")
    assert (done["call_id"], done["attempts"], done["agent"]) == (call["id"], "1", name)
    assert '"consent":"by form"' in done["allowed_by"]
    assert done["talked_at"]
    assert (rows[1]["given"], rows[1]["name"]) == (f"+1{second}", "'+49 30")
    assert rows[2]["given"] == "'=2"
    progress = client.get(f"{path}/progress").get_json()
    assert [(one["calls"], one["talks"]) for one in progress["hours"]] == [(1, 1)]


def test_compliance_reads_and_starts_nothing(
    client: ApiClient, make_token: TokenMaker, agent: tuple[str, str]
) -> None:
    """Compliance sees campaigns and their results."""
    path = start(client, agent[0])
    eve = client.as_holder_of(make_token(name="cora", role="compliance"))
    assert eve.get(path).status_code == 200
    assert eve.get(f"{path}/results.csv").status_code == 200
    assert problem(eve.post(f"{path}/stop")) == (403, "forbidden")
