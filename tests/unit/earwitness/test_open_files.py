"""How many files the program may open."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_command_may_open_many_files() -> None:
    """The program raises the limit that it was started with, as far as the system allows."""
    code = (
        "import resource, sys; from earwitness import cli\n"
        "_, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(most, 4096)))\n"
        "sys.argv[1:] = ['--help']\n"
        "try: cli.main()\n"
        "finally: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert int(done.stderr) > 256
