"""The phones that may be rung, and those refused."""

import pytest

from recorder.ari import Endpoint
from recorder.dialling.phones import build_phone, parse_phone, refuse_trunk
from recorder.errors import BadDestination

TRUNKS = ("PJSIP/trunk*", "SIP/carrier")


def test_a_phone_has_technology_and_endpoint() -> None:
    """A phone is parsed; the browser, and a number behind an endpoint, are no phones."""
    assert parse_phone("PJSIP/2001") == ("PJSIP", "2001")
    for text in ("browser", "2001", "PJSIP/12025550123@trunk", "Local/2001"):
        with pytest.raises(BadDestination, match="no phone"):
            parse_phone(text)


@pytest.mark.parametrize(
    ("technology", "resource"),
    [("PJSIP", "trunk"), ("PJSIP", "trunk-2"), ("pjsip", "Trunk"), ("SIP", "carrier")],
)
def test_trunks(technology: str, resource: str) -> None:
    """A trunk is refused in upper and lower case."""
    with pytest.raises(BadDestination, match="by a trunk"):
        refuse_trunk(technology, resource, TRUNKS)


def test_trunks_are_those_of_the_pbx() -> None:
    """Only the trunks of the own PBX are refused, and no phones."""
    refuse_trunk("PJSIP", "trunk", ())
    refuse_trunk("PJSIP", "9001", TRUNKS)


def test_a_dial_string_has_the_words_of_the_pbx() -> None:
    """The dial string is built from the answer of the PBX, which must be plain too."""
    assert build_phone(Endpoint("PJSIP", "9001", "online")) == "PJSIP/9001"
    with pytest.raises(BadDestination):
        build_phone(Endpoint("PJSIP", "9001@trunk", "online"))
