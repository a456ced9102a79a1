"""Read the list of a campaign: a CSV with a header, one number a line. Pure.

    number,name,consent,account
    +49 30 901820,Ann,"by form, 2026-01-02",4711

Each line is one record, so an open quote spoils its own line alone. A bad line becomes a refused
entry with its cause, and loses nothing of the others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

from uuid_utils.compat import uuid7

from recorder.errors import ListInvalid, NotANumber, NumberRefused
from storage.csv_lines import iter_lines, read_header, split_line
from storage.records import CampaignEntry

MOST_LINES = 1_000_000
SHOWN = 200
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
    lines = iter_lines(body)
    try:
        columns, delimiter = read_header(next(lines, (1, b""))[1], "number")
    except ValueError as error:
        raise ListInvalid(str(error)) from error
    seen: set[int] = set()
    for count, (place, raw) in enumerate(lines):
        if count >= MOST_LINES:
            raise ListInvalid(f"the list has more than {MOST_LINES} lines: cut it")
        entry = CampaignEntry(
            id=uuid7(), campaign_id=campaign_id, place=place, given=_show(raw), state="refused"
        )
        try:
            values = split_line(raw, delimiter, len(columns))
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


def _show(raw: bytes) -> str:
    """Return the beginning of a line that may not be text."""
    return raw[:SHOWN].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
