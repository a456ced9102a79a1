"""Calls over HTTP, against a real PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from api_client import NOW, ApiClient, CatalogueCapture, build_call, build_recording

from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord
from tests.legs import leg

CHANNEL = leg(
    "1795424777.0",
    name="PJSIP/trunk-00000001",
    party="customer",
    number="12025550123",
    caller_name="Ada",
)


@pytest.fixture(scope="module", autouse=True)
def _some_calls(catalogue: Catalogue) -> None:
    records = [
        build_call(
            id=f"main-{number}.0",
            started_at=NOW + timedelta(seconds=number),
            state="ended" if number < 3 else "ringing" if number == 3 else "up",
            agent=f"200{number % 2}",
            caller_number="12025550123",
            channels=(CHANNEL,),
        )
        for number in range(8)
    ]
    with catalogue.begin() as tx:
        calls.save_calls(tx, records)


def test_live_calls_are_listed_newest_first(client: ApiClient) -> None:
    """Without `state` the list holds the live calls."""
    items = client.get("/api/v1/calls").get_json()["items"]
    assert [item["id"] for item in items] == [f"main-{number}.0" for number in (7, 6, 5, 4, 3)]


def test_pages_join_to_the_whole_list(client: ApiClient) -> None:
    """Following next_cursor gives every call once, then null."""
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/calls?limit=2{cursor and '&cursor=' + cursor}").get_json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [f"main-{number}.0" for number in (7, 6, 5, 4, 3)]


@pytest.mark.parametrize(("state", "count"), [("ringing", 1), ("up", 4), ("ended", 3)])
def test_calls_are_listed_by_state(client: ApiClient, state: str, count: int) -> None:
    """`state` selects the calls in this state."""
    items = client.get(f"/api/v1/calls?state={state}").get_json()["items"]
    assert [item["state"] for item in items] == [state] * count


def test_a_call_has_the_contracts_fields(client: ApiClient) -> None:
    """A call has the contract's fields, and its channels show no internal ones."""
    call = client.get("/api/v1/calls/main-7.0").get_json()
    assert call["caller"] == {"number": "12025550123", "name": None}
    assert call["started_at"] == "2026-11-23T18:00:07.250000Z"
    assert (call["spies"], call["decision"], call["recordings"]) == ([], None, [])
    assert call["channels"] == [
        {
            "id": "1795424777.0",
            "name": "PJSIP/trunk-00000001",
            "state": "Up",
            "party": "customer",
            "number": "12025550123",
            "caller_name": "Ada",
        }
    ]


def test_a_live_call_shows_the_recordings_that_run(client: ApiClient, catalogue: Catalogue) -> None:
    """A live call lists its running recordings, an ended call all of them."""
    runs = build_recording(call_id="main-6.0")
    stopped = build_recording(call_id="main-6.0", state="captured")
    kept = build_recording(call_id="main-1.0", state="stored")
    with catalogue.begin() as tx:
        for record in (runs, stopped, kept):
            recordings.create_recording(tx, record)
    assert client.get("/api/v1/calls/main-6.0").get_json()["recordings"] == [str(runs.id)]
    assert client.get("/api/v1/calls/main-1.0").get_json()["recordings"] == [str(kept.id)]


@pytest.mark.parametrize("call_id", ["main-404.0", "x", "main-7.0%00", "%2e%2e"])
def test_an_unknown_call_is_404(client: ApiClient, call_id: str) -> None:
    """An unknown call is a problem document, whatever its id looks like."""
    assert client.get(f"/api/v1/calls/{call_id}").status_code == 404


def test_a_recording_is_started(client: ApiClient) -> None:
    """POST answers 201 with the recording and its address."""
    wanted = {"layout": "mono", "format": "flac", "tags": ["vip"]}
    response = client.post("/api/v1/calls/main-7.0/recordings", json=wanted)
    recording = response.get_json()
    assert response.status_code == 201
    assert (recording["layout"], recording["media"]["format"]) == ("mono", "flac")
    assert recording["tags"] == ["vip"]
    assert response.headers["Location"] == recording["links"]["self"]
    assert client.get(f"/api/v1/recordings/{recording['id']}").get_json() == recording


def test_tracks_need_a_format_with_room(client: ApiClient) -> None:
    """A track for each person is possible in every format but MP3, which has two channels."""
    start = "/api/v1/calls/main-7.0/recordings"
    refused = client.post(start, json={"layout": "tracks", "format": "mp3"})
    assert (refused.status_code, refused.get_json()["error_id"]) == (422, "request-invalid")
    assert "two channels" in refused.get_data(as_text=True)
    made = client.post(start, json={"layout": "tracks"})
    assert (made.status_code, made.get_json()["layout"]) == (201, "tracks")


def test_no_body_means_as_configured(client: ApiClient) -> None:
    """POST without a body starts a recording with the configured values."""
    response = client.post("/api/v1/calls/main-5.0/recordings")
    assert response.status_code == 201
    assert response.get_json()["layout"] == "dual"


def test_an_ended_call_cannot_be_recorded(client: ApiClient) -> None:
    """Recording an ended call is a conflict."""
    response = client.post("/api/v1/calls/main-0.0/recordings")
    assert (response.status_code, response.get_json()["error_id"]) == (409, "call-ended")


def test_a_pbx_that_is_away_is_503(client: ApiClient, recorder: CatalogueCapture) -> None:
    """503 has a time to retry, and does not name the PBX."""
    recorder.pbx_is_away = True
    response = client.post("/api/v1/calls/main-7.0/recordings")
    recorder.pbx_is_away = False
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert "10.1.2.3" not in response.text


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"data": "x" * (1 << 20) + "x", "content_type": "application/json"}, 413),
        ({"data": "{}", "content_type": "text/plain"}, 415),
        ({"json": {"layout": "stereo"}}, 422),
        ({"json": {"colour": "red"}}, 422),
        ({"json": {"tags": ["a\0b"]}}, 422),
        ({"data": '{"tags": ["\\ud800"]}', "content_type": "application/json"}, 400),
        ({"json": []}, 422),
    ],
)
def test_a_bad_body_is_refused(client: ApiClient, options: dict[str, object], status: int) -> None:
    """A wrong body is a problem, and starts nothing."""
    response = client.post("/api/v1/calls/main-7.0/recordings", **options)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"


def test_a_team_sees_its_calls_alone(client: ApiClient, make_token: Callable[..., str]) -> None:
    """A supervisor lists, reads and records the team's calls; others are 404."""
    make_token(name="2000", role="agent", team="north")
    north = client.as_holder_of(make_token(name="sup", role="supervisor", team="north"))
    items = north.get("/api/v1/calls").get_json()["items"]
    assert {item["agent"] for item in items} == {"2000"}
    assert north.get("/api/v1/calls/main-6.0").status_code == 200
    assert north.get("/api/v1/calls/main-7.0").status_code == 404
    assert north.post("/api/v1/calls/main-7.0/recordings").status_code == 404


def test_callers_in_a_queue_know_their_positions(client: ApiClient, catalogue: Catalogue) -> None:
    """The first who came is the next; other queues, other PBXs and ended calls do not count."""

    def waiting(number: int, second: int, **more: object) -> CallRecord:
        usual = {"state": "up", "queue": "sales", "waiting_since": NOW + timedelta(seconds=second)}
        return build_call(id=f"main-1{number}.0", **usual | more)

    with catalogue.begin() as tx:
        calls.save_calls(
            tx,
            [
                waiting(0, 20),
                waiting(1, 10),
                waiting(2, 5, queue="other"),
                waiting(3, 5, state="ended"),
                replace(waiting(4, 5), id="second-14.0", pbx="second"),
                waiting(5, 5, waiting_since=None),
            ],
        )
    items = {one["id"]: one for one in client.get("/api/v1/calls").get_json()["items"]}
    positions = {
        call_id: items[call_id]["waiting"]["position"]
        for call_id in ("main-10.0", "main-11.0", "main-12.0", "second-14.0")
    }
    assert positions == {"main-10.0": 2, "main-11.0": 1, "main-12.0": 1, "second-14.0": 1}
    one = client.get("/api/v1/calls/main-10.0").get_json()
    since = "2026-11-23T18:00:20.250000Z"
    assert one["waiting"] == {"queue": "sales", "since": since, "position": 2}
    assert (one["talking"], one["activity"]) == (False, "waiting")
    assert items["main-15.0"]["waiting"] is None
    assert client.get("/api/v1/calls/main-13.0").get_json()["waiting"] is None


def test_a_call_names_the_calls_of_its_conversation(
    client: ApiClient, catalogue: Catalogue
) -> None:
    """`joined` has their ids, and `people` counts everybody whom the call hears."""
    record = build_call(id="main-20.0", state="up", joined=("main-21.0", "main-22.0"), people=3)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [record])
    one = client.get("/api/v1/calls/main-20.0").get_json()
    assert one["joined"] == ["main-21.0", "main-22.0"]
    assert (one["people"], one["talking"], one["activity"]) == (3, True, "conference")
