"""Commands of a dialplan by `CURL()`: who may dial, the answers in one line, the audit trail."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, TokenMaker, rebuild_app
from sqlalchemy import select

from api.app import ApiSettings
from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences, ConferenceSettings
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.programs.programs import Programs
from storage.catalogue import requests
from storage.catalogue.engine import Catalogue
from storage.records import Hours
from storage.schema import audit
from tests.fake_pbx import FakePbx

ADDRESS = "192.0.2.7"
NUMBER = "12025550123"
PHONE = {"from": "PJSIP/2001"}
ALWAYS = Hours(0, 24, (1, 2, 3, 4, 5, 6, 7))
FROM_PBX: dict[str, Any] = {"environ_overrides": {"REMOTE_ADDR": ADDRESS}}


@pytest.fixture(scope="module")
def pbx() -> FakePbx:
    """Return a PBX in memory, whose phones ring and never answer."""
    pbx = FakePbx()
    pbx.endpoints |= {f"PJSIP/{number}" for number in range(2001, 2021)}
    return pbx


def build_client(client: ApiClient, catalogue: Catalogue, pbx: Any, may_dial: bool) -> ApiClient:
    """Return a client without a token of a service on this PBX."""
    pbxs, how = Pbxs({"main": pbx}), DialSettings("outbound", trunks=("PJSIP/trunk*",))
    dialler = Dialler(catalogue, pbxs, {"main": how}, DialPolicy())
    callbacks = Callbacks(catalogue, dialler, CallbackSettings(ALWAYS, (60,), {"main": "US"}))
    conferences = Conferences(catalogue, pbxs, {"main": ConferenceSettings(how)})
    allowed = ("main",) if may_dial else ()
    settings = ApiSettings(pbxs=("main",), dialplan_addresses={"main": frozenset({ADDRESS})})
    programs = Programs(catalogue, dialler, callbacks, conferences, allowed)
    app = rebuild_app(client.application, settings, programs=programs)
    return ApiClient(app, None)


@pytest.fixture(scope="module")
def free(client: ApiClient, catalogue: Catalogue, pbx: FakePbx) -> ApiClient:
    """Return a client of a service whose programs may dial."""
    return build_client(client, catalogue, pbx, may_dial=True)


@pytest.fixture(scope="module")
def strict(client: ApiClient, catalogue: Catalogue, pbx: FakePbx) -> ApiClient:
    """Return a client of a service as it is by default: its programs may not dial."""
    return build_client(client, catalogue, pbx, may_dial=False)


def ask(client: ApiClient, what: str, *, where: Any = FROM_PBX, **fields: str) -> tuple[int, str]:
    """Send a command; return the status and the line of the answer."""
    response = client.get(f"/api/v1/dialplan/{what}", query_string=fields, **where)
    assert response.text.endswith("\n")
    assert response.text.count("\n") == 1
    return response.status_code, response.text.strip()


def test_a_dialplan_dials(free: ApiClient, catalogue: Catalogue, pbx: FakePbx) -> None:
    """The phone rings, the answer has the id of the call, and the words of the program are kept."""
    status, line = ask(free, "dial", **PHONE, to=NUMBER, request="mine")
    assert (status, line.startswith("ok: requested main-earwitness-dial-")) == (200, True)
    call_id = line.split()[-1]
    assert pbx.dialled[-1] == "PJSIP/2001"
    with catalogue.begin() as tx:
        assert requests.find_requests(tx, [call_id, "other"]) == {call_id: "mine"}
    assert ask(free, "dial", **PHONE, to=NUMBER)[1].startswith("error: phone-busy: ")
    assert ask(free, "dial", do="hang-up", call=call_id) == (200, f"ok: ended {call_id}")
    assert ask(free, "dial", do="hang-up", call="main-1.0")[1].startswith("error: no-such-call: ")


def test_programs_may_not_dial_by_default(
    strict: ApiClient, catalogue: Catalogue, pbx: FakePbx
) -> None:
    """Without the key nothing rings, the answer names the key, and the refusal is audited."""
    before = list(pbx.dialled)
    opened = f"strict-{uuid4().hex[:8]}"
    assert ask(strict, "conference", do="open", name=opened)[0] == 200
    for what, fields in (
        ("dial", {**PHONE, "to": NUMBER}),
        ("callback", {**PHONE, "to": NUMBER}),
        ("conference", {"do": "add", "name": opened, "destination": "PJSIP/2002"}),
        ("conference", {"do": "add", "name": opened, "destination": NUMBER}),
    ):
        status, line = ask(strict, what, **fields)
        assert (status, "programs_may_dial" in line) == (403, True)
        assert line.startswith("error: programs-may-not-dial: ")
    assert pbx.dialled == before
    query = select(audit).where(audit.c.action == "program.command", audit.c.outcome == "refused")
    with catalogue.begin() as tx:
        refused = [(row.actor, row.detail["command"]) for row in tx.execute(query)]
    assert [("main", one) for one in ("dial", "callback", "add", "add")] == refused[-4:]


def test_a_token_dials_from_anywhere(
    strict: ApiClient, make_token: TokenMaker, pbx: FakePbx
) -> None:
    """A token with `calls.dial` needs no key; one of a team, or without the right, may not."""
    body = {"from": "PJSIP/2005", "to": NUMBER}
    crm = make_token(name="crm", role="service", scopes=["calls.dial"])
    status, line = ask(strict.as_holder_of(crm), "dial", where={}, **body)
    assert (status, pbx.dialled[-1]) == (200, "PJSIP/2005"), line
    host = make_token(name="host", role="service", scopes=["conferences.control"])
    path = "/api/v1/dialplan/dial"
    assert strict.as_holder_of(host).get(path, query_string=body).status_code == 403
    opened = f"host-{uuid4().hex[:8]}"
    room = {"name": opened, "where": {}}
    assert ask(strict.as_holder_of(host), "conference", do="open", **room)[0] == 200
    added = ask(strict.as_holder_of(host), "conference", do="add", destination="PJSIP/2006", **room)
    assert added[1].startswith("error: programs-may-not-dial: ")
    team = make_token(name="sam", role="supervisor", team="one")
    assert ask(strict.as_holder_of(team), "dial", where={}, **body)[0] == 403


def test_refused_prefixes_hold_for_programs(free: ApiClient, pbx: FakePbx) -> None:
    """A premium number, no number and an unknown phone are refused in one line."""
    before = list(pbx.dialled)
    phone = {"from": "PJSIP/2003"}
    refused = ask(free, "dial", **phone, to="19005550123")
    assert (refused[0], refused[1].startswith("error: number-refused: ")) == (403, True)
    assert ask(free, "dial", **phone, to="abc")[1].startswith("error: not-a-number: ")
    assert ask(free, "dial", **{"from": "PJSIP/9999"}, to=NUMBER)[0] == 422
    assert ask(free, "dial", to=NUMBER) == (422, "error: bad-command: from: is missing")
    assert ask(free, "dial", **phone, to=NUMBER, pbx="b")[0] == 403
    assert pbx.dialled == before


def test_a_call_back_is_made_and_cancelled(free: ApiClient, catalogue: Catalogue) -> None:
    """A call-back waits for its time, and can be cancelled by its id."""
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    status, line = ask(free, "callback", **PHONE, to=NUMBER, at=at, request="later")
    assert (status, line.startswith("ok: waiting ")) == (200, True)
    id_ = line.split()[-1]
    with catalogue.begin() as tx:
        assert requests.find_requests(tx, [id_]) == {id_: "later"}
    assert ask(free, "callback", do="cancel", callback=id_) == (200, f"ok: cancelled {id_}")
    missing = ask(free, "callback", do="cancel", callback=str(uuid4()))
    assert missing[1].startswith("error: no-such-callback: ")


def test_a_conference_is_held(free: ApiClient, pbx: FakePbx) -> None:
    """A conference is opened, locked, filled, muted and ended, each with one line."""
    room = {"name": f"held-{uuid4().hex[:8]}"}
    opened = ask(free, "conference", do="open", pin="4711", **room)
    assert (opened[0], opened[1].startswith("ok: open ")) == (200, True)
    assert ask(free, "conference", do="open", **room)[1].startswith("error: conference-name-taken")
    assert ask(free, "conference", do="lock", **room) == opened
    added = ask(free, "conference", do="add", destination="PJSIP/2010", **room)
    assert added[1].startswith("error: conference-locked: ")
    assert ask(free, "conference", do="unlock", **room) == opened
    assert ask(free, "conference", do="record", record="yes", **room) == opened
    added = ask(free, "conference", do="add", destination="PJSIP/2010", **room)
    assert (added[0], pbx.dialled[-1]) == (200, "PJSIP/2010")
    member = added[1].split()[-1]
    for deed in ("mute", "unmute", "hold", "unhold"):
        assert ask(free, "conference", do=deed, member="PJSIP/2010", **room)[0] == 200
    removed = ask(free, "conference", do="remove", member=member, **room)
    assert removed == (200, f"ok: left {member}")
    gone = ask(free, "conference", do="mute", member="PJSIP/2010", **room)
    assert gone[1].startswith("error: no-such-member: ")
    alone = ask(free, "conference", do="add", **room)
    assert alone[1].startswith("error: bad-command: ")
    assert ask(free, "conference", do="end", **room)[1] == opened[1].replace("open", "ended")
