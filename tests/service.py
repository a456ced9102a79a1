"""The whole service as a user runs it: `serve` in a process, used over HTTP."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

import requests

from lab.asterisk import Asterisk
from lab.pbx import CONFERENCES, OUTBOUND
from lab.ports import free_port
from lab.waiting import answers, until

REPOSITORY = Path(__file__).parent.parent
STARTS_WITHIN_S = 90.0
STORED_WITHIN_S = 150.0
# Tests dial at any hour of any day.
ANY_TIME = {"from_hour": 0, "to_hour": 24, "weekdays": [1, 2, 3, 4, 5, 6, 7]}


class Service:
    """`earwitness serve` on its own directory, following one Asterisk.

    Without `dials` the PBX needs no context for dialling and conferences. After `kill`, `start`
    continues on the same directory.
    """

    def __init__(
        self,
        directory: Path,
        pbx: Asterisk,
        *,
        rules: str = "",
        user_events_to: Sequence[str] = (),
        application: str = "earwitness",
        oidc: Mapping[str, Any] | None = None,
        dialling: Mapping[str, Any] | None = None,
        programs: Mapping[str, Any] | None = None,
        dials: bool = True,
        **recording: Any,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "config.toml"
        self.log = directory / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        tables = [
            f"application = {json.dumps(application)}",
            f"user_events_to = {json.dumps(list(user_events_to))}",
            f"dial_context = {json.dumps(OUTBOUND if dials else '')}",
            f"conference_context = {json.dumps(CONFERENCES if dials else '')}",
            *_lines(programs or {}),
            "[dialling]",
            *_lines(ANY_TIME | dict(dialling or {})),
            "[oidc]",
            *_lines(oidc or {}),
            rules,
        ]
        self.config.write_text("\n".join([self._configuration(pbx, recording), *tables]))
        self._session = requests.Session()

    def _configuration(self, pbx: Asterisk, recording: Mapping[str, Any]) -> str:
        return "\n".join(
            [
                f"[server]\nport = {self.port}",
                f"[media]\nport = {free_port()}",
                f"[data]\ndirectory = {json.dumps(str(self.directory / 'var'))}",
                "[recording]",
                *_lines(recording),
                f'[[pbx]]\nname = "lab"\nurl = "{pbx.ari_url}"',
                f'username = "{pbx.username}"\npassword = "{pbx.password}"',
            ]
        )

    def start(self) -> None:
        """Start, and wait until the service follows calls."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "earwitness", "--config", str(self.config), "serve"],
                cwd=REPOSITORY,
                stderr=log,
            )
        try:
            until(self.is_ready, STARTS_WITHIN_S)
        except BaseException:
            self.kill()
            raise
        if "Authorization" not in self._session.headers:
            token = self.run("token", "create", "--name", "test", "--role", "admin").strip()
            self.use_token(token)

    def is_ready(self) -> bool:
        """Return whether the service follows calls."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return answers(f"{self.url}/health/ready")

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(15)

    def kill(self) -> None:
        """Send SIGKILL to the service; its children die with it, or the next start adopts them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(5)

    def kill_role(self, role: str) -> None:
        """Send SIGKILL to one role; `serve` starts it again."""
        for pid in self.pids_of(role):
            with suppress(ProcessLookupError):  # it died together with another one
                os.kill(pid, signal.SIGKILL)

    def pids_of(self, role: str) -> list[int]:
        """Return the processes of a role, found by their command line."""
        # gunicorn may write the command line into brackets.
        ending = f"--config {self.config} {role}"
        return [pid for pid, words in processes() if " ".join(words).rstrip("]").endswith(ending)]

    def pids_running(self, program: str) -> list[int]:
        """Return the processes of an embedded server of this service."""
        return [
            pid
            for pid, words in processes()
            if Path(words[0]).name == program and any(str(self.directory) in word for word in words)
        ]

    def run(self, *arguments: str, typed: str | None = None) -> str:
        """Run a command of the program, with this input; return its standard output."""
        return subprocess.run(
            [sys.executable, "-m", "earwitness", "--config", str(self.config), *arguments],
            cwd=REPOSITORY,
            check=True,
            input=typed,
            capture_output=True,
            text=True,
        ).stdout

    # HTTP

    def as_holder_of(self, token: str) -> Self:
        """Return the same service for a client with another token."""
        other = copy(self)
        other.use_token(token)
        return other

    def dialplan_token(self) -> str:
        """Return a new token for the dialplan of the PBX."""
        made = self.post("/tokens", {"pbx": "lab", "name": f"dialplan {secrets.token_hex(4)}"})
        assert made.status_code == 201, made.text
        return str(made.json()["token"])

    def use_token(self, token: str) -> None:
        """Send this token with every request from now on."""
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Send a GET, which must succeed; return the JSON answer."""
        response = self._session.get(f"{self.url}/api/v1{path}", params=query, timeout=10)
        assert response.ok, response.text
        return response.json()

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a POST; return the response with any status."""
        url = f"{self.url}/api/v1{path}"
        return self._session.post(url, json=body or {}, headers=headers, timeout=30)

    def patch(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        """Send a PATCH; return the response with any status."""
        return self._session.patch(f"{self.url}/api/v1{path}", json=body, timeout=30)

    def put(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        """Send a PUT; return the response with any status."""
        return self._session.put(f"{self.url}/api/v1{path}", json=body, timeout=30)

    def put_csv(self, path: str, text: str) -> requests.Response:
        """Send CSV in a PUT; return the response with any status."""
        url, headers = f"{self.url}/api/v1{path}", {"Content-Type": "text/csv"}
        return self._session.put(url, data=text.encode(), headers=headers, timeout=30)

    def delete(self, path: str) -> requests.Response:
        """Send a DELETE; return the response with any status."""
        return self._session.delete(f"{self.url}/api/v1{path}", timeout=30)

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> requests.Response:
        """Send any request; return the response with any status."""
        return self._session.request(method, f"{self.url}/api/v1{path}", json=body, timeout=15)

    def stream(self, path: str) -> requests.Response:
        """Open an endless answer, such as the event stream."""
        url = f"{self.url}/api/v1{path}"
        return self._session.get(url, stream=True, timeout=30)

    def live_call(self, caller: str) -> dict[str, Any]:
        """Wait for the live call of this caller's number, and return it."""

        def find() -> dict[str, Any] | None:
            calls = self.get("/calls")["items"]
            return next((call for call in calls if call["caller"]["number"] == caller), None)

        return until(find)

    def recordings(self, call_id: str) -> list[dict[str, Any]]:
        """Return the recordings of a call, newest first."""
        return list(self.get("/recordings", call_id=call_id)["items"])

    def await_state(
        self, recording_id: str, states: Sequence[str], timeout_s: float = STORED_WITHIN_S
    ) -> dict[str, Any]:
        """Wait until the recording is in one of these states, and return it."""

        def find() -> dict[str, Any]:
            recording: dict[str, Any] = self.get(f"/recordings/{recording_id}")
            assert recording["state"] in states, recording
            return recording

        return until(find, timeout_s)

    def await_recording(self, call_id: str) -> dict[str, Any]:
        """Wait until the one recording of a call records, and return it."""

        def find() -> dict[str, Any]:
            found = self.recordings(call_id)
            assert len(found) == 1, found
            assert found[0]["state"] == "recording", found
            return found[0]

        return until(find)

    def record(self, call_id: str, **terms: Any) -> dict[str, Any]:
        """Start a recording of a call, as soon as the service knows that it is answered."""

        def start() -> dict[str, Any]:
            answer = self.post(f"/calls/{call_id}/recordings", terms)
            assert answer.status_code == 201, answer.text
            started: dict[str, Any] = answer.json()
            return started

        return until(start)

    def fetch_audio(self, recording: Mapping[str, Any]) -> Path:
        """Download the stored object by its URL; return the file."""
        url = f"{self.url}/api/v1/recordings/{recording['id']}/audio"
        response = self._session.get(url, timeout=30)
        assert response.ok, response.text
        suffix = {"opus": ".opus"}.get(recording["media"]["format"], "")
        path = self.directory / f"{recording['id']}{suffix or '.' + recording['media']['format']}"
        path.write_bytes(response.content)
        return path


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]


def processes() -> Iterator[tuple[int, list[str]]]:
    """Yield every process and its command line."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text().rstrip("\0").split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if entry.name.isdigit() and words != [""]:
            yield int(entry.name), words
