"""`doctor` with a real Asterisk, healthy and not: it names each fault and its remedy."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness import doctor_media
from earwitness.config import Config
from earwitness.doctor import Finding, examine_pbx
from earwitness.wiring import Wiring
from lab.asterisk import Asterisk
from lab.root import ensure_root, root_directory
from lab.waiting import until
from recorder.ari import Ari
from tests.doctoring import doctor, failed, is_empty, settings

READ_ONLY_USER = """
[reader]
type=user
read_only=yes
password=reader
"""


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    """Start a healthy PBX, with a second user that may only read."""
    one = Asterisk(ensure_root(root_directory()), "doctor")
    users = (one.directory / "etc/ari.conf").read_text()
    one.configure({"ari.conf": users + READ_ONLY_USER})
    with one:
        yield one


def examine(
    asterisk: Asterisk, username: str = "", password: str = "", **keys: str
) -> dict[str, Finding]:
    """Return the findings about this PBX, by the name of the check; `keys` are others of its
    table."""
    pbx = settings(asterisk, username, password).model_copy(update=keys)
    findings = examine_pbx(Wiring(Config(pbx=(pbx,))), pbx)
    return {finding.name.removeprefix("pbx lab "): finding for finding in findings}


# The whole


def test_every_fault_is_a_line_and_the_status(tmp_path: Path) -> None:
    """Without PBX, database, store and directory each check fails in one line; codecs are still
    tried."""
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


def test_known_defects_are_warnings(asterisk: Asterisk) -> None:
    """A build with a known defect, and a module that can lock up ARI, are warnings, no faults."""
    found = examine(asterisk)
    assert failed(found) == {}
    assert {name for name, one in found.items() if one.warns} == {"version", "device states"}
    assert "this Debian build" in found["version"].text
    assert "issue 2170" in found["device states"].text
    assert found["timing"].text == "by res_timing_timerfd"


def test_the_dial_context_is_in_the_dialplan(asterisk: Asterisk) -> None:
    """A context that dials out is found or reported missing; without one nothing is dialled."""
    asterisk.cli("dialplan add extension 1,1,Hangup() into out-of-here")
    found = examine(asterisk, dial_context="out-of-here")
    assert found["dialling"].text == "by the context out-of-here"
    found = examine(asterisk, dial_context="nowhere")
    assert failed(found) == {"dialling": "pbx.dial_context: the dialplan has no context nowhere"}
    assert examine(asterisk)["dialling"].text == "never: pbx.dial_context is empty"
    until(lambda: is_empty(asterisk))


def test_the_conference_context_has_its_extension(asterisk: Asterisk) -> None:
    """A context that takes calls in is found, or reported as one without its extension."""
    asterisk.cli("dialplan add extension take,1,Hangup() into rooms")
    found = examine(asterisk, conference_context="rooms")
    assert found["conferences"].text == "live calls are taken in by the context rooms"
    found = examine(asterisk, conference_context="nowhere")
    assert failed(found) == {
        "conferences": "pbx.conference_context: the context nowhere of the dialplan has no"
        " extension take; see docs/conferences.md"
    }
    text = examine(asterisk)["conferences"].text
    assert text == "no live call can be taken in: pbx.conference_context is empty"
    until(lambda: is_empty(asterisk))


def test_doctor_reports_a_wrong_password(asterisk: Asterisk) -> None:
    """A wrong password names its keys and stops the checks."""
    found = examine(asterisk, password="wrong")
    expected = f"pbx.username, pbx.password: {asterisk.ari_url} refuses recorder; compare ari.conf"
    assert failed(found) == {"reachable": expected}
    assert len(found) == 1


def test_doctor_reports_an_absent_pbx(asterisk: Asterisk) -> None:
    """An absent PBX names its key and stops the checks."""
    absent = Asterisk(ensure_root(root_directory()), "absent")
    found = examine(absent)
    absent.stop()
    assert failed(found)["reachable"].startswith(f"pbx.url: {absent.ari_url} does not answer")
    assert len(found) == 1


def test_doctor_reports_a_read_only_user(asterisk: Asterisk) -> None:
    """A user with `read_only=yes` is found without touching a call."""
    found = examine(asterisk, "reader", "reader")
    assert failed(found) == {
        "rights": "reader may only read: remove read_only=yes from its section in ari.conf"
    }


def test_doctor_reports_a_missing_recording_directory(asterisk: Asterisk) -> None:
    """A missing directory of recordings is found (Debian's package makes none), and nothing is left
    behind."""
    shutil.rmtree(asterisk.recordings)
    try:
        found = examine(asterisk)
    finally:
        asterisk.recordings.mkdir()
    assert list(failed(found)) == ["recording"]
    assert "create the directory `recording`" in failed(found)["recording"]
    until(lambda: is_empty(asterisk))


def test_doctor_reports_a_missing_module() -> None:
    """A missing module is named, and its check fails."""
    missing = ("chan_bridge_media", "res_stasis_device_state", "res_ari_device_states")
    with Asterisk(ensure_root(root_directory()), "doctor", without=missing) as incomplete:
        found = examine(incomplete)
    assert failed(found)["modules"] == "not loaded: chan_bridge_media; see modules.conf"
    assert "2170" not in found["device states"].text


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (("func_volume",), "not loaded: func_volume; see modules.conf"),
        (
            ("chan_websocket", "chan_rtp", "res_rtp_multicast"),
            "no page can hear: load chan_websocket or chan_rtp; see modules.conf",
        ),
    ],
)
def test_a_missing_module_of_spies_fails_spies_alone(
    missing: tuple[str, ...], expected: str
) -> None:
    """A missing module of spies fails the check of spies alone."""
    with Asterisk(ensure_root(root_directory()), "doctor", without=missing) as incomplete:
        assert failed(examine(incomplete)) == {"spies": expected}


def test_nothing_is_left_on_the_pbx(asterisk: Asterisk) -> None:
    """The checks leave no bridge and no recording."""
    assert failed(examine(asterisk)) == {}
    until(lambda: is_empty(asterisk))
    assert asterisk.ari("GET", "/recordings/stored") == []


def test_leftovers_of_a_killed_proof_are_removed(asterisk: Asterisk) -> None:
    """A proof removes the parts of a killed one of its own instance, and nothing else."""
    ours, other = (doctor_media.ProofNames(instance) for instance in ("doctor", "other-doctor"))
    for parts in (ours, other):
        for bridge in (parts.call, f"earwitness-voice-{parts.spy.id}"):
            asterisk.ari("POST", f"/bridges/{bridge}")
    asterisk.ari("POST", "/bridges/theirs")
    with Ari(asterisk.ari_url, asterisk.username, asterisk.password, "doctor") as client:
        doctor_media.clear(client)
    left = {bridge["id"] for bridge in asterisk.ari("GET", "/bridges")}
    assert left == {"theirs", other.call, f"earwitness-voice-{other.spy.id}"}
    for bridge in left:
        asterisk.ari("DELETE", f"/bridges/{bridge}")
