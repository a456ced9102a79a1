"""Dialling over HTTP: permissions, answers, refusals, repeats, and the audit trail."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from api_client import ApiClient, TokenMaker, build_call, rebuild_app
from sqlalchemy import select, update

from recorder.ari import AriUnavailable
from recorder.ari.pbxs import Pbxs
from recorder.dialling.dialler import Dialler, DialSettings
from recorder.dialling.numbers import DialPolicy
from storage.catalogue import calls, dials
from storage.catalogue.engine import Catalogue
from storage.schema import audit, idempotency
from tests.fake_phones import FakePhones

WANTED = {"from": "PJSIP/2001", "to": "(202) 555-0123"}


@pytest.fixture
def pbx() -> FakePhones:
    """Return a PBX on which nothing rings."""
    return FakePhones()


@pytest.fixture
def root(client: ApiClient, catalogue: Catalogue, pbx: FakePhones) -> ApiClient:
    """Return an admin of an API that dials on this PBX."""
    fake: Any = pbx
    how = {"main": DialSettings("outbound", trunks=("PJSIP/trunk*",)), "silent": DialSettings()}
    dialler = Dialler(catalogue, Pbxs({"main": fake}), how, DialPolicy())
    app = rebuild_app(client.application, dialler=dialler)
    with catalogue.begin() as tx:
        for one in dials.list_live_dials(tx, "main"):  # those of other tests
            dials.move_dial(tx, one.id, to="ended", cause="ended")
    return ApiClient(app, client.token)


def dial(client: ApiClient, *, key: str | None = None, **changes: Any) -> Any:
    """Send the request; return status and JSON."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    response = client.post("/api/v1/calls", json=WANTED | changes, headers=headers)
    return response.status_code, response.get_json()


def test_a_dialled_call(root: ApiClient, pbx: FakePhones) -> None:
    """The answer is the call; its address shows the progress, and DELETE hangs it up."""
    response = root.post("/api/v1/calls", json=WANTED | {"record": True})
    made = response.get_json()
    assert response.status_code == 201
    assert (made["state"], made["trigger"], made["direction"]) == ("ringing", "dialled", "outbound")
    assert made["dial"] == {
        "state": "requested",
        "phone": "PJSIP/2001",
        "number": "+12025550123",
        "cause": None,
        "by": "root",
        "answered_at": None,
        "talked_at": None,
        "callback_id": None,
        "campaign_id": None,
    }
    address = response.headers["Location"].removeprefix("http://localhost")
    assert address == f"/api/v1/calls/{quote(made['id'])}"
    assert root.get(address).get_json() == made
    ended = root.delete(address).get_json()
    assert (ended["state"], ended["dial"]["cause"]) == ("ended", "cancelled")
    assert root.delete(address).get_json() == ended
    assert (len(pbx.rings), pbx.channels) == (1, {})


@pytest.mark.parametrize(
    ("changes", "status", "error_id"),
    [
        ({"to": "abc"}, 422, "not-a-number"),
        ({"to": "+1 202 555"}, 422, "not-a-number"),
        ({"to": "911"}, 403, "number-refused"),
        ({"to": "+19005550123"}, 403, "number-refused"),
        ({"from": "2001"}, 422, "bad-destination"),
        ({"from": "PJSIP/trunk"}, 422, "bad-destination"),
        ({"from": "PJSIP/7777"}, 422, "bad-destination"),
        ({"pbx": "silent"}, 409, "cannot-dial"),
        ({"pbx": "other"}, 409, "cannot-dial"),
        ({"announce": "sound:hello"}, 422, "request-invalid"),
        ({"announce": "hello", "record": True}, 422, "request-invalid"),
        ({"from": ""}, 422, "request-invalid"),
        ({"channel": "PJSIP/2001"}, 422, "request-invalid"),
    ],
)
def test_refusals(
    root: ApiClient, pbx: FakePhones, changes: dict[str, Any], status: int, error_id: str
) -> None:
    """A refused request has its own error and rings nothing."""
    answered = dial(root, **changes)
    assert (answered[0], answered[1]["error_id"]) == (status, error_id)
    assert pbx.rings == []


def test_a_refusal_names_its_rule_and_is_audited(root: ApiClient, catalogue: Catalogue) -> None:
    """The rule that refuses a number is in the answer; the attempt is in the audit trail."""
    _, problem = dial(root, to="+19005550199")
    assert (problem["rule"], problem["detail"]) == (
        "premium",
        "+19005550199 is a premium-rate number",
    )
    query = select(audit.c.outcome, audit.c.subject, audit.c.detail).where(
        audit.c.action == "call.dial", audit.c.detail["to"].astext == "+19005550199"
    )
    with catalogue.begin() as tx:
        (entry,) = tx.execute(query).all()
    assert (entry.outcome, entry.subject) == ("refused", "PJSIP/2001")
    assert entry.detail["error_id"] == "number-refused"


def test_who_may_dial(root: ApiClient, pbx: FakePhones, make_token: TokenMaker) -> None:
    """An agent dials from its own phone, a supervisor for the team; others may not dial."""
    make_token(name="2001", role="agent", team="one")
    own, foreign = (make_token(name=name, role="agent", team="one") for name in ("2001", "2002"))
    team = make_token(name="tom", role="supervisor", team="one")
    other = make_token(name="ina", role="supervisor", team="two")
    compliance = make_token(name="cora", role="compliance")
    reader = make_token(name="robot", role="service", scopes=["calls.read"])
    robot = make_token(name="robot", role="service", scopes=["calls.read", "calls.dial"])
    for token in (foreign, other):
        status, problem = dial(root.as_holder_of(token))
        assert (status, problem["error_id"]) == (403, "phone-not-permitted")
    for token in (compliance, reader):
        status, problem = dial(root.as_holder_of(token))
        assert (status, problem["error_id"]) == (403, "forbidden")
    for token in (own, team, robot):
        client = root.as_holder_of(token)
        status, made = dial(client)
        assert status == 201, made
        path = f"/api/v1/calls/{quote(made['id'])}"
        assert root.as_holder_of(other).delete(path).status_code == 404
        assert client.delete(path).status_code == 200
    assert len(pbx.rings) == 3


def test_a_repeat_after_a_lost_answer(
    root: ApiClient, catalogue: Catalogue, pbx: FakePhones
) -> None:
    """A repeat gets the stored answer; if no process could store one, it gets the same call."""
    first = dial(root, key="lost")
    assert dial(root, key="lost") == first
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    died = {"status": None, "body": None, "created_at": long_ago}
    with catalogue.begin() as tx:  # as if the process had died after the ring
        tx.execute(update(idempotency).where(idempotency.c.key == "lost").values(**died))
    assert dial(root, key="lost") == first
    assert len(pbx.rings) == 1


def test_a_busy_phone(root: ApiClient, pbx: FakePhones) -> None:
    """A phone in a call is not rung."""
    pbx.channels["1.0"] = "PJSIP/2001"
    status, problem = dial(root)
    assert (status, problem["error_id"], pbx.rings) == (409, "phone-busy", [])


def test_a_pbx_that_is_away(root: ApiClient, pbx: FakePhones) -> None:
    """The answer asks the client to retry, and the call has ended."""
    pbx.fault = AriUnavailable("no answer within 5 s")
    status, problem = dial(root, key="away")
    assert (status, problem["error_id"]) == (503, "pbx-unavailable")
    pbx.fault = None
    assert dial(root, key="away")[0] == 201


def test_other_calls_are_not_hung_up(root: ApiClient, catalogue: Catalogue) -> None:
    """DELETE ends dialled calls alone."""
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id="main-99.0")])
    response = root.delete("/api/v1/calls/main-99.0")
    assert (response.status_code, response.get_json()["error_id"]) == (409, "cannot-hang-up")
    assert root.delete("/api/v1/calls/main-no").status_code == 404


def test_without_a_dial_context(client: ApiClient) -> None:
    """An installation that names no dial context never dials."""
    status, problem = dial(client)
    assert (status, problem["error_id"]) == (409, "cannot-dial")
    assert "dial_context" in problem["detail"]
