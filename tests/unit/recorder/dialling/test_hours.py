"""Local hours: DST, odd zones, and numbers of several zones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.dialling.hours import choose_zones, is_open, next_open
from storage.records import Hours

DAYS = (1, 2, 3, 4, 5, 6, 7)
BERLIN = ("Europe/Berlin",)
RUSSIA = ("Europe/Moscow", "Asia/Vladivostok")
ODD = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Pacific/Pago_Pago",
)


def utc(text: str) -> datetime:
    """Return the moment of `2026-03-29 07:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zones", "at", "expected"),
    [
        (BERLIN, "2026-01-14 06:59:59", False),
        (BERLIN, "2026-01-14 07:00", True),
        (BERLIN, "2026-01-14 18:59:59", True),
        (BERLIN, "2026-01-14 19:00", False),
        (BERLIN, "2026-07-15 06:00", True),  # summer time: 08:00
        (BERLIN, "2026-07-15 18:00", False),
        (("America/St_Johns",), "2026-01-14 11:29", False),
        (("America/St_Johns",), "2026-01-14 11:30", True),
        (("Asia/Kathmandu",), "2026-01-14 02:14", False),
        (("Asia/Kathmandu",), "2026-01-14 02:15", True),
        (RUSSIA, "2026-01-14 04:59", False),  # Moscow sleeps
        (RUSSIA, "2026-01-14 05:00", True),
        (RUSSIA, "2026-01-14 10:00", False),  # Vladivostok is at 20:00
        ((), "2026-01-14 12:00", False),
        (("Mars/Olympus",), "2026-01-14 12:00", False),
        (("Etc/../UTC",), "2026-01-14 12:00", False),
    ],
)
def test_hours_are_open(zones: tuple[str, ...], at: str, expected: bool) -> None:
    """A number may be dialled when all of its zones are within the hours."""
    assert is_open(Hours(8, 20, DAYS), zones, utc(at)) is expected


def test_the_weekday_is_the_local_one() -> None:
    """Sunday evening in New York is Monday in UTC, and still Sunday for the hours."""
    workdays = Hours(0, 24, (1, 2, 3, 4, 5))
    assert not is_open(workdays, ("America/New_York",), utc("2026-01-12 03:00"))
    assert is_open(workdays, ("America/New_York",), utc("2026-01-12 05:00"))


@pytest.mark.parametrize(
    ("hours", "zones", "after", "expected"),
    [
        (Hours(8, 20, DAYS), BERLIN, "2026-01-14 12:34:56", "2026-01-14 12:34:56"),
        (Hours(8, 20, DAYS), BERLIN, "2026-01-14 19:00", "2026-01-15 07:00"),
        (Hours(8, 20, DAYS), BERLIN, "2026-01-14 06:50:20.5", "2026-01-14 07:00"),
        (Hours(8, 20, DAYS), BERLIN, "2026-03-28 19:30", "2026-03-29 06:00"),  # to summer time
        (Hours(8, 20, DAYS), BERLIN, "2026-10-24 18:30", "2026-10-25 07:00"),  # and back
        (Hours(9, 17, (1,)), BERLIN, "2026-01-12 16:00", "2026-01-19 08:00"),
        (Hours(2, 4, DAYS), BERLIN, "2026-03-29 00:10", "2026-03-29 01:00"),  # there is no 02:00
        (Hours(3, 5, DAYS), ("Pacific/Chatham",), "2026-09-26 13:00", "2026-09-26 14:00"),
        (Hours(8, 20, DAYS), RUSSIA, "2026-01-14 10:07", "2026-01-15 05:00"),
        (Hours(8, 9, DAYS), RUSSIA, "2026-01-14 10:00", None),
        (Hours(), (), "2026-01-14 10:00", None),
    ],
)
def test_the_next_open_moment(
    hours: Hours, zones: tuple[str, ...], after: str, expected: str | None
) -> None:
    """The next open moment is the first one that suits all zones, or there is none."""
    found = next_open(hours, zones, utc(after))
    assert found == (utc(expected) if expected else None)


@given(
    from_hour=st.integers(0, 23),
    length=st.integers(1, 24),
    weekdays=st.sets(st.sampled_from(DAYS), min_size=1),
    zones=st.lists(st.sampled_from(ODD), min_size=1, max_size=3, unique=True),
    minutes=st.integers(0, 6 * 365 * 24 * 60),
)
def test_nothing_before_the_next_open_moment_is_open(
    from_hour: int, length: int, weekdays: set[int], zones: list[str], minutes: int
) -> None:
    """The next open moment is open, and no moment shortly before it is."""
    hours = Hours(from_hour, min(24, from_hour + length), tuple(sorted(weekdays)))
    after = utc("2024-01-01 00:00") + timedelta(minutes=minutes)
    found = next_open(hours, zones, after)
    if found is None:
        return
    assert is_open(hours, zones, found)
    assert found == after or found > after
    before = [found - timedelta(minutes=7) * step for step in range(1, 40)]
    assert not any(is_open(hours, zones, at) for at in before if at >= after)


def test_one_zone_opens_within_a_week() -> None:
    """One zone always opens again, on whatever day we look."""
    for day in range(400):
        after = utc("2026-01-01 00:00") + timedelta(days=day, hours=day % 24)
        for zone in ODD:
            assert next_open(Hours(9, 10, (3,)), (zone,), after) is not None


def test_an_unknown_zone_is_that_of_the_pbx() -> None:
    """A number without a known zone has the zones of the PBX's region, then UTC."""
    assert choose_zones(["Europe/Rome"], "DE") == ("Europe/Rome",)
    assert choose_zones(["Etc/Unknown"], "DE") == ("Europe/Berlin",)
    assert "America/New_York" in choose_zones([], "US")
    assert choose_zones([], "ZZ") == ("UTC",)
