"""The destinations that a supervisor may use, and those refused."""

import pytest

from recorder.errors import BadDestination
from recorder.spy.destination import refuse_destination, refuse_trunk

TRUNKS = ("PJSIP/trunk*", "DAHDI/g1", "SIP/carrier")


@pytest.mark.parametrize(
    "destination",
    ["PJSIP/9001", "SIP/sue-desk", "PJSIP/9001@registrar", "DAHDI/7", "DAHDI/i1/7", "browser"],
)
def test_phones(destination: str) -> None:
    """A phone that the PBX knows by name is accepted, and so is the browser."""
    refuse_destination(destination)
    refuse_trunk(destination, TRUNKS)


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "9001",
        "PJSIP/",
        "Browser",
        "Local/9001@agents",
        "local/9001@agents",
        "PJSIP/9001\n",
        "PJSIP/9001/sip:me@example.com",
        "PJSIP/sip:me@example.com",
        "IAX2/me:secret@example.com/1",
    ],
)
def test_other_destinations_are_refused(destination: str) -> None:
    """A destination into the dialplan, or to an address, is refused."""
    with pytest.raises(BadDestination, match="neither a phone"):
        refuse_destination(destination)


@pytest.mark.parametrize(
    "destination",
    [
        "PJSIP/trunk",
        "PJSIP/trunk-2",
        "PJSIP/12025550123@trunk",
        "PJSIP/trunk/12025550123",
        "pjsip/12025550123@Trunk",
        "SIP/12025550123@carrier",
        "SIP/carrier/12025550123",
        "DAHDI/g1/12025550123",
    ],
)
def test_trunks(destination: str) -> None:
    """A phone behind a trunk is refused in every form of writing it."""
    with pytest.raises(BadDestination, match="by a trunk"):
        refuse_trunk(destination, TRUNKS)


def test_trunks_are_those_of_the_pbx() -> None:
    """Only the trunks of the own PBX are refused."""
    refuse_trunk("PJSIP/trunk", ())
