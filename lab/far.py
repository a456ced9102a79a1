"""The far end: a second Asterisk plays the carrier, every customer and every phone.

Its dialplan answers and talks by itself. ARI on it places calls and makes a phone act (hold,
transfer, fall silent). Each leg plays the pure tone of its role as soon as it is answered, and
writes its incoming and outgoing audio to two WAV files (`MixMonitor`), aligned to each other.
"""

import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import websocket

from lab.asterisk import Asterisk
from lab.pbx import AGENTS, SUPERVISORS, TRUNK, endpoint, transport
from lab.waiting import until

APPLICATION = "far"
CUSTOMER_HZ = 440
SUPERVISOR_HZ = 1320
AGENT_HZ = {
    "2001": 880,
    "2002": 1100,
    "2003": 1210,
    "2004": 2390,
    "2005": 2500,
    "2006": 2660,
    "2007": 2750,
    "2008": 2870,
    "2009": 2970,
    "2010": 3110,
}
TONES_HZ = AGENT_HZ | dict.fromkeys(SUPERVISORS, SUPERVISOR_HZ)
# Customers with numbers of these prefixes have tones of their own, so that a test tells two apart.
OTHER_CUSTOMER_HZ = {"1303": 980, "1404": 2050, "1505": 1930, "1606": 2290, "1707": 3200}
# These speak at half the level: six at full level would clip in a mix, which makes other tones.
SOFT = ("2004", "2005", "2006", "2007", "2008", "2009", "2010", "1505", "1606", "1707")
CHANNELVARS = ("LAB_PARTY", "LAB_DOES")
BYTES_PER_S = 16_000  # of the files: 16 bits, 8 kHz

Manner = Literal[
    "answer", "busy", "decline", "absent", "unallocated", "ring", "progress", "forward"
]
PREFIX_DIGITS = 7

# The globals MANNER_x, DELAY_x, FILE_x, STAY_x and FORWARD_x steer the phone at number x. The first
# two of a prefix of seven digits, and STAY_x of one, hold for numbers that have none of their own.
# TONE_x is the tone of the numbers that begin with x, SOFT_x is 1 where they speak at half level.
DIALPLAN = """\
[phones]
exten => _+X.,1,Goto(${EXTEN:1},1)
exten => _X.,1,Set(LAB_PARTY=${EXTEN})
 same => n,Set(LAB_TONE=${GLOBAL(TONE_${EXTEN:0:4})})
 same => n,ExecIf($["${LAB_TONE}"=""]?Set(LAB_TONE=440))
 same => n,Set(LAB_SOFT=${GLOBAL(SOFT_${EXTEN:0:4})})
 same => n,Set(LAB_FILE=${GLOBAL(FILE_${EXTEN})})
 same => n,Set(BY=${IF($["${GLOBAL(MANNER_${EXTEN})}"=""]?${EXTEN:0:7}:${EXTEN})})
 same => n,Set(LAB_STAY=${GLOBAL(STAY_${BY})})
 same => n,Goto(${IF($["${GLOBAL(MANNER_${BY})}"=""]?answer:${GLOBAL(MANNER_${BY})})})
 same => n(busy),Hangup(17)
 same => n(decline),PJSIPHangup(603)
 same => n,Hangup()
 same => n(absent),Hangup(19)
 same => n(unallocated),Hangup(1)
 same => n(ring),Ringing()
 same => n,Wait(600)
 same => n(forward),Transfer(PJSIP/${GLOBAL(FORWARD_${EXTEN})})
 same => n,Hangup()
 same => n(progress),Progress()
 same => n,Playtones(${LAB_TONE}/100000)
 same => n,Wait(${GLOBAL(DELAY_${EXTEN})})
 same => n,StopPlaytones()
 same => n,Answer(0,i)
 same => n,Goto(talk,s,1)
 same => n(answer),Ringing()
 same => n,Wait(${IF($["${GLOBAL(DELAY_${BY})}"=""]?0.1:${GLOBAL(DELAY_${BY})})})
 same => n,Answer(0,i)
 same => n,Goto(talk,s,1)

[talk]
exten => s,1,ExecIf($["${LAB_SOFT}"="1"]?Set(VOLUME(TX)=-2))
 same => n,MixMonitor(${UNIQUEID}.wav,r(${UNIQUEID}-heard.wav)t(${UNIQUEID}-said.wav))
 same => n,ExecIf($["${LAB_STAY}"!=""]?Set(TIMEOUT(absolute)=${LAB_STAY}))
 same => n,GotoIf($["${LAB_FILE}"=""]?tone,1)
 same => n,Playback(${LAB_FILE},noanswer)
 same => n,Hangup()
exten => tone,1,Set(LAB_DOES=tone)
 same => n,Playtones(${LAB_TONE}/100000)
 same => n,Goto(stay,1)
exten => quiet,1,Set(LAB_DOES=quiet)
 same => n,StopPlaytones()
 same => n,Goto(stay,1)
exten => stay,1,Stasis(far)
 same => n,Hangup()
exten => refer,1,Transfer(PJSIP/${LAB_REFER_TO})
 same => n,GotoIf($["${TRANSFERSTATUS}"!="SUCCESS"]?stay,1)
 same => n,Hangup()
"""

# Playtones() needs a country to exist; its tones are not used.
INDICATIONS = """\
[general]
country = us
[us]
description = Lab
ringcadence = 2000
dial = 350
"""


def far_files(sip_port: int, pbx_port: int, codecs: str) -> dict[str, str]:
    """Return the configuration files of the far end: name to text."""
    prefixes = TONES_HZ | OTHER_CUSTOMER_HZ
    tones = "".join(f"TONE_{prefix} = {hz}\n" for prefix, hz in prefixes.items())
    tones += "".join(f"SOFT_{prefix} = 1\n" for prefix in SOFT)
    contact = f"sip:127.0.0.1:{pbx_port}"
    options = {"moh_passthrough": "yes", "trust_id_inbound": "yes"}
    # `pbx` takes the PBX's calls; each other endpoint places the calls of one party.
    taking = endpoint("pbx", contact, "phones", codecs, **options)
    taking += "[pbx]\ntype = identify\nendpoint = pbx\nmatch = 127.0.0.1\n"
    placing = "".join(
        endpoint(name, contact, "phones", codecs, from_user=name, **options)
        for name in (TRUNK, *AGENTS, *SUPERVISORS)
    )
    return {
        "extensions.conf": f"[globals]\n{tones}\n{DIALPLAN}",
        "indications.conf": INDICATIONS,
        "pjsip.conf": transport(sip_port, "ip,username") + taking + placing,
    }


class FarEnd:
    """The running far end: places calls, and sets how its phones behave."""

    def __init__(self, asterisk: Asterisk, pbx_port: int):
        self.asterisk = asterisk
        self._pbx_port = pbx_port
        self._claimed: set[str] = set()
        self._claiming = threading.Lock()
        self._events = self._connect()

    def close(self) -> None:
        """Leave the Stasis application."""
        self._events.abort()  # type: ignore[no-untyped-call]
        self._events.close()

    def behave(self, number: str, manner: Manner, answer_after_s: float, says: Path | None) -> None:
        """Set how the phone at `number` behaves from now on.

        With `says` it plays this WAV instead of its tone.
        """
        self._set_global(f"MANNER_{number}", manner)
        self._set_global(f"DELAY_{number}", f"{answer_after_s:g}")
        self._set_global(f"FILE_{number}", self._sound(says))

    def behave_all(
        self, prefix: str, manner: Manner, answer_after_s: float = 0.1, stay_s: float = 0
    ) -> None:
        """Set how all numbers that begin with these seven digits behave from now on.

        With `stay_s` they hang up that long after their answer. A number that was given to
        `behave` keeps its own behaviour.

        Example: `far.behave_all("1202556", "answer", stay_s=2)`, for a campaign
        """
        if len(prefix) != PREFIX_DIGITS:
            raise ValueError(f"{prefix!r} has not seven digits")
        self._set_global(f"MANNER_{prefix}", manner)
        self._set_global(f"DELAY_{prefix}", f"{answer_after_s:g}")
        self._set_global(f"STAY_{prefix}", f"{stay_s:g}" if stay_s else "")

    def forward(self, number: str, to: str) -> None:
        """Let the phone at `number` answer each call with 302, to another number at the PBX."""
        self._set_global(f"FORWARD_{number}", self.contact(to))
        self.behave(number, "forward", 0, None)

    def pick_up(self, number: str) -> "Leg":
        """Answer the phone at `number`, which rings, and let it answer from now on."""
        ringing = next(c for c in self.channels() if c["channelvars"]["LAB_PARTY"] == number)
        self.behave(number, "answer", 0, None)
        self.asterisk.cli(f"channel redirect {ringing['name']} phones,{number},answer")
        return self.await_leg(number)

    def place(
        self,
        number: str,
        via: str,
        party: str,
        name: str = "",
        says: Path | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> "Leg":
        """Let `party` call `number` by the endpoint `via`; return before anyone answers."""
        variables = {
            "LAB_PARTY": party,
            "LAB_TONE": str(hz_of(party)),
            "LAB_SOFT": str(int(party[:4] in SOFT)),
            "LAB_FILE": self._sound(says),
            **{f"PJSIP_HEADER(add,{one})": value for one, value in (headers or {}).items()},
        }
        with self._claiming:
            channel = self.asterisk.ari(
                "POST",
                "/channels",
                {"variables": variables},
                endpoint=f"PJSIP/{number}@{via}",
                context="talk",
                extension="s",
                priority=1,
                callerId=f'"{name}" <{party}>',
                timeout=120,
            )
            self._claimed.add(channel["id"])
        return Leg(self, channel["id"], party)

    def await_leg(self, party: str, timeout_s: float = 10.0) -> "Leg":
        """Wait for a newly answered leg at the phone `party`, and return it."""

        def claim() -> Leg | None:
            with self._claiming:
                for channel in self.channels():
                    is_party = channel["channelvars"]["LAB_PARTY"] == party
                    if is_party and channel["id"] not in self._claimed and _talks(channel):
                        self._claimed.add(channel["id"])
                        return Leg(self, channel["id"], party)
            return None

        return until(claim, timeout_s)

    def await_ringing(self, party: str, timeout_s: float = 10.0) -> "Leg":
        """Wait until the phone `party` rings, and return its leg; `await_leg` still finds it."""

        def find() -> Leg | None:
            for channel in self.channels():
                is_party = channel["channelvars"]["LAB_PARTY"] == party
                if is_party and channel["state"] in ("Ring", "Ringing"):
                    return Leg(self, channel["id"], party)
            return None

        return until(find, timeout_s)

    def channels(self) -> list[dict[str, Any]]:
        """Return the channels of the far end, as ARI lists them."""
        found: list[dict[str, Any]] = self.asterisk.ari("GET", "/channels")
        return found

    def hang_up_all(self) -> None:
        """Hang up every channel, and wait until all are gone."""
        for channel in self.channels():
            self.asterisk.ari_response("DELETE", f"/channels/{channel['id']}")
        until(lambda: not self.channels())

    def contact(self, number: str) -> str:
        """Return the SIP address of a number at the PBX."""
        return f"sip:{number}@127.0.0.1:{self._pbx_port}"

    def _set_global(self, name: str, value: str) -> None:
        self.asterisk.ari("POST", "/asterisk/variable", variable=name, value=value)

    def _sound(self, wav: Path | None) -> str:
        return self.asterisk.inside(wav.with_suffix("")) if wav else ""

    def _connect(self) -> websocket.WebSocket:
        """Register the Stasis application: read its events and drop them."""
        far = self.asterisk
        address = far.ari_url.replace("http:", "ws:")
        socket = websocket.create_connection(
            f"{address}/ari/events?app={APPLICATION}&api_key={far.username}:{far.password}",
            suppress_origin=True,
        )
        threading.Thread(target=_drain, args=(socket,), daemon=True).start()
        return socket


@dataclass(frozen=True)
class Leg:
    """One party's side of a call: a channel of the far end."""

    far: FarEnd
    channel_id: str
    party: str

    @property
    def hz(self) -> int:
        """Return the tone of this party, in Hz."""
        return hz_of(self.party)

    def shown(self) -> dict[str, str]:
        """Return `name` and `number` of the caller that this party's phone showed as it rang.

        They come from P-Asserted-Identity, or from From: as a carrier or a phone reads them.
        """
        caller: dict[str, str] = self._channel()["caller"]
        return caller

    def _channel(self) -> dict[str, Any]:
        channel = self.find()
        if channel is None:
            raise LookupError(f"the leg of {self.party} is gone")
        return channel

    def find(self) -> dict[str, Any] | None:
        """Return the channel as ARI lists it, or None when it is gone."""
        return next((c for c in self.far.channels() if c["id"] == self.channel_id), None)

    def is_up(self) -> bool:
        """Return whether this party is in a call and speaks."""
        channel = self.find()
        return channel is not None and _talks(channel)

    def await_up(self, timeout_s: float = 10.0) -> "Leg":
        """Wait until this party is connected and speaks."""
        until(self.is_up, timeout_s)
        return self

    def await_down(self, timeout_s: float = 10.0) -> None:
        """Wait until this party's call is over."""
        until(lambda: self.find() is None, timeout_s)

    def hang_up(self) -> None:
        """Hang up; do nothing if the leg is over."""
        self.far.asterisk.ari_response("DELETE", f"/channels/{self.channel_id}")
        self.await_down()

    def talk(self) -> None:
        """Speak the tone, or speak it again."""
        self._do("tone")

    def speak(self, hz: int) -> None:
        """Speak another tone from now on."""
        self._command("POST", "/variable", variable="LAB_TONE", value=str(hz))
        self.talk()

    def fall_silent(self) -> None:
        """Send no RTP at all, as a phone with silence suppression does, until `talk`."""
        self._do("quiet")

    def hold(self) -> None:
        """Hold as a desk phone does: fall silent and send a re-INVITE `sendonly`."""
        self.fall_silent()
        self._command("POST", "/hold")

    def unhold(self) -> None:
        """Take the call back from hold and speak."""
        self._command("DELETE", "/hold")
        self.talk()

    def send_dtmf(self, digits: str, each_ms: int = 100) -> None:
        """Press keys; return when Asterisk has accepted them, before they are sent."""
        self._command("POST", "/dtmf", dtmf=digits, before=0, between=each_ms, duration=each_ms)

    def refer(self, number: str, replaces: "Leg | None" = None) -> None:
        """Send REFER: let the other party call `number`, or take over the call `replaces`."""
        target = self.far.contact(number)
        if replaces:
            target += f"?Replaces={quote(replaces.dialog(), safe='')}"
        self._command("POST", "/variable", variable="LAB_REFER_TO", value=target)
        self._command("POST", "/continue", context="talk", extension="refer", priority=1)

    def dialog(self) -> str:
        """Return this leg's SIP dialog as a Replaces header (RFC 3891), seen from the PBX."""
        parts = {part: self._pjsip(part) for part in ("call-id", "local_tag", "remote_tag")}
        return "{call-id};to-tag={remote_tag};from-tag={local_tag}".format_map(parts)

    def pbx_channel(self, pbx: Asterisk) -> dict[str, Any]:
        """Return the PBX's channel of this leg, as the PBX's ARI lists it."""
        call_id = self._pjsip("call-id")
        channels: list[dict[str, Any]] = pbx.ari("GET", "/channels")
        return next(
            channel
            for channel in channels
            if channel["name"].startswith("PJSIP/") and sip_call_id(pbx, channel["id"]) == call_id
        )

    def _pjsip(self, part: str) -> str:
        return read_variable(self.far.asterisk, self.channel_id, f"CHANNEL(pjsip,{part})")

    def heard(self) -> Path:
        """Return the WAV of the audio that this party heard; the leg must be over.

        It lasts from the answer to the end of the leg, without the time in which the phone neither
        sends nor receives RTP (its own hold).
        """
        return self._recorded("heard")

    def said(self) -> Path:
        """Return the WAV of the audio that this party sent; the leg must be over.

        It is aligned to `heard`.
        """
        return self._recorded("said")

    def has_heard(self, seconds: float) -> bool:
        """Return whether this party's heard file on the disk holds that many seconds."""
        wav = self._wav("heard")
        return wav.exists() and wav.stat().st_size > seconds * BYTES_PER_S

    def _recorded(self, direction: str) -> Path:
        wav = self._wav(direction)
        until(lambda: _is_complete(wav))
        return wav

    def _wav(self, direction: str) -> Path:
        return self.far.asterisk.spool / "monitor" / f"{self.channel_id}-{direction}.wav"

    def _do(self, activity: str) -> None:
        """Send the channel to an extension of the context `talk`; wait until it is there."""
        self._command("POST", "/continue", context="talk", extension=activity, priority=1)

        def does() -> bool:
            channel = self._channel()
            return _talks(channel) and channel["channelvars"]["LAB_DOES"] == activity

        until(does)

    def _command(self, method: str, action: str, **query: object) -> None:
        """Send an ARI command to this channel; retry while it enters Stasis (409)."""
        path = f"/channels/{self.channel_id}{action}"

        def accepted() -> bool:
            answer = self.far.asterisk.ari_response(method, path, **query)
            if answer.status_code == 409:
                return False
            answer.raise_for_status()
            return True

        until(accepted)


def hz_of(number: str) -> int:
    """Return the tone of the party at a number, in Hz."""
    return (TONES_HZ | OTHER_CUSTOMER_HZ).get(number[:4], CUSTOMER_HZ)


def sip_call_id(asterisk: Asterisk, channel_id: str) -> str:
    """Return the Call-ID of a PJSIP channel; empty when it is gone."""
    return read_variable(asterisk, channel_id, "CHANNEL(pjsip,call-id)")


def read_variable(asterisk: Asterisk, channel_id: str, name: str) -> str:
    """Return a variable or function of a channel; empty when it is gone or has none."""
    answer = asterisk.ari_response("GET", f"/channels/{channel_id}/variable", variable=name)
    return str(answer.json()["value"]) if answer.ok else ""


def _talks(channel: Mapping[str, Any]) -> bool:
    """Return whether a channel is answered and has passed the dialplan that starts its voice."""
    return channel["state"] == "Up" and channel["dialplan"]["app_name"] in ("Stasis", "Playback")


def _drain(socket: websocket.WebSocket) -> None:
    try:
        while socket.recv():
            pass
    except (OSError, websocket.WebSocketException):
        return


def _is_complete(wav: Path) -> bool:
    """Return whether a WAV's header has the length of the file: Asterisk writes it on closing."""
    if not wav.exists() or wav.stat().st_size <= 44:
        return False
    with wav.open("rb") as file:
        file.seek(40)
        length: int = struct.unpack("<I", file.read(4))[0]
    return length == wav.stat().st_size - 44
