"""The do-not-call list: numbers that no call of ours may reach."""

import csv as csv_format
import io
from collections.abc import Iterator

from flask import Response

from api.auth import audit_done, principal
from api.errors import RequestInvalid
from api.fields.base import list_fields
from api.fields.callbacks import (
    MOST_REFUSED,
    Imported,
    ImportQuery,
    ListedNumber,
    ListedNumberList,
    ListedNumberQuery,
    NewListedNumber,
    listed_number_fields,
)
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.errors import NotANumber, NumberRefused
from storage.catalogue import do_not_call
from storage.errors import BadCursor, NoSuchNumber
from storage.permissions import CAMPAIGNS_CONTROL, CAMPAIGNS_READ

operations = Operations("/api/v1", tag="do-not-call")

MOST_BYTES = 8 * 1024 * 1024
MOST_LINES = 200_000
LONGEST = 200


@operations.get(
    "/do-not-call",
    CAMPAIGNS_READ,
    json(ListedNumberList),
    query=ListedNumberQuery,
    errors=(BadCursor, NotANumber, NumberRefused),
)
def list_numbers(query: ListedNumberQuery) -> Response:
    """List the numbers that may not be called, by number; or look one up by `number`."""
    number = services().callbacks.parse(query.number) if query.number is not None else None
    with services().catalogue.begin() as tx:
        page = do_not_call.list_numbers(tx, number=number, limit=query.limit, cursor=query.cursor)
    return answer(list_fields(page, listed_number_fields))


@operations.post(
    "/do-not-call",
    CAMPAIGNS_CONTROL,
    {201: Reply("The number may not be called any more.", ListedNumber)},
    body=NewListedNumber,
    errors=(NotANumber, NumberRefused),
)
def add_number(body: NewListedNumber) -> Response:
    """Forbid calls to a number: of campaigns, of call-backs, and by a click.

    A listed number gets the new reason. A call-back to it is cancelled at its next attempt.
    """
    number = services().callbacks.parse(body.number, body.pbx)
    with services().catalogue.begin() as tx:
        record = do_not_call.add(tx, number, body.reason, by=principal().name)
        audit_done(tx, "do-not-call.add", number, reason=body.reason)
    return answer(listed_number_fields(record), 201)


@operations.post(
    "/do-not-call/import",
    CAMPAIGNS_CONTROL,
    json(Imported),
    query=ImportQuery,
    csv_bytes=MOST_BYTES,
)
def import_numbers(query: ImportQuery, csv: bytes) -> Response:
    """Forbid calls to the numbers of a CSV, at most 200,000 lines.

    The header names the column `number`, and perhaps `reason`. A line without a number is listed in
    `refused`; all other lines are imported. Numbers that are listed already keep their reason.
    """
    found: dict[str, str] = {}
    refused, lines = [], 0
    for line, given, reason in _read_lines(csv):
        lines += 1
        try:
            number = services().callbacks.parse(given, query.pbx)
        except (NotANumber, NumberRefused) as error:
            refused.append({"line": line, "reason": str(error)[:LONGEST]})
            continue
        found.setdefault(number, reason[:LONGEST] or query.reason)
    with services().catalogue.begin() as tx:
        added = do_not_call.add_many(tx, found, by=principal().name)
        audit_done(tx, "do-not-call.import", "do-not-call", added=added, refused=len(refused))
    known = lines - len(refused) - added
    return answer(
        {
            "added": added,
            "known": known,
            "refused": refused[:MOST_REFUSED],
            "refused_total": len(refused),
        }
    )


@operations.delete(
    "/do-not-call/<number>",
    CAMPAIGNS_CONTROL,
    {204: Reply("The number may be called again.")},
    errors=(NoSuchNumber, NotANumber, NumberRefused),
)
def drop_number(number: str) -> Response:
    """Delete a number from the list, so that it may be called again."""
    parsed = services().callbacks.parse(number)
    with services().catalogue.begin() as tx:
        do_not_call.drop(tx, parsed)
        audit_done(tx, "do-not-call.drop", parsed)
    return Response(status=204)


def _read_lines(sent: bytes) -> Iterator[tuple[int, str, str]]:
    """Yield the line's number, the number and the reason of each line. Raises RequestInvalid."""
    try:
        text = sent.decode("utf-8-sig")
        if "\0" in text:
            raise RequestInvalid.at("body", "csv", "must not contain NUL")
        reader = csv_format.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
        header = [str(name).strip().casefold() for name in reader.fieldnames or ()]
        if header.count("number") != 1:
            raise RequestInvalid.at("body", "csv", "the header must name the column number once")
        names = dict(zip(header, reader.fieldnames or (), strict=True))
        for count, row in enumerate(reader):
            if count >= MOST_LINES:
                raise RequestInvalid.at("body", "csv", f"has more than {MOST_LINES} lines")
            given = row[names["number"]] or ""
            reason = row[names["reason"]] if "reason" in names else ""
            if given or any(row.values()):
                yield reader.line_num, given, (reason or "").strip()
    except UnicodeDecodeError:
        raise RequestInvalid.at("body", "csv", "must be UTF-8") from None
    except csv_format.Error as error:
        raise RequestInvalid.at("body", "csv", f"is not CSV: {error}") from None
