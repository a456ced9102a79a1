"""Telephone numbers: read them, and say whether one may be dialled. Pure.

    "202 555 0123" ──parse_number──▶ "+12025550123" ──check_allowed──▶ ──format_number──▶ dialplan

Between these functions a number is always in E.164, with its plus.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult
from phonenumbers.shortnumberinfo import is_emergency_number, is_possible_short_number_for_region
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from recorder.errors import NotANumber, NumberRefused
from storage.records import DialFormat

# People write blanks, brackets, dots, slashes and dashes into a number. Letters, an extension and a
# SIP address are no part of one.
_WRITTEN = re.compile(r"\+?[0-9(][0-9() .\u00a0/\u2010-\u2015-]{1,40}")
_REASONS: Mapping[int, str] = {
    ValidationResult.INVALID_COUNTRY_CODE: "no country has this code",
    ValidationResult.TOO_SHORT: "it is too short",
    ValidationResult.TOO_LONG: "it is too long",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "its area code is missing",
    ValidationResult.INVALID_LENGTH: "its country has no numbers of this length",
}


@dataclass(frozen=True, slots=True)
class DialPolicy:
    """The numbers that may be dialled: prefixes such as `+49`, and premium-rate numbers.

    Without `allowed`, every number may be dialled that has no refused prefix. Of all prefixes that
    match a number, the longest counts; of two equal ones, the refused.
    """

    allowed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    premium: bool = False


def parse_number(text: str, region: str) -> str:
    """Return a number in E.164; `region` is that of a number without a country code.

    Example: `parse_number("(202) 555-0123", "US")` is `+12025550123`.

    Raises NotANumber, and NumberRefused for the number of an emergency or another short number: it
    has no form in E.164, and people dial it on a phone.
    """
    written = text.strip()
    if not _WRITTEN.fullmatch(written):
        raise NotANumber(f"{text!r} is no telephone number")
    if is_emergency_number(written, region):
        raise NumberRefused(
            f"{written} is an emergency number: dial it on a phone", rule="emergency"
        )
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException as error:
        raise NotANumber(f"{text!r} is no telephone number: no country has this code") from error
    if phonenumbers.is_valid_number(number):
        return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if not written.startswith("+") and is_possible_short_number_for_region(number, region):
        raise NumberRefused(f"{written} is a short number: dial it on a phone", rule="short")
    reason = _REASONS.get(
        phonenumbers.is_possible_number_with_reason(number), "its country has no such numbers"
    )
    raise NotANumber(f"{text!r} is no telephone number: {reason}")


def check_allowed(number: str, policy: DialPolicy) -> Mapping[str, str]:
    """Return the rule that allows this number in E.164: `{"prefix": "+49"}`, or `"any"`.

    Raises NumberRefused with the rule that refuses it.
    """
    if not policy.premium and _type_of(number) == PhoneNumberType.PREMIUM_RATE:
        raise NumberRefused(f"{number} is a premium-rate number", rule="premium")
    refused = max((one for one in policy.refused if number.startswith(one)), key=len, default="")
    allowed = max((one for one in policy.allowed if number.startswith(one)), key=len, default="")
    if refused and len(refused) >= len(allowed):
        raise NumberRefused(f"numbers that begin with {refused} are refused", rule=refused)
    if policy.allowed and not allowed:
        raise NumberRefused(f"{number} has none of the allowed prefixes", rule="not-allowed")
    return {"prefix": allowed or "any"}


def format_number(number: str, dial_format: DialFormat, region: str) -> str:
    """Return the form of a number in E.164 that the dialplan wants.

    `e164` is `12025550123`, `plus` is `+12025550123`. `national` is the form that a phone in the
    region dials: `2025550123` in `US`, `030901820` for a number of Berlin in `DE`, and with the
    international prefix for a number of another country.
    """
    if dial_format != "national":
        return number if dial_format == "plus" else number.removeprefix("+")
    parsed = phonenumbers.parse(number)
    if parsed.country_code == phonenumbers.country_code_for_region(region):
        written = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
    else:
        written = phonenumbers.format_out_of_country_calling_number(parsed, region)
    return re.sub(r"[^0-9+]", "", written)


def zones_of(number: str) -> tuple[str, ...]:
    """Return the IANA time zones in which a number in E.164 may be; empty where none is known."""
    found = time_zones_for_number(phonenumbers.parse(number))
    return tuple(zone for zone in found if zone != UNKNOWN_TIMEZONE)


def _type_of(number: str) -> int:
    parsed: PhoneNumber = phonenumbers.parse(number)
    return phonenumbers.number_type(parsed)
