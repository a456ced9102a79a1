"""`doctor --media` proves the modes of spies by ear on real Asterisks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness import doctor_media
from earwitness.doctor import examine_media
from lab.asterisk import Asterisk
from lab.root import ensure_root, root_directory
from lab.waiting import until
from tests.doctoring import doctor, failed, is_empty, settings
from tests.service import Service

pytestmark = pytest.mark.pbx

PROVEN = {
    "pbx lab listen": "is silent: the supervisor hears both, nobody hears the supervisor",
    "pbx lab whisper": "reaches the agent alone",
    "pbx lab barge": "reaches both",
}


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    """A healthy PBX."""
    with Asterisk(ensure_root(root_directory()), "doctor") as one:
        yield one


def test_all_is_well_while_the_service_does_not_run(asterisk: Asterisk, tmp_path: Path) -> None:
    """Every check passes and the status is 0; modes of spies are proved by ear."""
    status, lines = doctor(Service(tmp_path, asterisk, dials=False).config, "--media")
    assert status == 0, lines
    assert lines[10:13] == [f"ok   {name}: {text}" for name, text in PROVEN.items()]
    until(lambda: is_empty(asterisk))
    names = [re.sub(r"^(?:ok|warn) +([^:]+):.*", r"\1", line) for line in lines]
    of_pbx = ("reachable", "version", "modules", "spies", "device states", "timing", "rights")
    assert names == [
        *(f"pbx lab {check}" for check in (*of_pbx, "recording", "dialling", "conferences")),
        *PROVEN,
        "database",
        *(f"objects {check}" for check in ("bucket", "write", "read", "delete")),
        *(f"codec {format}" for format in ("opus", "mp3", "flac", "wav")),
        "front",
        "files",
        "disk",
    ]


def test_modes_are_proved_by_ear_on_the_oldest_asterisk() -> None:
    """Asterisk 16 passes the proof over RTP, and keeps no channel or bridge of it."""
    with Asterisk(ensure_root(root_directory("bullseye"), "bullseye"), "doctor") as oldest:
        found = {one.name: one.text for one in examine_media(settings(oldest))}
        until(lambda: is_empty(oldest))
    assert found == PROVEN


def test_a_wrong_hearing_is_a_finding(asterisk: Asterisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whisper that reaches the customer is a finding, for phones and for pages."""
    both = {**doctor_media.REACHES, "whisper": ("agent", "customer")}
    monkeypatch.setattr(doctor_media, "REACHES", both)
    found = {one.name: one for one in examine_media(settings(asterisk))}
    assert failed(found) == {
        "pbx lab whisper": "; ".join(
            f"with a supervisor's {way} the customer hears the supervisor (-12 dBFS)"
            for way in ("phone", "browser")
        )
    }
