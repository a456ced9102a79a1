"""Read the URL of a webhook strictly, and decide which addresses it may reach. Pure.

`is_global` of the standard library is the base. It counts as global, in one version of Python or
another: multicast, site-local (fec0::/10) and every other IPv6 block outside 2000::/3, IPv4
addresses inside an IPv6 address (compatible, NAT64, 6to4), the anycast addresses of 192.0.0.0/24
and 2001::/23 (a router's port control answers there), 192.88.99.0/24, and 168.63.129.16, at which
each virtual machine of Azure reaches its host.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, cast
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

EXPECTED = "expected a URL such as https://example.com/hook, without a user name"
LONGEST_HOST = 253
PORTS = {"http": 80, "https": 443}

# Only these blocks of IPv6 are given out for the public network.
_UNICAST_6 = IPv6Network("2000::/3")
# The last four bytes of such an address are the IPv4 address that gets the packet.
_EMBEDDING = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32"),
        *("169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20"),
    )
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Every resolver reads a host with such a last label as an IPv4 address: `0x7f.1` is 127.0.0.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a webhook's URL; `path` has the query too."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str

    @property
    def receiver(self) -> str:
        """The server that gets the events; webhooks with the same receiver share its places.

        Example: `example.com:443`.
        """
        return f"{self.host}:{self.port}"


def parse_target(url: str) -> Target:
    """Parse the URL of a webhook. Raises ValueError, with a sentence for a person.

    Example: `parse_target("https://Example.com./hook?a=1")` has the host `example.com`, the port
    443 and the path `/hook?a=1`.
    """
    if not url.isascii():
        raise ValueError(f"{EXPECTED}; write a name in another script as xn--…")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(EXPECTED) from None
    if not re.fullmatch(r"[!-\[\]-~]+", url) or parts.scheme not in PORTS or port == 0:
        raise ValueError(EXPECTED)
    if "@" in parts.netloc or not parts.hostname:
        raise ValueError(EXPECTED)
    host = _parse_host(parts.hostname, is_bracketed="[" in parts.netloc)
    scheme = cast(Literal["http", "https"], parts.scheme)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, port or PORTS[scheme], path)


def parse_address(host: str) -> Address | None:
    """Return the address that a host is, or None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Return whether a webhook may go to this address where private addresses are not allowed.

    Example: `is_public(ip_address("64:ff9b::7f00:1"))` is False, because it means 127.0.0.1.
    """
    if isinstance(address, IPv6Address):
        if any(address in block for block in _EMBEDDING):
            return is_public(IPv4Address(address.packed[-4:]))
        if address not in _UNICAST_6:
            return False
    return address.is_global and not any(
        address in block for block in _NOT_PUBLIC if block.version == address.version
    )


def _parse_host(host: str, *, is_bracketed: bool) -> str:
    """Return the host in its only form: no capital letter, no last dot, no odd number."""
    if is_bracketed:
        address = parse_address(host)
        if not isinstance(address, IPv6Address) or address.scope_id is not None:
            raise ValueError(EXPECTED)
        return str(address)
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(name) > LONGEST_HOST or not all(_LABEL.fullmatch(one) for one in labels):
        raise ValueError(EXPECTED)
    if _NUMBER.fullmatch(labels[-1]) and parse_address(name) is None:
        raise ValueError("write an IPv4 address as four decimal numbers, such as 203.0.113.7")
    return name
