"""The list of a campaign: each line of any bytes is one entry, or one fault with a reason."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.dialling.campaign_list import Line, read_list
from recorder.errors import ListInvalid, NotANumber, NumberRefused
from storage.csv_lines import LONGEST_LINE

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
ZONES = ("Europe/Berlin",)


def check(text: str) -> str:
    """Take digits for a number of Germany; refuse premium numbers."""
    if text.startswith("0900"):
        raise NumberRefused(f"{text} is a premium-rate number", rule="premium")
    if not (text.isascii() and text.isdigit() and len(text) < 15):
        raise NotANumber(f"{text!r} is no telephone number")
    return f"+49{text}"


def read(body: bytes) -> list[Line]:
    """Read a list."""
    return list(read_list(body, UUID(int=1), now=NOW, check=check, find_zones=lambda _: ZONES))


def test_a_good_line_waits() -> None:
    """A line gives number, name, consent and the other columns, and is due now."""
    (line,) = read("Number,Name,Consent,Plan\n30901820,Ängé,by form,gold\n".encode())
    entry = line.entry
    assert line.reason is None
    assert (entry.number, entry.given, entry.name) == ("+4930901820", "30901820", "Ängé")
    assert (entry.consent, dict(entry.data)) == ("by form", {"plan": "gold"})
    assert (entry.state, entry.next_at, entry.zones, entry.place) == ("waiting", NOW, ZONES, 2)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"x", "not-a-number"),
        (b"", None),
        (b"   \t", None),
        (b",Ann", "not-a-number"),
        (b"0900123", "number-refused"),
        (b"30,Ann,more", "line-invalid"),
        (b'"30', "line-invalid"),
        (b'"30"x,Ann', "line-invalid"),
        (b"30\x00", "line-invalid"),
        (b"\xff30", "line-invalid"),
        (b"9" * (LONGEST_LINE + 1), "line-invalid"),
        (b"1234", "duplicate"),
    ],
)
def test_a_bad_line_is_told_and_costs_no_other(line: bytes, cause: str | None) -> None:
    """A fault has its line and a reason; the lines around it are read; empty lines are none."""
    found = read(b"number,name\n1234,first\n" + line + b"\n5678,last\n")
    assert [found[0].entry.number, found[-1].entry.number] == ["+491234", "+495678"]
    faults = [(one.entry.place, one.entry.cause, bool(one.reason)) for one in found[1:-1]]
    assert faults == ([(3, cause, True)] if cause is not None else [])


def test_a_header_may_have_a_mark_and_semicolons() -> None:
    """Spreadsheets write a byte order mark, semicolons, and carriage returns."""
    (line,) = read(b'\xef\xbb\xbfName;NUMBER\r\n"Ann; Bob";30\r\n')
    assert (line.entry.name, line.entry.number) == ("Ann; Bob", "+4930")


@pytest.mark.parametrize(
    "header", [b"", b"\n", b"name", b"number,number", b"number,", b'"number', b"number\xff"]
)
def test_a_list_needs_a_header(header: bytes) -> None:
    """Without a column `number`, or with two columns of one name, nothing is read."""
    with pytest.raises(ListInvalid):
        read(header + b"\n30\n")


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))))
def test_no_bytes_stop_the_reading(lines: list[bytes]) -> None:
    """Each line that is not empty becomes one entry with its line number; texts have no NUL."""
    found = read(b"\n".join([b"number,name", *lines]))
    expected = [place for place, line in enumerate(lines, 2) if line.removesuffix(b"\r").strip()]
    assert [one.entry.place for one in found] == expected
    for one in found:
        assert (one.reason is None) == (one.entry.state == "waiting")
        texts = [one.entry.given, one.entry.name, one.entry.consent, *one.entry.data.values()]
        assert not any("\0" in text for text in texts if text)
