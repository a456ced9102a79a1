"""The senders of a dialplan's requests: a token of its own, or the PBX itself."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from api_client import ApiClient, CatalogueCapture, TokenMaker, build_call, rebuild_app
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences, ConferenceSettings
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from recorder.programs.programs import Programs
from storage.catalogue import calls, tokens
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, Hours
from storage.schema import audit
from tests.fake_pbx import FakePbx
from tests.legs import leg

ADDRESS = "192.0.2.7"
RECORD = "/api/v1/dialplan/record"
CONFERENCE = "/api/v1/dialplan/conference"
DIAL = "/api/v1/dialplan/dial"
PATHS = (RECORD, CONFERENCE, DIAL, "/api/v1/dialplan/callback")
FROM_PBX: dict[str, Any] = {"environ_overrides": {"REMOTE_ADDR": ADDRESS}}
NUMBER = {"from": "PJSIP/2001", "to": "12025550123"}


def build_programs(catalogue: Catalogue) -> Programs:
    """Return the programs of two PBXs in memory, of which `other` lets its programs dial."""
    pbxs, how = Pbxs({"main": FakePbx(), "other": FakePbx()}), DialSettings("outbound")  # type: ignore[dict-item]
    ways = {"main": how, "other": how}
    dialler = Dialler(catalogue, pbxs, ways, DialPolicy())
    hours = CallbackSettings(Hours(0, 24, (1, 2, 3, 4, 5, 6, 7)), (60,), {"main": "US"})
    settings = {name: ConferenceSettings(way) for name, way in ways.items()}
    conferences = Conferences(catalogue, pbxs, settings)
    return Programs(
        catalogue, dialler, Callbacks(catalogue, dialler, hours), conferences, ("other",)
    )


@pytest.fixture(scope="module")
def nobody(client: ApiClient, catalogue: Catalogue) -> ApiClient:
    """Return a client without a token; of two PBXs `main` needs none from its address."""
    settings = replace(
        client.application.extensions["earwitness"].settings,
        pbxs=("main", "other"),
        dialplan_addresses={"main": frozenset({ADDRESS})},
    )
    app = rebuild_app(client.application, settings, programs=build_programs(catalogue))
    return ApiClient(app, None)


@pytest.fixture(scope="module")
def secret(catalogue: Catalogue) -> str:
    """Return the token of the dialplan of `main`."""
    with catalogue.begin() as tx:
        return tokens.create_token(tx, **tokens.dialplan_fields("main"))[1]


def keep_call(catalogue: Catalogue, pbx: str = "main", agent: str = "2001") -> CallRecord:
    """Store a live call."""
    channel = leg(str(uuid4()), party="customer", name=f"PJSIP/trunk-{uuid4().hex[:8]}")
    record = build_call(id=f"{pbx}-{uuid4()}", pbx=pbx, agent=agent, channels=(channel,))
    with catalogue.begin() as tx:
        calls.save_calls(tx, [record])
    return record


@pytest.fixture
def call(catalogue: Catalogue) -> CallRecord:
    """Store a live call of `main`."""
    return keep_call(catalogue)


def ask(client: ApiClient, call: CallRecord, action: str = "decide", **how: Any) -> TestResponse:
    """Ask about the recording of a call; the answer is one line."""
    query = {"channel": call.channels[0].name, "action": action} | how.pop("query", {})
    response = client.request(how.pop("method", "GET"), RECORD, query_string=query, **how)
    assert_one_line(response)
    return response


def assert_one_line(response: TestResponse) -> None:
    """Raise AssertionError unless the answer is one line of plain text."""
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.text.endswith("\n")
    assert len(response.text.splitlines()) == 1
    assert response.status_code == 200 or response.text.startswith("error: ")


def basic(user: str, password: str = "") -> dict[str, Any]:
    """Return the header of HTTP Basic, as `CURL(http://user:password@host/)` sends it."""
    sent = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"headers": {"Authorization": f"Basic {sent}"}}


WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "query": lambda secret: {"query": {"token": secret}},
    "form": lambda secret: {"method": "POST", "data": {"token": secret}},
    "user": basic,
    "password": lambda secret: basic("pbx", secret),
    "both": lambda secret: basic(secret, "anything"),
    "bearer": lambda secret: {"headers": {"Authorization": f"Bearer {secret}"}},
}


def count_audits(catalogue: Catalogue) -> int:
    """Return the number of entries of the audit trail."""
    with catalogue.begin() as tx:
        return tx.scalar(select(func.count()).select_from(audit)) or 0


# Tokens


@pytest.mark.parametrize("way", WAYS)
def test_a_token_in_each_place(nobody: ApiClient, call: CallRecord, secret: str, way: str) -> None:
    """The token works in the URL, a form, or a header, from any address and through a proxy."""
    assert ask(nobody, call, **WAYS[way](secret)).status_code == 200
    proxied = WAYS[way](secret)
    proxied["headers"] = {"X-Forwarded-For": "203.0.113.9", **proxied.get("headers", {})}
    assert ask(nobody, call, **proxied).status_code == 200
    wrong = ask(nobody, call, **WAYS[way](secret + "x"))
    assert (wrong.status_code, secret in wrong.text) == (401, False)


def test_two_tokens_are_refused(nobody: ApiClient, call: CallRecord, secret: str) -> None:
    """A token in two places, or twice in the URL, is refused."""
    header = {"Authorization": f"Bearer {secret}"}
    assert ask(nobody, call, query={"token": secret}, headers=header).status_code == 401
    assert ask(nobody, call, query={"token": [secret, secret]}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/v1/calls", "/api/v1/tokens", "/api/openapi.json", "/api/v1/none", "/library"]
)
def test_a_dialplans_token_opens_nothing_else(nobody: ApiClient, secret: str, path: str) -> None:
    """Elsewhere the token is refused in a header, and ignored in a URL."""
    holder = nobody.as_holder_of(secret)
    client = holder.application.test_client()
    refused = client.get(path, headers={"Authorization": f"Bearer {secret}"})
    assert refused.status_code == 403
    assert client.get(f"{path}?token={secret}").status_code in (303, 401)


def test_other_tokens_are_no_part_of_a_url(
    nobody: ApiClient, catalogue: Catalogue, make_token: TokenMaker, call: CallRecord
) -> None:
    """An admin's token works in a header; in a URL, or as the user of Basic, it is refused."""
    name = f"root-{uuid4().hex[:8]}"
    admin = make_token(name=name, role="admin")
    assert ask(nobody, call, **WAYS["bearer"](admin)).status_code == 200
    assert ask(nobody, call, **WAYS["password"](admin)).status_code == 200
    assert ask(nobody, call, **WAYS["user"](admin)).status_code == 401
    for way in ("query", "form"):
        assert ask(nobody, call, **WAYS[way](admin)).status_code == 403
    with catalogue.begin() as tx:
        rows = tx.execute(select(audit).where(audit.c.actor == name)).all()
    assert [(row.subject, row.outcome) for row in rows] == [(RECORD, "refused")] * 2
    assert admin not in str(rows)


def test_a_dialplans_token_controls_its_pbx_alone(
    nobody: ApiClient, catalogue: Catalogue, recorder: CatalogueCapture, secret: str
) -> None:
    """Calls and conferences of another PBX do not exist for it, whatever the name."""
    foreign, started = keep_call(catalogue, "other"), recorder.started
    for action in ("decide", "start"):
        assert ask(nobody, foreign, action, query={"token": secret}).status_code == 404
    assert recorder.started == started
    named = ask(nobody, foreign, query={"token": secret, "pbx": "other"})
    assert named.status_code == 403
    room = {"name": f"room-{uuid4().hex[:8]}", "token": secret}
    assert nobody.get(CONFERENCE, query_string=room | {"do": "open"}).status_code == 200
    taking = room | {"do": "add", "call": foreign.id}
    absent = nobody.get(CONFERENCE, query_string=room | {"do": "add", "call": "main-none"})
    taken = nobody.get(CONFERENCE, query_string=taking)
    assert (taken.status_code, absent.status_code) == (404, 404)
    assert taken.text.replace(foreign.id, "main-none") == absent.text
    elsewhere = nobody.get(CONFERENCE, query_string=room | {"do": "end", "pbx": "other"})
    assert elsewhere.status_code == 403
    other = tokens.dialplan_fields("other", f"other-{uuid4().hex[:8]}")
    with catalogue.begin() as tx:
        others = tokens.create_token(tx, **other)[1]
    unknown = nobody.get(CONFERENCE, query_string=room | {"do": "end", "token": others})
    assert unknown.status_code == 404


def test_the_key_of_the_pbx_says_whether_a_dialplan_dials(
    nobody: ApiClient, catalogue: Catalogue, secret: str
) -> None:
    """A dialplan's token dials only with `programs_may_dial`, and does nothing once revoked."""
    refused = nobody.get(DIAL, query_string=NUMBER | {"token": secret})
    assert (refused.status_code, "programs_may_dial" in refused.text) == (403, True)
    with catalogue.begin() as tx:
        wanted = tokens.dialplan_fields("other", f"free-{uuid4().hex[:8]}")
        made, free = tokens.create_token(tx, **wanted)
    room = {"name": f"free-{uuid4().hex[:8]}", "token": free}
    assert nobody.get(CONFERENCE, query_string=room | {"do": "open"}).status_code == 200
    dialled = nobody.get(DIAL, query_string=NUMBER | {"token": free})
    assert "programs-may-not-dial" not in dialled.text
    with catalogue.begin() as tx:
        tokens.revoke_token(tx, made.id)
    assert nobody.get(CONFERENCE, query_string=room | {"do": "end"}).status_code == 401


def test_a_team_controls_its_own_calls_alone(
    nobody: ApiClient,
    catalogue: Catalogue,
    recorder: CatalogueCapture,
    make_token: TokenMaker,
    call: CallRecord,
) -> None:
    """A supervisor's token gets 404 for the call of another team, as everywhere."""
    team, started = f"team-{uuid4().hex[:8]}", recorder.started
    own = f"own-{uuid4().hex[:8]}"
    make_token(name=own, role="agent", team=team)
    sam = nobody.as_holder_of(make_token(name=f"sam-{team}", role="supervisor", team=team))
    for action in ("decide", "start", "pause"):
        refused = ask(sam, call, action)
        assert (refused.status_code, call.id in refused.text) == (404, False)
    assert recorder.started == started
    assert ask(sam, keep_call(catalogue, agent=own), "start").status_code == 200


def test_a_token_is_made_for_a_pbx(
    nobody: ApiClient, client: ApiClient, make_token: TokenMaker, call: CallRecord
) -> None:
    """The API makes one for a configured PBX, with fixed rights, for a caller with all of them."""
    admin = nobody.as_holder_of(client.token)
    name = f"curl-{uuid4().hex[:8]}"
    made = admin.post("/api/v1/tokens", json={"pbx": "main", "name": name})
    assert made.status_code == 201
    assert (made.json["pbx"], made.json["role"], made.json["team"]) == ("main", "service", None)
    assert set(made.json["scopes"]) == {"calls.dial", "conferences.control", "recordings.control"}
    assert ask(nobody, call, query={"token": made.json["token"]}).status_code == 200
    listed = [one for one in admin.get("/api/v1/tokens").json["items"] if one["name"] == name]
    assert [(one["pbx"], one["token"]) for one in listed] == [("main", None)]
    for more in ({"role": "admin"}, {"scopes": ["calls.read"]}, {"team": "a"}):
        body = {"pbx": "main", "name": f"{name}-2", **more}
        assert admin.post("/api/v1/tokens", json=body).status_code == 422
    unknown = admin.post("/api/v1/tokens", json={"pbx": "none"})
    assert (unknown.status_code, "main, other" in unknown.text) == (422, True)
    assert admin.post("/api/v1/tokens", json={"name": f"{name}-3"}).status_code == 422
    scopes = ["system.write", "recordings.control"]
    clerk = make_token(name=f"clerk-{name}", role="service", scopes=scopes)
    assert (
        nobody.as_holder_of(clerk).post("/api/v1/tokens", json={"pbx": "main"}).status_code == 403
    )


# Without a token


def test_the_pbx_itself_needs_no_token_where_configured(
    nobody: ApiClient, client: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """Only from the address of a PBX with the key, and for that PBX; by default never."""
    assert ask(nobody, call, **FROM_PBX).status_code == 200
    other = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.8"}}
    assert ask(nobody, call, **other).status_code == 401
    assert ask(client.as_holder_of(None), call, **FROM_PBX).status_code == 401
    assert ask(nobody, keep_call(catalogue, "other"), **FROM_PBX).status_code == 404
    assert ask(nobody, call, query={"pbx": "other"}, **FROM_PBX).status_code == 403
    assert nobody.get("/api/v1/calls", **FROM_PBX).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP"),
        *("Via", "X-Client-IP", "X-Original-URI", "CF-Connecting-IP", "True-Client-IP"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_never_through_a_proxy(nobody: ApiClient, path: str, header: str) -> None:
    """A header of a proxy means that the request comes from somebody else."""
    response = nobody.get(path, headers={header: ADDRESS}, **FROM_PBX)
    assert_one_line(response)
    assert (response.status_code, header.lower() in response.text) == (401, True)


def test_never_by_the_protocol_of_a_silent_proxy(nobody: ApiClient, call: CallRecord) -> None:
    """A proxy that adds no header speaks HTTP/1.0; CURL() never does."""
    silent = {"environ_overrides": {"REMOTE_ADDR": ADDRESS, "SERVER_PROTOCOL": "HTTP/1.0"}}
    assert ask(nobody, call, **silent).status_code == 401


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Origin", "https://evil.example"),
        ("Origin", "http://localhost"),
        ("Referer", "https://evil.example/"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "none"),
        ("Accept-Language", "en"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_never_by_a_browser(
    nobody: ApiClient, catalogue: Catalogue, method: str, header: str, value: str
) -> None:
    """A page makes the browsers of the PBX do nothing, also by DNS rebinding and over plain HTTP;
    no stranger writes into the audit trail by it."""
    before = count_audits(catalogue)
    for path in PATHS:
        response = nobody.request(method, path, headers={header: value}, **FROM_PBX)
        assert_one_line(response)
        assert response.status_code == 403
    assert count_audits(catalogue) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Referer": "https://evil.example/"},
        {"Accept-Language": "en"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_a_stored_password_is_not_used_by_other_sites(
    nobody: ApiClient, client: ApiClient, call: CallRecord, headers: dict[str, str]
) -> None:
    """A page of another site does nothing with the password that a browser sends by itself."""
    assert client.token is not None
    sent = basic("any", client.token)["headers"]
    assert ask(nobody, call, headers=sent | headers).status_code == 403
    ours = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "en"}
    assert ask(nobody, call, headers=sent | ours).status_code == 200


# Answers


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_only_get_and_post_act(
    nobody: ApiClient, recorder: CatalogueCapture, call: CallRecord, secret: str, method: str
) -> None:
    """Any other method answers 405 and changes nothing, with a token and from the PBX."""
    query, started = {"channel": call.channels[0].name, "action": "start"}, recorder.started
    for more, where in (({"token": secret}, {}), ({}, FROM_PBX)):
        client = nobody.application.test_client()
        response = client.open(RECORD, method=method, query_string=query | more, **where)
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == {"GET", "POST"}
        assert response.content_type == "text/plain; charset=utf-8"
    assert recorder.started == started


class Broken(Programs):
    """Programs with a fault of ours."""

    def carry_out(self, *_: Any) -> Any:
        """Fail."""
        raise RuntimeError("ew_secret")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("status", "method", "how"),
    [
        (401, "GET", {}),
        (401, "GET", {"headers": {"Authorization": "Bearer ew_wrong"}}),
        (403, "GET", FROM_PBX | {"headers": {"Origin": "https://evil.example"}}),
        (405, "DELETE", FROM_PBX),
        (413, "POST", FROM_PBX | {"data": {"name": "x" * 2_000_000}}),
        (422, "GET", FROM_PBX | {"query_string": {"word": "1"}}),
        (422, "GET", FROM_PBX | {"query_string": "do=a&do=b"}),
    ],
    ids=lambda value: str(value) if isinstance(value, (int, str)) else "",
)
def test_each_refusal_is_one_line(
    nobody: ApiClient, path: str, status: int, method: str, how: dict[str, Any]
) -> None:
    """Each refusal is one line of plain text, with its status."""
    response = nobody.request(method, path, **how)
    assert_one_line(response)
    assert response.status_code == status


def test_each_failure_is_one_line(
    nobody: ApiClient,
    catalogue: Catalogue,
    recorder: CatalogueCapture,
    call: CallRecord,
    secret: str,
) -> None:
    """An unknown path, a PBX that is away and a fault of ours are one line without our inside."""
    unknown = nobody.get(f"/api/v1/dialplan/none?token={secret}")
    assert_one_line(unknown)
    assert unknown.status_code == 404
    recorder.pbx_is_away = True
    try:
        away = ask(nobody, call, "start", query={"token": secret})
    finally:
        recorder.pbx_is_away = False
    assert (away.status_code, "10.1.2.3" in away.text) == (503, False)
    broken = Broken.__new__(Broken)
    app = rebuild_app(nobody.application, programs=broken)
    query = {"do": "end", "name": "a", "token": secret}
    failed = ApiClient(app, None).get(CONFERENCE, query_string=query)
    assert_one_line(failed)
    assert (failed.status_code, "RuntimeError" in failed.text) == (500, False)
