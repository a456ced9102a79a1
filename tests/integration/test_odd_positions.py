"""Positions that no list and no stream gave out: cursors, ids of events, ranges."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from matrix_world import Caller, World, open_world
from test_matrix import LINES, Line, fill
from werkzeug.test import Client

from api.operation import find_operation

HUGE = "9" * 40
PARTS: tuple[Any, ...] = (
    HUGE,
    f"-{HUGE}",
    str(2**63),
    "0",
    "",
    "\x7f",
    "é" * 50,
    "01a20b94-8aa2-748d-802f-3134349fb921",
    "9999-12-31T23:59:59.999999+00:00",
    "0001-01-01T00:00:00+23:59",
    "2026-11-30T12:00:00",
    "infinity",
    "nan",
)


def build_cursors() -> Iterator[str]:
    """Iterate over cursors of one to three parts, as they look, and over other texts."""
    for part in PARTS:
        for count in (1, 2, 3):
            sent = json.dumps([part] * count).encode()
            yield urlsafe_b64encode(sent).decode().rstrip("=")[:200]
    for mixed in ([PARTS[8], PARTS[7]], ["0", PARTS[7]], ["x", PARTS[7]], [HUGE, "x"]):
        yield urlsafe_b64encode(json.dumps(mixed).encode()).decode().rstrip("=")
    for other in (b"{}", b"[]", b"[1]", b"[null]", b'{"a": 1}', b'"' + b"1" * 90 + b'"', b"[" * 99):
        yield urlsafe_b64encode(other).decode().rstrip("=")
    yield from ("=", "%", "-", "a", "é")


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    """Build an application with things of every kind."""
    with open_world(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(world: World) -> Caller:
    """Return the administrator."""
    return next(world.callers())


@pytest.fixture(scope="module")
def browser(world: World) -> Client:
    """Return a client without cookies."""
    return world.app.test_client(use_cookies=False)


@pytest.mark.parametrize(
    "line", [one for one in LINES if one.method == "GET"], ids=lambda line: line.operation
)
def test_no_cursor_is_an_error_of_ours(
    world: World, browser: Client, admin: Caller, line: Line
) -> None:
    """A cursor that the list did not give out is refused, or leads somewhere; a page shows."""
    known = dict(world.common) | world.owned[admin.owns]
    for kind in ("call", "agent", "recording", "campaign", "conference", "spy", "call-back"):
        known |= world.ids[kind]["east"]
    path = fill(line.rule, known)
    if not takes_cursor(world, line):
        return
    for cursor in build_cursors():
        with world.trying():
            sent = browser.get(path, query_string={"cursor": cursor}, headers=admin.headers)
            assert sent.status_code in (200, 422), (cursor, sent.text)


def takes_cursor(world: World, line: Line) -> bool:
    """Whether the operation or page reads `cursor`."""
    for rule in world.app.url_map.iter_rules():
        operation = find_operation(world.app, rule.endpoint)
        if operation is not None and fill_in(rule.rule) == line.rule:
            return operation.query is not None and "cursor" in operation.query.model_fields
    return line.is_page


def fill_in(rule: str) -> str:
    """Return the path of a rule with its variables in braces."""
    return "/".join(
        f"{{{part.strip('<>').rpartition(':')[2]}}}" if part[:1] == "<" else part
        for part in rule.split("/")
    )


@pytest.mark.parametrize(
    "last",
    ["", "1", "1-1", "-1--1", f"{HUGE}-1", f"1-{HUGE}", f"{2**63}-{2**63}", "x-y", "é-1", "1-1-1"],
)
def test_a_stream_from_nowhere(browser: Client, admin: Caller, last: str) -> None:
    """The id of a dropped event leads to `events.lost`; any other text is refused."""
    headers = {**admin.headers, "Last-Event-ID": last}
    response = browser.get("/api/v1/events", headers=headers, buffered=False)
    with closing(response):
        if response.status_code != 422:
            assert response.status_code == 200
            read = b"".join(islice(response.iter_encoded(), 2)).decode()
            assert "event: events.lost" in read


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=",
        "bytes=-",
        "bytes=--1",
        "bytes=5-1",
        f"bytes={HUGE}-",
        f"bytes=0-{HUGE}",
        "bytes=-0",
        f"bytes=-{HUGE}",
        "bytes=0-0,1-1",
        "bites=0-1",
        "bytes=é-1",
        "bytes=1" * 50,
        "bytes=²-³",
    ],
)
def test_no_range_is_an_error_of_ours(
    world: World, browser: Client, admin: Caller, wanted: str
) -> None:
    """A range is answered whole, in part, or with 416."""
    known = world.ids["stored recording"]["east"]
    path = f"/api/v1/recordings/{known['recording_id']}/audio?stream=1"
    with world.trying():
        response = browser.get(path, headers={**admin.headers, "Range": wanted})
        assert response.status_code in (200, 206, 416)
        response.get_data()
