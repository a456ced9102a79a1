"""The destinations that a supervisor may use, and those refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import BadDestination, PhoneInCall
from recorder.spy.destination import parse_destination, refuse_party
from storage.records import CallRecord
from tests.legs import ZERO, leg


@pytest.mark.parametrize(
    ("destination", "parts"),
    [
        ("PJSIP/9001", ("PJSIP", "9001")),
        ("pjsip/9001", ("pjsip", "9001")),
        ("SIP/sue-desk", ("SIP", "sue-desk")),
        ("PJSIP/sue.sander_2+home", ("PJSIP", "sue.sander_2+home")),
        ("browser", None),
    ],
)
def test_phones(destination: str, parts: tuple[str, str] | None) -> None:
    """A phone is parsed into its technology and its endpoint; the browser has none."""
    assert parse_destination(destination) == parts


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "9001",
        "PJSIP/",
        "/9001",
        "Browser",
        " browser",
        "Local/9001",
        "lOCAL/9001",
        "Local/9001@agents",
        "PJSIP/9001\n",
        "PJSIP/9001\x00",
        "PJSIP/9001 ",
        "PJSIP/9001/sip:me@example.com",
        "PJSIP/12025550199@trunk",
        "PJSIP/12025550199@tr\\unk",
        'PJSIP/12025550199@tr"unk',
        "PJSIP/tr\\unk",
        'PJSIP/tr"unk',
        "PJSIP/9001;x",
        "PJSIP/9001&PJSIP/trunk",
        "PJSIP/9001,30",
        "PJSIP/9001|30",
        "PJSIP/${TRUNK}",
        "PJSIP/9001%40trunk",
        "PJSIP/\uff19\uff10\uff10\uff11",
        "PJSIP/sip:me@example.com",
        "SIP/100@host",
        "IAX2/host/100",
        "IAX2/me:secret@example.com/1",
        "DAHDI/g1/12025550123",
        "PJSIP/..",
        "PJSIP/" + "9" * 81,
    ],
)
def test_other_destinations_are_refused(destination: str) -> None:
    """An address, a number behind an endpoint, a place in the dialplan and odd text are refused."""
    with pytest.raises(BadDestination, match="neither a phone"):
        parse_destination(destination)


@given(st.text())
def test_a_dial_string_keeps_every_character(text: str) -> None:
    """A text that is accepted has no character that Asterisk reads as more than itself."""
    try:
        parts = parse_destination(f"PJSIP/{text}")
    except BadDestination:
        return
    assert parts == ("PJSIP", text)
    assert text.isascii()
    assert set("\\\"'/@:;&,|%${}()[]!~*# \n\r\t\0").isdisjoint(text)


@pytest.mark.parametrize("resource", ["2001", "9002", "SUE", "2009"])
def test_a_phone_in_the_call_is_refused(resource: str) -> None:
    """The phone of a party, of a joined call's party and of the agent are refused."""
    legs = (leg("a", name="PJSIP/2001-1"), leg("s", name="PJSIP/sue-2"))
    call = CallRecord("main-1.0", "main", "up", "inbound", ZERO, channels=legs, agent="2009")
    joined = CallRecord(
        "main-2.0", "main", "up", "internal", ZERO, channels=(leg("b", name="PJSIP/9002-3"),)
    )
    with pytest.raises(PhoneInCall):
        refuse_party("PJSIP", resource, (call, joined))


def test_a_phone_that_has_left_the_call_is_no_party() -> None:
    """A supervisor who handed the call over may listen to it."""
    gone = leg("a", name="PJSIP/9001-1", left=True)
    call = CallRecord("main-1.0", "main", "up", "inbound", ZERO, channels=(gone,), agent="2001")
    refuse_party("PJSIP", "9001", (call,))
