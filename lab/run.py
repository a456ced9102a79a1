"""`make run`: the whole product on its defaults, with demo calls where no PBX is configured."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from earwitness.config import Config, load_config
from lab.pbx import CONFERENCES, OUTBOUND
from storage.errors import ConfigurationInvalid

CONFIG = Path("config.toml")
STARTS_WITHIN_S = 60.0
DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")


def run() -> int:
    """Start the service, print its URL, and wait; return the service's exit status."""
    config = load_config(CONFIG)
    with ExitStack() as stack:
        environment = dict(os.environ)
        if not config.pbx:
            print("No PBX is configured: starting an Asterisk of our own with demo calls …")
            environment |= stack.enter_context(_demo())
        service = stack.enter_context(_process("-m", "earwitness", "serve", env=environment))
        if _is_up(service, config):
            _welcome(config, environment)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: service.terminate())
        service.wait()
    return service.returncode or 0


@contextmanager
def _demo() -> Iterator[Mapping[str, str]]:
    """Start demo calls; yield the environment in which the service finds their PBX."""
    with _process("-m", "lab.demo", stdout=subprocess.PIPE) as demo:
        line = demo.stdout.readline() if demo.stdout else b""
        if not line:
            raise ConfigurationInvalid("the demo's Asterisk did not start; the cause is above")
        access = json.loads(line)
        pbx = {
            "name": "demo",
            "url": access["ari_url"],
            "username": access["username"],
            "password": access["password"],
            "trunks": ["PJSIP/trunk*"],
            "dial_context": OUTBOUND,
            "conference_context": CONFERENCES,
        }
        yield {
            "EARWITNESS_PBX": json.dumps([pbx]),
            "EARWITNESS_RECORDING__RECORD_ALL": "true",
        }


@contextmanager
def _process(
    *arguments: str, env: Mapping[str, str] | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*DIES_WITH_US, sys.executable, *arguments], env=env, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _is_up(service: subprocess.Popen[bytes], config: Config) -> bool:
    url = f"http://{config.server.host}:{config.server.port}/health/live"
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and service.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _welcome(config: Config, environment: Mapping[str, str]) -> None:
    url = config.server.public_url or f"http://{config.server.host}:{config.server.port}"
    name = f"demo-{secrets.token_hex(3)}"
    token = _command(environment, "token", "create", "--name", name, "--role", "admin")
    pbx = json.loads(environment.get("EARWITNESS_PBX", "[]")) or [{"name": config.pbx[0].name}]
    for_dialplan = ("--for-dialplan", pbx[0]["name"], "--name", f"dialplan {name}")
    dialplan = _command(environment, "token", "create", *for_dialplan).stdout.strip()
    password = secrets.token_urlsafe(12)
    changed = _command(environment, "user", "password", "demo", stdin=password, check=False)
    if changed.returncode:
        _command(environment, "user", "create", "demo", "--role", "admin", stdin=password)
    print(
        f"""
Earwitness runs at {url}
  sign in     demo, {password}
  token       {token.stdout.strip()}
  dialplan    CURL({url.replace("://", f"://{dialplan}@")}/api/v1/dialplan/record?…)
  browse      {url}/api/docs      (any user name, the token as password)
  live calls  curl -H 'Authorization: Bearer TOKEN' {url}/api/v1/calls
  recordings  curl -H 'Authorization: Bearer TOKEN' {url}/api/v1/recordings
  hear one    curl -L -o call.ogg -H 'Authorization: Bearer TOKEN' \\
                {url}/api/v1/recordings/ID/audio
Ctrl-C stops it.
""",
        flush=True,
    )


def _command(
    environment: Mapping[str, str], *words: str, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earwitness", *words]
    return subprocess.run(
        command, env=environment, input=stdin, check=check, capture_output=True, text=True
    )


if __name__ == "__main__":
    try:
        sys.exit(run())
    except ConfigurationInvalid as error:
        print(f"earwitness: {error}", file=sys.stderr)
        sys.exit(2)
