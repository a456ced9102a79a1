"""Work on many recordings at once, and saved searches, with a real PostgreSQL, store and worker."""

import csv
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4
from zipfile import ZipFile

import pytest
import requests
from api_client import NOW, ApiClient, build_recording
from sqlalchemy import text
from structlog.testing import capture_logs

from lab.waiting import until
from recorder.audio.waveform import Waveform
from recorder.errors import SpoolFull
from recorder.work import tasks
from recorder.work.bulk import Bulks
from recorder.work.keeping import renew_manifest
from storage import jobs
from storage.catalogue import bulks, recordings
from storage.catalogue.engine import Catalogue
from storage.manifest import SigningKey, build_manifest, sign_manifest
from storage.objects.keys import ObjectKey, build_export_key, parse_key
from storage.objects.s3 import S3ObjectStore
from storage.records import BulkRecord, Hold, RecordingParty, RecordingRecord

Keep = Callable[..., RecordingRecord]
WAVEFORM = Waveform(0.1, peaks=((1,),), talk=((),), silence=((),), level_dbfs=(-20.0,)).to_json()


@pytest.fixture
def officer(client: ApiClient, make_token: Callable[..., str]) -> ApiClient:
    """Return a compliance officer with a unique name."""
    return client.as_holder_of(make_token(name=f"officer-{uuid4()}", role="compliance"))


@pytest.fixture
def keep(catalogue: Catalogue, objects: S3ObjectStore) -> Keep:
    """Return a function that stores a recording with its audio and manifest."""

    def make(audio: bytes | None = None, **fields: Any) -> RecordingRecord:
        id_ = build_recording().id
        media: dict[str, Any] = {}
        if audio is not None:
            key = ObjectKey.of("main", NOW, id_, "opus")
            objects.put_bytes(str(key), audio, content_type="audio/ogg", metadata={})
            document = sign_manifest(
                build_manifest({"id": id_}, [], WAVEFORM), SigningKey.generate()
            )
            objects.put_bytes(
                str(key.manifest), document, content_type="application/json", metadata={}
            )
            sha256 = hashlib.sha256(audio).hexdigest()
            media = {"object_key": str(key), "size_bytes": len(audio), "sha256": sha256}
        record = build_recording(**{"id": id_, "state": "stored", **media, **fields})
        with catalogue.begin() as tx:
            recordings.create_recording(tx, record)
        return record

    return make


@pytest.fixture
def worker(catalogue: Catalogue, objects: S3ObjectStore, tmp_path: Path) -> Bulks:
    """Return the part of a worker that works on bulks."""
    return Bulks(catalogue, objects, tmp_path / "exports")


def ask(client: ApiClient, **body: Any) -> Any:
    """Request work on many recordings."""
    return client.post("/api/v1/bulk", json=body)


def done(client: ApiClient, worker: Bulks, **body: Any) -> Any:
    """Create a bulk, let a worker do it, and return the bulk."""
    answer = ask(client, **body)
    assert answer.status_code == 202, answer.text
    assert (answer.json["state"], answer.json["done"]) == ("waiting", 0)
    worker.work(UUID(answer.json["id"]))
    return client.get(f"/api/v1/bulk/{answer.json['id']}").json


def audited(catalogue: Catalogue, record: RecordingRecord) -> list[str]:
    """Return the actions on a recording from the audit trail."""
    query = text("SELECT action FROM audit WHERE subject = :id ORDER BY id")
    with catalogue.begin() as tx:
        return list(tx.scalars(query, {"id": str(record.id)}))


def test_tags(officer: ApiClient, catalogue: Catalogue, keep: Keep, worker: Bulks) -> None:
    """Every found recording gets and loses the tags, once, with one entry in the audit trail."""
    tag = f"t{uuid4().hex}"
    found = [keep(tags=(tag, "old")) for _ in range(25)]
    other = keep(tags=("old",))
    body = {"search": {"tag": tag}, "tags": ["new", "old2"], "remove_tags": ["old"]}
    ended = done(officer, worker, action="tag", **body)
    assert (ended["state"], ended["total"], ended["done"]) == ("done", 25, 25)
    assert ended["ended_at"] is not None
    for record in found:
        assert officer.get(f"/api/v1/recordings/{record.id}").json["tags"] == [tag, "new", "old2"]
    assert officer.get(f"/api/v1/recordings/{other.id}").json["tags"] == ["old"]
    worker.work(UUID(ended["id"]))
    assert audited(catalogue, found[0]) == ["recording.tag"]


def test_tags_under_a_hold(
    officer: ApiClient, catalogue: Catalogue, keep: Keep, worker: Bulks
) -> None:
    """A recording under hold keeps its tags: it is listed as refused, and audited; it gets tags."""
    held = keep(tags=("old", "case"), hold=Hold("case 4711", "judge", NOW))
    free = keep(tags=("old",))
    ids = [str(held.id), str(free.id)]
    ended = done(officer, worker, action="tag", ids=ids, tags=["new"], remove_tags=["old"])
    assert (ended["state"], ended["done"]) == ("done", 2)
    assert ended["refused"] == [{"id": str(held.id), "reason": "under-hold"}]
    more = done(officer, worker, action="tag", ids=ids, tags=["more"], remove_tags=["none"])
    assert more["refused"] == []
    tags = [officer.get(f"/api/v1/recordings/{one}").json["tags"] for one in ids]
    assert tags == [["old", "case", "more"], ["new", "more"]]
    assert audited(catalogue, held) == ["recording.tag", "recording.tag"]


def test_the_first_refusals_are_listed(
    officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """The first 100 refusals are listed, and all are counted."""
    bulk = ask(officer, action="tag", ids=[str(keep().id)], tags=["x"]).json
    refused = [{"id": str(uuid4()), "reason": "gone"} for _ in range(150)]
    with catalogue.begin() as tx:
        bulks.note_progress(tx, UUID(bulk["id"]), done=1, refused=refused)
    read = officer.get(f"/api/v1/bulk/{bulk['id']}").json
    assert (read["refused"], read["refused_total"]) == (refused[:100], 150)
    assert officer.get("/api/v1/bulk").json["items"] == [read]


def test_a_worker_is_killed(
    officer: ApiClient, catalogue: Catalogue, keep: Keep, worker: Bulks
) -> None:
    """Another worker continues with the next recording."""
    tag = f"t{uuid4().hex}"
    for _ in range(5):
        keep(tags=(tag,))
    bulk = ask(officer, action="tag", search={"tag": tag}, tags=["new"]).json
    with catalogue.begin() as tx:
        bulks.note_progress(tx, UUID(bulk["id"]), done=3, refused=[])
    worker.work(UUID(bulk["id"]))
    found = officer.get(f"/api/v1/recordings?tag={tag}").json["items"]
    assert [("new" in one["tags"]) for one in found] == [False, False, False, True, True]
    assert officer.get(f"/api/v1/bulk/{bulk['id']}").json["state"] == "done"


def test_holds(officer: ApiClient, keep: Keep, worker: Bulks) -> None:
    """The picked recordings are held; a present hold does not change."""
    before = Hold("older case", "judge", NOW)
    picked = [keep(), keep(hold=before)]
    ids = [str(one.id) for one in picked]
    ended = done(officer, worker, action="hold", ids=ids, reason="case 4711")
    assert ended["done"] == 2
    held = [officer.get(f"/api/v1/recordings/{one}").json["retention"]["hold"] for one in ids]
    assert [one["reason"] for one in held] == ["case 4711", "older case"]


def test_an_export(
    officer: ApiClient, catalogue: Catalogue, keep: Keep, worker: Bulks, tmp_path: Path
) -> None:
    """The ZIP has audio, manifests and an index; a recording without audio is listed as refused."""
    sounds = [os.urandom(100_000) for _ in range(3)]
    parties = (
        RecordingParty("customer", "4930", "Ada", "left"),
        RecordingParty("supervisor", None, "Sue", "right"),
        RecordingParty("customer", None, None, "right"),
    )
    kept = [keep(sound, caller_number="+4930", agent="=1+1", parties=parties) for sound in sounds]
    silent = keep(state="aborted")
    ids = [str(one.id) for one in (*kept, silent)]
    ended = done(officer, worker, action="export", ids=ids)
    assert (ended["state"], ended["total"], ended["done"]) == ("done", 4, 4)
    assert [one["id"] for one in ended["refused"]] == [str(silent.id)]
    found = officer.get(ended["file_url"].removeprefix("http://localhost"))
    given = requests.get(found.headers["Location"], timeout=10)
    assert len(given.content) == ended["size_bytes"]
    assert ".zip" in given.headers["Content-Disposition"]
    streamed = officer.get(f"/api/v1/bulk/{ended['id']}/file?stream=1")
    assert (streamed.status_code, streamed.mimetype) == (200, "application/zip")
    assert streamed.data == given.content
    assert streamed.headers["Content-Disposition"].endswith('.zip"')
    with ZipFile(io.BytesIO(given.content)) as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        assert len(names) == len(set(names)) == 7
        for record, sound in zip(kept, sounds, strict=True):
            assert packed.read(f"{record.id}.opus") == sound
            assert b'"signature"' in packed.read(f"{record.id}.json")
        rows = list(csv.DictReader(io.StringIO(packed.read("index.csv").decode())))
    assert {row["sha256"] for row in rows} == {record.sha256 for record in kept}
    assert {(row["caller_number"], row["agent"]) for row in rows} == {("'+4930", "'=1+1")}
    assert {row["parties"] for row in rows} == {"customer 4930,supervisor Sue,customer"}
    assert audited(catalogue, kept[0]) == ["recording.exported"]
    assert audited(catalogue, silent) == []
    assert list((tmp_path / "exports").iterdir()) == []


@pytest.mark.parametrize("part", ["audio", "manifest"])
def test_an_export_without_lost_files(
    officer: ApiClient,
    keep: Keep,
    worker: Bulks,
    objects: S3ObjectStore,
    part: str,
) -> None:
    """A recording that the store has lost is refused and sounds the alarm; the others are there."""
    kept, lost = keep(b"sound"), keep(b"lost")
    key = parse_key(str(lost.object_key))
    gone = str(key if part == "audio" else key.manifest)
    objects.delete(gone)
    with capture_logs() as lines:
        ended = done(officer, worker, action="export", ids=[str(lost.id), str(kept.id)])
    assert ended["state"] == "done"
    assert ended["refused"] == [{"id": str(lost.id), "reason": "no-such-object"}]
    alarms = [line for line in lines if line["event"] == "recording.object-lost"]
    assert [(one["recording"], one["key"]) for one in alarms] == [(str(lost.id), gone)]
    streamed = officer.get(f"/api/v1/bulk/{ended['id']}/file?stream=1")
    with ZipFile(io.BytesIO(streamed.data)) as packed:
        assert set(packed.namelist()) == {f"{kept.id}.opus", f"{kept.id}.json", "index.csv"}
    objects.delete(build_export_key(UUID(ended["id"])))
    for query in ("", "?stream=1"):
        assert officer.get(f"/api/v1/bulk/{ended['id']}/file{query}").status_code == 410


def test_exports_are_kept_for_a_week(
    officer: ApiClient, keep: Keep, worker: Bulks, objects: S3ObjectStore
) -> None:
    """After a week the ZIP is deleted, and the bulk has no URL for it."""
    ended = done(officer, worker, action="export", ids=[str(keep(b"sound").id)])
    key = f"exports/{ended['id']}.zip"
    worker.drop_exports(datetime.now(UTC) - timedelta(days=7))
    assert objects.find(key) is not None
    worker.drop_exports(datetime.now(UTC) + timedelta(seconds=1))
    assert objects.find(key) is None
    again = officer.get(f"/api/v1/bulk/{ended['id']}").json
    assert (again["state"], again["file_url"]) == ("done", None)
    assert officer.get(f"/api/v1/bulk/{ended['id']}/file").json["error_id"] == "no-such-bulk"


def test_only_its_maker_gets_an_export(
    client: ApiClient, make_token: Callable[..., str], keep: Keep, worker: Bulks
) -> None:
    """Another person of the same name gets no ZIP; request and download are audited."""
    name = f"officer-{uuid4()}"
    maker, other = (client.as_holder_of(make_token(name=name, role="compliance")) for _ in range(2))
    ended = done(maker, worker, action="export", ids=[str(keep(b"sound").id)])
    path = f"/api/v1/bulk/{ended['id']}"
    assert (other.get(path).status_code, other.get(f"{path}/file").status_code) == (404, 404)
    assert other.get("/api/v1/bulk").json["items"] == []
    assert maker.request("HEAD", f"{path}/file").status_code == 302
    about = f"/api/v1/audit?subject={ended['id']}&outcome"
    trail = client.get(f"{about}=done").json["items"]
    assert [one["action"] for one in trail] == ["bulk.download", "bulk.create"]
    assert trail[1]["detail"] == {"what": "export", "recordings": 1}
    refused = client.get(f"{about}=refused").json["items"]
    assert [one["detail"]["error_id"] for one in refused] == ["no-such-bulk"] * 2


def test_an_ended_bulk_is_deleted_after_a_month(
    officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """A bulk is deleted after a month, unless a person can still retry it."""
    picked, now = [str(keep().id)], datetime.now(UTC)
    states = {"done": 31, "failed": 31, "running": 0, "young": 29}
    ids = {name: ask(officer, action="tag", ids=picked, tags=["x"]).json["id"] for name in states}
    with catalogue.begin() as tx:
        for name in ("done", "failed", "young"):
            ended_at = now - timedelta(days=states[name])
            bulks.set_bulk(tx, UUID(ids[name]), state="done", ended_at=ended_at)
        done = text("DELETE FROM procrastinate_jobs WHERE lock IN (:done, :young)")
        tx.execute(done, {name: ids[name] for name in ("done", "young")})
    tidy(catalogue)
    kept = [one["id"] for one in officer.get("/api/v1/bulk").json["items"]]
    assert kept == [ids["young"], ids["running"], ids["failed"]]


def tidy(catalogue: Catalogue) -> None:
    """Run the hourly job."""
    tasks.tidy.func(SimpleNamespace(additional_context={"catalogue": catalogue}), 0)


def test_no_space(officer: ApiClient, keep: Keep, worker: Bulks) -> None:
    """An export that would fill the disk does not start, and fails with the reason `spool-full`."""
    record = keep(b"sound", size_bytes=1 << 60)
    bulk = ask(officer, action="export", ids=[str(record.id)]).json
    attempts = iter(range(100))

    def attempt() -> None:
        job = SimpleNamespace(attempts=next(attempts), task_kwargs={})
        context = SimpleNamespace(additional_context={"bulks": worker}, job=job)
        tasks.bulk.func(context, bulk["id"])

    while officer.get(f"/api/v1/bulk/{bulk['id']}").json["state"] == "waiting":
        with pytest.raises(SpoolFull):
            attempt()
    read = officer.get(f"/api/v1/bulk/{bulk['id']}").json
    assert (read["state"], next(attempts)) == ("failed", 10)
    assert read["reason"] == "spool-full"


# A worker whose bulks never end. Each bulk and each finished recording leaves a file of its id.
STUCK = """
import sys, time
from pathlib import Path
from recorder.work import tasks
from recorder.work.bulk import Bulks
from recorder.work.finish import Finisher
from storage import jobs
url, place = sys.argv[1], Path(sys.argv[2])
class Marking(Finisher):
    def __init__(self): pass
    def finish(self, recording_id): (place / str(recording_id)).touch()
class Stuck(Bulks):
    def __init__(self): pass
    def work(self, bulk_id):
        (place / str(bulk_id)).touch()
        time.sleep(600)
jobs.run_worker(url, {"finisher": Marking(), "bulks": Stuck()}, tasks.QUEUES)
"""
# The jobs of a dead worker.
DIED = "UPDATE procrastinate_jobs SET status = 'doing' WHERE lock = :lock"
DIED_LOOKING = """
INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, status)
VALUES ('clock', 'retry_stalled', 'retry_stalled', '{"timestamp": 1}', 'doing') RETURNING id
"""


@pytest.fixture
def stuck(catalogue: Catalogue, database_url: str, tmp_path: Path) -> Iterator[list[BulkRecord]]:
    """Create more bulks than may run, and a worker that hangs in them."""
    arguments: dict[str, Any] = {"action": "tag", "arguments": {}, "recordings": [], "by": "boss"}
    arguments["owner_id"] = uuid4()
    with catalogue.begin() as tx:
        tx.execute(text("DELETE FROM procrastinate_jobs"))
        created = [bulks.create_bulk(tx, **arguments) for _ in range(tasks.QUEUES[jobs.SLOW] + 1)]
    worker = subprocess.Popen([sys.executable, "-c", STUCK, database_url, str(tmp_path)])
    try:
        yield created
    finally:
        worker.kill()
        worker.wait(5)


def test_bulks_delay_no_recording(
    catalogue: Catalogue, stuck: list[BulkRecord], keep: Keep, tmp_path: Path
) -> None:
    """While every bulk hangs, recordings are finished and jobs of dead workers are retried.

    A waiting manifest does not delay its own recording either.
    """
    most = tasks.QUEUES[jobs.SLOW]
    until(lambda: len(list(tmp_path.iterdir())) == most, 30)
    captured, stalled = (keep(state="captured") for _ in range(2))
    with catalogue.begin() as tx:
        renew_manifest(tx, captured)
        for id_ in (str(captured.id), str(stalled.id)):
            jobs.defer(tx, tasks.finish.name, lock=id_, recording_id=id_)
        tx.execute(text(DIED), {"lock": str(stalled.id)})
        died = tx.scalar(text(DIED_LOOKING))
    until(lambda: all((tmp_path / str(one.id)).exists() for one in (captured, stalled)), 30)
    assert sum((tmp_path / str(one.id)).exists() for one in stuck) == most
    with catalogue.begin() as tx:
        kept = text("SELECT count(*) FROM procrastinate_jobs WHERE id = :id")
        assert tx.scalar(kept, {"id": died}) == 0


def test_a_retried_job_keeps_its_queue(
    client: ApiClient, officer: ApiClient, catalogue: Catalogue, keep: Keep
) -> None:
    """A job stays in its queue when a person retries it."""
    bulk = ask(officer, action="tag", ids=[str(keep().id)], tags=["x"]).json
    values = {"lock": bulk["id"]}
    with catalogue.begin() as tx:
        failed = text("UPDATE procrastinate_jobs SET status = 'failed' WHERE lock = :lock")
        tx.execute(failed, values)
    jobs_given_up = client.get("/api/v1/jobs").json["items"]
    (id_,) = (one["id"] for one in jobs_given_up if one["subject"] == bulk["id"])
    assert client.post(f"/api/v1/jobs/{id_}/retry").status_code == 204
    with catalogue.begin() as tx:
        again = text("SELECT queue_name, status FROM procrastinate_jobs WHERE lock = :lock")
        assert tx.execute(again, values).all() == [(jobs.SLOW, "todo")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"action": "tag", "tags": ["x"]}, "give either ids or search"),
        ({"action": "tag", "search": {}}, "give tags or remove_tags"),
        ({"action": "hold", "search": {}}, "give a reason"),
        ({"action": "export", "search": {"agnet": "2001"}}, "unknown"),
        ({"action": "burn", "search": {}}, "Input should be 'tag', 'hold' or 'export'"),
    ],
)
def test_a_wrong_request_names_its_fault(
    officer: ApiClient, body: dict[str, Any], message: str
) -> None:
    """A wrong request names its fault, and does nothing."""
    refused = ask(officer, **body)
    assert (refused.status_code, refused.json["errors"][0]["msg"]) == (422, message)
    assert officer.get("/api/v1/bulk").json["items"] == []


def test_a_missing_right_is_refused(
    client: ApiClient, make_token: Callable[..., str], catalogue: Catalogue, keep: Keep
) -> None:
    """A missing right is refused, and a hidden recording is a 404."""
    record = keep(agent="2001")
    ids = [str(record.id)]
    boss = client.as_holder_of(make_token(name="boss-of-2001", role="supervisor"))
    assert ask(boss, action="tag", ids=ids, tags=["x"]).status_code == 202
    assert ask(boss, action="export", ids=ids).status_code == 403
    assert ask(boss, action="hold", ids=ids, reason="why").status_code == 403
    make_token(name="2900", role="agent", team="sales")
    other = client.as_holder_of(make_token(name="sales", role="supervisor", team="sales"))
    assert ask(other, action="tag", ids=ids, tags=["x"]).json["error_id"] == "no-such-recording"
    bulk_id = boss.get("/api/v1/bulk").json["items"][0]["id"]
    assert other.get(f"/api/v1/bulk/{bulk_id}").status_code == 404
    assert audited(catalogue, record) == ["recordings.annotate"]  # which was refused


def test_too_many(officer: ApiClient, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many recordings are refused, with the advice to narrow the search."""
    monkeypatch.setattr("api.routes.bulk.MOST", 1)
    keep(), keep()
    refused = ask(officer, action="tag", search={}, tags=["x"])
    assert (refused.status_code, refused.json["error_id"]) == (422, "too-many")


def test_saved_searches(officer: ApiClient, client: ApiClient) -> None:
    """Saved searches belong to their owner, are replaced by name, and can be deleted."""
    made = officer.post("/api/v1/searches", json={"name": "mine", "query": {"tag": "vip"}})
    assert made.status_code == 201
    again = officer.post("/api/v1/searches", json={"name": "mine", "query": {"agent": "2001"}})
    assert again.json["id"] == made.json["id"]
    (kept,) = officer.get("/api/v1/searches").json["items"]
    assert kept == {"id": made.json["id"], "name": "mine", "query": {"agent": "2001"}}
    assert client.get("/api/v1/searches").json["items"] == []
    path = f"/api/v1/searches/{made.json['id']}"
    assert client.delete(path).json["error_id"] == "no-such-search"
    assert officer.delete(path).status_code == 204
    assert officer.get("/api/v1/searches").json["items"] == []
