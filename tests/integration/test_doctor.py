"""`doctor` with a real Asterisk, healthy and not: it finds what is wrong, and says what to mend."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness import doctor_media
from earwitness.config import Config, Pbx
from earwitness.doctor import Finding, examine_media, examine_pbx
from earwitness.wiring import Parts
from lab.asterisk import Asterisk
from lab.root import ensure_root, root_directory
from recorder.ari import Ari
from tests.service import REPOSITORY, Service

PROVEN = {
    "pbx lab listen": "is silent: the supervisor hears both, nobody hears the supervisor",
    "pbx lab whisper": "reaches the agent alone",
    "pbx lab barge": "reaches both",
}
BOTH = (doctor_media.AGENT, doctor_media.CUSTOMER)
READ_ONLY_USER = """
[reader]
type=user
read_only=yes
password=reader
"""


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    """A healthy PBX, with a second user that may only read."""
    one = Asterisk(ensure_root(root_directory()), "doctor")
    users = (one.directory / "etc/ari.conf").read_text()
    one.configure({"ari.conf": users + READ_ONLY_USER})
    with one:
        yield one


def settings(asterisk: Asterisk, username: str = "", password: str = "") -> Pbx:
    """The PBX as the configuration names it."""
    return Pbx.model_validate(
        {
            "name": "lab",
            "url": asterisk.ari_url,
            "username": username or asterisk.username,
            "password": password or asterisk.password,
        }
    )


def examine(asterisk: Asterisk, username: str = "", password: str = "") -> dict[str, Finding]:
    """What `doctor` finds at this PBX, by the name of the check."""
    pbx = settings(asterisk, username, password)
    findings = examine_pbx(Parts(Config(pbx=(pbx,))), pbx)
    return {finding.name.removeprefix("pbx lab "): finding for finding in findings}


def failed(findings: dict[str, Finding]) -> dict[str, str]:
    """What failed, and what it says."""
    return {name: finding.text for name, finding in findings.items() if not finding.ok}


def doctor(config: Path, *options: str) -> tuple[int, list[str]]:
    """Run `doctor`: its exit status and the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "earwitness", "--config", str(config), "doctor", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


# The whole


def test_all_is_well_while_the_service_does_not_run(asterisk: Asterisk, tmp_path: Path) -> None:
    """One line per check, each `ok`, and status 0; modes of spies are proved by ear."""
    status, lines = doctor(Service(tmp_path, asterisk).config, "--media")
    assert status == 0, lines
    assert lines[7:10] == [f"ok   {name}: {text}" for name, text in PROVEN.items()]
    assert (asterisk.ari("GET", "/channels"), asterisk.ari("GET", "/bridges")) == ([], [])
    names = [re.sub(r"^ok +([^:]+):.*", r"\1", line) for line in lines]
    of_pbx = ("reachable", "version", "modules", "spies", "device states", "rights", "recording")
    assert names == [
        *(f"pbx lab {check}" for check in of_pbx),
        *PROVEN,
        "database",
        *(f"objects {check}" for check in ("bucket", "write", "read", "delete")),
        *(f"codec {format}" for format in ("opus", "mp3", "flac", "wav")),
        "disk",
    ]


def test_every_fault_is_a_line_and_the_status(tmp_path: Path) -> None:
    """No PBX, database, store or directory: each fails in one line; codecs are still tried."""
    (tmp_path / "file").touch()
    config = tmp_path / "config.toml"
    config.write_text(
        f"[data]\ndirectory = {json.dumps(str(tmp_path / 'file/var'))}\n"
        '[database]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n'
        '[objects]\nkind = "s3"\nendpoint_url = "http://127.0.0.1:1"\n'
        'access_key_id = "key"\nsecret_access_key = "secret"\n'
    )
    status, lines = doctor(config)
    assert status == 1
    wrong = [line.removeprefix("FAIL ") for line in lines if line.startswith("FAIL ")]
    assert wrong[0] == "pbx: none is configured: add a [[pbx]] table"
    assert re.match(r"database: .*Connection refused.*; see database\.url", wrong[1])
    assert re.match(r"objects bucket: .*see objects\.endpoint_url", wrong[2])
    assert wrong[3].startswith(f"disk: data.directory: cannot make {tmp_path}/file/var")
    assert [line for line in lines if line.startswith("ok   codec")] == lines[3:7]


# Asterisk


def test_what_to_know_of_this_build_is_noted(asterisk: Asterisk) -> None:
    """A build with a known defect, and a module that can lock up ARI, are hints and no faults."""
    found = examine(asterisk)
    assert failed(found) == {}
    is_debians = "22.10.1+dfsg" in found["version"].text
    assert ("this Debian build" in found["version"].text) == is_debians
    assert "issue 2170" in found["device states"].text


def test_a_wrong_password_is_told(asterisk: Asterisk) -> None:
    """The keys to look at are named; nothing else is tried."""
    found = examine(asterisk, password="wrong")
    told = f"pbx.username, pbx.password: {asterisk.ari_url} refuses recorder; compare ari.conf"
    assert failed(found) == {"reachable": told}
    assert len(found) == 1


def test_an_absent_pbx_is_told(asterisk: Asterisk) -> None:
    """The key to look at is named; nothing else is tried."""
    absent = Asterisk(ensure_root(root_directory()), "absent")
    found = examine(absent)
    absent.stop()
    assert failed(found)["reachable"].startswith(f"pbx.url: {absent.ari_url} does not answer")
    assert len(found) == 1


def test_a_user_that_may_only_read_is_told(asterisk: Asterisk) -> None:
    """A user of `read_only=yes` is found out without touching a call."""
    found = examine(asterisk, "reader", "reader")
    assert failed(found) == {
        "rights": "reader may only read: remove read_only=yes from its section in ari.conf"
    }


def test_a_missing_recording_directory_is_told(asterisk: Asterisk) -> None:
    """Debian's package makes none: every recording would fail. Nothing is left behind."""
    shutil.rmtree(asterisk.recordings)
    try:
        found = examine(asterisk)
    finally:
        asterisk.recordings.mkdir()
    assert list(failed(found)) == ["recording"]
    assert "create the directory `recording`" in failed(found)["recording"]
    assert asterisk.ari("GET", "/bridges") == []


def test_a_missing_module_is_told() -> None:
    """A module that is needed and not loaded is named, and what it is for fails."""
    missing = ("chan_bridge_media", "res_stasis_device_state", "res_ari_device_states")
    with Asterisk(ensure_root(root_directory()), "doctor", without=missing) as incomplete:
        found = examine(incomplete)
    assert failed(found)["modules"] == "not loaded: chan_bridge_media; see modules.conf"
    assert "2170" not in found["device states"].text


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (("func_volume",), "not loaded: func_volume; see modules.conf"),
        (
            ("chan_websocket", "chan_rtp", "res_rtp_multicast"),
            "no page can hear: load chan_websocket or chan_rtp; see modules.conf",
        ),
    ],
)
def test_what_spies_miss_is_told(missing: tuple[str, ...], told: str) -> None:
    """Recording works all the same."""
    with Asterisk(ensure_root(root_directory()), "doctor", without=missing) as incomplete:
        assert failed(examine(incomplete)) == {"spies": told}


def test_nothing_is_left_on_the_pbx(asterisk: Asterisk) -> None:
    """What was tried is taken back: no bridge, no recording."""
    assert failed(examine(asterisk)) == {}
    assert asterisk.ari("GET", "/bridges") == []
    assert asterisk.ari("GET", "/recordings/stored") == []


# By ear


def test_modes_are_proved_by_ear_on_the_oldest_asterisk() -> None:
    """Who hears whom is measured over RTP, which 16 has; nothing is left on the PBX."""
    with Asterisk(ensure_root(root_directory("bullseye"), "bullseye"), "doctor") as oldest:
        found = {one.name: one.text for one in examine_media(settings(oldest))}
        assert (oldest.ari("GET", "/channels"), oldest.ari("GET", "/bridges")) == ([], [])
    assert found == PROVEN


def test_a_wrong_hearing_is_told(asterisk: Asterisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a whisper reaches the customer, the line says so, for phones and for pages."""
    monkeypatch.setattr(doctor_media, "SAYS", {**doctor_media.SAYS, "whisper": BOTH})
    found = {one.name: one for one in examine_media(settings(asterisk))}
    assert failed(found) == {
        "pbx lab whisper": "; ".join(
            f"with a supervisor's {way} the customer hears the supervisor (-12 dBFS)"
            for way in ("phone", "browser")
        )
    }


def test_what_a_killed_proof_left_is_removed(asterisk: Asterisk) -> None:
    """The next one removes channels and bridges of the one before, and nobody else's."""
    for bridge in (doctor_media.CALL, f"earwitness-voice-{doctor_media.SPY.id}", "theirs"):
        asterisk.ari("POST", f"/bridges/{bridge}")
    with Ari(asterisk.ari_url, asterisk.username, asterisk.password, "doctor") as client:
        doctor_media.clear(client)
    assert [bridge["id"] for bridge in asterisk.ari("GET", "/bridges")] == ["theirs"]
    asterisk.ari("DELETE", "/bridges/theirs")
