"""The destinations of a spy: a phone of the house, or the browser. Pure.

The audio of a call must not leave the house: a spy rings no trunk and no foreign address, but
phones that the PBX knows by name.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from recorder.errors import BadDestination
from recorder.recording.voices import BROWSER

# The forms of a dial string that name an endpoint: NAME, NUMBER@NAME, NAME/NUMBER.
_JOINTS = re.compile("[/@]")


def refuse_destination(destination: str) -> None:
    """Raise BadDestination unless the destination is `browser` or a phone, TECH/resource.

    Local/ is refused, because it leads anywhere in the dialplan, and so is an address, for example
    `PJSIP/9001/sip:me@example.com`.
    """
    technology, _, resource = destination.partition("/")
    named = technology.isalnum() and resource and ":" not in resource and destination.isprintable()
    if destination != BROWSER and (not named or technology.lower() == "local"):
        raise BadDestination(f"{destination!r} is neither a phone (TECH/resource) nor the browser")


def refuse_trunk(destination: str, trunks: Iterable[str]) -> None:
    """Raise BadDestination if the phone is a trunk of the PBX, or is behind one.

    `trunks` are patterns such as `PJSIP/trunk*`. Case is ignored: Asterisk ignores it in a
    technology, and some of its databases ignore it in an endpoint.
    """
    if destination == BROWSER:
        return
    technology, _, resource = destination.casefold().partition("/")
    endpoints = {f"{technology}/{part}" for part in (resource, *_JOINTS.split(resource))}
    patterns = [trunk.casefold() for trunk in trunks]
    if any(fnmatchcase(one, pattern) for one in endpoints for pattern in patterns):
        raise BadDestination(f"{destination!r} leads out of the house, by a trunk")
