"""The URLs of webhooks, and the addresses that they may reach."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.work.addresses import Target, is_public, parse_address, parse_target

# From the registries of special-purpose addresses (RFC 6890) and of multicast and IPv6 blocks.
PRIVATE_4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
    "168.63.129.16/32",
]  # fmt: skip
PRIVATE_6 = [
    "::/128", "::1/128", "::/8", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32",
    "2001::/23", "2001:2::/48", "2001:20::/28", "2001:db8::/32", "2002::/16", "3ffe::/16",
    "3fff::/20", "4000::/3", "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10",
    "ff00::/8",
]  # fmt: skip
# Prefixes of IPv6 addresses that carry an IPv4 address in their last 32 bits.
EMBEDDING = ["::ffff:0:0", "64:ff9b::"]
# The same where any IPv4 address is refused.
REFUSED_EMBEDDING = ["::", "64:ff9b:1::", "2002::", "::ffff:0:0:0"]


@pytest.mark.parametrize("block", PRIVATE_4 + PRIVATE_6)
def test_the_ends_of_private_blocks_are_not_public(block: str) -> None:
    """The first and the last address of each special block are refused."""
    network = ip_network(block)
    embedded = ("::ffff:", "64:ff9b::")
    for address in (network.network_address, network.broadcast_address):
        assert not is_public(address) or str(address).startswith(embedded)


@given(st.sampled_from(PRIVATE_4), st.integers(0, 2**32 - 1), st.sampled_from([*EMBEDDING, ""]))
def test_no_private_address_is_public_in_any_form(block: str, salt: int, prefix: str) -> None:
    """Each address of a private IPv4 block is refused, also inside an IPv6 address."""
    network = ip_network(block)
    address = network[salt % network.num_addresses]
    whole = IPv6Address(int(IPv6Address(prefix)) + int(address)) if prefix else address
    assert not is_public(whole)
    assert parse_address(str(whole)) == whole


@given(st.sampled_from(REFUSED_EMBEDDING), st.integers(0, 2**32 - 1))
def test_old_ways_of_embedding_are_refused(prefix: str, address: int) -> None:
    """Compatible, translated, 6to4 and local NAT64 addresses are refused, whatever they carry."""
    base = int(IPv6Address(prefix))
    shifted = address << 80 if prefix == "2002::" else address
    assert not is_public(IPv6Address(base + shifted))


@given(st.sampled_from(PRIVATE_6[3:]), st.integers(0, 2**128 - 1))
def test_no_address_of_a_special_block_is_public(block: str, salt: int) -> None:
    """Each address of a special IPv6 block is refused."""
    network = ip_network(block)
    assert not is_public(network[salt % network.num_addresses])


@given(st.ip_addresses(v=4))
def test_a_public_address_is_in_no_private_block(address: IPv4Address) -> None:
    """An IPv4 address is public exactly if it lies in none of the blocks."""
    assert is_public(address) is not any(address in ip_network(one) for one in PRIVATE_4)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1",
     "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_public_addresses(address: str) -> None:
    """Ordinary addresses are public, also those that a NAT64 makes."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/")),
        ("HTTP://Example.COM.:8080/a?b=c#d", Target("http", "example.com", 8080, "/a?b=c")),
        ("https://[2606:4700::1111]:9/x", Target("https", "2606:4700::1111", 9, "/x")),
        ("http://my_store:9000/", Target("http", "my_store", 9000, "/")),
        ("https://xn--bcher-kva.example/?q", Target("https", "xn--bcher-kva.example", 443, "/?q")),
        ("http://127.0.0.1:80//x", Target("http", "127.0.0.1", 80, "//x")),
    ],
)
def test_a_url(url: str, target: Target) -> None:
    """The host has one form: small letters and no dot at its end."""
    assert parse_target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/hook", "ftp://example.com", "https://", "https:///path", "https://:443/",
        "https://me:secret@example.com", "https://@example.com", "https://example.com:0",
        "https://example.com:99999", "https://example.com:x", "https://exa mple.com",
        "https://example.com/\n", "\thttps://example.com", "https://example.com\\@127.0.0.1/",
        "https://[::1", "https://[1.2.3.4]/", "https://[fe80::1%25eth0]/", "https://[v1.x]/",
        "https://exa%6dple.com", "https://a..b/", "https://.example.com", "https://-a.example",
        f"https://{'a' * 64}.com", f"https://{'a.' * 130}com", "https://example.com%00.org",
        "https://bücher.example", "https://example。com/", "https://①②⑦.0.0.1/",
    ],
)  # fmt: skip
def test_a_strange_url_is_refused(url: str) -> None:
    """Nothing is guessed: a URL that two programs could read differently is refused."""
    with pytest.raises(ValueError, match="expected a URL such as https:"):
        parse_target(url)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "127.0.1", "0177.0.0.1",
     "127.0.0.01", "1.2.3.4.5", "256.1.1.1", "example.123", "0X7F.0.0.1", "2130706433.", "0x"],
)  # fmt: skip
def test_an_odd_way_of_writing_an_address_is_refused(host: str) -> None:
    """An IPv4 address has four decimal numbers; resolvers read other forms in their own ways."""
    with pytest.raises(ValueError, match="write an IPv4 address as four"):
        parse_target(f"http://{host}/")
