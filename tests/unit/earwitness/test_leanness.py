"""A process loads only the libraries that it needs, because each role is a process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODECS = {"av", "lameenc", "numpy", "soundfile"}
DATABASE = {"alembic", "psycopg", "sqlalchemy"}
STORE = {"boto3", "botocore"}
PBX = {"requests", "websocket"}
HTTP = {"flask", "gunicorn"}
DRAWING = {"rich", "pygments"}


def loaded(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a new process."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "unneeded"),
    [
        ("import earwitness.cli", CODECS | DATABASE | STORE | PBX | HTTP | DRAWING),
        ("import earwitness.cli, recorder.work.tasks, storage.jobs", HTTP | DRAWING),
        ("import earwitness.serve", CODECS | DATABASE | STORE | PBX | HTTP),
        ("import earwitness.doctor", CODECS | HTTP),
        ("import recorder.watch.watch, recorder.recording.capture", CODECS | STORE | HTTP),
        ("import api.app, storage.objects.s3, recorder.recording.capture", CODECS),
    ],
)
def test_only_needed_libraries_are_loaded(statement: str, unneeded: set[str]) -> None:
    """`serve` loads no library of a role, the watcher no store, the API no codec."""
    assert loaded(statement) & unneeded == set()
