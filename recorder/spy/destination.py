"""Where a supervisor may listen: on a phone of the house, or in the browser. Pure.

What is heard leaves the house by no trunk and to no address of a stranger's: a spy rings phones
that the PBX knows by name.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from recorder.errors import BadDestination
from recorder.recording.voices import BROWSER

# Where a dial string names an endpoint: NAME, NUMBER@NAME, NAME/NUMBER.
_JOINTS = re.compile("[/@]")


def refuse_destination(destination: str) -> None:
    """Raise BadDestination unless it is the browser, or a phone: TECH/resource.

    Local/ is refused: it leads anywhere in the dialplan. So is an address, as in
    `PJSIP/9001/sip:me@example.com`: it leads anywhere at all.
    """
    technology, _, resource = destination.partition("/")
    named = technology.isalnum() and resource and ":" not in resource and destination.isprintable()
    if destination != BROWSER and (not named or technology.lower() == "local"):
        raise BadDestination(f"{destination!r} is neither a phone (TECH/resource) nor the browser")


def refuse_trunk(destination: str, trunks: Iterable[str]) -> None:
    """Raise BadDestination where the phone is behind one of the PBX's trunks, or is one.

    `trunks` are patterns such as `PJSIP/trunk*`. Asterisk takes a technology in any case, and some
    of its data bases an endpoint too.
    """
    if destination == BROWSER:
        return
    technology, _, resource = destination.casefold().partition("/")
    endpoints = {f"{technology}/{part}" for part in (resource, *_JOINTS.split(resource))}
    patterns = [trunk.casefold() for trunk in trunks]
    if any(fnmatchcase(one, pattern) for one in endpoints for pattern in patterns):
        raise BadDestination(f"{destination!r} leads out of the house, by a trunk")
