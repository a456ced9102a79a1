"""`doctor`, asked about a PBX of the lab."""

import subprocess
import sys
from pathlib import Path

from earwitness.config import Pbx
from earwitness.doctor import Finding
from lab.asterisk import Asterisk
from tests.service import REPOSITORY


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


def is_empty(asterisk: Asterisk) -> bool:
    """Whether no channel and no bridge is left; what was told to end may take a moment to."""
    return not (asterisk.ari("GET", "/channels") or asterisk.ari("GET", "/bridges"))
