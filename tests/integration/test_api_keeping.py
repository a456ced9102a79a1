"""Annotations, holds, shared links and the hearings of a recording."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import NOW, ApiClient, build_recording, problem
from racing import waits_for_a_lock
from sqlalchemy import text
from werkzeug.test import Client

from lab.waiting import until
from recorder.audio.waveform import Waveform
from recorder.work.keeping import Keeper
from storage import states
from storage.catalogue import audit, events, recordings
from storage.catalogue.engine import Catalogue
from storage.manifest import SigningKey, build_manifest, sign_manifest
from storage.objects.keys import ObjectKey
from storage.objects.s3 import S3ObjectStore
from storage.records import Actor, Bookmark, Hold, RecordingRecord

Keep = Callable[..., RecordingRecord]
AUDIO = os.urandom(300_000)


@pytest.fixture
def keep(catalogue: Catalogue) -> Keep:
    """Return a function that stores a recording."""

    def make(**fields: Any) -> RecordingRecord:
        record = build_recording(
            **{"agent": "2001", "state": "stored", "duration_s": 60.0, **fields}
        )
        with catalogue.begin() as tx:
            recordings.create_recording(tx, record)
        return record

    return make


@pytest.fixture
def heard(keep: Keep, objects: S3ObjectStore) -> RecordingRecord:
    """Store a recording with its audio."""
    id_ = build_recording().id
    key = ObjectKey.of("main", NOW, id_, "opus")
    objects.put_bytes(str(key), AUDIO, content_type="audio/ogg", metadata={})
    waveform = Waveform(0.1, peaks=((1,),), talk=((),), silence=((),), level_dbfs=(-20.0,))
    body = build_manifest({"id": id_}, [], waveform.to_json())
    document = sign_manifest(body, SigningKey.generate())
    objects.put_bytes(str(key.manifest), document, content_type="application/json", metadata={})
    return keep(
        id=id_,
        object_key=str(key),
        content_type="audio/ogg",
        size_bytes=len(AUDIO),
        sha256=hashlib.sha256(AUDIO).hexdigest(),
    )


@pytest.fixture
def officer(client: ApiClient, make_token: Callable[..., str]) -> ApiClient:
    """Return a compliance officer with a unique name."""
    return client.as_holder_of(make_token(name=f"officer-{uuid4()}", role="compliance"))


def path(record: RecordingRecord, more: str = "") -> str:
    """Return the path of the recording."""
    return f"/api/v1/recordings/{record.id}{more}"


def actions(catalogue: Catalogue, record: RecordingRecord) -> list[str]:
    """Return the actions on the recording from the audit trail, oldest first."""
    query = text("SELECT action FROM audit WHERE subject = :id ORDER BY id")
    with catalogue.begin() as tx:
        return list(tx.scalars(query, {"id": str(record.id)}))


def waiting(catalogue: Catalogue, record: RecordingRecord) -> list[str]:
    """Return the waiting jobs of the recording."""
    query = text("SELECT task_name FROM procrastinate_jobs WHERE args->>'recording_id' = :id")
    with catalogue.begin() as tx:
        return list(tx.scalars(query, {"id": str(record.id)}))


def test_note_and_tags(officer: ApiClient, catalogue: Catalogue, keep: Keep) -> None:
    """Note and tags are stored, found, audited and events; the manifest is signed again."""
    record = keep(tags=("old",))
    with catalogue.begin() as tx:
        before = events.newest_event_id(tx)
    note, tags = "Kundin fragte nach Zürich", ["complaint", "vip", "complaint"]
    answered = officer.patch(path(record), json={"note": f" {note} ", "tags": tags})
    assert answered.status_code == 200
    assert answered.json["note"] == note
    assert answered.json["tags"] == ["complaint", "vip"]
    found = officer.get("/api/v1/recordings?q=zürich&tag=vip").json["items"]
    assert [one["id"] for one in found] == [str(record.id)]
    assert actions(catalogue, record) == ["recording.change"]
    assert waiting(catalogue, record) == ["manifest"]
    with catalogue.begin() as tx:
        types = [one.type for one in events.list_events(tx, before, 10)]
    assert types == ["recording.changed"]
    assert officer.patch(path(record), json={"note": ""}).json["note"] is None
    assert officer.get(path(record)).json["tags"] == ["complaint", "vip"]


def test_a_repeated_change_does_nothing(
    officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """A repeated change leaves no trace, and needs no new manifest."""
    record = keep(note="as it is")
    assert officer.patch(path(record), json={"note": "as it is"}).status_code == 200
    assert actions(catalogue, record) == waiting(catalogue, record) == []


@pytest.mark.parametrize("state", sorted(states.LIVE))
def test_while_it_is_recorded(
    officer: ApiClient, catalogue: Catalogue, keep: Keep, state: str
) -> None:
    """A running recording can be annotated; it has no manifest yet."""
    record = keep(state=state)
    assert officer.patch(path(record), json={"note": "early"}).json["note"] == "early"
    assert officer.get(path(record)).json["state"] == state
    assert waiting(catalogue, record) == []


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [(30, 31, 200), (30, None, 200), (30, 29, 409), (None, 30, 409), (30, 30, 200), (30, 0, 422)],
)
def test_retention_is_only_extended(
    officer: ApiClient, keep: Keep, before: int | None, after: int | None, status: int
) -> None:
    """Retention can be extended, never shortened."""
    record = keep(retention_days=before)
    assert officer.patch(path(record), json={"retention_days": after}).status_code == status
    kept = after if status == 200 else before
    expires = officer.get(path(record)).json["retention"]["expires_at"]
    assert (expires is None) == (kept is None)
    if kept is not None:
        assert expires.startswith(f"{NOW + timedelta(days=kept):%Y-%m-%d}")


def test_bookmarks(officer: ApiClient, catalogue: Catalogue, keep: Keep) -> None:
    """Bookmarks are listed in the order of their places, and can be removed."""
    record = keep()
    made = [
        officer.post(path(record, "/bookmarks"), json={"at_s": at_s, "text": said}).json
        for at_s, said in ((42.5, "the order"), (3, "consent"))
    ]
    listed = officer.get(path(record)).json["bookmarks"]
    assert [(one["at_s"], one["text"]) for one in listed] == [(3.0, "consent"), (42.5, "the order")]
    assert {one["id"] for one in listed} == {one["id"] for one in made}
    gone = officer.delete(path(record, f"/bookmarks/{made[0]['id']}"))
    assert [one["text"] for one in gone.json["bookmarks"]] == ["consent"]
    again = officer.delete(path(record, f"/bookmarks/{made[0]['id']}"))
    assert (again.status_code, again.json["error_id"]) == (404, "no-such-bookmark")
    late = officer.post(path(record, "/bookmarks"), json={"at_s": 60.5, "text": "too late"})
    assert late.json["errors"] == [{"loc": ["body", "at_s"], "msg": "the recording is 60.0 s long"}]
    done = ["recording.bookmark", "recording.bookmark", "recording.unbookmark"]
    assert actions(catalogue, record) == done


def test_a_hold(officer: ApiClient, catalogue: Catalogue, keep: Keep) -> None:
    """A hold has reason, person and time, and prevents discarding until its release."""
    record = keep(state="recording")
    held = officer.request("PUT", path(record, "/hold"), json={"reason": "case 4711"})
    hold = held.json["retention"]["hold"]
    assert hold["reason"] == "case 4711"
    assert hold["by"].startswith("officer-")
    for to in ("discarded", "purged"):
        with catalogue.begin() as tx:
            assert recordings.move(tx, record.id, to=to) is None
    without = officer.request("DELETE", path(record, "/hold"), json={})
    assert without.status_code == 422
    released = officer.request("DELETE", path(record, "/hold"), json={"reason": "case closed"})
    assert released.json["retention"]["hold"] is None
    with catalogue.begin() as tx:
        assert recordings.move(tx, record.id, to="discarded") is not None
    assert actions(catalogue, record) == ["recording.hold", "recording.release"]


@pytest.fixture
def supervisor(client: ApiClient, make_token: Callable[..., str]) -> ApiClient:
    """Return a supervisor with a unique name."""
    return client.as_holder_of(make_token(name=f"boss-{uuid4()}", role="supervisor"))


MARK = Bookmark(UUID(int=1), 3.0, "consent", "officer")
HELD: dict[str, Any] = {
    "hold": Hold("case 4711", "officer", NOW),
    "note": "he swore",
    "tags": ("vip", "case"),
    "bookmarks": (MARK,),
    "retention_days": 30,
}


@pytest.mark.parametrize(
    "change",
    [
        ("PATCH", "", {"note": ""}, "note"),
        ("PATCH", "", {"note": None}, "note"),
        ("PATCH", "", {"note": "he did not"}, "note"),
        ("PATCH", "", {"note": "in truth: he swore"}, "note"),
        ("PATCH", "", {"tags": []}, "tag"),
        ("PATCH", "", {"tags": ["vip", "more"]}, "tag"),
        ("PATCH", "", {"note": "he swore twice", "tags": ["case"]}, "tag"),
        ("DELETE", f"/bookmarks/{MARK.id}", None, "bookmark"),
    ],
)
def test_under_a_hold_nothing_is_taken_away(
    supervisor: ApiClient,
    officer: ApiClient,
    catalogue: Catalogue,
    keep: Keep,
    change: tuple[str, str, dict[str, Any] | None, str],
) -> None:
    """Under a hold nobody changes or removes remarks and tags; the refusal says how to add."""
    record = keep(**HELD)
    method, more, body, said = change
    for asker in (supervisor, officer):
        refused = asker.request(method, path(record, more), json=body)
        assert (refused.status_code, refused.json["error_id"]) == (409, "under-hold")
        assert said in refused.json["detail"]
    with catalogue.begin() as tx:
        assert recordings.get_recording(tx, record.id) == record
    assert waiting(catalogue, record) == []
    assert set(outcomes(catalogue, record)) == {"refused"}


def outcomes(catalogue: Catalogue, record: RecordingRecord) -> list[str]:
    """Return the outcomes of the actions on the recording from the audit trail, oldest first."""
    query = text("SELECT outcome FROM audit WHERE subject = :id ORDER BY id")
    with catalogue.begin() as tx:
        return list(tx.scalars(query, {"id": str(record.id)}))


def test_under_a_hold_more_is_added(
    supervisor: ApiClient, officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """Under a hold people add to the note, tags and bookmarks; the trail has old and new."""
    record = keep(**HELD)
    body = {"note": "he swore\nand hung up", "tags": ["more", "case", "vip"]}
    assert supervisor.patch(path(record), json=body).json["note"] == body["note"]
    added = supervisor.post(path(record, "/bookmarks"), json={"at_s": 1, "text": "hello"})
    assert added.status_code == 201
    assert officer.patch(path(record), json={"retention_days": 60}).status_code == 200
    kept = officer.get(path(record)).json
    assert kept["tags"] == body["tags"]
    assert [one["text"] for one in kept["bookmarks"]] == ["hello", "consent"]
    with catalogue.begin() as tx:
        query = text("SELECT detail FROM audit WHERE subject = :id ORDER BY id")
        details = list(tx.scalars(query, {"id": str(record.id)}))
    assert details[0] == {**body, "before": {"note": "he swore", "tags": ["vip", "case"]}}
    assert details[2] == {"retention_days": 60, "before": {"retention_days": 30}}


def test_a_replaced_hold_and_a_removed_bookmark_stay_in_the_trail(
    officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """The trail has the reason of a replaced or released hold, and the text of a bookmark."""
    record = keep(**HELD)
    for method, reason in (("PUT", "case 4712"), ("DELETE", "closed")):
        done = officer.request(method, path(record, "/hold"), json={"reason": reason})
        assert done.status_code == 200
    assert officer.delete(path(record, f"/bookmarks/{MARK.id}")).status_code == 200
    with catalogue.begin() as tx:
        query = text("SELECT detail FROM audit WHERE subject = :id ORDER BY id")
        details = list(tx.scalars(query, {"id": str(record.id)}))
    befores = [one["before"] for one in details]
    assert [one["hold"]["reason"] for one in befores[:2]] == ["case 4711", "case 4712"]
    assert befores[2] == {"bookmarks": [{"at_s": 3.0, "by": "officer", "text": "consent"}]}


@pytest.mark.parametrize("first", ["hold", "change"])
def test_a_hold_and_a_change_take_turns(
    supervisor: ApiClient, catalogue: Catalogue, keep: Keep, first: str
) -> None:
    """A change that waits for the row obeys the hold that the other one has just written."""
    record = keep(note="he swore")
    keeper = Keeper(catalogue, Actor("user", "officer"), None)
    with ThreadPoolExecutor(1) as beside:
        with catalogue.begin() as tx:
            recordings.lock_recording(tx, record.id)
            if first == "hold":
                other = beside.submit(supervisor.patch, path(record), json={"note": ""})
                hold = Hold("case", "officer", NOW)
                recordings.annotate(tx, record, replace(record, hold=hold))
            else:
                other = beside.submit(keeper.hold, record.id, "case")
                recordings.annotate(tx, record, replace(record, note=None))
            until(lambda: waits_for_a_lock(tx), 60)
        result: Any = other.result(60)
    with catalogue.begin() as tx:
        kept = recordings.get_recording(tx, record.id)
    assert kept.hold is not None
    if first == "hold":
        assert problem(result) == (409, "under-hold")
        assert kept.note == "he swore"
    else:
        assert kept.note is None


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("supervisor", ("PATCH", "", {"note": "seen"}, 200)),
        ("supervisor", ("PATCH", "", {"retention_days": 9999}, 403)),
        ("supervisor", ("PUT", "/hold", {"reason": "why"}, 403)),
        ("supervisor", ("POST", "/links", {}, 403)),
        ("agent", ("PATCH", "", {"note": "seen"}, 403)),
        ("agent", ("POST", "/bookmarks", {"at_s": 1, "text": "here"}, 403)),
    ],
)
def test_a_role_without_the_permission_is_refused(
    client: ApiClient,
    make_token: Callable[..., str],
    keep: Keep,
    role: str,
    change: tuple[str, str, dict[str, Any], int],
) -> None:
    """A role without the permission is refused, and nothing changes."""
    record = keep(agent="2001", retention_days=30)
    asker = client.as_holder_of(make_token(name="2001", role=role))
    method, more, body, status = change
    assert asker.request(method, path(record, more), json=body).status_code == status
    kept = client.get(path(record)).json
    assert (kept["note"] == "seen") == (status == 200)
    assert (kept["retention"]["hold"], kept["bookmarks"]) == (None, [])


def test_another_teams_recording_is_404(
    client: ApiClient, make_token: Callable[..., str], keep: Keep
) -> None:
    """A recording of another team is a 404 for every change."""
    make_token(name="2900", role="agent", team="sales")
    other = client.as_holder_of(make_token(name="boss", role="compliance", team="sales"))
    record = keep(agent="2001")
    answers = [
        other.patch(path(record), json={"note": "mine"}),
        other.post(path(record, "/bookmarks"), json={"at_s": 1, "text": "mine"}),
        other.request("PUT", path(record, "/hold"), json={"reason": "mine"}),
        other.post(path(record, "/links"), json={}),
        other.get(path(record, "/links")),
    ]
    assert [one.status_code for one in answers] == [404] * 5
    assert client.get(path(record)).json["note"] is None


def test_a_link(officer: ApiClient, catalogue: Catalogue, heard: RecordingRecord) -> None:
    """A link opens player and audio without signing in; openings and hearings are audited."""
    made = officer.post(path(heard, "/links"), json={"expires_in_s": 3600})
    assert made.status_code == 201
    shared = made.json["url"].removeprefix("http://localhost")
    anybody: Client = officer.application.test_client()
    assert anybody.head(shared).status_code == 405  # it opens nothing
    page = anybody.get(shared)
    assert page.status_code == 200
    assert f'src="{shared}/audio"' in page.text
    assert "2001" not in page.text
    part = anybody.get(f"{shared}/audio", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, AUDIO[10:20])
    assert anybody.get(f"{shared}/waveform").json["peaks"] == [[1]]
    (listed,) = officer.get(path(heard, "/links")).json["items"]
    assert (listed["id"], listed["opened"], listed["url"]) == (made.json["id"], 1, None)
    assert actions(catalogue, heard) == ["link.create", "link.open", "recording.heard"]
    with catalogue.begin() as tx:
        assert [one.actor for one in audit.list_heard(tx, heard.id, limit=9)] == [listed["id"]]
    assert officer.delete(path(heard, f"/links/{listed['id']}")).status_code == 204
    for more in ("", "/audio", "/waveform"):
        assert anybody.get(shared + more).status_code == 404
    assert officer.delete(path(heard, f"/links/{uuid4()}")).status_code == 404


def test_a_link_ends(officer: ApiClient, catalogue: Catalogue, heard: RecordingRecord) -> None:
    """An expired link and a guessed secret open nothing."""
    made = officer.post(path(heard, "/links"), json={"expires_in_s": 60}).json
    with catalogue.begin() as tx:
        tx.execute(text("UPDATE link SET expires_at = now() WHERE id = :id"), {"id": made["id"]})
    anybody = officer.application.test_client()
    for opened in (made["url"].removeprefix("http://localhost"), "/shared/guess"):
        page = anybody.get(opened)
        assert page.status_code == 404
        assert "This link is no longer valid" in page.text


@pytest.mark.parametrize("expires_in_s", [0, 59, 91 * 86_400, "soon"])
def test_a_link_ends_within_reason(
    officer: ApiClient, heard: RecordingRecord, expires_in_s: object
) -> None:
    """A link lives for a minute at least, and for 90 days at most."""
    answered = officer.post(path(heard, "/links"), json={"expires_in_s": expires_in_s})
    assert answered.json["errors"][0]["loc"] == ["body", "expires_in_s"]


def test_a_recording_without_audio_has_no_links(officer: ApiClient, keep: Keep) -> None:
    """A recording without audio has no links."""
    record = keep(state="aborted")
    answered = officer.post(path(record, "/links"), json={})
    assert answered.json["error_id"] == "audio-not-stored"


def test_several_ranges_are_one_hearing(
    officer: ApiClient, catalogue: Catalogue, heard: RecordingRecord
) -> None:
    """Several ranges are one hearing; opening the page is none."""
    for begin in (0, 100, 200):
        headers = {"Range": f"bytes={begin}-{begin + 9}"}
        assert officer.get(path(heard, "/audio?stream=1"), headers=headers).status_code == 206
    assert officer.request("HEAD", path(heard, "/audio?stream=1")).status_code == 200
    assert officer.get(path(heard, "/waveform")).status_code == 200
    assert actions(catalogue, heard) == ["recording.heard"]
    with catalogue.begin() as tx:
        tx.execute(text("UPDATE audit SET at = at - interval '16 min'"))
    assert officer.get(path(heard, "/audio")).status_code == 302
    assert actions(catalogue, heard) == ["recording.heard", "recording.heard"]
