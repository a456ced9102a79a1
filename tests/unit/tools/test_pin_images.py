"""Images are pinned by the digests that their tags have now: all of them, or none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.pin_images import FILES, find_images, pin

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "ab" * 32


def run(directory: Path, docker: str) -> subprocess.CompletedProcess[str]:
    """Run the tool on copies of our files, with this shell script as `docker`."""
    for path in FILES:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, directory / path)
    program = directory / "bin/docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/pin_images.py")],
        cwd=directory,
        env={"PATH": f"{program.parent}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_image_gets_its_digest(tmp_path: Path) -> None:
    """Each image from elsewhere keeps its tag and gets the digest; our own image gets none."""
    done = run(tmp_path, f"echo {DIGEST}")
    assert (done.returncode, done.stderr) == (0, "")
    for path in FILES:
        text = (tmp_path / path).read_text()
        assert find_images(text) == find_images((ROOT / path).read_text())
        assert text.count(f"@{DIGEST}") == len(find_images(text))
        assert "image: earwitness\n" in text or path.name == "Dockerfile"


def test_a_failed_look_up_changes_nothing(tmp_path: Path) -> None:
    """One tag that cannot be looked up leaves all files as they are, and the reason is printed."""
    done = run(
        tmp_path, f'case "$*" in *postgres*) echo no route >&2; exit 1;; esac; echo {DIGEST}'
    )
    assert (done.returncode, done.stderr) == (1, "postgres:18 was not looked up: no route\n")
    assert all((tmp_path / path).read_text() == (ROOT / path).read_text() for path in FILES)


def test_a_newer_digest_replaces_an_older_one() -> None:
    """A second run writes the new digest in place of the old one."""
    old = f"FROM debian:12@sha256:{'0' * 64} AS build"
    assert pin(old, {"debian:12": DIGEST}) == f"FROM debian:12@{DIGEST} AS build"
