"""Read a CSV of agents: a header, then an agent a line. Pure.

    number,name,team
    2001,Ann Miller,sales

The column `number` holds the name of the endpoint. A bad line is refused with its reason, and loses
nothing of the others.
"""

from dataclasses import dataclass
from itertools import zip_longest

from storage.csv_lines import iter_lines, read_header, split_line
from storage.errors import AgentListInvalid, NameInvalid
from storage.naming import parse_name

MOST_BYTES = 1024 * 1024
MOST_LINES = 20_000
# The columns of the CSV, and the fields of an agent's record.
FIELDS = {"number": "name", "name": "display_name", "team": "team"}


@dataclass(frozen=True, slots=True)
class AgentLines:
    """The agents of a CSV, each with the fields that the CSV has, and the refused lines."""

    agents: tuple[dict[str, str | None], ...]
    refused: tuple[tuple[int, str], ...]


def read_agents(body: bytes) -> AgentLines:
    """Return the agents of a CSV, and the numbers of the refused lines with their reasons.

    Raises AgentListInvalid for a bad header, an unknown column and for too many lines.
    """
    lines = iter_lines(body)
    try:
        columns, delimiter = read_header(next(lines, (1, b""))[1], "number")
    except ValueError as error:
        raise AgentListInvalid(str(error)) from error
    if unknown := sorted(set(columns) - FIELDS.keys()):
        raise AgentListInvalid(f"unknown column {unknown[0]!r}: expected number, name, team")
    agents: dict[str, dict[str, str | None]] = {}
    refused = []
    for count, (place, raw) in enumerate(lines):
        if count >= MOST_LINES:
            raise AgentListInvalid(f"the list has more than {MOST_LINES} lines: cut it")
        try:
            values = split_line(raw, delimiter, len(columns))
            line = dict(zip_longest(columns, values, fillvalue=""))
            agent = {FIELDS[name]: _check(name, value) for name, value in line.items()}
            number = agent["name"]
            if number is None:
                raise ValueError("the line has no number")
            if number in agents:
                raise ValueError(f"{number} is on an earlier line too")
        except ValueError as error:
            refused.append((place, str(error)))
            continue
        agents[number] = agent
    return AgentLines(tuple(agents.values()), tuple(refused))


def _check(column: str, value: str) -> str | None:
    """Return the value of a column, None if it is empty. Raises ValueError."""
    if column == "number" and "/" in value:
        raise ValueError("number: expected the endpoint without its technology: 2001")
    try:
        return parse_name(value) if value else None
    except NameInvalid as error:
        raise ValueError(f"{column}: {error}") from error
