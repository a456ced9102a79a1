"""Numbers: how people write them, which ones may be dialled, and the form for the dialplan."""

import pytest

from recorder.dialling.numbers import (
    DialPolicy,
    check_allowed,
    format_number,
    parse_number,
    zones_of,
)
from recorder.errors import NotANumber, NumberRefused


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("12025550123", "US", "+12025550123"),
        ("2025550123", "US", "+12025550123"),
        (" (202) 555-0123 ", "US", "+12025550123"),
        ("+1 202.555.0123", "DE", "+12025550123"),
        ("202\u00a0555\u20110123", "US", "+12025550123"),
        ("030/901820", "DE", "+4930901820"),
        ("0012025550123", "DE", "+12025550123"),
        ("011 49 30 901820", "US", "+4930901820"),
        ("+44 20 7946 0000", "US", "+442079460000"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, region: str, number: str) -> None:
    """Blanks, brackets and dashes do not count; the region adds a missing country code."""
    assert parse_number(text, region) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no telephone number"),
        ("abc", "no telephone number"),
        ("1800FLOWERS", "no telephone number"),
        ("12025550123@trunk", "no telephone number"),
        ("12025550123&12025550124", "no telephone number"),
        ("12025550123,2", "no telephone number"),
        ("12025550123 ext 5", "no telephone number"),
        ("12025550123\n", None),
        ("+999 123 456 78", "no country has this code"),
        ("12", "too short"),
        ("+1 202 555 01234", "too long"),
        ("555 0123", "area code is missing"),
        ("+1 202 155 0123", "no such numbers"),
        ("\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff12\uff13", "no telephone"),
        ("1" * 60, "no telephone number"),
    ],
)
def test_other_texts_are_no_numbers(text: str, reason: str | None) -> None:
    """A refusal says why: letters, no country, too short, too long, or no such number."""
    if reason is None:
        assert parse_number(text, "US") == "+12025550123"
        return
    with pytest.raises(NotANumber, match=reason):
        parse_number(text, "US")


@pytest.mark.parametrize(
    ("text", "region", "rule"),
    [("911", "US", "emergency"), ("112", "DE", "emergency"), ("411", "US", "short")],
)
def test_emergency_and_short_numbers_are_refused(text: str, region: str, rule: str) -> None:
    """People dial such a number on a phone; a machine never does."""
    with pytest.raises(NumberRefused, match="dial it on a phone") as refused:
        parse_number(text, region)
    assert refused.value.rule == rule


NEW_YORK, LONDON, BERLIN, PREMIUM = "+12125550123", "+442079460000", "+4930901820", "+19005550123"


@pytest.mark.parametrize(
    ("policy", "number", "prefix"),
    [
        (DialPolicy(), NEW_YORK, "any"),
        (DialPolicy(allowed=("+1",)), NEW_YORK, "+1"),
        (DialPolicy(allowed=("+1", "+1212")), NEW_YORK, "+1212"),
        (DialPolicy(refused=("+49",)), NEW_YORK, "any"),
        (DialPolicy(allowed=("+4930",), refused=("+49",)), BERLIN, "+4930"),
        (DialPolicy(premium=True), PREMIUM, "any"),
    ],
)
def test_allowed_numbers(policy: DialPolicy, number: str, prefix: str) -> None:
    """The answer says which prefix allows the number; the longest one counts."""
    assert check_allowed(number, policy) == {"prefix": prefix}


@pytest.mark.parametrize(
    ("policy", "number", "rule"),
    [
        (DialPolicy(), PREMIUM, "premium"),
        (DialPolicy(allowed=("+1900",)), PREMIUM, "premium"),
        (DialPolicy(), "+979123456789", "premium"),
        (DialPolicy(allowed=("+1",)), LONDON, "not-allowed"),
        (DialPolicy(refused=("+44",)), LONDON, "+44"),
        (DialPolicy(allowed=("+44",), refused=("+44",)), LONDON, "+44"),
        (DialPolicy(allowed=("+49",), refused=("+4930",)), BERLIN, "+4930"),
        (DialPolicy(premium=True, refused=("+1900",)), PREMIUM, "+1900"),
    ],
)
def test_refused_numbers(policy: DialPolicy, number: str, rule: str) -> None:
    """A refusal names its rule: premium rate, no allowed prefix, or the refused prefix."""
    with pytest.raises(NumberRefused) as refused:
        check_allowed(number, policy)
    assert refused.value.rule == rule


def test_forms_for_the_dialplan() -> None:
    """A dialplan gets a number without the plus, with it, or as a phone in the country dials it."""
    assert format_number(NEW_YORK, "e164", "US") == "12125550123"
    assert format_number(NEW_YORK, "plus", "US") == "+12125550123"
    assert format_number(NEW_YORK, "national", "US") == "2125550123"
    assert format_number(BERLIN, "national", "DE") == "030901820"
    assert format_number(BERLIN, "national", "US") == "0114930901820"


def test_zones() -> None:
    """A number may be in several zones; the zone of a number without a country is unknown."""
    assert zones_of(BERLIN) == ("Europe/Berlin",)
    assert zones_of("+12025550123") == ("America/New_York",)
    assert len(zones_of("+18005550123")) > 10
    assert zones_of("+979123456789") == ()
