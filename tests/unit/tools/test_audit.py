"""The look for known weaknesses: it fails when it finds one, and when it could not look."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tools.audit import (
    LOCK,
    PINS,
    Report,
    is_affected,
    list_npm,
    list_python,
    match,
    read_copies,
    read_npm_audit,
    read_pip_audit,
)


def pip_audit(**more: Any) -> str:
    """Return the JSON of pip-audit about one package."""
    return json.dumps({"dependencies": [{"name": "flask", "version": "1.0", **more}], "fixes": []})


def test_a_package_that_was_not_looked_up_is_no_success() -> None:
    """pip-audit ends with 0 where its index knows no package; this is reported and fails."""
    report = read_pip_audit(pip_audit(skip_reason="not found"))
    assert (report.unknown, report.status()) == (["flask: not found"], 3)
    assert read_pip_audit(pip_audit(vulns=[])).status() == 0


def test_an_npm_audit_without_a_report_is_no_success() -> None:
    """An index without advisories is reported and fails; an empty report passes."""
    assert read_npm_audit('{"message": "405 Method Not Allowed"}') == Report(
        unknown=["all of package-lock.json: 405 Method Not Allowed"]
    )
    assert read_npm_audit('{"auditReportVersion": 2, "vulnerabilities": {}}').status() == 0


def test_a_known_weakness_fails() -> None:
    """A known weakness is named with its fix, and counts more than a package not looked up."""
    known = [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]
    report = read_pip_audit(pip_audit(vulns=known))
    assert report.weaknesses == ["flask 1.0: PYSEC-1, fixed in 1.1"]
    assert Report(report.weaknesses, ["x: not found"]).status() == 1
    of_npm = {"esbuild": {"range": "<1.2", "severity": "high"}}
    said = json.dumps({"auditReportVersion": 2, "vulnerabilities": of_npm})
    assert read_npm_audit(said).weaknesses == ["esbuild <1.2: high"]


@pytest.mark.parametrize(
    ("version", "affected"),
    [("0.9", False), ("1.0", True), ("1.9", True), ("2.0", False), ("2.5", True), ("3.1", False)],
)
def test_versions_in_ranges(version: str, affected: bool) -> None:
    """A version is affected from each introduction to the fix, or to the last affected version."""
    events = [
        {"introduced": "1.0"},
        {"fixed": "2.0"},
        {"introduced": "2.1"},
        {"last_affected": "3"},
    ]
    assert is_affected(version, {"ranges": [{"type": "SEMVER", "events": events}]}) is affected
    assert is_affected(version, {"versions": [version]})


def test_a_version_that_cannot_be_compared_counts_as_affected() -> None:
    """An odd version is reported rather than passed over."""
    ranges = [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "odd"}]}]
    assert is_affected("1.0", {"ranges": ranges})


def test_copies_of_the_database_are_searched(tmp_path: Path) -> None:
    """Our pins are compared with the advisories of a copy; an ecosystem without any is reported."""
    packages = [*list_python(PINS.read_text()), *list_npm(LOCK.read_text())]
    names = {(ecosystem, name) for ecosystem, name, _ in packages}
    assert {("PyPI", "flask"), ("npm", "wavesurfer.js")} <= names
    advisory = {
        "id": "GHSA-1",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "Flask"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
    }
    copy = tmp_path / "all.zip"
    with ZipFile(copy, "w") as file:
        file.writestr("GHSA-1.json", json.dumps(advisory))
        file.writestr("GHSA-2.json", json.dumps({**advisory, "id": "GHSA-2", "withdrawn": "now"}))
    report = match(packages, read_copies([copy]))
    (weakness,) = report.weaknesses
    assert weakness.startswith("flask ")
    assert weakness.endswith(": GHSA-1")
    assert len(report.unknown) == len([one for one in packages if one[0] == "npm"])
