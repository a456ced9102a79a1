"""Finish captured recordings on a real Asterisk, PostgreSQL and SeaweedFS.

The test puts the files on the PBX's disk, as Asterisk leaves them. A failing store or a dying
worker is an action that happens right after a method of the real store.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import numpy as np
import pytest
import soundfile
from api_client import ApiClient, build_call, build_recording
from ari_lab import client, running_asterisk
from procrastinate import PsycopgConnector
from sqlalchemy import text
from uuid_utils.compat import uuid7

from lab.asterisk import Asterisk
from lab.ears import Samples, level_dbfs, list_stray_voices, read_audio
from lab.waiting import until
from recorder import names
from recorder.ari import Ari, AriUnavailable
from recorder.ari.pbxs import Pbxs
from recorder.errors import AudioUnusable, PbxUnavailable
from recorder.recording.capture import Capture
from recorder.work import tasks
from recorder.work.finish import Finisher
from recorder.work.keeping import Keeper
from recorder.work.retry import next_wait_s, reason_for
from storage import jobs
from storage.catalogue import (
    calls,
    decisions,
    events,
    pauses,
    recordings,
    segments,
    signing,
    spies,
)
from storage.catalogue.engine import Catalogue
from storage.manifest import verify_manifest
from storage.objects.errors import ObjectMismatch, StoreUnavailable
from storage.objects.s3 import S3ObjectStore
from storage.records import (
    Assurance,
    DecisionRecord,
    Gap,
    Pause,
    PeoplePause,
    RecordingRecord,
    SegmentRecord,
    SpyRecord,
)
from tests.actors import OFFICER
from tests.contract.contract_rig import overwrite_in_s3
from tests.legs import leg

RATE = 8000
LEFT_HZ, RIGHT_HZ, SUPERVISOR_HZ = 440.0, 880.0, 1_320.0
ZERO = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def wav(seconds: float, hz: float = LEFT_HZ) -> bytes:
    """Return a WAV file with a tone, or with a header alone for 0 seconds."""
    tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    file = BytesIO()
    soundfile.write(file, tone.astype(np.float32), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    with running_asterisk() as asterisk:
        yield asterisk


@pytest.fixture(scope="module")
def ari(asterisk: Asterisk) -> Iterator[Ari]:
    with client(asterisk) as ari:
        yield ari


@dataclass(frozen=True)
class Scene:
    """A call with captured files on the PBX, and everything that finishes its recording."""

    catalogue: Catalogue
    objects: S3ObjectStore
    ari: Ari
    disk: Path  # the PBX's folder of recordings
    spool: Path
    recording: RecordingRecord

    def capture(
        self, side: str, file: bytes | None, *, from_s: float = 0, clock_s: float = 3, **more: Any
    ) -> SegmentRecord:
        """Add a segment that lasted `clock_s` by the PBX's clock, and its file on the PBX."""
        segment_id = uuid7()
        part = SegmentRecord(
            **{
                "id": segment_id,
                "recording_id": self.recording.id,
                "channel_id": f"{side}-1",
                "side": side,
                "state": "finished",
                "name": names.build_recording_name(self.recording.id, segment_id, ZERO),
                "started_at": at(from_s),
                "ended_at": at(from_s + clock_s),
                "end_cause": "finished",
                **more,
            }
        )
        with self.catalogue.begin() as tx:
            assert segments.claim_segment(tx, part)
        if file is not None:
            self.path(part).parent.mkdir(parents=True, exist_ok=True)
            self.path(part).write_bytes(file)
        return part

    def capture_both(self) -> None:
        """Capture both sides as a whole."""
        self.capture("left", wav(3, LEFT_HZ))
        self.capture("right", wav(3, RIGHT_HZ))

    def path(self, part: SegmentRecord) -> Path:
        """Return the path of a segment's file on the PBX."""
        return self.disk / f"{part.name}.wav"

    def files(self) -> list[Path]:
        """Return the recording's files on the PBX."""
        return sorted(self.disk.rglob(f"{self.recording.id}.*"))

    def finisher(self, objects: Any = None, ari: Any = None) -> Finisher:
        """Return a worker, perhaps with another store or PBX."""
        pbxs = Pbxs({"main": ari or self.ari})
        capture = Capture(self.catalogue, pbxs)
        return Finisher(self.catalogue, objects or self.objects, pbxs, capture, self.spool)

    def finish(self, objects: Any = None, ari: Any = None) -> None:
        """Let a worker make one attempt."""
        self.finisher(objects, ari).finish(self.recording.id)

    def now(self) -> RecordingRecord:
        """Return the recording from the catalogue."""
        with self.catalogue.begin() as tx:
            return recordings.get_recording(tx, self.recording.id)

    def parts(self) -> dict[UUID, SegmentRecord]:
        """Return the segments from the catalogue, by id."""
        with self.catalogue.begin() as tx:
            return {part.id: part for part in segments.list_segments(tx, self.recording.id)}

    def objects_kept(self) -> list[str]:
        """Return the keys of the recording's objects in the store."""
        return [key for key in self.objects.iter_keys("main/") if str(self.recording.id) in key]

    def audio(self) -> Samples:
        """Return the sides of the stored object."""
        path = self.spool / "heard.wav"
        path.write_bytes(self.objects.get_bytes(str(self.now().object_key)))
        rate, sides = read_audio(path)
        assert rate == RATE
        return sides

    def assert_stored(self) -> RecordingRecord:
        """Check that there is one object with a right manifest, and no file on the PBX."""
        stored = self.now()
        assert stored.state == "stored"
        assert self.objects_kept() == sorted([str(stored.object_key), manifest_key(stored)])
        self.objects.verify(
            str(stored.object_key), size_bytes=stored.size_bytes or 0, sha256=stored.sha256 or ""
        )
        with self.catalogue.begin() as tx:
            key = signing.get_signing_key(tx)
        document = self.objects.get_bytes(manifest_key(stored))
        body = verify_manifest(document, {key.key_id: key.public})
        assert body["recording"]["sha256"] == stored.sha256
        assert body["recording"]["gaps"] == [
            {"from_s": gap.from_s, "to_s": gap.to_s, "cause": gap.cause} for gap in stored.gaps
        ]
        assert self.files() == []
        assert {part.state for part in self.parts().values()} == {"deleted"}
        assert list(self.spool.glob("*-*")) == []
        return stored

    def assert_untouched(self, state: str, files: list[Path]) -> None:
        """Check that the PBX still has all files."""
        assert self.now().state == state
        assert self.files() == files != []


def manifest_key(stored: RecordingRecord) -> str:
    return f"{str(stored.object_key).rpartition('.')[0]}.json"


@pytest.fixture
def build(
    catalogue: Catalogue, objects: S3ObjectStore, ari: Ari, asterisk: Asterisk, tmp_path: Path
) -> Callable[..., Scene]:
    """Return a function that makes a scene without captures, with these fields of the recording."""

    def make(**fields: Any) -> Scene:
        legs = [
            leg(f"{side}-1", joined_at=at(0).isoformat(), left_at=at(3).isoformat())
            for side in ("left", "right")
        ]
        call = build_call(
            id=f"main-{uuid4()}",
            state="ended",
            started_at=ZERO,
            ended_at=at(3),
            channels=tuple(legs),
        )
        usual = {"call_id": call.id, "state": "captured", "format": "wav", "started_at": ZERO}
        record = build_recording(**{**usual, "ended_at": at(3), **fields})
        with catalogue.begin() as tx:
            calls.save_calls(tx, [call])
            recordings.create_recording(tx, record)
        return Scene(catalogue, objects, ari, asterisk.recordings, tmp_path, record)

    return make


@pytest.fixture
def scene(build: Callable[..., Scene]) -> Scene:
    return build()


def assert_tones(sides: Samples, *hz: float | None) -> None:
    """Check that each side has its tone, or is silent for None."""
    for side, tone in zip(sides, hz, strict=True):
        if tone is None:
            assert not side.any()
        else:
            assert level_dbfs(side, RATE, tone) > -15


def test_both_sides_are_stored(scene: Scene) -> None:
    """Without any failure there is one object with its manifest, and no other file anywhere."""
    scene.capture_both()
    scene.finish()
    stored = scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)
    assert (stored.duration_s, stored.gaps) == (3.0, ())


# Bad files


def test_without_files_the_recording_fails(scene: Scene) -> None:
    """A recording without any file fails at once, with the reason `no-audio-on-pbx`."""
    scene.capture("left", None)
    scene.capture("right", None)
    with pytest.raises(AudioUnusable) as caught:
        scene.finish()
    assert next_wait_s(caught.value, 0) is None
    scene.finisher().fail(scene.recording.id, reason_for(caught.value))
    failed = scene.now()
    assert (failed.state, failed.reason) == (
        "failed",
        "no-audio-on-pbx",
    )
    assert scene.objects_kept() == []


@pytest.mark.parametrize(
    ("file", "cause"),
    [
        (None, "file-missing"),
        (b"", "file-unreadable"),
        (wav(0), "file-empty"),
        (wav(1)[:20], "file-unreadable"),
        (b"this is no audio at all", "file-unreadable"),
    ],
    ids=["missing", "no-bytes", "header-only", "cut-header", "other"],
)
def test_a_useless_file_makes_its_side_silent(scene: Scene, file: bytes | None, cause: str) -> None:
    """The other side is stored, and the whole time of the useless one is a gap."""
    scene.capture("left", wav(3))
    lost = scene.capture("right", file)
    scene.finish()
    stored = scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, None)
    assert stored.gaps == (Gap(0.0, 3.0, "not-captured"),)
    assert scene.parts()[lost.id].end_cause == cause


def test_useless_files_stay_on_the_pbx(scene: Scene) -> None:
    """A person can look for the reason in the files of a failed recording."""
    scene.capture("left", wav(0))
    scene.capture("right", b"")
    files = scene.files()
    with pytest.raises(AudioUnusable) as caught:
        scene.finish()
    scene.finisher().fail(scene.recording.id, reason_for(caught.value))
    scene.assert_untouched("failed", files)


def test_the_files_of_a_killed_pbx_are_used(scene: Scene) -> None:
    """A file with the length 0 in its header is kept up to its last byte; the rest is a gap."""
    whole = bytearray(wav(2.048))
    whole[4:8] = whole[40:44] = bytes(4)
    scene.capture("left", bytes(whole), end_cause="pbx-lost")
    scene.capture("right", wav(3, RIGHT_HZ))
    scene.finish()
    assert scene.assert_stored().gaps == (Gap(2.048, 3.0, "pbx-lost"),)
    assert_tones(scene.audio()[:, : 2 * RATE], LEFT_HZ, RIGHT_HZ)


def test_a_segment_that_never_began_is_ignored(scene: Scene) -> None:
    """A leg that hung up at once leaves no file, and the next segment makes up for it."""
    scene.capture("left", None, state="lost", end_cause="never-began")
    scene.capture_both()
    scene.finish()
    assert scene.assert_stored().gaps == ()


# Pauses

SPAN = (1.0, 2.0)


def paused(build: Callable[..., Scene], **fields: Any) -> Scene:
    """Return a recording with a pause from second 1 to second 2."""
    return build(pauses=(Pause(at(SPAN[0]), at(SPAN[1]), "ann"),), **fields)


def test_a_capture_that_went_on_into_a_pause_is_silent_there(build: Callable[..., Scene]) -> None:
    """A pause that never reached the PBX leaves no sample in the object, nor on the PBX."""
    scene = paused(build)
    scene.capture_both()
    scene.finish()
    stored = scene.assert_stored()
    sides = scene.audio()
    assert not sides[:, RATE : 2 * RATE].any()
    assert_tones(sides[:, : RATE - 100], LEFT_HZ, RIGHT_HZ)
    assert_tones(sides[:, 2 * RATE + 100 :], LEFT_HZ, RIGHT_HZ)
    assert (stored.duration_s, stored.gaps) == (3.0, ())


def test_a_capture_that_went_on_into_a_pause_is_cut_there(build: Callable[..., Scene]) -> None:
    """If pauses are skipped, the object is shorter by the pause and has no sample of it."""
    scene = paused(build, pause_leaves="skip")
    marked = np.concatenate([tone(1, LEFT_HZ), tone(1, RIGHT_HZ), tone(1, LEFT_HZ)])
    scene.capture("left", as_wav(marked))
    scene.capture("right", wav(3, LEFT_HZ))
    scene.finish()
    scene.assert_stored()
    sides = scene.audio()
    assert sides.shape[1] == 2 * RATE
    assert_tones(sides, LEFT_HZ, LEFT_HZ)
    assert level_dbfs(sides[0], RATE, RIGHT_HZ) < -60


def test_a_stalled_pbx_reveals_no_pause(build: Callable[..., Scene]) -> None:
    """If the PBX stalled before the pause, its file has words of the pause too early."""
    scene = paused(build)
    frozen_s, secret_s = 0.6, 0.2
    file = as_wav(np.concatenate([tone(frozen_s, LEFT_HZ), tone(secret_s, RIGHT_HZ)]))
    scene.capture("left", file, clock_s=1.9, end_cause="stopped")
    scene.capture("right", file, clock_s=1.9, end_cause="stopped")
    scene.capture("left", wav(1, LEFT_HZ), from_s=2, clock_s=1)
    scene.capture("right", wav(1, LEFT_HZ), from_s=2, clock_s=1)
    scene.finish()
    assert scene.assert_stored().gaps == (Gap(0.0, 1.0, "pbx-stalled"),)
    sides = scene.audio()
    assert not sides[:, : 2 * RATE].any()
    assert_tones(sides[:, 2 * RATE :], LEFT_HZ, LEFT_HZ)


def test_a_pause_that_was_never_ended_protects_the_rest(build: Callable[..., Scene]) -> None:
    """The object is silent after the beginning of an endless pause."""
    scene = build(pauses=(Pause(at(1), None, "ann"),))
    scene.capture_both()
    scene.finish()
    scene.assert_stored()
    assert not scene.audio()[:, RATE:].any()


def tone(seconds: float, hz: float) -> Samples:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def as_wav(samples: Samples) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


# Conversations, clocks and rules


def test_a_side_that_is_too_slow_ends_with_the_other(scene: Scene) -> None:
    """A file that Asterisk wrote three times too slowly is played in its time, and marked."""
    scene.capture("left", as_wav(tone(9, LEFT_HZ / 3)))
    scene.capture("right", wav(3, RIGHT_HZ))
    scene.finish()
    stored = scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)
    assert (stored.duration_s, stored.gaps) == (3.0, (Gap(0.0, 3.0, "wrong-speed"),))


def test_the_manifest_says_how_sure_the_alignment_is(scene: Scene) -> None:
    """A whole file is sure to 20 ms; the error of the clock and late packets add to it."""
    late = np.concatenate([tone(1, RIGHT_HZ) + 0.01, np.zeros(320), tone(1.9, RIGHT_HZ) + 0.01])
    scene.capture("left", wav(3, LEFT_HZ))
    scene.capture("right", as_wav(late))
    scene.finish()
    document = json.loads(scene.objects.get_bytes(manifest_key(scene.assert_stored())))
    parts = {one["side"]: one["alignment_ms"] for one in document["manifest"]["segments"]}
    assert parts == {"left": 20, "right": 100}


def test_a_recording_that_begins_late_begins_with_silence(build: Callable[..., Scene]) -> None:
    """Its second 0 is the moment that was promised, and the lost start is a gap."""
    scene = build(promised_at=at(0))
    scene.capture("left", wav(2, LEFT_HZ), from_s=1, clock_s=2)
    scene.capture("right", wav(2, RIGHT_HZ), from_s=1, clock_s=2)
    scene.finish()
    stored = scene.assert_stored()
    assert (stored.started_at, stored.duration_s) == (ZERO, 3.0)
    assert stored.gaps == (Gap(0.0, 1.0, "not-captured"),)
    sides = scene.audio()
    assert not sides[:, :RATE].any()
    assert_tones(sides[:, RATE:], LEFT_HZ, RIGHT_HZ)


def test_words_under_a_never_are_cut(scene: Scene) -> None:
    """A capture that ended 0.5 s after the rule forbade it keeps nothing of these 0.5 s."""
    rule = {"id": "r", "version": 1, "name": "r", "priority": 100}
    moment = {
        "at": at(9).isoformat(),
        "since": at(2.5).isoformat(),
        "action": "never",
        "rule": rule,
    }
    with scene.catalogue.begin() as tx:
        decisions.save_decisions(
            tx, [DecisionRecord(scene.recording.call_id, "never", rule, "", (moment,))]
        )
    scene.capture_both()
    scene.finish()
    sides = scene.audio()
    assert scene.assert_stored().gaps == (Gap(2.5, 3.0, "forbidden"),)
    assert not sides[:, int(2.5 * RATE) :].any()
    assert_tones(sides[:, : 2 * RATE], LEFT_HZ, RIGHT_HZ)


def test_words_under_the_pause_of_a_person_are_cut(scene: Scene) -> None:
    """A pause of a person holds although the recording was never marked as paused."""
    pause = PeoplePause(uuid7(), "main", ("left-1",), at(1), "2001", at(2))
    with scene.catalogue.begin() as tx:
        pauses.open_pause(tx, pause)
    scene.capture_both()
    scene.finish()
    assert scene.assert_stored().gaps == (Gap(1.0, 2.0, "pause"),)
    assert not scene.audio()[:, RATE : 2 * RATE].any()


def test_everybody_is_a_party(scene: Scene) -> None:
    """A recording is found by each of its people, a barging supervisor too."""
    spy = SpyRecord(
        uuid7(),
        scene.recording.call_id,
        "main",
        "barge",
        f"PJSIP/{scene.recording.id.int % 10**12}",
        "live",
        "sue",
        "call",
        ZERO,
        ("barge",),
    )
    with scene.catalogue.begin() as tx:
        spies.create_spy(tx, spy)
    scene.capture_both()
    scene.capture("both", wav(1), from_s=1, clock_s=1, channel_id=names.build_phone_id(spy.id))
    scene.finish()
    stored = scene.assert_stored()
    assert [(one.party, one.agent, one.side, one.spans) for one in stored.parties] == [
        ("agent", "left-1", "left", ((0, 3),)),
        ("agent", "right-1", "right", ((0, 3),)),
        ("supervisor", None, "both", ((1, 2),)),
    ]
    document = json.loads(scene.objects.get_bytes(manifest_key(stored)))
    assert document["manifest"]["recording"]["parties"][2]["name"] == "sue"
    wanted = recordings.RecordingFilter(number=spy.destination.rpartition("/")[2])
    with scene.catalogue.begin() as tx:
        assert recordings.list_ids(tx, wanted, limit=9) == (stored.id,)


def test_each_person_has_a_track(build: Callable[..., Scene]) -> None:
    """In the layout `tracks` a channel holds one person, and the manifest names him."""
    scene = build(layout="tracks")
    spy = SpyRecord(
        uuid7(),
        scene.recording.call_id,
        "main",
        "barge",
        "PJSIP/9001",
        "live",
        "sue",
        "call",
        ZERO,
        ("barge",),
    )
    with scene.catalogue.begin() as tx:
        spies.create_spy(tx, spy)
    scene.capture("left", wav(1, LEFT_HZ), clock_s=1)
    scene.capture("left", wav(1, LEFT_HZ), from_s=2, clock_s=1)
    scene.capture("right", wav(3, RIGHT_HZ))
    phone = names.build_phone_id(spy.id)
    scene.capture("both", wav(1, SUPERVISOR_HZ), from_s=2, clock_s=1, channel_id=phone)
    scene.finish()
    stored = scene.assert_stored()
    assert stored.channels == 3
    voices = [LEFT_HZ, RIGHT_HZ, SUPERVISOR_HZ]
    assert list_stray_voices(scene.audio(), RATE, voices) == []
    document = json.loads(scene.objects.get_bytes(manifest_key(stored)))["manifest"]
    named = [
        (one["agent"] or one["name"], one["track"]) for one in document["recording"]["parties"]
    ]
    assert named == [("left-1", 0), ("right-1", 1), ("sue", 2)]
    assert [one.track for one in stored.parties] == [0, 1, 2]
    assert len(document["waveform"]["peaks"]) == 3


def test_one_person_heard_is_one_track(build: Callable[..., Scene]) -> None:
    """A file of one person has one channel; the other party has no track."""
    scene = build(layout="tracks")
    scene.capture("right", wav(3, RIGHT_HZ))
    scene.finish()
    stored = scene.assert_stored()
    assert_tones(scene.audio(), RIGHT_HZ)
    assert [(one.agent, one.track) for one in stored.parties] == [("left-1", None), ("right-1", 0)]


def test_nine_people_in_flac_become_opus(build: Callable[..., Scene]) -> None:
    """Where the format has no room for all tracks, the row and the manifest name the true one."""
    scene = build(layout="tracks", format="flac")
    for number in range(9):
        scene.capture("right", wav(3, 300 + 170 * number), channel_id=f"guest-{number}")
    scene.finish()
    stored = scene.assert_stored()
    assert (stored.format, stored.content_type, stored.channels) == ("opus", "audio/ogg", 10)
    assert str(stored.object_key).endswith(".opus")
    document = json.loads(scene.objects.get_bytes(manifest_key(stored)))["manifest"]["recording"]
    assert (document["format"], document["channels"]) == ("opus", 10)
    path = scene.spool / "heard.opus"
    path.write_bytes(scene.objects.get_bytes(str(stored.object_key)))
    rate, sound = read_audio(path)
    assert list_stray_voices(sound, rate, [300 + 170 * number for number in range(9)]) == []


# Failing stores and dying workers


class Killed(BaseException):
    """The worker was killed."""


class Store:
    """The real store, with an action right after one of its methods."""

    def __init__(self, objects: S3ObjectStore, after: str, happens: Callable[[str], None]) -> None:
        self._objects = objects
        self._after = after
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._objects, name)
        if name != self._after:
            return method

        def call(key: str, *arguments: Any, **options: Any) -> Any:
            answer = method(key, *arguments, **options)
            self._happens(key)
            return answer

        return call


def die(_: str) -> None:
    raise Killed


@pytest.mark.parametrize("step", ["put_file", "verify", "put_bytes"])
def test_a_worker_dies_before_it_marks_the_recording(scene: Scene, step: str) -> None:
    """The next worker uses the object and manifest of the dead one, without another put."""
    scene.capture_both()
    files = scene.files()
    with pytest.raises(Killed):
        scene.finish(Store(scene.objects, step, die))
    scene.assert_untouched("captured", files)
    before = {key: scene.objects.head(key).modified_at for key in scene.objects_kept()}
    scene.finish()
    scene.assert_stored()
    after = {key: scene.objects.head(key).modified_at for key in before}
    assert after == before != {}
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)


def test_a_spoiled_object_is_put_again(scene: Scene) -> None:
    """If the store holds other bytes, the files stay on the PBX and the next attempt puts again."""
    scene.capture_both()
    files = scene.files()

    def spoil(key: str) -> None:
        scene.objects.put_bytes(key, b"something else", content_type="audio/wav")

    with pytest.raises(ObjectMismatch) as caught:
        scene.finish(Store(scene.objects, "put_file", spoil))
    scene.assert_untouched("captured", files)
    assert next_wait_s(caught.value, 0) is not None
    scene.finish()
    scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)


def test_a_rotten_object_is_put_again(scene: Scene) -> None:
    """An object with the right metadata but other bytes is replaced by the next attempt."""
    scene.capture_both()
    files = scene.files()

    def rot(key: str) -> None:
        known = scene.objects.head(key)
        overwrite_in_s3(
            scene.objects.settings, key, bytes(known.size_bytes), known.metadata["sha256"]
        )

    with pytest.raises(ObjectMismatch):
        scene.finish(Store(scene.objects, "put_file", rot))
    scene.assert_untouched("captured", files)
    scene.finish()
    scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)


def test_a_store_that_always_corrupts_fails_the_recording(scene: Scene) -> None:
    """In the end the recording fails with a reason, and all its files stay on the PBX."""
    scene.capture_both()
    files = scene.files()

    def spoil(key: str) -> None:
        scene.objects.put_bytes(key, b"something else", content_type="audio/wav")

    with pytest.raises(ObjectMismatch) as caught:
        scene.finish(Store(scene.objects, "put_file", spoil))
    assert next_wait_s(caught.value, 9) is None
    scene.finisher().fail(scene.recording.id, reason_for(caught.value))
    scene.assert_untouched("failed", files)
    scene.finish()
    scene.assert_untouched("failed", files)


def test_a_slow_worker_finds_the_recording_failed(scene: Scene) -> None:
    """If another worker gave up meanwhile, the files stay on the PBX."""
    scene.capture_both()
    files = scene.files()
    scene.finish(
        Store(scene.objects, "put_bytes", lambda _: scene.finisher().fail(scene.recording.id, "x"))
    )
    scene.assert_untouched("failed", files)


class Away(Ari):
    """An Asterisk that does not answer requests to delete."""

    def delete_stored_recording(self, name: str) -> bool:
        """Raise AriUnavailable."""
        raise AriUnavailable("no answer within 5 s")


def test_files_are_deleted_later_if_the_pbx_is_away(scene: Scene, asterisk: Asterisk) -> None:
    """The recording is stored without the PBX, and a later attempt deletes the files."""
    scene.capture_both()
    files = scene.files()
    away = Away(asterisk.ari_url, asterisk.username, asterisk.password, "test")
    with away, pytest.raises(PbxUnavailable):
        scene.finish(ari=away)
    scene.assert_untouched("stored", files)
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)
    scene.finish()
    scene.assert_stored()


def test_a_second_finish_changes_nothing(scene: Scene) -> None:
    """A job that runs twice finds its work done and changes nothing."""
    scene.capture_both()
    scene.finish()
    stored = scene.assert_stored()
    scene.finish()
    assert scene.assert_stored() == stored


def test_an_attempt_that_stalled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another attempt finished meanwhile and deleted the files, its object stays."""
    scene.capture_both()
    fetch, fetched = Ari.fetch_stored_recording, []

    def fetch_late(ari: Ari, name: str, target: BinaryIO) -> None:
        fetched.append(name)
        if len(fetched) == 2:
            scene.finisher().finish(scene.recording.id)
        fetch(ari, name, target)

    monkeypatch.setattr(Ari, "fetch_stored_recording", fetch_late)
    scene.finish()
    assert len(fetched) == 4
    scene.assert_stored()
    assert_tones(scene.audio(), LEFT_HZ, RIGHT_HZ)


def test_a_discarded_recording_leaves_nothing(build: Callable[..., Scene]) -> None:
    """The files of all segments are deleted, whether they ended long ago or never began."""
    scene = build(state="discarded")
    scene.capture_both()
    scene.capture("left", wav(1), from_s=4, state="lost", end_cause="never-began")
    scene.capture("right", None, from_s=4, state="lost", end_cause="never-began")
    assert len(scene.files()) == 3
    scene.finisher().clear(scene.recording.id)
    assert scene.files() == scene.objects_kept() == []
    assert {part.state for part in scene.parts().values()} == {"deleted"}
    assert scene.now().state == "discarded"


# The job


def run_jobs(scene: Scene, url: str, finisher: Finisher) -> None:
    """Let a worker run every job that is due."""
    with scene.catalogue.begin() as tx:
        tx.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))

    async def run() -> None:
        with jobs.app.replace_connector(PsycopgConnector(conninfo=url)) as app:
            async with app.open_async():
                await app.run_worker_async(
                    wait=False,
                    listen_notify=False,
                    install_signal_handlers=False,
                    delete_jobs="successful",
                    additional_context={
                        "finisher": finisher,
                        "catalogue": scene.catalogue,
                        "job_manager": app.job_manager,
                    },
                )

    asyncio.run(run())


def jobs_of(scene: Scene) -> list[Mapping[str, Any]]:
    query = text(
        "SELECT task_name, status, attempts, scheduled_at > now() AS later"
        " FROM procrastinate_jobs WHERE args->>'recording_id' = :id"
    )
    with scene.catalogue.begin() as tx:
        return [dict(row) for row in tx.execute(query, {"id": str(scene.recording.id)}).mappings()]


def defer(scene: Scene, task: Any) -> None:
    id_ = str(scene.recording.id)
    with scene.catalogue.begin() as tx:
        jobs.defer(tx, task.name, lock=id_, recording_id=id_)


def test_a_store_that_is_away_only_costs_time(
    scene: Scene, objects: S3ObjectStore, database_url: str
) -> None:
    """The job is retried until the store is back; then the recording is stored."""
    scene.capture_both()
    defer(scene, tasks.finish)
    nowhere = S3ObjectStore(replace(objects.settings, endpoint_url="http://127.0.0.1:9"))
    for attempt in (1, 2):
        run_jobs(scene, database_url, scene.finisher(nowhere))
        assert jobs_of(scene) == [
            {"task_name": "finish", "status": "todo", "attempts": attempt, "later": True}
        ]
        assert scene.now().state == "captured"
        assert list(scene.spool.iterdir()) == []  # otherwise many waiting recordings fill the disk
    assert next_wait_s(StoreUnavailable(), 10_000) is not None
    run_jobs(scene, database_url, scene.finisher())
    assert jobs_of(scene) == []
    scene.assert_stored()


def test_a_failed_job_yields_to_newer_jobs(
    scene: Scene, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The due job with the fewest attempts runs first."""
    tried: list[UUID] = []

    def fail(_: Finisher, recording_id: UUID) -> None:
        tried.append(recording_id)
        raise PbxUnavailable

    monkeypatch.setattr(Finisher, "finish", fail)
    newest_first: list[UUID] = []
    for id_ in (uuid4() for _ in range(3)):
        newest_first.insert(0, id_)
        tried.clear()
        with scene.catalogue.begin() as tx:
            jobs.defer(tx, "finish", lock=str(id_), recording_id=str(id_))
        run_jobs(scene, database_url, scene.finisher())
        assert list(dict.fromkeys(tried)) == newest_first
    with scene.catalogue.begin() as tx:
        tx.execute(text("DELETE FROM procrastinate_jobs"))


def test_a_job_that_cannot_succeed_ends(scene: Scene, database_url: str) -> None:
    """If the PBX has no audio, the recording fails at the first attempt and the job ends."""
    scene.capture("left", None)
    defer(scene, tasks.finish)
    run_jobs(scene, database_url, scene.finisher())
    assert scene.now().state == "failed"
    assert [job["status"] for job in jobs_of(scene)] == ["failed"]


def given_up(client: ApiClient, scene: Scene) -> list[Any]:
    """Return the recording's abandoned jobs from the API."""
    items = client.get("/api/v1/jobs").json["items"]
    return [one for one in items if one["subject"] == str(scene.recording.id)]


def test_an_abandoned_job_can_be_retried(
    scene: Scene, client: ApiClient, database_url: str
) -> None:
    """After a person has repaired the spool and retried the job, the recording is stored."""
    scene.capture_both()
    defer(scene, tasks.finish)
    call_id, in_the_way = scene.recording.call_id, scene.spool
    in_the_way.rmdir()
    in_the_way.touch()
    with scene.catalogue.begin() as tx:
        decisions.save_decisions(tx, [DecisionRecord(call_id, "record", None, "default", ())])
        decisions.save_assurances(tx, {call_id: Assurance(3.0, 0.0, "recording-failed")})
        tx.execute(text("UPDATE procrastinate_jobs SET attempts = 9"))
    run_jobs(scene, database_url, scene.finisher())
    assert (scene.now().state, len(scene.files())) == ("failed", 2)
    (job,) = given_up(client, scene)
    assert (job["task"], job["subject"]) == ("finish", str(scene.recording.id))
    assert job["reason"] == "internal-error"
    assert client.post(f"/api/v1/jobs/{job['id']}/retry").status_code == 204
    assert (scene.now().state, scene.now().reason) == ("captured", None)
    with scene.catalogue.begin() as tx:
        assert call_id in decisions.list_unassured(tx, "main", ended_before=at(60), limit=100)
    again = client.post(f"/api/v1/jobs/{job['id']}/retry")
    assert (again.status_code, again.json["error_id"]) == (404, "no-such-job")
    in_the_way.unlink()
    run_jobs(scene, database_url, scene.finisher())
    scene.assert_stored()
    assert given_up(client, scene) == jobs_of(scene) == []
    (entry,) = client.get(f"/api/v1/audit?subject={scene.recording.id}").json["items"]
    assert (entry["action"], entry["detail"]) == ("job.retry", {"task": "finish"})


def test_an_abandoned_job_can_be_removed(
    scene: Scene, client: ApiClient, database_url: str
) -> None:
    """A person removes a job that no retry helps; the recording stays failed."""
    scene.capture("left", None)
    defer(scene, tasks.finish)
    run_jobs(scene, database_url, scene.finisher())
    (job,) = given_up(client, scene)
    assert client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert given_up(client, scene) == jobs_of(scene) == []
    assert scene.now().state == "failed"


def test_annotations_come_into_the_manifest(scene: Scene, database_url: str) -> None:
    """Note, bookmark and hold of a stored recording are signed; the audio does not change."""
    scene.capture_both()
    scene.finish()
    audio = scene.objects.get_bytes(str(scene.now().object_key))
    keeper = Keeper(scene.catalogue, OFFICER, None)
    keeper.change(scene.recording.id, {"note": "rück ruf", "tags": ("vip",)})
    keeper.add_bookmark(scene.recording.id, 1.5, "here")
    keeper.hold(scene.recording.id, "case 4711")
    run_jobs(scene, database_url, scene.finisher())
    stored = scene.assert_stored()
    signed = json.loads(scene.objects.get_bytes(manifest_key(stored)))["manifest"]
    assert signed["recording"]["note"] == "rück ruf"
    assert signed["recording"]["bookmarks"][0]["text"] == "here"
    assert signed["recording"]["hold"]["reason"] == "case 4711"
    assert len(signed["waveform"]["peaks"]) == 2
    assert scene.objects.get_bytes(str(stored.object_key)) == audio


def test_a_note_before_storing_comes_into_the_manifest(scene: Scene, database_url: str) -> None:
    """A note on a captured recording is in its manifest, even if the worker had read it before."""
    scene.capture_both()
    defer(scene, tasks.finish)
    Keeper(scene.catalogue, OFFICER, None).change(scene.recording.id, {"note": "early"})
    run_jobs(scene, database_url, scene.finisher())
    stored = scene.assert_stored()
    signed = json.loads(scene.objects.get_bytes(manifest_key(stored)))["manifest"]
    assert signed["recording"]["note"] == "early"


def test_a_job_deletes_the_files_of_a_discarded_recording(
    build: Callable[..., Scene], database_url: str
) -> None:
    """The job waits while the PBX is away, and deletes the files when it is back."""
    scene = build(state="discarded")
    scene.capture_both()
    defer(scene, tasks.clear)
    with Ari("http://127.0.0.1:9", "nobody", "nothing") as nobody:
        run_jobs(scene, database_url, scene.finisher(ari=nobody))
    assert [job["status"] for job in jobs_of(scene)] == ["todo"]
    assert len(scene.files()) == 2
    run_jobs(scene, database_url, scene.finisher())
    until(lambda: jobs_of(scene) == [])
    assert scene.files() == []


def test_events_are_kept_for_three_days(scene: Scene, database_url: str) -> None:
    """The hourly job deletes only events that are older than three days."""
    with scene.catalogue.begin() as tx:
        before = events.newest_event_id(tx)
    with scene.catalogue.begin() as tx:
        events.add_event(tx, "call.up", {"id": "old"})
        tx.execute(text("UPDATE event SET at = now() - interval '73 h' WHERE data->>'id' = 'old'"))
        events.add_event(tx, "call.up", {"id": "new"})
        jobs.defer(tx, tasks.drop_events.name, lock="drop_events", timestamp=0)
    run_jobs(scene, database_url, scene.finisher())
    with scene.catalogue.begin() as tx:
        kept = [event.data["id"] for event in events.list_events(tx, before, 100)]
    assert "new" in kept
    assert "old" not in kept
