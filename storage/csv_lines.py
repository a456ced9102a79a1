"""Read a CSV line by line, so that an open quote spoils its own line alone. Pure."""

import csv
from collections.abc import Iterator

LONGEST_LINE = 8_000
MOST_COLUMNS = 50
BOM = b"\xef\xbb\xbf"


def iter_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the lines that are not empty, with their numbers from 1."""
    body = body.removeprefix(BOM)
    start = place = 0
    while start < len(body):
        place += 1
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end].removesuffix(b"\r")
        start = end + 1
        if line.strip():
            yield place, line


def read_header(raw: bytes, *required: str) -> tuple[list[str], str]:
    """Return the names of the columns, and their delimiter: a comma, or a semicolon.

    Raises ValueError with the reason in words.
    """
    delimiter = "," if b"," in raw or b";" not in raw else ";"
    try:
        names = [one.strip().casefold() for one in split_line(raw, delimiter, MOST_COLUMNS)]
    except ValueError as error:
        raise ValueError(f"the header cannot be read: {error}") from error
    for wanted in required:
        if wanted not in names:
            raise ValueError(f"the first line must name the columns, one of them `{wanted}`")
    if len(set(names)) < len(names) or "" in names:
        raise ValueError("each column of the header needs a name of its own")
    return names, delimiter


def split_line(raw: bytes, delimiter: str, most: int) -> list[str]:
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
