"""Calls whose ids hold characters that mean something elsewhere."""

from urllib.parse import quote

import pytest
from api_client import ApiClient, build_call, build_recording

from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue


@pytest.mark.parametrize(
    "linkedid",
    ["größe☎.0", "a/b", "a//b", "a/../b", "..", "a/recordings", "a%2Fb", "a?b#c", " \n "],
)
def test_a_call_of_any_id_can_be_asked_for(
    client: ApiClient, catalogue: Catalogue, linkedid: str
) -> None:
    """A PBX, or a program on it, may give a channel any id; the link of a recording leads there."""
    call_id = f"main-{linkedid}"
    recording = build_recording(call_id=call_id)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=call_id)])
        recordings.create_recording(tx, recording)
    links = client.get(f"/api/v1/recordings/{recording.id}").get_json()["links"]
    link = links["call"].removeprefix("http://localhost")
    found = client.get(link).get_json()
    assert (found["id"], found["recordings"]) == (call_id, [str(recording.id)])
    assert link == f"/api/v1/calls/{quote(call_id, safe='')}"
    listed = client.get("/api/v1/recordings", query_string={"call_id": call_id}).get_json()
    assert [one["id"] for one in listed["items"]] == [str(recording.id)]
    assert client.post(f"{link}/recordings").status_code == 201
