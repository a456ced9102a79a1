"""The phones of the house that we ring, for a supervisor or for an agent who dials.

The audio of a call must not leave the house. So the name of a phone is parsed into a technology and
an endpoint, both of plain characters; the PBX must know the endpoint, and it must be no trunk. The
text of a request never reaches the PBX: the dial string is built from the words of the PBX.

A dial string would lose characters: Asterisk dials `PJSIP/1@tr\\unk` by the trunk `trunk`. It may
name an address (`PJSIP/9001/sip:me@example.com`, `SIP/example.com`), a number behind an endpoint
(`PJSIP/1@trunk`), a place in the dialplan (`Local/1@agents`), or several phones (`&`).
"""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from recorder.ari import Ari, Endpoint
from recorder.errors import BadDestination

_PHONE = re.compile(r"([A-Za-z0-9]{1,20})/([A-Za-z0-9_][A-Za-z0-9_.+-]{0,79})")
# Nothing is dialled in this context of the dialplan, because it does not exist.
NOWHERE = "earwitness-nowhere"
# A phone that answers by 302 leads Asterisk to this context.
NOT_FORWARDED = {"FORWARD_CONTEXT": NOWHERE}


def parse_phone(text: str) -> tuple[str, str]:
    """Return technology and endpoint of a phone.

    Example: `PJSIP/9001` gives `("PJSIP", "9001")`. Raises BadDestination for anything else.
    """
    match = _PHONE.fullmatch(text)
    if match is None or match[1].casefold() == "local":
        raise BadDestination(f"{text!r} is no phone (TECH/endpoint)")
    return match[1], match[2]


def refuse_trunk(technology: str, resource: str, trunks: Collection[str]) -> None:
    """Raise BadDestination if the endpoint is a trunk of the PBX.

    `trunks` are patterns such as `PJSIP/trunk*`. Case is ignored: Asterisk ignores it in a
    technology, and some of its databases ignore it in an endpoint.
    """
    endpoint = f"{technology}/{resource}"
    if any(fnmatchcase(endpoint.casefold(), trunk.casefold()) for trunk in trunks):
        raise BadDestination(f"{endpoint!r} leads out of the house, by a trunk")


def find_phone(
    ari: Ari, technology: str, resource: str, trunks: Collection[str]
) -> Endpoint | None:
    """Return a phone in the words of the PBX; None if it has no such phone.

    Raises BadDestination for a trunk, and for a technology of which the PBX has no endpoint;
    AriError.
    """
    refuse_trunk(technology, resource, trunks)
    endpoint = ari.find_endpoint(technology, resource)
    if endpoint is None:
        if not ari.has_endpoints(technology.upper()):
            raise BadDestination(f"this PBX has no phone of the technology {technology}")
        return None
    refuse_trunk(endpoint.technology, endpoint.resource, trunks)
    return endpoint


def build_phone(endpoint: Endpoint) -> str:
    """Return the dial string of an endpoint. Raises BadDestination for a name of other characters.

    The PBX has found the endpoint by a name of ours, so only its case may differ.
    """
    phone = f"{endpoint.technology}/{endpoint.resource}"
    parse_phone(phone)
    return phone
