"""Telephones that are no Asterisk: baresip plays one phone, SIPp plays many calls at once.

Both come from Debian. They reach the PBX at their own ports; give `World` the same numbers and
ports in `telephones`. Each speaks a tone from a file.
"""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from lab.asterisk import Asterisk
from lab.bot import encode_ulaw
from lab.pbx import TRUNK
from lab.ports import free_port
from lab.root import LabError
from lab.waiting import until

RATE = 8000
TONE_S = 60
LEVEL = 0.3
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
LISTENS_WITHIN_S = 5.0
# Codecs as baresip names them, by Asterisk's names.
CODECS = {
    "ulaw": "PCMU/8000/1",
    "alaw": "PCMA/8000/1",
    "g722": "G722/16000/1",
    "opus": "opus/48000/2",
}


class Baresip:
    """The phone at `number`, which answers every call, for as long as the block lasts.

    Example: `Baresip(world.pbx, "2011", port, hz=1000, codec="opus")`
    """

    def __init__(
        self, pbx: Asterisk, number: str, port: int, *, hz: float, codec: str = "ulaw"
    ) -> None:
        self._pbx = pbx
        self._folder = tempfile.TemporaryDirectory(prefix="baresip-")
        self._control_port = free_port()
        folder = Path(self._folder.name)
        rate = int(CODECS[codec].split("/")[1])
        soundfile.write(folder / "tone.wav", _tone(hz, rate), rate, subtype="PCM_16")
        (folder / "config").write_text(
            _BARESIP_CONFIG.format(
                port=port, control=self._control_port, rate=rate, tone=folder / "tone.wav"
            )
        )
        (folder / "accounts").write_text(
            f"<sip:{number}@127.0.0.1:{pbx.sip_port}>;regint=0;answermode=auto"
            f";audio_codecs={CODECS[codec]}\n"
        )
        (folder / "contacts").write_text("")

    def __enter__(self) -> Self:
        log = Path(self._folder.name) / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*DIES_WITH_US, "baresip", "-f", self._folder.name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

        def connect() -> socket.socket | None:
            if self._process.poll() is not None:
                raise LabError(f"baresip ended: {log.read_text(errors='replace')[-500:]}")
            with suppress(ConnectionError):
                return socket.create_connection(("127.0.0.1", self._control_port), timeout=5)
            return None

        self._control = until(connect, LISTENS_WITHIN_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._control.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def dial(self, number: str) -> None:
        """Call a number at the PBX."""
        self._command("dial", self._address(number))

    def hold(self) -> None:
        """Put the other party on hold."""
        self._command("hold")

    def resume(self) -> None:
        """Take the call back from hold."""
        self._command("resume")

    def transfer(self, number: str) -> None:
        """Send REFER: let the other party call a number."""
        self._command("transfer", self._address(number))

    def hang_up(self) -> None:
        """End the call."""
        self._command("hangup")

    def _address(self, number: str) -> str:
        return f"sip:{number}@127.0.0.1:{self._pbx.sip_port}"

    def _command(self, command: str, params: str = "") -> None:
        """Run a command of baresip over its control port (netstrings of JSON)."""
        body = json.dumps({"command": command, "params": params, "token": command})
        self._control.sendall(f"{len(body)}:{body},".encode())
        while (answer := self._read()).get("token") != command:
            continue
        if not answer.get("ok"):
            raise LabError(f"baresip refuses {command} {params}: {answer}")

    def _read(self) -> dict[str, Any]:
        digits = b""
        while (digit := self._control.recv(1)) != b":":
            digits += digit
        body = b""
        while len(body) <= int(digits):
            body += self._control.recv(int(digits) + 1 - len(body))
        answer: dict[str, Any] = json.loads(body[:-1])
        return answer


class Sipp:
    """Many callers, and one phone that answers them all, by SIPp.

    `callee_port` is the port of the phone in the PBX's configuration.

    Example: `Sipp(world.pbx, callee_port, caller_hz=440, callee_hz=880).call("3012", numbers, 6)`
    """

    def __init__(
        self, pbx: Asterisk, callee_port: int, *, caller_hz: float, callee_hz: float
    ) -> None:
        self._pbx = pbx
        self._callee_port = callee_port
        self._tones = {"caller": caller_hz, "callee": callee_hz}

    def call(self, did: str, numbers: Sequence[str], seconds: float, per_s: int = 25) -> None:
        """Call a DID from each of these numbers; return when all calls have ended.

        Each call lasts so many seconds from its answer. Raise LabError if one of them failed.
        """
        with tempfile.TemporaryDirectory(prefix="sipp-") as name:
            folder = Path(name)
            for who, hz in self._tones.items():
                (folder / f"{who}.ulaw").write_bytes(encode_ulaw(_tone(hz)))
            callers = "".join(f"{number};\n" for number in numbers)
            (folder / "callers.csv").write_text(f"SEQUENTIAL\n{callers}")
            (folder / "caller.xml").write_text(
                _CALLER.replace("{did}", did).replace("{ms}", f"{seconds * 1000:.0f}")
            )
            (folder / "callee.xml").write_text(_CALLEE)
            callee = self._start(folder, "callee", self._callee_port)
            try:
                count = str(len(numbers))
                caller = self._start(
                    folder,
                    "caller",
                    free_port(socket.SOCK_DGRAM),
                    *("-inf", "callers.csv", "-m", count, "-l", count, "-r", str(per_s)),
                    f"127.0.0.1:{self._pbx.sip_port}",
                )
                status = caller.wait(seconds + len(numbers) / per_s + 20)
                if status != 0:
                    raise LabError(f"SIPp ended with status {status}: a call failed")
            finally:
                callee.kill()
                callee.wait()

    @staticmethod
    def _start(folder: Path, who: str, port: int, *more: str) -> "subprocess.Popen[bytes]":
        words = ["-sf", f"{who}.xml", "-i", "127.0.0.1", "-p", str(port), "-nostdin", *more]
        return subprocess.Popen(
            [*DIES_WITH_US, "sipp", *words],
            cwd=folder,
            env=os.environ | {"TERM": "dumb"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _tone(hz: float, rate: int = RATE) -> Any:
    return LEVEL * np.sin(2 * np.pi * hz * np.arange(TONE_S * rate) / rate)


_BARESIP_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
call_local_timeout 120
call_max_calls 4
audio_source aufile,{tone}
ausrc_srate {rate}
ausrc_channels 1
rtp_ports 45000-49999
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module aufile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""

_SDP = """\
v=0
o=sipp 1 1 IN IP4 [media_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

_CALLER = f"""\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:{{did}}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{TRUNK}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{{did}}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:{TRUNK}@[local_ip]:[local_port]>
P-Asserted-Identity: <sip:[field0]@[local_ip]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{TRUNK}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{{did}}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <nop><action><exec rtp_stream="caller.ulaw,-1,0"/></action></nop>
  <pause milliseconds="{{ms}}"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{TRUNK}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{{did}}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <recv response="200"/>
</scenario>
"""

_CALLEE = f"""\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="callee">
  <recv request="INVITE" rrs="true"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

{_SDP}
  ]]></send>
  <recv request="ACK"/>
  <nop><action><exec rtp_stream="callee.ulaw,-1,0"/></action></nop>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

  ]]></send>
</scenario>
"""
