"""The configuration of the PBX under test: a small contact centre.

Customers are behind `PJSIP/trunk`. Agents have phones at 2001 to 2010, supervisors at 9001 and
9002. The far end (`lab.far`) plays all of them on one loopback port; the PBX recognises each by the
user in From. Real telephones at other extensions (`lab.phones`) have ports of their own. Everybody
may dial a conference room: 8000 to 8999; those from 8600 to 8699 are conferences of Earwitness.
Calls that Earwitness sets up leave through the context `outbound`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

AGENTS = {
    "2001": "Ann Archer",
    "2002": "Ben Bauer",
    "2003": "Cleo Costa",
    "2004": "Dan Deters",
    "2005": "Eva Engel",
    "2006": "Finn Faber",
    "2007": "Gita Gupta",
    "2008": "Hugo Haas",
    "2009": "Ida Ivers",
    "2010": "Jon Jansen",
}
SUPERVISORS = {"9001": "Sue Sander", "9002": "Sam Seidl"}
TRUNK = "trunk"

# Music and ringing have tones of their own, so that `lab.ears` can recognise them.
MUSIC_HZ = 620
RING_HZ = 740

DID_AGENT = "3000"
DID_QUEUE = "3001"
DID_IVR = "3002"
DID_VIP = "3003"  # as DID_AGENT, with the variable VIP set to "yes"
DID_SECOND = "3004"  # rings 2002
DID_BOT = "3005"  # a voice bot takes the call (`lab.bot`)
DID_ANSWERED = "3006"  # the PBX answers before it rings 2001, so the caller can speak at once
PARKING = "700"
ROOM = "8000"
OTHER_ROOM = "8001"
BOT = "bot"  # the ARI application of the voice bot
# The contexts that the service's configuration names: `dial_context` and `conference_context`.
OUTBOUND = "outbound"
CONFERENCES = "conferences"

DIALPLAN = """\
[dids]
exten => 3000,1,Dial(PJSIP/2001,60,t)
exten => 3001,1,Answer()
 same => n,Queue(support,t,,,120)
exten => 3002,1,Answer()
 same => n(menu),Background(vm-enter-num-to-call)
 same => n,WaitExten(60)
exten => 3003,1,Set(VIP=yes)
 same => n,Goto(3000,1)
exten => 3004,1,Dial(PJSIP/2002,60,t)
exten => 3005,1,Answer()
 same => n,Stasis(bot)
exten => 3006,1,Answer()
 same => n,Goto(3000,1)
; 3011 rings the telephone 2011, 3012 the one at 2012 …
exten => _301X,1,Dial(PJSIP/20${EXTEN:2},60,t)
exten => _8XXX,1,Answer()
 same => n,ConfBridge(${EXTEN})
; The conference of Earwitness that is named room8600 …
exten => _86XX,1,Stasis(earwitness,conference,room${EXTEN})
 same => n,Hangup()
exten => 1,1,Goto(3000,1)
exten => 2,1,Goto(3001,1)

[agents]
include => dids
include => parkedcalls
exten => _1XXXXXXXXXX,1,Dial(PJSIP/${EXTEN}@trunk,60,T)
exten => _2XXX,1,Dial(PJSIP/${EXTEN},60,tT)
exten => _9XXX,1,Dial(PJSIP/${EXTEN},60)

; A panel on AMI originates this channel, to send a command (docs/programs.md).
[earwitness-programs]
exten => ask,1,UserEvent(earwitness,${EARWITNESS})
 same => n,Wait(5)
 same => n,Hangup()

; A test sets CURL_TOKEN and CURL_URL, and reads CURL_SAID.
[curl]
exten => header,1,Set(CURLOPT(httpheader)=Authorization: Bearer ${CURL_TOKEN})
 same => n,Set(GLOBAL(CURL_SAID)=${CURL(${CURL_URL})})
 same => n,Hangup()

; A number in any `dial_format`, such as 12025550123 or +12025550123.
[outbound]
exten => _[+0-9]X.,1,Dial(PJSIP/${EXTEN}@trunk,60,T)
 same => n,Hangup()
"""

QUEUES = """\
[general]
[support]
strategy = ringall
timeout = 60
ringinuse = no
musicclass = default
member => PJSIP/2001
member => PJSIP/2002
"""

FEATURES = """\
[general]
transferdigittimeout = 3
featuredigittimeout = 1000
[featuremap]
blindxfer => #1
atxfer => *3
"""

INDICATIONS = f"""\
[general]
country = lab
[lab]
description = Lab
ringcadence = 1000,3000
dial = {RING_HZ}
ring = {RING_HZ}/1000,0/3000
busy = {RING_HZ}/500,0/500
congestion = {RING_HZ}/250,0/250
callwaiting = {RING_HZ}/1000,0/3000
dialrecall = {RING_HZ}
"""

CONFBRIDGE = """\
[general]
[default_user]
type = user
quiet = yes
[default_bridge]
type = bridge
"""

PARKING_LOT = """\
[default]
parkext => 700
parkpos => 701-709
context => parkedcalls
parkingtime => 300
"""


def pbx_files(
    sip_port: int,
    far_port: int,
    music: str,
    codecs: Mapping[str, str],
    telephones: Mapping[str, int],
) -> dict[str, str]:
    """Return the PBX's configuration files; `music` is the music directory inside the root.

    `codecs` maps endpoints to their codecs, "" for all others. `telephones` maps the extensions of
    real telephones to their ports.
    """
    usual = codecs[""]
    allowed = codecs.get(TRUNK, usual)
    # SIPp takes no re-INVITE in a call, and Asterisk sends one when a late answer has a new name.
    quiet = {"send_connected_line": "no"} if telephones else {}
    trunk = endpoint(
        TRUNK, f"sip:127.0.0.1:{far_port}", "dids", allowed, trust_id_inbound="yes", **quiet
    )
    names = AGENTS | SUPERVISORS | dict.fromkeys(telephones, "Real Telephone")
    phones = "".join(
        endpoint(
            number,
            f"sip:{number}@127.0.0.1:{telephones.get(number, far_port)}",
            "agents",
            codecs.get(number, usual),
            device_state_busy_at="1",
            callerid=f'"{name}" <{number}>',
        )
        for number, name in names.items()
    )
    return {
        "extensions.conf": DIALPLAN + _conferences(),
        "queues.conf": QUEUES,
        "features.conf": FEATURES,
        "confbridge.conf": CONFBRIDGE,
        "res_parking.conf": PARKING_LOT,
        "indications.conf": INDICATIONS,
        "musiconhold.conf": f"[default]\nmode = files\ndirectory = {music}\n",
        "pjsip.conf": transport(sip_port, "username") + trunk + phones,
    }


def _conferences() -> str:
    """Return the dialplan that sites include for conferences."""
    return (Path(__file__).parents[1] / "deploy/asterisk/conferences.conf").read_text()


def transport(sip_port: int, identify_by: str) -> str:
    """Return the head of a `pjsip.conf`: one UDP transport on the loopback."""
    return (
        f"[global]\ntype = global\nendpoint_identifier_order = {identify_by}\n"
        f"[udp]\ntype = transport\nprotocol = udp\nbind = 127.0.0.1:{sip_port}\n"
    )


def endpoint(name: str, contact: str, context: str, codecs: str, **options: str) -> str:
    """Return an endpoint with its address of record, as `pjsip.conf` writes it.

    Bind RTP to the loopback by its address: otherwise Asterisk asks the DNS for its own address
    four times a call.
    """
    common = {
        "context": context,
        "disallow": "all",
        "allow": codecs,
        "aors": name,
        "direct_media": "no",
        "media_address": "127.0.0.1",
        "bind_rtp_to_media_address": "yes",
        "send_pai": "yes",
        "timers": "no",
    }
    lines = "".join(f"{key} = {value}\n" for key, value in (common | options).items())
    return f"[{name}]\ntype = endpoint\n{lines}[{name}]\ntype = aor\ncontact = {contact}\n"


def write_music(directory: Path, seconds: int = 60, rate: int = 8000) -> None:
    """Write the music on hold: a pure tone of MUSIC_HZ."""
    directory.mkdir()
    tone = 0.25 * np.sin(2 * np.pi * MUSIC_HZ * np.arange(seconds * rate) / rate)
    soundfile.write(directory / "music.wav", tone, rate, subtype="PCM_16")
