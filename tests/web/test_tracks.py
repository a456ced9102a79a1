"""The player of a recording with a track for each person."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect
from uuid_utils.compat import uuid7

from earwitness.config import load_config
from earwitness.embedded import objects_of, postgres_of
from recorder.audio import Piece, render
from storage.catalogue import recordings, signing
from storage.catalogue.engine import Catalogue
from storage.manifest import build_manifest, sign_manifest
from storage.objects.keys import ObjectKey
from storage.records import RecordingParty, RecordingRecord
from tests.service import Service
from tests.web.browsing import Person, assert_accessible

pytestmark = pytest.mark.pbx

# Long enough for a slow machine to listen four times.
RATE, LENGTH_S = 8_000, 90.0
NAMES = ("Ann", "Joe", "Beth", "Mustafa Abdelrahman-Oyelaran", "Li")
STARTED_AT = datetime.now(UTC) - timedelta(hours=1)
NARROW = {"width": 360, "height": 800}

Keep = Callable[[int], tuple[UUID, list[float]]]


def _hz(track: int) -> float:
    return 310.0 + 170 * track


@pytest.fixture
def keep(service: Service, tmp_path: Path) -> Keep:
    """Return a function that stores a recording of so many people; it returns id and tones.

    Each person says something for a second, and all speak from second 8 on.
    """

    def make(count: int) -> tuple[UUID, list[float]]:
        pieces, parties = [], []
        for track in range(count):
            moments = np.arange(round(LENGTH_S * RATE)) / RATE
            speaks = (moments % count // 1 == track % 8) & (moments < 8) | (moments >= 8)
            path = tmp_path / f"{count}-{track}.wav"
            tone = 0.1 * speaks * np.sin(2 * np.pi * _hz(track) * moments)
            soundfile.write(path, tone, RATE, subtype="PCM_16")
            pieces.append(Piece(path, "right", 0.0, None, track=track))
            parties.append(_party(track))
        made = render(pieces, layout="tracks", format="opus", target=tmp_path / f"{count}.opus")
        recording_id = uuid7()
        key = ObjectKey.of("main", STARTED_AT, recording_id, made.extension)
        record = RecordingRecord(
            recording_id,
            f"main-{uuid4()}",
            "main",
            "captured",
            "manual",
            "tracks",
            "opus",
            "silence",
            "inbound",
            started_at=STARTED_AT,
            ended_at=STARTED_AT + timedelta(seconds=LENGTH_S),
        )
        media = {
            "duration_s": made.duration_s,
            "content_type": made.content_type,
            "channels": made.channels,
            "sample_rate": made.sample_rate,
            "size_bytes": made.size_bytes,
            "sha256": made.sha256,
            "object_key": str(key),
        }
        config = load_config(service.config)
        objects = objects_of(config).open_store()
        with closing(Catalogue(postgres_of(config).url)) as catalogue, catalogue.begin() as tx:
            signing_key = signing.get_signing_key(tx)
            recordings.create_recording(tx, record)
            objects.put_file(
                str(key), made.path, content_type=made.content_type, metadata={}, sha256=made.sha256
            )
            body = build_manifest(asdict(replace(record, **media)), [], made.waveform.to_json())
            document = sign_manifest(body, signing_key)
            objects.put_bytes(str(key.manifest), document, content_type="application/json")
            recordings.move(tx, recording_id, to="stored", **media)
            recordings.set_parties(tx, recording_id, parties)
        return recording_id, [_hz(track) for track in range(count)]

    return make


def _party(track: int) -> RecordingParty:
    name = NAMES[track] if track < len(NAMES) else None
    spans = ((0.0, LENGTH_S),)
    if track == 1:
        return RecordingParty("agent", "2001", name, "right", spans, "2001", track)
    if track == 4:
        return RecordingParty("supervisor", "9001", name, "both", spans, None, track)
    return RecordingParty("customer", f"1202555{track:04}", name, "left", spans, None, track)


@pytest.fixture
def officer(service: Service, page: Page) -> Person:
    """Return a signed-in compliance officer."""
    person = Person(service, page, "compliance")
    person.sign_in("/library")
    return person


def test_each_person_has_a_lane(officer: Person, service: Service, keep: Keep) -> None:
    """A lane for each of five people, named; one is heard alone, or everybody but one."""
    page = officer.page
    recording_id, tones = keep(5)
    page.goto(f"{service.url}/recordings/{recording_id}")
    player = page.get_by_role("region", name="Player")
    for name in NAMES:
        expect(player.get_by_role("checkbox", name=name)).to_be_checked()
    expect(player.locator("[data-talk]")).to_have_count(5)
    page.get_by_role("button", name="Play").click()
    page.get_by_label("Position").fill("9")
    officer.assert_sounds(tuple(tones))
    player.get_by_role("checkbox", name="Beth").uncheck()
    officer.assert_sounds((*tones[:2], *tones[3:]), (tones[2],))
    page.get_by_label("Position").fill("9")
    page.get_by_label("Hear", exact=True).select_option(label="Joe")
    officer.assert_sounds((tones[1],), (tones[0], *tones[2:]))
    expect(player.get_by_role("checkbox", name="Beth")).not_to_be_checked()
    page.get_by_label("Hear", exact=True).select_option(label="Everybody")
    officer.assert_sounds(tuple(tones))
    assert officer.faults == []
    assert_accessible(page)  # which adds styles of its own
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert_accessible(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]


def test_nine_people_are_played(officer: Person, service: Service, keep: Keep) -> None:
    """A browser plays no nine channels, so the file has ten; nobody has a lane for the tenth."""
    page = officer.page
    recording_id, tones = keep(9)
    page.goto(f"{service.url}/recordings/{recording_id}")
    expect(page.locator("[data-lane]")).to_have_count(9)
    page.get_by_role("button", name="Play").click()
    page.get_by_label("Position").fill("9")
    officer.assert_sounds(tuple(tones))
    page.get_by_label("Hear", exact=True).select_option(label="12025550008")
    officer.assert_sounds((tones[8],), tuple(tones[:8]))
    assert officer.faults == []


def test_a_link_shows_no_names(officer: Person, service: Service, keep: Keep) -> None:
    """The page of a link numbers the people, and shows no name and no number."""
    recording_id, _ = keep(2)
    link = service.post(f"/recordings/{recording_id}/links").json()["url"]
    officer.page.goto(link)
    expect(officer.page.get_by_role("checkbox", name="Person 2")).to_be_checked()
    text = officer.page.content()
    assert not [one for one in ("Ann", "Joe", "2001", "12025550000") if one in text]
    assert officer.faults == []
