"""Run `doctor` on a PBX of the lab."""

import subprocess
import sys
from pathlib import Path

from earwitness.config import Pbx
from earwitness.doctor import Finding
from lab.asterisk import Asterisk
from tests.service import REPOSITORY


def settings(asterisk: Asterisk, username: str = "", password: str = "") -> Pbx:
    """Return the PBX's table of the configuration."""
    return Pbx.model_validate(
        {
            "name": "lab",
            "url": asterisk.ari_url,
            "username": username or asterisk.username,
            "password": password or asterisk.password,
        }
    )


def failed(findings: dict[str, Finding]) -> dict[str, str]:
    """Return the text of each check that failed, by name."""
    return {name: finding.text for name, finding in findings.items() if not finding.ok}


def doctor(config: Path, *options: str) -> tuple[int, list[str]]:
    """Run `doctor`; return its exit status and its printed lines."""
    done = subprocess.run(
        [sys.executable, "-m", "earwitness", "--config", str(config), "doctor", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def is_empty(asterisk: Asterisk) -> bool:
    """Return whether no channel and no bridge is left; one that ends may take a moment."""
    return not (asterisk.ari("GET", "/channels") or asterisk.ari("GET", "/bridges"))
