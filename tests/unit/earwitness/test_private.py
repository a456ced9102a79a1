"""The files of the program are of its user alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.private import close_files, find_open

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make a data directory as an earlier version left it: everybody reads everything."""
    for name in (
        "spool/exports/old.zip",
        "postgresql/postgres.log",
        "objects/data/1.dat",
        "own.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path


def test_files_of_an_earlier_version_are_closed(data: Path) -> None:
    """Every file and directory of ours is closed, nothing else; a repetition finds nothing."""
    assert len([*find_open(data)]) == 8
    close_files(data)
    closed = [path for path in data.rglob("*") if not path.stat().st_mode & 0o077]
    paths = {path for path in data.rglob("*") if not {path, *path.parents}.intersection(closed)}
    # The user of PostgreSQL, whom root starts, enters its directory.
    assert paths - {data / "postgresql"} == {data / "own.txt"}
    assert not (data / "postgresql").stat().st_mode & 0o066
    assert [*find_open(data)] == []


def test_a_link_leads_nowhere(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A symbolic link to other files does not close these."""
    other = tmp_path_factory.mktemp("other") / "theirs"
    other.write_text("theirs")
    other.chmod(0o644)
    (data / "spool/link").symlink_to(other)
    close_files(data)
    assert other.stat().st_mode & 0o777 == 0o644


def test_a_missing_directory_is_none_of_our_concern(tmp_path: Path) -> None:
    """A role without data of its own starts without a data directory."""
    close_files(tmp_path / "none")
    assert [*find_open(tmp_path)] == []


def test_every_command_has_the_umask() -> None:
    """The program sets the umask before any command makes a file, whatever it was given."""
    code = (
        "import os, sys; from earwitness import cli; sys.argv[1:] = ['--help']\n"
        "try: cli.main()\nfinally: print(f'umask {os.umask(0):o}', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, umask=0, check=False,
    )  # fmt: skip
    assert done.stderr == "umask 77\n"
