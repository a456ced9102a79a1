"""The Asterisk root: a small Debian with Asterisk in it, made once by mmdebstrap and kept.

Debian 12 ships no Asterisk; its `sid` suite has version 22 and `bullseye` has 16. The root keeps
that Asterisk and its libraries apart from the machine's. Source: mmdebstrap(1).
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = "asterisk,asterisk-modules,asterisk-core-sounds-en-wav"


class LabError(Exception):
    """The lab cannot be set up on this machine; the message names the cause in one line."""


def root_directory(suite: str = "sid") -> Path:
    """Return the directory of a suite's root: $EARWITNESS_LAB_ROOT, or below `.cache`."""
    chosen = os.environ.get("EARWITNESS_LAB_ROOT")
    if not chosen:
        return REPOSITORY / ".cache" / f"asterisk-{suite}"
    directory = Path(chosen)
    return directory if suite == "sid" else directory.with_name(f"{directory.name}-{suite}")


def ensure_root(directory: Path, suite: str = "sid") -> Path:
    """Make the Asterisk root at `directory` unless it exists, and return it.

    Safe to repeat and to call from several processes at once: one builds, the others wait. A build
    that is interrupted leaves nothing under the final name. Raise LabError.
    """
    if _is_ready(directory):
        return directory
    if os.geteuid() != 0:
        raise LabError(f"making and entering the Asterisk root {directory} needs root (chroot)")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_ready(directory):
            _build(directory, suite)
    return directory


def ensure_program(program: str, package: str) -> None:
    """Install a Debian package by apt-get unless its program is on the PATH; raise LabError."""
    if shutil.which(program):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], environment)
    _run(["apt-get", "install", "-qq", "--no-install-recommends", package], environment)


def ensure_all() -> None:
    """Install everything that tests need from Debian, before the tests start; raise LabError."""
    for suite in ("sid", "bullseye"):
        ensure_root(root_directory(suite), suite)
    ensure_program("chromium", "chromium")
    ensure_program("baresip", "baresip-core")
    ensure_program("sipp", "sip-tester")
    ensure_program("nginx", "nginx-light")


def _is_ready(directory: Path) -> bool:
    return (directory / "usr/sbin/asterisk").exists()


def _build(directory: Path, suite: str) -> None:
    ensure_program("mmdebstrap", "mmdebstrap")
    print(f"making {directory} with Asterisk from Debian {suite} (once)", file=sys.stderr)
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    options = [
        "--quiet",
        "--variant=minbase",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=APT::Install-Recommends "false"',
        f"--include={PACKAGES}",
    ]
    _run(["mmdebstrap", *options, suite, str(unfinished), f"deb {_mirror()} {suite} main"])
    unfinished.rename(directory)


def _mirror() -> str:
    """Return the Debian mirror that this machine itself uses."""
    answer = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
    )
    for uri in answer.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise LabError("apt knows no Debian mirror (no source whose address ends in /debian)")


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing: the lab needs a Debian machine") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabError(f"{' '.join(command[:3])} failed: {last}")
    return done.stdout


if __name__ == "__main__":
    try:
        ensure_all()
    except LabError as problem:
        sys.exit(str(problem))
