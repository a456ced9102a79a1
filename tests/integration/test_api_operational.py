"""Health, metrics and documentation over HTTP."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from api_client import ApiClient, CatalogueCapture, CatalogueSpies, build_recording, rebuild_app
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy import text

from api import turns
from api.app import ApiSettings, build_app
from api.services import EXTENSION
from storage.catalogue import pbxs, recordings
from storage.catalogue.engine import NEWEST, Catalogue
from storage.objects.errors import StoreUnavailable
from storage.objects.s3 import S3ObjectStore
from storage.records import PbxRecord


def say_pbx(catalogue: Catalogue, state: str, age_s: float) -> None:
    """Store the state of a PBX, with this age."""
    seen_at = datetime.now(UTC) - timedelta(seconds=age_s)
    with catalogue.begin() as tx:
        pbxs.save_pbx(tx, PbxRecord("main", state, "http://10.1.2.3: refused", "22.1", seen_at))


@pytest.mark.parametrize(
    ("saved", "status", "expected"),
    [
        (("connected", 0), 200, "connected"),
        (("connected", 30), 503, "unwatched"),
        (("unreachable", 0), 503, "unreachable"),
    ],
)
def test_ready_needs_all_parts(
    client: ApiClient, catalogue: Catalogue, saved: tuple[str, float], status: int, expected: str
) -> None:
    """Database, store and PBX report their state, and no address."""
    say_pbx(catalogue, *saved)
    response = client.as_holder_of(None).get("/health/ready")
    states = {check["name"]: check["state"] for check in response.get_json()["checks"]}
    assert response.status_code == status
    assert states == {"database": "connected", "objects": "connected", "pbx.main": expected}
    assert "10.1.2.3" not in response.text


def test_a_database_that_is_away(objects: S3ObjectStore, recorder: CatalogueCapture) -> None:
    """Without the database we are live, not ready, and answer 503 with a time to retry."""
    nowhere = Catalogue("postgresql://nobody:secret@127.0.0.1:1/none")
    app = build_app(
        nowhere, objects, recorder, CatalogueSpies(nowhere), ApiSettings(pbxs=("main",))
    )
    client = ApiClient(app, "ew_any")
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert [check["ok"] for check in ready.get_json()["checks"]] == [False, True, False]
    response = client.get("/api/v1/recordings")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.get_json()["error_id"] == "catalogue-unavailable"
    assert "127.0.0.1" not in ready.text + response.text


def test_an_older_schema_is_not_ready(client: ApiClient, database_url: str) -> None:
    """The service is not ready before the migration; afterwards it does not check again."""
    before = client.application.extensions[EXTENSION]
    with closing(Catalogue(database_url)) as begun:
        app = build_app(begun, before.objects, before.capture, before.spies, before.settings)
        with begun.begin() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        ready = app.test_client().get("/health/ready")
        with begun.begin() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": NEWEST})
        states = [check["state"] for check in ready.get_json()["checks"]]
        assert (ready.status_code, states) == (503, ["outdated", "connected", "unknown"])
        checks = app.test_client().get("/health/ready").get_json()["checks"]
        assert checks[0]["state"] == "connected"


def test_the_store_is_probed_once_in_5_s(catalogue: Catalogue, recorder: CatalogueCapture) -> None:
    """The store is probed once in 5 s, for any number of requests."""
    probes = []

    class Away:
        def find(self, key: str) -> None:
            probes.append(key)
            raise StoreUnavailable("http://10.1.2.3:8333")

    client = ApiClient(
        build_app(catalogue, Away(), recorder, CatalogueSpies(catalogue), ApiSettings()), None
    )
    answers = [client.get("/health/ready").get_json()["checks"][1] for _ in range(3)]
    assert [(answer["ok"], answer["state"]) for answer in answers] == [(False, "unavailable")] * 3
    assert len(probes) == 1


def test_health_and_static_files_need_no_turn(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under full load, health checks and static files are still answered."""
    monkeypatch.setattr(turns, "AT_ONCE", 0)
    monkeypatch.setattr(turns, "TURN_WITHIN_S", 0.01)
    busy = rebuild_app(client.application).test_client()
    assert busy.get("/health/live").status_code == 200
    assert busy.get("/static/icons.svg").status_code == 200
    assert busy.get("/health/ready").status_code == 503


def test_metrics_count_requests_recordings_and_pbxs(
    client: ApiClient, catalogue: Catalogue
) -> None:
    """Metrics count requests by route, recordings by state, and PBXs that are up."""
    say_pbx(catalogue, "connected", 0)
    with catalogue.begin() as tx:
        for state in ("stored", "stored", "failed"):
            recordings.create_recording(tx, build_recording(state=state))
    client.get("/api/v1/recordings")
    client.get("/api/v1/recordings/x")
    client.application.test_client().open("/made-up", method="BREW1")
    response = client.get("/metrics")
    counted = 'earwitness_http_requests_total{method="GET",route="%s",status="%s"} '
    assert response.content_type.startswith("text/plain")
    assert counted % ("/api/v1/recordings", "200") in response.text
    assert counted % ("unknown", "404") in response.text
    assert 'method="other"' in response.text
    assert "BREW1" not in response.text  # or each client could add series without end
    assert 'earwitness_recordings{state="stored"} 2.0' in response.text
    assert 'earwitness_pbx_up{pbx="main"} 1.0' in response.text


def test_the_document_is_served_and_valid(client: ApiClient) -> None:
    """/api/openapi.json is OpenAPI 3.1."""
    document = client.get("/api/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


def test_the_api_browser_loads_only_our_files(client: ApiClient) -> None:
    """Every file of /api/docs is ours, and the page may load no other."""
    page = client.get("/api/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert f"/api/docs/{asset}" in page.text
        file = client.get(f"/api/docs/{asset}")
        assert len(file.data) > 100
        kept = client.get(f"/api/docs/{asset}", headers={"If-None-Match": file.headers["ETag"]})
        assert kept.status_code == 304
    assert client.get("/api/docs/LICENSE").status_code == 404


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v1/calls/", "/api//v1/calls", "/api/v1/../metrics"]
)
def test_an_unknown_path_is_a_problem(client: ApiClient, path: str) -> None:
    """An unknown path is a problem document; no path is corrected."""
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")


def test_a_wrong_method_is_a_problem(client: ApiClient) -> None:
    """405 lists the allowed methods."""
    response = client.request("DELETE", "/api/v1/calls")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_every_answer_has_protecting_headers(
    client: ApiClient, make_token: Callable[..., str]
) -> None:
    """Every answer, also a problem, has the protecting headers."""
    for path in ("/api/v1/calls", "/nothing", "/health/live"):
        headers = client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
