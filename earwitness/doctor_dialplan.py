"""Whether a proxy lets others ask as a dialplan that needs no token.

A PBX with `dialplan_without_token` is known by its address alone. A proxy on the machine of the PBX
has that address too, so a request of anybody that it passes on counts as the PBX's, unless the
proxy adds a header that says so.
"""

import ipaddress
from collections.abc import Iterable
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

from earwitness.config import Server

# It asks about a channel that cannot exist, and changes nothing.
PROBE = "/api/v1/dialplan/record?action=decide&channel=earwitness-doctor"
ANSWERS_WITHIN_S = 5.0


def has_proxy(server: Server) -> bool:
    """Return whether the configuration names a proxy; we serve plain HTTP alone."""
    return server.proxies > 0 or server.public_url.startswith("https:")


def is_on_this_machine(addresses: Iterable[str]) -> bool:
    """Return whether one of these addresses is a loopback address."""
    return any(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)


def lets_through(url: str) -> bool | None:
    """Return whether a request without a token is taken at this URL; None if nobody answers."""
    try:
        with urlopen(url + PROBE, timeout=ANSWERS_WITHIN_S):  # noqa: S310  # our own address
            return True
    except HTTPError as error:
        return error.code not in (401, 403)
    except (OSError, HTTPException):
        return None
