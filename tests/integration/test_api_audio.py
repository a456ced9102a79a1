"""Audio, waveform and manifest over HTTP, against a real PostgreSQL and a real SeaweedFS."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from api_client import NOW, ApiClient, CatalogueCapture, CatalogueSpies, build_recording
from structlog.testing import capture_logs

from api.app import ApiSettings, build_app
from recorder.audio.waveform import Waveform
from storage.catalogue import events, recordings
from storage.catalogue.engine import Catalogue
from storage.manifest import SigningKey, build_manifest, sign_manifest
from storage.objects.errors import StoreUnavailable
from storage.objects.keys import ObjectKey
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import OpenObject
from storage.records import RecordingRecord

AUDIO = os.urandom(700_000)
WAVEFORM = Waveform(
    seconds_per_peak=0.1,
    peaks=((1, 255), (0, 4)),
    talk=(((0.0, 0.2),), ()),
    silence=((), ((0.0, 0.2),)),
    level_dbfs=(-13.5, -120.0),
)


@pytest.fixture(scope="module")
def stored(catalogue: Catalogue, objects: S3ObjectStore) -> RecordingRecord:
    """Store the audio and the manifest of a recording."""
    recording = build_recording(state="stored", agent="2001")
    key = ObjectKey.of("main", NOW, recording.id, "opus")
    sha256 = hashlib.sha256(AUDIO).hexdigest()
    objects.put_bytes(str(key), AUDIO, content_type="audio/ogg", metadata={})
    body = build_manifest({"id": recording.id}, [], WAVEFORM.to_json())
    document = sign_manifest(body, SigningKey.generate())
    objects.put_bytes(str(key.manifest), document, content_type="application/json", metadata={})
    recording = replace(
        recording,
        object_key=str(key),
        content_type="audio/ogg",
        size_bytes=len(AUDIO),
        sha256=sha256,
    )
    with catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
    return recording


@pytest.fixture
def path(stored: RecordingRecord) -> str:
    """Return the path of the stored audio."""
    return f"/api/v1/recordings/{stored.id}/audio"


def test_audio_is_a_redirect_that_needs_no_token(client: ApiClient, path: str) -> None:
    """302 leads to the store, which sends the bytes without a token for five minutes."""
    response = client.get(path)
    assert (response.status_code, response.data) == (302, b"")
    assert "X-Amz-Expires=300" in response.headers["Location"]
    given = requests.get(response.headers["Location"], timeout=10)
    assert given.content == AUDIO
    assert given.headers["Content-Type"] == "audio/ogg"
    assert "Content-Disposition" not in given.headers


def test_download_names_the_file(client: ApiClient, path: str, stored: RecordingRecord) -> None:
    """With `download` the file is named after the recording, by redirect and by stream."""
    location = client.get(f"{path}?download=1").headers["Location"]
    redirected = requests.get(location, timeout=10).headers["Content-Disposition"]
    streamed = client.get(f"{path}?stream=1&download=1").headers["Content-Disposition"]
    for disposition in (redirected, streamed):
        assert disposition.startswith(f'attachment; filename="{stored.id}.opus"')


def test_the_stream_is_the_audio(client: ApiClient, path: str, stored: RecordingRecord) -> None:
    """`stream` sends exactly the stored bytes, with their hash as the ETag."""
    response = client.get(f"{path}?stream=1")
    assert (response.status_code, response.data) == (200, AUDIO)
    assert response.headers["ETag"] == f'"{stored.sha256}"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Length"] == str(len(AUDIO))
    assert response.headers["Cache-Control"] == "no-store"


def test_head_has_the_headers_of_the_whole(client: ApiClient, path: str) -> None:
    """HEAD has the headers of the whole audio, whatever the range."""
    response = client.request("HEAD", f"{path}?stream=1", headers={"Range": "bytes=0-1"})
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(AUDIO))


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-299999", 100, 299_999),
        ("bytes=699990-", 699_990, 699_999),
        ("bytes=-10", 699_990, 699_999),
        ("bytes=5-9999999", 5, 699_999),
    ],
)
def test_a_range_is_answered(
    client: ApiClient, path: str, wanted: str, first: int, last: int
) -> None:
    """206 has exactly the requested bytes."""
    response = client.get(f"{path}?stream=1", headers={"Range": wanted})
    assert (response.status_code, response.data) == (206, AUDIO[first : last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/700000"


def test_a_range_behind_the_end_is_416(client: ApiClient, path: str) -> None:
    """416 has the length of the audio."""
    response = client.get(f"{path}?stream=1", headers={"Range": "bytes=700000-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */700000"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-2", "nonsense"])
def test_other_ranges_get_the_whole(client: ApiClient, path: str, wanted: str) -> None:
    """Any other Range header gets the whole audio."""
    assert client.get(f"{path}?stream=1", headers={"Range": wanted}).data == AUDIO


def test_conditions(client: ApiClient, path: str, stored: RecordingRecord) -> None:
    """If-None-Match saves the bytes; If-Range gets a range only of the same audio."""
    etag, old = f'"{stored.sha256}"', '"old"'
    unchanged = client.get(f"{path}?stream=1", headers={"If-None-Match": f"{old}, {etag}"})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert client.get(f"{path}?stream=1", headers={"If-None-Match": old}).status_code == 200
    wanted = {"Range": "bytes=0-9"}
    same = client.get(f"{path}?stream=1", headers={**wanted, "If-Range": etag})
    other = client.get(f"{path}?stream=1", headers={**wanted, "If-Range": old})
    dated = client.get(
        f"{path}?stream=1", headers={**wanted, "If-Range": "Mon, 23 Nov 2026 18:00:00 GMT"}
    )
    assert [r.status_code for r in (same, other, dated)] == [206, 200, 200]


def test_the_waveform_is_the_manifests(client: ApiClient, stored: RecordingRecord) -> None:
    """/waveform is the waveform of the manifest."""
    waveform = client.get(f"/api/v1/recordings/{stored.id}/waveform").get_json()
    assert waveform == json.loads(json.dumps(WAVEFORM.to_json()))


def test_the_manifest_is_byte_for_byte(
    client: ApiClient, stored: RecordingRecord, objects: S3ObjectStore
) -> None:
    """/manifest is the stored object byte for byte, so its signature can be checked."""
    where = f"/api/v1/recordings/{stored.id}/manifest"
    response = client.get(where)
    key = str(stored.object_key).replace(".opus", ".json")
    assert response.data == objects.get_bytes(key)
    assert json.loads(response.data)["signature"]["algorithm"] == "Ed25519"
    again = client.get(where, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    ("state", "status", "error_id"),
    [
        ("requested", 409, "audio-not-stored-yet"),
        ("paused", 409, "audio-not-stored-yet"),
        ("captured", 409, "audio-not-stored-yet"),
        ("discarded", 404, "audio-not-stored"),
        ("aborted", 404, "audio-not-stored"),
        ("failed", 404, "audio-not-stored"),
        ("purged", 404, "audio-not-stored"),
    ],
)
def test_audio_that_is_not_stored(
    client: ApiClient, catalogue: Catalogue, state: str, status: int, error_id: str
) -> None:
    """409 before the audio is stored, 404 if it never will be."""
    recording = build_recording(state=state)
    with catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
    for part in ("audio", "audio?stream=1", "waveform", "manifest"):
        response = client.get(f"/api/v1/recordings/{recording.id}/{part}")
        assert (response.status_code, response.get_json()["error_id"]) == (status, error_id)


@pytest.fixture
def lost(catalogue: Catalogue) -> RecordingRecord:
    """A stored recording whose audio and manifest the store does not hold."""
    made = build_recording(state="stored", content_type="audio/ogg", size_bytes=5, sha256="0" * 64)
    recording = replace(made, object_key=f"main/2026/11/23/{made.id}.opus")
    with catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
    return recording


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("GET", "audio"),
        ("HEAD", "audio"),
        ("GET", "audio?download=1"),
        ("GET", "audio?stream=1"),
        ("HEAD", "audio?stream=1"),
        ("GET", "waveform"),
        ("GET", "manifest"),
    ],
)
def test_a_file_that_the_store_has_lost_is_410(
    client: ApiClient, catalogue: Catalogue, lost: RecordingRecord, method: str, part: str
) -> None:
    """Nobody is led to a file that is gone; the first request for it sounds the alarm."""
    with catalogue.begin() as tx:
        before, lost_before = events.newest_event_id(tx), recordings.count_lost(tx)
    with capture_logs() as lines:
        for _ in range(2):
            response = client.request(method, f"/api/v1/recordings/{lost.id}/{part}")
            assert response.status_code == 410
            assert "Location" not in response.headers
    if method == "GET":
        problem = response.get_json()
        assert problem["error_id"] == "no-such-object"
        assert "opus" not in response.text
    alarms = [line for line in lines if line["event"] == "recording.object-lost"]
    assert [(one["log_level"], one["recording"]) for one in alarms] == [("error", str(lost.id))]
    assert not [line for line in lines if line["event"] == "recording.heard"]
    with catalogue.begin() as tx:
        (event,) = events.list_events(tx, before, 100)
        assert recordings.count_lost(tx) == lost_before + 1
    assert (event.type, event.data["id"]) == ("recording.object-lost", str(lost.id))
    metrics = client.get("/metrics").text
    assert f"\nearwitness_objects_lost {lost_before + 1}.0\n" in metrics


def test_a_link_to_lost_audio_is_410(client: ApiClient, lost: RecordingRecord) -> None:
    """A link gives the same answer."""
    made = client.post(f"/api/v1/recordings/{lost.id}/links", json={"expires_in_s": 60})
    shared = urlsplit(made.get_json()["url"]).path
    for part in ("audio", "waveform"):
        answer = client.application.test_client().get(f"{shared}/{part}")
        assert answer.status_code == 410


def test_a_restored_file_ends_the_alarm(
    client: ApiClient, catalogue: Catalogue, stored: RecordingRecord, path: str
) -> None:
    """The next hearing of a file that was put back clears its alarm."""
    with catalogue.begin() as tx:
        before = recordings.count_lost(tx)
        assert recordings.note_lost(tx, stored.id, str(stored.object_key))
    assert client.get(path).status_code == 302
    with catalogue.begin() as tx:
        assert recordings.count_lost(tx) == before


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_redirect_is_audited_as_a_hearing(
    client: ApiClient, make_token: Callable[..., str], path: str, method: str
) -> None:
    """A redirect is audited as a hearing before it is sent, because the URL needs no token."""
    name = f"hears-{uuid4()}"
    holder = client.as_holder_of(make_token(name=name, role="compliance"))
    assert "X-Amz-Signature" in holder.request(method, path).headers["Location"]
    (entry,) = client.get(f"/api/v1/audit?actor={name}").json["items"]
    assert entry["action"] == "recording.heard"


def test_each_hearing_is_logged(client: ApiClient, path: str, stored: RecordingRecord) -> None:
    """Each hearing is logged with token, recording and range; HEAD of a stream is none."""
    with capture_logs() as lines:
        client.get(path)
        client.get(f"{path}?stream=1", headers={"Range": "bytes=0-9"})
        client.request("HEAD", f"{path}?stream=1")
    heard = [line for line in lines if line["event"] == "recording.heard"]
    assert [line["range"] for line in heard] == [None, "bytes 0-9/700000"]
    assert {(line["token"], line["recording"]) for line in heard} == {("root", str(stored.id))}


class WatchedStore:
    """The real store, which counts its open streams and can be unavailable."""

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store
        self.open_streams = 0
        self.is_away = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    @contextmanager
    def open(self, key: str, **span: int | None) -> Iterator[OpenObject]:
        """Open an object, and count the stream."""
        if self.is_away:
            raise StoreUnavailable("http://10.1.2.3:8333 does not answer")
        with self._store.open(key, **span) as found:
            self.open_streams += 1
            try:
                yield found
            finally:
                self.open_streams -= 1


@pytest.fixture
def watched(
    catalogue: Catalogue,
    objects: S3ObjectStore,
    recorder: CatalogueCapture,
    make_token: Callable[..., str],
) -> tuple[WatchedStore, ApiClient]:
    """Return a watched store, and a client of its API."""
    store = WatchedStore(objects)
    app = build_app(catalogue, store, recorder, CatalogueSpies(catalogue), ApiSettings())
    return store, ApiClient(app, make_token(name="observer", role="admin"))


def test_the_stores_stream_is_closed(watched: tuple[WatchedStore, ApiClient], path: str) -> None:
    """No stream stays open after the client has read to the end or disconnected."""
    store, client = watched
    client.get(f"{path}?stream=1")
    assert store.open_streams == 0
    unread = client.get(f"{path}?stream=1", buffered=False)
    assert store.open_streams == 1
    unread.close()
    assert store.open_streams == 0


def test_a_store_that_is_away_is_503(watched: tuple[WatchedStore, ApiClient], path: str) -> None:
    """503 has a time to retry, and does not name the store."""
    store, client = watched
    store.is_away = True
    response = client.get(f"{path}?stream=1")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "10.1.2.3" not in response.text
