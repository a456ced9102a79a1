"""One Asterisk in the root, with its own directories, ports and configuration."""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from lab.ports import free_port
from lab.root import LabError
from lab.waiting import until

BOOT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0

# The modules that calls, ARI and its media need, and no more, so that an idle instance stays quiet
# and small. An instance loads those that its version has: 16 lacks chan_websocket and AudioSocket.
MODULES = """\
res_timing_timerfd res_crypto res_http_websocket res_websocket_client res_pjproject
res_sorcery_config res_sorcery_memory res_sorcery_astdb
res_pjsip res_pjsip_session res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_dlg_options
res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user res_pjsip_refer
res_pjsip_rfc3326 res_pjsip_diversion res_pjsip_header_funcs res_pjsip_pubsub
res_pjsip_authenticator_digest res_pjsip_outbound_authenticator_digest res_pjsip_nat
res_pjsip_acl res_pjsip_dtmf_info res_rtp_asterisk
res_rtp_multicast res_srtp chan_pjsip chan_rtp chan_websocket
bridge_simple bridge_native_rtp bridge_softmix bridge_holding bridge_builtin_features
chan_bridge_media
res_stasis res_stasis_answer res_stasis_snoop res_stasis_recording res_stasis_playback
res_stasis_device_state res_ari res_ari_model res_ari_applications res_ari_asterisk
res_ari_bridges res_ari_channels res_ari_device_states res_ari_endpoints res_ari_events
res_ari_playbacks res_ari_recordings res_ari_sounds res_audiosocket chan_audiosocket
res_musiconhold res_parking res_convert res_clioriginate res_mutestream res_format_attr_opus
pbx_config app_dial app_queue app_playback app_playtones app_mixmonitor app_stasis app_stack
app_transfer app_read app_echo app_bridgewait app_confbridge app_senddtmf app_userevent
app_verbose app_exec app_cdr app_softhangup app_originate app_chanspy app_blind_transfer
app_attended_transfer app_record app_controlplayback app_sayunixtime app_audiosocket
func_callerid func_channel func_db func_global func_logic func_strings func_timeout
func_pjsip_endpoint func_pjsip_contact func_pjsip_aor func_hangupcause func_math func_volume
func_uri func_curl res_curl func_devstate func_cdr func_dialplan func_extstate
func_holdintercept func_talkdetect app_channelredirect
codec_ulaw codec_alaw codec_g722 codec_gsm codec_resample codec_opus_open_source
format_pcm format_wav format_sln format_gsm format_wav_gsm format_ogg_vorbis
"""


# A user of the manager interface with the rights that docs/programs.md asks for.
PANEL = "panel"


class Asterisk:
    """An instance of Asterisk under `root/lab/NAME`, reached over ARI and the command line.

    Configure it with `configure`, then `start` it. It dies with the thread that started it, and
    `stop` removes its directory. `ari_url` is the base of its HTTP server, without `/ari`.
    `without` names modules to leave out.
    """

    def __init__(
        self,
        root: Path,
        name: str = "asterisk",
        *,
        channelvars: Sequence[str] = (),
        without: Collection[str] = (),
    ):
        if os.geteuid() != 0:
            raise LabError("starting Asterisk in its root needs root (chroot)")
        self.root = root
        self.name = f"{name}-{os.getpid()}-{secrets.token_hex(3)}"
        self.directory = root / "lab" / self.name
        self.http_port, self.sip_port = (
            free_port(socket.SOCK_STREAM),
            free_port(socket.SOCK_DGRAM),
        )
        self.ari_url = f"http://127.0.0.1:{self.http_port}"
        self.ami_port = free_port(socket.SOCK_STREAM)
        self.username, self.password = "recorder", secrets.token_urlsafe(12)
        self._manager = requests.Session()
        self._process: subprocess.Popen[bytes] | None = None
        _sweep(root / "lab")
        # Debian's package makes no `recording` directory; without it every ARI recording fails.
        for part in ("etc", "run", "log", "db", "spool/recording", "spool/monitor", "spool/tmp"):
            (self.directory / part).mkdir(parents=True)
        self._owner = (self.directory / "owner").open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self.configure(self._base_files(channelvars, without))

    @property
    def spool(self) -> Path:
        """Return the spool directory, as a path outside the root."""
        return self.directory / "spool"

    @property
    def recordings(self) -> Path:
        """Return ARI's directory of recordings, as a path outside the root."""
        return self.spool / "recording"

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs, else None."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process and running else None

    def inside(self, path: Path) -> str:
        """Return a path under the root as Asterisk itself names it."""
        return "/" + str(path.relative_to(self.root))

    def configure(self, files: Mapping[str, str]) -> None:
        """Write configuration files, given as name (such as `extensions.conf`) to text."""
        for name, text in files.items():
            (self.directory / "etc" / name).write_text(text)

    def start(self) -> None:
        """Start, and return when it is fully booted; raise LabError with the end of its log."""
        with (self.directory / "log/console").open("ab") as console:
            self._process = subprocess.Popen(
                self._command("-f"),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                cwd="/",
                start_new_session=True,
            )

        def answers() -> bool:
            if self.pid is None:
                raise LabError(f"Asterisk {self.name} ended while starting: {self.log_tail()}")
            try:
                return self.ari_response("GET", "/asterisk/info").ok
            except requests.ConnectionError:
                return False

        try:
            until(answers, BOOT_TIMEOUT_S)
            self.cli("core waitfullybooted")
        except TimeoutError as error:
            self.kill()
            raise LabError(f"Asterisk {self.name} did not start: {self.log_tail()}") from error

    def stop(self) -> None:
        """Stop the process (SIGTERM, then SIGKILL) and remove its directory. Safe to repeat."""
        self._end(signal.SIGTERM)
        self._owner.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """Kill the process with SIGKILL; its files stay, and `start` starts it again."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the process in order and start it again on the same ports and files."""
        self._end(signal.SIGTERM)
        self.start()

    def cli(self, command: str) -> str:
        """Run one command of Asterisk's command line; return its output."""
        done = subprocess.run(
            self._command("-rx", command),
            capture_output=True,
            text=True,
            timeout=BOOT_TIMEOUT_S,
            check=False,
        )
        return done.stdout

    def ari(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Send one ARI request; return the parsed answer, None if empty.

        Raise requests.HTTPError on an error status. Example: `ari("GET", "/channels")`
        """
        answer = self.ari_response(method, path, body, **query)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def ari_response(
        self, method: str, path: str, body: object = None, **query: object
    ) -> requests.Response:
        """Send one ARI request; return the response with any status."""
        return requests.request(
            method,
            f"{self.ari_url}/ari{path}",
            params={name: str(value) for name, value in query.items()},
            json=body,
            auth=(self.username, self.password),
            timeout=REQUEST_TIMEOUT_S,
        )

    def ami(self, action: str, **headers: str) -> str:
        """Run one action of the manager interface (over HTTP); return its answer as text.

        Raise LabError when Asterisk refuses. Example: `ami("Redirect", Channel=name, …)`
        """
        login = {"Username": self.username, "Secret": self.password}
        for step, fields in (("Login", login), (action, headers)):
            answer = self._manager.get(
                f"{self.ari_url}/rawman",
                params={"Action": step, **fields},
                timeout=REQUEST_TIMEOUT_S,
            ).text
            if "Response: Error" in answer:
                raise LabError(f"{step}: {answer.strip()}")
        return answer

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        log = self.directory / "log/messages.log"
        if not log.exists():
            log = self.directory / "log/console"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self, *arguments: str) -> list[str]:
        configuration = self.inside(self.directory / "etc/asterisk.conf")
        asterisk = ["chroot", str(self.root), "asterisk", "-C", configuration, *arguments]
        return ["setpriv", "--pdeathsig", "KILL", *asterisk]

    def _base_files(self, channelvars: Sequence[str], without: Collection[str]) -> dict[str, str]:
        here = self.inside(self.directory)
        # Debian keeps modules under `lib/x86_64-linux-gnu/asterisk` from 20 on, before that under
        # `lib/asterisk`.
        homes = ("asterisk/modules/*.so", "*/asterisk/modules/*.so")
        there = {file.stem for home in homes for file in (self.root / "usr/lib").glob(home)}
        modules = [module for module in MODULES.split() if module in there.difference(without)]
        return {
            "asterisk.conf": _ASTERISK_CONF.format(here=here),
            "modules.conf": "[modules]\nautoload=no\n" + "".join(f"load={m}\n" for m in modules),
            "logger.conf": "[general]\n[logfiles]\nmessages.log => error,warning,notice\n",
            "cdr.conf": "[general]\nenable=no\n",
            "http.conf": f"[general]\nenabled=yes\nbindaddr=127.0.0.1\nbindport={self.http_port}\n",
            "manager.conf": (
                "[general]\nenabled=yes\nwebenabled=yes\nbindaddr=127.0.0.1\n"
                f"port={self.ami_port}\n"
                f"[{self.username}]\nsecret={self.password}\nread=\nwrite=all\n"
                f"[{PANEL}]\nsecret={self.password}\nread=user\nwrite=originate\n"
            ),
            "rtp.conf": "[general]\nrtpstart=10000\nrtpend=29999\n",
            "ari.conf": (
                f"[general]\nenabled=yes\nchannelvars={','.join(channelvars)}\n"
                f"[{self.username}]\ntype=user\nread_only=no\npassword={self.password}\n"
            ),
        } | dict.fromkeys(_EMPTY_FILES, "")


_ASTERISK_CONF = """\
[directories]
astetcdir => {here}/etc
astrundir => {here}/run
astlogdir => {here}/log
astdbdir => {here}/db
astspooldir => {here}/spool
[options]
hideconnect = yes
"""

# Asterisk warns at each start about every one of these files that is absent.
_EMPTY_FILES = (
    "acl.conf",
    "ccss.conf",
    "cel.conf",
    "chan_websocket.conf",
    "cli.conf",
    "cli_permissions.conf",
    "codecs.conf",
    "confbridge.conf",
    "dnsmgr.conf",
    "dsp.conf",
    "enum.conf",
    "extensions.conf",
    "features.conf",
    "indications.conf",
    "musiconhold.conf",
    "pjproject.conf",
    "pjsip.conf",
    "queuerules.conf",
    "queues.conf",
    "res_parking.conf",
    "sorcery.conf",
    "stasis.conf",
    "udptl.conf",
    "websocket_client.conf",
)


def _sweep(lab: Path) -> None:
    """Remove the directories of instances whose owner was killed."""
    for owner in lab.glob("*/owner"):
        with owner.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(owner.parent, ignore_errors=True)
