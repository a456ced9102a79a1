"""The matrix of rights: every operation and page, every kind of caller, things of every team.

The expected answers are in docs/permissions.md, written by hand. Nothing is taken from the code but
the list of operations.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from matrix_world import AGENTS, PASSWORD, SUPERVISORS, TEAMS, Caller, World, bearer, open_world
from sqlalchemy import Connection, text
from werkzeug.test import Client, TestResponse

from storage.catalogue import events
from storage.permissions import PERMISSIONS

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
ROLES = ("admin", "compliance", "supervisor", "agent")
ANY = "any"
CSV = {"Content-Type": "text/csv"}
CHANGES = (
    "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS changed FROM pg_stat_xact_user_tables"
    " WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"
)
# The tables that a refusal may write; `hits` counts wrong passwords.
OF_REFUSALS = {"audit", "hits"}


@dataclass(frozen=True)
class Line:
    """One line of the table: an operation or a page, and its expected answers."""

    operation: str
    thing: str
    roles: frozenset[str]
    scopes: frozenset[str]
    is_page: bool

    @property
    def method(self) -> str:
        """The method."""
        return self.operation.partition(" ")[0]

    @property
    def rule(self) -> str:
        """The path, with its variables in braces."""
        return self.operation.partition(" ")[2]


@dataclass(frozen=True)
class Sent:
    """The rest of a request, beside its path: `{agent}` and other variables are filled in.

    `answers` are further statuses that mean that the caller may do it. `things` names another kind
    of thing than the line. `method` is another method for the same operation, `known` are
    further variables of the path.
    """

    json: Any = None
    form: Mapping[str, str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    csv: str | None = None
    answers: frozenset[int] = frozenset()
    method: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
    things: str = ""


PHONE = {"from": "PJSIP/{agent}", "to": "(202) 555-0123"}
RULE = {"name": "some", "when": "", "action": "record"}
COMMAND = Sent(query={"from": "PJSIP/2001", "to": "12025550123"})
ROOM = Sent(query={"do": "open", "name": "some"})
OVER = frozenset({409})
REQUESTS: Mapping[str, Sent] = {
    "POST /api/v1/calls": Sent(PHONE),
    "DELETE /api/v1/calls/{call_id}": Sent(answers=OVER),  # it was not dialled here
    "POST /api/v1/calls/{call_id}/spies": Sent({"mode": "listen", "destination": "PJSIP/9001"}),
    "POST /api/v1/callbacks": Sent(PHONE),
    "POST /api/v1/campaigns": Sent({"name": "s", "mode": "preview", "agents": ["PJSIP/{agent}"]}),
    "PATCH /api/v1/campaigns/{campaign_id}": Sent({"wrap_up_s": 5}),
    "PUT /api/v1/campaigns/{campaign_id}/entries": Sent(csv="number\n12025550124\n"),
    "POST /api/v1/campaigns/{campaign_id}/pause": Sent({}, things="running campaign"),
    "POST /api/v1/campaigns/{campaign_id}/resume": Sent({}, things="paused campaign"),
    "POST /api/v1/campaigns/{campaign_id}/stop": Sent({}, things="running campaign"),
    "POST /api/v1/campaigns/{campaign_id}/agents/{agent}/next": Sent({}, answers=OVER),
    "PUT /api/v1/campaigns/{campaign_id}/agents/{agent}": Sent({"ready": True}),
    "POST /api/v1/campaigns/{campaign_id}/agents/{agent}/go": Sent({}, answers=OVER),
    "POST /api/v1/campaigns/{campaign_id}/agents/{agent}/skip": Sent({}, answers=OVER),
    "POST /api/v1/do-not-call": Sent({"number": "12025550198", "reason": "asked"}),
    "POST /api/v1/do-not-call/import": Sent(csv="number\n12025550197\n"),
    "POST /api/v1/conferences": Sent({"name": "some"}),
    "PATCH /api/v1/conferences/{conference_id}": Sent({"locked": True}),
    "POST /api/v1/conferences/{conference_id}/members": Sent({"destination": "PJSIP/2003"}),
    "PATCH /api/v1/conferences/{conference_id}/members/{member_id}": Sent({"muted": True}),
    "PATCH /api/v1/recordings/{recording_id}": Sent({"note": "heard"}),
    "POST /api/v1/recordings/{recording_id}/resume": Sent({}, answers=OVER),
    "POST /api/v1/recordings/{recording_id}/bookmarks": Sent({"at_s": 1, "text": "here"}),
    "PUT /api/v1/recordings/{recording_id}/hold": Sent({"reason": "a case"}),
    "DELETE /api/v1/recordings/{recording_id}/hold": Sent(
        {"reason": "over"}, things="held recording"
    ),
    "POST /api/v1/recordings/{recording_id}/links": Sent({}),
    "POST /api/v1/bulk": Sent({"action": "tag", "tags": ["x"], "ids": ["{recording_id}"]}),
    "POST /api/v1/searches": Sent({"name": "some", "query": {"q": "x"}}),
    "PATCH /api/v1/spies/{spy_id}": Sent({"mode": "listen"}),
    "POST /api/v1/rules": Sent(RULE),
    "POST /api/v1/rules/test": Sent({"rules": [RULE]}),
    "PUT /api/v1/rules/{rule_id}": Sent({**RULE, "version": 1}),
    "GET /api/v1/dialplan/record": Sent(query={"channel": "{channel}", "action": "decide"}),
    "POST /api/v1/dialplan/record": Sent(query={"channel": "{channel}", "action": "start"}),
    "GET /api/v1/dialplan/dial": COMMAND,
    "POST /api/v1/dialplan/dial": COMMAND,
    "GET /api/v1/dialplan/callback": COMMAND,
    "POST /api/v1/dialplan/callback": COMMAND,
    "GET /api/v1/dialplan/conference": ROOM,
    "POST /api/v1/dialplan/conference": ROOM,
    "GET /api/v1/events": Sent(method="HEAD"),  # a stream has no end
    "POST /api/v1/webhooks": Sent({"url": "http://127.0.0.1:1/hook", "types": ["call.*"]}),
    "POST /api/v1/tokens": Sent({"name": "n", "role": "service", "scopes": ["system.write"]}),
    "POST /api/v1/users": Sent({"name": "n", "role": "agent", "password": PASSWORD}),
    "PATCH /api/v1/users/{user_id}": Sent({"role": "agent"}),
    "POST /api/v1/me/password": Sent({"old": PASSWORD, "new": f"another {PASSWORD}"}),
    "POST /api/v1/agents": Sent({"number": "2009", "team": "west"}),
    "POST /api/v1/agents/import": Sent(csv="number,team\n2001,west\n"),
    "PATCH /api/v1/agents/{number}": Sent({"name": "Ann"}),
    "POST /sign-in": Sent(form={"name": "person-admin", "password": PASSWORD}),
    "GET /static/{name}": Sent(known={"name": "icons.svg"}),
    "GET /static/{wanted}/{name}": Sent(known={"name": "icons.svg", "wanted": "x"}),
    "GET /static/{wanted}/vendor/{name}": Sent(known={"wanted": "x"}),
    "GET /health/ready": Sent(answers=frozenset({503})),  # nobody watches the PBX
    # No identity provider is configured.
    "GET /sign-in/oidc": Sent(answers=frozenset({404})),
    "GET /sign-in/oidc/callback": Sent(answers=frozenset({404})),
}


def read_tables() -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Iterate over the tables of the page: the heading, the names of the columns, the rows."""
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found = [line.strip("|").split("|") for line in part.splitlines() if line[:1] == "|"]
        cells = [[cell.strip() for cell in line] for line in found]
        yield heading, cells[0] if cells else [], cells[2:]


TABLES = {heading: (names, rows) for heading, names, rows in read_tables()}


def read_lines() -> list[Line]:
    """Return the lines of all operations and pages."""
    lines = []
    for heading in ("Operations", "Pages"):
        names, rows = TABLES[heading]
        assert names[2:6] == [*ROLES]
        for operation, thing, *cells, needs in rows:
            assert {*cells} <= {"yes", "no"}, operation
            roles = {role for role, cell in zip(ROLES, cells, strict=True) if cell == "yes"}
            scopes = frozenset(needs.split())
            lines.append(Line(operation, thing, frozenset(roles), scopes, heading == "Pages"))
    return lines


def read_events() -> Mapping[str, Line]:
    """Return the lines of the kinds of events."""
    found = {}
    for kind, *cells, needs in TABLES["Events"][1]:
        roles = {role for role, cell in zip(ROLES, cells, strict=True) if cell == "yes"}
        needed = frozenset(needs.split())
        found[kind] = Line(kind, "", frozenset(roles), needed, is_page=False)
    return found


LINES = read_lines()
EVENTS = read_events()
OPEN = [row[0] for row in TABLES["Open to everybody"][1]]
SEES = {view: cells for view, *cells in TABLES["Who sees which things"][1]}


@pytest.fixture(scope="module")
def world(database_url: str) -> Iterator[World]:
    """Build an application, its callers and its things."""
    with open_world(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser(world: World) -> Client:
    """Return a client that keeps no cookies."""
    return world.app.test_client(use_cookies=False)


# One request


def fill(value: Any, known: Mapping[str, str]) -> Any:
    """Replace the variables in texts, such as `{agent}`."""
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda found: known[found[1]], value)
    if isinstance(value, dict):
        return {name: fill(one, known) for name, one in value.items()}
    return [fill(one, known) for one in value] if isinstance(value, list) else value


def send(
    browser: Client, operation: str, known: Mapping[str, str], headers: Mapping[str, str]
) -> TestResponse:
    """Send the request of an operation about the thing with these ids."""
    method, _, rule = operation.partition(" ")
    sent = REQUESTS.get(operation, Sent({} if method == "POST" else None))
    more: dict[str, Any] = {"query_string": fill(dict(sent.query), known)}
    if sent.csv is not None:
        more["data"], headers = sent.csv, {**headers, **CSV}
    elif sent.form is not None:
        more["data"] = dict(sent.form)
    elif sent.json is not None:
        more["json"] = fill(sent.json, known)
    if method == "GET" and "text/html" not in headers.get("Accept", ""):
        headers = {"Accept": "*/*", **headers}
    return browser.open(
        fill(rule, {**known, **sent.known}),
        method=sent.method or method,
        headers=dict(headers),
        **more,
    )


def changes_of(tx: Connection) -> dict[str, int]:
    """Return the number of changed rows by table, in this transaction and those just before."""
    return {row.relname: row.changed for row in tx.execute(text(CHANGES))}


@dataclass(frozen=True)
class Outcome:
    """The answer to one request, and the tables that it changed."""

    response: TestResponse
    changed: frozenset[str]

    @property
    def status(self) -> int:
        """The status."""
        return self.response.status_code


def attempt(
    world: World,
    browser: Client,
    operation: str,
    known: Mapping[str, str],
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]],
) -> Outcome:
    """Send a request, undo its deeds, and return its outcome."""
    with world.trying() as tx:
        given = headers() if callable(headers) else headers
        before = changes_of(tx)
        response = send(browser, operation, known, given)
        response.get_data()
        after = changes_of(tx)
    changed = {name for name, count in after.items() if count > before.get(name, 0)}
    return Outcome(response, frozenset(changed))


# The expected answer


def sees(caller: Caller, team: str | None) -> bool:
    """Whether the table says that the caller sees things of this team."""
    own, other, nobody = SEES[caller.view]
    cell = nobody if team is None else own if team == caller.team else other
    return cell.startswith("yes")


def permits(line: Line, caller: Caller) -> bool:
    """Whether the line permits the operation to this kind of caller."""
    if "/dialplan/" in line.rule and caller.is_session:
        return False
    if caller.is_dialplan and "/dialplan/" not in line.rule:
        return False
    if line.rule == "/api/v1/me/password" and not caller.is_session:
        return False
    if caller.role == "service":
        return ANY in line.scopes or line.scopes <= caller.scopes
    return caller.role in line.roles


def expect(line: Line, caller: Caller, team: str | None) -> int:
    """Return the expected status: 200 stands for every answer but a refusal."""
    if not permits(line, caller) or (line.thing == "all teams" and caller.team is not None):
        return 403
    if line.thing == "own":
        return 200 if team == "own" else 404
    if line.thing in ("", "all teams"):
        return 200
    if not sees(caller, team):
        return 403 if line.thing == "phone" else 404
    is_own = caller.role == "admin" or caller.name == SUPERVISORS[team]
    return 403 if line.thing == "own spy" and not is_own else 200


def things_of(world: World, line: Line, caller: Caller) -> Iterator[tuple[str | None, Any]]:
    """Iterate over the things that the line names: their team, and the ids for the path."""
    if line.thing == "own":
        yield "somebody", world.common | world.owned["somebody"]
        if caller.owns:
            yield "own", world.common | world.owned[caller.owns]
    elif line.thing in ("", "all teams"):
        yield None, world.common
    else:
        sent = REQUESTS.get(line.operation, Sent())
        for team, known in world.ids[sent.things or line.thing].items():
            yield team, world.common | known


def judge(line: Line, outcome: Outcome, expected: int) -> str:
    """Return the fault of an outcome, or nothing."""
    accepted = REQUESTS.get(line.operation, Sent()).answers
    if expected == 200:
        is_fine = outcome.status < 400 or outcome.status in accepted
        return "" if is_fine else f"{outcome.status}, not allowed: {outcome.response.text[:200]}"
    if outcome.status != expected:
        return f"{outcome.status}, not {expected}"
    if not outcome.changed <= OF_REFUSALS:
        return f"{expected}, but it changed {sorted(outcome.changed)}"
    if "audit" not in outcome.changed:
        return f"{expected}, but it is not in the audit trail"
    return ""


# Events


@dataclass(frozen=True)
class Told:
    """An event about a thing of a team (None: of no agent), and the caller who made the thing."""

    type: str
    mark: str
    team: str | None
    maker: str = ""

    @property
    def kind(self) -> str:
        """The kind, as the table names it."""
        return f"{self.type.partition('.')[0]}.*"


def tell_events(tx: Connection, world: World) -> list[Told]:
    """Write an event of each kind about a thing of each team; return them."""
    told = []
    for team in TEAMS:
        maker, mark, id_ = SUPERVISORS[team], str(team), str(uuid4())
        call_id = world.ids["call"][team]["call_id"]
        of_spy = {"supervisor": maker, "state": "live", "call_id": call_id}
        facts: list[tuple[Told, Mapping[str, str]]] = [
            (Told("call.up", mark, team), {"id": call_id}),
            (Told("recording.recording", mark, team), {}),
            (Told("spy.live", mark, team, maker), of_spy),
            (Told("conference.opened", mark, team, maker), {}),
            (Told("callback.waiting", mark, team), {}),
            (Told("campaign.running", mark, None, maker), {}),
            (Told("rule.changed", mark, None), {}),
        ]
        for one, data in facts:
            about = {"id": id_, "mark": mark, **data}
            agent = AGENTS[one.team]
            owner_id = world.owner_of(one.maker) if one.maker else None
            events.add_event(tx, one.type, about, agent=agent, owner_id=owner_id)
            told.append(one)
    return told


def read_stream(browser: Client, caller: Caller, start: str) -> set[tuple[str, str]]:
    """Return the type and the mark of each event after this one in the stream of the caller."""
    headers = {**caller.headers, "Last-Event-ID": start}
    response = browser.get("/api/v1/events", headers=headers, buffered=False)
    with closing(response):
        # The first part has no event, and the second all those before the request.
        read = b"".join(islice(response.iter_encoded(), 2)).decode()
    found = re.findall(r"event: (\S+)\ndata: (.*)", read)
    return {(type_, json.loads(data)["data"].get("mark", "")) for type_, data in found}


# The tests


def test_every_operation_has_a_line(world: World) -> None:
    """The page has one line for each operation and each page, and no other line."""
    listed = [line.operation for line in LINES] + OPEN
    served = {
        f"{method} " + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert sorted(listed) == sorted(served)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.operation)
def test_who_may(world: World, browser: Client, line: Line) -> None:
    """Each kind of caller gets the expected answer about the things of each team."""
    faults = []
    for caller in world.callers():
        for team, known in things_of(world, line, caller):
            outcome = attempt(world, browser, line.operation, known, caller.headers)
            fault = judge(line, outcome, expect(line, caller, team))
            fault = fault or shows_hidden(outcome, caller, known)
            faults += [f"{caller.name}, thing of {team}: {fault}"] if fault else []
    assert not faults


def shows_hidden(outcome: Outcome, caller: Caller, known: Mapping[str, str]) -> str:
    """Return the marks of things in the answer that the caller may not see."""
    shown = {team for team in TEAMS if f"of-{team}" in outcome.response.text}
    hidden = {team for team in shown if not sees(caller, team)}
    return f"it shows things of {hidden}" if hidden else ""


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.operation)
def test_which_permissions_a_program_needs(world: World, browser: Client, line: Line) -> None:
    """The permissions of the line are enough, and without one of them all others are not."""
    needed = line.scopes - {ANY}
    programs = [world.program_with(needed or {"calls.read"})]
    programs += [world.program_with(PERMISSIONS.keys() - {one}) for one in needed]
    faults = []
    for caller in programs:
        team, known = list(things_of(world, line, caller))[-1]
        outcome = attempt(world, browser, line.operation, known, caller.headers)
        fault = judge(line, outcome, expect(line, caller, team))
        faults += [f"{caller.name}: {fault}"] if fault else []
    assert not faults


def test_a_dialplans_token_opens_nothing_else(world: World, browser: Client) -> None:
    """The token of a dialplan opens `/dialplan/*` alone, even with every permission."""
    caller, faults = world.program_with(PERMISSIONS.keys(), pbx="main"), []
    for line in LINES:
        _, known = list(things_of(world, line, caller))[-1]
        outcome = attempt(world, browser, line.operation, known, caller.headers)
        is_refused = outcome.status == 403 and "audit" in outcome.changed <= OF_REFUSALS
        if "/dialplan/" not in line.rule and not is_refused:
            faults.append(f"{line.operation}: {outcome.status}, changed {sorted(outcome.changed)}")
    assert not faults


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.operation)
def test_nobody_may_without_a_valid_token(world: World, browser: Client, line: Line) -> None:
    """Without a token, with an unknown one, or with a link's secret, nothing is done or written."""
    secret = world.common["secret"]
    cookie = {"Cookie": f"earwitness_session={secret}"}
    strangers = [{}, bearer("ew_unknown"), bearer(secret), cookie]
    for headers in strangers:
        _, known = next(things_of(world, line, Caller("stranger", "agent", headers)))
        outcome = attempt(world, browser, line.operation, known, headers)
        assert (outcome.status, outcome.changed) == (303 if line.is_page else 401, frozenset())
        assert not line.is_page or outcome.response.location.startswith("/sign-in?")


@pytest.mark.parametrize(
    "line", [line for line in LINES if line.method != "GET"], ids=lambda line: line.operation
)
def test_a_session_acts_from_our_own_pages_alone(world: World, browser: Client, line: Line) -> None:
    """A session without its CSRF token, or from the page of another site, changes nothing."""
    (person,) = (caller for caller in world.callers() if caller.name == "session of admin")
    _, known = list(things_of(world, line, person))[-1]
    for changed in (
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "other"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        headers = {**person.headers, **changed}
        assert not judge(line, attempt(world, browser, line.operation, known, headers), 403)


@pytest.mark.parametrize("operation", OPEN)
def test_what_is_open_to_everybody(world: World, browser: Client, operation: str) -> None:
    """The operations of the last table need no token, and an unknown one is no hindrance."""
    line = Line(operation, "", frozenset(), frozenset(), is_page=True)
    for headers in ({}, bearer("ew_unknown")):
        outcome = attempt(world, browser, operation, world.common, headers)
        assert not judge(line, outcome, 200)


def test_a_link_opens_only_its_recording(world: World, browser: Client) -> None:
    """The secret of another link, or a wrong one, opens nothing, and nothing is written."""
    for operation in OPEN:
        if "{secret}" in operation:
            known = world.common | {"secret": "wrong"}
            outcome = attempt(world, browser, operation, known, {})
            assert (outcome.status, outcome.changed) == (404, frozenset())


# Event streams


def test_who_gets_which_events(world: World, browser: Client) -> None:
    """A stream has the events of the things that its caller may see, of the permitted kinds."""
    with world.catalogue.begin() as tx:
        start = events.newest_event_id(tx)
        told = tell_events(tx, world)
    programs = [world.program_with(line.scopes | {"events.read"}) for line in EVENTS.values()]
    faults = []
    for caller in (*world.callers(), *programs):
        got = read_stream(browser, caller, start)
        for one in told:
            is_seen = one.maker == caller.name or sees(caller, one.team)
            expected = is_seen and permits(EVENTS[one.kind], caller)
            if ((one.type, one.mark) in got) != expected:
                faults.append(f"{caller.name}: {one}, expected {expected}")
    assert not faults
