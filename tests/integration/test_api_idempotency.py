"""POST with an Idempotency-Key, against a real PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_client import ApiClient, CatalogueCapture, build_call
from sqlalchemy import text

from storage.catalogue import calls
from storage.catalogue.engine import Catalogue
from tests.legs import leg

START = "/api/v1/calls/main-1.0/recordings"


@pytest.fixture(scope="module", autouse=True)
def _a_call(catalogue: Catalogue) -> None:
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id="main-1.0", channels=(leg("1"),))])


def key(name: str) -> dict[str, str]:
    """Return the header."""
    return {"Idempotency-Key": name}


def test_a_repeat_is_answered_and_not_acted_on(
    client: ApiClient, recorder: CatalogueCapture
) -> None:
    """A repeat gets the same status, body and location, and starts nothing."""
    before = recorder.started
    first, again = (client.post(START, json={"layout": "mono"}, headers=key("a")) for _ in "12")
    assert recorder.started == before + 1
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "body", "shown_once"),
    [
        ("tokens", {"name": "wallboard", "role": "agent"}, "token"),
        ("webhooks", {"url": "https://crm.example/hook"}, "secret"),
        ("calls/main-1.0/spies", {"mode": "listen", "destination": "browser"}, "audio_url"),
    ],
)
def test_a_secret_is_shown_once_and_not_stored(
    client: ApiClient, catalogue: Catalogue, path: str, body: dict[str, Any], shown_once: str
) -> None:
    """A repeat has no secret, and the catalogue stores none."""
    first, again = (
        client.post(f"/api/v1/{path}", json=body, headers=key(f"secret-{path}")) for _ in "12"
    )
    assert first.status_code == 201, first.json
    assert first.json[shown_once]
    assert again.json == first.json | {shown_once: None}
    with catalogue.begin() as tx:
        kept = tx.scalars(text("SELECT body::text FROM idempotency")).all()
    assert first.status_code == 201, first.json
    assert first.json[shown_once] not in str(kept)


def test_a_key_belongs_to_one_request(client: ApiClient) -> None:
    """Another body under the same key is a conflict."""
    client.post(START, json={"layout": "mono"}, headers=key("b"))
    response = client.post(START, json={"layout": "dual"}, headers=key("b"))
    assert (response.status_code, response.get_json()["error_id"]) == (
        409,
        "idempotency-key-reused",
    )


def test_a_key_belongs_to_one_token(client: ApiClient, make_token: Callable[..., str]) -> None:
    """Two clients may use the same key."""
    other = client.as_holder_of(make_token(name="other", role="admin"))
    first, second = (asker.post(START, headers=key("c")) for asker in (client, other))
    assert first.get_json()["id"] != second.get_json()["id"]


def test_a_failed_request_can_be_retried(client: ApiClient, recorder: CatalogueCapture) -> None:
    """A failure is not stored: the same key acts when the PBX is back."""
    recorder.pbx_is_away = True
    assert client.post(START, headers=key("d")).status_code == 503
    recorder.pbx_is_away = False
    response = client.post(START, headers=key("d"))
    assert response.status_code == 201
    assert "Idempotency-Replayed" not in response.headers


def test_simultaneous_requests_act_once(client: ApiClient, recorder: CatalogueCapture) -> None:
    """One of many simultaneous requests with one key acts; the others repeat it or wait."""
    before = recorder.started
    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(lambda _: client.post(START, headers=key("e")).status_code, "x" * 8)
        )
    assert recorder.started == before + 1
    assert set(statuses) <= {201, 409}


@pytest.mark.parametrize("name", ["", "a b", "x" * 256, "é"])
def test_a_bad_key_is_refused(client: ApiClient, name: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    response = client.post(START, headers=key(name))
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
