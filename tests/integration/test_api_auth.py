"""Authentication and permissions over HTTP, against a real PostgreSQL."""

import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import (
    ApiClient,
    CatalogueCapture,
    CatalogueSpies,
    build_call,
    build_recording,
)
from structlog.testing import capture_logs

from api.app import ApiSettings, build_app
from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore
from storage.permissions import PERMISSIONS

MINE_ID = UUID("01a20b94-8aa2-748d-802f-3134349fb921")  # every worker calls the tests alike
MINE = build_recording(id=MINE_ID, call_id="main-1.0", agent="2001")
OTHERS_ID = UUID("01a20b94-8aa2-748d-802f-3134349fb922")
THEIRS = build_recording(id=OTHERS_ID, call_id="main-2.0", agent="2002")
NOBODYS = build_recording(call_id="main-3.0", agent=None)


@pytest.fixture(scope="module", autouse=True)
def _some_recordings(catalogue: Catalogue) -> None:
    with catalogue.begin() as tx:
        for recording in (MINE, THEIRS, NOBODYS):
            recordings.create_recording(tx, recording)
            calls.save_calls(tx, [build_call(id=recording.call_id, agent=recording.agent)])


def basic(token: str) -> dict[str, str]:
    """Return the header that a browser sends for a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"any:{token}".encode()).decode()}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/calls",
        f"/api/v1/recordings/{MINE.id}/audio",
        "/api/openapi.json",
        "/api/docs",
        "/api/docs/start.js",
        "/metrics",
        "/nothing",
        "/api/v1/nothing",
        "/problems/forbidden",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_nothing_answers_without_a_token(client: ApiClient, method: str, path: str) -> None:
    """Every path without a token is a 401 that offers both schemes."""
    response = client.as_holder_of(None).request(method, path)
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == [
        'Bearer realm="earwitness"',
        'Basic realm="earwitness"',
    ]


@pytest.mark.parametrize(
    ("accepts", "offered"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", ["Bearer", "Basic"]),
        ("application/json", ["Bearer"]),
        ("text/event-stream", ["Bearer"]),
        ("audio/webm,audio/ogg,*/*;q=0.5", ["Bearer"]),
    ],
)
def test_only_navigation_opens_a_password_window(
    client: ApiClient, accepts: str, offered: list[str]
) -> None:
    """A request by fetch, EventSource or <audio> opens no password window."""
    headers = {"Accept": accepts, "Accept-Language": "en"}
    response = client.as_holder_of(None).get("/api/v1/events", headers=headers)
    schemes = [one.partition(" ")[0] for one in response.headers.getlist("WWW-Authenticate")]
    assert schemes == offered


@pytest.mark.parametrize(
    "header", ["Bearer ew_wrong", "Bearer", "Basic", "Basic !!!", "Basic YTo=", "Digest x", "\xe9"]
)
def test_a_wrong_token_is_401(client: ApiClient, header: str) -> None:
    """An unknown token is refused, and is never an error of ours."""
    response = client.get("/api/v1/calls", headers={"Authorization": header})
    assert response.status_code == 401


def test_health_needs_no_token(client: ApiClient) -> None:
    """A health check needs no token."""
    nobody = client.as_holder_of(None)
    assert nobody.get("/health/live").status_code == 200
    assert nobody.get("/health/ready").status_code in {200, 503}


def test_a_browser_sends_the_token_as_a_password(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """HTTP Basic with the token as the password works like a bearer token."""
    token = make_token(name="browser", role="admin")
    assert client.get("/api/docs", headers=basic(token)).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://localhost", 200),
        (None, 200),
    ],
)
def test_another_sites_page_cannot_act(
    client: ApiClient,
    catalogue: Catalogue,
    make_token: Callable[..., str],
    origin: str | None,
    status: int,
) -> None:
    """A browser sends its password with any site's form; only our own forms may act."""
    recording = build_recording()
    with catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
    headers = basic(make_token(name="browser", role="admin"))
    headers |= {"Origin": origin} if origin else {}
    response = client.post(f"/api/v1/recordings/{recording.id}/stop", headers=headers)
    assert response.status_code == status


def test_an_agent_accesses_only_its_own_recordings(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """An agent sees only its own recordings, and controls none."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    listed = agent.get("/api/v1/recordings").get_json()["items"]
    assert [item["id"] for item in listed] == [str(MINE.id)]
    assert agent.get("/api/v1/recordings?agent=2002").get_json()["items"] == []
    assert agent.get(f"/api/v1/recordings/{MINE.id}").status_code == 200
    assert agent.get("/api/v1/calls/main-1.0").status_code == 200
    for other in (THEIRS, NOBODYS):
        for part in ("", "/audio", "/waveform"):
            assert agent.get(f"/api/v1/recordings/{other.id}{part}").status_code == 404
        assert agent.get(f"/api/v1/calls/{other.call_id}").status_code == 404
    assert agent.post(f"/api/v1/recordings/{MINE.id}/stop").status_code == 403


@pytest.mark.parametrize(
    ("operation", "body", "needed"),
    [
        (f"GET recordings/{OTHERS_ID}", None, "recordings.read"),
        (f"GET recordings/{OTHERS_ID}/audio", None, "recordings.hear"),
        (f"PATCH recordings/{OTHERS_ID}", {"note": "x"}, "recordings.annotate"),
        (f"PUT recordings/{OTHERS_ID}/hold", {"reason": "x"}, "recordings.hold"),
        (f"POST recordings/{OTHERS_ID}/discard", {}, "recordings.control"),
        (f"GET recordings/{OTHERS_ID}/links", None, "recordings.share"),
        (
            f"POST recordings/{OTHERS_ID}/bookmarks",
            {"at_s": 0, "text": "x"},
            "recordings.annotate",
        ),
        (
            "POST bulk",
            {"action": "tag", "tags": ["x"], "ids": [str(OTHERS_ID)]},
            "recordings.annotate",
        ),
        ("GET calls/main-2.0", None, "calls.read"),
        ("POST calls/main-2.0/recordings", {}, "recordings.control"),
    ],
)
def test_another_agents_recording_is_404_and_audited(
    client: ApiClient,
    make_token: Callable[..., str],
    operation: str,
    body: dict[str, Any] | None,
    needed: str,
) -> None:
    """A recording of other agents is a 404, and the attempt is audited."""
    method, path = operation.split()
    name = f"curious-{uuid4()}"
    scopes = sorted({needed, "recordings.read"})
    token = make_token(name=name, role="service", team="nobodys", scopes=scopes)
    response = client.as_holder_of(token).request(method, f"/api/v1/{path}", json=body)
    assert response.status_code == 404
    (entry,) = client.get(f"/api/v1/audit?actor={name}").json["items"]
    assert (entry["action"], entry["outcome"]) == (needed, "refused")
    assert entry["subject"] == ("main-2.0" if "calls" in path else str(OTHERS_ID))
    assert entry["detail"]["error_id"] == response.get_json()["error_id"]


def test_an_unknown_id_is_not_audited(client: ApiClient, make_token: Callable[..., str]) -> None:
    """An unknown id is a 404 without an audit entry."""
    name = f"lost-{uuid4()}"
    holder = client.as_holder_of(make_token(name=name, role="agent"))
    assert holder.get(f"/api/v1/recordings/{uuid4()}").status_code == 404
    assert client.get(f"/api/v1/audit?actor={name}").json["items"] == []


def test_compliance_hears_and_does_not_control(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """Compliance finds every recording, and stops none."""
    compliance = client.as_holder_of(make_token(name="audit", role="compliance"))
    assert len(compliance.get("/api/v1/recordings").get_json()["items"]) >= 3
    assert compliance.get(f"/api/v1/recordings/{MINE.id}/audio").status_code == 409
    assert compliance.post(f"/api/v1/recordings/{MINE.id}/stop").status_code == 403
    assert compliance.post("/api/v1/calls/main-1.0/recordings").status_code == 403


def test_a_supervisor_controls_its_teams_recordings(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """A supervisor controls the team's recordings; without a team all of them."""
    make_token(name="2002", role="agent", team="south")
    of_south = client.as_holder_of(make_token(name="s", role="supervisor", team="south"))
    of_all = client.as_holder_of(make_token(name="a", role="supervisor"))
    of_none = client.as_holder_of(make_token(name="n", role="supervisor", team="empty"))
    assert of_south.post(f"/api/v1/recordings/{THEIRS.id}/pause").status_code == 200
    assert of_south.post(f"/api/v1/recordings/{MINE.id}/pause").status_code == 404
    assert of_all.post(f"/api/v1/recordings/{THEIRS.id}/resume").status_code == 200
    assert of_none.get("/api/v1/recordings").get_json()["items"] == []


@pytest.mark.parametrize(
    ("permission", "path"),
    [
        ("calls.read", "/api/v1/calls/main-1.0"),
        ("recordings.read", f"/api/v1/recordings/{MINE.id}"),
        ("recordings.hear", f"/api/v1/recordings/{MINE.id}/audio"),
        ("metrics.read", "/metrics"),
    ],
)
def test_a_service_needs_exactly_its_scope(
    client: ApiClient, make_token: Callable[..., str], permission: str, path: str
) -> None:
    """A service needs exactly the one scope; all other scopes are refused."""
    allowed = client.as_holder_of(make_token(name="in", role="service", scopes=[permission]))
    others = sorted({*PERMISSIONS, "everything"} - {permission})
    refused = client.as_holder_of(make_token(name="out", role="service", scopes=others))
    assert allowed.get(path).status_code in {200, 409}
    assert refused.get(path).status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/nothing/%00", "/api/v1/rules/%00"])
def test_nul_in_a_path(client: ApiClient, make_token: Callable[..., str], path: str) -> None:
    """A NUL in a path is no error of ours, and a refusal is audited as usual."""
    name = f"nul-{uuid4()}"
    browser = client.application.test_client()
    headers = basic(make_token(name=name, role="admin")) | {"Origin": "https://evil.example"}
    assert browser.delete(path, headers=headers).status_code == 403
    assert browser.get(path, headers=headers).status_code == 404
    (entry,) = client.get(f"/api/v1/audit?actor={name}").json["items"]
    assert entry["subject"] == path.removesuffix("%00")


def test_a_refusal_is_logged(client: ApiClient, make_token: Callable[..., str]) -> None:
    """A refusal is a warning with token, permission and path."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    with capture_logs() as lines:
        response = agent.post(f"/api/v1/recordings/{MINE.id}/stop")
    assert response.get_json()["error_id"] == "forbidden"
    (line,) = [line for line in lines if line["event"] == "request.refused"]
    assert line["log_level"] == "warning"
    assert (line["token"], line["permission"]) == ("2001", "recordings.control")


def test_a_team_of_a_service_narrows_it(
    catalogue: Catalogue,
    objects: S3ObjectStore,
    recorder: CatalogueCapture,
    make_token: Callable[..., str],
) -> None:
    """A team limits every role except admin to the calls of the team."""
    make_token(name="2001", role="agent", team="east")
    app = build_app(catalogue, objects, recorder, CatalogueSpies(catalogue), ApiSettings())
    token = make_token(name="bot", role="service", team="east", scopes=["recordings.read"])
    listed = ApiClient(app, token).get("/api/v1/recordings").get_json()["items"]
    assert {item["agent"] for item in listed} == {"2001"}
