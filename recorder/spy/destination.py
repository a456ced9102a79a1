"""The destinations of a spy: a phone of the house, or the browser. Pure.

The audio of a call must not leave the house. So a destination is parsed into a technology and an
endpoint, both of plain characters; the PBX must know the endpoint, and it must be no trunk. The
text of a request never reaches the PBX: the dial string is built from the words of the PBX.

A dial string would lose characters: Asterisk dials `PJSIP/1@tr\\unk` by the trunk `trunk`. It may
name an address (`PJSIP/9001/sip:me@example.com`, `SIP/example.com`), a number behind an endpoint
(`PJSIP/1@trunk`), a place in the dialplan (`Local/1@agents`), or several phones (`&`).
"""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from recorder.ari import Endpoint
from recorder.calls.legs import endpoint_of, live_legs
from recorder.errors import BadDestination, PhoneInCall
from recorder.recording.voices import BROWSER
from storage.records import CallRecord

_PHONE = re.compile(r"([A-Za-z0-9]{1,20})/([A-Za-z0-9_][A-Za-z0-9_.+-]{0,79})")
# Nothing is dialled in this context of the dialplan, because it does not exist.
NOWHERE = "earwitness-nowhere"
# A phone that answers by 302, or that transfers the spy, leads Asterisk to these contexts.
STAYS_HERE = {"FORWARD_CONTEXT": NOWHERE, "TRANSFER_CONTEXT": NOWHERE}


def parse_destination(destination: str) -> tuple[str, str] | None:
    """Return technology and endpoint of a phone, or None for the browser.

    Example: `PJSIP/9001` gives `("PJSIP", "9001")`. Raises BadDestination for anything else.
    """
    if destination == BROWSER:
        return None
    match = _PHONE.fullmatch(destination)
    if match is None or match[1].casefold() == "local":
        raise BadDestination(f"{destination!r} is neither a phone (TECH/endpoint) nor the browser")
    return match[1], match[2]


def refuse_trunk(technology: str, resource: str, trunks: Collection[str]) -> None:
    """Raise BadDestination if the endpoint is a trunk of the PBX.

    `trunks` are patterns such as `PJSIP/trunk*`. Case is ignored: Asterisk ignores it in a
    technology, and some of its databases ignore it in an endpoint.
    """
    endpoint = f"{technology}/{resource}"
    if any(fnmatchcase(endpoint.casefold(), trunk.casefold()) for trunk in trunks):
        raise BadDestination(f"{endpoint!r} leads out of the house, by a trunk")


def refuse_party(technology: str, resource: str, conversation: Collection[CallRecord]) -> None:
    """Raise PhoneInCall if the phone is in one of these calls, or is the phone of its agent."""
    endpoint = f"{technology}/{resource}".casefold()
    inside = {endpoint_of(leg).casefold() for call in conversation for leg in live_legs(call)}
    agents = {call.agent.casefold() for call in conversation if call.agent is not None}
    if endpoint in inside or resource.casefold() in agents:
        raise PhoneInCall(f"{technology}/{resource} is itself in the call")


def build_destination(endpoint: Endpoint) -> str:
    """Return the dial string of an endpoint. Raises BadDestination for a name of other characters.

    The PBX has found the endpoint by a name of ours, so only its case may differ.
    """
    destination = f"{endpoint.technology}/{endpoint.resource}"
    parse_destination(destination)
    return destination
