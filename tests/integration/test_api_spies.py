"""Spies over HTTP: permissions, answers, and the audit trail."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from api_client import ApiClient, CatalogueSpies, TokenMaker, build_call, problem
from sqlalchemy import delete, select

from api.services import EXTENSION
from storage.catalogue import calls, spies
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord
from storage.schema import audit, token
from tests.legs import leg

PHONE = {"mode": "listen", "destination": "PJSIP/9001"}


@pytest.fixture
def call(catalogue: Catalogue) -> CallRecord:
    """Store a call of the agent `2001`."""
    customer, agent = f"c{uuid4()}", f"a{uuid4()}"
    legs = (leg(customer, party="customer", name="PJSIP/trunk-1"), leg(agent, name="PJSIP/2001-1"))
    record = build_call(id=f"main-{uuid4()}", agent="2001", channels=legs)
    with catalogue.begin() as tx:
        calls.save_calls(tx, [record])
    return record


@pytest.fixture(scope="module", autouse=True)
def _agents(make_token: TokenMaker) -> None:
    """Put 2001 in team one, and 2002 in team two."""
    make_token(name="2001", role="agent", team="one")
    make_token(name="2002", role="agent", team="two")


@pytest.fixture
def ann(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the supervisor of team one."""
    return client.as_holder_of(make_token(name="ann", role="supervisor", team="one"))


@pytest.fixture
def bob(client: ApiClient, make_token: TokenMaker) -> ApiClient:
    """Return the supervisor of team two."""
    return client.as_holder_of(make_token(name="bob", role="supervisor", team="two"))


def start(client: ApiClient, call: CallRecord, **more: Any) -> dict[str, Any]:
    """Start a spy on the call, and return the answer."""
    response = client.post(f"/api/v1/calls/{call.id}/spies", json=PHONE | more)
    assert response.status_code == 201, response.text
    answered: dict[str, Any] = response.get_json()
    return answered


def spies_of(client: ApiClient) -> CatalogueSpies:
    """Return the spies behind the API."""
    found: CatalogueSpies = client.application.extensions[EXTENSION].spies
    return found


def refused(catalogue: Catalogue, subject: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the audited refusals for this subject: actor, action, detail."""
    query = select(audit).where(audit.c.subject == subject, audit.c.outcome == "refused")
    with catalogue.begin() as tx:
        rows = tx.execute(query.order_by(audit.c.id)).all()
    return [(row.actor, row.action, row.detail) for row in rows]


# Start, see, switch, end


def test_a_spy_lives_from_post_to_delete(ann: ApiClient, call: CallRecord) -> None:
    """A spy is started, found, switched and ended, and its fields agree in all answers."""
    response = ann.post(f"/api/v1/calls/{call.id}/spies", json=PHONE)
    spy = response.get_json()
    itself = f"/api/v1/spies/{spy['id']}"
    assert response.headers["Location"].endswith(itself)
    assert (spy["call_id"], spy["mode"], spy["follow"]) == (call.id, "listen", "call")
    assert (spy["supervisor"], spy["audio_url"], spy["heard"]) == ("ann", None, [])
    assert ann.get(itself).get_json() == spy
    assert spy["id"] in {one["id"] for one in ann.get("/api/v1/spies").get_json()["items"]}
    switched = ann.patch(itself, json={"mode": "whisper"}).get_json()
    assert switched == spy | {"mode": "whisper"}
    ended = ann.delete(itself).get_json()
    assert (ended["state"], ended["cause"]) == ("ended", "ended")
    assert ann.delete(itself).get_json() == ended
    assert problem(ann.patch(itself, json={"mode": "listen"})) == (409, "spy-ended")
    past = ann.get("/api/v1/spies?state=ended").get_json()["items"]
    assert spy["id"] in {one["id"] for one in past}


def test_a_browser_gets_an_url_with_a_token(
    ann: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """`audio_url` has the token of this spy, and later answers do not have it."""
    spy = start(ann, call, destination="browser", mode="barge")
    url, _, token = spy["audio_url"].partition("?token=")
    assert url == f"ws://localhost:8081/spies/{spy['id']}"
    with catalogue.begin() as tx:
        found = spies.find_spy_by_token(tx, token)
    assert found is not None
    assert (found.id, found.may) == (UUID(spy["id"]), ("listen", "whisper", "barge"))
    assert ann.get(f"/api/v1/spies/{spy['id']}").get_json()["audio_url"] is None


def test_a_call_shows_its_spies(ann: ApiClient, client: ApiClient, call: CallRecord) -> None:
    """A live call shows its running spies, but never to its agent."""
    first, second = start(ann, call), start(ann, call, follow="agent")
    ann.delete(f"/api/v1/spies/{first['id']}")
    assert ann.get(f"/api/v1/calls/{call.id}").get_json()["spies"] == [second["id"]]


def test_an_ended_call_shows_all_its_spies(
    ann: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """An ended call shows all its spies."""
    spy = start(ann, call)
    ann.delete(f"/api/v1/spies/{spy['id']}")
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=call.id, agent="2001", state="ended")])
    assert ann.get(f"/api/v1/calls/{call.id}").get_json()["spies"] == [spy["id"]]


def test_an_agent_does_not_see_the_spy(
    client: ApiClient, make_token: TokenMaker, ann: ApiClient, call: CallRecord
) -> None:
    """An agent sees its call, and no spy on it."""
    spy = start(ann, call)
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    assert agent.get(f"/api/v1/calls/{call.id}").get_json()["spies"] == []
    for path in ("/api/v1/spies", f"/api/v1/spies/{spy['id']}"):
        assert problem(agent.get(path)) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mode": "listen"},
        {"mode": "monitor", "destination": "PJSIP/1"},
        PHONE | {"follow": "me"},
        PHONE | {"may": ["barge"]},
    ],
)
def test_a_wrong_body_is_422(ann: ApiClient, call: CallRecord, body: dict[str, Any]) -> None:
    """A wrong body is 422, and starts nothing."""
    response = ann.post(f"/api/v1/calls/{call.id}/spies", json=body)
    assert problem(response) == (422, "request-invalid")
    assert ann.post(f"/api/v1/calls/{call.id}/spies").status_code == 422
    assert ann.get(f"/api/v1/calls/{call.id}").get_json()["spies"] == []


def test_a_bad_destination_is_422(ann: ApiClient, call: CallRecord) -> None:
    """A wrong destination is 422 `bad-destination`."""
    response = ann.post(f"/api/v1/calls/{call.id}/spies", json=PHONE | {"destination": "9001"})
    assert problem(response) == (422, "bad-destination")


@pytest.mark.parametrize(
    "destination",
    [
        "PJSIP/trunk",
        "pjsip/TRUNK-2",
        "PJSIP/12025550199@trunk",
        "PJSIP/12025550199@tr\\unk",
        'PJSIP/12025550199@tr"unk',
        "PJSIP/9001/sip:me@example.com",
        "Local/12025550199@agents",
        "SIP/100@host",
        "IAX2/host/100",
        "IAX2/9001",
        "PJSIP/9001&PJSIP/trunk",
    ],
)
def test_no_destination_leads_out_of_the_house(
    ann: ApiClient, call: CallRecord, destination: str
) -> None:
    """A trunk, an address and an unknown technology are 422, and nothing is dialled."""
    dialled = spies_of(ann).pbx.dialled
    before = list(dialled)
    body = PHONE | {"destination": destination}
    response = ann.post(f"/api/v1/calls/{call.id}/spies", json=body)
    assert problem(response) == (422, "bad-destination")
    assert dialled == before


def test_a_destination_is_in_the_words_of_the_pbx(ann: ApiClient, call: CallRecord) -> None:
    """The technology may be written in any case; the PBX's own word is kept."""
    assert start(ann, call, destination="pjsip/9001")["destination"] == "PJSIP/9001"


@pytest.mark.parametrize(
    ("phone", "cause"),
    [
        ("PJSIP/9009", "unreachable"),
        ("PJSIP/9999", "no-such-destination"),
        ("pjsip/9999", "no-such-destination"),
    ],
)
def test_a_phone_that_cannot_be_rung_says_why(
    ann: ApiClient, call: CallRecord, phone: str, cause: str
) -> None:
    """A known phone that is not registered is unreachable; an unknown one is no destination."""
    fake = spies_of(ann).pbx
    fake.endpoints.add("PJSIP/9009")
    fake.unregistered.add("PJSIP/9009")
    spy = start(ann, call, destination=phone)
    assert (spy["state"], spy["cause"]) == ("ended", cause)


@pytest.mark.parametrize("phone", ["PJSIP/2001", "pjsip/2001"])
def test_a_party_of_the_call_cannot_listen_to_it(
    ann: ApiClient, call: CallRecord, phone: str
) -> None:
    """The agent's own phone is 409: its owner would hear the own voice."""
    spies_of(ann).pbx.endpoints.add("PJSIP/2001")
    body = PHONE | {"destination": phone}
    response = ann.post(f"/api/v1/calls/{call.id}/spies", json=body)
    assert problem(response) == (409, "phone-in-call")


def test_a_post_is_acted_on_once(ann: ApiClient, call: CallRecord) -> None:
    """A repeat under the same key gets the same answer, and there is one spy."""
    headers = {"Idempotency-Key": str(uuid4())}
    answers = [
        ann.post(f"/api/v1/calls/{call.id}/spies", json=PHONE, headers=headers) for _ in range(2)
    ]
    assert answers[0].data == answers[1].data
    assert len(ann.get(f"/api/v1/calls/{call.id}").get_json()["spies"]) == 1


def test_a_call_that_is_over_cannot_be_heard(
    ann: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """An ended call is 409 `call-ended`."""
    with catalogue.begin() as tx:
        calls.save_calls(tx, [build_call(id=call.id, agent="2001", state="ended")])
    assert problem(ann.post(f"/api/v1/calls/{call.id}/spies", json=PHONE)) == (409, "call-ended")


# Rights


def test_another_team_does_not_exist(
    bob: ApiClient, ann: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """Calls and spies of another team are 404, and the attempts are audited."""
    spy = start(ann, call)["id"]
    itself = f"/api/v1/spies/{spy}"
    tried = bob.post(f"/api/v1/calls/{call.id}/spies", json=PHONE)
    assert problem(tried) == (404, "no-such-call")
    assert problem(bob.get(itself)) == (404, "no-such-spy")
    assert problem(bob.patch(itself, json={"mode": "barge"})) == (404, "no-such-spy")
    assert problem(bob.delete(itself)) == (404, "no-such-spy")
    assert spy not in json.dumps(bob.get("/api/v1/spies").get_json())
    (tried_to_start,) = refused(catalogue, call.id)
    assert tried_to_start == (
        "bob",
        "spy.start",
        {"mode": "listen", "destination": "PJSIP/9001", "error_id": "no-such-call"},
    )
    assert [action for _, action, _ in refused(catalogue, spy)] == [
        "spies.read",
        "spy.switch",
        "spy.end",
    ]


def test_each_mode_is_a_right_of_its_own(
    client: ApiClient, make_token: TokenMaker, catalogue: Catalogue, call: CallRecord
) -> None:
    """A supervisor without barge can neither start it nor switch to it; both are audited."""
    token = make_token(name="cat", role="supervisor", team="one", without=["spies.barge"])
    cat = client.as_holder_of(token)
    response = cat.post(f"/api/v1/calls/{call.id}/spies", json=PHONE | {"mode": "barge"})
    assert problem(response) == (403, "mode-not-permitted")
    spy = start(cat, call, mode="whisper")["id"]
    response = cat.patch(f"/api/v1/spies/{spy}", json={"mode": "barge"})
    assert problem(response) == (403, "mode-not-permitted")
    with catalogue.begin() as tx:
        assert spies.get_spy(tx, UUID(spy)).may == ("listen", "whisper")
    assert [(who, what) for who, what, _ in refused(catalogue, call.id)] == [("cat", "spy.start")]
    assert [(who, what) for who, what, _ in refused(catalogue, spy)] == [("cat", "spy.switch")]


def test_seeing_a_spy_gives_no_right_to_act(
    client: ApiClient, make_token: TokenMaker, ann: ApiClient, call: CallRecord
) -> None:
    """Compliance and other supervisors see a spy, but cannot switch or end it."""
    itself = f"/api/v1/spies/{start(ann, call)['id']}"
    others = [
        make_token(name="dan", role="compliance"),
        make_token(name="eve", role="supervisor", team="one"),
    ]
    for secret in others:
        other = client.as_holder_of(secret)
        assert other.get(itself).status_code == 200
        assert problem(other.patch(itself, json={"mode": "barge"})) == (403, "forbidden")
        assert problem(other.delete(itself)) == (403, "forbidden")
    assert client.delete(itself).get_json()["state"] == "ended"


def test_an_admin_cannot_open_a_microphone(
    client: ApiClient, ann: ApiClient, call: CallRecord
) -> None:
    """An admin can close another person's microphone, and never open it."""
    itself = f"/api/v1/spies/{start(ann, call, mode='whisper')['id']}"
    assert problem(client.patch(itself, json={"mode": "barge"})) == (403, "forbidden")
    assert client.patch(itself, json={"mode": "listen"}).get_json()["mode"] == "listen"
    assert client.delete(itself).get_json()["state"] == "ended"


def test_compliance_does_not_spy(
    client: ApiClient, make_token: TokenMaker, call: CallRecord
) -> None:
    """The right to see all calls is not the right to listen."""
    dan = client.as_holder_of(make_token(name="dan", role="compliance"))
    response = dan.post(f"/api/v1/calls/{call.id}/spies", json=PHONE)
    assert problem(response) == (403, "mode-not-permitted")


def test_a_service_spies_as_its_scopes_say(
    client: ApiClient, make_token: TokenMaker, call: CallRecord
) -> None:
    """The scopes to see and to listen allow listening, and no other mode."""
    scopes = ["spies.read", "spies.listen"]
    service = client.as_holder_of(make_token(name="crm", role="service", scopes=scopes))
    itself = f"/api/v1/spies/{start(service, call)['id']}"
    response = service.patch(itself, json={"mode": "whisper"})
    assert problem(response) == (403, "mode-not-permitted")
    assert service.delete(itself).status_code == 200


def test_every_refusal_is_written_down(
    client: ApiClient, make_token: TokenMaker, catalogue: Catalogue, call: CallRecord
) -> None:
    """A missing right is in the audit trail too."""
    agent = client.as_holder_of(make_token(name="2001", role="agent"))
    path = f"/api/v1/calls/{call.id}/spies"
    assert problem(agent.post(path, json=PHONE)) == (403, "forbidden")
    detail = {"method": "POST", "error_id": "forbidden"}
    assert refused(catalogue, path) == [("2001", "spies.read", detail)]


def test_a_call_of_another_team_is_no_longer_heard(
    ann: ApiClient, catalogue: Catalogue, call: CallRecord
) -> None:
    """After a transfer to another team the supervisor can switch to no mode, and the spy ends."""
    spy = start(ann, call)
    itself = f"/api/v1/spies/{spy['id']}"
    with catalogue.begin() as tx:
        calls.save_calls(tx, [replace(call, agent="2002")])
    assert problem(ann.patch(itself, json={"mode": "barge"})) == (403, "mode-not-permitted")
    assert [action for _, action, _ in refused(catalogue, spy["id"])] == ["spy.switch"]
    spies_of(ann).check("main")
    assert ann.get(itself).get_json()["cause"] == "not-permitted"


def test_a_removed_token_starts_no_spy(
    client: ApiClient, make_token: TokenMaker, catalogue: Catalogue, call: CallRecord
) -> None:
    """A token that is revoked after the request was authenticated starts no spy."""
    finding = client.as_holder_of(make_token(name="fay", role="supervisor", team="one"))
    fake = spies_of(client).pbx
    found = fake.find_endpoint

    def revoke_meanwhile(technology: str, resource: str) -> Any:
        with catalogue.begin() as tx:
            tx.execute(delete(token).where(token.c.name == "fay"))
        return found(technology, resource)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake, "find_endpoint", revoke_meanwhile)
        response = finding.post(f"/api/v1/calls/{call.id}/spies", json=PHONE)
    assert problem(response) == (403, "mode-not-permitted")
    assert client.get(f"/api/v1/calls/{call.id}").get_json()["spies"] == []


# Modules


def test_modules_need_no_token_and_may_be_imported(client: ApiClient) -> None:
    """Pages of any site can import our modules; other files are 404."""
    page = client.as_holder_of(None)
    found = page.get("/static/spy.js")
    assert (found.status_code, found.mimetype) == (200, "text/javascript")
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert found.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    again = page.get("/static/spy.js", headers={"If-None-Match": found.headers["ETag"]})
    assert again.status_code == 304
    for name in ("spy.ts", "..", "__init__.py", ".js"):
        assert page.get(f"/static/{name}").status_code == 404
