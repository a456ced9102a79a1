"""Local hours: when a number may be dialled. Pure.

A number may be in one of several time zones: a mobile number of Russia, a toll-free number of North
America. It may be dialled when every one of its zones is within the hours.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers import PhoneNumber, country_code_for_region
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_geographical_number

from storage.records import Hours, shallow

# Time zones differ by multiples of 15 minutes, so the local hour and day change on a quarter hour.
QUARTER = timedelta(minutes=15)
# The hours repeat every week; zones that are never open together within it are never open.
LOOKS_AHEAD = timedelta(days=8)


def is_open(hours: Hours, zones: Collection[str], at: datetime) -> bool:
    """Return whether `at` is within the hours in all of these IANA zones.

    Without a zone, and in a zone that this machine does not know, it never is.
    Example: `is_open(Hours(8, 20), ["Europe/Berlin"], noon_utc)` is True.
    """
    return _is_open(hours, tuple(zones), floor_to_quarter(at))


def next_open(hours: Hours, zones: Collection[str], after: datetime) -> datetime | None:
    """Return the first moment from `after` on at which the hours are open in all zones.

    Return None if there is none within eight days: no moment suits all zones.
    """
    zones = tuple(zones)
    if is_open(hours, zones, after):
        return after
    at, end = floor_to_quarter(after), after + LOOKS_AHEAD
    while (at := at + QUARTER) <= end:
        if _is_open(hours, zones, at):
            return at
    return None


def describe_permission(
    hours: Hours, zones: Collection[str], at: datetime, *, attempts: int, waits: Collection[int]
) -> dict[str, Any]:
    """Return why a number may be dialled now, as it is kept with the dialled call.

    `attempts` were made before this one; `waits` are the waits between all attempts of the plan.
    """
    return {
        "hours": {**shallow(hours), "weekdays": list(hours.weekdays)},
        "local_times": {zone: f"{at.astimezone(ZoneInfo(zone)):%a %H:%M}" for zone in zones},
        "do_not_call_checked_at": at.astimezone(UTC).isoformat(),
        "attempt": attempts + 1,
        "most_attempts": 1 + len(waits),
    }


def choose_zones(zones: Collection[str], region: str) -> tuple[str, ...]:
    """Return the zones of a number, or those of this region if the number's zone is unknown.

    An unknown zone is that of a satellite phone or of an international toll-free number. A region
    without a zone counts as UTC.
    """
    known = tuple(zone for zone in zones if zone != UNKNOWN_TIMEZONE)
    if known:
        return known
    somebody = PhoneNumber(country_code=country_code_for_region(region))
    found = time_zones_for_geographical_number(somebody)
    return tuple(zone for zone in found if zone != UNKNOWN_TIMEZONE) or ("UTC",)


@lru_cache(maxsize=4096)
def _is_open(hours: Hours, zones: tuple[str, ...], at: datetime) -> bool:
    try:
        local = [at.astimezone(ZoneInfo(zone)) for zone in zones]
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return bool(local) and all(
        hours.from_hour <= one.hour < hours.to_hour and one.isoweekday() in hours.weekdays
        for one in local
    )


def floor_to_quarter(at: datetime) -> datetime:
    """Return the quarter hour, in UTC, in which this moment is."""
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
