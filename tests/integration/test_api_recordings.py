"""Recordings over HTTP, against a real PostgreSQL."""

from datetime import timedelta
from uuid import UUID

import pytest
from api_client import NOW, ApiClient, CatalogueSpies, build_recording

from api.app import ApiSettings, build_app
from storage.catalogue import recordings
from storage.catalogue.engine import Catalogue
from storage.objects.s3 import S3ObjectStore
from storage.records import Gap, Pause, RecordingParty, RecordingRecord

CONTINUED = UUID("01999999-0000-7000-8000-000000000000")
BEGAN = build_recording(
    state="stored",
    call_id="main-1.0",
    agent="2001",
    queue="support",
    did="3000",
    caller_number="12025550123",
    caller_name="Ada Lovelace",
    callee_number="2001",
    duration_s=60.5,
    rule="support inbound",
    tags=("vip", "support"),
    note="asked for a refund",
    ended_at=NOW + timedelta(seconds=60.5),
    pauses=(Pause(NOW + timedelta(seconds=2), NOW + timedelta(seconds=3.5), "bob"),),
    gaps=(Gap(10.0, 11.25, "pbx-lost"),),
    parties=(
        RecordingParty("customer", "12025550123", "Ada", "left", ((0.0, 60.0),)),
        RecordingParty("agent", "2003", None, "right", ((0.5, 20.0), (40.0, None)), "2003"),
    ),
    continues=CONTINUED,
)
LATER = build_recording(
    call_id="main-2.0",
    direction="outbound",
    callee_number="13035550456",
    started_at=NOW + timedelta(hours=1),
)


@pytest.fixture(scope="module", autouse=True)
def _some_recordings(catalogue: Catalogue) -> None:
    with catalogue.begin() as tx:
        recordings.create_recording(tx, BEGAN)
        recordings.create_recording(tx, LATER)


def ids(client: ApiClient, query: str) -> list[str]:
    """Return the ids in the list."""
    response = client.get(f"/api/v1/recordings?{query}")
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.get_json()["items"]]


def test_a_recording_has_the_contracts_fields(client: ApiClient) -> None:
    """Pauses and gaps are seconds from the start, links are absolute."""
    recording = client.get(f"/api/v1/recordings/{BEGAN.id}").get_json()
    assert recording["pauses"] == [{"from_s": 2.0, "to_s": 3.5, "by": "bob"}]
    assert recording["gaps"] == [{"from_s": 10.0, "to_s": 11.25, "cause": "pbx-lost"}]
    assert recording["parties"] == [
        {
            "party": "customer",
            "number": "12025550123",
            "name": "Ada",
            "side": "left",
            "track": None,
            "spans": [{"from_s": 0.0, "to_s": 60.0}],
        },
        {
            "party": "agent",
            "number": "2003",
            "name": None,
            "side": "right",
            "track": None,
            "spans": [{"from_s": 0.5, "to_s": 20.0}, {"from_s": 40.0, "to_s": None}],
        },
    ]
    assert (recording["continues"], recording["continued_in"]) == (str(CONTINUED), None)
    assert recording["retention"] == {"expires_at": None, "hold": None}
    assert recording["links"]["audio"] == (f"http://localhost/api/v1/recordings/{BEGAN.id}/audio")
    assert recording["media"]["sha256"] is None


def test_links_begin_with_the_public_url(
    catalogue: Catalogue, objects: S3ObjectStore, recorder: object, make_token: object
) -> None:
    """Links start with the public URL, else with the requested address; headers do not count."""
    app = build_app(
        catalogue,
        objects,
        recorder,
        CatalogueSpies(catalogue),
        ApiSettings(public_url="https://ear.example"),
    )
    client = ApiClient(app, make_token(name="links", role="admin"))
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"}
    link = client.get(f"/api/v1/recordings/{BEGAN.id}", headers=headers).get_json()["links"]
    assert link["call"] == "https://ear.example/api/v1/calls/main-1.0"


@pytest.mark.parametrize(
    "query",
    [
        "call_id=main-1.0",
        "number=0123",
        "number=%2B12025550123",
        "number=+12025550123",
        "number=2003",
        "agent=2003",
        "number=0123&agent=2003",
        "agent=2001",
        "queue=support",
        "did=3000",
        "direction=inbound",
        "tag=vip",
        "rule=support%20inbound",
        "state=stored",
        "from=2026-11-23T17:00:00Z&to=2026-11-23T18:30:00Z",
        "to=2026-11-23T19:30:00+01:00",
        "min_duration_s=60",
        "max_duration_s=61&min_duration_s=1.5",
        "q=refund%20ada",
    ],
)
def test_every_filter_selects_the_right_recordings(client: ApiClient, query: str) -> None:
    """Each filter of the contract selects the right recordings."""
    assert ids(client, query) == [str(BEGAN.id)]


def test_without_a_filter_all_are_listed_newest_first(client: ApiClient) -> None:
    """Recordings are listed by id, which is by time."""
    assert ids(client, "") == [str(LATER.id), str(BEGAN.id)]
    first = client.get("/api/v1/recordings?limit=1").get_json()
    assert ids(client, f"limit=1&cursor={first['next_cursor']}") == [str(BEGAN.id)]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("colour=red", "colour"),
        ("from_at=2026-11-23T17:00:00Z", "from_at"),
        ("words=x", "words"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("from=2026-11-23T17:00:00", "from"),
        ("from=1795424777", "from"),
        ("to=yesterday", "to"),
        ("state=lost", "state"),
        ("direction=up", "direction"),
        ("number=12a", "number"),
        ("min_duration_s=-1", "min_duration_s"),
        ("max_duration_s=nan", "max_duration_s"),
        ("q=", "q"),
        ("tag=a%00b", "tag"),
    ],
)
def test_a_wrong_parameter_is_named(client: ApiClient, query: str, parameter: str) -> None:
    """422 names the wrong parameter."""
    response = client.get(f"/api/v1/recordings?{query}")
    problem = response.get_json()
    assert (response.status_code, problem["error_id"]) == (422, "request-invalid")
    assert [fault["loc"] for fault in problem["errors"]] == [["query", parameter]]


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WyJ4Il0", "%C3%A9"])
def test_a_foreign_cursor_is_refused(client: ApiClient, cursor: str) -> None:
    """A cursor of another list is a problem, not a crash."""
    response = client.get(f"/api/v1/recordings?cursor={cursor}")
    assert (response.status_code, response.get_json()["error_id"]) == (422, "bad-cursor")


@pytest.mark.parametrize("path", ["00000000-0000-7000-8000-000000000000", "x", "1", "%00"])
def test_an_unknown_recording_is_404(client: ApiClient, path: str) -> None:
    """An unknown recording is a problem document."""
    response = client.get(f"/api/v1/recordings/{path}")
    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


def test_a_recording_is_controlled(client: ApiClient, catalogue: Catalogue) -> None:
    """pause, resume and stop move the state; after the end they are a conflict."""
    recording = _new(catalogue)
    steps = [("pause", "paused"), ("resume", "recording"), ("stop", "captured")]
    for step, state in steps:
        response = client.post(f"/api/v1/recordings/{recording.id}/{step}")
        assert (response.status_code, response.get_json()["state"]) == (200, state)
    assert response.get_json()["pauses"][0]["by"] == "root"
    for step in ("pause", "resume", "stop", "discard"):
        response = client.post(f"/api/v1/recordings/{recording.id}/{step}")
        assert (response.status_code, response.get_json()["error_id"]) == (
            409,
            "recording-not-active",
        )


def test_a_recording_is_discarded(client: ApiClient, catalogue: Catalogue) -> None:
    """discard ends a recording and keeps nothing."""
    response = client.post(f"/api/v1/recordings/{_new(catalogue).id}/discard", json={})
    assert (response.status_code, response.get_json()["state"]) == (200, "discarded")


def _new(catalogue: Catalogue) -> RecordingRecord:
    recording = build_recording(call_id="main-9.0")
    with catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
    return recording
