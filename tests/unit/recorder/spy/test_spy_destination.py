"""Where a supervisor may listen, and where not."""

import pytest

from recorder.errors import BadDestination
from recorder.spy.destination import refuse_destination, refuse_trunk

TRUNKS = ("PJSIP/trunk*", "DAHDI/g1", "SIP/carrier")


@pytest.mark.parametrize(
    "destination", ["PJSIP/9001", "SIP/sue-desk", "PJSIP/9001@registrar", "DAHDI/7", "browser"]
)
def test_phones(destination: str) -> None:
    """A phone that the PBX knows by name may be rung, and the browser needs none."""
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
def test_what_is_no_phone(destination: str) -> None:
    """What leads anywhere in the dialplan, or to any address, is refused."""
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
    """Nothing leads out of the house by a trunk, however it is written."""
    with pytest.raises(BadDestination, match="by a trunk"):
        refuse_trunk(destination, TRUNKS)


def test_trunks_are_those_of_the_pbx() -> None:
    """What is a trunk on one PBX may be a phone on another."""
    refuse_trunk("PJSIP/trunk", ())
