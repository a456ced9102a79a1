"""Look for known weaknesses of all dependencies: make audit [OSV=FILE]

pip-audit and `npm audit` look up every pinned version, at the index of this machine. A version
that could not be looked up is no good news: it is listed, and the status is not 0. Without network
give copies of the OSV database instead, as ZIP files with a JSON file for each advisory.

Exit status: 0 no weakness is known, 1 one is known, 3 some versions could not be looked up.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements-dev.txt"  # it has those of the product and of its embedded servers too
LOCK = ROOT / "package-lock.json"
FOUND, NOT_LOOKED_UP = 1, 3


@dataclass(slots=True)
class Report:
    """The known weaknesses, and the versions that could not be looked up, each with a reason."""

    weaknesses: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def status(self) -> int:
        """Return the exit status."""
        return FOUND if self.weaknesses else NOT_LOOKED_UP if self.unknown else 0


def read_pip_audit(output: str) -> Report:
    """Read the JSON of pip-audit, which exits with 0 when it could look nothing up."""
    report = Report()
    for one in json.loads(output)["dependencies"]:
        if "skip_reason" in one:
            report.unknown.append(f"{one['name']}: {one['skip_reason']}")
        for known in one.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version"
            report.weaknesses.append(
                f"{one['name']} {one['version']}: {known['id']}, fixed in {fixed}"
            )
    return report


def read_npm_audit(output: str) -> Report:
    """Read the JSON of `npm audit`."""
    said = json.loads(output)
    if "auditReportVersion" not in said:
        reason = said.get("message") or said.get("error", {}).get("summary") or "no report"
        return Report(unknown=[f"all of package-lock.json: {reason}"])
    return Report(
        [
            f"{name} {one['range']}: {one['severity']}"
            for name, one in said["vulnerabilities"].items()
        ]
    )


# With copies of the OSV database


def list_python(pins: str) -> Iterator[tuple[str, str, str]]:
    """Yield ecosystem, name and version of each pin for this Python and machine."""
    for line in pins.replace("\\\n", " ").splitlines():
        text = re.split(r"\s--hash|\s#", line)[0].strip()
        if text and not text.startswith("#"):
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate():
                (pin,) = wanted.specifier
                yield "PyPI", canonicalize_name(wanted.name), pin.version


def list_npm(lock: str) -> Iterator[tuple[str, str, str]]:
    """Yield ecosystem, name and version of each package of a lock."""
    for path, one in json.loads(lock)["packages"].items():
        if path:
            yield "npm", path.rpartition("node_modules/")[2], one["version"]


def match(
    packages: Iterable[tuple[str, str, str]], advisories: Iterable[Mapping[str, Any]]
) -> Report:
    """Compare packages with advisories of the OSV database.

    A package of an ecosystem without a single advisory was not looked up.
    """
    report = Report()
    by_package: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for advisory in advisories:
        for affected in advisory.get("affected", ()) if "withdrawn" not in advisory else ():
            about = affected.get("package", {})
            key = (about.get("ecosystem", ""), _canonical(about))
            by_package.setdefault(key, []).append((advisory["id"], affected))
    known = {ecosystem for ecosystem, _ in by_package}
    for ecosystem, name, version in packages:
        if ecosystem not in known:
            report.unknown.append(f"{name}: the copies have no advisory about {ecosystem}")
        for id_, affected in by_package.get((ecosystem, name), ()):
            if is_affected(version, affected):
                report.weaknesses.append(f"{name} {version}: {id_}")
    return report


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Return whether an advisory lists this version, or has it in a range.

    Example: the range introduced `0`, fixed `2.0` has 1.9. A version that cannot be compared counts
    as affected.
    """
    if version in affected.get("versions", ()):
        return True
    return any(
        _is_in(version, one["events"])
        for one in affected.get("ranges", ())
        if one["type"] in ("ECOSYSTEM", "SEMVER")
    )


def _is_in(version: str, events: Iterable[Mapping[str, str]]) -> bool:
    inside = False
    try:
        present = Version(version)
        for event in events:  # in their order
            (kind, at), *_ = event.items()
            if kind == "introduced" and (at == "0" or present >= Version(at)):
                inside = True
            elif (kind == "fixed" and present >= Version(at)) or (
                kind == "last_affected" and present > Version(at)
            ):
                inside = False
    except InvalidVersion:
        return True
    return inside


def _canonical(about: Mapping[str, str]) -> str:
    name = about.get("name", "")
    return canonicalize_name(name) if about.get("ecosystem") == "PyPI" else name


def read_copies(paths: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    """Yield the advisories in these ZIP files."""
    for path in paths:
        with ZipFile(path) as copy:
            for name in copy.namelist():
                if name.endswith(".json"):
                    yield json.loads(copy.read(name))


# The command


def ask_pip_audit() -> Report:
    """Run pip-audit on our pins, which it needs not install."""
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *options, "-r", str(PINS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read_pip_audit(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no report"])[-1]
        return Report(unknown=[f"all of {PINS.name}: {reason}"])


def ask_npm_audit() -> Report:
    """Run `npm audit` on our lock."""
    command = [str(Path(sys.executable).with_name("npm")), "audit", "--json", "--package-lock-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    try:
        return read_npm_audit(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no report"])[-1]
        return Report(unknown=[f"all of {LOCK.name}: {reason}"])


def main() -> int:
    """Print the report; return the exit status."""
    parser = argparse.ArgumentParser(description="Look for known weaknesses of all dependencies.")
    parser.add_argument(
        "--osv",
        type=Path,
        action="append",
        default=[],
        help="copies of the OSV database, as ZIP files",
    )
    copies = parser.parse_args().osv
    if copies:
        packages = [*list_python(PINS.read_text()), *list_npm(LOCK.read_text())]
        reports = [match(packages, read_copies(copies))]
    else:
        reports = [ask_pip_audit(), ask_npm_audit()]
    whole = Report(
        [line for one in reports for line in one.weaknesses],
        [line for one in reports for line in one.unknown],
    )
    for line in whole.weaknesses:
        print(f"known weakness: {line}")
    for line in whole.unknown:
        print(f"not looked up: {line}")
    print(f"{len(whole.weaknesses)} known weaknesses, {len(whole.unknown)} not looked up")
    if whole.unknown:
        print("Give copies of the OSV database with --osv, or run this where the index has one.")
    return whole.status()


if __name__ == "__main__":
    sys.exit(main())
