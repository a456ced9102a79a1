"""Agents read no remark on a recording: no hold, no note, no bookmark, in whatever form."""

import re
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from api_client import NOW, ApiClient, TokenMaker, build_call, build_recording, problem
from sqlalchemy import text

from recorder.audio.waveform import Waveform
from storage.catalogue import calls, recordings
from storage.catalogue.engine import Catalogue
from storage.manifest import SigningKey, build_manifest, sign_manifest
from storage.objects.keys import ObjectKey
from storage.objects.s3 import S3ObjectStore
from storage.records import Bookmark, Hold, RecordingRecord

WORD = "remarkable"
# Streams have no end; tests/unit/storage/test_visibility.py has their rule.
ENDLESS = {"/api/v1/events"}


@pytest.fixture(scope="module")
def remarked(catalogue: Catalogue, objects: S3ObjectStore) -> RecordingRecord:
    """Store a recording of the agent 2001 whose remarks, and manifest, have the word."""
    id_ = UUID(int=77)
    key = ObjectKey.of("main", NOW, id_, "opus")
    waveform = Waveform(0.1, peaks=((1,),), talk=((),), silence=((),), level_dbfs=(-20.0,))
    document = sign_manifest(
        build_manifest({"id": id_, "note": WORD}, [], waveform.to_json()), SigningKey.generate()
    )
    objects.put_bytes(str(key), b"audio", content_type="audio/ogg", metadata={})
    objects.put_bytes(str(key.manifest), document, content_type="application/json", metadata={})
    record = build_recording(
        id=id_,
        call_id="main-remarked",
        state="stored",
        agent="2001",
        caller_name="Dana",
        duration_s=60.0,
        tags=("billing",),
        note=f"{WORD} words",
        hold=Hold(f"{WORD} case", "officer", NOW),
        bookmarks=(Bookmark(uuid4(), 1.0, f"{WORD} moment", "officer"),),
        object_key=str(key),
        content_type="audio/ogg",
        size_bytes=5,
        sha256="0" * 64,
    )
    with catalogue.begin() as tx:
        call = build_call(
            id=record.call_id, state="ended", ended_at=NOW, caller_number="12025550123"
        )
        calls.save_calls(tx, [call])
        recordings.create_recording(tx, record)
    return record


def read_all(client: ApiClient, token: str, record: RecordingRecord) -> dict[str, str]:
    """Return the answer to every GET of the API and the pages, for this recording and its call."""
    known = {"recording_id": str(record.id), "call_id": quote(record.call_id, safe="")}
    browser = client.application.test_client()
    answers: dict[str, str] = {}
    for rule in client.application.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.rule in ENDLESS:
            continue
        path = re.sub(
            r"<(?:[^:>]*:)?(\w+)>", lambda one: known.get(one[1], str(UUID(int=1))), rule.rule
        )
        for query in ("", "?q=Dana"):
            answer = browser.get(path + query, headers={"Authorization": f"Bearer {token}"})
            answers[path + query] = answer.get_data(as_text=True)
    return answers


def test_no_answer_has_them(
    client: ApiClient, make_token: TokenMaker, remarked: RecordingRecord
) -> None:
    """Whatever an agent reads, the API or a page, has no remark; a supervisor reads them."""
    of_agent = read_all(client, make_token(name="2001", role="agent"), remarked)
    assert [path for path, body in of_agent.items() if WORD in body] == []
    seen = [path for path, body in of_agent.items() if str(remarked.id) in body]
    assert f"/api/v1/recordings/{remarked.id}" in seen
    assert {"/api/v1/recordings", "/library", f"/recordings/{remarked.id}"} <= set(seen)
    of_boss = read_all(client, make_token(name="boss", role="supervisor"), remarked)
    told = {path for path, body in of_boss.items() if WORD in body}
    assert told >= {
        "/api/v1/recordings",
        f"/api/v1/recordings/{remarked.id}",
        f"/api/v1/recordings/{remarked.id}/manifest",
        f"/recordings/{remarked.id}",
    }


def test_an_agent_reads_the_rest(
    client: ApiClient, make_token: TokenMaker, remarked: RecordingRecord
) -> None:
    """An agent reads its recording and the tags; the remarks look as if nobody had written any."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    read = agent.get(f"/api/v1/recordings/{remarked.id}").json
    assert (read["note"], read["bookmarks"], read["retention"]["hold"]) == (None, [], None)
    assert read["tags"] == ["billing"]
    assert agent.get("/api/v1/recordings").json["items"] == [read]


def test_no_search_tells_them(
    client: ApiClient, make_token: TokenMaker, remarked: RecordingRecord
) -> None:
    """A search of an agent finds the words of names alone, also together with words of a note."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    boss = client.as_holder_of(make_token(name="boss", role="supervisor"))
    for words, of_agent, of_boss in (("Dana", 1, 1), (WORD, 0, 1), (f"Dana {WORD}", 0, 1)):
        found = [
            len(one.get(f"/api/v1/recordings?q={words}").json["items"]) for one in (agent, boss)
        ]
        assert found == [of_agent, of_boss], words


def test_an_agent_gets_no_manifest(
    client: ApiClient, catalogue: Catalogue, make_token: TokenMaker, remarked: RecordingRecord
) -> None:
    """The signed manifest has the remarks, so an agent is refused it, and that is audited."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    path = f"/api/v1/recordings/{remarked.id}/manifest"
    assert problem(agent.get(path)) == (403, "forbidden")
    query = text("SELECT action FROM audit WHERE subject = :path AND outcome = 'refused' LIMIT 1")
    with catalogue.begin() as tx:
        assert tx.scalar(query, {"path": path})
