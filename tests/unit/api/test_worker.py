"""When a request is whole enough for a thread, and which addresses count as one client."""

import pytest

from api.worker import LONGEST_BODY_AHEAD_BYTES, is_complete, network_of

HEAD = b"POST /api/v1/searches HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("received", "complete"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT", True),
        (HEAD + b"Content-Length: 3\r\n\r\n{}", False),
        (HEAD + b"content-length:3\r\n\r\n{}\n", True),
        (HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n", True),
        (HEAD + b"Content-Length: %d\r\n\r\n" % LONGEST_BODY_AHEAD_BYTES, False),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (LONGEST_BODY_AHEAD_BYTES + 1), True),
        (HEAD + b"X-Content-Length: 3\r\n\r\n", True),
        (HEAD + b"A: 1\r\n\r\nContent-Length: 3\r\n\r\n", True),
        (b"\r\n\r\n", True),
    ],
)
def test_a_thread_gets_whole_requests(received: bytes, complete: bool) -> None:
    """Headers must be whole, and a short body of known length that the client sends unasked."""
    assert is_complete(received) is complete


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_client_has_one_network(address: str, network: str) -> None:
    """An address of IPv4 stands for itself, one of IPv6 for its /64."""
    assert network_of(address) == network
