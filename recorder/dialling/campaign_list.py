"""Read the list of a campaign: a CSV with a header, one number a line. Pure.

    number,name,consent,account
    +49 30 901820,Ann,"by form, 2026-01-02",4711

Each line is one record, so an open quote spoils its own line alone. A bad line becomes a refused
entry with its cause, and loses nothing of the others.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

from uuid_utils.compat import uuid7

from recorder.errors import ListInvalid, NotANumber, NumberRefused
from storage.records import CampaignEntry

MOST_LINES = 1_000_000
MOST_COLUMNS = 50
LONGEST_LINE = 8_000
SHOWN = 200
BOM = b"\xef\xbb\xbf"
OWN = frozenset({"number", "name", "consent"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list as an entry; `reason` is a sentence if the entry is refused."""

    entry: CampaignEntry
    reason: str | None = None


def read_list(
    body: bytes,
    campaign_id: UUID,
    *,
    now: datetime,
    check: Callable[[str], str],
    find_zones: Callable[[str], tuple[str, ...]],
) -> Iterator[Line]:
    """Iterate over the lines of a list behind its header; skip empty lines.

    The columns are `number`, `name`, `consent`, and any other. They are divided by commas, or by
    semicolons where the header has them. `check` returns a number in E.164, or raises NotANumber or
    NumberRefused; `find_zones` returns the time zones of a number.

    Raises ListInvalid for a bad header and for too many lines.
    """
    lines = _iter_lines(body.removeprefix(BOM))
    columns, delimiter = _read_header(next(lines, (1, b""))[1])
    seen: set[int] = set()
    for count, (place, raw) in enumerate(lines):
        if count >= MOST_LINES:
            raise ListInvalid(f"the list has more than {MOST_LINES} lines: cut it")
        entry = CampaignEntry(
            id=uuid7(), campaign_id=campaign_id, place=place, given=_show(raw), state="refused"
        )
        try:
            values = _split(raw, delimiter, len(columns))
        except ValueError as error:
            yield Line(replace(entry, cause="line-invalid"), str(error))
            continue
        entry = _fill(entry, dict(zip_longest(columns, values, fillvalue="")))
        try:
            number = check(entry.given)
        except (NotANumber, NumberRefused) as error:
            yield Line(replace(entry, cause=error.error_id), str(error))
            continue
        key = int(number[1:])  # a number takes less room than its text
        if key in seen:
            twin = replace(entry, number=number, cause="duplicate")
            yield Line(twin, f"{number} is on an earlier line too")
            continue
        seen.add(key)
        zones = find_zones(number)
        yield Line(replace(entry, state="waiting", number=number, zones=zones, next_at=now))


def _fill(entry: CampaignEntry, fields: Mapping[str, str]) -> CampaignEntry:
    return replace(
        entry,
        given=fields["number"][:SHOWN],
        name=fields.get("name") or None,
        consent=fields.get("consent") or None,
        data={name: value for name, value in fields.items() if name not in OWN},
    )


def _iter_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the lines that are not empty, with their numbers from 1."""
    start = place = 0
    while start < len(body):
        place += 1
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end].removesuffix(b"\r")
        start = end + 1
        if line.strip():
            yield place, line


def _read_header(raw: bytes) -> tuple[list[str], str]:
    """Return the names of the columns, and their delimiter. Raises ListInvalid."""
    delimiter = "," if b"," in raw or b";" not in raw else ";"
    try:
        names = [one.strip().casefold() for one in _split(raw, delimiter, MOST_COLUMNS)]
    except ValueError as error:
        raise ListInvalid(f"the header cannot be read: {error}") from error
    if "number" not in names:
        raise ListInvalid("the first line must name the columns, one of them `number`")
    if len(set(names)) < len(names) or "" in names:
        raise ListInvalid("each column of the header needs a name of its own")
    return names, delimiter


def _split(raw: bytes, delimiter: str, most: int) -> list[str]:
    """Return the fields of one line. Raises ValueError with the reason in words."""
    if len(raw) > LONGEST_LINE:
        raise ValueError(f"the line is longer than {LONGEST_LINE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("the line is not UTF-8") from None
    if "\0" in text:
        raise ValueError("the line has a NUL")
    try:
        fields = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        raise ValueError("a quote is not closed, or has text behind it") from None
    if len(fields) > most:
        raise ValueError(f"the line has {len(fields)} fields, at most {most} are expected")
    return [one.strip() for one in fields]


def _show(raw: bytes) -> str:
    """Return the beginning of a line that may not be text."""
    return raw[:SHOWN].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
